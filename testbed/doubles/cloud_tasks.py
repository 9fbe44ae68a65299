"""Cloud Tasks' REST API over HTTP as far as Unstick uses it: it takes tasks and delivers them to their URL.

A task may not be taken at all, and one that is not answered 2xx comes again. What it holds tasks against is written in the
reference of `projects.locations.queues.tasks`.
"""

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from testbed.doubles.server import Handler, Server
from testbed.patience import PATIENCE_S

QUEUE = "projects/p/locations/l/queues/wake-ups"
MAX_TASK_BYTES = 1_048_576
MAX_AHEAD_S = 30 * 86_400
DEADLINE_S = (15, 1800)
TASK_CREATE = "cloudtasks.tasks.create"
STATUS_WORDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@dataclass(slots=True)
class Task:
    name: str
    url: str
    body: bytes
    due: float
    headers: dict[str, str]
    deadline_s: float
    failures: int = 0


@dataclass(slots=True)
class CloudTasks:
    """Use it in a `with` block. The knobs may be turned at any time."""

    queue: str = QUEUE
    refuse: int | None = None
    """Answer every call with this status."""
    queue_body: dict[str, Any] = field(default_factory=lambda: {"state": "RUNNING", "retryConfig": {"maxAttempts": -1}})
    queue_refuse: int | None = None
    """Answer reading the queue with this status."""
    backoff_s: float = 0.05
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(path, body) of what was asked, in order."""
    deliveries: list[tuple[float, Task, int]] = field(default_factory=list)
    """(time, task, status that the target gave; 0 for none)."""
    waiting: list[Task] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopped: bool = False
    _server: Server | None = None
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        double = self

        class Bound(_Handler):
            cloud_tasks = double

        self._server = Server(("127.0.0.1", 0), Bound)
        for work in (lambda: self._server.serve_forever(poll_interval=0.02), self._dispatch):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def idle(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until every task was delivered and answered 2xx."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.waiting, timeout_s)

    def take(self, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer `tasks.create`."""
        task = sent.get("task", {})
        request = task.get("httpRequest", {})
        if problem := _problem(task, request):
            return 400, _error(400, problem)
        due = datetime.fromisoformat(task["scheduleTime"]).timestamp() if "scheduleTime" in task else time.time()
        with self._changed:
            name = f"{self.queue}/tasks/{len(self.calls):019d}"
            oidc = request.get("oidcToken", {"serviceAccountEmail": "of-the-queue@p.iam.gserviceaccount.com"})
            token = _token(oidc["serviceAccountEmail"], oidc.get("audience", request["url"]))
            headers = {**request.get("headers", {}), "Authorization": f"Bearer {token}", "User-Agent": "Google-Cloud-Tasks"}
            deadline_s = float(task.get("dispatchDeadline", "600s").rstrip("s"))
            self.waiting.append(Task(name, request["url"], base64.b64decode(request["body"]), due, headers, deadline_s))
            self._changed.notify_all()
        return 200, {"name": name, "scheduleTime": datetime.fromtimestamp(due, UTC).isoformat(), **task}

    def _dispatch(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.time()
                due = [task for task in self.waiting if task.due <= now]
                if not due:
                    self._changed.wait(min([task.due - now for task in self.waiting], default=60))
                    continue
            for task in sorted(due, key=lambda task: task.due):
                self._deliver(task)

    def _deliver(self, task: Task) -> None:
        headers = {
            **task.headers,
            "X-CloudTasks-QueueName": self.queue.rpartition("/")[2], "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(task.failures), "X-CloudTasks-TaskETA": f"{task.due:.6f}",
        }  # fmt: skip
        began = time.time()
        status = _post(task, headers)
        with self._changed:
            self.deliveries.append((began, task, status))
            if 200 <= status < 300:
                self.waiting = [other for other in self.waiting if other is not task]
            else:
                task.failures += 1
                task.due = time.time() + min(self.backoff_s * 2 ** (task.failures - 1), 3600)
            self._changed.notify_all()


class _Handler(Handler):
    cloud_tasks: CloudTasks
    timeout = PATIENCE_S

    def answer(self) -> None:
        double = self.cloud_tasks
        sent = json.loads(self.sent() or "{}")
        path = self.path.partition("?")[0]
        double.calls.append((path, sent))
        status, body = self._routed(path, sent)
        self.reply(status, body)

    def _routed(self, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        double = self.cloud_tasks
        if double.refuse:
            return double.refuse, _error(double.refuse, "Refused by the double.")
        if path == f"/v2/{double.queue}/tasks":
            return double.take(sent)
        if path == f"/v2/{double.queue}":
            if double.queue_refuse:
                return double.queue_refuse, _error(double.queue_refuse, "The principal lacks permission cloudtasks.queues.get.")
            return 200, {"name": double.queue, **double.queue_body}
        return 404, _error(404, "Queue does not exist. If you just created the queue, wait a minute for it to initialize.")


def _problem(task: dict[str, Any], request: dict[str, Any]) -> str:
    if len(json.dumps(task)) > MAX_TASK_BYTES:
        return "Task size too large"
    if "scheduleTime" in task and datetime.fromisoformat(task["scheduleTime"]).timestamp() > time.time() + MAX_AHEAD_S:
        return "The Task.scheduleTime must be at most 30 days in the future."
    if not DEADLINE_S[0] <= float(task.get("dispatchDeadline", "600s").rstrip("s")) <= DEADLINE_S[1]:
        return "The dispatchDeadline must be between [15s, 1800s]"
    if not request.get("url", "").startswith(("http://", "https://")):
        return "HttpRequest.url must start with 'http://' or 'https://'."
    if "oidcToken" in request and "@" not in request["oidcToken"].get("serviceAccountEmail", ""):
        return "HttpRequest.oidcToken.serviceAccountEmail must be a service account."
    return ""


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": STATUS_WORDS.get(status, "UNKNOWN")}}


def _token(email: str, audience: str) -> str:
    """In the form of an OIDC token, without a signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"aud": audience, "email": email, "email_verified": True})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".none"


def _post(task: Task, headers: dict[str, str]) -> int:
    request = urllib.request.Request(task.url, data=task.body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=task.deadline_s) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0
