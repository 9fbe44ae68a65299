"""Core: (document, event, observation, now) -> (document, acts). The phases of an incident.

Level-triggered: it looks at how things are, not at which call this is. The same step again changes nothing: before `due` it
only takes in alerts, and whatever it orders is fenced by the document's phase.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions import judge
from functions.guards import MAX_NUMBERED, Decision, Kind, Scene, claimed, decide, restarts, watched_now
from functions.model import (
    Abort,
    Act,
    Action,
    Alerted,
    Approved,
    Bundled,
    Case,
    Claim,
    Document,
    Ending,
    Event,
    Execution,
    Incident,
    Ledger,
    Mode,
    Observation,
    Phase,
    Ran,
    Reason,
    Reply,
    Resumed,
    Rules,
    Runbook,
    Sighting,
    Start,
    Step,
    Story,
    Told,
    Trigger,
    Try,
    Unknown,
    Verdict,
    Wake,
    Watched,
    Woken,
)
from functions.telling import LATE_S, LINKED_TRIGGERS, alert_key, channels, ended, may_overrule, tell_hold, told, trigger_of

FIRST_LOOK_S = 20.0
"""After a start: when its answer is missed."""
NUMBER_ANEW_S = 60.0
"""How long after `not_after` an attempt that nobody saw is given up: the runner's history may lag."""
GRACE_S = 900.0
"""Without any restart for `within` and this long, an incident is handed to people."""
UNTOLD_S = 60.0
BUNDLE_S = 20.0
APPROVAL_S = 1800.0
BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
SAME_START_S = 60.0
"""Replicas of Grafana give the same alert start times that differ a little."""


@dataclass(frozen=True, slots=True)
class _Now:
    """What stays the same during one step."""

    rules: Rules
    seen: Observation
    at: float
    late_s: float = 0.0
    approved: bool = False
    crowd: bool = False
    was_saved: bool = True
    """The incident was in the document before this step, so people have been promised an outcome."""

    @property
    def ledger(self) -> Ledger | Unknown:
        return self.seen.ledger


def step(document: Document, event: Event, seen: Observation, now: float, rules: Rules) -> Step:
    """Take one step. Raises nothing on any document that this or the former release wrote."""
    late_s = now - document.due if document.due is not None else 0.0
    moment = _Now(rules, seen, now, late_s=late_s if late_s > LATE_S else 0.0)
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
            made = _ran(document, event, moment)
        case Told():
            made = _told(document, event)
        case Bundled():
            made = _bundled(document, event, moment)
    return _scheduled(document, made, event, now)


def _scheduled(before: Document, made: Step, event: Event, now: float) -> Step:
    """Give the document its `due`, and order the wake-up for it wherever none exists at or after it."""
    after = made.document
    if after == before:
        return made
    due = after.incident.due if after.incident else None
    if after.to_tell or after.to_archive:
        bundled = after.to_tell and all(message.bundle for message in after.to_tell)
        wait_s = BUNDLE_S if bundled and not after.to_archive else UNTOLD_S
        fewer = _ids(after) <= _ids(before)
        keep = before.due is not None and before.due > now and fewer
        untold = before.due if keep and before.due is not None else now + wait_s
        due = untold if due is None else min(due, untold)
    after = replace(after, due=due)
    exists = isinstance(event, Ran) and before.due is not None and due is not None and now < due <= before.due
    if due is None or due == before.due or exists:
        return replace(made, document=after)
    return replace(made, document=after, acts=(Wake(due), *made.acts))


def _ids(document: Document) -> set[str]:
    return {message.id for message in document.to_tell} | {record.incident.id for record in document.to_archive}


# --- events ----------------------------------------------------------------------------------------------------------


def _woken(document: Document, now: _Now) -> Step:
    incident = document.incident
    if document.due is not None and now.at < document.due:
        return Step(document)
    if incident is not None and now.at >= incident.due:
        return _advance(document, incident, now)
    if document.to_tell or document.to_archive:
        # A changed due is what gives the posting to one holder: whoever saves it tells.
        return Step(replace(document, due=None))
    return Step(replace(document, due=None)) if incident is None else Step(document)


def _alerted(document: Document, event: Alerted, now: _Now) -> Step:
    first = event.cases[0]
    if first.target is None:
        return _turned_away(document, event, first, now)
    document = replace(document, target=first.target)
    document = _resolved(document, tuple(case for case in event.cases if not case.alert.firing), now)
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        if document.incident is not None and now.at >= document.incident.due and _all_resolved(document.incident):
            return _advance(document, document.incident, now)
        return Step(
            _seen_well(document, first.runbook, now), reply=_reply(document, event, first, Action.HELD, Reason.NOT_FIRING)
        )
    new = tuple(case for case in firing if not _carried(document, case))
    if document.incident is not None and new:
        return _joined(document, document.incident, event, new, now)
    if not new:
        return Step(document, reply=_reply(document, event, first, Action.HELD, Reason.DUPLICATE))
    return _advance(document, _opened(event, new, now), now)


def _turned_away(document: Document, event: Alerted, case: Case, now: _Now) -> Step:
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
    return Step(document, reply=_reply(document, event, case, Action.HELD, reason))


def _opened(event: Alerted, cases: tuple[Case, ...], now: _Now) -> Incident:
    runbook = cases[0].runbook
    return _with_alerts(
        Incident(event.incident, Phase.DEFERRED, now.at, runbook.name if runbook else "", (), (), due=now.at), cases, now
    )


def _with_alerts(incident: Incident, cases: tuple[Case, ...], now: _Now) -> Incident:
    """The incident with these alerts and their queues added; what it has already stays as it is, an earlier firing too."""
    triggers, queues = list(incident.triggers), {watched.queue.key: watched for watched in incident.queues}
    for case in cases:
        place = next((n for n, trigger in enumerate(triggers) if _same_alert(trigger, case)), None)
        if place is None:
            triggers.append(trigger_of(case, linked=len(triggers) < LINKED_TRIGGERS))
        elif triggers[place].resolved_at is not None:
            triggers[place] = replace(triggers[place], resolved_at=None)
        if case.queue is not None and case.queue.key not in queues and case.runbook is not None:
            queues[case.queue.key] = Watched(case.queue, case.runbook.name, now.at)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values()))


def _joined(document: Document, incident: Incident, event: Alerted, cases: tuple[Case, ...], now: _Now) -> Step:
    joined = _with_alerts(incident, cases, now)
    document = replace(document, incident=joined)
    if now.at >= joined.due and not _unseen(now):
        return _advance(document, joined, now)
    action = Action.DEFERRED if joined.phase is Phase.DEFERRED else Action.HELD
    reply = _reply(document, event, cases[0], action, Reason.DUPLICATE)
    return Step(document, reply=reply)


def _same_alert(trigger: Trigger, case: Case) -> bool:
    """Whether this is the alert that was kept, in the same firing period."""
    kept = trigger_of(case, linked=False)
    same = (trigger.fingerprint, trigger.source) == (kept.fingerprint, kept.source)
    return same and abs(trigger.starts_at - kept.starts_at) <= SAME_START_S


def _carried(document: Document, case: Case) -> bool:
    """Whether an outcome has this alert already."""
    return any(
        _same_alert(trigger, case)
        for outcome in document.outcomes
        if outcome.ending is not Ending.HELD
        for trigger in outcome.triggers
    )


def _resolved(document: Document, cases: tuple[Case, ...], now: _Now) -> Document:
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


def _all_resolved(incident: Incident) -> bool:
    return bool(incident.triggers) and all(trigger.resolved_at is not None for trigger in incident.triggers)


def _seen_well(document: Document, runbook: Runbook | None, now: _Now) -> Document:
    """An escalation ends when every queue of it is seen well, whoever mended them."""
    if document.escalated_at is None or runbook is None:
        return document
    last = next((outcome for outcome in reversed(document.outcomes) if outcome.ending is Ending.ESCALATED), None)
    queues = {queue.key for queue in last.queues} if last else set()
    queues |= {watched.queue.key for watched in document.incident.queues} if document.incident else set()
    for key in queues or now.seen.queues.keys():
        seen = now.seen.queues.get(key)
        if not isinstance(seen, Sighting) or not judge.is_well(runbook.recovered, seen.depth, seen.consumers):
            return document
    return replace(document, escalated_at=None)


def _approved(document: Document, event: Approved, now: _Now) -> Step:
    incident = document.incident
    if incident is None or incident.phase is not Phase.ASKED or not incident.nonce or incident.nonce != event.nonce:
        return Step(document)
    if incident.expires_at is not None and now.at >= incident.expires_at:
        return _advance(document, incident, now)
    approved = replace(incident, approved_by=event.by, nonce="", phase=Phase.WAITING)
    return _decided(document, approved, replace(now, approved=True))


def _resumed(document: Document, event: Resumed, now: _Now) -> Step:
    if document.escalated_at is None:
        return Step(document)
    story = Story("resumed", now.at, target=document.target, detail=f"{event.reason} ({event.by})".strip())
    last = document.outcomes[-1] if document.outcomes else None
    document = replace(document, escalated_at=None)
    return Step(told(document, now.rules, story, last.channels if last else now.rules.notify, f"resumed-{now.at:.0f}"))


def _told(document: Document, event: Told) -> Step:
    left = tuple(message for message in document.to_tell if message.id not in event.ids)
    unwritten = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    return Step(replace(document, to_tell=left, to_archive=unwritten, threads=threads))


def _bundled(document: Document, event: Bundled, now: _Now) -> Step:
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


# --- phases ----------------------------------------------------------------------------------------------------------


def _advance(document: Document, incident: Incident, now: _Now) -> Step:
    runbook = now.rules.runbooks.get(incident.runbook)
    if runbook is None:
        gone = f"the runbook {incident.runbook} is no longer in the configuration"
        return _escalate(document, incident, None, now, Reason.NO_RUNBOOK, gone)
    ahead_s = now.ledger.runner_now - now.at if isinstance(now.ledger, Ledger) else incident.runner_ahead_s
    incident = replace(incident, runner_ahead_s=ahead_s)
    match incident.phase:
        case Phase.STARTING:
            return _starting(document, incident, runbook, now)
        case Phase.RUNNING:
            return _running(document, incident, runbook, now)
        case Phase.VERIFYING:
            return _verifying(document, incident, runbook, now)
        case Phase.ASKED if incident.expires_at is None or now.at >= incident.expires_at:
            return _not_approved(document, incident, runbook, now)
        case Phase.ASKED:
            return Step(replace(document, incident=replace(incident, due=incident.expires_at or now.at)))
        case _ if _all_resolved(incident) and incident.restarts == 0:
            return _held(document, incident, runbook, now, Decision(Kind.HOLD, Reason.NOT_FIRING))
        case _:
            return _decided(document, incident, now)


def _decided(document: Document, incident: Incident, now: _Now) -> Step:
    """Ask the guards, and do what they say."""
    runbook = now.rules.runbooks[incident.runbook]
    if incident.phase is Phase.DEFERRED and not now.was_saved and _unseen(now):
        return _deferred(document, incident, runbook, now)
    scene = Scene(now.rules, runbook, document, incident, now.seen, now.at, approved=now.approved)
    incident = replace(incident, queues=watched_now(scene))
    document = _seen_well(replace(document, incident=incident), runbook, now)
    scene = replace(scene, document=document, incident=incident)
    decision = decide(scene)
    incident = replace(incident, reason=decision.reason, detail=decision.detail)
    if decision.kind is Kind.ADOPT and decision.execution is not None:
        return _adopted(document, incident, runbook, now, decision.execution, decision.reason)
    if decision.kind is Kind.ASK:
        return _asked(document, incident, runbook, now, decision)
    if decision.kind is Kind.HOLD:
        return _held_back(document, incident, runbook, now, decision)
    if incident.attempt >= MAX_NUMBERED:
        return _escalate(document, incident, runbook, now, incident.reason, f"{MAX_NUMBERED} attempts were numbered")
    return _start(document, incident, runbook, now, scene)


def _unseen(now: _Now) -> bool:
    """Something was not seen in the time given: a later look may well see it."""
    parts = (now.seen.ledger, now.seen.pause, now.seen.storm, *now.seen.queues.values())
    return any(isinstance(part, Unknown) and part.late for part in parts)


def _deferred(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    incident = replace(incident, due=now.at)
    return Step(replace(document, incident=incident), reply=_answer(document, incident, runbook, Action.DEFERRED, None))


def _start(document: Document, incident: Incident, runbook: Runbook, now: _Now, scene: Scene) -> Step:
    """Everything agrees: write the attempt down, then act."""
    number = incident.attempt + 1
    within_s = runbook.restart.start_within_s
    not_after = scene.ledger.runner_now + within_s
    queues = tuple(
        replace(watched, before=seen if isinstance(seen := now.seen.queues.get(watched.queue.key), Sighting) else watched.before)
        for watched in incident.queues
    )
    incident = replace(
        incident,
        phase=Phase.STARTING,
        attempt=number,
        runner_not_after=not_after,
        execution=None,
        adopted=False,
        queues=queues,
        due=now.at + FIRST_LOOK_S,
        nonce="",
        tail=None,
    )
    storm = claimed(scene)
    acts: tuple[Act, ...] = (Start(f"{incident.id}.{number}", not_after, within_s),)
    if storm is not None:
        acts = (Claim(storm), *acts)
    reply = _answer(document, incident, runbook, Action.RESTARTED, None)
    return Step(replace(document, incident=incident), acts, reply)


def _ran(document: Document, event: Ran, now: _Now) -> Step:
    """What came of starting the job."""
    incident = document.incident
    if incident is None or incident.phase is not Phase.STARTING or event.tag != f"{incident.id}.{incident.attempt}":
        return Step(document)
    runbook = now.rules.runbooks[incident.runbook]
    if event.mismatch:
        acts: tuple[Act, ...] = (Abort(event.refusal),)
        detail = f"execution {event.refusal} runs with other options than were sent; it is being aborted"
        made = _escalate(document, incident, runbook, now, Reason.RESTART_REFUSED, detail, remedy=event.remedy)
        return replace(made, acts=(*made.acts, *acts))
    if event.execution is not None:
        return _followed(document, incident, runbook, now, event.execution, Action.RESTARTED, None)
    unstarted = replace(incident, attempt=incident.attempt - 1, phase=Phase.WAITING, runner_not_after=None)
    if event.unsent is Reason.PAUSED:
        return _held_back(document, unstarted, runbook, now, Decision(Kind.HOLD, event.unsent, event.refusal))
    if event.unsent is not None:
        return _deferred(document, replace(unstarted, phase=Phase.DEFERRED), runbook, now)
    if event.busy:
        return _decided_busy(document, unstarted, now, event.refusal)
    if event.refusal:
        refused = Decision(Kind.HOLD, Reason.RESTART_REFUSED, event.refusal, remedy=event.remedy)
        return _held_back(document, unstarted, runbook, now, refused)
    return Step(document, reply=_answer(document, incident, runbook, Action.DEFERRED, None))


def _decided_busy(document: Document, incident: Incident, now: _Now, detail: str) -> Step:
    """The runner said that the job is busy: adopt what is ours, else wait."""
    runbook = now.rules.runbooks[incident.runbook]
    if isinstance(now.ledger, Ledger):
        for execution in now.ledger.executions:
            if not execution.ended and not execution.scheduled:
                return _adopted(document, incident, runbook, now, execution, Reason.ALREADY_RUNNING)
    busy = Decision(Kind.HOLD, Reason.JOB_BUSY, detail, again_in_s=runbook.verify.every_s)
    return _held_back(document, incident, runbook, now, busy)


def _starting(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    """Nobody knows yet whether the job was started: the history tells."""
    if isinstance(now.ledger, Unknown):
        return _again(document, incident, runbook, now, Reason.LEDGER_UNKNOWN, now.ledger.why)
    tag = f"{incident.id}.{incident.attempt}"
    mine = sorted((e for e in now.ledger.executions if e.tag == tag), key=lambda e: e.runner_started_at or 0.0)
    if mine:
        return _followed(document, incident, runbook, now, mine[0], Action.RESTARTED, None)
    left_s = (incident.runner_not_after or 0.0) + NUMBER_ANEW_S - now.ledger.runner_now
    if left_s >= 0:
        incident = replace(incident, due=now.at + left_s + 1)
        return Step(replace(document, incident=incident), reply=_answer(document, incident, runbook, Action.DEFERRED, None))
    return _decided(document, replace(incident, phase=Phase.WAITING), now)


def _adopted(
    document: Document, incident: Incident, runbook: Runbook, now: _Now, execution: Execution, reason: Reason | None
) -> Step:
    own = execution.tag.startswith(f"{incident.id}.")
    action = Action.RESTARTED if own else Action.ADOPTED
    if not own and isinstance(now.ledger, Ledger):
        began_at = max((t.starts_at for t in incident.triggers), default=incident.began_at) + incident.runner_ahead_s
        earlier = [e for e in restarts(now.ledger) if e.id != execution.id and (e.runner_started_at or 0.0) >= began_at]
        incident = replace(incident, restarts=max(incident.restarts, len(earlier)))
    return _followed(document, replace(incident, adopted=not own), runbook, now, execution, action, reason)


def _followed(
    document: Document,
    incident: Incident,
    runbook: Runbook,
    now: _Now,
    execution: Execution,
    action: Action,
    reason: Reason | None,
) -> Step:
    """Go by this execution from now on."""
    due = incident.due if incident.due > now.at else now.at + runbook.verify.every_s
    incident = replace(
        incident,
        phase=Phase.RUNNING,
        execution=execution,
        restarts=incident.restarts + 1,
        reason=reason,
        due=due,
        tail=None,
    )
    document = replace(document, incident=incident)
    if execution.ended:
        made = _running(document, incident, runbook, _unfollowed(now))
        return replace(made, reply=_answer(document, incident, runbook, action, reason))
    story = Story("started", now.at, runbook, document.target, incident, reason, late_s=now.late_s)
    mark = f"{incident.id}-started-{execution.id}"
    document = told(document, now.rules, story, channels(now.rules, runbook), mark)
    return Step(document, reply=_answer(document, incident, runbook, action, reason))


def _unfollowed(now: _Now) -> _Now:
    """The look, without the execution that it followed: the incident has just turned to another one."""
    if isinstance(now.ledger, Unknown):
        return now
    return replace(now, seen=replace(now.seen, ledger=replace(now.ledger, followed=None, tail=None)))


def _running(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    execution = _current(incident, now)
    incident = replace(incident, execution=execution, tail=_tail(incident, now))
    if execution is None or not execution.ended:
        runner_now = now.at + incident.runner_ahead_s
        started_at = (execution.runner_started_at if execution else None) or incident.began_at + incident.runner_ahead_s
        if runner_now - started_at > runbook.restart.max_run_s:
            detail = (
                f"execution {execution.id if execution else '?'} has been running for {(runner_now - started_at) / 60:.0f} min"
            )
            return _escalate(document, incident, runbook, now, Reason.ZOMBIE_EXECUTION, detail)
        waiting = replace(incident, due=now.at + runbook.verify.every_s)
        return Step(replace(document, incident=waiting))
    if execution.refused:
        tries = (*incident.tries, Try(execution.tag, execution, "refused_late"))
        again = replace(incident, phase=Phase.WAITING, execution=None, tries=tries, restarts=incident.restarts - 1)
        return _decided(document, again, now)
    queues = tuple(replace(w, depth=None, acks=None, moved_at=None, well_at=None, verdict=None) for w in incident.queues)
    verifying = replace(incident, phase=Phase.VERIFYING, queues=queues)
    if not execution.succeeded:
        return _failed(document, verifying, runbook, now)
    return _verifying(document, verifying, runbook, now)


def _current(incident: Incident, now: _Now) -> Execution | None:
    """The execution as the history has it now, else as it was known."""
    if not isinstance(now.ledger, Ledger) or incident.execution is None:
        return incident.execution
    if now.ledger.followed is not None:
        return replace(now.ledger.followed, tag=now.ledger.followed.tag or incident.execution.tag)
    found = [execution for execution in now.ledger.executions if execution.id == incident.execution.id]
    return found[0] if found else incident.execution


def _tail(incident: Incident, now: _Now) -> tuple[str, ...] | None:
    fresh = now.ledger.tail if isinstance(now.ledger, Ledger) else None
    return fresh if fresh is not None else incident.tail


def _failed(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    """The job ran and failed. The queue may have recovered all the same; else the next attempt is decided."""
    execution = incident.execution
    status = execution.status if execution else "?"
    if incident.restarts >= runbook.limits.attempts:
        return _escalate(document, incident, runbook, now, Reason.FAILING, f"the job ended as {status}")
    return _next_attempt(document, incident, runbook, now, f"failed: {status}")


def _verifying(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    """Look at every queue, and say what became of the restart."""
    incident = replace(incident, execution=_current(incident, now), tail=_tail(incident, now))
    age_s = _age_s(incident, now)
    verify = runbook.verify
    if age_s < verify.first_s:
        waiting = replace(incident, due=now.at + verify.first_s - age_s)
        return Step(replace(document, incident=waiting))
    queues = tuple(_looked(watched, now, runbook, age_s) for watched in incident.queues)
    incident = replace(incident, queues=queues, looked_at=now.at)
    if all(w.well_at is not None and now.at - w.well_at >= verify.every_s for w in queues):
        return _recovered(document, incident, runbook, now)
    if any(w.verdict is Verdict.STUCK for w in queues):
        if incident.restarts >= runbook.limits.attempts:
            return _escalate(document, incident, runbook, now, None, "it is still stuck")
        return _next_attempt(document, incident, runbook, now, "stuck")
    joined_s = now.at - max(watched.joined_at for watched in queues)
    if min(age_s, joined_s) >= verify.within_s:
        return _time_is_up(document, incident, runbook, now)
    left_s = max(verify.within_s - age_s, 0.0)
    incident = replace(incident, due=now.at + (min(verify.every_s, left_s) or verify.every_s))
    return Step(_draining_told(replace(document, incident=incident), incident, runbook, now, age_s))


def _age_s(incident: Incident, now: _Now) -> float:
    """How long ago the restart ended, by the runner's clock."""
    ended_at = incident.execution.runner_ended_at if incident.execution else None
    return now.at + incident.runner_ahead_s - ended_at if ended_at is not None else now.at - incident.began_at


def _looked(watched: Watched, now: _Now, runbook: Runbook, age_s: float) -> Watched:
    seen = now.seen.queues.get(watched.queue.key, Unknown("it was not looked at"))
    own = now.rules.runbooks.get(watched.runbook, runbook)
    return judge.after_restart(own, seen, watched, age_s=age_s, now=now.at)


def _draining_told(document: Document, incident: Incident, runbook: Runbook, now: _Now, age_s: float) -> Document:
    """Say once per restart that it moves but takes its time."""
    if age_s < runbook.verify.patience_s or not all(w.verdict in (Verdict.DRAINING, Verdict.RECOVERED) for w in incident.queues):
        return document
    mark = f"{incident.id}-draining-{incident.execution.id if incident.execution else incident.attempt}"
    if incident.draining_told == mark:
        return document
    document = replace(document, incident=replace(incident, draining_told=mark))
    story = Story("draining", now.at, runbook, document.target, incident, late_s=now.late_s)
    return told(document, now.rules, story, channels(now.rules, runbook), mark)


def _time_is_up(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    unproven = [w for w in incident.queues if w.well_at is None or now.at - w.well_at < runbook.verify.every_s]
    if all(w.well_at is not None or judge.moving(runbook, w, now.at) for w in unproven):
        if any(w.well_at is not None for w in unproven):
            # It looked well once; the second look that proves it is one interval away.
            return Step(replace(document, incident=replace(incident, due=now.at + runbook.verify.every_s)))
        return _recovered(document, incident, runbook, now, moving=True)
    if any(w.verdict is Verdict.UNKNOWN for w in unproven):
        return _escalate(document, incident, runbook, now, Reason.SYMPTOM_UNKNOWN, "RabbitMQ could not be read")
    return _escalate(document, incident, runbook, now, None, f"not recovered within {runbook.verify.within_s / 60:g} min")


def _next_attempt(document: Document, incident: Incident, runbook: Runbook, now: _Now, how: str) -> Step:
    """Decide about another restart. What only has to be waited for keeps the incident verifying."""
    execution = incident.execution
    tag = execution.tag or execution.id if execution else f"{incident.id}.{incident.attempt}"
    done = replace(incident, tries=(*incident.tries, Try(tag, execution, how)))
    scene = Scene(now.rules, runbook, document, done, now.seen, now.at)
    scene = replace(scene, incident=replace(done, queues=watched_now(scene)))
    decision = decide(scene)
    passes = decision.kind is Kind.HOLD and (decision.again_in_s is not None or decision.reason is Reason.SYMPTOM_GONE)
    if passes:
        time_s = runbook.verify.within_s + (GRACE_S if decision.reason is Reason.SYMPTOM_GONE else 0.0)
        if min(_age_s(incident, now), now.at - incident.began_at) >= time_s:
            return _escalate(document, incident, runbook, now, decision.reason, decision.detail, remedy=decision.remedy)
        waiting = replace(incident, due=now.at + runbook.verify.every_s, queues=_ill_noted(incident, scene.incident))
        return Step(replace(document, incident=waiting))
    return _decided(document, replace(done, phase=Phase.WAITING), now)


def _ill_noted(incident: Incident, decided: Incident) -> tuple[Watched, ...]:
    """The verifying queues, with the first of two ill looks remembered."""
    first = {w.queue.key: w for w in decided.queues}
    return tuple(
        replace(w, ill_since=first[w.queue.key].ill_since, ill_depth=first[w.queue.key].ill_depth) for w in incident.queues
    )


# --- holds and endings -----------------------------------------------------------------------------------------------


def _held_back(document: Document, incident: Incident, runbook: Runbook, now: _Now, decision: Decision) -> Step:
    """A hold: wait if it passes by itself, ask where a person may overrule it, else end."""
    incident = replace(incident, reason=decision.reason, detail=decision.detail)
    if decision.again_in_s is not None:
        return _waiting(document, incident, runbook, now, decision)
    if incident.restarts > 0:
        return _escalate(document, incident, runbook, now, decision.reason, decision.detail, remedy=decision.remedy)
    askable = runbook.mode is not Mode.OBSERVE and decision.reason is not Reason.TOO_MANY_TARGETS
    if askable and not now.approved and may_overrule(decision.reason, now.rules):
        return _asked(document, incident, runbook, now, decision)
    return _held(document, incident, runbook, now, decision)


def _waiting(document: Document, incident: Incident, runbook: Runbook, now: _Now, decision: Decision) -> Step:
    deadline = _deadline(incident, runbook)
    if now.at >= deadline:
        return _escalate(document, incident, runbook, now, decision.reason, decision.detail, remedy=decision.remedy)
    again = now.at + max(decision.again_in_s or 0.0, 1.0)
    incident = replace(incident, phase=Phase.WAITING, due=min(again, deadline))
    document = replace(document, incident=incident)
    if decision.tell:
        story = Story(
            "held",
            now.at,
            runbook,
            document.target,
            incident,
            decision.reason,
            decision.detail,
            decision.remedy,
            late_s=now.late_s,
        )
        document = tell_hold(document, now.rules, story, incident.triggers, f"{incident.id}-{incident.attempt}")
    return Step(document, reply=_answer(document, incident, runbook, Action.HELD, decision.reason))


def _deadline(incident: Incident, runbook: Runbook) -> float:
    """Until when an incident may wait for something that passes by itself; each restart begins a new count."""
    ends = [
        t.execution.runner_ended_at - incident.runner_ahead_s
        for t in incident.tries
        if t.execution and t.execution.runner_ended_at
    ]
    return max([incident.began_at, *ends]) + runbook.verify.within_s + GRACE_S


def _again(document: Document, incident: Incident, runbook: Runbook, now: _Now, reason: Reason, detail: str) -> Step:
    """Stay in the phase and look again, until people have to be asked."""
    deadline = _deadline(incident, runbook)
    if now.at >= deadline:
        return _escalate(document, incident, runbook, now, reason, detail)
    incident = replace(incident, reason=reason, detail=detail, due=min(now.at + runbook.verify.every_s, deadline))
    return Step(replace(document, incident=incident), reply=_answer(document, incident, runbook, Action.DEFERRED, reason))


def _asked(document: Document, incident: Incident, runbook: Runbook, now: _Now, decision: Decision) -> Step:
    expires_at = now.at + APPROVAL_S
    nonce = f"{incident.id}.{incident.attempt}.{now.at:.0f}"
    incident = replace(incident, phase=Phase.ASKED, nonce=nonce, expires_at=expires_at, due=expires_at)
    document = replace(document, incident=incident)
    story = Story(
        "held",
        now.at,
        runbook,
        document.target,
        incident,
        decision.reason,
        decision.detail,
        decision.remedy,
        approve_url=f"{now.rules.public_url}/approve/{nonce}",
        late_s=now.late_s,
    )
    mark = f"{incident.id}-{incident.attempt}-asked"
    document = tell_hold(document, now.rules, story, incident.triggers, mark, always=True)
    action = Action.ASKED if decision.reason is Reason.AWAITING_APPROVAL else Action.HELD
    return Step(document, reply=_answer(document, incident, runbook, action, decision.reason))


def _not_approved(document: Document, incident: Incident, runbook: Runbook, now: _Now) -> Step:
    story = Story("not_approved", now.at, runbook, document.target, incident, incident.reason, incident.detail, late_s=now.late_s)
    ending = Ending.HELD if incident.restarts == 0 else Ending.ESCALATED
    document = told(document, now.rules, story, channels(now.rules, runbook), f"{incident.id}-not-approved")
    document = ended(document, now.rules, incident, ending, story, tell=False)
    return Step(document)


def _held(document: Document, incident: Incident, runbook: Runbook, now: _Now, decision: Decision) -> Step:
    """Turned away. Only an incident that was saved before has an outcome to keep."""
    story = Story(
        "held", now.at, runbook, document.target, incident, decision.reason, decision.detail, decision.remedy, late_s=now.late_s
    )
    answer = _answer(document, incident, runbook, Action.HELD, decision.reason)
    if now.was_saved:
        document = ended(document, now.rules, incident, Ending.HELD, story)
        return Step(document, reply=answer)
    crowded = now.crowd or decision.reason is Reason.TOO_MANY_TARGETS
    bundle = decision.reason.value if crowded and decision.reason else ""
    document = tell_hold(document, now.rules, story, incident.triggers, incident.id, bundle=bundle)
    return Step(replace(document, incident=None), reply=answer)


def _escalate(
    document: Document,
    incident: Incident,
    runbook: Runbook | None,
    now: _Now,
    reason: Reason | None,
    detail: str,
    *,
    remedy: str = "",
) -> Step:
    incident = replace(incident, reason=reason, detail=detail)
    story = Story("escalated", now.at, runbook, document.target, incident, reason, detail, remedy, late_s=now.late_s)
    answer = _answer(document, incident, runbook, Action.HELD, reason)
    document = ended(document, now.rules, incident, Ending.ESCALATED, story)
    return Step(document, reply=answer)


def _recovered(document: Document, incident: Incident, runbook: Runbook, now: _Now, *, moving: bool = False) -> Step:
    story = Story("recovered", now.at, runbook, document.target, incident, moving=moving, late_s=now.late_s)
    document = ended(document, now.rules, incident, Ending.RECOVERED, story)
    return Step(document)


# --- what Grafana is told ----------------------------------------------------------------------------------------------


def _answer(document: Document, incident: Incident, runbook: Runbook | None, action: Action, reason: Reason | None) -> Reply:
    target = document.target.name if document.target else ""
    return Reply(incident.id, runbook.name if runbook else "", target, action, reason, incident.execution)


def _reply(document: Document, event: Alerted, case: Case, action: Action, reason: Reason) -> Reply:
    incident = document.incident
    return Reply(
        incident.id if incident else event.incident,
        case.runbook.name if case.runbook else "",
        case.target.name if case.target else "",
        action,
        reason,
        incident.execution if incident else None,
    )
