from __future__ import annotations

from collections.abc import Mapping

from functions.adapters.runners.rundeck import client, evidence
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import Finding, Runner
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.domain.model.runbooks import Restart

__all__ = ["ADAPTER", "Rundeck"]


class Rundeck(Settings, frozen=True):
    """How to reach Rundeck (`rundeck:` in unstick.yaml)."""

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        """See client.look."""
        return client.look(self, target, since_s=since_s, follow=follow, tail=tail, timeout_s=timeout_s)

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """See client.run."""
        return client.run(self, target, tag=tag, runner_not_after=runner_not_after, timeout_s=timeout_s)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        """See client.abort."""
        return client.abort(self, execution, timeout_s=timeout_s)

    def start_page(self, target: Target) -> str:
        """See client.start_page."""
        return client.start_page(self, target)

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        """See evidence.start_evidence."""
        return evidence.start_evidence(self, job, options, tag=tag, timeout_s=timeout_s)

    def read_evidence(
        self, job: str, *, tag: str, execution: str | None, partial: bool, timeout_s: float
    ) -> tuple[Execution | None, str | None]:
        """See evidence.read_evidence."""
        return evidence.read_evidence(self, job, tag=tag, execution=execution, partial=partial, timeout_s=timeout_s)

    def check(self, restart: Restart, *, auto: bool, timeout_s: float) -> list[Finding]:
        """See checks.check."""
        from functions.adapters.runners.rundeck import checks  # no start and no alert needs it

        return checks.check(self, restart, auto=auto, timeout_s=timeout_s)

    def check_evidence(self, job: str, options: tuple[str, ...], *, within_s: float, timeout_s: float) -> list[Finding]:
        """See checks.check_evidence."""
        from functions.adapters.runners.rundeck import checks  # no start and no alert needs it

        return checks.check_evidence(self, job, options, within_s=within_s, timeout_s=timeout_s)


ADAPTER: type[Runner] = Rundeck
