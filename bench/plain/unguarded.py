"""The same calls as Unstick's way of an alert, with nothing that holds a restart: what the calls themselves cost.

Three documents, RabbitMQ's two pages and Rundeck's three lists at once; wake-up and a save; a save and a load; run; save.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import requests
from flask import Request

TIMEOUT_S = 5.0
JOB = os.environ["BENCH_JOB"]
RUNDECK = f"{os.environ['BENCH_RUNDECK']}/api/41/job/{JOB}"
RABBITMQ = f"{os.environ['BENCH_RABBITMQ']}/api/queues"


@lru_cache(maxsize=1)
def session() -> requests.Session:
    """One pool of connections, built after the fork."""
    made = requests.Session()
    made.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    return made


def webhook(request: Request) -> tuple[str, int]:
    """Restart whatever a signed notification names."""
    body, stamp = request.get_data(), request.headers.get("X-Grafana-Alerting-Timestamp", "")
    mac = hmac.new(os.environb[b"GRAFANA_HMAC_SECRET"], f"{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mac, request.headers.get("X-Grafana-Alerting-Signature", "")):
        return "", 401
    kept_open()
    labels = json.loads(body)["alerts"][0]["labels"]
    vhost, queue = quote(labels["vhost"], safe=""), quote(labels["queue"], safe="")
    broker = {"auth": ("unstick", os.environ["RABBITMQ_PASSWORD"])}
    runner = {"headers": {"X-Rundeck-Auth-Token": os.environ["RUNDECK_TOKEN"], "Accept": "application/json"}}
    samples = "lengths_age=120&lengths_incr=5&msg_rates_age=120&msg_rates_incr=5"
    totals = f"disable_stats=true&enable_queue_totals=true&page=1&page_size=100&use_regex=true&name=^{queue}$"
    looks: list[Callable[[], Any]] = [
        lambda: _load(labels["service"]),
        lambda: _load("pause"),
        lambda: _load("storm"),
        lambda: _get(f"{RABBITMQ}/{vhost}?{totals}", broker),
        lambda: _get(f"{RABBITMQ}/{vhost}/{queue}?{samples}", broker),
        lambda: _get(f"{RUNDECK}/executions?status=running&max=100", runner),
        lambda: _get(f"{RUNDECK}/executions?status=scheduled&max=100", runner),
        lambda: _get(f"{RUNDECK}/executions?max=100", runner),
    ]
    _together(looks)
    wake_up = ("INSERT INTO wake_ups (at, payload) VALUES (?, ?)", time.time() + 600.0, labels["service"])
    _together([lambda: _rows(*wake_up), lambda: _save("storm", b"{}")])
    _together([lambda: _save(labels["service"], body), lambda: _load("pause")])
    started = session().post(f"{RUNDECK}/run", json={"options": {"service": labels["service"]}}, timeout=TIMEOUT_S, **runner)
    _save(labels["service"], started.content)
    return "", 200


def _together(calls: list[Callable[[], Any]]) -> None:
    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(lambda call: call(), calls))


def _get(url: str, more: dict[str, Any]) -> Any:
    return session().get(url, timeout=TIMEOUT_S, **more).json()


def _load(key: str) -> list[Any]:
    return _rows("SELECT body FROM documents WHERE key = ?", key)


def _save(key: str, body: bytes) -> None:
    _rows("INSERT OR REPLACE INTO documents (key, body) VALUES (?, ?)", key, body)


@lru_cache(maxsize=1)
def kept_open() -> sqlite3.Connection:
    """While somebody has the file open, as Unstick's scheduler has, closing a connection to it costs next to nothing."""
    file = _opened()
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, body BLOB)")
    file.execute("CREATE TABLE IF NOT EXISTS wake_ups (id INTEGER PRIMARY KEY, at REAL, payload TEXT)")
    return file


def _opened() -> sqlite3.Connection:
    return sqlite3.connect(os.environ["BENCH_DATABASE"], isolation_level=None, timeout=TIMEOUT_S, check_same_thread=False)


def _rows(statement: str, *values: object) -> list[Any]:
    with closing(_opened()) as file:
        file.execute("PRAGMA synchronous=FULL")
        return file.execute(statement, values).fetchall()
