"""Composes the report from the archive and posts it, for the entry point `report` and for the command line."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.deliver import post_to_all
from functions.application.observe import unwrap
from functions.application.ports import Ports
from functions.application.serialization import decode
from functions.domain.cards import report as costs
from functions.domain.cards.report import DAY_S, Report, to_case
from functions.domain.model.incidents import Archive
from functions.domain.model.messages import Card
from functions.runtime.errors import Denied
from functions.runtime.parallel import run_in_batches

ARCHIVE_S = 120.0
MOST = 10_000  # records that are read: 160 a day, over a month and the month before
AT_ONCE = 16

Kept = TypeVar("Kept")


class Reported(Struct, frozen=True):
    """The figures, the card that shows them, and the problem of each channel; empty if the card was posted."""

    cost: Report
    card: Card
    problems: dict[str, str]

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(name for name, problem in self.problems.items() if not problem)

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(name for name, problem in self.problems.items() if problem)


class Records(Struct, Generic[Kept], frozen=True):
    """What was kept of the archive's newest records; how many were read, of so many; and why some could not be decoded."""

    kept: tuple[Kept, ...]
    read: int
    archived: int
    broken: tuple[Denied, ...]


def post_report(ports: Ports, channels: Iterable[str], days: int, now: float) -> Reported:
    """Compose and post. A channel that is down is logged and named. Raises if the archive can't be read."""
    cost, card = compose(ports, now, days)
    return Reported(cost, card, post_to_all(ports, channels, card, "report not posted to "))


def compose(ports: Ports, now: float, days: int) -> tuple[Report, Card]:
    """The figures of the last `days` days and of as many before, and their card. Posts and changes nothing."""
    records = read_records(ports, now - 2 * days * DAY_S, MOST, to_case, ARCHIVE_S)
    for denied in records.broken:
        ports.log("WARNING", f"archived incident left out of the report: {denied}")
    cost = costs.count(records.kept, ports.rules, now, days)
    cost = replace(cost, archived=records.archived, read=records.read, broken=len(records.broken))
    return cost, costs.compose(cost, ports.rules)


def read_records(ports: Ports, since: float, most: int, keep: Callable[[Archive], Kept], timeout_s: float) -> Records[Kept]:
    """Read the newest records of the days from `since` on, newest first: at most `most`, until the time is over. However many
    there are, it holds few at a time. Raises Unavailable or Denied if the store can't be read."""
    ends = ports.monotonic() + timeout_s
    paths = ports.store.list_archive(since=time.strftime("%Y-%m-%d", time.gmtime(since)), timeout_s=timeout_s)[::-1]
    calls = [partial(ports.store.read_archived, path, timeout_s=timeout_s) for path in paths[:most]]
    kept: list[Kept] = []
    broken: list[Denied] = []
    read = 0
    bodies = run_in_batches(ports.run_parallel, calls, timeout_s=timeout_s, at_once=AT_ONCE)
    for path, result in zip(paths, bodies, strict=False):
        body, read = unwrap(result), read + 1
        try:
            if body is not None:  # deleted meanwhile
                kept.append(keep(decode(Archive, body, path)))
        except Denied as denied:
            broken.append(denied)
        if ports.monotonic() > ends:
            break
    return Records(tuple(kept), read, len(paths), tuple(broken))


def as_json(cost: Report) -> Any:
    """The figures as plain dicts and lists."""
    return msgspec.to_builtins(cost)
