"""Sets up the lab: Unstick's user in RabbitMQ, project and job in Rundeck. Idempotent."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import requests

UP_WITHIN_S = 300.0
TIMEOUT_S = 10.0
CONFLICT = 409


def wait_for(url: str) -> None:
    """Wait until `url` answers with success. Rundeck's first start takes a minute or two."""
    ends = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < ends:
        try:
            if requests.get(url, timeout=TIMEOUT_S).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(2.0)
    sys.exit(f"{url} was not up within {UP_WITHIN_S:.0f} s")


def taken(answer: requests.Response, *, also: int = 0) -> Any:
    """The answer if it is a success or has the status `also`; otherwise exits."""
    if not answer.ok and answer.status_code != also:
        sys.exit(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:300]}")
    return answer


def rabbitmq(url: str, admin: tuple[str, str], password: str) -> None:
    """A read-only user, and the queue, so that it exists before anybody looks."""
    wait_for(f"{url}/")
    taken(
        requests.put(f"{url}/api/users/unstick", json={"password": password, "tags": "monitoring"}, auth=admin, timeout=TIMEOUT_S)
    )
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    taken(requests.put(f"{url}/api/permissions/%2F/unstick", json=nothing, auth=admin, timeout=TIMEOUT_S))
    taken(requests.put(f"{url}/api/queues/%2F/mail.delivery", json={"durable": True}, auth=admin, timeout=TIMEOUT_S))


def rundeck(url: str, token: str, job: bytes) -> None:
    """The project and the job."""
    wait_for(f"{url}/user/login")
    headers = {"X-Rundeck-Auth-Token": token, "Accept": "application/json"}
    made = requests.post(f"{url}/api/41/projects", json={"name": "demo"}, headers=headers, timeout=TIMEOUT_S)
    taken(made, also=CONFLICT)
    answer = requests.post(
        f"{url}/api/41/project/demo/jobs/import",
        params={"fileformat": "yaml", "dupeOption": "update"},
        data=job,
        headers={**headers, "Content-Type": "application/yaml"},
        timeout=TIMEOUT_S,
    )
    found = taken(answer).json()
    if found["failed"] or not found["succeeded"]:
        sys.exit(f"Rundeck did not take the job: {found['failed']}")  # reported with status 200


def main() -> None:
    """Set up both, or exit with what went wrong."""
    rabbitmq(os.environ["RABBITMQ_URL"], ("admin", os.environ["RABBITMQ_ADMIN_PASSWORD"]), os.environ["RABBITMQ_PASSWORD"])
    rundeck(os.environ["RUNDECK_URL"], os.environ["RUNDECK_ADMIN_TOKEN"], Path("/lab/job.yaml").read_bytes())
    print("the lab is set up")


if __name__ == "__main__":
    main()
