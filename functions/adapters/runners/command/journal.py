"""A run's files beside the history: its journal (supervisor.py), and its output."""

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from functions.adapters.runners.command.supervisor import append, read_entries

LOST = "lost"
"""The status of a run that vanished without noting an end: nobody knows how far it came."""


class State(Struct, frozen=True):
    began_at: float | None = None
    ended_at: float | None = None
    status: str = ""
    exit: int | None = None
    stopped_by: str = ""
    void: bool = False  # it never began, and never will


def folder_of(path: str) -> Path:
    """The folder of the runs of this history."""
    return Path(f"{Path(path).absolute()}-runs")


def create(folder: Path, run: int, argv: Sequence[str], not_after: float | None, timeout_s: float) -> None:
    """Write the journal's first line, the supervisor's order. Raises OSError, also if the run was declared void meanwhile."""
    folder.mkdir(mode=0o700, exist_ok=True)
    file = os.open(folder / f"{run}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        append(file, argv=list(argv), not_after=not_after, timeout_s=timeout_s)
    finally:
        os.close(file)


def read(folder: Path, run: int, *, may_void: bool) -> State:
    """What became of a run. If no supervisor runs it any more, note its end: lost if it began; if not, and `may_void`, void.
    This takes the lock that a supervisor takes first, so a void run can't begin later."""
    try:
        journal = os.open(folder / f"{run}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT * may_void), 0o600)
    except FileNotFoundError:
        return State()
    try:
        state = _state(read_entries(journal))
        if state.ended_at is not None or state.void:
            return state
        with suppress(BlockingIOError):  # its supervisor has the lock: it runs
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = _state(read_entries(journal))
            if state.ended_at is None and state.began_at is not None:
                append(journal, ended=time.time(), status=LOST)
            elif state == State() and may_void:
                append(journal, void=time.time())
        return _state(read_entries(journal))
    finally:
        os.close(journal)


def _state(entries: list[dict[str, Any]]) -> State:
    whole: dict[str, Any] = {name: value for entry in entries for name, value in entry.items()}
    ended = whole.get("ended")
    return State(whole.get("began"), ended, whole.get("status", ""), whole.get("exit"), whole.get("by", ""), "void" in whole)


def abort(folder: Path, run: int, by: str) -> None:
    """Ask the supervisor to end the run."""
    with suppress(FileNotFoundError):
        journal = os.open(folder / f"{run}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        append(journal, abort=by)
        os.close(journal)


def read_output(folder: Path, run: int) -> str:
    """The newest part of its output, so far."""
    parts = []
    for name in (f"{run}.out.1", f"{run}.out"):
        with suppress(FileNotFoundError):
            parts.append((folder / name).read_bytes())
    return b"".join(parts).decode(errors="replace")


def remove(folder: Path, run: int) -> None:
    """Remove the journal and the output of a run."""
    for ending in ("jsonl", "out", "out.1"):
        with suppress(OSError):
            (folder / f"{run}.{ending}").unlink()
