"""Who holds a lease: a name that no other process ever has, and whether the process with a name has ended."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # fields 3 and 22 of /proc/PID/stat (proc(5)), counted from behind the command's name
_DEAD = {"Z", "X", "x"}  # ended, and its parent has not noticed yet; dead


def this_process() -> str:
    """`PLACE/PID/STARTED`. PLACE: boot and PID namespace, inside which a PID means something."""
    return f"{_place()}/{os.getpid()}/{_started(os.getpid())}"


def has_ended(owner: str) -> bool:
    """True only if that process has certainly ended. A process of another container can't be seen from here."""
    place, pid, started = owner.split("/")
    return place == _place() != "" and _started(int(pid)) != started


@lru_cache(maxsize=1)
def _place() -> str:
    """Empty without /proc (macOS): there, leases just expire."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process began, in ticks since the boot; empty if there is no such process or it is dead."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[_STATE] in _DEAD else fields[_STARTED]
