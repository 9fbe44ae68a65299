"""Follows what the mode `observe` held: how did it go without Unstick? It starts nothing, and posts only the hold itself.

The archived incident says how it went, for `status` and the report: `domain/costs/would_be.py`.
"""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.context import StepContext, reply_for_incident
from functions.domain.decisions.guards import SAME_CAUSE_S, GuardContext, count_as_restarts, decide, judge_queues
from functions.domain.decisions.messages import close_incident, enqueue_hold
from functions.domain.model.codes import Action, Ending, Health, Mode, Phase, Reason
from functions.domain.model.events import Step
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Execution, ExecutionHistory, QueueSnapshot
from functions.domain.model.runbooks import Rules, Runbook

FOLLOWED_S = 86400.0
"""What has not healed by itself in a day is not going to."""

SHARE, AT_MOST_S = 0.1, 1800.0
"""The next look comes after a tenth of the time so far, so a day takes about a hundred looks. At most half an hour: a look only
sees the restarts that Rundeck's history still shows, which is half an hour for the shortest `limits`."""


def observe_hold(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """Tell people what would have been restarted, and follow it from now on."""
    first_s = runbook.verify.first_s
    incident = replace(incident, phase=Phase.OBSERVING, observed_at=context.at, due=context.at + first_s, execution=None)
    document = _tell(replace(document, incident=incident), incident, runbook, context)
    reply = reply_for_incident(document, incident, runbook, Action.HELD, Reason.OBSERVE_ONLY)
    return Step(document, reply=reply)


def observe_alerts(document: Document, incident: Incident, context: StepContext) -> Step:
    """More alerts of what is followed: say again what would have been restarted, as often as any hold."""
    runbook = context.rules.runbooks[incident.runbook]
    decision = decide(GuardContext(context.rules, runbook, document, incident, context.seen, context.at))
    if decision.reason is Reason.OBSERVE_ONLY:
        document = _tell(document, incident, runbook, context)
    reason = decision.reason or Reason.OBSERVE_ONLY
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.HELD, reason))


def _tell(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Document:
    reason = Reason.OBSERVE_ONLY
    card_input = CardInput("held", context.at, runbook, document.target, incident, reason, late_s=context.late_s)
    bundle = reason.value if context.crowd else ""
    return enqueue_hold(document, context.rules, card_input, incident.triggers, incident.id, bundle=bundle)


def watch_observed(document: Document, incident: Incident, context: StepContext) -> Step:
    """Look at the queues and for a person's restart, until all queues were healthy twice or a day has passed."""
    runbook = context.rules.runbooks.get(incident.runbook)
    if runbook is None or is_over(incident, context.rules):
        return Step(stop_observing(document, incident, context))
    observed_at = incident.observed_at if incident.observed_at is not None else incident.began_at
    ended = context.at >= observed_at + FOLLOWED_S
    judged = judge_queues(GuardContext(context.rules, runbook, document, incident, context.seen, context.at))
    healthy = all(
        health is Health.WELL and _is_after(context, observed_at, watched) and _has_consumers(context, runbook, watched)
        for health, _, watched in judged
    )
    healed_at = (incident.healed_at if incident.healed_at is not None else context.at) if healthy else None
    execution = _restart_by_hand(incident, observed_at, context) or incident.execution
    incident = replace(
        incident,
        queues=tuple(watched for _, _, watched in judged),
        healed_at=healed_at,
        execution=execution,
        adopted=execution is not None,
        looked_at=context.at,
    )
    # Without the history nobody knows whether a person restarted it.
    proven = healed_at is not None and context.at - healed_at >= runbook.verify.every_s
    if ended or (proven and isinstance(context.ledger, ExecutionHistory)):
        return Step(stop_observing(document, incident, context))
    wait_s = runbook.verify.every_s
    if healed_at is None:
        wait_s = max(wait_s, min((context.at - observed_at) * SHARE, AT_MOST_S))
    due = min(context.at + wait_s, observed_at + FOLLOWED_S)
    return Step(replace(document, incident=replace(incident, due=due)))


def stop_observing(document: Document, incident: Incident, context: StepContext) -> Document:
    """Archive how it went. Nobody is told: people know more of it than Unstick."""
    runbook = context.rules.runbooks.get(incident.runbook)
    card_input = CardInput("held", context.at, runbook, document.target, incident, Reason.OBSERVE_ONLY)
    return close_incident(document, context.rules, incident, Ending.HELD, card_input, tell=False)


def is_over(incident: Incident, rules: Rules) -> bool:
    """Whether the runbook no longer observes, or is gone. What was only observed is never acted on: the next alert decides."""
    runbook = rules.runbooks.get(incident.runbook)
    return incident.phase is Phase.OBSERVING and (runbook is None or runbook.mode is not Mode.OBSERVE)


def _is_after(context: StepContext, observed_at: float, watched: QueueState) -> bool:
    """Whether the figures are younger than the hold. Older ones, which a missing scrape brings back, say nothing of it."""
    seen = context.seen.queues.get(watched.queue.key)
    return isinstance(seen, QueueSnapshot) and context.at - seen.behind_s > observed_at


def _has_consumers(context: StepContext, runbook: Runbook, watched: QueueState) -> bool:
    """Whether consumers are there, as far as they can be seen: an emptied queue is not a healed one."""
    seen = context.seen.queues.get(watched.queue.key)
    own = context.rules.runbooks.get(watched.runbook, runbook)
    return isinstance(seen, QueueSnapshot) and (seen.consumers is None or seen.consumers >= own.recovered.min_consumers)


def _restart_by_hand(incident: Incident, observed_at: float, context: StepContext) -> Execution | None:
    """The newest restart since the hold. One that the history showed before it would have been followed instead."""
    if not isinstance(context.ledger, ExecutionHistory):
        return None
    since = observed_at + incident.runner_ahead_s - SAME_CAUSE_S
    return next((one for one in count_as_restarts(context.ledger) if (one.runner_started_at or 0.0) > since), None)
