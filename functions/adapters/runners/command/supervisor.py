"""Runs one command, and writes down when it began, what it printed and how it ended.

    python -I -S supervisor.py FOLDER ID

It outlives Unstick: it has a session, or a unit of systemd, of its own. The first line of FOLDER/ID.jsonl, the run's journal, is
its order; it appends the others. It locks the journal as long as it lives or its command, and the kernel ends that lock however
they die. A process id would prove nothing, since another process may have it by then. It imports nothing of Unstick's, and
starts in milliseconds."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

POLL_S = 0.05
KILL_AFTER_S = 5.0
KEPT_BYTES = 256 * 1024  # of the output; on disk twice that, and what the command prints between two looks

_stopped_by: list[str] = []


def read_entries(journal: int) -> list[dict[str, Any]]:
    """The journal's complete lines. A last line that a crash cut off is ignored."""
    text = os.pread(journal, 1 << 20, 0)
    entries = []
    for line in text.split(b"\n")[:-1]:
        with suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def append(journal: int, **entry: Any) -> None:
    """Append a line to the journal."""
    os.write(journal, json.dumps(entry).encode() + b"\n")


def supervise(folder: str, run: str) -> None:
    """Run the order in this journal once. Does nothing if there is none, if it is void, or if it was run before."""
    path = os.path.join(folder, run)  # noqa: PTH118 - pathlib would be half of the start
    try:
        journal = os.open(f"{path}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        lock = os.open(f"{path}.jsonl", os.O_RDONLY | os.O_CLOEXEC)  # the command gets it too, and can't write by it
    except FileNotFoundError:
        return
    fcntl.flock(lock, fcntl.LOCK_EX)
    entries = read_entries(journal)
    if len(entries) != 1:
        return  # void, or it was run already
    order = entries[0]
    append(journal, began=time.time(), pid=os.getpid())
    # After `began`: whoever finds no `began` after this time, under the lock, knows that nothing will run.
    if order["not_after"] is not None and time.time() > order["not_after"]:
        append(journal, ended=time.time(), status="refused_late", exit=3)
        return
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    status, code = _run(order, journal, lock, os.open(f"{path}.out", flags, 0o600))
    append(journal, ended=time.time(), status=status, exit=code, by="".join(_stopped_by[:1]))


def _run(order: dict[str, Any], journal: int, lock: int, output: int) -> tuple[str, int]:
    """Run the command to its end. Returns how it ended, and the exit status as a shell shows it."""
    argv, nothing = order["argv"], subprocess.DEVNULL
    try:
        child = subprocess.Popen(argv, stdin=nothing, stdout=output, stderr=output, pass_fds=(lock,), start_new_session=True)
    except OSError as error:
        os.write(output, f"{argv[0]}: {error.strerror}\n".encode())
        return "failed", 127
    status, ends, kill_at = "", time.monotonic() + order["timeout_s"], float("inf")
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(POLL_S)
        _keep_end(output)
        now = time.monotonic()
        if not status and (status := "aborted" if _is_stopped(journal) else "timedout" if now >= ends else ""):
            kill_at = now + KILL_AFTER_S
            _signal(child.pid, signal.SIGTERM)
        elif now >= kill_at:
            _signal(child.pid, signal.SIGKILL)
    if status:
        _signal(child.pid, signal.SIGKILL)  # children that outlived it
    code = child.wait()
    _keep_end(output)
    return status or ("failed" if code else "succeeded"), code if code >= 0 else 128 - code


def _keep_end(output: int) -> None:
    """Cut a long output down to its end, while the command appends to it."""
    if (size := os.fstat(output).st_size) > 2 * KEPT_BYTES:
        end = os.pread(output, KEPT_BYTES, size - KEPT_BYTES)
        os.ftruncate(output, 0)
        with suppress(OSError):  # a full disk loses output, but must not end the run
            os.write(output, end)


def _signal(group: int, number: int) -> None:
    """Signal the command's process group. Its number can't be another's yet: nobody has waited for the leader."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _is_stopped(journal: int) -> bool:
    """Whether somebody asked for the run's end, by a line or by SIGTERM."""
    _stopped_by.extend(entry["abort"] for entry in read_entries(journal)[1:] if "abort" in entry)
    return bool(_stopped_by)


if __name__ == "__main__":
    os.umask(0o077)
    os.chdir("/")
    signal.signal(signal.SIGTERM, lambda *_: _stopped_by.append("SIGTERM"))
    with suppress(BrokenPipeError):
        supervise(*sys.argv[1:3])
