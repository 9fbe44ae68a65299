"""What is told without an incident: alerts without a target, what did not fit, bundles; and the notes on what runbooks match."""

from functools import partial

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.matching import explain_mismatch
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.turn import Turn
from functions.domain.model import events
from functions.domain.model.alerts import NOTED_S, UNMATCHED_KEPT_S, MatchedAlert, note_unmatched
from functions.domain.model.codes import Action, Reason
from functions.domain.model.events import AlertsReceived, Bundled, MessagesDelivered, Unsigned, Waiting
from functions.domain.model.incidents import ALERTS_KEPT, QUEUES_KEPT
from functions.domain.model.messages import CardKind
from functions.runtime.text import Text

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
BUNDLED_KEPT = 1000


def turn_away(turn: Turn, event: AlertsReceived, case: MatchedAlert) -> None:
    """Report an alert without a target, and do nothing else."""
    note_matched(turn, event)
    reason = case.reason or Reason.NO_RUNBOOK
    if not case.alert.firing:
        reason = Reason.NOT_FIRING
    elif reason is Reason.NO_RUNBOOK:
        _note_unmatched(turn, event)
        _tell_unmatched(turn, event)
    elif turn.document.incident is None:
        kind = CardKind.TEST if reason is Reason.TEST_ALERT else CardKind.HELD
        card_input = CardInput(kind, turn.at, case.runbook, reason=reason, detail=case.detail, trigger=to_alert_ref(case))
        post_held(turn, event, card_input)
    turn.answer_alerts(event, case, Action.HELD, reason)


def _tell_unmatched(turn: Turn, event: AlertsReceived) -> None:
    """Report, once an hour for all alerts of a rule, what a runbook would have to match."""
    case = next((case for case in event.cases if case.alert.firing and not case.alert.is_suspicion), None)
    if case is None or turn.document.incident is not None:
        return
    trigger = replace(to_alert_ref(case), fingerprint=Reason.NO_RUNBOOK.value)
    detail = explain_mismatch(turn.rules.runbooks, case.alert.labels)
    post_held(turn, event, CardInput(CardKind.HELD, turn.at, reason=Reason.NO_RUNBOOK, detail=detail, trigger=trigger))


def _note_unmatched(turn: Turn, event: AlertsReceived) -> None:
    """Note suspicions that match no runbook. They repeat every few seconds, so people are told of all of them once a day."""
    known = turn.document.unmatched
    for alert in (case.alert for case in event.cases if case.alert.firing and case.alert.is_suspicion):
        known = note_unmatched(known, alert, partial(explain_mismatch, turn.rules.runbooks, alert.labels), turn.at)
    turn.document = replace(turn.document, unmatched=known)


def tell_unmatched_suspicions(turn: Turn) -> None:
    """Report the suspicions that were noted since the last such message."""
    known = turn.document.unmatched
    if known.due is None or turn.at < known.due:
        return
    new = tuple(one for one in known.recent(turn.at, UNMATCHED_KEPT_S) if one.at > known.told_at)
    turn.document = replace(turn.document, unmatched=replace(known, told_at=turn.at, due=None))
    if new:
        turn.post(CardInput(CardKind.UNMATCHED, turn.at, unmatched=new), f"unmatched-{turn.at:.0f}")


def note_matched(turn: Turn, event: AlertsReceived) -> None:
    """Note, to the hour, when a runbook last matched a firing alert."""
    names = {case.runbook.name for case in event.cases if case.runbook and case.alert.firing}
    old = [name for name in names if turn.at - turn.document.matched.get(name, 0.0) >= NOTED_S]
    if old:
        turn.document = replace(turn.document, matched={**turn.document.matched, **dict.fromkeys(sorted(old), turn.at)})


def post_held(turn: Turn, event: AlertsReceived, card_input: CardInput) -> None:
    """Report alerts that no incident takes."""
    turn.post_hold(card_input, event.incident, bundled=turn.crowd, always=card_input.kind is CardKind.TEST)


def tell_left_out(turn: Turn, event: events.AlertsReceived, case: MatchedAlert, count: int) -> None:
    """Report, once an hour for each source, that alerts were held because their incident is full."""
    if not count:
        return
    trigger = replace(to_alert_ref(case), fingerprint=Reason.INCIDENT_FULL.value)
    detail = Text(
        "{count} alert was left out; an incident takes {alerts} alerts and {queues} queues",
        "{count} alerts were left out; an incident takes {alerts} alerts and {queues} queues",
    ).fill(count=count, alerts=ALERTS_KEPT, queues=QUEUES_KEPT)
    card_input = CardInput(CardKind.HELD, turn.at, case.runbook, turn.document.target, None, Reason.INCIDENT_FULL, detail)
    post_held(turn, event, replace(card_input, trigger=trigger))


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
    recent = {name: at for name, at in document.bundled.items() if turn.at - at < BUNDLES_KEPT_S}
    bundled = list({**recent, **dict.fromkeys(sorted(new), turn.at)}.items())[-BUNDLED_KEPT:]
    turn.document = replace(document, bundled=dict(bundled))
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput(CardKind.BUNDLE, turn.at, reason=event.reason, bundled=names, bundled_links=links, is_calm=is_calm)
        turn.post(card_input, f"{document.key}-{turn.at:.3f}", (channel,))


def on_unsigned(turn: Turn, event: Unsigned) -> None:
    """Report, at most once an hour, that alerts wait whose key is gone."""
    mark = f"{turn.document.key}-{turn.at // 3600:.0f}"
    if mark not in turn.document.bundled:
        turn.document = replace(turn.document, bundled={mark: turn.at})
        turn.post(CardInput(CardKind.UNSIGNED, turn.at, bundled=event.names), mark)
