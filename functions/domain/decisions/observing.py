"""Follows what the mode `observe` held: how did it go without Unstick? Starts nothing, and posts only the hold itself.
The archived incident has the result, for `status` and the report: `domain/cards/report.py`."""

from msgspec.structs import replace

from functions.domain.decisions.guards import SAME_CAUSE_S, count_as_restarts, decide, judge_queues
from functions.domain.decisions.turn import Turn
from functions.domain.health.samples import recent_s
from functions.domain.model.codes import Action, Ending, Health, Mode, Phase, Reason
from functions.domain.model.incidents import Incident, QueueState
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Execution, QueueSnapshot, Statement, Unknown
from functions.domain.model.runbooks import Rules

FOLLOWED_S = 86400.0  # seconds to follow an incident: what hasn't healed by itself in a day won't

SHARE, AT_MOST_S = 0.1, 1800.0
"""The next look comes after a tenth of the time so far, so a day takes about a hundred looks. At most half an hour: a look only
sees the restarts that Rundeck's history still shows, which is half an hour for the shortest `limits`."""


def observe_hold(turn: Turn) -> None:
    """Report what would have been restarted, and follow it from now on."""
    observed = replace(turn.incident.observed, observed_at=turn.at)
    turn.change(phase=Phase.OBSERVING, observed=observed, due=turn.at + turn.runbook.verify.first_s, execution=None)
    _tell(turn)
    turn.answer(Action.HELD, Reason.OBSERVE_ONLY)


def observe_alerts(turn: Turn) -> None:
    """More alerts for a followed incident: report the would-be restart again, as often as any hold."""
    decision = decide(turn.guard_context())
    if decision.reason is Reason.OBSERVE_ONLY:
        _tell(turn)
    turn.answer(Action.HELD, decision.reason or Reason.OBSERVE_ONLY)


def _tell(turn: Turn) -> None:
    turn.post_hold(turn.card(CardKind.HELD, Reason.OBSERVE_ONLY), turn.incident.id, bundled=turn.crowd)


def watch_observed(turn: Turn) -> None:
    """Watch the queues and a person's restarts, until all queues were healthy twice or a day has passed."""
    incident = turn.incident
    if is_over(incident, turn.rules):
        return stop_observing(turn)
    every_s = turn.runbook.verify.every_s
    observed_at = incident.observed.observed_at if incident.observed.observed_at is not None else incident.began_at
    judged = judge_queues(turn.guard_context())
    healthy = all(one.health is Health.WELL and _is_healed(turn, observed_at, watched) for one, watched in judged)
    healed_at = (incident.observed.healed_at if incident.observed.healed_at is not None else turn.at) if healthy else None
    execution = _restart_by_hand(turn, observed_at) or incident.execution
    queues = tuple(watched for _, watched in judged)
    observed = replace(incident.observed, healed_at=healed_at)
    turn.change(queues=queues, observed=observed, execution=execution, looked_at=turn.at)
    turn.change_run(adopted=execution is not None)
    # Without the history, a person's restart can't be seen.
    proven = healed_at is not None and turn.at - healed_at >= max(every_s, _recent_s(turn))
    if turn.at >= observed_at + FOLLOWED_S or (proven and turn.history):
        return stop_observing(turn)
    wait_s = every_s if healed_at is not None else max(every_s, min((turn.at - observed_at) * SHARE, AT_MOST_S))
    turn.change(due=min(turn.at + wait_s, observed_at + FOLLOWED_S))


def stop_observing(turn: Turn) -> None:
    """Archive the result. Nobody is notified: people know more about it than Unstick."""
    turn.close(Ending.HELD, turn.card(CardKind.HELD, Reason.OBSERVE_ONLY), tell=False)


def is_over(incident: Incident, rules: Rules) -> bool:
    """Whether the runbook no longer observes, or is gone. A followed incident is never acted on: the next alert is decided."""
    runbook = rules.runbooks.get(incident.runbook)
    return incident.phase is Phase.OBSERVING and (runbook is None or runbook.mode is not Mode.OBSERVE)


def _is_healed(turn: Turn, observed_at: float, watched: QueueState) -> bool:
    """Whether the figures are newer than the hold, and show consumers where these can be seen.
    An emptied queue is not a sign of recovery."""
    seen, needed = turn.snapshot_of(watched), turn.runbook_of(watched).recovered.min_consumers
    if isinstance(seen, Statement):
        return seen.at - seen.range_s > observed_at
    return isinstance(seen, QueueSnapshot) and (seen.consumers is None or seen.consumers >= needed)


def _recent_s(turn: Turn) -> float:
    """How far apart two checks must lie, so that the second can show new work."""
    seen = [turn.snapshot_of(watched) for watched in turn.incident.queues]
    apart = (one.range_s if isinstance(one, Statement) else recent_s(one) for one in seen if not isinstance(one, Unknown))
    return max(apart, default=0.0)


def _restart_by_hand(turn: Turn, observed_at: float) -> Execution | None:
    """The newest restart since the hold. One that the history already had would have been followed instead."""
    since = observed_at + turn.incident.runner_ahead_s - SAME_CAUSE_S
    restarts = count_as_restarts(turn.history) if turn.history else ()
    return next((one for one in restarts if (one.runner_started_at or 0.0) > since), None)
