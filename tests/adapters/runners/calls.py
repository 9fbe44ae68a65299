"""The adapter's calls as most tests make them: for one target, looking back a day."""

import time

from functions.adapters.runners.rundeck import client
from functions.adapters.runners.rundeck.settings import Settings
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from testbed.doubles.rundeck import Job
from testbed.patience import PATIENCE_S

JOB = Job().id
MAIL = Target("t", "http://rundeck", JOB, {"service": "mail"})
DAY = 86400.0


def look(
    settings: Settings, target: Target = MAIL, *, follow: str | None = None, tail: bool = False, since_s: float = DAY
) -> ExecutionHistory:
    return client.look(settings, target, since_s=since_s, follow=follow, tail=tail, timeout_s=PATIENCE_S)


def run(
    settings: Settings, target: Target = MAIL, *, tag: str = "inc.1", in_s: float = 60, timeout_s: float = PATIENCE_S
) -> Execution:
    return client.run(settings, target, tag=tag, runner_not_after=time.time() + in_s, timeout_s=timeout_s)
