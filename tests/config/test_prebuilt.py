"""The configuration that the archive holds ready-made: the same one, as long as it stands beside the file that it was made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.bootstrap import current_config, load_prebuilt, prebuilt_path
from functions.config.loader import load_config, parse_config
from functions.config.settings import Config
from functions.runtime.errors import ConfigError
from testbed.unstick_process import check_ahead

ROOT = Path(__file__).parents[2]
CLOUD = ROOT / "infra" / "unstick.cloud.yaml"
ALL_KEYS = """\
grafana:
  auth:
    hmac: {secrets: [env://A, env://B], header: X-Mine, timestamp_header: null}
    basic: {user: no, passwords: ['file:///run/p']}
    bearer: {tokens: [sm://p/t/3], scheme: ApiKey}
  annotations: {url: https://grafana.example.com, token: env://G}
rundeck:
  {url: https://rundeck.example.com/r, token: env://R, token_expires: '2026-12-26T11:15:56Z', ca: r.pem}
rabbitmq: {url: http://127.0.0.1:15672, user: unstick, password: env://P, ca: q.pem}
prometheus:
  {url: https://mimir.example.com/p, user: '7', password: env://P, token: env://T, headers: {X-Scope-OrgID: m}}
store: {local: {path: unstick.db}}
scheduler: {local: {path: unstick.db}}
signing_keys: [env://K, env://L]
public_url: https://unstick.example.com
docs_url: https://git.example.com/unstick/docs
channels:
  one: {type: slack, token: env://S, channel: '#ops', base_url: https://slack.example.com}
  two: {type: slack, url: env://S, signing_secret: env://S}
  three: {type: google_chat, url: env://C}
  four: {type: google_chat, url: env://D}
  five: {type: chatwork, token: env://C, room: 7, base_url: https://chatwork.example.com}
  six: {type: apprise, url: env://C}
  seven: {type: console, approval_links: true}
notify: [seven, one]
language: ja
time_zone: Europe/Berlin
identity_header: X-Forwarded-Email
machine_tokens: [env://C]
storm: {targets: 5}
report: {every: month, channels: [two]}
mask: ['internal-[0-9]+']
runbooks:
  - name: zebra
    match: ['queue=~"a.*"', severity!=info, 'team!~"x|y"']
    mode: approve
    restart: {job: j-1, options: {host: '${labels.host}', kind: soft}, allow: {host: '[a-z]+'}, start_within: 40, max_run: 2h,
      holder: {option: only, allow: 'h[0-9]'}}
    evidence: {job: j-9, options: {a: '${labels.a}', b: '${holder.host}'}, allow: {a: '[a-z]+', b: '[0-9]+'}, within: 30s}
    symptom: {rabbitmq: {vhost: mail, queue: '${labels.q}', max_messages: 3, for: 2m, oldest: 15m}}
    recovered: {max_messages: 1, min_consumers: 0}
    verify: {first: 30s, every: 20s, patience: 9m, within: 12m}
    limits: {cooldown: 0, attempts: 3, restarts: {90m: 2, 24h: 5}, failing: 4, stale: 2d}
    freeze: [{days: fri-mon, from: '22:00', to: '06:00'}, {days: daily, from: '00:00', to: '24:00'}]
    notify: [three]
    escalate: [four, five]
    approvers: [U0123ABCD, anna@example.com]
    mention: [U1, '']
    root_cause: https://tracker.example.com/7
  - {name: apple, match: [service=mail], mode: observe, restart: {job: j-2}, symptom: {rabbitmq: {}}}
  - name: pear
    match: [service=jobs]
    restart: {job: j-3}
    symptom:
      prometheus:
        {stuck: 'sum(a{q="${labels.q}"}) > 0 and sum(increase(b[2m])) == 0', recovered: sum(a) == 0, depth: sum(a),
          allow: {q: '[a-z]+'}, for: 3m, range: 2m}
"""


def kept(folder: Path, text: str) -> Path:
    """unstick.yaml with what was made of it beside it."""
    path = folder / "unstick.yaml"
    path.write_text(text, encoding="utf-8")
    check_ahead(path)
    return path


FILES = (ROOT / "unstick.yaml", CLOUD, ROOT / "infra" / "systemd" / "unstick.yaml")


@pytest.fixture
def started(monkeypatch) -> Callable[[Path], Config]:
    """What a process has that starts with this file."""

    def start(path: Path) -> Config:
        monkeypatch.setenv("UNSTICK_CONFIG", str(path))
        current_config.cache_clear()
        return current_config()

    yield start
    current_config.cache_clear()


@pytest.mark.parametrize("text", [ALL_KEYS, *(path.read_text(encoding="utf-8") for path in FILES)])
def test_it_is_what_the_file_is_read_as(tmp_path, text):
    """Every key comes back with its type, and runbooks in their order, which decides between them."""
    read, prebuilt = parse_config(text), load_prebuilt(kept(tmp_path, text))
    assert prebuilt == read
    assert list(prebuilt.rules.runbooks) == list(read.rules.runbooks)


def test_beside_another_file_it_counts_for_nothing(started, tmp_path):
    """Whoever edits unstick.yaml in an unpacked archive gets what he wrote, and is told of his mistakes."""
    path = kept(tmp_path, ALL_KEYS)
    path.write_text(ALL_KEYS.replace("name: zebra", "name: zebu"), encoding="utf-8")
    assert list(started(path).rules.runbooks) == ["zebu", "apple", "pear"]
    path.write_text(ALL_KEYS.replace("mode: approve", "mode: aprove"), encoding="utf-8")
    line = ALL_KEYS[: ALL_KEYS.index("mode: approve")].count("\n") + 1
    with pytest.raises(ConfigError, match=rf"unstick\.yaml:{line}: runbooks\[0\]\.mode"):
        started(path)


def test_what_looks_at_the_file_looks_at_the_file(started, tmp_path):
    """`check` and the other commands read unstick.yaml itself, so that nothing beside it can hide what it says."""
    path = kept(tmp_path, ALL_KEYS)
    beside = prebuilt_path(path)
    beside.write_bytes(beside.read_bytes().replace(b'"zebra"', b'"other"'))
    assert list(started(path).rules.runbooks) == ["other", "apple", "pear"]
    assert list(load_config(path).rules.runbooks) == ["zebra", "apple", "pear"]


def with_config(**changes: object) -> Callable[[dict[str, Any]], bytes]:
    return lambda built: json.dumps(built | {"config": built["config"] | changes}).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda built: b"",
        lambda built: json.dumps(built).encode()[:-9],
        lambda built: json.dumps(built).encode().replace(b"zebra", b"z\xff\xfe"),
        lambda built: b'{"config":' * 20_000,
        lambda built: json.dumps([built]).encode(),
        lambda built: json.dumps(built | {"config": None}).encode(),
        with_config(notify="ops"),
        with_config(store={"name": "../logs", "adapter": {}}),
        with_config(signing_keys=[{"reference": "a literal"}]),
    ],
)
def test_one_that_can_not_be_used_is_passed_over(started, tmp_path, spoil):
    """It spares time and is needed by nobody: the file beside it is read."""
    path = kept(tmp_path, ALL_KEYS)
    beside = prebuilt_path(path)
    beside.write_bytes(spoil(json.loads(beside.read_bytes())))
    assert load_prebuilt(path) is None
    assert started(path) == parse_config(ALL_KEYS)
