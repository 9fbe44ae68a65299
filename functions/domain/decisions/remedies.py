"""What follows if the restart did not help: the next remedy, and the options of its job (docs/remedies.md)."""

from collections.abc import Mapping, Sequence

from functions.domain.decisions.turn import Turn
from functions.domain.health.recovery import count_hanging, find_same_again
from functions.domain.model.alerts import MOVES
from functions.domain.model.codes import Mode, Reason, Verdict
from functions.domain.model.incidents import Incident
from functions.domain.model.moves import read_end
from functions.domain.model.observations import Execution, QueueSnapshot, remedy_of
from functions.domain.model.runbooks import Condition, Remedy, Runbook
from functions.domain.texts.words import worded
from functions.runtime.text import Phrase, Text, join, named

ENDS: Mapping[int, Reason] = {
    2: Reason.REMEDY_REFUSED,
    4: Reason.NOTHING_MOVED,
    5: Reason.PARTLY_MOVED,
    6: Reason.NOT_STARTED,
    143: Reason.REMEDY_STOPPED,
}
"""What the exit statuses of infra/rundeck/move.py mean. 3 is a start that came too late; any other says nothing."""


def remedies_run(incident: Incident) -> list[str]:
    """The names of the remedies that ran in this incident, in their order. Starts that were refused or never came don't count."""
    executions = (*(past.execution for past in incident.tries), incident.execution)
    names = [remedy_of(one.tag) for one in executions if one is not None and (one.retry_of_restart or not one.refused)]
    return list(dict.fromkeys(filter(None, names)))


def next_remedy(incident: Incident, runbook: Runbook, when: Condition) -> Remedy | None:
    """The first remedy for this condition after those that ran: each at most once, and never back to an earlier one."""
    names, run = [remedy.name for remedy in runbook.remedies], remedies_run(incident)
    first = max((names.index(name) + 1 for name in run if name in names), default=0)
    left = (one for one in runbook.remedies[first:] if one.when is when)
    return next((one for one in left if one.mode is not Mode.OBSERVE), None)


def count_to_move(turn: Turn, remedy: Remedy) -> tuple[int, Phrase]:
    """How many messages to move: those that are held, where one queue alone hangs on the same message. 0: none, and why."""
    hanging = [watched for watched in turn.incident.queues if watched.after.verdict is Verdict.STUCK]
    if len(hanging) != 1 or not hanging[0].after.same_again:
        return 0, Text("several queues hang")
    (watched,) = hanging
    if 1 < watched.after.held_again >= (watched.consumers or 0):
        return 0, ""  # not because of one message, which the escalation says
    seen, symptom = turn.snapshot_of(watched), turn.runbook.symptom
    count = count_hanging(symptom, seen, confirmed=turn.is_confirmed) if isinstance(seen, QueueSnapshot) else None
    if not count:
        return 0, Text("it is not known how many messages are held")
    if count > remedy.most:
        why_not = Text("{count} messages are held, and {remedy} moves at most {most}")
        return 0, why_not.fill(count=count, remedy=remedy.name, most=remedy.most)
    return count, ""


def options_of(remedy: Remedy, turn: Turn) -> Mapping[str, str]:
    """The options of the remedy's job besides those of the restart's."""
    incident, target = turn.incident, turn.document.target
    own, watched = target.own.get(remedy.job, {}) if target else {}, find_same_again(incident.queues)
    if not remedy.moves or watched is None:
        return own
    keys = watched.queue.keys
    moves = dict(zip(MOVES, (keys["vhost"], keys["queue"], str(incident.approval.to_move)), strict=True))
    return {**own, **moves}


def explain_failure(execution: Execution, tail: Sequence[str] | None) -> tuple[Reason, Phrase]:
    """Why an execution that failed or was aborted is handed to people, and the details. A remedy says itself how it ended."""
    remedy = remedy_of(execution.tag)
    ended = Text("the job ended as {status}", status=worded(execution.status))
    if execution.aborted_by:
        ended = Text("{user} aborted execution {id}", user=execution.aborted_by, id=execution.id)
    if execution.abandoned:
        ended = Text("execution {id} is gone and left no end, so nobody knows how far it came", id=execution.id)
        return (Reason.REMEDY_UNCLEAR if remedy else Reason.LEDGER_UNKNOWN), ended
    if not remedy:
        return (Reason.ABORTED if execution.aborted_by else Reason.FAILING), ended
    end, unsaid = read_end(tail), Reason.REMEDY_STOPPED if execution.aborted_by else Reason.REMEDY_UNCLEAR
    if end is None:
        return unsaid, named(remedy, ended)
    return ENDS.get(end.status, unsaid), join((named(remedy, ended), end.sentence))
