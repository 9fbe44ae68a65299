"""Gathers the cost of the bug and posts it, for the entry point `report` and for the command line."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from functions.application.deliver import post_to_all
from functions.application.observe import or_unknown, unwrap
from functions.application.ports import Ports
from functions.application.serialization import decode
from functions.application.storm import is_shard
from functions.domain.costs import card as cost_card
from functions.domain.costs import report as costs
from functions.domain.costs.model import Cost, Gap, Known, MissingData
from functions.domain.decisions.matching import template_labels, to_target
from functions.domain.model import unmatched
from functions.domain.model.alerts import Target
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.messages import Card
from functions.domain.model.observations import ExecutionHistory, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.model.unmatched import UnmatchedAlert
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_in_batches
from functions.runtime.text import Text

ARCHIVE_S = 30.0
OLDER_S = 20.0
OLDER_DAYS = 366  # how far back to search for the first incident
HISTORY_S = 20.0
AT_ONCE = 4  # targets whose history is read at the same time; each needs three requests to Rundeck
POST_S = 10.0
DOCUMENTS_READ = 200


class Reported(Struct, frozen=True):
    """The figures, the card that shows them, and the problem of each channel; empty if the card was posted."""

    cost: Cost
    card: Card
    problems: dict[str, str]

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(name for name, problem in self.problems.items() if not problem)

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(name for name, problem in self.problems.items() if problem)


class _Gathering(Struct):
    records: list[Archive] = field(default_factory=list)
    began: dict[str, list[float]] = field(default_factory=dict)
    targets: dict[str, tuple[str, Target]] = field(default_factory=dict)
    passed: dict[str, Counter[str]] = field(default_factory=dict)
    unmatched: tuple[UnmatchedAlert, ...] = ()
    broken: int = 0

    def take(self, record: Archive) -> None:
        incident, target = record.incident, record.target
        self.began.setdefault(incident.runbook, []).append(incident.began_at)
        if target is not None:
            self.targets[target.key] = (incident.runbook, target)


def read_archive(ports: Ports, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
    """(path, body) from DATE `since` on, oldest first. Raises Unavailable if all of it takes longer than `timeout_s`."""
    ends = ports.monotonic() + timeout_s
    for record in ports.store.read_archive(since=since, timeout_s=timeout_s):
        if ports.monotonic() > ends:
            detail = Text("the archive could not be read within {seconds} s", seconds=round(timeout_s))
            raise Unavailable("store", detail, late=True)
        yield record


def post_report(ports: Ports, channels: Iterable[str], days: int, now: float) -> Reported:
    """Gather, compute and post. A channel that is down is logged and named. Raises if the last 30 days can't be read."""
    cost, card = compose(ports, now, days)
    return Reported(cost, card, post_to_all(ports, channels, card, "report not posted to "))


def compose(ports: Ports, now: float, days: int) -> tuple[Cost, Card]:
    """The figures, and the card whose headline covers this many days. Posts and changes nothing."""
    known = gather(ports, now, costs.month_begin(now, ports.rules))
    cost = costs.cost(known, ports.rules, now)
    return cost, cost_card.card(cost, ports.rules, days=days)


def gather(ports: Ports, now: float, begin: float) -> Known:
    """Read archive, documents and history: the incidents that ended since `begin`, and when earlier ones began."""
    gathering = _Gathering()
    gaps = _read_older(ports, gathering, now, begin)
    for record in _archived(ports, gathering, time.strftime("%Y-%m-%d", time.gmtime(begin)), ARCHIVE_S):
        gathering.records.append(record)
        gathering.take(record)
    _take_fixed(ports, gathering)
    gaps += _take_documents(ports, gathering, now)
    histories = _histories(ports, gathering, now - begin)
    if gathering.broken:
        gaps.append(Gap(MissingData.ARCHIVE_BROKEN, count=gathering.broken))
    began = {name: tuple(times) for name, times in gathering.began.items()}
    return Known(
        tuple(gathering.records), began, gathering.targets, histories, tuple(gaps), gathering.passed, gathering.unmatched
    )


def _archived(ports: Ports, gathering: _Gathering, since: str, timeout_s: float) -> Iterator[Archive]:
    for path, body in read_archive(ports, since, timeout_s):
        try:
            yield decode(Archive, body, path)
        except Denied as denied:
            ports.log("WARNING", f"archived incident left out of the report: {denied}")
            gathering.broken += 1


def _read_older(ports: Ports, gathering: _Gathering, now: float, begin: float) -> list[Gap]:
    """Read the archive from before the month: when incidents began, and their targets."""
    since = time.strftime("%Y-%m-%d", time.gmtime(now - OLDER_DAYS * 86400))
    try:
        for record in _archived(ports, gathering, since, OLDER_S):
            if record.outcome.at >= begin:
                break
            gathering.take(record)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"older archive unreadable: {error}")
        return [Gap(MissingData.OLDER_UNREAD)]
    finally:
        gathering.broken = 0  # broken records of the month are counted when the figures are read
    return []


def _take_fixed(ports: Ports, gathering: _Gathering) -> None:
    """Add the targets that need no label, which are known before any alert."""
    url = ports.runner.url
    for runbook in ports.rules.runbooks.values():
        options = runbook.restart.options
        if not any(template_labels(option) for option in options.values()):
            target = to_target(runbook.restart, url, options)
            gathering.targets.setdefault(target.key, (runbook.name, target))


def _take_documents(ports: Ports, gathering: _Gathering, now: float) -> list[Gap]:
    """Add what only documents have: suspicions that passed or matched nothing, and targets that Unstick never restarted."""
    try:
        listed = [entry.key for entry in ports.store.list_documents(timeout_s=ARCHIVE_S)]
        others = ("alert-", "bundle-", "check-")
        keys = [key for key in listed if key != "pause" and not is_shard(key) and not key.startswith(others)]
        keys.sort(
            key=lambda key: (key != unmatched.KEY, key in gathering.targets)
        )  # if documents can't be read: the restarts of their targets
        unknown = sum(key not in gathering.targets and key != unmatched.KEY for key in keys)
        read = keys[:DOCUMENTS_READ]
        calls = [partial(ports.store.load, key, timeout_s=POST_S) for key in read]
        loaded = run_in_batches(ports.run_parallel, calls, timeout_s=POST_S, at_once=AT_ONCE)
        for key, result in zip(read, loaded, strict=True):
            stored = unwrap(result)
            document = decode(Document, stored.body, key) if stored else Document(key)
            if key == unmatched.KEY:
                gathering.unmatched = document.unmatched.recent(now, unmatched.KEPT_S)
            if document.target is not None and (runbook := runbook_of(document.target, ports.rules)):
                gathering.targets.setdefault(key, (runbook, document.target))
                gathering.passed.setdefault(runbook, Counter()).update(document.passed)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"documents unreadable for the report: {error}")
        return [Gap(MissingData.TARGETS_UNREAD)]
    return [Gap(MissingData.TARGETS_UNREAD)] if unknown > DOCUMENTS_READ else []


def runbook_of(target: Target, rules: Rules) -> str:
    """The first runbook that restarts with this job and these options; a document does not store its runbook's name."""
    for runbook in rules.runbooks.values():
        restart = runbook.restart
        fixed = {name: value for name, value in restart.options.items() if "${" not in value}
        same_names = restart.options.keys() == target.options.keys()
        if restart.job == target.job and same_names and fixed.items() <= target.options.items():
            return runbook.name
    return ""


def _histories(ports: Ports, gathering: _Gathering, since_s: float) -> dict[str, ExecutionHistory | Unknown]:
    """Read each target's history, or the reason why it can't be read."""
    targets = [target for _, target in gathering.targets.values()]
    look = partial(ports.runner.look, since_s=since_s, follow=None, timeout_s=HISTORY_S, tail=False)
    calls = [partial(look, target) for target in targets]
    results = run_in_batches(ports.run_parallel, calls, timeout_s=HISTORY_S, at_once=AT_ONCE)
    return {target.key: or_unknown(result) for target, result in zip(targets, results, strict=True)}


def as_json(cost: Cost) -> Any:
    """The figures as plain dicts and lists."""
    gaps = tuple(replace(gap, about=str(gap.about)) for gap in cost.gaps)
    unmatched = tuple(replace(one, detail=str(one.detail)) for one in cost.unmatched)
    return msgspec.to_builtins(replace(cost, gaps=gaps, unmatched=unmatched))
