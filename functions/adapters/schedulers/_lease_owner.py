"""Who holds a lease: a name for this process that no other process has, now or later, and whether its bearer is gone."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # fields 3 and 22 of /proc/PID/stat (proc(5)), counted from behind the command's name
_DEAD = {"Z", "X", "x"}  # ended, and its parent has not looked yet; dead


def myself() -> str:
    """`PLACE/PID/STARTED`. PLACE: boot and PID namespace, inside which a PID means something."""
    return f"{_place()}/{os.getpid()}/{_started(os.getpid())}"


def gone(owner: str) -> bool:
    """True only if that process certainly has ended. One of another container can't be seen from here."""
    place, pid, started = owner.split("/")
    return place == _place() != "" and _started(int(pid)) != started


@lru_cache(maxsize=1)
def _place() -> str:
    """Empty where there is no /proc (macOS): there, leases just run out."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process began, in ticks since the boot; empty if it is not there or dead."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[_STATE] in _DEAD else fields[_STARTED]
