"""Whether Unstick itself works, on one machine: `/healthz` for anybody, and the figures of `/metrics`, in Prometheus' text form,
for those who know this machine's token.

Strangers see which part is ill; the log has the details, such as the store's path. Unstick keeps no figures in memory: they come
from the documents, so all processes show the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from functions.application.history import load_documents
from functions.application.observe import read_pause
from functions.application.ports import Listed, Ports
from functions.domain.model.alerts import NO_RUNBOOK_KEY
from functions.domain.model.codes import Phase
from functions.domain.model.incidents import Incident
from functions.runtime.errors import Denied, Unavailable

if TYPE_CHECKING:
    from functions.adapters.schedulers.local import LocalScheduler

KEPT_S = 5.0  # strangers may ask as often as they like: an answer is kept this long
CHECK_S = 2.0
READ = 200  # open documents that are read, the most overdue first
DAY_S = 86400.0


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
        gauges = _of_documents(ports, ports.store.list_documents(timeout_s=CHECK_S))
    except (Unavailable, Denied):
        healthy, gauges = False, []
    figures = [("healthy", "Whether the store can be written and wake-ups are delivered.", healthy), *gauges]
    return "".join(
        f"# HELP unstick_{name} {text}\n# TYPE unstick_{name} gauge\nunstick_{name} {value + 0:.15g}\n"
        for name, text, value in figures
    )


def _of_documents(ports: Ports, listed: list[Listed]) -> list[tuple[str, str, float]]:
    """(name, what it says, value) of what is open."""
    now, due = ports.now(), sorted((document.due, document.key) for document in listed if document.due is not None)
    keys = [key for _, key in due[:READ]]
    noted = [NO_RUNBOOK_KEY] if any(document.key == NO_RUNBOOK_KEY for document in listed) else []
    read = load_documents(ports, [*{*keys, *noted}], timeout_s=CHECK_S).readable  # one of a newer release hides no figures
    documents = {document.key: document for document in read}
    incidents = [document.incident for document in documents.values() if document.incident is not None]
    waiting = [message for document in documents.values() for message in document.to_tell]
    early = documents[NO_RUNBOOK_KEY].turned_away.since(now - DAY_S) if NO_RUNBOOK_KEY in documents else ()
    unchanged = "Since when the slowest open incident is unchanged, unless it waits for people, a time or a day of observation."
    gauges: list[tuple[str, str, float]] = [
        ("paused", "Whether the kill switch is on.", read_pause(ports, CHECK_S) is not None),
        ("documents_open", "Documents that wait for a wake-up.", len(due)),
        ("wakeup_lateness_seconds", "How late the latest wake-up is.", _longest(now - at for at, _ in due)),
        ("incident_unchanged_seconds", unchanged, _longest(_unchanged_s(incident, now) for incident in incidents)),
        ("message_waiting_seconds", "Age of the oldest message that waits.", _longest(now - told.card.at for told in waiting)),
        ("unmatched_alerts", "Distinct alerts of the last day that matched no runbook and got no card of their own.", len(early)),
    ]
    if (expires_at := ports.rules.token_expires_at) is not None:
        gauges.append(("token_expiry_timestamp_seconds", "When the runner's token expires.", expires_at))
    return gauges


def _longest(seconds: Iterable[float]) -> float:
    return max([0.0, *seconds])


def _unchanged_s(incident: Incident, now: float) -> float:
    changed_at = max([incident.began_at, incident.waits_from, *(entry.at for entry in incident.history[-1:])])
    return 0.0 if incident.phase is Phase.ASKED else now - changed_at
