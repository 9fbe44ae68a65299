"""Adds messages to a document's `to_tell`, and closes incidents."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.bounds import bare, drop_oldest
from functions.domain.decisions.guards import OVERRULED
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import AlertRef, Archive, Document, Hold, Incident, Outcome
from functions.domain.model.messages import Message
from functions.domain.model.runbooks import Rules, Runbook

SAME_HOLD_S = 3600.0
LATE_S = 3000.0
"""Messages mention a wake-up that comes this late."""

OUTCOMES_KEPT = 20
HOLDS_KEPT = 60
TEXT_KEPT = 300
LINKED_TRIGGERS = 5
"""This many alerts of an incident keep their links: cards show those of the first."""
SOURCE_KEPT = 200


def alert_key(source: str, fingerprint: str) -> str:
    """The name of an alert across its firing periods. A fingerprint alone is unique only inside one source."""
    return f"{source}|{fingerprint}"


def to_alert_ref(case: MatchedAlert, *, linked: bool = True) -> AlertRef:
    """The part of an alert that a document keeps."""
    alert = case.alert
    links = {
        "panel": alert.panel_url,
        "dashboard": alert.dashboard_url,
        "silence": alert.silence_url,
        "alert": alert.generator_url,
        "runbook": alert.annotations.get("runbook_url", ""),
    }
    return AlertRef(
        fingerprint=alert.fingerprint,
        source=short_source(alert.source),
        starts_at=alert.starts_at,
        queue=case.queue.key if case.queue else "",
        name=alert.name[:TEXT_KEPT],
        summary=(alert.annotations.get("summary") or alert.annotations.get("description") or "")[:TEXT_KEPT],
        severity=alert.labels.get("severity", "")[:64],
        links={name: url for name, url in links.items() if url and len(url) <= 2000} if linked else {},
        resolved_at=None if alert.firing else alert.ends_at,
    )


def short_source(source: str) -> str:
    """The source if it is short, otherwise its hash."""
    fits = len(source) <= SOURCE_KEPT and source.isascii() and source.isprintable()
    return source if fits else hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


def default_channels(rules: Rules) -> tuple[str, ...]:
    """The channels for alerts without a runbook: the top-level `notify`, or else the channels of all runbooks."""
    return rules.notify or tuple(dict.fromkeys(name for runbook in rules.runbooks.values() for name in runbook.notify))


def channels_for(rules: Rules, runbook: Runbook | None, *, escalate: bool = False) -> tuple[str, ...]:
    """The channels of a runbook, each once."""
    base = (runbook.notify if runbook else ()) or default_channels(rules)
    names = (*(runbook.escalate if runbook and escalate else ()), *base)
    return tuple(dict.fromkeys(names))


def enqueue_message(
    document: Document, rules: Rules, story: CardInput, where: tuple[str, ...], mark: str, *, bundle: str = ""
) -> Document:
    """Add a message for each channel, unless the document has it already."""
    from functions.domain.cards import card, facts  # 1 ms, and no restart waits for a card

    made = card.compose(story, rules)
    present = {message.id for message in document.to_tell}
    name = facts.short_name(story, rules) if bundle else ""
    new = tuple(
        Message(id=f"{mark}@{channel}", channel=channel, card=made, bundle=bundle, name=name)
        for channel in where
        if f"{mark}@{channel}" not in present
    )
    incident = document.incident
    if incident is not None and new:
        incident = replace(incident, told=tuple(dict.fromkeys((*incident.told, *where))))
    return replace(document, to_tell=(*document.to_tell, *new), incident=incident)


def _keys(triggers: tuple[AlertRef, ...]) -> list[str]:
    """The keys under which a hold is remembered. The first alerts stand for a large group."""
    return [alert_key(trigger.source, trigger.fingerprint) for trigger in triggers[:HOLDS_KEPT]]


def was_told_recently(document: Document, triggers: tuple[AlertRef, ...], reason: Reason | None, at: float) -> bool:
    """Whether this hold of these alerts was posted within the last hour."""
    recent = [document.holds.get(key) for key in _keys(triggers)]
    return bool(recent) and all(held and held.reason is reason and at - held.at < SAME_HOLD_S for held in recent)


def enqueue_hold(
    document: Document,
    rules: Rules,
    story: CardInput,
    triggers: tuple[AlertRef, ...],
    mark: str,
    *,
    bundle: str = "",
    always: bool = False,
) -> Document:
    """Add a hold's message, but the same one for the same alerts only once an hour."""
    reason = story.reason or Reason.NO_RUNBOOK
    fresh = {key: held for key, held in document.holds.items() if story.at - held.at < SAME_HOLD_S}
    if not always and was_told_recently(document, triggers, reason, story.at):
        return replace(document, holds=fresh)
    holds = {**fresh, **{key: Hold(reason, story.at) for key in _keys(triggers)}}
    kept = dict(sorted(holds.items(), key=lambda entry: -entry[1].at)[:HOLDS_KEPT])
    document = replace(document, holds=kept)
    return enqueue_message(document, rules, story, channels_for(rules, story.runbook), f"{mark}-{reason.value}", bundle=bundle)


def close_incident(
    document: Document, rules: Rules, incident: Incident, ending: Ending, story: CardInput, *, tell: bool = True
) -> Document:
    """Take the incident out of the document; keep its outcome, post it and archive the incident."""
    escalation = ending is Ending.ESCALATED
    where = channels_for(rules, story.runbook, escalate=escalation)
    where = tuple(dict.fromkeys((*where, *incident.told)))
    execution = incident.execution or next((t.execution for t in reversed(incident.tries) if t.execution), None)
    outcome = Outcome(
        incident=incident.id,
        ending=ending,
        reason=story.reason,
        at=story.at,
        triggers=tuple(replace(trigger, links={}, summary="") for trigger in bare(incident.triggers)),
        runner_ended_at=execution.runner_ended_at if execution else None,
        channels=where,
        restarts=incident.restarts,
        queues=tuple(watched.queue for watched in incident.queues),
    )
    record = Archive(document.target, incident, outcome)
    outcomes = (*document.outcomes, outcome)
    outcomes = drop_oldest(outcomes) if len(outcomes) > OUTCOMES_KEPT else outcomes
    document = replace(document, outcomes=outcomes, to_archive=(*document.to_archive, record))
    if escalation:
        document = replace(document, escalated_at=story.at)
    elif ending is Ending.RECOVERED:
        document = replace(document, escalated_at=None)
    shown = story.incident.execution if story.incident else None
    about = replace(incident, execution=incident.execution or shown)
    story = replace(story, incident=about, mention=story.runbook.mention if escalation and story.runbook else ())
    if tell and ending is Ending.HELD:
        bundle = story.reason.value if story.reason is Reason.TOO_MANY_TARGETS else ""
        document = enqueue_hold(document, rules, story, incident.triggers, incident.id, bundle=bundle)
    elif tell:
        document = enqueue_message(document, rules, story, where, f"{incident.id}-{ending.value}")
    return replace(document, incident=None)


def may_overrule(reason: Reason | None, rules: Rules) -> bool:
    """Whether a person may be asked: the reason allows it, and there is an address for the link."""
    return reason in OVERRULED and bool(rules.public_url)
