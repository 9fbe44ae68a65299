"""The history of runs in SQLite. A row is committed before anything starts, and SQLite decides between two who start at once."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.runners.command import journal
from functions.adapters.runners.command.journal import State
from functions.adapters.runners.command.settings import SYSTEM
from functions.adapters.sqlite import opened
from functions.runtime.errors import Denied, DeniedCode
from functions.runtime.text import Text

VOID_AFTER_S = 15.0  # a run that has not begun by then, and may no longer begin, is void. A supervisor begins within a second
EVIDENCE_BEGINS_S = 60.0
KEPT_S = 40 * 86400.0  # more than the longest window of `limits.restarts`
_COLUMNS = "id, job, tag, not_after, created_at, began_at, ended_at, status, exit, stopped_by"


class Run(Struct, frozen=True):
    """One row of the history, with what the run's journal adds."""

    id: int
    job: str
    tag: str
    not_after: float | None
    created_at: float
    state: State


def _to_run(row: tuple[Any, ...]) -> Run:
    number, job, tag, not_after, created_at, *state = row
    return Run(number, job, tag, not_after, created_at, State(*state))


def claim(path: str, target: str, job: str, *, tag: str, not_after: float | None, timeout_s: float) -> int:
    """Commit the row of a run that is about to start, and return its number. Raises Denied if another run of this target has not
    ended, or if this start was made before. An empty target is no target: any number of such runs go at a time."""
    with opened(SYSTEM, path, timeout_s=timeout_s) as file:
        file.execute("BEGIN IMMEDIATE")
        if file.execute("SELECT 1 FROM runs WHERE tag = ?", (tag,)).fetchone():
            raise Denied(SYSTEM, Text("this start was made before"), code=DeniedCode.BUSY)
        before = file.execute(f"SELECT {_COLUMNS} FROM runs WHERE target = ? AND ended_at IS NULL", (target,)).fetchall()  # noqa: S608 - our own text
        if target and any(run and run.state.ended_at is None for run in (_settle(file, path, _to_run(row)) for row in before)):
            raise Denied(SYSTEM, Text("the command is already running"), code=DeniedCode.BUSY)
        _forget_old(file, path)
        row = (target, job, tag, not_after, time.time())
        run = (
            file.execute("INSERT INTO runs (target, job, tag, not_after, created_at) VALUES (?, ?, ?, ?, ?)", row).lastrowid or 0
        )
        journal.remove(journal.folder_of(path), run)  # of a former history, which used the same numbers
        file.execute("COMMIT")
    return run


def find(path: str, where: str, values: Sequence[object], *, timeout_s: float) -> list[Run]:
    """The matching runs that began, newest first, brought up to date from their journals."""
    with opened(SYSTEM, path, timeout_s=timeout_s) as file:
        rows = file.execute(f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY id DESC", tuple(values)).fetchall()  # noqa: S608
        runs = [run for row in rows if (run := _settle(file, path, _to_run(row)))]
    return [run for run in runs if run.state.began_at is not None]


def withdraw(path: str, run: int, *, timeout_s: float) -> bool:
    """Declare the run void, if it has not begun. Returns whether it is void: nothing began, and nothing will."""
    with opened(SYSTEM, path, timeout_s=timeout_s) as file:
        state = journal.read(journal.folder_of(path), run, may_void=True)
        if state.void:
            _delete(file, path, run)
    return state.void


def _settle(file: sqlite3.Connection, path: str, run: Run) -> Run | None:
    """Bring the run's row up to date from its journal. Returns None, and deletes the row, if the run is void."""
    if run.state.ended_at is not None:
        return run
    begins_by = run.created_at + EVIDENCE_BEGINS_S if run.not_after is None else run.not_after
    may_void = time.time() > max(begins_by, run.created_at + VOID_AFTER_S)
    state = journal.read(journal.folder_of(path), run.id, may_void=may_void)
    if run.state.began_at is not None and state.began_at is None:  # somebody removed its journal
        state = replace(run.state, ended_at=time.time(), status=journal.LOST)
    if state.void:
        _delete(file, path, run.id)
        return None
    if state != run.state:
        file.execute(
            "UPDATE runs SET began_at = ?, ended_at = ?, status = ?, exit = ?, stopped_by = ? WHERE id = ? AND ended_at IS NULL",
            (state.began_at, state.ended_at, state.status, state.exit, state.stopped_by, run.id),
        )
    return replace(run, state=state)


def _delete(file: sqlite3.Connection, path: str, run: int) -> None:
    file.execute("DELETE FROM runs WHERE id = ?", (run,))
    journal.remove(journal.folder_of(path), run)


def _forget_old(file: sqlite3.Connection, path: str) -> None:
    for (run,) in file.execute("SELECT id FROM runs WHERE ended_at < ?", (time.time() - KEPT_S,)).fetchall():
        _delete(file, path, run)
