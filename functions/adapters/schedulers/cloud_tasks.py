"""Wake-ups as tasks of Cloud Tasks, which calls the private `verify` with them.

Tasks get no names: a name stays reserved for up to a day after its task ran, and duplicate wake-ups are harmless. https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks
Why google-cloud-tasks isn't used: docs/decisions.md.
"""

import json
import math
from base64 import b64encode
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Struct

from functions.application.ports import Finding, Scheduler
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.google_cloud import Service
from functions.runtime.structs import written

SYSTEM = "Cloud Tasks"
ENDPOINT = "UNSTICK_CLOUD_TASKS_ENDPOINT"
"""Environment variable of tests: the base URL, on loopback, of a server that stands in for Cloud Tasks."""

_BEHIND_S = 1.0
"""Seconds added to each time: the called instance's clock may be behind, and before `due` on that clock it does nothing."""

_FORBIDDEN = 403
_DISPATCH_DEADLINE_S = 600  # a step may wait a minute for a new instance's network, and deferred lists have 100 targets
_REMEDIES = {  # https://cloud.google.com/tasks/docs/creating-http-target-tasks#sa
    400: "Correct scheduler.cloud_tasks: queue is projects/P/locations/L/queues/Q, url the https URL of verify.",
    401: "The access token was not taken. See which account Unstick runs with.",
    403: "Give Unstick's service account roles/cloudtasks.enqueuer on the queue, and roles/iam.serviceAccountUser on"
    " scheduler.cloud_tasks.service_account, if that is set.",
    404: "There is no such queue. Correct scheduler.cloud_tasks.queue, or make the queue (a deleted name is blocked for a week).",
}
_SERVICE = Service(SYSTEM, "https://cloudtasks.googleapis.com", ENDPOINT, _REMEDIES)


class CloudTasks(Struct, frozen=True):
    """`queue`: projects/P/locations/L/queues/Q. `url`: verify's URL. `service_account`: its caller, unless the queue sets it."""

    queue: str
    url: Annotated[str, written("base-url")]
    service_account: str = ""

    def wake(self, at: float, payload: str, *, timeout_s: float) -> None:
        """Have `{"wake": payload}` posted to `url` at `at`, at most 30 days ahead, until the answer is 2xx."""
        task = _ask("POST", f"{self.queue}/tasks", timeout_s, {"task": self._task(at, payload)})
        if not task.get("name"):  # such as from a proxy that answers 200 to everything
            raise Unavailable(SYSTEM, "answered 200 with something that is no task")

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Creates no task. What the queue does is shown as far as this account may see it."""
        from functions.adapters.checks import finding_of_error  # no start and no alert needs it

        what = f"scheduler {self.queue}"
        try:
            return [_judge(what, self.queue, _ask("GET", self.queue, timeout_s))]
        except Denied as error:
            viewer = "Give it roles/cloudtasks.viewer on the queue if check should see whether the queue runs; it works without."
            hidden = Finding(what, None, "its state can't be read by this account", viewer)
            return [hidden if error.status == _FORBIDDEN else finding_of_error(what, error)]
        except Unavailable as error:
            return [finding_of_error(what, error, "Check whether cloudtasks.googleapis.com can be reached.")]

    def _task(self, at: float, payload: str) -> dict[str, Any]:
        due = datetime.fromtimestamp(math.ceil((at + _BEHIND_S) * 1_000_000) / 1_000_000, UTC)
        token = {"oidcToken": {"serviceAccountEmail": self.service_account, "audience": self.url}} if self.service_account else {}
        return {
            "scheduleTime": due.isoformat(timespec="microseconds"),
            "dispatchDeadline": f"{_DISPATCH_DEADLINE_S}s",
            "httpRequest": {
                "url": self.url,
                "httpMethod": "POST",
                "headers": {"Content-Type": "application/json"},
                "body": b64encode(json.dumps({"wake": payload}).encode()).decode(),
                **token,
            },
        }


def _ask(method: str, path: str, timeout_s: float, content: Any = None) -> dict[str, Any]:
    """Call the Cloud Tasks API, and return the JSON object that it answers with."""
    return _SERVICE.ask(method, f"/v2/{quote(path, safe='/:')}", timeout_s=timeout_s, json=content).object()


def _judge(what: str, queue: str, state: dict[str, Any]) -> Finding:
    """Whether the queue runs, and never gives up: what loses wake-ups without a sound."""
    if state.get("state") != "RUNNING":
        return Finding(what, False, f"the queue is {str(state.get('state'))[:40]}", f"gcloud tasks queues resume {queue}")
    retries = state.get("retryConfig")
    attempts = retries.get("maxAttempts") if isinstance(retries, dict) else None
    if isinstance(attempts, int) and attempts > 0:
        remedy = "Set max_attempts to -1 (infra/ does), else wake-ups can be lost."
        return Finding(what, False, f"the queue gives up after {attempts} attempts", remedy)
    return Finding(what, True, "the queue runs")


ADAPTER: type[Scheduler] = CloudTasks
