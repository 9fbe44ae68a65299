"""Wake-ups as tasks of Cloud Tasks, which calls the private `verify` with them.

Tasks have no names: a name stays taken for up to a day after its task ran, and wake-ups need no names, since any number of
them does no harm. https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks
"""

from __future__ import annotations

import json
import math
import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from functions.errors import Denied, Unavailable
from functions.google_cloud import explained, timeouts
from functions.model import Finding

SYSTEM = "Cloud Tasks"
ENDPOINT = "UNSTICK_CLOUD_TASKS_ENDPOINT"
"""Environment variable of tests: the base URL, on loopback, of a server that stands in for Cloud Tasks."""

_BEHIND_S = 1.0
"""The instance that is called may have a clock that is behind: before `due` by its own it would do nothing."""

_DISPATCH_DEADLINE_S = 600  # a step may wait a minute for a fresh instance's network, and deferred lists have 100 targets
_HERE = {"127.0.0.1", "::1", "localhost"}
_CREATE = "cloudtasks.tasks.create"
_REMEDIES = {  # https://cloud.google.com/tasks/docs/creating-http-target-tasks#sa
    400: "Correct scheduler.cloud_tasks: queue is projects/P/locations/L/queues/Q, url the https URL of verify.",
    401: "The access token was not taken. See which account Unstick runs with.",
    403: "Give Unstick's service account roles/cloudtasks.enqueuer on the queue, and roles/iam.serviceAccountUser on the"
    " service_account that the tasks use.",
    404: "There is no such queue. Correct scheduler.cloud_tasks.queue, or make the queue (a deleted name is blocked for a week).",
}


class Settings(Struct, frozen=True):
    """`queue`: projects/P/locations/L/queues/Q. `url`: of verify. `service_account`: the e-mail that may invoke it."""

    queue: str
    url: str
    service_account: str


def wake(settings: Settings, at: float, payload: str, *, timeout_s: float) -> None:
    """Have `{"wake": payload}` posted to `url` at `at`, at most 30 days ahead, until it is answered 2xx."""
    with explained(SYSTEM, _REMEDIES):
        made = client()
        _, timeout = timeouts(SYSTEM, timeout_s)  # this transport takes one figure, for connecting and reading each
        made.create_task(request={"parent": settings.queue, "task": _task(settings, at, payload)}, timeout=timeout, retry=None)


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """The queue as far as this account may see it, and whether it may put tasks in; without putting one in."""
    name = f"scheduler {settings.queue}"
    try:
        with explained(SYSTEM, _REMEDIES):
            _, timeout = timeouts(SYSTEM, timeout_s)
            may = client().test_iam_permissions(
                request={"resource": settings.queue, "permissions": [_CREATE]}, timeout=timeout, retry=None
            )
    except Denied as error:
        return [Finding(name, ok=False, detail=error.detail, remedy=error.remedy)]
    except Unavailable as error:
        return [Finding(name, ok=False, detail=error.detail, remedy="See whether cloudtasks.googleapis.com can be reached.")]
    allowed = _CREATE in may.permissions
    detail = "tasks may be put in" if allowed else f"{_CREATE} is missing"
    return [Finding(name, ok=allowed, detail=detail, remedy="" if allowed else _REMEDIES[403]), _queue(settings, name, timeout)]


def _queue(settings: Settings, name: str, timeout_s: float) -> Finding:
    """Whether the queue runs and tries again for ever."""
    try:
        with explained(SYSTEM, _REMEDIES):
            queue = client().get_queue(request={"name": settings.queue}, timeout=timeout_s, retry=None)
    except Denied as error:
        if error.status == 403:
            remedy = "Give it roles/cloudtasks.viewer on the queue if check should see whether the queue runs; it works without."
            return Finding(name, ok=None, detail="its state can't be read by this account", remedy=remedy)
        return Finding(name, ok=False, detail=error.detail, remedy=error.remedy)
    except Unavailable as error:
        return Finding(name, ok=None, detail=error.detail)
    if queue.state.name != "RUNNING":
        remedy = f"gcloud tasks queues resume {settings.queue}"
        return Finding(name, ok=False, detail=f"the queue is {queue.state.name}", remedy=remedy)
    if queue.retry_config.max_attempts > 0:
        detail = f"the queue gives up after {queue.retry_config.max_attempts} attempts"
        return Finding(name, ok=False, detail=detail, remedy="Set max_attempts to -1 (infra/ does), else wake-ups can be lost.")
    return Finding(name, ok=True, detail="the queue runs")


@lru_cache(maxsize=1)
def client() -> Any:
    """Google's client over REST: gRPC's must not cross a fork. It goes to ENDPOINT, without credentials, where that is set."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import tasks_v2  # 99 ms and 30 MiB on top of requests, 25 ms and 4 MiB on top of google.cloud.storage
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport

    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        return tasks_v2.CloudTasksClient(transport="rest")
    place = urlsplit(endpoint)
    if place.hostname not in _HERE:
        raise Denied(SYSTEM, f"{ENDPOINT} is not on loopback", remedy=f"Unset {ENDPOINT}; it is for tests.")
    transport = CloudTasksRestTransport(host=place.netloc, url_scheme=place.scheme, credentials=AnonymousCredentials())
    return tasks_v2.CloudTasksClient(transport=transport)


def _task(settings: Settings, at: float, payload: str) -> Any:
    from google.cloud import tasks_v2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    schedule_time = Timestamp()
    schedule_time.FromMicroseconds(math.ceil((at + _BEHIND_S) * 1_000_000))
    request = tasks_v2.HttpRequest(
        url=settings.url,
        http_method=tasks_v2.HttpMethod.POST,
        headers={"Content-Type": "application/json"},
        body=json.dumps({"wake": payload}).encode(),
        oidc_token=tasks_v2.OidcToken(service_account_email=settings.service_account, audience=settings.url),
    )
    deadline = Duration(seconds=_DISPATCH_DEADLINE_S)
    return tasks_v2.Task(http_request=request, schedule_time=schedule_time, dispatch_deadline=deadline)
