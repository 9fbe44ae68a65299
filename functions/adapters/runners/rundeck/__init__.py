from functions.adapters.runners.rundeck import client, evidence
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import Finding, Runner
from functions.domain.model.runbooks import Restart

__all__ = ["ADAPTER", "Rundeck"]


class Rundeck(Settings, frozen=True):
    """How to reach Rundeck (`rundeck:` in unstick.yaml)."""

    look = client.look
    run = client.run
    abort = client.abort
    start_page = client.start_page
    start_evidence = evidence.start_evidence
    read_evidence = evidence.read_evidence

    def check(self, restart: Restart, *, auto: bool, timeout_s: float) -> list[Finding]:
        from functions.adapters.runners.rundeck import checks  # no start and no alert needs it

        return checks.check(self, restart, auto=auto, timeout_s=timeout_s)

    def check_evidence(self, job: str, options: tuple[str, ...], *, within_s: float, timeout_s: float) -> list[Finding]:
        from functions.adapters.runners.rundeck import checks  # no start and no alert needs it

        return checks.check_evidence(self, job, options, within_s=within_s, timeout_s=timeout_s)


ADAPTER: type[Runner] = Rundeck
