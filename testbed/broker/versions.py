"""Which RabbitMQ: the host's package, or 4.0 and 4.3 in folders that tools/brokers makes once."""

import fcntl
import os
import shutil
import subprocess
from argparse import ArgumentParser, ArgumentTypeError
from functools import cache
from pathlib import Path

from testbed.patience import PATIENCE_S

HOST = "host"
VERSIONS = ("4.0", "4.3")
"""Beside the host's (3.10 on Debian 12)."""

ROOT = Path(__file__).parents[2]
FOLDERS = Path(os.environ.get("BROKERS_FOLDER") or ROOT / "build" / "brokers")
"""Kept between runs; CI keeps it in a cache."""

WRAPPED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's wrapper on the PATH insists on the system user and its folders; what it wraps does not."""

WRAPPER = "rabbitmq-script-wrapper"

ENTER = """
mount -t tmpfs tmpfs "$0/tmp" && mkdir -p "$0$1" && mount --bind "$1" "$0$1" && mount --rbind /proc "$0/proc" &&
mount --rbind /dev "$0/dev" && root=$0 folder=$1 && shift && exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
"""In a mount namespace of its own, so that nothing stays mounted when the process ends, however it does."""


def program() -> Path | None:
    """The script that starts the host's broker: beside a wrapper, or on the PATH, as RabbitMQ's archive and Homebrew have it."""
    if WRAPPED.exists():
        return WRAPPED
    found = shutil.which("rabbitmq-server")
    script = Path(found).resolve() if found else None
    return script if script and script.name != WRAPPER else None


def available() -> bool:
    return program() is not None and shutil.which("epmd") is not None


def add_version(parser: ArgumentParser) -> None:
    """Add the option `--version`. One that can't be run here ends the program with 2, and says why."""
    parser.add_argument("--version", default=HOST, type=_runnable, metavar="3.10|4.0|4.3", help="3.10: the host's")


def _runnable(name: str) -> str:
    version = HOST if name == "3.10" else name
    if version not in (HOST, *VERSIONS):
        raise ArgumentTypeError(f"there is no {name}")
    if reason := reason_against(version):
        raise ArgumentTypeError(reason)
    return version


@cache
def reason_against(version: str) -> str:
    """Why this version can't be run here; empty if it can, after its folder has been made where it was missing (40 s)."""
    if version == HOST:
        return "" if available() else "rabbitmq-server is not installed"
    if not (FOLDERS / version / ".complete").exists() and (reason := _make(version)):
        return f"RabbitMQ {version} can't be made here: {reason}"
    return "" if available() else "the host has no epmd: install rabbitmq-server"


def _make(version: str) -> str:
    """Why its folder can't be made. Processes take turns, and each begins by removing an unfinished folder."""
    FOLDERS.mkdir(parents=True, exist_ok=True)
    with (FOLDERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [str(ROOT / "tools" / "brokers"), str(FOLDERS), version]
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10 * PATIENCE_S)
    return made.stderr.strip()[-500:] or f"exit status {made.returncode}" if made.returncode else ""


def command(version: str, folder: Path, name: str = "rabbitmq-server", *arguments: str) -> list[str]:
    """How to run one of RabbitMQ's scripts of this version, which sees `folder` and nothing else of the host's files."""
    if version == HOST:
        script = program()
        return [str(script.with_name(name) if script else name), *arguments]
    inside = [str(WRAPPED.with_name(name)), *arguments]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, str(FOLDERS / version), str(folder), *inside]
