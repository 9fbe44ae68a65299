"""Runs of commands: how one is filled in and started, the journal that its supervisor writes, and the history of all in SQLite.

No shell of ours sees a command, but `ssh` hands its arguments to one on the other side. So a value consists of characters that
mean nothing to any shell, and can become neither another argument nor an option of the program. A row of the history is
committed before anything starts, and SQLite decides between two who start at once. The supervisor runs apart from Unstick's
processes, and without the secrets in their environment."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.runners.command import supervisor
from functions.adapters.runners.command.supervisor import append, read_entries
from functions.adapters.sqlite import open_file
from functions.domain.decisions.matching import OPTION, shown, template_options
from functions.domain.model.alerts import Target
from functions.domain.texts.patterns import mask
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.secrets import redact
from functions.runtime.text import Text, named

if TYPE_CHECKING:
    from functions.adapters.runners.command import Job

SYSTEM = "command"
_PLAIN = re.compile(f"{supervisor.PLAIN}+")
UNIT = "unstick-run@{run}.service"
SAID = 300  # characters of systemctl's error
LOST = "lost"
"""The status of a run that vanished without noting an end: nobody knows how far it came."""
VOID_AFTER_S = 15.0  # a run that has not begun by then, and may no longer begin, is void. A supervisor begins within a second
EVIDENCE_BEGINS_S = 60.0
SHOWN_BYTES = supervisor.KEPT_BYTES  # of its output
KEPT_S = 40 * 86400.0  # more than the longest window of `limits.restarts`
_COLUMNS = "id, host, tag, not_after, created_at, began_at, ended_at, status, exit, stopped_by"


def fill(job: Job, options: Mapping[str, str]) -> list[str]:
    """The program and its arguments. Raises Denied for a value that is missing (empty without a default), or easily misread."""
    given = {**job.defaults, **{name: value for name, value in options.items() if value}}
    return [_fill_argument(template, given, is_program=not place) for place, template in enumerate(job.run)]


def _fill_argument(template: str, given: Mapping[str, str], *, is_program: bool) -> str:
    names = template_options(template)
    for name in names:
        if name not in given:
            remedy = Text("Add {name} to the runbook's options, or to the command's `defaults` (it may be '' there).", name=name)
            raise Denied(SYSTEM, Text("nothing fills in the option {name}", name=name), remedy=remedy)
    argument = OPTION.sub(lambda option: given[option[1]], template)
    is_option = argument.startswith("-") and not template.startswith("-")
    if (names and is_program) or is_option or not all(_PLAIN.fullmatch(given[name] or "-") for name in names):
        what = Text("{template} could become something else than one argument: {value}", template=template, value=shown(argument))
        remedy = Text("Allow letters, digits and @%+=:,./_- only, and no dash in front (`allow` in the runbook).")
        raise Denied(SYSTEM, what, remedy=remedy)
    return argument


def launch(folder: Path, run: int, *, systemd: bool, timeout_s: float) -> None:
    """Start the supervisor, in a session of its own or by systemd. Raises OSError, Denied if systemd refuses, and Unavailable if
    it doesn't answer."""
    if not systemd:
        command, nothing = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), str(run)], subprocess.DEVNULL
        process = subprocess.Popen(command, **_detach(stdout=nothing, stderr=nothing), start_new_session=True)
        threading.Thread(target=process.wait, daemon=True, name="supervisor").start()  # so that it leaves no zombie
        return
    command = ["systemctl", "start", "--no-ask-password", "--no-block", UNIT.format(run=run)]
    try:
        done = subprocess.run(command, **_detach(capture_output=True), timeout=max(timeout_s, 0.1), check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(SYSTEM, Text("systemd gave no answer"), late=True) from None
    if done.returncode:
        said = mask(redact(done.stderr.decode(errors="replace"))).strip()[:SAID]
        remedy = Text("Install the account, unstick-run@.service and the polkit rule (docs/command.md).")
        raise Denied(SYSTEM, named(Text("systemd refused"), said), remedy=remedy)


def _detach(**output: Any) -> dict[str, Any]:
    """What keeps a process from our input, folder and environment."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "LANG": "C.UTF-8"}
    return {"stdin": subprocess.DEVNULL, "cwd": "/", "env": environment, **output}


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


def create_order(folder: Path, run: int, argv: Sequence[str], not_after: float | None, timeout_s: float) -> None:
    """Write the journal's first line, the supervisor's order. Raises OSError, also if the run was declared void meanwhile."""
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder, run, os.O_CREAT | os.O_EXCL, argv=list(argv), not_after=not_after, timeout_s=timeout_s)


def ask_to_end(folder: Path, run: int, by: str) -> None:
    """Ask the supervisor to end the run."""
    with suppress(FileNotFoundError):
        _write(folder, run, os.O_APPEND, abort=by)


def _write(folder: Path, run: int, flags: int, **entry: Any) -> None:
    journal = os.open(folder / f"{run}.jsonl", os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        append(journal, **entry)
    finally:
        os.close(journal)


def read_state(folder: Path, run: int, *, may_void: bool) -> State:
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


def read_output(folder: Path, run: int) -> str:
    """The end of its output, so far."""
    with suppress(FileNotFoundError), (folder / f"{run}.out").open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - SHOWN_BYTES, 0))
        return file.read().decode(errors="replace")
    return ""


def remove_files(folder: Path, run: int) -> None:
    """Remove the journal and the output of a run."""
    for ending in ("jsonl", "out"):
        with suppress(OSError):
            (folder / f"{run}.{ending}").unlink()


class Run(Struct, frozen=True):
    """One row of the history, with what the run's journal adds."""

    id: int
    host: str
    tag: str
    not_after: float | None
    created_at: float
    state: State


def _to_run(row: tuple[Any, ...]) -> Run:
    number, host, tag, not_after, created_at, *state = row
    return Run(number, host, tag, not_after, created_at, State(*state))


def claim(path: str, target: Target, *, tag: str, not_after: float | None, timeout_s: float) -> int:
    """Commit the row of a run that is about to start, and return its number. Raises Denied if another run of this target has not
    ended, or if this start was made before. A target without a key is none: any number of such runs go at a time."""
    with open_file(SYSTEM, path, timeout_s=timeout_s) as file:
        file.execute("BEGIN IMMEDIATE")
        if file.execute("SELECT 1 FROM runs WHERE tag = ?", (tag,)).fetchone():
            raise Denied(SYSTEM, Text("this start was made before"), code=DeniedCode.BUSY)
        before = file.execute(f"SELECT {_COLUMNS} FROM runs WHERE target = ? AND ended_at IS NULL", (target.key,)).fetchall()  # noqa: S608 - our own text
        if target.key and any(
            run and run.state.ended_at is None for run in (_settle(file, path, _to_run(row)) for row in before)
        ):
            raise Denied(SYSTEM, Text("the command is already running"), code=DeniedCode.BUSY)
        for (old,) in file.execute("SELECT id FROM runs WHERE ended_at < ?", (time.time() - KEPT_S,)).fetchall():
            _delete(file, path, old)
        row = (target.key, target.job, target.options.get(target.holder, ""), tag, not_after, time.time())
        insert = "INSERT INTO runs (target, job, host, tag, not_after, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        run = file.execute(insert, row).lastrowid or 0
        remove_files(folder_of(path), run)  # of a former history, which used the same numbers
        file.execute("COMMIT")
    return run


def find(path: str, where: str, values: Sequence[object], *, timeout_s: float) -> list[Run]:
    """The matching runs that began, newest first, brought up to date from their journals."""
    with open_file(SYSTEM, path, timeout_s=timeout_s) as file:
        rows = file.execute(f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY id DESC", tuple(values)).fetchall()  # noqa: S608
        runs = [run for row in rows if (run := _settle(file, path, _to_run(row)))]
    return [run for run in runs if run.state.began_at is not None]


def _settle(file: sqlite3.Connection, path: str, run: Run) -> Run | None:
    """Bring the run's row up to date from its journal. Returns None, and deletes the row, if the run is void."""
    if run.state.ended_at is not None:
        return run
    begins_by = run.created_at + EVIDENCE_BEGINS_S if run.not_after is None else run.not_after
    may_void = time.time() > max(begins_by, run.created_at + VOID_AFTER_S)
    state = read_state(folder_of(path), run.id, may_void=may_void)
    if run.state.began_at is not None and state.began_at is None:  # its journal is gone: by somebody, or a restored copy lacks it
        state = replace(run.state, ended_at=time.time(), status=LOST)
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
    remove_files(folder_of(path), run)
