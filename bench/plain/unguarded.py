"""The same calls as Unstick's way of an alert, with nothing that holds a restart: what the calls themselves cost.

Three documents, RabbitMQ's two pages, Rundeck's three lists and a wake-up at once; two saves and a load; run; save.
Documents, wake-ups and secrets are in the cloud where BENCH_BUCKET is set.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import quote

import requests
from flask import Request

TIMEOUT_S = 5.0
PLACE: Any = import_module("in_the_cloud" if "BENCH_BUCKET" in os.environ else "on_one_machine")
JOB = os.environ["BENCH_JOB"]
RUNDECK = f"{os.environ['BENCH_RUNDECK']}/api/41/job/{JOB}"
RABBITMQ = f"{os.environ['BENCH_RABBITMQ']}/api/queues"


@lru_cache(maxsize=1)
def session() -> requests.Session:
    """One pool of connections, built after the fork."""
    made = requests.Session()
    made.trust_env = False  # as Unstick's calls: no proxy and no .netrc is looked up for each
    made.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    return made


def webhook(request: Request) -> tuple[str, int]:
    """Restart whatever a signed notification names."""
    body, stamp = request.get_data(), request.headers.get("X-Grafana-Alerting-Timestamp", "")
    mac = hmac.new(PLACE.secret("GRAFANA_HMAC_SECRET").encode(), f"{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mac, request.headers.get("X-Grafana-Alerting-Signature", "")):
        return "", 401
    PLACE.begun()
    labels = json.loads(body)["alerts"][0]["labels"]
    vhost, queue = quote(labels["vhost"], safe=""), quote(labels["queue"], safe="")
    samples = "lengths_age=120&lengths_incr=5&msg_rates_age=120&msg_rates_incr=5"
    totals = f"disable_stats=true&enable_queue_totals=true&page=1&page_size=100&use_regex=true&name=^{queue}$"
    looks: list[Callable[[], Any]] = [
        lambda: PLACE.load(labels["service"]),
        lambda: PLACE.load("pause"),
        lambda: PLACE.load("storm"),
        lambda: PLACE.wake(time.time() + 600.0, _signed(labels["service"])),
        lambda: _get(f"{RABBITMQ}/{vhost}?{totals}", _broker()),
        lambda: _get(f"{RABBITMQ}/{vhost}/{queue}?{samples}", _broker()),
        lambda: _get(f"{RUNDECK}/executions?status=running&max=100", _runner()),
        lambda: _get(f"{RUNDECK}/executions?status=scheduled&max=100", _runner()),
        lambda: _get(f"{RUNDECK}/executions?max=100", _runner()),
    ]
    _together(looks)
    _together([lambda: PLACE.save(labels["service"], body), lambda: PLACE.load("pause"), lambda: PLACE.save("storm", b"{}")])
    started = session().post(f"{RUNDECK}/run", json={"options": {"service": labels["service"]}}, timeout=TIMEOUT_S, **_runner())
    PLACE.save(labels["service"], started.content)
    return "", 200


def _signed(text: str) -> str:
    return hmac.new(PLACE.secret("UNSTICK_SIGNING_KEY").encode(), text.encode(), hashlib.sha256).hexdigest()


def _broker() -> dict[str, Any]:
    return {"auth": ("unstick", PLACE.secret("RABBITMQ_PASSWORD"))}


def _runner() -> dict[str, Any]:
    return {"headers": {"X-Rundeck-Auth-Token": PLACE.secret("RUNDECK_TOKEN"), "Accept": "application/json"}}


def _together(calls: list[Callable[[], Any]]) -> None:
    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(lambda call: call(), calls))


def _get(url: str, more: dict[str, Any]) -> Any:
    return session().get(url, timeout=TIMEOUT_S, **more).json()
