"""Wake-ups in one SQLite file, for one machine. Any number of processes may add and deliver them.

While a process delivers a wake-up, it holds a lease on it. The lease is short and renewed during the delivery, so a wake-up
whose process died is delivered again after at most 15 s: at least once, never lost."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial

from msgspec import Struct, field

from functions.adapters.checks import finding_of
from functions.adapters.sqlite import open_file
from functions.application.ports import Finding, MonitoredScheduler, Ports
from functions.runtime import logs
from functions.runtime.errors import UnstickError

SYSTEM = "scheduler"
_POLL_S = 0.1  # the delay until a wake-up or a free place is noticed; 0.4 % of a core when idle
_AT_ONCE = 8  # a slow target occupies at most one of these
_LEASE_S = 15.0  # the longest delay of a wake-up after a crash; a second delivery is harmless
_RENEW_S = 3.0  # five renewals a lease
_SWEEP_S = 60.0
_SWEPT_LATE_S = 90.0
_MERGE_S = 1.0
_LONGEST_BACKOFF_S = 60.0
_OPEN_S = 60.0
"""Seconds that the file stays open at a time. Meanwhile SQLite keeps the descriptors of all connections that this process
closes, for the next ones (os_unix.c, "Posix Advisory Locking")."""
_FILE_TIMEOUT_S = 5.0


class LocalScheduler(Struct, frozen=True):
    """`path`: the SQLite file; may be the local store's."""

    path: str

    def wake(self, at: float, payload: str, *, timeout_s: float) -> None:
        """Have `payload` delivered at `at`. Adds nothing if an equal one is due then or up to a second later."""
        with open_file(SYSTEM, self.path, timeout_s=timeout_s) as file:
            file.execute(
                "INSERT INTO wake_ups (at, payload) SELECT :at, :payload WHERE NOT EXISTS (SELECT 1 FROM wake_ups"
                " WHERE at BETWEEN :at AND :at + :merge AND payload = :payload AND owner IS NULL)",
                {"at": at, "payload": payload, "merge": _MERGE_S},
            )

    def check(self, *, timeout_s: float) -> list[Finding]:
        def write() -> str:
            with open_file(SYSTEM, self.path, timeout_s=timeout_s) as file:
                file.execute("BEGIN IMMEDIATE")
                file.execute("INSERT INTO wake_ups (at, payload) VALUES (0, '')")
                file.execute("ROLLBACK")
            return "writable"

        remedy = "Check what else uses the file, and whether the disk is full."
        return [finding_of(f"scheduler {self.path}", write, remedy)]

    def is_running(self, *, timeout_s: float) -> bool:
        """Whether some process delivers wake-ups: the sweep was not long ago."""
        with open_file(SYSTEM, self.path, timeout_s=timeout_s) as file:
            row = file.execute("SELECT next_at FROM sweeps").fetchone()
        return row is not None and time.time() < row[0] + _SWEPT_LATE_S

    def find_wrong(self, ports: Ports) -> tuple[str, ...]:
        from functions.adapters.schedulers import _local_health  # for monitors only

        return _local_health.find_wrong(ports, self, time.monotonic() // _local_health.KEPT_S)

    def show_figures(self, ports: Ports, *, healthy: bool) -> str:
        from functions.adapters.schedulers import _local_health

        return _local_health.metrics(ports, healthy=healthy)

    def run(self, deliver: Callable[[str], None], sweep: Callable[[], None], stop: threading.Event) -> None:
        """Deliver due wake-ups until `stop` is set, and sweep every minute. If `deliver` raises, the payload is delivered again
        later, with backoff; so is a payload whose process was killed. Returns at most half a second after `stop`. Deliveries go
        on in daemon threads; if the process ends before them, they are repeated."""
        runner = _Runner(self.path, deliver, sweep, stop)
        failures = 0
        while not stop.is_set():
            failures = 0 if _succeeds("The local scheduler", runner.run_for_a_minute) else failures + 1
            stop.wait(_backoff_s(failures) if failures else 0)


class _Due(Struct, frozen=True):
    id: int
    payload: str
    failures: int


class _Runner(Struct):
    """The state of one call of `run`. Its own thread claims and renews; the delivery threads write what came of it."""

    path: str
    deliver: Callable[[str], None]
    sweep: Callable[[], None]
    stop: threading.Event
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    under_way: dict[threading.Thread, _Due] = field(default_factory=dict)

    def run_for_a_minute(self) -> None:
        """Claim and start what is due for a minute. The file stays open meanwhile, so that each query costs next to nothing."""
        with open_file(SYSTEM, self.path, timeout_s=_FILE_TIMEOUT_S) as file:
            renew_at, until = 0.0, time.monotonic() + _OPEN_S
            while time.monotonic() < until and not self.stop.is_set():
                self.under_way = {thread: due for thread, due in self.under_way.items() if thread.is_alive()}
                if time.monotonic() >= renew_at:
                    self._renew(file)
                    renew_at = time.monotonic() + _RENEW_S
                now = time.time()
                if _may_sweep(file, now):
                    _start(partial(_succeeds, "The sweep", self.sweep))
                places = _AT_ONCE - len(self.under_way)
                for due in _claim(file, self.owner, now, places) if places > 0 else []:
                    self.under_way[_start(self._deliver, due)] = due
                self.stop.wait(_POLL_S)

    def _deliver(self, due: _Due) -> None:
        """If it can't be written what came of it, its lease ends, and it is delivered again."""
        delivered = _succeeds("A wake-up", lambda: self.deliver(due.payload))
        _succeeds("What came of a wake-up", lambda: self._settle(due, delivered=delivered))

    def _settle(self, due: _Due, *, delivered: bool) -> None:
        """Delete a delivered wake-up; release one that failed, so that it is delivered again. Matches payload and owner too:
        ids are reused, and a process that lost its lease must not remove another's wake-up."""
        later = "UPDATE wake_ups SET at = :at, failures = failures + 1, owner = NULL, leased_until = 0"
        row = {"id": due.id, "payload": due.payload, "owner": self.owner, "at": time.time() + _backoff_s(due.failures + 1)}
        with open_file(SYSTEM, self.path, timeout_s=_FILE_TIMEOUT_S) as file:
            change = "DELETE FROM wake_ups" if delivered else later
            file.execute(f"{change} WHERE id = :id AND payload = :payload AND owner = :owner", row)

    def _renew(self, file: sqlite3.Connection) -> None:
        until = time.time() + _LEASE_S
        rows = [(until, due.id, self.owner) for due in self.under_way.values()]
        if rows:
            file.executemany("UPDATE wake_ups SET leased_until = ? WHERE id = ? AND owner = ?", rows)


def _start(work: Callable[..., object], *arguments: _Due) -> threading.Thread:
    """Raises RuntimeError if the machine gives no more threads now. The lease of a wake-up then ends, and it is delivered."""
    thread = threading.Thread(target=work, args=arguments, daemon=True, name="unstick-wake-up")
    thread.start()
    return thread


def _claim(file: sqlite3.Connection, owner: str, now: float, places: int) -> list[_Due]:
    """Lease what is due and not leased, oldest first. Equal payloads are for one target, so only one at a time. A lease that ends
    impossibly late is ignored: the clock was set back."""
    leased = "leased_until BETWEEN :now AND :longest"
    times = {"now": now, "longest": now + _LEASE_S + 1}
    rows = file.execute(
        f"SELECT id, payload, failures, min(at) FROM wake_ups WHERE at <= :now AND NOT {leased}"  # noqa: S608 - our own text
        f" AND payload NOT IN (SELECT payload FROM wake_ups WHERE {leased}) GROUP BY payload"
        " ORDER BY min(at) LIMIT :places",
        {**times, "places": places},
    ).fetchall()
    wakes = [_Due(*row[:3]) for row in rows]
    update = f"UPDATE wake_ups SET owner = :owner, leased_until = :until WHERE id = :id AND NOT {leased}"  # noqa: S608 - as above
    lease = {**times, "owner": owner, "until": now + _LEASE_S}
    return [due for due in wakes if file.execute(update, {**lease, "id": due.id}).rowcount == 1]


def _may_sweep(file: sqlite3.Connection, now: float) -> bool:
    """Whether this process sweeps now; a minute later any process may."""
    row = file.execute("SELECT next_at FROM sweeps").fetchone()
    if row and now < row[0] <= now + _SWEEP_S:
        return False
    cursor = file.execute(
        "INSERT INTO sweeps (one, next_at) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET next_at = excluded.next_at"
        " WHERE next_at = ?",
        (now + _SWEEP_S, row[0] if row else None),
    )
    return cursor.rowcount == 1


def _backoff_s(failures: int) -> float:
    """1 s, doubled with each failure up to a minute."""
    return min(2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF_S)


def _succeeds(what: str, work: Callable[[], None]) -> bool:
    """Do the work, and return whether it succeeded; a failure is logged, and the caller tries again later."""
    try:
        work()
    except UnstickError as error:
        logs.event("WARNING", f"{what} failed and will be tried again: {error}")
    except Exception as error:  # noqa: BLE001 - a failed delivery is repeated and must not stop the others
        logs.event("ERROR", f"{what} failed and will be tried again", error=error)
    else:
        return True
    return False


ADAPTER: type[MonitoredScheduler] = LocalScheduler
