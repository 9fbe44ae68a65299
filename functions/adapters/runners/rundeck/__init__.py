"""Rundeck. A forged request needs its settings only, so what calls it is imported when it is first called."""

from collections.abc import Mapping

from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import EvidenceRun, Finding, Runner
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.domain.model.runbooks import EvidenceJob, Restart
from functions.runtime.import_lock import IMPORTING

__all__ = ["ADAPTER", "Rundeck"]


class Rundeck(Settings, frozen=True):
    """How to reach Rundeck (`rundeck:` in unstick.yaml)."""

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        with IMPORTING:
            from functions.adapters.runners.rundeck import client

        return client.look(self, target, since_s=since_s, follow=follow, tail=tail, timeout_s=timeout_s)

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        with IMPORTING:
            from functions.adapters.runners.rundeck import client

        return client.run(self, target, tag=tag, runner_not_after=runner_not_after, timeout_s=timeout_s)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        with IMPORTING:
            from functions.adapters.runners.rundeck import client

        return client.abort(self, execution, timeout_s=timeout_s)

    def start_page(self, target: Target) -> str:
        with IMPORTING:
            from functions.adapters.runners.rundeck import client

        return client.start_page(self, target)

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        with IMPORTING:
            from functions.adapters.runners.rundeck import evidence

        return evidence.start_evidence(self, job, options, tag=tag, timeout_s=timeout_s)

    def read_evidence(self, job: str, *, tag: str, execution: str | None, partial: bool, timeout_s: float) -> EvidenceRun:
        with IMPORTING:
            from functions.adapters.runners.rundeck import evidence

        return evidence.read_evidence(self, job, tag=tag, execution=execution, partial=partial, timeout_s=timeout_s)

    def check(
        self, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, auto: bool, timeout_s: float
    ) -> list[Finding]:
        from functions.adapters.runners.rundeck import checks  # no start and no alert needs it

        return checks.check(self, restart, evidence, consumers, auto=auto, timeout_s=timeout_s)


ADAPTER: type[Runner] = Rundeck
