"""`check` of Cloud Tasks: the queue as far as this account may see it, and its right to create tasks. Creates none."""

from collections.abc import Callable
from typing import Any

from functions.application.ports import Finding, finding_of_error
from functions.runtime.errors import Denied, Unavailable

CREATE = "cloudtasks.tasks.create"
Ask = Callable[..., dict[str, Any]]


def check(queue: str, ask: Ask, forbidden: str | None, *, timeout_s: float) -> list[Finding]:
    """Whether tasks may be created, and whether the queue delivers them. `forbidden`: the remedy if they may not; None: this
    account creates none."""
    name = f"scheduler {queue}"
    if forbidden is None:
        return [_check_queue(name, queue, ask, timeout_s)]
    try:
        granted = ask("POST", f"{queue}:testIamPermissions", timeout_s, {"permissions": [CREATE]})
    except (Denied, Unavailable) as error:
        return [finding_of_error(name, error, "Check whether cloudtasks.googleapis.com can be reached.")]
    allowed = granted.get("permissions") == [CREATE]  # left out if there are none
    detail = "tasks may be put in" if allowed else f"{CREATE} is missing"
    return [Finding(name, allowed, detail, forbidden), _check_queue(name, queue, ask, timeout_s)]


def _check_queue(name: str, queue: str, ask: Ask, timeout_s: float) -> Finding:
    try:
        state = ask("GET", queue, timeout_s)
    except Denied as error:
        if error.status != 403:
            return finding_of_error(name, error)
        remedy = "Give it roles/cloudtasks.viewer on the queue if check should see whether the queue runs; it works without."
        return Finding(name, None, "its state can't be read by this account", remedy)
    except Unavailable as error:
        return Finding(name, None, error.detail)
    if state.get("state") != "RUNNING":
        return Finding(name, False, f"the queue is {str(state.get('state'))[:40]}", f"gcloud tasks queues resume {queue}")
    retries = state.get("retryConfig")
    attempts = retries.get("maxAttempts") if isinstance(retries, dict) else None
    if isinstance(attempts, int) and attempts > 0:
        remedy = "Set max_attempts to -1 (infra/ does), else wake-ups can be lost."
        return Finding(name, False, f"the queue gives up after {attempts} attempts", remedy)
    return Finding(name, True, "the queue runs")
