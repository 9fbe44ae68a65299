"""Documents in Cloud Storage, wake-ups in Cloud Tasks and secrets in Secret Manager, by Google's libraries, for unguarded.py.

They are imported by the first call, as Unstick does it.
"""

from __future__ import annotations

import json
import os
import threading
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
BUCKET, QUEUE, URL, ACCOUNT, PROJECT = (
    os.environ[f"BENCH_{name}"] for name in ("BUCKET", "QUEUE", "VERIFY", "ACCOUNT", "PROJECT")
)
os.environ["DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"] = "true"
ONE_AT_A_TIME = threading.Lock()


def secret(name: str) -> str:
    """A secret, read or fetched once: of the folder where it is mounted, else of Secret Manager."""
    with ONE_AT_A_TIME:
        return _secret(name)


def load(key: str) -> bytes:
    """The document, empty if there is none."""
    from google.api_core.exceptions import NotFound

    with suppress(NotFound):
        body: bytes = _blob(key).download_as_bytes(timeout=TIMEOUT_S, retry=None)
        return body
    return b""


def save(key: str, body: bytes) -> None:
    """Save a document."""
    _blob(key).upload_from_string(body, content_type="application/json", timeout=TIMEOUT_S, retry=None)


def wake(at: float, payload: str) -> None:
    """Have it posted to verify."""
    made = {
        "url": URL,
        "httpMethod": "POST",
        "body": b64encode(json.dumps({"wake": payload}).encode()).decode(),
        "oidcToken": {"serviceAccountEmail": ACCOUNT, "audience": URL},
    }
    task = {"scheduleTime": datetime.fromtimestamp(at, UTC).isoformat(), "httpRequest": made}
    address = f"{os.environ['UNSTICK_CLOUD_TASKS_ENDPOINT']}/v2/{QUEUE}/tasks"
    _tasks().post(address, json={"task": task}, timeout=TIMEOUT_S).raise_for_status()


def begun() -> None:
    """Nothing is to be prepared."""


def _blob(key: str) -> Any:
    return _storage().bucket(BUCKET).blob(f"documents/{key}.json")


@lru_cache(maxsize=1)
def _storage() -> Any:
    from google.cloud.storage import Client

    return Client(project="unused")


@lru_cache(maxsize=1)
def _tasks() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(AnonymousCredentials())


@lru_cache(maxsize=1)
def _secrets() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport

    place = urlsplit(os.environ["UNSTICK_SECRET_MANAGER_ENDPOINT"])
    return SecretManagerServiceClient(
        transport=SecretManagerServiceRestTransport(
            host=place.netloc, url_scheme=place.scheme, credentials=AnonymousCredentials()
        )
    )


@lru_cache(maxsize=8)
def _secret(name: str) -> str:
    mounted = Path(os.environ.get("UNSTICK_SECRETS_DIR", ""), PROJECT, name, "latest")
    if mounted.exists():
        return mounted.read_text()
    path = f"projects/{PROJECT}/secrets/{name}/versions/latest"
    answer = _secrets().access_secret_version(name=path, timeout=TIMEOUT_S, retry=None)
    value: str = answer.payload.data.decode()
    return value
