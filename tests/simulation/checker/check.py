"""Whether the invariants held. It knows what the models saw, and the truth of the queues, not how the code decides.

Whether a guard holds by its figures, and a verdict is as strong as its table says, is decided without time and tested in
tests/domain. Here is what only time, faults and others at the same moment can break.
"""

from __future__ import annotations

from itertools import pairwise

from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.incidents import AlertRef, Outcome
from tests.simulation.checker.ends import KNOWN_S, check_ends
from tests.simulation.checker.learned import check_learned
from tests.simulation.checker.outcomes import MAY_HANG, check_outcomes
from tests.simulation.checker.pace import check_pace
from tests.simulation.checker.past import DAY_S, LOOK_AND_FENCE_S, SKEW_S, Past, Violation, incident_of, look_back, queues_of
from tests.simulation.checker.starts import check_starts
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S
from tests.simulation.scenario import Scenario
from tests.simulation.world import Answered

SAME_HOLD_S = 3700.0
"""The same hold of the same alert is reported once an hour."""


def check(scenario: Scenario) -> list[Violation]:
    """All violations of one finished schedule."""
    past = look_back(scenario)
    violations = [Violation("defect", defect) for defect in past.world.defects]
    for each in (_check_causes, _check_told, check_starts, check_outcomes, check_ends, check_pace, check_learned):
        violations += each(past)
    return violations


def _check_causes(past: Past) -> list[Violation]:
    """I1, I20: one restart at a time, one for a cause, no more than `attempts` for an alert, by executions of its own."""
    violations = []
    for target, runs in past.runs.items():
        violations += _count_attempts(past, runs)
        for earlier, later in pairwise(runs):
            if later.by != "unstick":
                continue
            if earlier.over is not None and later.started >= earlier.over:
                violations += _spaced(past, earlier, later)
            elif earlier.ends is not None and later.started >= earlier.ends and later.sent_at - earlier.ends > KNOWN_S:
                violations.append(Violation("I20", f"{target}: {later.id} was started while the command of {earlier.id} went on"))
            elif later.sent_at - earlier.seen_from > 1.0 or earlier.by == "unstick":
                violations.append(Violation("I1", f"{target}: {later.id} was started while {earlier.id} ran"))
    owners = {str(run.id): run.target for run in past.world.rundeck.runs}
    return violations + [
        Violation("I1", f"{incident} went by the execution {execution.id} of another target")
        for incident, record in past.records.items()
        for execution in [record.incident.execution]
        if execution is not None and record.target is not None and owners.get(execution.id) != record.target.key
    ]


def _count_attempts(past: Past, runs: list[Run]) -> list[Violation]:
    """No alert gets more restarts than `attempts` after it began, whichever incidents they belong to."""
    attempts = past.runbook.limits.attempts
    own = [run for run in runs if run.by == "unstick"]
    for place, run in enumerate(own):
        record = past.records.get(incident_of(run.tag))
        began = max((trigger.starts_at for trigger in record.incident.triggers), default=0.0) if record else run.started
        alone = [earlier for earlier in own[: place + 1] if not past.is_pressed(run.target, earlier.sent_at)]
        of_one_alert = [earlier for earlier in alone if earlier.started >= began + SKEW_S]
        of_one_incident = [earlier for earlier in own[: place + 1] if incident_of(earlier.tag) == incident_of(run.tag)]
        if max(len(of_one_alert), len(of_one_incident)) > attempts:
            return [Violation("I1", f"{run.id} is one restart too many for one cause")]
    return []


def _spaced(past: Past, earlier: Run, later: Run) -> list[Violation]:
    """Between two restarts of one cause lies a verdict: time to recover, a consumer that hangs again, or a job that failed."""
    gap_s, for_s = later.started - (earlier.ends or 0.0), past.runbook.symptom.for_s - COUNTED_S
    record = past.records.get(incident_of(later.tag))
    began_before = record is not None and max(t.starts_at for t in record.incident.triggers) < (earlier.ends or 0.0) - 1.0
    same_cause = incident_of(earlier.tag) == incident_of(later.tag) or began_before
    if earlier.status != "succeeded" or gap_s >= past.runbook.verify.patience_s - 1.0 or not same_cause:
        return []
    moments = [later.sent_at - ago_s for ago_s in range(int(LOOK_AND_FENCE_S) + 1)]
    hangs = any(queue.hung(at, for_s) for queue in queues_of(past.world, later.target) for at in moments)
    if past.is_pressed(later.target, later.sent_at) or (hangs and gap_s >= for_s):
        return []
    return [Violation("I1", f"{later.id} came {gap_s:.0f} s after {earlier.id} for the same cause")]


def _check_told(past: Past) -> list[Violation]:
    """I2: every alert that was answered 2xx ends in one outcome that people know of, and nothing is left open."""
    violations = []
    for incident, record in past.records.items():
        kinds = {card.kind for _, _, card in past.world.chat.posts if card.incident == incident}
        app = record.target.options["app"] if record.target else ""
        if not kinds & _kinds_of(record.outcome) and not _is_hold_known(past, app, record.outcome):
            violations.append(Violation("I2", f"{incident} {record.outcome.ending} was not told, only {sorted(kinds)}"))
        if {"recovered", "escalated"} <= kinds:
            violations.append(Violation("I2", f"{incident} was told as recovered and as escalated"))
    violations += [
        Violation("I2", f"the alert {answer.alert.fingerprint} of {answer.alert.starts_at} came to nothing: {answer.replies}")
        for answer in past.world.answered
        if not _came_to_something(past, answer)
    ]
    violations += [
        Violation("I2", f"{document.key} is open at the end: {document.incident.phase if document.incident else 'untold'}")
        for document in past.world.documents()
        if document.to_tell or document.to_archive or (document.incident and document.incident.phase is not Phase.ASKED)
    ]
    return violations + _told_again(past)


def _kinds_of(outcome: Outcome) -> set[str]:
    if outcome.ending is Ending.HELD:
        return {"held", "not_approved", "declined", "bundle"}
    return {outcome.ending.value, "not_approved", "declined"}


def _is_hold_known(past: Past, app: str, outcome: Outcome) -> bool:
    since_s = DAY_S if outcome.reason is Reason.LIKELY_STUCK else SAME_HOLD_S
    return outcome.ending is Ending.HELD and _is_known(past, app, outcome.at - since_s, outcome.at + SAME_HOLD_S)


def _is_known(past: Past, app: str, since: float, until: float) -> bool:
    """Whether people were told in this time that this application is held, or asked about it: alone, or as one of many."""
    return any(
        since <= at <= until
        and (
            (card.kind in ("held", "not_approved") and app in card.headline)
            or (card.kind == "bundle" and any(f"app={app}" in text.split(", ") for _, text in card.facts))
        )
        for at, _, card in past.world.chat.posts
    )


def _came_to_something(past: Past, answer: Answered) -> bool:
    alert, app = answer.alert, answer.alert.labels["app"]
    refs = (trigger for record in past.records.values() for trigger in record.outcome.triggers)
    if any(ref.fingerprint == alert.fingerprint and abs(ref.starts_at - alert.starts_at) <= SKEW_S for ref in refs):
        return True
    saved = past.saved(f"target-{app}", past.world.now)
    if alert.is_suspicion and any((document.passed_at or 0.0) >= answer.asked_at - SKEW_S for document in saved):
        return True
    mine = [reply for reply in answer.replies if reply.target == f"app={app}"]
    incidents = {reply.incident for reply in mine}
    if any(card.kind == "held" and card.incident in incidents for _, _, card in past.world.chat.posts):
        return True
    # Once they were asked, people are not told for a day what is still the same.
    asked = any(reply.reason is Reason.LIKELY_STUCK or reply.action is Action.DEFERRED for reply in mine)
    told = (card for at, key, card in past.cards if key == f"target-{app}" and at <= answer.at)
    asked = asked or any("approve" in card.actions or MAY_HANG in card.headline for card in told)
    since_s = DAY_S if asked else SAME_HOLD_S
    known = bool(mine) and _is_known(past, app, answer.asked_at - since_s, answer.at + SAME_HOLD_S)
    return known or bool(incidents & past.world.lost_lists)


def _told_again(past: Past) -> list[Violation]:
    """What came of an alert, more than that it is held, is said by one incident."""
    told: dict[tuple[str, str], list[tuple[AlertRef, str]]] = {}
    violations = []
    for incident, record in past.records.items():
        if not record.outcome.settles or record.target is None:
            continue
        for trigger in record.outcome.triggers:
            before = told.setdefault((record.target.key, trigger.fingerprint), [])
            violations += [
                Violation("I2", f"{trigger.fingerprint} of {trigger.starts_at} has outcomes of {other} and {incident}")
                for ref, other in before
                if other != incident and abs(ref.starts_at - trigger.starts_at) < 1.0
            ]
            before.append((trigger, incident))
    return violations
