"""Core: (document, event, observation, now) -> (document, acts). The phases of an incident.

Level-triggered: it looks at how things are, not at which call this is. The same step again changes nothing: before `due` it
only takes in alerts, and whatever it orders is fenced by the document's phase."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import Story
from functions.domain.decisions.context import Moment, all_resolved, reply_to, unseen
from functions.domain.decisions.messages import LATE_S, LINKED_TRIGGERS, alert_key, everybody, tell_hold, told, trigger_of
from functions.domain.decisions.phases import advanced, decided, ran, seen_well, still_held
from functions.domain.model.alerts import Case
from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.events import Alerted, Approved, Bundled, Event, Ran, Resumed, Step, Told, Unsigned, Wake, Woken
from functions.domain.model.incidents import Document, Incident, Outcome, Trigger, Watched
from functions.domain.model.observations import Observation
from functions.domain.model.runbooks import Rules

UNTOLD_S = 60.0
"""An untold message keeps a document due so far ahead at most."""

BUNDLE_S = 20.0
"""A message that goes out with others of its kind waits so long for them."""

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
SAME_START_S = 60.0
"""Replicas of Grafana give the same alert start times that differ a little."""


def step(document: Document, event: Event, seen: Observation, now: float, rules: Rules) -> Step:
    """Take one step. Raises nothing on any document that this or the former release wrote."""
    expected = event.handed_over_at if isinstance(event, Alerted) else document.due
    late_s = now - expected if expected is not None else 0.0
    moment = Moment(rules, seen, now, late_s=late_s if late_s > LATE_S else 0.0)
    match event:
        case Alerted():
            made = _alerted(document, event, replace(moment, crowd=event.crowd, was_saved=document.incident is not None))
        case Woken():
            made = _woken(document, moment)
        case Approved():
            made = _approved(document, event, moment)
        case Resumed():
            made = _resumed(document, event, moment)
        case Ran():
            made = ran(document, event, moment)
        case Told():
            made = _told(document, event)
        case Bundled():
            made = _bundled(document, event, moment)
        case Unsigned():
            made = _unsigned(document, moment)
    return _scheduled(document, made, now)


def _scheduled(before: Document, made: Step, now: float) -> Step:
    """Give the document its `due`, and order the wake-up for it wherever none exists at or after it."""
    after = made.document
    if after == before:
        return made
    due = after.incident.due if after.incident else None
    if after.to_tell or after.to_archive:
        bundled = after.to_tell and all(message.bundle for message in after.to_tell)
        wait_s = BUNDLE_S if bundled else UNTOLD_S
        fewer = _ids(after) <= _ids(before)
        keep = before.due is not None and before.due > now and fewer
        untold = before.due if keep and before.due is not None else now + wait_s
        due = untold if due is None else min(due, untold)
    after = replace(after, due=due)
    if due is None or due == before.due:
        return replace(made, document=after)
    return replace(made, document=after, acts=(Wake(due), *made.acts))


def _ids(document: Document) -> set[str]:
    return {message.id for message in document.to_tell} | {record.incident.id for record in document.to_archive}


def _woken(document: Document, now: Moment) -> Step:
    incident = document.incident
    if document.due is not None and now.at < document.due:
        return Step(document)
    if incident is not None and now.at >= incident.due:
        return advanced(document, incident, now)
    if document.to_tell or document.to_archive:
        # A changed due is what gives the posting to one holder: whoever saves it tells.
        return Step(replace(document, due=None))
    return Step(replace(document, due=None)) if incident is None else Step(document)


def _alerted(document: Document, event: Alerted, now: Moment) -> Step:
    first = event.cases[0]
    if first.target is None:
        return _turned_away(document, event, first, now)
    document = replace(document, target=first.target)
    document = _resolved(document, tuple(case for case in event.cases if not case.alert.firing), now)
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        incident = document.incident
        if incident is not None and all_resolved(incident) and now.at >= incident.due and not unseen(now):
            made = advanced(document, incident, now)
        else:
            made = Step(seen_well(document, first.runbook, now))
        return made if made.reply else replace(made, reply=reply_to(document, event, first, Action.HELD, Reason.NOT_FIRING))
    carried = _carried(document)
    new = tuple(case for case in firing if not _carrying(carried, case))
    if document.incident is not None and new:
        return _joined(document, document.incident, event, new, now)
    if not new:
        reply = reply_to(document, event, firing[0], Action.HELD, Reason.DUPLICATE)
        carrying = _carrying(carried, firing[0])
        return Step(document, reply=replace(reply, incident=carrying.incident) if carrying else reply)
    return advanced(document, _opened(event, new, now), now)


def _turned_away(document: Document, event: Alerted, case: Case, now: Moment) -> Step:
    """An alert without a target: it is told, and that is all."""
    reason = case.reason or Reason.NO_RUNBOOK
    if not case.alert.firing:
        reason = Reason.NOT_FIRING
    elif document.incident is None:
        kind = "test" if reason is Reason.TEST_ALERT else "held"
        trigger = trigger_of(case)
        story = Story(kind, now.at, case.runbook, reason=reason, detail=case.detail, trigger=trigger)
        always = reason is Reason.TEST_ALERT
        bundle = reason.value if now.crowd else ""
        document = tell_hold(document, now.rules, story, (trigger,), event.incident, bundle=bundle, always=always)
    return Step(document, reply=reply_to(document, event, case, Action.HELD, reason))


def _opened(event: Alerted, cases: tuple[Case, ...], now: Moment) -> Incident:
    runbook = cases[0].runbook
    return _with_alerts(
        Incident(event.incident, Phase.DEFERRED, now.at, runbook.name if runbook else "", (), (), due=now.at), cases, now
    )


def _with_alerts(incident: Incident, cases: tuple[Case, ...], now: Moment) -> Incident:
    """The incident with these alerts and their queues added; what it has already stays as it is, an earlier firing too."""
    triggers, queues = list(incident.triggers), {watched.queue.key: watched for watched in incident.queues}
    places: dict[tuple[str, str], list[int]] = {}
    for number, trigger in enumerate(triggers):
        places.setdefault((trigger.fingerprint, trigger.source), []).append(number)
    for case in cases:
        known = places.setdefault(_named(case), [])
        place = next((n for n in known if _same_start(triggers[n].starts_at, case)), None)
        if place is None:
            known.append(len(triggers))
            triggers.append(trigger_of(case, linked=len(triggers) < LINKED_TRIGGERS))
        elif triggers[place].resolved_at is not None:
            triggers[place] = replace(triggers[place], resolved_at=None)
        if case.queue is not None and case.queue.key not in queues and case.runbook is not None:
            queues[case.queue.key] = Watched(case.queue, case.runbook.name, now.at)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values()))


def _joined(document: Document, incident: Incident, event: Alerted, cases: tuple[Case, ...], now: Moment) -> Step:
    joined = _with_alerts(incident, cases, now)
    document = replace(document, incident=joined)
    if joined.phase is Phase.ASKED and joined.reason is not Reason.AWAITING_APPROVAL and not unseen(now):
        return _held_still(document, joined, event, now)
    action = Action.DEFERRED if joined.phase is Phase.DEFERRED else Action.HELD
    reply = reply_to(document, event, cases[0], action, Reason.DUPLICATE)
    if now.at >= joined.due and not unseen(now):
        made = advanced(document, joined, now)
        return made if made.reply else replace(made, reply=reply)
    return Step(document, reply=reply)


def _held_still(document: Document, incident: Incident, event: Alerted, now: Moment) -> Step:
    """A guard held it, and a person may overrule that; but what the guard objected to may be over by itself."""
    if incident.runbook not in now.rules.runbooks:
        return advanced(document, incident, now)
    if still_held(document, incident, now):
        return Step(document, reply=reply_to(document, event, event.cases[0], Action.HELD, incident.reason or Reason.DUPLICATE))
    return decided(document, replace(incident, phase=Phase.WAITING, nonce="", expires_at=None, waits_from=now.at), now)


def _named(case: Case) -> tuple[str, str]:
    """The alert's fingerprint and source as a trigger keeps them."""
    kept = trigger_of(case, linked=False)
    return kept.fingerprint, kept.source


def _same_start(kept_starts_at: float, case: Case) -> bool:
    """Whether it is the same firing period of an alert."""
    return abs(kept_starts_at - case.alert.starts_at) <= SAME_START_S


def _carried(document: Document) -> dict[tuple[str, str], list[tuple[float, Outcome]]]:
    """The alerts of the outcomes that people were told of: when each began, and the outcome, newest first."""
    found: dict[tuple[str, str], list[tuple[float, Outcome]]] = {}
    for outcome in reversed(document.outcomes):
        if outcome.ending is not Ending.HELD:
            for trigger in outcome.triggers:
                found.setdefault((trigger.fingerprint, trigger.source), []).append((trigger.starts_at, outcome))
    return found


def _carrying(carried: dict[tuple[str, str], list[tuple[float, Outcome]]], case: Case) -> Outcome | None:
    """The newest outcome that has this alert already."""
    known = carried.get(_named(case), ())
    return next((outcome for starts_at, outcome in known if _same_start(starts_at, case)), None)


def _resolved(document: Document, cases: tuple[Case, ...], now: Moment) -> Document:
    """Note what Grafana says is over, and say it once where the incident was told."""
    over = {alert_key(case.alert.source, case.alert.fingerprint): case.alert for case in cases}

    def marked(trigger: Trigger) -> Trigger:
        alert = over.get(alert_key(trigger.source, trigger.fingerprint))
        is_it = alert is not None and trigger.resolved_at is None and alert.starts_at >= trigger.starts_at - SAME_START_S
        return replace(trigger, resolved_at=(alert.ends_at if alert else None) or now.at) if is_it else trigger

    if document.incident is not None:
        triggers = tuple(marked(trigger) for trigger in document.incident.triggers)
        return replace(document, incident=replace(document.incident, triggers=triggers))
    if not document.outcomes:
        return document
    last = document.outcomes[-1]
    triggers = tuple(marked(trigger) for trigger in last.triggers)
    if triggers == last.triggers:
        return document
    document = replace(document, outcomes=(*document.outcomes[:-1], replace(last, triggers=triggers)))
    if not all(trigger.resolved_at for trigger in triggers):
        return document
    story = Story("resolved", now.at, target=document.target, trigger=triggers[0], detail=last.incident)
    return told(document, now.rules, story, last.channels, f"{last.incident}-resolved")


def _approved(document: Document, event: Approved, now: Moment) -> Step:
    incident = document.incident
    if incident is None or incident.phase is not Phase.ASKED or not incident.nonce or incident.nonce != event.nonce:
        return Step(document)
    expired = incident.expires_at is not None and now.at >= incident.expires_at
    if expired or incident.runbook not in now.rules.runbooks:
        return advanced(document, incident, now)
    approved = replace(incident, approved_by=event.by, overruled=True, nonce="", phase=Phase.WAITING, waits_from=now.at)
    return decided(document, approved, now)


def _resumed(document: Document, event: Resumed, now: Moment) -> Step:
    if document.escalated_at is None:
        return Step(document)
    story = Story("resumed", now.at, target=document.target, detail=f"{event.reason} ({event.by})".strip())
    last = document.outcomes[-1] if document.outcomes else None
    document = replace(document, escalated_at=None)
    return Step(told(document, now.rules, story, last.channels if last else everybody(now.rules), f"resumed-{now.at:.0f}"))


def _told(document: Document, event: Told) -> Step:
    left = tuple(message for message in document.to_tell if message.id not in event.ids)
    unwritten = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    return Step(replace(document, to_tell=left, to_archive=unwritten, threads=threads))


def _bundled(document: Document, event: Bundled, now: Moment) -> Step:
    """Take over what many documents have to say of one reason, each message once."""
    new = event.ids - set(document.bundled)
    if not new:
        return Step(document)
    kept = {name: at for name, at in document.bundled.items() if now.at - at < BUNDLES_KEPT_S}
    document = replace(document, bundled={**kept, **dict.fromkeys(sorted(new), now.at)})
    for channel, names in event.names.items():
        story = Story("bundle", now.at, reason=event.reason, bundled=names)
        document = told(document, now.rules, story, (channel,), f"{document.key}-{now.at:.3f}")
    return Step(document)


def _unsigned(document: Document, now: Moment) -> Step:
    """Say at most once an hour that alerts wait for a key that is gone."""
    mark = f"{document.key}-{now.at // 3600:.0f}"
    if mark in document.bundled:
        return Step(document)
    document = replace(document, bundled={mark: now.at})
    return Step(told(document, now.rules, Story("unsigned", now.at), everybody(now.rules), mark))
