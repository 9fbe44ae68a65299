"""Runs one command, and writes down when it began, what it printed and how it ended.

    python -I [-S] supervisor.py FOLDER ID [CONFIGURATION]

It outlives Unstick: it has a session, or a unit of systemd, of its own. The first line of FOLDER/ID.jsonl, the run's journal, is
its order; it appends the others. It locks the journal as long as it lives or its command, and the kernel ends that lock however
they die; another process may have its id by then. Who may write the journal need not have the unit's rights: with CONFIGURATION
it runs only what a job there can be filled in to. It imports nothing of Unstick's."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

POLL_S = 0.05
KILL_AFTER_S = 5.0
KEPT_BYTES = 256 * 1024  # of the output; on disk twice that, and what the command prints between two looks
PLAIN = "[A-Za-z0-9_@%+=:,./-]"  # the characters of an option's value

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


def supervise(folder: str, run: str, configuration: str = "") -> None:
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
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    output = os.open(f"{path}.out", flags, 0o600)
    if configuration and (why := _explain_refusal(order, configuration)):
        os.write(output, f"refused: {why}\n".encode())
        status, code = "refused", 3
    # After `began`: whoever finds no `began` after this time, under the lock, knows that nothing will run.
    elif order["not_after"] is not None and time.time() > order["not_after"]:
        status, code = "refused_late", 3
    else:
        status, code = _run(order, journal, lock, output)
    append(journal, ended=time.time(), status=status, exit=code, by="".join(_stopped_by[:1]))


def _explain_refusal(order: dict[str, Any], configuration: str) -> str:
    """Why this order isn't run. Empty if a job of the configuration, or `unstick check`, can have given it."""
    import yaml  # only here: without a configuration, Python starts without packages

    try:
        with open(configuration, "rb") as file:  # noqa: PTH123 - as below
            jobs = yaml.load(file, Loader=yaml.BaseLoader)["command"]["jobs"]  # noqa: S506 - it knows texts only
        may = any(_can_be(job, order) for job in [*jobs.values(), {"run": ["true"]}])
    except (OSError, AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        return f"{configuration}: {type(error).__name__}"
    return "" if may else f"no job in {configuration} can be filled in to this command, with its timeout"


def _can_be(job: dict[str, Any], order: dict[str, Any]) -> bool:
    """Whether the job can be filled in to these arguments, as runs.fill does it: compared whole, joined by NUL."""
    program, *arguments = job["run"]
    timeout, defaults, pattern = job.get("timeout") or "300", job.get("defaults") or {}, re.escape(program)
    names: list[str] = []
    for argument in arguments:
        pattern += "\0" if argument.startswith("-") else "\0(?!-)"
        for place, part in enumerate(re.split(r"\$\{option\.([A-Za-z0-9_.-]+)\}", argument)):
            if not place % 2:
                pattern += re.escape(part)
            elif part in names:
                pattern += f"(?P=o{names.index(part)})"
            else:
                pattern += f"(?P<o{len(names)}>{PLAIN}{'*' if defaults.get(part) == '' else '+'})"
                names.append(part)
    limit_s = float(timeout.rstrip("smhd ")) * {"m": 60, "h": 3600, "d": 86400}.get(timeout[-1], 1)
    return bool(re.fullmatch(pattern, "\0".join(order["argv"]))) and order["timeout_s"] <= limit_s


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
        supervise(*sys.argv[1:4])
