"""unstick.yaml: what it comes to, every mistake with its place and remedy, and the files made from its types."""

import json
import re
import time
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml

from functions.bootstrap import current_config
from functions.config.formats import read_duration
from functions.config.loader import load_config, parse_config
from functions.config.settings import Auth, Basic, Bearer, Config, File, Hmac, load_adapter
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import Limits, Matcher, Recovered, Restart, Runbook, Symptom, Verify
from functions.runtime.errors import ConfigError
from functions.runtime.secrets import SecretRef
from tools.docs import configuration_page

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "unstick.yaml").read_text(encoding="utf-8")
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


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


def problems(text: str, *, on_cloud_run: bool = False) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, on_cloud_run=on_cloud_run)
    return caught.value.problems


def test_what_is_required_is_enough_and_all_else_has_its_default():
    """The defaults are those of the design; durations are seconds, sizes are bytes."""
    read = parse_config(MINIMAL)
    assert read.report is None
    assert read.rules.storm_targets == 3
    assert (read.rules.notify, read.rules.public_url, read.rules.language) == ((), "", "en")
    assert read.rules.runbooks["mail"] == Runbook(
        name="mail",
        match=(Matcher("service", "=", "mail"),),
        restart=Restart("j-1", {}, {}, 30.0, 1800.0),
        symptom=Symptom("rabbitmq", {"vhost": "${labels.vhost}", "queue": "${labels.queue}"}, 0, 60.0),
        mode=Mode.OBSERVE,
        recovered=Recovered(0, 1),
        verify=Verify(20.0, 15.0, 120.0, 600.0),
        limits=Limits(600.0, 2, ((3600.0, 3), (86400.0, 7)), 2, 86400.0),
    )
    zones = [parse_config(MINIMAL + more).rules.time_zone for more in ("", "language: ja", "language: ja\ntime_zone: UTC")]
    assert zones == ["UTC", "Asia/Tokyo", "UTC"]


@pytest.mark.parametrize(
    ("keys", "at_most_s"), [("", 540.0), ("for_at_most: 2m", 120.0), ("for: 1h", 3600.0), ("for: 2m, for_at_most: 2m", 120.0)]
)  # fmt: skip
def test_a_longer_for_needs_no_for_at_most(keys, at_most_s):
    """Nine minutes are learned at most, and nothing beyond a `for` that is longer."""
    symptom = parse_config(changed("rabbitmq: {}", f"rabbitmq: {{{keys}}}")).rules.runbooks["mail"].symptom
    assert max(symptom.for_s, symptom.for_at_most_s) == at_most_s
    assert symptom.learns == (at_most_s > symptom.for_s)


def test_auto_says_whose_consumers_where_and_how_long():
    """The queue may come with the alert, and Prometheus' conditions say all of it themselves."""
    assert parse_config(in_auto(queue="'${labels.queue}'")).rules.runbooks["mail"].symptom.users == ("mail",)
    prometheus = in_runbook("symptom: {prometheus: {stuck: a, recovered: b}}") + "\n    mode: auto\nprometheus: {url: http://p}"
    assert parse_config(prometheus).rules.runbooks["mail"].mode is Mode.AUTO


def test_a_local_store_settles_scheduler_and_signing_key(tmp_path):
    """Both lie beside it: one path is enough for one machine. A remote store settles neither."""
    path = tmp_path / "unstick.db"
    least = changed("scheduler: {local: {path: unstick.db}}\nsigning_keys: [env://KEY]\n", "")
    read = parse_config(least.replace("unstick.db", str(path)))
    assert (read.scheduler.name, read.scheduler.adapter.path) == ("local", str(path))
    assert read.signing_keys == (SecretRef(f"file://{path}.key", made=True),)
    remote = problems(least.replace("{local: {path: unstick.db}}", "{cloud_storage: {bucket: b-1}}"))
    assert [re.findall("lacks the key ([a-z_]+)[.]", one) for one in remote] == [["scheduler"], ["signing_keys"]]


def test_the_ways_in():
    """Hmac without a timestamp by null, other schemes by name, and YAML's own idea of `no` stays out."""
    written = (
        "{hmac: {secrets: [env://A, env://B], header: X-Mine, timestamp_header: null},"
        " basic: {user: no, passwords: ['file:///run/p']}, bearer: {tokens: [sm://p/t/3], scheme: ApiKey}}"
    )
    assert parse_config(changed("{bearer: {tokens: [env://TOKEN]}}", written)).grafana.auth == Auth(
        Hmac((SecretRef("env://A"), SecretRef("env://B")), header="X-Mine", timestamp_header=None),
        Basic("no", (SecretRef("file:///run/p"),)),
        Bearer((SecretRef("sm://p/t/3"),), "ApiKey"),
    )


def test_aliases_stand_for_whole_values_and_numbers_for_texts():
    """An alias repeats a value; 10:00 is no number of base sixty, 2026 may be a text, and the file may have a byte order mark."""
    text = (
        MINIMAL
        + """\
    freeze: &quiet [{days: 'fri-mon,wed', from: 22:00, to: 06:00}, {days: daily, from: 00:00, to: 24:00}]
    limits: {cooldown: 0, restarts: {90m: 2, 24h: 5}}
  - {name: 2026, match: ['queue=~"a.*"'], restart: {job: j}, symptom: {rabbitmq: {vhost: /, queue: 7}}, freeze: *quiet}
"""
    )
    first, second = parse_config(text).rules.runbooks.values()
    assert first.freeze == second.freeze
    assert [(window.days, window.start_minute, window.end_minute) for window in first.freeze] == [
        (frozenset({2, 4, 5, 6, 0}), 1320, 360),
        (frozenset(range(7)), 0, 1440),
    ]
    assert first.limits.restarts == ((5400.0, 2), (86400.0, 5))
    assert (second.name, second.symptom.keys) == ("2026", {"vhost": "/", "queue": "7"})


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


HOLDER = "restart: {job: j, holder: {option: h, allow: 'h.'}"
REFUSED = [
    # the form of the file
    ("", 1, "the file", "is empty"),
    ("just text", 1, "the file", "is not a configuration of Unstick"),
    ("a: [1", 2, "the file", "is not valid YAML"),
    ("a: 1\n---\nb: 2", 2, "the file", "is not valid YAML"),
    ("a: &x [*x]", 1, "a" + "[0]" * 20, "is nested too deeply"),
    ("a: !!python/object:os.system x", 1, "a", "has a tag"),
    ("<<: {a: 1}", 1, "<<", "is not a plain key"),
    (MINIMAL + "store: {local: {path: b}}", 13, "store", "stands here a second time, first in line 4"),
    # keys
    (changed("scheduler:", "schedular:"), 5, "schedular", "is not known. Did you mean scheduler?"),
    (changed("    match: [service=mail]\n", ""), 9, "runbooks[0]", "lacks the key match"),
    (changed("rundeck: {url: http://127.0.0.1:4440, token: env://RUNDECK_TOKEN}\n", ""), 1, "the file", "names no runner"),
    (changed("{type: console}", "{type: consol}"), 7, "channels.console.type", "is not one of apprise, chatwork, console"),
    (changed("{console: {type: console}}", "{}"), 7, "channels", "is empty"),
    (changed("{path: unstick.db}}\nsch", "{path: a}, cloud_storage: {bucket: b}}\nsch"), 4, "store", "Name exactly one."),
    (changed("{bearer: {tokens: [env://TOKEN]}}", "{bearer: null}"), 1, "grafana.auth", "names no authentication method"),
    # types and formats
    (changed("[env://KEY]", "env://KEY"), 6, "signing_keys", "is not a list"),
    (changed("[env://KEY]", "[]"), 6, "signing_keys", "is empty"),
    (changed("job: j-1", "job: [j-1]"), 11, "runbooks[0].restart.job", "is not a text"),
    (changed("job: j-1", 'job: "a\\nb"'), 11, "runbooks[0].restart.job", "holds control characters"),
    (changed("job: j-1", "job: '${JOB}'"), 11, "runbooks[0].restart.job", "has a ${"),
    (changed("token: env", "token_expires: 2026-12-26, token: env"), 2, "rundeck.token_expires", "is not a time with its zone"),
    (changed("http://127.0.0.1:4440", "ftp://h"), 2, "rundeck.url", "is not an http or https URL"),
    (changed("http://127.0.0.1:4440", "http://u:p@h"), 2, "rundeck.url", "holds a user or password"),
    (changed("http://127.0.0.1:4440", "http://h/?a=b"), 2, "rundeck.url", "has a query"),
    (changed("bearer: {tokens: [env://TOKEN]}", "hmac: {secrets: [env://A], header: 'a b'}"), 1, "grafana.auth.hmac.header",
        "is not a header's name"),
    (changed("[service=mail]", "[service]"), 10, "runbooks[0].match[0]", "is not a matcher"),
    (changed("[service=mail]", "['a=~\"(?=x)\"']"), 10, "runbooks[0].match[0]", "is not a regular expression"),
    (changed("[service=mail]", f"['a={'x' * 1100}']"), 10, "runbooks[0].match[0]", "has more than 1024 characters"),
    (changed("rabbitmq: {}", "rabbitmq: {queue: '${labels.a'}"), 12, "runbooks[0].symptom.rabbitmq.queue", "has a ${"),
    (MINIMAL + "language: de", 13, "language", "is not one of en, ja"),
    (MINIMAL + "time_zone: Mars/Olympus", 13, "time_zone", "is not a time zone"),
    (MINIMAL + "storm: {targets: 0}", 13, "storm.targets", "is not a whole number from 1 to 1000"),
    # channels, headers, names
    (MINIMAL + "notify: [ops]", 13, "notify[0]", "names no channel. Known: console;"),
    (MINIMAL + "prometheus: {url: http://p, headers: {X-Scope-OrgID: m, X-Api-Key: hunter2}}", 13,
        "prometheus.headers.X-Api-Key", "looks like a secret"),
    (MINIMAL + "  - {name: mail, match: [a=b], restart: {job: j}, symptom: {rabbitmq: {}}}", 13, "runbooks[1].name",
        "is the name of another runbook"),
]  # fmt: skip
RUNBOOK = [
    # what replaces `restart`, `symptom` or stands below them; the place in the runbook
    ("restart: {job: j, options: {a: b}, allow: {a: '('}}", "restart.allow.a", "is not a regular expression"),
    ("restart: {job: j, options: {a: '${labels.a}'}}", "restart.options.a", "takes a label's value that no pattern limits"),
    ("restart: {job: j, options: {a: '${holder.host}'}}", "restart.options.a", "has a ${ that is not"),
    ("restart: {job: j, options: {unstick_incident: x}}", "restart.options.unstick_incident", "that Unstick sets"),
    *((f"restart: {{job: j, holder: {{option: h, allow: '{wide}'}}}}", "restart.holder.allow", "also takes what is no host")
        for wide in (".*", "mail-1|--help", r"[\w ]+", r"\S+")),
    (f"{HOLDER}, options: {{h: a}}}}", "restart.holder.option", "one of the target's options"),
    ("evidence: {job: e, options: {a: '${holder.host}'}}", "evidence.options.a", "takes a host that no pattern limits"),
    ("evidence: {job: J-1}", "evidence.job", "is a job that restarts something"),
    ("symptom: {prometheus: {stuck: a, recovered: b}}", "symptom", "can't be observed"),
    ("symptom: {rabbitmq: {for: 2m, for_at_most: 90s}}", "symptom.rabbitmq.for_at_most", "is shorter than `for`"),
    ("symptom: {rabbitmq: {for_at_most: 10m}}", "symptom.rabbitmq.for_at_most", "from 1s to 9m"),
    ("recovered: {max_messages: 5000}", "recovered.max_messages", "is more than the symptom's max_messages"),
    ("verify: {first: 0s}", "verify.first", "is not a duration (30s, 5m, 2h) from 1s to 30d"),
    ("limits: {restarts: {soon: 1}}", "limits.restarts", "has a window that is not a duration"),
    ("approvers: ['anna@example.com\u3000']", "approvers[0]", "is not a user's id in Slack"),  # as a Japanese keyboard types it
    ("freeze: [{days: weekdays, from: '09:00', to: '10:00'}]", "freeze[0].days", "names no days"),
    ("freeze: [{days: daily, from: '09:00', to: '24:01'}]", "freeze[0].to", "is not a time"),
    ("freeze: [{days: daily, from: '09:00', to: '09:00'}]", "freeze[0]", "has no length"),
    ("mode: approve", "mode", "approval links have no address"),
]  # fmt: skip


AUTO = {"vhost": "/", "users": "[mail]", "for": "1m"}


def in_auto(**changes: str | None) -> str:
    """`mode: auto`, and the symptom with these keys beside or instead of what it needs."""
    keys = ", ".join(f"{key}: {value}" for key, value in (AUTO | changes).items() if value is not None)
    return in_runbook(f"symptom: {{rabbitmq: {{{keys}}}}}") + "\n    mode: auto"


def in_runbook(line: str) -> str:
    """The line in the place of the runbook's own with its key, or below it."""
    replaced = re.sub(rf"    {line.partition(':')[0]}: .*\n", "", MINIMAL)
    return f"{replaced}    {line}"


ROWS = [
    *REFUSED,
    *((text := in_runbook(line), text.count("\n") + 1, f"runbooks[0].{place}", what) for line, place, what in RUNBOOK),
    *((in_auto(**{key: None}), 12, f"runbooks[0].symptom.rabbitmq.{key}", "for `mode: auto`. ") for key in AUTO),
    (in_auto(users="[]"), 12, "runbooks[0].symptom.rabbitmq.users", "must be written out"),
    (in_auto(vhost="'v-${labels.tenant}'"), 12, "runbooks[0].symptom.rabbitmq.vhost", "must be written out"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "place", "what"), ROWS, ids=[f"{row[2]}-{row[3][:30]}" for row in ROWS])
def test_a_mistake_has_its_line_place_and_remedy(text, line, place, what):
    """Every refused configuration says the file, the line, the place, the mistake and what to do."""
    reported = problems(text)
    begin = f"unstick.yaml:{line}: {place} "
    assert [one for one in reported if one.startswith(begin) and what in one.removeprefix(begin)], reported
    assert all(re.fullmatch(r"unstick\.yaml:\d+: .+(\.|\?) \S.*[.?]", one) for one in reported)
    assert len(set(reported)) == len(reported)


@pytest.mark.parametrize("key", ["store", "scheduler"])
def test_cloud_run_keeps_no_files(key, tmp_path, monkeypatch):
    """What keeps its state in a local file is refused there, and only there: K_SERVICE is set."""
    parse_config(MINIMAL)
    assert any(f"{key} is local" in one and "cloud_tasks" in one for one in problems(MINIMAL, on_cloud_run=True))
    path = tmp_path / "unstick.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    monkeypatch.setenv("K_SERVICE", "unstick")
    with pytest.raises(ConfigError, match="scheduler is local"):
        load_config(path)


SECRETS = [
    changed("[env://KEY]", f"[{SECRET}]"),
    changed("token: env://RUNDECK_TOKEN", f"token: !x {SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: *{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: '{SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"token: env://{SECRET}"),
    changed("http://127.0.0.1:4440", f"http://admin:{SECRET}@h"),
    changed("token: env://RUNDECK_TOKEN", f"token: env://T, token_expires: {SECRET}"),
    changed("{type: console}", f"{{type: google_chat, url: 'https://chat.example.com/?key={SECRET}'}}"),
    changed("{type: console}", f"{{type: {SECRET}}}"),
    MINIMAL + f"    mode: {SECRET}",
    MINIMAL + f"    notify: [{SECRET}]",
    # as a key
    changed("token: env://RUNDECK_TOKEN", f"tokn: {SECRET}, {SECRET}: x"),
    changed("token: env://RUNDECK_TOKEN", f"token: {{{SECRET}: x}}"),
    MINIMAL + f"{SECRET}: x",
    # a secret's file, which UNSTICK_CONFIG may name by mistake
    *(f"{SECRET}", f"PASSWORD={SECRET}\nTOKEN={SECRET}\n", f"password: {SECRET}\n{SECRET}: x\n"),
    *(f'{{"private_key": "{SECRET}", "{SECRET}": 1}}', f"-----BEGIN KEY-----\n{SECRET}\n-----END KEY-----\n", f"a: [{SECRET}"),
    *(f"a:\n\t{SECRET}: 1\n", f"[section]\npassword = {SECRET}\n"),
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_literal_secret_is_refused_and_never_repeated(text):
    """Wherever somebody wrote a secret, the mistake does not say it: mistakes end in logs (I8)."""
    assert SECRET not in "\n".join(problems(text))


def test_a_tab_leads_to_its_line():
    """The commonest mistake that YAML's own words don't explain."""
    (problem,) = problems(MINIMAL + "report:\n\tevery: week\n")
    assert problem == "unstick.yaml:14: the file is not valid YAML. Fix it at or just above this line; indent with spaces."


def test_nine_lines_that_stand_for_a_billion_values_end_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    began = time.process_time()
    assert any("aliases" in one for one in problems("\n".join(lines)))
    assert time.process_time() - began < 3


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
    """First those that are wrong by themselves; where none is, what several keys contradict."""
    text = changed("path: unstick.db", "paht: unstick.db").replace("[env://KEY]", "[]") + "    mode: approve\n    notify: [ops]\n"
    wrong, contradicting = problems(text + "    limits: {attempts: 9}\n"), problems(MINIMAL + text.partition("{}}\n")[2])
    assert [int(one.split(":")[1]) for one in wrong] == [4, 4, 6, 15]
    assert [int(one.split(":")[1]) for one in contradicting] == [13, 14]


@pytest.mark.parametrize(
    ("name", "says"), [("none.yaml", "FileNotFoundError"), (".", "can't be read"), ("latin", "UTF-8")],
)  # fmt: skip
def test_a_file_that_can_not_be_read(tmp_path, name, says):
    """The error names the path and what to do."""
    (tmp_path / "latin").write_bytes(b"a: \xe9\xff")
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30), ("5m", 300), ("24h", 86400), ("2d", 172800), ("90", 90), ("1.5h", 5400), ("0", 0), ("5 m", 300),
        ("", None), ("m", None), ("-1s", None), ("1w", None), ("1h30m", None), ("٣s", None), ("9" * 40 + "s", None),
    ],
)  # fmt: skip
def test_durations(text, expected):
    """A number with one unit, or plain seconds."""
    if expected is None:
        with pytest.raises(ValueError):
            read_duration(text)
    else:
        assert read_duration(text) == expected


def test_every_key_of_the_file_is_explained():
    """No key is left without a sentence, in an editor either."""

    def silent(schema, place):
        for name, key in schema.get("properties", {}).items():
            inner = key.get("items", key)
            if not key.get("description"):
                yield f"{place}.{name}"
            if "format" not in inner:  # its words are the key's
                yield from silent(inner, f"{place}.{name}")

    assert list(silent(configuration_page.documented(File), "")) == []
    assert list(silent(configuration_page.documented(load_adapter("symptoms", "rabbitmq").Keys), "")) == []


@cache
def checker_of_the_schema() -> jsonschema.Draft202012Validator:
    """Of the file that editors read; that it is current is tested with the documentation."""
    return jsonschema.Draft202012Validator(json.loads(configuration_page.SCHEMA.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL, SHIPPED, changed("j-1", "j-1, options: {lines: 60}") + "    evidence: {job: j-2, options: {lines: 60}}",
    ],
)  # fmt: skip
def test_the_schema_takes_what_is_read(text):
    """An editor shows no mistake where there is none."""
    checker = checker_of_the_schema()
    checker.check_schema(checker.schema)
    assert list(checker.iter_errors(yaml.safe_load(text))) == []
    assert isinstance(parse_config(text), Config)
