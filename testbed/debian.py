"""Programs that tests and the demo run and PyPI doesn't have: found on the PATH, else installed from Debian's packages."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

NO_SERVICES = Path("/usr/sbin/policy-rc.d")
"""While this file exits with 101, a package's installation starts no service (Debian policy 9.3.3.1)."""

INSTALL_TIMEOUT_S, EVERY_S = 300, 10.0


def ensure(*packages: str) -> bool:
    """Whether all these Debian packages are installed; missing ones are installed where that needs no question.

    That is as root on a system with apt-get. The services of the packages are not started. False means: not to be had here.
    """
    missing = [name for name in packages if not _installed(name)]
    if not missing:
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    with (Path(tempfile.gettempdir()) / "unstick-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test runs take turns instead of failing on apt's own lock
        missing = [name for name in missing if not _installed(name)]
        return not missing or _install(missing)


def _installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        return False
    question = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    asked = subprocess.run(question, capture_output=True, text=True, check=False)
    return asked.stdout.strip() == "installed"


def _install(packages: list[str]) -> bool:
    said = threading.Event()
    threading.Thread(target=_say_that_it_goes_on, args=(packages, said), daemon=True).start()
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ours = not NO_SERVICES.exists()
    if ours:
        NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
        NO_SERVICES.chmod(0o755)
    try:
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]):
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_TIMEOUT_S,
            )
            if done.returncode != 0:
                print(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return all(_installed(name) for name in packages)
    except subprocess.TimeoutExpired:
        print(f"apt-get did not end within {INSTALL_TIMEOUT_S} s", file=sys.stderr)
        return False
    finally:
        said.set()
        if ours:
            NO_SERVICES.unlink()


def _say_that_it_goes_on(packages: list[str], ended: threading.Event) -> None:
    """A line at the start and every ten seconds, past whatever pytest captures: it takes minutes, and shows nothing else."""
    began = time.monotonic()
    print(f"installing {', '.join(packages)} from Debian, which takes a minute or two", file=sys.__stderr__, flush=True)
    while not ended.wait(EVERY_S):
        print(f"still installing, for {time.monotonic() - began:.0f} s", file=sys.__stderr__, flush=True)
