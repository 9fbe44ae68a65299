"""Proves that a job refuses a start that comes too late, by requesting one."""

import math
from functools import partial

from msgspec.structs import replace

from functions.bootstrap import Adapters
from functions.domain.cards.drill_card import Leg
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import HolderOption, Restart
from functions.domain.texts.words import worded
from functions.entrypoints.drill import wait_until
from functions.runtime.errors import Unavailable
from functions.runtime.text import Text, named

REFUSAL_S = 120.0
RUNNER_S = 10.0
LATE_BY_S = 3600.0


def refusal(ports: Adapters, target: Target) -> Leg:
    """Prove that the job refuses a start that comes an hour late, by requesting one. Only if everything that `check` sees of
    the job is right, including its guard: without the guard this would be a restart."""
    began = ports.monotonic()
    own = replace(target, options={name: value for name, value in target.options.items() if value})
    holder = HolderOption(own.holder, "") if own.holder else None
    restart = Restart(own.job, own.options, max_run_s=math.inf, holder=holder)
    for finding in ports.runner.check(restart, auto=True, timeout_s=RUNNER_S):
        if finding.ok is False:
            failed = named(finding.what, finding.detail)
            detail = Text("not tried, since it might restart something. Failed check: {check}", check=failed)
            return Leg("refusal", ok=False, seconds=ports.monotonic() - began, detail=detail, remedy=finding.remedy)
    now = ports.now()
    started = ports.runner.run(own, tag=f"drill-{now:.0f}.1", runner_not_after=now - LATE_BY_S, timeout_s=RUNNER_S)
    executions = [started]
    wait_until(ports, partial(_has_ended, ports, own, executions), REFUSAL_S)
    seconds, last = ports.monotonic() - began, executions[-1]
    if last.refused:
        return _prove(ports, last, seconds)
    if not last.ended:
        remedy = Text("Check in {runner} whether a node is missing or the server is busy.", runner=ports.runner.name)
        return Leg("refusal", ok=False, seconds=seconds, detail=Text("execution {id} has not ended", id=last.id), remedy=remedy)
    remedy = Text(
        "It did restart. The job must refuse first (in Rundeck: step 1 of infra/rundeck/job.yaml). Check the nodes' clocks, too."
    )
    detail = Text("execution {id} ended as {status}, not refused", id=last.id, status=worded(last.status))
    return Leg("refusal", ok=False, seconds=seconds, detail=detail, remedy=remedy)


def _prove(ports: Adapters, refused: Execution, seconds: float) -> Leg:
    """A late run that failed was refused by the guard, or could not run at all: then no restart can either."""
    doubt = ports.runner.doubt_refusal(refused.id, timeout_s=RUNNER_S)
    if not doubt:
        return Leg("refusal", ok=True, seconds=seconds)
    remedy = Text(
        "No restart can run like that. Check the job's node filter, the policy's rule `node`, and the way to the nodes."
    )
    detail = Text("execution {id} failed before the job could refuse it: {why}", id=refused.id, why=doubt)
    return Leg("refusal", ok=False, seconds=seconds, detail=detail, remedy=remedy)


def _has_ended(ports: Adapters, target: Target, executions: list[Execution]) -> bool:
    try:
        current = ports.runner.look(target, since_s=LATE_BY_S, follow=executions[0].id, timeout_s=RUNNER_S, tail=False).followed
    except Unavailable:
        return False
    if current is not None:
        executions.append(current)
    return current is not None and current.ended
