"""A server and all its processes: started, measured, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOP_S = 5.0
CPU_CLOCK = 2
"""CPUCLOCK_SCHED of the Linux kernel, which makes the CPU clock of a process from its id (clock_getcpuclockid(3))."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process of ours and what it started."""

    started: subprocess.Popen[bytes]
    began_at: float
    """Unix seconds, right before it was started."""
    log: Path

    def pids(self) -> list[int]:
        """The process and all below it."""
        found, to_see = [], [self.started.pid]
        while to_see:
            pid = to_see.pop()
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    to_see += [int(child) for child in (task / "children").read_text().split()]
                found.append(pid)
        return found

    def cpu_s(self) -> float:
        """CPU time of all that still run, in seconds, with that of threads that have ended."""
        used_s = 0.0
        for pid in self.pids():
            with suppress(OSError):
                used_s += time.clock_gettime(~pid << 3 | CPU_CLOCK)
        return used_s

    def memory(self) -> tuple[float, float]:
        """(PSS of the tree, RSS of the process with the most) in MiB. PSS counts a page that n processes share 1/n times."""
        pss, rss = 0, [0]
        for pid in self.pids():
            with suppress(OSError):
                rows = [row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
                found = {row[0]: int(row[1]) for row in rows}
                pss += found["Pss:"]
                rss.append(found["Rss:"])
        return pss / 1024, max(rss) / 1024

    def descriptors(self) -> tuple[int, int]:
        """(sockets, all else) that its processes have open."""
        names = []
        for pid in self.pids():
            with suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        names.append(str(descriptor.readlink()))
        sockets = sum(name.startswith("socket:") for name in names)
        return sockets, len(names) - sockets

    def stop(self) -> None:
        """End its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.started.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.started.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.started.pid, signal.SIGKILL)
        self.started.wait()


def started(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, one_cpu: bool = False) -> Tree:
    """Start a server in a process group of its own, on one CPU if it shall have no more; what it says goes to a file in the folder."""
    log = folder / "output.log"
    with log.open("ab") as out:
        began_at = time.time()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    if one_cpu:
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
    return Tree(process, began_at, log)
