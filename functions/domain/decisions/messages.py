"""Who is told what: the messages that a step adds to its document, and what is told without an incident."""

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.matching import explain_mismatch
from functions.domain.decisions.turn import QUESTION_S, Turn
from functions.domain.model.alerts import NOTED_KEPT, NOTED_S, Alert, MatchedAlert, TurnedAway
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE, Card, CardKind, Message
from functions.domain.model.codes import ASKED, Action, Mode, Reason
from functions.domain.model.events import AlertsReceived, Bundled, MessagesDelivered, Waiting
from functions.domain.model.incidents import ALERTS_KEPT, QUEUES_KEPT, SAME_START_S, AlertRef, Incident, Told
from functions.domain.model.observations import Subject
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase, Text, named

SAME_HOLD_S = 3600.0
OWN_CARDS = 5  # alerts of one reason without a target that get a card of their own within an hour
GATHERED_S = 60.0  # how long the card about the others waits for more of the same cause
SUSPICIONS_TOLD_S = 86400.0
TAKEN_WITHIN_S = 86400.0  # how long an escalation can be acknowledged, and a restart be called needless
TO_ASKED = (APPROVE, DECLINE)
TO_LIKELY = (APPROVE, ON_PURPOSE, DECLINE)  # what is proved can't be on purpose
TO_OVERRULE = (DECLINE, APPROVE)  # the first is what the card advises

MESSAGES_KEPT = 100  # a chat that is down for a day leaves no more to post; the oldest go first
HOLDS_KEPT = 60
TEXT_KEPT = 300
LINKED_TRIGGERS = 5  # number of alerts of an incident that keep their links: cards show those of the first
THREADS_KEPT = 20
BUNDLED_KEPT = 1000


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
    books = (runbook,) if runbook else tuple(book for book in rules.runbooks.values() if book.mode is not Mode.OBSERVE)
    mention = tuple(dict.fromkeys(name for book in books for name in book.mention))
    escalate = () if card.kind == CardKind.BUNDLE else (name for book in books for name in book.escalate)
    return replace(card, mention=mention), tuple(dict.fromkeys((*escalate, *channels)))


def compose_with_answers(card_input: CardInput, rules: Rules) -> Card:
    """The card, with the answers that people may give to it."""
    from functions.domain.cards import card  # takes 1 ms, and restarts don't wait for cards

    link = card_input.approve_url or card_input.acknowledge_url or card_input.healthy_url
    composed = card.compose(card_input, rules)
    if not link:
        return composed
    expires_at = card_input.shown.approval.expires_at  # an escalation can be taken for a day
    nonce_until = expires_at if card_input.approve_url and expires_at is not None else card_input.at + TAKEN_WITHIN_S
    is_likely = all(state.is_likely for state in card_input.queues if state.proof is not None)
    asked = (TO_LIKELY if is_likely else TO_ASKED) if card_input.reason in ASKED else TO_OVERRULE
    actions = asked if card_input.approve_url else (ACKNOWLEDGE,) if card_input.acknowledge_url else (HEALTHY,)
    return replace(composed, nonce=link.rpartition("#")[2], nonce_until=nonce_until, actions=actions)


def post(turn: Turn, card_input: CardInput, mark: str, channels: tuple[str, ...] | None = None, *, bundle: str = "") -> None:
    """Add a message for each of these channels, by default those of its runbook, and of `escalate` if it is urgent, unless the
    document already has it. `mark` identifies the message."""
    from functions.domain.cards import content, facts

    document, rules = turn.document, turn.rules
    channels = channels_for(rules, card_input.runbook) if channels is None else channels
    composed, channels = call_people(rules, card_input.runbook, compose_with_answers(card_input, rules), channels)
    name = content.rendered(rules, facts.short_name(card_input)) if bundle else ""
    present = {message.id for message in document.to_tell}
    messages = (Message(f"{mark}@{channel}", channel, composed, bundle, name) for channel in channels)
    new = [message for message in messages if message.id not in present]
    incident = document.incident
    if incident is not None and new and composed.incident in ("", incident.id):
        incident = replace(incident, told=tuple(dict.fromkeys((*incident.told, *channels))))
    turn.document = replace(document, to_tell=(*document.to_tell, *new)[-MESSAGES_KEPT:], incident=incident)


def _to_keys(triggers: tuple[AlertRef, ...], reason: Reason | None) -> list[str]:
    """The keys that identify a hold. Of a large group, only the first alerts are used."""
    return [f"{trigger.key}|{reason}" for trigger in triggers[:HOLDS_KEPT]]


def _list_subjects(incident: Incident | None) -> list[Subject]:
    return [state.subject for state in incident.queues if state.subject is not None] if incident else []


def is_repeat(turn: Turn, triggers: tuple[AlertRef, ...], reason: Reason, incident: Incident | None = None) -> bool:
    """Whether people were told of this within the hour, whatever was posted since: with this reason, of the same standstills, or
    of the same alerts where nothing is known to stand still."""
    document, subjects = turn.document, _list_subjects(incident)
    if subjects:
        last = ([told.at for told in document.list_told(subject) if told.reason is reason] for subject in subjects)
        return all(times and turn.at - times[-1] < SAME_HOLD_S for times in last)
    told = {key for key, told_at in document.holds.items() if turn.at - told_at < SAME_HOLD_S}
    return bool(triggers) and told.issuperset(_to_keys(triggers, reason))


def note_told(turn: Turn, reason: Reason | None, about: CardInput | None = None) -> None:
    """Note what people were asked, told, or said about the standstills of the incident, and about its alerts."""
    document, incident = turn.document, about.incident if about else turn.incident
    reason, subjects = reason or Reason.NO_RUNBOOK, _list_subjects(incident)
    if subjects and incident is not None:
        new = [Told(subject, reason, turn.at, incident.id) for subject in subjects]
        recent = [told for told in document.told if turn.at - told.at < QUESTION_S]
        turn.document = replace(document, told=(*recent, *new)[-HOLDS_KEPT:])
    triggers = (about.trigger,) if about and about.trigger else incident.triggers if incident else ()
    recent_holds = {key: at for key, at in document.holds.items() if turn.at - at < SAME_HOLD_S}
    holds = recent_holds | dict.fromkeys(_to_keys(triggers, reason), turn.at)
    turn.document = replace(turn.document, holds=dict(list(holds.items())[-HOLDS_KEPT:]))


def post_hold(turn: Turn, card_input: CardInput, mark: str, *, bundled: bool = False) -> bool:
    """Post a hold, at most once an hour for the same standstills and reason.
    `bundled`: with others for the same reason. Returns whether people get a card of its own."""
    triggers = (card_input.trigger,) if card_input.trigger else card_input.shown.triggers
    reason = card_input.reason or Reason.NO_RUNBOOK
    if is_repeat(turn, triggers, reason, card_input.incident):
        return False
    note_told(turn, reason, card_input)
    post(turn, card_input, f"{mark}-{reason.value}", bundle=reason.value if bundled else "")
    return not bundled


def turn_away(turn: Turn, event: AlertsReceived) -> None:
    """Report alerts without a target, and do nothing else."""
    note_matched(turn, event)
    firing = [case for case in event.cases if case.alert.firing]
    for case in firing:
        _report_turned_away(turn, event, case)
    first = (firing or event.cases)[0]
    turn.answer_alerts(event, first, Action.HELD, first.reason or Reason.NO_RUNBOOK if firing else Reason.NOT_FIRING)


def _report_turned_away(turn: Turn, event: AlertsReceived, case: MatchedAlert) -> None:
    """Post a card for the alert, or for its rule if no runbook matches. Of a suspicion, and after enough cards within the hour,
    only note it."""
    reason, trigger, detail = case.reason or Reason.NO_RUNBOOK, to_alert_ref(case), case.detail
    if reason is Reason.NO_RUNBOOK:
        trigger = replace(trigger, fingerprint=f"rule {case.alert.name}")
        detail = explain_mismatch(turn.rules.runbooks, case.alert.labels)
    elif reason is Reason.TEST_ALERT:
        trigger = replace(trigger, fingerprint=event.incident)  # each press of the button
    told = sum(turn.at - at < SAME_HOLD_S for at in turn.document.holds.values())
    is_known = is_repeat(turn, (trigger,), reason)
    if (reason is Reason.NO_RUNBOOK and case.alert.is_suspicion) or (told >= OWN_CARDS and not is_known):
        return _note_turned_away(turn, case.alert, reason, detail)
    kind = CardKind.TEST if reason is Reason.TEST_ALERT else CardKind.HELD
    card_input = CardInput(kind, turn.at, case.runbook, reason=reason, detail=detail, trigger=trigger)
    post_hold(turn, card_input, f"{event.incident}-{trigger.key}")


def _note_turned_away(turn: Turn, alert: Alert, reason: Reason, detail: Phrase) -> None:
    """Note the alert once an hour. Suspicions repeat every few seconds, so people are told of all of them once a day."""
    before = turn.document.turned_away
    if turn.at - before.alerts.get(alert.said, 0.0) < NOTED_S:
        return
    others = {name: at for name, at in before.alerts.items() if name != alert.said}
    alerts = dict([*others.items(), (alert.said, turn.at)][-NOTED_KEPT:])
    due = max(turn.at + GATHERED_S, before.told_at + (SUSPICIONS_TOLD_S if alert.is_suspicion else SAME_HOLD_S))
    noted = TurnedAway(alerts, reason, named(alert.said, detail), before.told_at, min(due, before.due or due))
    turn.document = replace(turn.document, turned_away=noted)


def tell_turned_away(turn: Turn) -> None:
    """Report the alerts that were noted since the last such message: the newest, and how many there are."""
    document, noted = turn.document, turn.document.turned_away
    if noted.due is None or turn.at < noted.due:
        return
    turn.document = replace(document, turned_away=replace(noted, told_at=turn.at, due=None))
    names = noted.since(noted.told_at)
    card_input = CardInput(CardKind.BUNDLE, turn.at, reason=noted.reason, bundled=names, detail=noted.detail)
    post(turn, card_input, f"{document.key}-{turn.at:.0f}")


def note_matched(turn: Turn, event: AlertsReceived) -> None:
    """Note, to the hour, when a runbook last matched a firing alert."""
    names, known = (case.runbook.name for case in event.cases if case.runbook and case.alert.firing), turn.document.matched
    if old := [name for name in names if turn.at - known.get(name, 0.0) >= NOTED_S]:
        turn.document = replace(turn.document, matched={**known, **dict.fromkeys(old, turn.at)})


def tell_left_out(turn: Turn, event: AlertsReceived, case: MatchedAlert, count: int) -> None:
    """Report, once an hour for each source, that alerts were held because their incident is full."""
    if not count:
        return
    trigger = replace(to_alert_ref(case), fingerprint="")
    detail = Text(
        "{count} alert was left out; an incident takes {alerts} alerts and {queues} queues",
        "{count} alerts were left out; an incident takes {alerts} alerts and {queues} queues",
    ).fill(count=count, alerts=ALERTS_KEPT, queues=QUEUES_KEPT)
    card_input = CardInput(CardKind.HELD, turn.at, case.runbook, turn.document.target, None, Reason.INCIDENT_FULL, detail)
    post_hold(turn, replace(card_input, trigger=trigger), event.incident, bundled=turn.crowd)


def mark_resolved(triggers: tuple[AlertRef, ...], cases: tuple[MatchedAlert, ...], now: float) -> tuple[AlertRef, ...]:
    """Note the alerts that Grafana resolved."""
    resolved = {case.alert.key: case.alert for case in cases}

    def marked(trigger: AlertRef) -> AlertRef:
        alert = resolved.get(trigger.key)
        ends_here = alert is not None and trigger.resolved_at is None and alert.starts_at >= trigger.starts_at - SAME_START_S
        return replace(trigger, resolved_at=(alert.ends_at if alert else None) or now) if ends_here else trigger

    return tuple(marked(trigger) for trigger in triggers)


def on_delivered(turn: Turn, event: MessagesDelivered) -> None:
    """Forget what was posted and archived."""
    document = turn.document
    unposted = tuple(message for message in document.to_tell if message.id not in event.ids)
    unarchived = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    turn.document = replace(document, to_tell=unposted, to_archive=unarchived, threads=threads)


def on_bundle(turn: Turn, event: Bundled) -> None:
    """Take over messages from several documents about one reason, each message once."""
    document = turn.document
    new = event.ids - set(document.bundled)
    if not new:
        return
    bundled = list({**document.bundled, **dict.fromkeys(sorted(new), turn.at)}.items())[-BUNDLED_KEPT:]
    turn.document = replace(document, bundled=dict(bundled))
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput(CardKind.BUNDLE, turn.at, reason=event.reason, bundled=names, is_calm=is_calm)
        post(turn, card_input, f"{document.key}-{turn.at:.3f}", (channel,))
