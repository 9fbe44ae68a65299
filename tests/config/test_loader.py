"""unstick.yaml: what it comes to, every mistake with its place and remedy, and the files made from its types."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field

from functions.config.current import current_config
from functions.config.kinds import seconds, spelled
from functions.config.loader import load_config, parse_config
from functions.config.reading import keys, kind_of, read_fields
from functions.config.settings import Auth, Basic, Bearer, Config, Hmac, Named, Report
from functions.config.values import days_of
from functions.config.yaml_nodes import Reading, parse
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import Freeze, Limits, Matcher, Recovered, Restart, Runbook, Symptom, Verify
from functions.runtime import registry
from functions.runtime.errors import ConfigError
from functions.runtime.secrets import SecretRef
from tools.docs import configuration_page

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-literal"
MINIMAL = """\
grafana: {auth: {bearer: {tokens: [env://TOKEN]}}}
rundeck: {url: http://127.0.0.1:4440, token: env://RUNDECK_TOKEN}
rabbitmq: {url: http://127.0.0.1:15672, user: unstick, password: env://RABBITMQ_PASSWORD}
store: {local: {path: unstick.db}}
scheduler: {local: {path: unstick.db}}
signing_keys: [env://KEY]
channels: {console: {type: console}}
runbooks:
  - name: mail
    match: [service=mail]
    restart: {job: j-1}
    symptom: {rabbitmq: {}}
"""
RESTART = "    restart: {job: j-1}"
SYMPTOM = "    symptom: {rabbitmq: {}}"


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


def problems(text: str, *, on_cloud_run: bool = False) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, on_cloud_run=on_cloud_run)
    return caught.value.problems


# --- what is read ----------------------------------------------------------------------------------------------------------


def test_what_is_required_is_enough_and_all_else_has_its_default():
    """The defaults are those of the design; durations are seconds, sizes are bytes."""
    read = parse_config(MINIMAL)
    assert read.max_body == 8 * 1024 * 1024
    assert read.budget_s == 8.0
    assert read.report is None
    assert read.own_options == ("unstick_incident", "unstick_not_after")
    assert (read.rules.storm_targets, read.rules.storm_within_s) == (3, 600.0)
    assert (read.rules.notify, read.rules.public_url, read.rules.language) == ((), "", "en")
    assert read.rules.time_zone == "Asia/Tokyo"
    assert read.rules.runbooks["mail"] == Runbook(
        name="mail",
        match=(Matcher("service", "=", "mail"),),
        restart=Restart("j-1", {}, {}, 30.0, 1800.0),
        symptom=Symptom("rabbitmq", "${labels.vhost}", "${labels.queue}", 0, 60.0),
        mode=Mode.AUTO,
        recovered=Recovered(0, 1),
        verify=Verify(20.0, 15.0, 120.0, 600.0),
        limits=Limits(600.0, 2, ((3600.0, 3), (86400.0, 7)), 2, 86400.0),
    )


def test_the_repositorys_example_is_read_whole():
    """unstick.yaml is the design's example; each of its keys arrives where it belongs."""
    read = load_config(ROOT / "unstick.yaml")
    assert read.auth == Auth(hmac=Hmac((SecretRef("env://GRAFANA_HMAC_SECRET"),)))
    assert read.runner.name == "rundeck"
    assert read.runner_url == "http://127.0.0.1:4440"
    assert read.symptoms["rabbitmq"].password == SecretRef("env://RABBITMQ_PASSWORD")
    assert (read.store.name, read.scheduler.name) == ("local", "local")
    assert read.channels["console"] == Named("console", registry.load_adapter("chats", "console").Settings())
    assert read.report == Report(channels=("console",), every="week")
    runbook = read.rules.runbooks["mail-delivery"]
    assert runbook.restart.options == {"service": "${labels.service}"}
    assert runbook.freeze == (Freeze(frozenset(range(5)), 540, 600, "mon-fri 09:00-10:00"),)
    assert (runbook.notify, runbook.escalate, runbook.mention) == (("console",), ("console",), ("<users/all>",))
    assert (runbook.root_cause, runbook.manual_minutes) == ("https://tracker.example.com/MAIL-123", 8.0)


@pytest.mark.parametrize(
    ("written", "auth"),
    [
        ("{hmac: {secrets: [env://A, env://B]}}", Auth(hmac=Hmac((SecretRef("env://A"), SecretRef("env://B"))))),
        (
            "{hmac: {secrets: [env://A], timestamp_header: null, tolerance: 90}}",
            Auth(hmac=Hmac((SecretRef("env://A"),), timestamp_header=None, tolerance_s=90.0)),
        ),
        ("{hmac: {secrets: [env://A], header: X-Mine}}", Auth(hmac=Hmac((SecretRef("env://A"),), header="X-Mine"))),
        ("{basic: {user: no, passwords: ['file:///run/p']}}", Auth(basic=Basic("no", (SecretRef("file:///run/p"),)))),
        ("{bearer: {tokens: [sm://p/t/3], scheme: ApiKey}}", Auth(bearer=Bearer((SecretRef("sm://p/t/3"),), "ApiKey"))),
    ],
)
def test_the_ways_in(written, auth):
    """Hmac without a timestamp by null, other schemes by name, and YAML's own idea of `no` stays out."""
    assert parse_config(changed("{bearer: {tokens: [env://TOKEN]}}", written)).auth == auth


def test_rooms_of_google_cloud_and_chats_are_read_from_their_own_settings():
    """What config.py knows of a room is its name; the keys are those of its Settings."""
    text = changed("store: {local: {path: unstick.db}}", "store: {cloud_storage: {bucket: b, prefix: u/}}")
    text = text.replace(
        "scheduler: {local: {path: unstick.db}}",
        "scheduler: {cloud_tasks: {queue: projects/p/locations/l/queues/q, url: https://v/, service_account: a@b}}",
    ).replace("{type: console}", "{type: google_chat, url: env://CHAT}")
    read = parse_config(text, on_cloud_run=True)
    assert read.store.settings == registry.load_adapter("stores", "cloud_storage").Settings("b", "u/")
    assert read.scheduler.settings.url == "https://v"
    assert read.channels["console"] == Named(
        "google_chat", registry.load_adapter("chats", "google_chat").Settings(SecretRef("env://CHAT"))
    )


def test_aliases_stand_for_whole_values_and_numbers_for_texts():
    """An alias repeats a value; 10:00 is no number of base sixty, 2026 may be a text, and the file may have a byte order mark."""
    text = (
        MINIMAL
        + """\
    freeze: &quiet [{days: 'fri-mon', from: 22:00, to: 06:00}, {days: daily, from: 00:00, to: 24:00}]
    limits: {cooldown: 0, restarts: {90m: 2, 24h: 5}}
  - {name: 2026, match: ['queue=~"a.*"'], restart: {job: j}, symptom: {rabbitmq: {vhost: /, queue: 7}}, freeze: *quiet}
"""
    )
    first, second = parse_config(text).rules.runbooks.values()
    assert first.freeze == second.freeze
    assert [(window.days, window.start_minute, window.end_minute) for window in first.freeze] == [
        (frozenset({4, 5, 6, 0}), 1320, 360),
        (frozenset(range(7)), 0, 1440),
    ]
    assert first.limits.restarts == ((5400.0, 2), (86400.0, 5))
    assert (second.name, second.symptom.vhost, second.symptom.queue) == ("2026", "/", "7")


def test_the_configuration_of_the_process_is_read_once(tmp_path, monkeypatch):
    """UNSTICK_CONFIG names it; without it, it is unstick.yaml in the working folder."""
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeff" + MINIMAL, encoding="utf-8")
    monkeypatch.setenv("UNSTICK_CONFIG", str(path))
    first = current_config()
    path.unlink()
    assert current_config() is first
    current_config.cache_clear()
    monkeypatch.delenv("UNSTICK_CONFIG")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unstick.yaml").write_text(MINIMAL, encoding="utf-8")
    assert current_config() == first


# --- what is refused -------------------------------------------------------------------------------------------------------

RB = "runbooks[0]"
REFUSED = [
    # the form of the file
    ("", "the file", "is empty"),
    ("just text", "the file", "is not a mapping"),
    ("a: [1", "the file", "is no YAML"),
    ("a: {hmac: {secrets: [env://A]}", "the file", "is no YAML: did not find expected ',' or '}'. Mend it"),
    ("a: [x", "the file", "is no YAML: did not find expected ',' or ']'. Mend it"),
    ("a: 'x", "the file", "is no YAML"),
    ("a: *nowhere", "the file", "is no YAML"),
    ("a: 1\n---\nb: 2", "the file", "is no YAML"),
    ("a: \x01", "the file", "is no YAML"),
    ("a: " + "[" * 3000, "the file", "is no YAML"),
    ("a: &x [*x]", "nested too deeply", "Write it out"),
    ("a: !!python/object:os.system x", "a has a tag", "Remove the tag"),
    ("a: !secret x", "a has a tag", "quotes"),
    ("<<: {a: 1}", "<< is no plain key", "an alias may stand"),
    ("? [a]\n: 1", "is no plain key", "Write the keys out"),
    ("#" + "x" * (1024 * 1024), "the file", "characters"),
    (MINIMAL + "store: {local: {path: b}}", "store stands here a second time, first in line 4", "Keep one"),
    # keys
    (changed("scheduler:", "schedular:"), "schedular is not known", "Did you mean scheduler?"),
    (changed("scheduler:", "schedular:"), "the file lacks the key scheduler", "Add `scheduler:`"),
    (changed("user: unstick", "usr: unstick"), "rabbitmq.usr is not known", "Did you mean user?"),
    (changed("job: j-1", "job: j-1, opions: {}"), f"{RB}.restart.opions is not known", "Did you mean options?"),
    (changed("job: j-1", "job: j-1, zzzz: {}"), f"{RB}.restart.zzzz is not known", "Known here: allow, job"),
    (changed("    match: [service=mail]\n", ""), f"{RB} lacks the key match", "a matcher"),
    (changed(RESTART, "    restart: {}"), f"{RB}.restart lacks the key job", "Add `job:`"),
    (changed("rundeck:", "rundek:"), "names no runner", "exactly one of rundeck"),
    (changed("rundeck:", "rundek:"), "rundek is not known", "Did you mean rundeck?"),
    (changed("rabbitmq: {url", "x: {url"), "names no symptom", "rabbitmq"),
    (changed("rabbitmq: {url", "x: {url"), f"{RB}.symptom can't be looked at", "Add `rabbitmq:`"),
    # types
    (changed("[env://KEY]", "env://KEY"), "signing_keys is not a list", "[...]"),
    (changed("[env://KEY]", "[]"), "signing_keys is empty", "Name at least 1"),
    (changed("rundeck: {", "rundeck: [{").replace("RUNDECK_TOKEN}", "RUNDECK_TOKEN}]", 1), "rundeck is not a mapping", "{...}"),
    (changed("job: j-1", "job: [j-1]"), f"{RB}.restart.job is not a text", "Write one text"),
    (changed("job: j-1", "job: "), f"{RB}.restart.job is not a text", "Write one text"),
    (changed("job: j-1", "job: ''"), f"{RB}.restart.job is empty", "a text"),
    (changed("job: j-1", 'job: "a\\nb"'), f"{RB}.restart.job holds control characters", "a text"),
    (changed("job: j-1", "job: '${JOB}'"), f"{RB}.restart.job has a ${{", "a text"),
    (changed("job: j-1", "job: j, options: [a]"), f"{RB}.restart.options is not a mapping", "option"),
    (changed("token: env", "api_version: x, token: env"), "rundeck.api_version is not a whole number", "0 or more"),
    (changed("http://127.0.0.1:4440", "ftp://h"), "rundeck.url is no http or https URL", "a base URL"),
    (changed("http://127.0.0.1:4440", "http://u:p@h"), "rundeck.url holds a user or password", "a base URL"),
    (changed("http://127.0.0.1:4440", "http://h:99999"), "rundeck.url is no URL", "a base URL"),
    (changed("http://127.0.0.1:4440", "http://h/?a=b"), "rundeck.url has a query", "a base URL"),
    (changed("http://127.0.0.1:4440", "'http://h/ x'"), "rundeck.url is no http", "a base URL"),
    (MINIMAL + "public_url: unstick.example.com", "public_url is no http or https URL", "a base URL"),
    (MINIMAL + "language: de", "language is not one of en, ja", "one of en, ja"),
    (MINIMAL + "time_zone: Mars/Olympus", "time_zone is no time zone", "Asia/Tokyo"),
    (MINIMAL + "time_zone: ../../etc/passwd", "time_zone is no time zone", "Asia/Tokyo"),
    (MINIMAL + "budget: 40s", "budget is not between 1s and 25s", "a duration"),
    (MINIMAL + "budget: soon", "budget is not a duration", "30s, 5m"),
    (MINIMAL + "storm: {targets: 0}", "storm.targets is not a whole number from 1", "from 1"),
    (MINIMAL + "storm: {within: -5m}", "storm.within is not a duration", "5m"),
    (MINIMAL + "report: {every: year, channels: [console]}", "report.every is not one of day, week, month", "day"),
    (MINIMAL + "report: {every: week}", "report lacks the key channels", "a list"),
    # grafana
    (changed("{bearer: {tokens: [env://TOKEN]}}", "{}"), "grafana.auth lets nobody in", "hmac, basic and bearer"),
    (changed("{bearer: {tokens: [env://TOKEN]}}", "{bearer: null}"), "grafana.auth lets nobody in", "hmac"),
    (changed("tokens: [env://TOKEN]", "tokens: []"), "grafana.auth.bearer.tokens is empty", "Name at least 1"),
    (
        changed("bearer: {tokens: [env://TOKEN]}", "hmac: {secrets: [env://A], header: 'a b'}"),
        "grafana.auth.hmac.header is no header",
        "header",
    ),
    (
        changed("bearer: {tokens: [env://TOKEN]}", "hmac: {secrets: [env://A], tolerance: 0}"),
        "grafana.auth.hmac.tolerance is not between",
        "1s",
    ),
    (changed("grafana: {", "grafana: {max_body: 8MB, "), "grafana.max_body is not a size", "8MiB"),
    (changed("grafana: {", "grafana: {max_body: 64MiB, "), "grafana.max_body is not a size from", "8MiB"),
    # rooms
    (changed("store: {local:", "store: {lokal:"), "store.lokal is not known", "Did you mean local?"),
    (changed("store: {local: {path: unstick.db}}", "store: local"), "store is not one of", "Name exactly one"),
    (
        changed("{path: unstick.db}}\nscheduler", "{path: a}, cloud_storage: {bucket: b}}\nscheduler"),
        "store is not one of",
        "exactly one",
    ),
    (changed("{local: {path: unstick.db}}", "{local: {}}"), "store.local lacks the key path", "Add `path:`"),
    (changed("{type: console}", "{type: consol}"), "channels.console.type is not one of", "console"),
    (changed("{type: console}", "{}"), "channels.console lacks the key type", "Add `type:`"),
    (changed("{type: console}", "{type: google_chat}"), "channels.console lacks the key url", "env://NAME"),
    (changed("channels: {console: {type: console}}", "channels: {}"), "channels is empty", "Name at least 1"),
    (changed(SYMPTOM, "    symptom: {kafka: {}}"), f"{RB}.symptom.kafka is not known", "Known here: rabbitmq"),
    (changed(SYMPTOM, "    symptom: {}"), f"{RB}.symptom is not exactly one", "rabbitmq"),
    # channels that don't exist
    (MINIMAL + "notify: [ops]", "notify[0] names no channel", "Known: console"),
    (MINIMAL + "report: {channels: [console, ops]}", "report.channels[1] names no channel", "Known: console"),
    (MINIMAL + "    notify: [ops]", f"{RB}.notify[0] names no channel", "Known: console"),
    (MINIMAL + "    escalate: [console, ops]", f"{RB}.escalate[1] names no channel", "add it to `channels:`"),
    # matchers and patterns
    (changed("[service=mail]", "[]"), f"{RB}.match is empty", "Name at least 1"),
    (changed("[service=mail]", "service=mail"), f"{RB}.match is not a list", "a matcher"),
    (changed("[service=mail]", "[service]"), f"{RB}.match[0] is no matcher", "=~"),
    (changed("[service=mail]", "['a=\"b']"), f"{RB}.match[0] has a value without its closing quote", "a matcher"),
    (changed("[service=mail]", "['a=~\"(\"']"), f"{RB}.match[0] is no regular expression of RE2 (missing ): ()", "a matcher"),
    (changed("[service=mail]", "['a=~\"(?=x)\"']"), f"{RB}.match[0] is no regular expression of RE2", "a matcher"),
    (changed("[service=mail]", f"['a={'x' * 1100}']"), f"{RB}.match[0] has more than 1024 characters", "a matcher"),
    (
        changed(RESTART, "    restart: {job: j, options: {a: b}, allow: {a: '('}}"),
        f"{RB}.restart.allow.a is no regular expression",
        "RE2",
    ),
    (
        changed(RESTART, "    restart: {job: j, options: {a: b}, allow: {b: x}}"),
        f"{RB}.restart.allow.b limits an option",
        "Options: a",
    ),
    (
        changed(RESTART, "    restart: {job: j, options: {a: Mail Delivery}, allow: {a: '[a-z-]+'}}"),
        f"{RB}.restart.options.a is not what its own pattern",
        "Mend the value or the pattern",
    ),
    (
        MINIMAL + "    recovered: {max_messages: 5000}",
        f"{RB}.recovered.max_messages is more than the symptom's",
        "must not count as recovered",
    ),
    # templates
    (
        changed(RESTART, "    restart: {job: j, options: {a: '${labels.a}'}}"),
        f"{RB}.restart.options.a takes a label's value",
        "allow",
    ),
    (
        changed(RESTART, "    restart: {job: j, options: {a: '${env.A}'}}"),
        f"{RB}.restart.options.a has a ${{ that is not",
        "labels.NAME",
    ),
    (
        changed(RESTART, "    restart: {job: j, options: {a: '${labels.}'}}"),
        f"{RB}.restart.options.a has a ${{ that is not",
        "labels.NAME",
    ),
    (changed(RESTART, "    restart: {job: j, options: {a: ''}}"), f"{RB}.restart.options.a is empty", "a text"),
    (
        changed(RESTART, "    restart: {job: j, options: {unstick_incident: x}}"),
        f"{RB}.restart.options.unstick_incident is an option that",
        "Remove",
    ),
    (
        changed("rabbitmq: {}", "rabbitmq: {queue: '${labels.a'}"),
        f"{RB}.symptom.rabbitmq.queue has a ${{ that is not",
        "labels.NAME",
    ),
    # figures
    (changed("rabbitmq: {}", "rabbitmq: {for: 2h}"), f"{RB}.symptom.rabbitmq.for is not between 1s and 1h", "5m"),
    (
        changed("rabbitmq: {}", "rabbitmq: {max_messages: -1}"),
        f"{RB}.symptom.rabbitmq.max_messages is not a whole number",
        "0 or more",
    ),
    (MINIMAL + "    recovered: {min_consumers: -1}", f"{RB}.recovered.min_consumers is not a whole number", "from 0"),
    (MINIMAL + "    verify: {first: 0s}", f"{RB}.verify.first is not between", "a duration"),
    (MINIMAL + "    verify: {first: 20m}", f"{RB}.verify.first has first longer than within", "within"),
    (MINIMAL + "    verify: {patience: 5m, within: 4m}", f"{RB}.verify.patience has patience longer than within", "within"),
    (MINIMAL + "    limits: {attempts: 6}", f"{RB}.limits.attempts is not a whole number from 1 to 5", "1 to 5"),
    (MINIMAL + "    limits: {attempts: 0}", f"{RB}.limits.attempts is not a whole number from 1 to 5", "1 to 5"),
    (MINIMAL + "    limits: {attempts: 1.5}", f"{RB}.limits.attempts is not a whole number", "1 to 5"),
    (MINIMAL + "    limits: {restarts: {}}", f"{RB}.limits.restarts is empty", "Name at least 1"),
    (MINIMAL + "    limits: {restarts: {soon: 1}}", f"{RB}.limits.restarts.soon is no duration", "{1h: 3"),
    (
        MINIMAL + "    limits: {restarts: {1h: 1, 60m: 2}}",
        f"{RB}.limits.restarts.60m is a window that stands here already",
        "Keep one",
    ),
    (MINIMAL + "    limits: {restarts: {1h: 0}}", f"{RB}.limits.restarts.1h is not a whole number", "from 1"),
    (MINIMAL + "    limits: {stale: 60d}", f"{RB}.limits.stale is not between 1s and 30d", "a duration"),
    (MINIMAL + "    manual_minutes: long", f"{RB}.manual_minutes is not a number", "0 or more"),
    (MINIMAL + "    root_cause: MAIL-123", f"{RB}.root_cause is no http or https URL", "a link"),
    # freeze
    (MINIMAL + "    freeze: {days: daily}", f"{RB}.freeze is not a list", "days"),
    (MINIMAL + "    freeze: [daily]", f"{RB}.freeze[0] is not a mapping", "09:00"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00'}]", f"{RB}.freeze[0] lacks the key to", "a time"),
    (MINIMAL + "    freeze: [{days: weekdays, from: '09:00', to: '10:00'}]", f"{RB}.freeze[0].days names no days", "mon-fri"),
    (MINIMAL + "    freeze: [{days: daily, from: '9:00', to: '10:00'}]", f"{RB}.freeze[0].from is no time of the day", "09:00"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '24:01'}]", f"{RB}.freeze[0].to is no time of the day", "24:00"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '09:00'}]", f"{RB}.freeze[0] has no length", "24:00"),
    (
        MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '10:00', zone: x}]",
        f"{RB}.freeze[0].zone is not known",
        "Known here",
    ),
    # names and modes
    (MINIMAL + "    mode: automatic", f"{RB}.mode is not one of observe, approve, auto", "auto"),
    (MINIMAL + "    mode: approve", f"{RB}.mode is approve", "Add `public_url:`"),
    (changed("name: mail", "name: ' '"), f"{RB}.name is not a name", "80 characters"),
    (
        MINIMAL + "  - {name: mail, match: [a=b], restart: {job: j}, symptom: {rabbitmq: {}}}",
        "runbooks[1].name is the name of another",
        "line 9",
    ),
    (MINIMAL + "  - mail", "runbooks[1] is not a mapping", "{...}"),
]


@pytest.mark.parametrize(("text", "place", "remedy"), REFUSED, ids=[f"{place[:50]}" for _, place, _ in REFUSED])
def test_a_mistake_names_its_place_and_its_remedy(text, place, remedy):
    """Every refused configuration says the file, the line, the place, the mistake and what to do."""
    said = problems(text)
    fitting = [one for one in said if place in one and remedy in one]
    assert fitting, said
    assert all(one.startswith("unstick.yaml:") and one.rstrip()[-1] in ".?" for one in said)


@pytest.mark.parametrize("key", ["store", "scheduler"])
def test_cloud_run_keeps_no_files(key):
    """What keeps its state in a local file is refused there, and only there."""
    parse_config(MINIMAL)
    assert any(f"{key} is local" in one and "cloud_tasks" in one for one in problems(MINIMAL, on_cloud_run=True))


def test_cloud_run_is_known_by_its_environment(tmp_path, monkeypatch):
    """Cloud Run sets K_SERVICE."""
    path = tmp_path / "unstick.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    monkeypatch.setenv("K_SERVICE", "unstick")
    with pytest.raises(ConfigError, match="scheduler is local"):
        load_config(path)


SECRETS = [
    changed("[env://KEY]", f"[{SECRET}]"),
    changed("[env://KEY]", f"[{{a: {SECRET}}}]"),
    changed("[env://KEY]", SECRET),
    changed("token: env://RUNDECK_TOKEN", f"token: {SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: [{SECRET}]"),
    changed("token: env://RUNDECK_TOKEN", f"tokn: {SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: !x {SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: *{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: '{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: @{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: vault://{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: env://{SECRET}"),
    changed("http://127.0.0.1:4440", f"http://admin:{SECRET}@h"),
    changed("token: env://RUNDECK_TOKEN", f"token: env://T, api_version: {SECRET}"),
    changed("{type: console}", f"{{type: google_chat, url: 'https://chat.example.com/?key={SECRET}'}}"),
    changed("{type: console}", f"{{type: {SECRET}}}"),
    MINIMAL + f"budget: {SECRET}",
    MINIMAL + f"public_url: {SECRET}",
    MINIMAL + f"    mode: {SECRET}",
    MINIMAL + f"    notify: [{SECRET}]",
    MINIMAL + f"    freeze: [{SECRET}]",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_literal_secret_is_refused_and_never_repeated(text):
    """Wherever somebody wrote a secret, the mistake does not say it: mistakes end in logs (I8)."""
    assert SECRET not in "\n".join(problems(text))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    """One start is enough to see everything, also what several keys need together."""
    text = (
        MINIMAL.replace("path: unstick.db", "paht: unstick.db").replace("[env://KEY]", "[]")
        + "    limits: {attempts: 9}\n    mode: approve\n    notify: [ops]\n"
    )
    said = problems(text)
    lines = [int(one.split(":")[1]) for one in said]
    assert lines == sorted(lines)
    assert len(said) == 8
    assert [line for line in (4, 5, 6, 13, 14, 15) if line not in lines] == []


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda path: path / "none.yaml", "no such file"),
        (lambda path: path, "can't be read"),
        (lambda path: path / "latin", "not UTF-8"),
    ],
)
def test_a_file_that_can_not_be_read(tmp_path, made, says):
    """The error names the path and what to do."""
    (tmp_path / "latin").write_bytes(b"a: \xe9\xff")
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(made(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_aliases_can_not_blow_up():
    """Nine lines that stand for a billion values end within a second."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    began = time.process_time()
    assert any("aliases" in one for one in problems("\n".join(lines)))
    assert time.process_time() - began < 3


@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "grafana",
                        "auth",
                        "hmac",
                        "secrets",
                        "rundeck",
                        "url",
                        "store",
                        "local",
                        "channels",
                        "type",
                        "runbooks",
                        "name",
                        "match",
                        "restart",
                        "options",
                        "freeze",
                        "limits",
                        "restarts",
                        "notify",
                        "symptom",
                        "rabbitmq",
                        "report",
                        "verify",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: yaml.safe_dump(value, allow_unicode=True))
)
def test_nothing_but_a_config_or_a_config_error(text):
    """Whatever stands in the file, reading it ends in a list of mistakes with remedies."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert caught.value.problems


@given(
    st.dictionaries(
        st.sampled_from(["name", "match", "restart", "symptom", "mode", "limits", "verify", "freeze", "notify", "recovered"]),
        st.none()
        | st.text(max_size=9)
        | st.lists(st.none() | st.text(max_size=9) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2), max_size=3)
        | st.dictionaries(st.text(max_size=9), st.none() | st.text(max_size=9), max_size=3),
    )
)
def test_a_broken_runbook_never_raises_anything_else(runbook):
    """Checks across keys cope with whatever failed before."""
    text = MINIMAL + yaml.safe_dump([runbook], allow_unicode=True).replace("\n", "\n  ").join(["  ", "\n"])
    with pytest.raises(ConfigError):
        parse_config(text)


# --- small parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("24h", 86400),
        ("2d", 172800),
        ("90", 90),
        ("1.5h", 5400),
        ("0", 0),
        ("5 m", 300),
        ("", None),
        ("m", None),
        ("-1s", None),
        ("1w", None),
        ("1h30m", None),
        ("1e3", None),
        ("٣s", None),
        ("9" * 40 + "s", None),
        (".5s", None),
    ],
)
def test_durations(text, expected):
    """A number with one unit, or plain seconds."""
    assert seconds(text) == expected


@given(st.integers(0, 10**7))
def test_a_duration_that_is_spelled_is_read_back(value):
    """What documentation and mistakes show is what the file takes."""
    assert seconds(spelled(float(value))) == value


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("daily", "0123456"),
        ("mon", "0"),
        ("mon-fri", "01234"),
        ("sat,sun", "56"),
        ("sat, sun", "56"),
        ("fri-mon", "4560"),
        ("mon-wed,sun", "0126"),
        ("sun-sun", "6"),
    ],
)
def test_days(text, days):
    """Single days, ranges also over the week's end, and lists of both."""
    assert days_of(text) == frozenset(int(day) for day in days)


class Settings(Struct, frozen=True):
    """Stands in for a room's."""

    one: int = 0
    level: float = 0.5
    wait_s: float = 1.0
    names: tuple[int, ...] = ()
    on: bool = False
    more: dict[str, str] = field(default_factory=dict)
    base_url: str | None = None

    def __post_init__(self) -> None:
        if self.one > 1:
            raise ValueError("has too many")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Settings()),
        ("{one: 1, wait: 5m, names: [1, 2], on: true, level: 0.1}", Settings(1, 0.1, 300.0, (1, 2), True)),
        ("{more: {a: b}, base_url: http://h/x/}", Settings(more={"a": "b"}, base_url="http://h/x")),
        ("{base_url: null}", Settings()),
    ],
)
def test_a_room_is_read_by_its_annotations(text, expected):
    """Each supported type, and keys without the `_s` of durations."""
    reading = Reading("f")
    assert read_fields(Settings, parse(text, reading), reading) == expected
    assert reading.problems() == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{one: 2}", "f:1: the file has too many. See docs/configuration.md."),
        ("{on: yes}", "f:1: on is neither true nor false. Write true or false."),
        ("{wait_s: 5}", "f:1: wait_s is not known. Did you mean wait?"),
        ("{names: [a]}", "f:1: names[0] is not a whole number of 0 or more. Write a whole number of 0 or more."),
        ("{more: [a]}", "f:1: more is not a mapping. Write {name: a text}."),
    ],
)
def test_a_room_may_refuse_what_does_not_go_together(text, problem):
    """A ValueError of a Settings class is a mistake of its place like any other."""
    reading = Reading("f")
    read_fields(Settings, parse(text, reading), reading)
    assert reading.problems() == (problem,)


def test_a_type_that_can_not_be_read_is_a_bug_of_the_room():
    """Whoever writes a room hears of it in the first test."""
    for hint in (object, set[str]):
        with pytest.raises(TypeError, match="the field x"):
            kind_of(hint, "x")


def test_a_room_is_found_by_its_file():
    """Names lists without importing, room takes nothing that is not listed."""
    assert registry.adapter_names("runners") == ("rundeck",)
    assert "_cards" not in registry.adapter_names("chats")
    for name in ("nothing", "_cards", "../errors", "__init__", "console.py"):
        with pytest.raises(KeyError):
            registry.load_adapter("chats", name)
    with pytest.raises(ValueError, match="no kind of room"):
        registry.adapter_names("cli")


def test_what_an_import_and_a_reading_load():
    """Importing config.py loads no client and no server, and reading a file without a regular expression no RE2."""
    code = (
        "import sys\nfrom functions.config.loader import parse_config\n"
        "watched = ('requests', 'flask', 're2', 'yaml', 'google.auth', 'google.api_core', 'difflib')\n"
        "print([name for name in watched if name in sys.modules])\n"
        "parse_config(sys.stdin.read())\n"
        "print([name for name in watched if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=MINIMAL, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]", "['yaml']"]


# --- what is made from the types -------------------------------------------------------------------------------------------


def test_the_generated_page_is_up_to_date():
    """docs/configuration.md is what `python -m tools.docs.configuration_page` writes."""
    assert configuration_page.PAGE.read_text(encoding="utf-8") == configuration_page.page(), (
        "run: python -m tools.docs.configuration_page"
    )


def test_the_generated_schema_is_up_to_date():
    """unstick.schema.json is what `python -m tools.docs.configuration_page` writes."""
    assert json.loads(configuration_page.SCHEMA.read_text(encoding="utf-8")) == configuration_page.schema(), (
        "run: python -m tools.docs.configuration_page"
    )


def test_every_key_of_the_file_is_explained():
    """No key outside the rooms is left without a sentence."""
    for made in configuration_page.TITLES:
        words = configuration_page.field_words(made)
        assert [key.field for key in keys(made, configuration_page.SPECIAL).values() if not words.get(key.field)] == []


@pytest.mark.parametrize("text", [MINIMAL, (ROOT / "unstick.yaml").read_text(encoding="utf-8")], ids=["minimal", "example"])
def test_the_schema_takes_what_is_read(text):
    """An editor shows no mistake where there is none."""
    checker = jsonschema.Draft202012Validator(json.loads(configuration_page.SCHEMA.read_text(encoding="utf-8")))
    checker.check_schema(checker.schema)
    assert list(checker.iter_errors(yaml.safe_load(text))) == []
    assert isinstance(parse_config(text), Config)


@pytest.mark.parametrize(
    "mistake",
    [
        "stor: 1",
        "language: de",
        "budget: soon",
        "storm: {targets: 0}",
        "notify: console",
        "signing_keys: [literal]",
        "channels: {a: {type: nothing}}",
        "store: {local: {}}",
        "runbooks: [{name: a}]",
    ],
)
def test_the_schema_shows_mistakes(mistake):
    """An editor shows what stands in one place."""
    checker = jsonschema.Draft202012Validator(configuration_page.schema())
    assert list(checker.iter_errors({**yaml.safe_load(MINIMAL), **yaml.safe_load(mistake)}))
