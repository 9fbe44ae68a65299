"""Adds messages to a document's `to_tell`, and closes incidents."""

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import ASKED, OVERRULED, Ending, Mode, Reason
from functions.domain.model.incidents import (
    AlertRef,
    Archive,
    Document,
    Escalation,
    Hold,
    How,
    Incident,
    Outcome,
    PastAttempt,
    QueueState,
)
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, PAUSE, Card, CardKind, Message
from functions.domain.model.runbooks import Rules, Runbook

SAME_HOLD_S = 3600.0
UPDATE_S = 600.0  # how often the card of a hold that is not posted again is brought up to date, at most
TAKEN_WITHIN_S = 86400.0  # how long an escalation can be acknowledged: as long as it holds restarts
REMINDED_EVERY_S = 900.0
TO_ASKED = (APPROVE, DECLINE, PAUSE)
TO_OVERRULE = (DECLINE, APPROVE, PAUSE)  # the first is what the card advises
TO_ESCALATED = (ACKNOWLEDGE, PAUSE)
LATE_S = 3000.0  # messages mention a wake-up that comes this late

OUTCOMES_KEPT = 20
MESSAGES_KEPT = 100  # a chat that is down for a day leaves no more to post; the oldest go first
RECORDS_KEPT = 20  # to archive
HOLDS_KEPT = 60
TEXT_KEPT = 300
LINKED_TRIGGERS = 5  # number of alerts of an incident that keep their links: cards show those of the first


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
        source=alert.short_source,
        starts_at=alert.starts_at,
        queue=case.queue.key if case.queue else "",
        name=alert.name[:TEXT_KEPT],
        summary=(alert.annotations.get("summary") or alert.annotations.get("description") or "")[:TEXT_KEPT],
        severity=alert.labels.get("severity", "")[:64],
        links={name: url for name, url in links.items() if url and len(url) <= 2000} if linked else {},
        resolved_at=None if alert.firing else alert.ends_at,
        suspicion=alert.is_suspicion,
    )


def channels_for(rules: Rules, runbook: Runbook | None) -> tuple[str, ...]:
    """The channels of a runbook, each once. Urgent messages go to more channels: see `call_people`."""
    return tuple(dict.fromkeys((runbook.notify if runbook else ()) or rules.default_channels))


def call_people(rules: Rules, runbook: Runbook | None, card: Card, channels: tuple[str, ...]) -> tuple[Card, tuple[str, ...]]:
    """The card and its channels. A card that begins with ACT NOW mentions people, and goes to `escalate` too.
    Of no single runbook: the people of all that don't only observe. A bundle goes to the channels of its messages."""
    if card.urgency != "act":
        return card, channels
    concerned = (runbook,) if runbook else tuple(one for one in rules.runbooks.values() if one.mode is not Mode.OBSERVE)
    mention = tuple(dict.fromkeys(name for one in concerned for name in one.mention))
    escalate = () if card.kind == CardKind.BUNDLE else (name for one in concerned for name in one.escalate)
    return replace(card, mention=mention), tuple(dict.fromkeys((*escalate, *channels)))


def enqueue_message(
    document: Document, rules: Rules, card_input: CardInput, channels: tuple[str, ...], mark: str, *, bundle: str = ""
) -> Document:
    """Add a message for each channel, and for those of `escalate` if it is urgent, unless the document already has it."""
    from functions.domain.cards import content, facts

    composed, channels = call_people(rules, card_input.runbook, compose_with_answers(card_input, rules), channels)
    present_ids = {message.id for message in document.to_tell}
    name = content.rendered(rules, facts.short_name(card_input)) if bundle else ""
    link = facts.page_to_restart(card_input) if bundle else ""
    all_new = (Message(f"{mark}@{channel}", channel, composed, bundle, name, link) for channel in channels)
    new = [message for message in all_new if message.id not in present_ids]
    incident = document.incident
    if incident is not None and new and composed.incident in ("", incident.id):
        incident = replace(incident, told=tuple(dict.fromkeys((*incident.told, *channels))))
    return replace(document, to_tell=(*document.to_tell, *new)[-MESSAGES_KEPT:], incident=incident)


def compose_with_answers(card_input: CardInput, rules: Rules) -> Card:
    """The card, with the answers that people may give to it."""
    from functions.domain.cards import card  # takes 1 ms, and restarts don't wait for cards

    link, composed = card_input.approve_url or card_input.acknowledge_url, card.compose(card_input, rules)
    if not link:
        return composed
    expires_at = card_input.shown.approval.expires_at  # an escalation can be taken for a day
    nonce_until = expires_at if card_input.approve_url and expires_at is not None else card_input.at + TAKEN_WITHIN_S
    asked = TO_ASKED if card_input.reason in ASKED else TO_OVERRULE
    actions = asked if card_input.approve_url else TO_ESCALATED
    return replace(composed, nonce=link.rpartition("#")[2], nonce_until=nonce_until, actions=actions)


def _keys(triggers: tuple[AlertRef, ...]) -> list[str]:
    """The keys that identify a hold. Of a large group, only the first alerts are used."""
    return [trigger.key for trigger in triggers[:HOLDS_KEPT]]


def was_told_recently(document: Document, triggers: tuple[AlertRef, ...], reason: Reason | None, at: float) -> bool:
    """Whether this hold of these alerts was posted within the last hour, whatever was posted since."""
    holds, keys = document.holds, _keys(triggers)
    told = {key for key, last in holds.items() if last.reason is reason and at - last.at < SAME_HOLD_S}
    return bool(keys) and all(key in told or f"{key}|{reason}" in told for key in keys)


def enqueue_hold(
    document: Document, rules: Rules, card_input: CardInput, mark: str, *, bundle: str = "", always: bool = False
) -> Document:
    """Add a hold's message, at most once an hour for the same alerts and reason. In between its card is updated."""
    triggers = card_input.incident.triggers if card_input.incident else ()
    if card_input.trigger:
        triggers = (card_input.trigger,)
    reason = card_input.reason or Reason.NO_RUNBOOK
    recent = {key: last_hold for key, last_hold in document.holds.items() if card_input.at - last_hold.at < SAME_HOLD_S}
    if not always and was_told_recently(document, triggers, reason, card_input.at):
        return _update_hold(replace(document, holds=recent), rules, card_input, triggers)
    keys, incident = _keys(triggers), card_input.incident.id if card_input.incident else ""
    former = {key: recent[key] for key in keys if key in recent and recent[key].reason is not reason}
    before = {f"{key}|{last_hold.reason}": last_hold for key, last_hold in former.items()}
    holds = {**recent, **before, **{key: Hold(reason, card_input.at, incident) for key in keys}}
    document = replace(document, holds=dict(sorted(holds.items(), key=lambda entry: -entry[1].at)[:HOLDS_KEPT]))
    channels = channels_for(rules, card_input.runbook)
    if not (always or bundle):
        card_input = replace(card_input, next_at=card_input.at + SAME_HOLD_S)
    return enqueue_message(document, rules, card_input, channels, f"{mark}-{reason.value}", bundle=bundle)


def _update_hold(document: Document, rules: Rules, card_input: CardInput, triggers: tuple[AlertRef, ...]) -> Document:
    """Bring the card of a hold that was posted within the hour up to date, unless it shows something newer than that hold."""
    names = [name for key in _keys(triggers) for name in (key, f"{key}|{card_input.reason}")]
    told = {name: document.holds[name] for name in names if name in document.holds}
    told = {name: hold for name, hold in told.items() if hold.reason is card_input.reason and hold.incident}
    first = max(told.values(), key=lambda hold: hold.at, default=None)
    if first is None or card_input.incident is None or card_input.at - max(first.at, first.updated_at) < UPDATE_S:
        return document
    outcome = next((one for one in document.outcomes if one.incident == first.incident), None)
    places = (place.rpartition("/") for place in document.threads)
    channels = [channel for channel, _, incident in places if incident == first.incident]
    if not channels or (outcome is not None and outcome.reason is not first.reason):
        return document
    shown = replace(card_input.incident, id=first.incident)
    composed = compose_with_answers(replace(card_input, incident=shown, told_at=first.at, next_at=first.at + SAME_HOLD_S), rules)
    mark = f"{first.incident}-{first.reason.value}-still"
    waiting = {message.id for message in document.to_tell}
    new = [Message(f"{mark}@{channel}", channel, composed, updates=True) for channel in channels]
    holds = {**document.holds, **{name: replace(hold, updated_at=card_input.at) for name, hold in told.items()}}
    to_tell = (*document.to_tell, *(message for message in new if message.id not in waiting))
    return replace(document, to_tell=to_tell[-MESSAGES_KEPT:], holds=holds)


def close_incident(
    document: Document, rules: Rules, incident: Incident, ending: Ending, card_input: CardInput, *, tell: bool
) -> Document:
    """Remove the incident from the document: keep its outcome, post it, and archive the incident."""
    channels = tuple(dict.fromkeys((*channels_for(rules, card_input.runbook), *incident.told)))
    if tell and ending is Ending.HELD:
        bundle = card_input.reason.value if card_input.reason is Reason.TOO_MANY_TARGETS else ""
        document = enqueue_hold(document, rules, card_input, incident.id, bundle=bundle)
    elif tell:
        document = enqueue_message(document, rules, card_input, channels, f"{incident.id}-{ending.value}")
    told = document.incident.told if document.incident else ()
    outcome = _to_outcome(incident, ending, card_input, tuple(dict.fromkeys((*channels, *told))))
    outcomes = _drop_oldest((*document.outcomes, outcome))
    document = replace(_add_record(document, incident, outcome), outcomes=outcomes, incident=None)
    if ending is Ending.ESCALATED:
        document = replace(document, escalation=_to_escalation(document, incident, card_input))
    elif ending is Ending.RECOVERED and not _left_escalated(document, incident):
        document = replace(document, escalation=None)
    return document


def _drop_oldest(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """At most `OUTCOMES_KEPT`. Holds go first: the held alert is only posted again."""
    if len(outcomes) <= OUTCOMES_KEPT:
        return outcomes
    dropped = next((place for place, outcome in enumerate(outcomes[:-1]) if not outcome.settles), 0)
    return (*outcomes[:dropped], *outcomes[dropped + 1 :])


def _add_record(document: Document, incident: Incident, outcome: Outcome) -> Document:
    records = (*document.to_archive, Archive(document.target, incident, outcome))
    return replace(document, to_archive=records[-RECORDS_KEPT:])


def _without_texts(triggers: tuple[AlertRef, ...]) -> tuple[AlertRef, ...]:
    """What identifies the alerts, and what the first is called, which cards name."""
    first = tuple(replace(trigger, links={}, summary="") for trigger in triggers[:1])
    return (*first, *(replace(trigger, links={}, summary="", name="", severity="") for trigger in triggers[1:]))


def _to_outcome(incident: Incident, ending: Ending, card_input: CardInput, channels: tuple[str, ...]) -> Outcome:
    execution = incident.execution or next((attempt.execution for attempt in reversed(incident.tries) if attempt.execution), None)
    return Outcome(
        incident=incident.id,
        ending=ending,
        reason=card_input.reason,
        at=card_input.at,
        triggers=_without_texts(incident.triggers),
        runner_ended_at=execution.runner_ended_at if execution else None,
        channels=channels,
        restarts=incident.restarts,
        queues=tuple(watched.queue for watched in incident.queues),
        by=incident.approval.declined_by,
        may_be_gone=any(watched.may_be_gone for watched in incident.queues),
    )


def record_hold(document: Document, rules: Rules, incident: Incident, card_input: CardInput) -> Document:
    """Archive an incident that was held at once, since a card shows its id. It settles no alert, so it leaves no outcome."""
    incident = replace(incident, reason=card_input.reason, detail=card_input.detail)
    outcome = _to_outcome(incident, Ending.HELD, card_input, channels_for(rules, card_input.runbook))
    return _add_record(document, incident, outcome)


def _left_escalated(document: Document, incident: Incident) -> tuple[QueueState, ...]:
    own = {watched.queue.key for watched in incident.queues}
    earlier = document.escalation.queues if document.escalation else ()
    return tuple(watched for watched in earlier if watched.queue.key not in own)


def _to_escalation(document: Document, incident: Incident, card_input: CardInput) -> Escalation:
    """Queues that were escalated before stay so: the state of one queue says nothing about the target's others."""
    own = tuple(QueueState(watched.queue, watched.runbook, card_input.at) for watched in incident.queues)
    queues = (*own, *_left_escalated(document, incident))
    due, nonce = card_input.at + REMINDED_EVERY_S, card_input.acknowledge_url.rpartition("#")[2]
    tries, last = incident.tries, incident.execution
    if last is not None and all(past.execution is None or past.execution.id != last.id for past in tries):
        tries = (*tries, PastAttempt(last.tag, last, How(""), incident.run.holder_host))
    page = incident.start_page
    return Escalation(incident.id, incident.runbook, card_input.at, due, nonce, queues=queues, start_page=page, tries=tries)


def may_overrule(reason: Reason | None, rules: Rules) -> bool:
    """Whether a person may be asked: the reason allows it, and links have an address."""
    return reason in OVERRULED and bool(rules.public_url)
