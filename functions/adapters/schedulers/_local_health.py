"""Whether Unstick itself works, on one machine: `/healthz` for anybody, and the figures of `/metrics`, in Prometheus' text form,
for those who know this machine's token.

Strangers see which part is ill; the log has the details, such as the store's path. Unstick keeps no figures in memory: what is
open comes from the documents, and every counter is counted in the archive, which only grows. So all processes show the same, and
none begins anew at a restart."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from functions.application.documents import decode
from functions.application.history import load_documents, read_bodies
from functions.application.observe import read_pause
from functions.application.ports import Listed, Ports
from functions.domain.model.alerts import NO_RUNBOOK_KEY
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Archive, Incident
from functions.runtime.errors import Denied, Unavailable

if TYPE_CHECKING:
    from functions.adapters.schedulers.local import LocalScheduler

KEPT_S = 5.0  # strangers may ask as often as they like: an answer is kept this long
CHECK_S = 2.0
OVERDUE_S = 120.0
READ = 200  # open documents that are read, the most overdue first. The count of open documents is always complete.
ARCHIVE_S = 10.0
DAY_S = 86400.0
FIRST_DAY = "1970-01-01"
INCIDENTS, HOLDS, RESTARTS = "incidents", "holds", "restarts"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float]


@lru_cache(maxsize=1)
def find_wrong(ports: Ports, scheduler: LocalScheduler, _moment: float) -> tuple[str, ...]:
    """The parts that are ill, in words for strangers."""
    parts = {
        "the store can't be written": ports.store.check(timeout_s=CHECK_S),
        "wake-ups can't be written": scheduler.check(timeout_s=CHECK_S),
    }
    wrong = {part: str(finding.detail) for part, findings in parts.items() for finding in findings if finding.ok is not True}
    for part, detail in wrong.items():
        ports.log("ERROR", f"unhealthy: {part}: {detail}")
    if not wrong and not scheduler.is_running(timeout_s=CHECK_S):
        return ("no process delivers wake-ups",)
    return tuple(wrong)


# --- figures


def metrics(ports: Ports, *, healthy: bool) -> str:
    """All figures; if the store can't be read, only that Unstick isn't healthy."""
    try:
        listed = ports.store.list_documents(timeout_s=CHECK_S)
        lines = [*_of_documents(ports, listed), *_of_archive(ports)]
    except (Unavailable, Denied):
        healthy, lines = False, []
    well = _family("healthy", "gauge", "Whether the store can be written and wake-ups are delivered.", [((), healthy)])
    return "\n".join([*well, *lines, ""])


def _of_documents(ports: Ports, listed: list[Listed]) -> Iterator[str]:
    now, due = ports.now(), sorted((document.due, document.key) for document in listed if document.due is not None)
    keys = [key for _, key in due[:READ]]
    noted = [NO_RUNBOOK_KEY] if any(document.key == NO_RUNBOOK_KEY for document in listed) else []
    read = load_documents(ports, [*{*keys, *noted}], timeout_s=CHECK_S).readable  # one of a newer release hides no figures
    documents = {document.key: document for document in read}
    incidents = [document.incident for document in documents.values() if document.incident is not None]
    phases = Counter(incident.phase for incident in incidents)
    waiting = [message for document in documents.values() for message in document.to_tell]
    early = documents[NO_RUNBOOK_KEY].turned_away.since(now - DAY_S) if NO_RUNBOOK_KEY in documents else ()
    unchanged = "Since when the slowest open incident is unchanged, unless it waits for people or a time."
    gauges: list[tuple[str, str, float]] = [
        ("paused", "Whether the kill switch is on.", read_pause(ports, CHECK_S) is not None),
        ("documents_open", "Documents that wait for a wake-up.", len(due)),
        ("documents_overdue", "Documents whose wake-up is two minutes late.", sum(now - at > OVERDUE_S for at, _ in due)),
        ("wakeup_lateness_seconds", "How late the latest wake-up is.", _longest(now - at for at, _ in due)),
        ("incident_unchanged_seconds", unchanged, _longest(_unchanged_s(incident, now) for incident in incidents)),
        ("messages_waiting", "Messages that no chat has accepted yet.", len(waiting)),
        ("message_waiting_seconds", "Since when the oldest of them waits.", _longest(now - told.card.at for told in waiting)),
        ("unmatched_alerts", "Distinct alerts of the last day that matched no runbook and got no card of their own.", len(early)),
    ]
    if (expires_at := ports.rules.token_expires_at) is not None:
        gauges.append(("token_expiry_timestamp_seconds", "When the runner's token expires.", expires_at))
    for name, text, value in gauges:
        yield from _family(name, "gauge", text, [((), value)])
    by_phase = [((("phase", phase.value),), phases[phase]) for phase in Phase]
    yield from _family("incidents_open", "gauge", "Open incidents.", by_phase)


def _longest(seconds: Iterable[float]) -> float:
    return max([0.0, *seconds])


def _unchanged_s(incident: Incident, now: float) -> float:
    changed_at = max([incident.began_at, *incident.found.values(), *(entry.at for entry in incident.history[-1:])])
    return 0.0 if incident.phase is Phase.ASKED else now - changed_at


def _of_archive(ports: Ports) -> Iterator[str]:
    """Counters of what ended. A process counts the days before yesterday once; those of the last two may still grow. What never
    happened is shown as 0, since a counter that begins with 1 shows no increase."""
    recent = time.strftime("%Y-%m-%d", time.gmtime(ports.now() - DAY_S))
    counts = count_before(ports, recent) + _count(ports, recent, "")
    names = sorted({*ports.rules.runbooks, *(key[1] for key in counts if key[0] == INCIDENTS)})
    samples: list[Sample] = [
        ((("runbook", name), ("outcome", ending.value)), counts[INCIDENTS, name, ending]) for name in names for ending in Ending
    ]
    yield from _family("incidents_total", "counter", "Ended incidents.", samples)
    samples = [((("reason", reason.value),), counts[HOLDS, reason]) for reason in Reason]
    yield from _family("holds_total", "counter", "Ended incidents without a restart, by reason.", samples)
    samples = [((("runbook", name),), counts[RESTARTS, name]) for name in names]
    yield from _family("restarts_total", "counter", "Restarts of ended incidents.", samples)


@lru_cache(maxsize=1)
def count_before(ports: Ports, day: str) -> Counter[tuple[str, ...]]:
    """What the records before this day add up to: they change no more."""
    return _count(ports, FIRST_DAY, day)


def _count(ports: Ports, since: str, before: str) -> Counter[tuple[str, ...]]:
    """Count the records of the days from `since` on: INCIDENTS by runbook and ending, HOLDS by reason, RESTARTS by runbook.
    `before`: the first day that is not counted, if any. One that can't be decoded isn't counted."""
    counts = Counter[tuple[str, ...]]()
    paths = ports.store.list_archive(since=since, timeout_s=ARCHIVE_S)
    counted = [path for path in paths if not before or path < f"incidents/{before}"]
    for path, body in read_bodies(ports, counted, ARCHIVE_S):
        try:
            record = decode(Archive, body or b"", path)
        except Denied:
            continue
        incident, outcome = record.incident, record.outcome
        counts[INCIDENTS, incident.runbook, outcome.ending] += 1
        counts[RESTARTS, incident.runbook] += outcome.restarts
        if outcome.ending == Ending.HELD and outcome.reason:
            counts[HOLDS, outcome.reason] += 1
    return counts


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP unstick_{name} {text}"
    yield f"# TYPE unstick_{name} {kind}"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escape(value)}"' for label, value in labels)
        yield f"unstick_{name}{f'{{{shown}}}' if shown else ''} {value + 0:.15g}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
