r"""Build the source archive of the functions, reproducibly: the same sources and packages give the same bytes.

python infra/package.py --config infra/environments/production/unstick.yaml

The configuration is checked first and goes in twice: as the file, and in its checked form (functions/bootstrap.py), so that
a cold start need not check it again. The file also lies beside the archive, as unstick.zip.yaml. Terraform reads that one, so
names and program can't come from different files. Needs the packages of requirements-tool.txt.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ALONE = ("main.py",)
PINS, PINS_WITH_APPRISE = "requirements.txt", "requirements-apprise.txt"
LOADER = "functions.config.loader"
"""Reads unstick.yaml; not needed in the cloud, since the archive contains the checked form."""

BEGINNING_OF_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
READABLE_FILE = 0o100644 << 16


def contents(root: Path, config: Path) -> dict[str, bytes]:
    """Name in the archive -> content. The configuration becomes unstick.yaml, whatever its name is here.

    Raises OSError if a file can't be read, ConfigError if the configuration is wrong.
    """
    from functions.bootstrap import encode_prebuilt, prebuilt_path
    from functions.config.loader import load_config
    from functions.runtime.errors import ConfigError

    file = config.read_bytes()
    checked = load_config(config, on_cloud_run=True)
    if checked.rules.time_zone not in files("tzdata").joinpath("zones").read_text(encoding="utf-8").split():
        remedy = "Write one such as Asia/Tokyo, as the IANA database spells it"
        raise ConfigError((f"{config.name}: time_zone is known to this machine, but to none without it. {remedy}.",))
    inside = Path("unstick.yaml")
    pins = PINS_WITH_APPRISE if any(channel.name == "apprise" for channel in checked.channels.values()) else PINS
    found = {name: (root / name).read_bytes() for name in ALONE} | {PINS: (root / pins).read_bytes()}
    found |= {inside.name: file, prebuilt_path(inside).name: encode_prebuilt(checked, file)}
    functions = root / "functions"
    read = (
        *(functions / "locale").rglob("*.mo"),
        *(functions / "entrypoints" / "people" / "templates").iterdir(),
        *(functions / "runtime").glob("*.json"),
    )
    return found | {path.relative_to(root).as_posix(): path.read_bytes() for path in (*reached_files(root), *read)}


def reached_files(root: Path) -> set[Path]:
    """The files of functions/ that main.py can import, at its start or later, and all adapters."""
    adapters = (path.relative_to(root).with_suffix("").parts for path in (root / "functions" / "adapters").rglob("*.py"))
    waiting = ["main", *(".".join(parts).removesuffix(".__init__") for parts in adapters)]
    reached: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        place = root.joinpath(*module.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module in reached or module == LOADER or not path.is_file():
            continue
        reached[module] = path
        waiting += [module.rpartition(".")[0] or "functions", *imported(path)]
    return set(reached.values()) - {root / "main.py"}


def imported(path: Path) -> Iterator[str]:
    """The modules that the file imports anywhere. `from a import b` gives both a and a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def build(root: Path, config: Path, to: Path) -> str:
    """Write the archive and its configuration, and return its SHA-256. Raises like `contents`, and then leaves nothing behind."""
    made = contents(root, config)
    to.parent.mkdir(parents=True, exist_ok=True)
    # Stored, not deflated: the output of deflate differs between versions of zlib, and it is only a few hundred KB.
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(made):
            entry = zipfile.ZipInfo(name, BEGINNING_OF_ZIP_TIME)
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = READABLE_FILE
            archive.writestr(entry, made[name])
    to.with_name(f"{to.name}.yaml").write_bytes(made["unstick.yaml"])
    return hashlib.sha256(to.read_bytes()).hexdigest()


def main() -> int:
    """Build, and print what was built."""
    parser = argparse.ArgumentParser(description="Build the source archive of the functions.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, which becomes unstick.yaml")
    parser.add_argument("--to", type=Path, help="where to write (unstick.zip beside the configuration)")
    arguments = parser.parse_args()
    to = arguments.to or arguments.config.parent / "unstick.zip"
    try:
        from functions.runtime.errors import ConfigError

        digest = build(ROOT, arguments.config, to)
    except ImportError as error:
        remedy = "It takes Python 3.11 and the packages of requirements-tool.txt: say `make setup`, and take .venv/bin/python."
        print(f"package: {sys.executable} can't read the configuration ({error}). {remedy}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"package: {error.filename} is missing. Begin with a copy of infra/unstick.cloud.yaml.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    except ConfigError as error:
        print(f"package: {arguments.config} has mistakes; nothing was built.", file=sys.stderr)
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    from functions import __version__

    print(f"Unstick {__version__}, {to}: {to.stat().st_size} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
