"""`python -m tests.adapters.fuzz [--seconds 20] [TARGET...]`: fuzz each target for so long.

What breaks one is kept in build/fuzz, and is what `python -m tests.adapters.fuzz TARGET --input FILE` runs again. Needs atheris
(Linux; requirements-fuzz.txt), which each target gets a process of its own for, since libFuzzer ends the one that it runs in.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ARTIFACTS = Path(__file__).parents[3] / "build" / "fuzz"
ONE_INPUT_S = 10
MEMORY_MIB = 1024
WITHOUT = "atheris is not installed: pip install --require-hashes -r requirements-fuzz.txt (Linux only), or say `make fuzz`."


def main() -> int:
    from tests.adapters.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.adapters.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=list(TARGETS), help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--input", type=Path, help="run one target with this file's bytes, once")
    asked = parser.parse_args()
    if unknown := [name for name in asked.targets if name not in TARGETS]:
        parser.error(f"there is no target {', '.join(unknown)}")
    if asked.input:
        TARGETS[asked.targets[0]](asked.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        print(WITHOUT, file=sys.stderr)
        return 2
    if len(asked.targets) == 1:
        return _fuzz(asked.targets[0], asked.seconds)
    command = [sys.executable, "-m", "tests.adapters.fuzz", "--seconds", str(asked.seconds)]
    codes = [subprocess.run([*command, name], check=False).returncode for name in asked.targets]
    return int(any(codes))


def _fuzz(name: str, seconds: int) -> int:
    """Fuzz in this process, which libFuzzer ends."""
    import atheris

    again = ("functions.", "tests.adapters.fuzz.targets.")
    for module in [module for module in sys.modules if f"{module}.".startswith(again)]:
        del sys.modules[module]  # to be imported again, instrumented
    with atheris.instrument_imports(include=["functions"]):
        from tests.adapters.fuzz.targets import TARGETS, seeds
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-timeout={ONE_INPUT_S}", f"-rss_limit_mb={MEMORY_MIB}"]
        atheris.Setup(
            [sys.argv[0], *limits, f"-artifact_prefix={ARTIFACTS}/{name}-", "-print_final_stats=1", corpus], TARGETS[name]
        )
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
