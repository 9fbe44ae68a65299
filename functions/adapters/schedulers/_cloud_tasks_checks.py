"""`check` of Cloud Tasks: what loses wake-ups without a sound. No start and no alert needs it."""

from collections.abc import Callable
from typing import Any

from functions.adapters.checks import finding_of_error
from functions.application.ports import Finding
from functions.runtime.errors import Denied, Unavailable

_FORBIDDEN = 403
_VIEWER = "Give it roles/cloudtasks.viewer on the queue if check should see whether the queue runs; it works without."


def check(queue: str, read_state: Callable[[], dict[str, Any]]) -> list[Finding]:
    """Whether the queue runs, and never gives up."""
    what = f"scheduler {queue}"
    try:
        return [_judge(what, queue, read_state())]
    except Denied as error:
        hidden = Finding(what, None, "its state can't be read by this account", _VIEWER)
        return [hidden if error.status == _FORBIDDEN else finding_of_error(what, error)]
    except Unavailable as error:
        return [finding_of_error(what, error, "Check whether cloudtasks.googleapis.com can be reached.")]


def _judge(what: str, queue: str, state: dict[str, Any]) -> Finding:
    if state.get("state") != "RUNNING":
        return Finding(what, False, f"the queue is {str(state.get('state'))[:40]}", f"gcloud tasks queues resume {queue}")
    retries = state.get("retryConfig")
    attempts = retries.get("maxAttempts") if isinstance(retries, dict) else None
    if isinstance(attempts, int) and attempts > 0:
        remedy = "Set max_attempts to -1 (infra/ does), else wake-ups can be lost."
        return Finding(what, False, f"the queue gives up after {attempts} attempts", remedy)
    return Finding(what, True, "the queue runs")
