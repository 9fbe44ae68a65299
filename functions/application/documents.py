"""Loads documents, and logs how they change."""

from functions.application.ports import Ports, Stored
from functions.application.serialization import decode
from functions.domain.model.codes import Phase
from functions.domain.model.events import Step
from functions.domain.model.incidents import Document, first_restart_at

STORE_S = 5.0
LIST_S = 60.0  # seconds to list all documents: Cloud Storage lists 1,000 with each request, one after the other


def load(ports: Ports, key: str, timeout_s: float = STORE_S) -> tuple[Document, str | None]:
    """The document and its generation; a new one without generation if there is none. Raises Denied for a newer release's."""
    return opened(key, ports.store.load(key, timeout_s=timeout_s))


def opened(key: str, stored: Stored | None) -> tuple[Document, str | None]:
    """What is stored for this key; a new document if that is nothing."""
    return (decode(Document, stored.body, key), stored.generation) if stored else (Document(key), None)


def log_step(ports: Ports, before: Document, change: Step) -> None:
    """Log one line for the change: the phase, or the outcome."""
    after = change.document
    fields: dict[str, object] = {"document": after.key, "target": after.target.name if after.target else ""}
    if change.reply is not None:
        fields |= {"incident": change.reply.incident, "action": change.reply.action.value}
        fields |= {"reason": change.reply.reason.value} if change.reply.reason else {}
    for key, one in after.unmatched.alerts.items():
        if one != before.unmatched.alerts.get(key):
            ports.log(
                "WARNING", f"a suspicion matches no runbook: {one.said}: {one.detail}", document=after.key, unmatched=one.name
            )
    if after.passed_at != before.passed_at:
        ports.log("INFO", "suspicion cleared; nobody was told", **fields, outcome="passed")
    elif len(after.outcomes) > len(before.outcomes) or (
        after.outcomes and after.outcomes[-1:] != before.outcomes[-1:] and before.incident and not after.incident
    ):
        last = after.outcomes[-1]
        fields |= {"incident": last.incident, "outcome": last.ending.value, "reason": last.reason.value if last.reason else ""}
        severity = "ERROR" if last.ending.value == "escalated" else "NOTICE"
        ports.log(severity, f"incident {last.ending.value}", **fields)
    elif after.incident is not None and (before.incident is None or before.incident.phase is not after.incident.phase):
        fields |= {"incident": after.incident.id, "phase": after.incident.phase.value}
        began_at = first_restart_at(after.incident)
        if after.incident.phase is Phase.RUNNING and after.incident.restarts == 1 and began_at is not None:
            fields["time_to_restart_s"] = round(max(began_at - after.incident.first_alert_at, 0.0), 1)
        ports.log("NOTICE", f"incident is {after.incident.phase.value}", **fields)
    elif change.reply is not None:
        ports.log("INFO", f"{change.reply.action.value}: {change.reply.reason.value if change.reply.reason else ''}", **fields)
    elif after.incident and before.incident and after.incident.reason not in (None, before.incident.reason):
        fields |= {"incident": after.incident.id, "reason": after.incident.reason.value}
        ports.log("WARNING", f"the incident waits: {after.incident.detail}", **fields)
