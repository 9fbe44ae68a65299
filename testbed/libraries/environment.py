"""The environment of the client libraries: made where it is missing, from pinned packages whose hashes are compared, and kept."""

import fcntl
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = Path(__file__).with_name("requirements.txt")
FOLDERS = Path(os.environ.get("LIBRARIES_FOLDER") or ROOT / "build" / "libraries")
"""Kept between runs; CI keeps it in a cache."""
MACHINE = dict(os.environ)
"""As it was when this was imported: tests take away what pip may need to reach an index, as a proxy or a certificate."""
MADE_WITHIN_S = 600


def python() -> Path:
    """Its interpreter. Another list of packages, or another Python, is another environment."""
    known = hashlib.sha256(PINNED.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return FOLDERS / known / "bin" / "python"


@cache
def reason_against() -> str:
    """Why there can be none here; empty if there is one, after it has been made where it was missing (half a minute)."""
    folder = python().parents[1]
    complete = folder / ".complete"
    folder.mkdir(parents=True, exist_ok=True)
    with (FOLDERS / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if complete.exists():
            return ""
        install = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], [*install, "-r", str(PINNED)]):
            try:
                done = subprocess.run(command, env=MACHINE, capture_output=True, text=True, check=False, timeout=MADE_WITHIN_S)
            except subprocess.TimeoutExpired:
                return f"the client libraries could not be installed within {MADE_WITHIN_S} s"
            if done.returncode:
                return f"the client libraries can't be installed here: {(done.stderr or done.stdout).strip()[-500:]}"
        complete.touch()
    return ""
