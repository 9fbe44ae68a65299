"""Documents in Cloud Storage and wake-ups in Cloud Tasks, by Google's clients, for unguarded.py."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage, tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from google.protobuf.timestamp_pb2 import Timestamp

TIMEOUT_S = 5.0
BUCKET, QUEUE, URL, ACCOUNT = (os.environ[f"BENCH_{name}"] for name in ("BUCKET", "QUEUE", "VERIFY", "ACCOUNT"))
os.environ["DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"] = "true"


def load(key: str) -> bytes:
    """The document, empty if there is none."""
    with suppress(NotFound):
        body: bytes = _blob(key).download_as_bytes(timeout=TIMEOUT_S, retry=None)
        return body
    return b""


def save(key: str, body: bytes) -> None:
    """Save a document."""
    _blob(key).upload_from_string(body, content_type="application/json", timeout=TIMEOUT_S, retry=None)


def wake(at: float, payload: str) -> None:
    """Have it posted to verify."""
    when = Timestamp()
    when.FromMicroseconds(math.ceil(at * 1_000_000))
    body = json.dumps({"wake": payload}).encode()
    token = tasks_v2.OidcToken(service_account_email=ACCOUNT, audience=URL)
    made = tasks_v2.HttpRequest(url=URL, http_method=tasks_v2.HttpMethod.POST, body=body, oidc_token=token)
    task = tasks_v2.Task(http_request=made, schedule_time=when)
    _tasks().create_task(request={"parent": QUEUE, "task": task}, timeout=TIMEOUT_S, retry=None)


def begun() -> None:
    """Nothing is to be prepared."""


def _blob(key: str) -> storage.Blob:
    return _storage().bucket(BUCKET).blob(f"documents/{key}.json")


@lru_cache(maxsize=1)
def _storage() -> storage.Client:
    return storage.Client(project="unused")


@lru_cache(maxsize=1)
def _tasks() -> tasks_v2.CloudTasksClient:
    place = urlsplit(os.environ["BENCH_TASKS"])
    transport = CloudTasksRestTransport(host=place.netloc, url_scheme=place.scheme, credentials=AnonymousCredentials())
    return tasks_v2.CloudTasksClient(transport=transport)
