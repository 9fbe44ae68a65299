"""unstick.yaml: what it comes to, every mistake with its place and remedy, and the files made from its types."""

import json
import re
import time
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml

from functions.config.current import current_config
from functions.config.formats import read_duration
from functions.config.loader import load_config, parse_config
from functions.config.settings import Auth, Basic, Bearer, Config, File, Hmac, Named, Report, adapter_names, load_adapter
from functions.config.validation import REMOVED
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import Freeze, Limits, Matcher, Recovered, Restart, Runbook, Symptom, Verify
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


SHIPPED = (ROOT / "unstick.yaml").read_text(encoding="utf-8")


def problems(text: str, *, on_cloud_run: bool = False) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, on_cloud_run=on_cloud_run)
    return caught.value.problems


# --- what is read ----------------------------------------------------------------------------------------------------------


def test_what_is_required_is_enough_and_all_else_has_its_default():
    """The defaults are those of the design; durations are seconds, sizes are bytes."""
    read = parse_config(MINIMAL)
    assert read.report is None
    assert (read.rules.storm_targets, read.rules.storm_within_s) == (3, 600.0)
    assert (read.rules.notify, read.rules.public_url, read.rules.language) == ((), "", "en")
    assert read.rules.time_zone == "UTC"
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


def test_a_local_store_settles_scheduler_and_signing_key(tmp_path):
    """Both lie beside it: one path is enough for one machine. A remote store settles neither."""
    path = tmp_path / "unstick.db"
    least = MINIMAL.replace("scheduler: {local: {path: unstick.db}}\nsigning_keys: [env://KEY]\n", "")
    read = parse_config(least.replace("unstick.db", str(path)))
    assert (read.scheduler.name, read.scheduler.adapter.path) == ("local", str(path))
    assert read.signing_keys == (SecretRef(f"file://{path}.key", made=True),)
    remote = problems(least.replace("{local: {path: unstick.db}}", "{cloud_storage: {bucket: b-1}}"))
    assert [name for name in ("scheduler", "signing_keys") for one in remote if f"lacks the key {name}." in one] == [
        "scheduler", "signing_keys",
    ]  # fmt: skip
    assert any("store is local" in one for one in problems(least, on_cloud_run=True))


def test_the_channels_of_the_runbooks_hear_of_everything():
    """Where the top names none: pause and report go to them too."""
    read = parse_config(MINIMAL + "    notify: [console]\n")
    assert read.rules.default_channels == read.report_channels == ("console",)


def test_the_repositorys_example_is_read_whole():
    """unstick.yaml is the design's example; each of its keys arrives where it belongs."""
    read = load_config(ROOT / "unstick.yaml")
    assert read.grafana.auth == Auth(hmac=Hmac((SecretRef("env://GRAFANA_HMAC_SECRET"),)))
    assert read.runner.name == "rundeck"
    assert read.runner_url == "http://127.0.0.1:4440"
    assert read.symptoms["rabbitmq"].password == SecretRef("env://RABBITMQ_PASSWORD")
    assert (read.store.name, read.scheduler.name) == ("local", "local")
    assert read.channels["console"] == Named("console", load_adapter("chats", "console")())
    assert read.report == Report(channels=("console",), every="week")
    runbook = read.rules.runbooks["mail-delivery"]
    assert runbook.restart.options == {"service": "${labels.service}"}
    assert runbook.freeze == (Freeze(frozenset(range(5)), 540, 600, "mon-fri 09:00-10:00"),)
    assert (runbook.notify, runbook.escalate, runbook.mention) == (("console",), ("console",), ("<users/all>",))
    assert runbook.root_cause == "https://tracker.example.com/MAIL-123"


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


def test_google_clouds_store_and_scheduler_are_read_from_their_own_settings():
    """What the configuration knows of an adapter is its name; the keys are those of its settings."""
    text = changed("store: {local: {path: unstick.db}}", "store: {cloud_storage: {bucket: b}}").replace(
        "scheduler: {local: {path: unstick.db}}",
        "scheduler: {cloud_tasks: {queue: projects/p/locations/l/queues/q, url: https://v/, service_account: a@b}}",
    )
    read = parse_config(text, on_cloud_run=True)
    assert (read.store.adapter, read.scheduler.adapter.url) == (load_adapter("stores", "cloud_storage")("b"), "https://v")


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


# --- what is refused -------------------------------------------------------------------------------------------------------

RB = "runbooks[0]"
KINDS = {
    "form of the file": "valid YAML|a tag|a plain key|nested|a second time|more than \\d+ characters\\. Give|a configuration of",
    "unknown": "is not known",
    "missing": "lacks the key|names no (runner|symptom)",
    "empty": "is empty|has no value|names no authentication method|has no length",
    "together": (
        r"names no channel|of another runbook|no address|job that restarts something|can't be observed|that Unstick sets|"
        r"no pattern limits|its own pattern|does not set|symptom's (max_messages|own)|longer than within|"
        r"one of the target's|what is no host|looks like a secret"
    ),
    "value": "is not (a|an|one of|between|\\{)|holds|has (a|more than)|names no days",
}
REFUSED = [
    # the form of the file
    ("", 1, "the file", "empty"),
    ("just text", 1, "the file", "value"),
    ("a: [1", 2, "the file", "form of the file"),
    ("a: 'x", 1, "the file", "form of the file"),
    ("a: 1\n---\nb: 2", 2, "the file", "form of the file"),
    ("a: &x [*x]", 1, "a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]", "form of the file"),
    ("a: !!python/object:os.system x", 1, "a", "form of the file"),
    ("<<: {a: 1}", 1, "<<", "form of the file"),
    ("? [a]\n: 1", 1, "?", "form of the file"),
    ("#" + "x" * (1024 * 1024), 1, "the file", "form of the file"),
    (MINIMAL + "store: {local: {path: b}}", 13, "store", "form of the file"),
    # keys
    (changed("scheduler:", "schedular:"), 5, "schedular", "unknown"),
    (changed("{local: {path: unstick.db}}\nscheduler", "{cloud_storage: {bucket: b-1}}\nx"), 1, "the file", "missing"),
    (changed("user: unstick", "usr: unstick"), 3, "rabbitmq.usr", "unknown"),
    (changed("    match: [service=mail]\n", ""), 9, RB, "missing"),
    (changed("rundeck:", "rundek:"), 1, "the file", "missing"),
    (changed("rundeck:", "rundek:"), 2, "rundek", "unknown"),
    # types
    (changed("[env://KEY]", "env://KEY"), 6, "signing_keys", "value"),
    (changed("[env://KEY]", "[]"), 6, "signing_keys", "empty"),
    (changed("job: j-1", "job: [j-1]"), 11, f"{RB}.restart.job", "value"),
    (changed("job: j-1", "job: ''"), 11, f"{RB}.restart.job", "empty"),
    (changed("job: j-1", 'job: "a\\nb"'), 11, f"{RB}.restart.job", "value"),
    (changed("job: j-1", "job: '${JOB}'"), 11, f"{RB}.restart.job", "value"),
    (changed("token: env", "token_expires: 2026-12-26, token: env"), 2, "rundeck.token_expires", "value"),
    (changed("http://127.0.0.1:4440", "ftp://h"), 2, "rundeck.url", "value"),
    (changed("http://127.0.0.1:4440", "http://u:p@h"), 2, "rundeck.url", "value"),
    (changed("http://127.0.0.1:4440", "http://h/?a=b"), 2, "rundeck.url", "value"),
    (MINIMAL + "public_url: unstick.example.com", 13, "public_url", "value"),
    (MINIMAL + "language: de", 13, "language", "value"),
    (MINIMAL + "time_zone: Mars/Olympus", 13, "time_zone", "value"),
    (MINIMAL + "storm: {targets: 0}", 13, "storm.targets", "value"),
    (MINIMAL + "storm: {within: -5m}", 13, "storm.within", "value"),
    (MINIMAL + "report: {every: year, channels: [console]}", 13, "report.every", "value"),
    # grafana
    (changed("{bearer: {tokens: [env://TOKEN]}}", "{bearer: null}"), 1, "grafana.auth", "empty"),
    (changed("bearer: {tokens: [env://TOKEN]}", "hmac: {secrets: [env://A], header: 'a b'}"), 1, "grafana.auth.hmac.header",
        "value"),
    # adapters
    (changed("store: {local:", "store: {lokal:"), 4, "store.lokal", "unknown"),
    (changed("{path: unstick.db}}\nscheduler", "{path: a}, cloud_storage: {bucket: b}}\nscheduler"), 4, "store", "value"),
    (changed("{local: {path: unstick.db}}", "{local: {}}"), 4, "store.local", "missing"),
    (changed("{type: console}", "{type: consol}"), 7, "channels.console.type", "unknown"),
    (changed("{type: console}", "{type: google_chat}"), 7, "channels.console", "missing"),
    (changed("channels: {console: {type: console}}", "channels: {}"), 7, "channels", "empty"),
    (changed(SYMPTOM, "    symptom: {kafka: {}}"), 12, f"{RB}.symptom.kafka", "unknown"),
    # channels that don't exist
    (MINIMAL + "notify: [ops]", 13, "notify[0]", "together"),
    (MINIMAL + "report: {channels: [console, ops]}", 13, "report.channels[1]", "together"),
    # matchers and patterns
    (changed("[service=mail]", "[service]"), 10, f"{RB}.match[0]", "value"),
    (changed("[service=mail]", "['a=~\"(?=x)\"']"), 10, f"{RB}.match[0]", "value"),
    (changed("[service=mail]", f"['a={'x' * 1100}']"), 10, f"{RB}.match[0]", "value"),
    (changed(RESTART, "    restart: {job: j, options: {a: b}, allow: {a: '('}}"), 11, f"{RB}.restart.allow.a", "value"),
    (changed(RESTART, "    restart: {job: j, options: {a: b}, allow: {b: x}}"), 11, f"{RB}.restart.allow.b", "together"),
    (changed(RESTART, "    restart: {job: j, options: {a: Mail Delivery}, allow: {a: '[a-z-]+'}}"), 11,
        f"{RB}.restart.options.a", "together"),
    (MINIMAL + "    recovered: {max_messages: 5000}", 13, f"{RB}.recovered.max_messages", "together"),
    # templates
    (changed(RESTART, "    restart: {job: j, options: {a: '${labels.a}'}}"), 11, f"{RB}.restart.options.a", "together"),
    (changed(RESTART, "    restart: {job: j, options: {a: '${holder.host}'}}"), 11, f"{RB}.restart.options.a", "value"),
    (MINIMAL + "    evidence: {job: e, options: {a: '${holder.host}'}}", 13, f"{RB}.evidence.options.a", "together"),
    (MINIMAL + "    evidence: {job: e, options: {a: 'root@${holder.host}'}, allow: {a: x}}", 13, f"{RB}.evidence.options.a",
        "value"),
    # the host that hangs
    (changed(RESTART, "    restart: {job: j, holder: {option: host}}"), 11, f"{RB}.restart.holder", "missing"),
    (changed(RESTART, "    restart: {job: j, holder: {option: h, allow: 'h.', all: '.*'}}"), 11, f"{RB}.restart.holder.all",
        "unknown"),
    *((changed(RESTART, f"    restart: {{job: j, holder: {{option: h, allow: '{pattern}'}}}}"), 11, f"{RB}.restart.holder.allow",
        "value" if pattern == "(" else "together") for pattern in ("(", ".*", "mail-1|--help", r"[\w ]+", r"\S+")),
    (changed(RESTART, "    restart: {job: j, options: {h: a}, holder: {option: h, allow: 'h.'}}"), 11,
        f"{RB}.restart.holder.option", "together"),
    (changed(RESTART, "    restart: {job: j, holder: {option: unstick_incident, allow: 'h.'}}"), 11,
        f"{RB}.restart.holder.option", "together"),
    (changed(RESTART, "    restart: {job: j, options: {a: '${env.A}'}}"), 11, f"{RB}.restart.options.a", "value"),
    (changed(RESTART, "    restart: {job: j, options: {unstick_incident: x}}"), 11, f"{RB}.restart.options.unstick_incident",
        "together"),
    (changed("rabbitmq: {}", "rabbitmq: {queue: '${labels.a'}"), 12, f"{RB}.symptom.rabbitmq.queue", "value"),
    # figures
    (changed("rabbitmq: {}", "rabbitmq: {for: 2h}"), 12, f"{RB}.symptom.rabbitmq.for", "value"),
    (MINIMAL + "    verify: {first: 0s}", 13, f"{RB}.verify.first", "value"),
    (MINIMAL + "    verify: {patience: 5m, within: 4m}", 13, f"{RB}.verify.patience", "together"),
    (MINIMAL + "    limits: {attempts: 6}", 13, f"{RB}.limits.attempts", "value"),
    (MINIMAL + "    limits: {restarts: {}}", 13, f"{RB}.limits.restarts", "empty"),
    (MINIMAL + "    limits: {restarts: {soon: 1}}", 13, f"{RB}.limits.restarts", "value"),
    (MINIMAL + "    limits: {restarts: {1h: 1, 60m: 2}}", 13, f"{RB}.limits.restarts", "value"),
    (MINIMAL + "    limits: {restarts: {1h: 0}}", 13, f"{RB}.limits.restarts.1h", "value"),
    (MINIMAL + "    root_cause: MAIL-123", 13, f"{RB}.root_cause", "value"),
    # secrets
    (MINIMAL + "prometheus: {url: http://p, headers: {X-Scope-OrgID: m, X-Api-Key: hunter2}}", 13,
        "prometheus.headers.X-Api-Key", "together"),
    # approvers
    (MINIMAL + "    approvers: [anna]", 13, f"{RB}.approvers[0]", "value"),
    (MINIMAL + "    approvers: ['anna@example.com\u3000']", 13, f"{RB}.approvers[0]", "value"),  # as a Japanese keyboard types it
    # freeze
    (MINIMAL + "    freeze: [{days: daily, from: '09:00'}]", 13, f"{RB}.freeze[0]", "missing"),
    (MINIMAL + "    freeze: [{days: weekdays, from: '09:00', to: '10:00'}]", 13, f"{RB}.freeze[0].days", "value"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '24:01'}]", 13, f"{RB}.freeze[0].to", "value"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '09:00'}]", 13, f"{RB}.freeze[0]", "empty"),
    (MINIMAL + "    freeze: [{days: daily, from: '09:00', to: '10:00', zone: x}]", 13, f"{RB}.freeze[0].zone", "unknown"),
    # names and modes
    (MINIMAL + "    mode: automatic", 13, f"{RB}.mode", "value"),
    (MINIMAL + "    mode: approve", 13, f"{RB}.mode", "together"),
    (MINIMAL + "    evidence: {job: J-1}", 13, f"{RB}.evidence.job", "together"),
    (MINIMAL + "    evidence: {job: e, options: {unstick_incident: x}}", 13, f"{RB}.evidence.options.unstick_incident",
        "together"),
    (changed(SYMPTOM, "    symptom: {prometheus: {stuck: a, recovered: b}}")
        + "    recovered: {min_consumers: 0}\nprometheus: {url: http://p}", 13, f"{RB}.recovered", "together"),
    (MINIMAL + "mask: ['(']", 13, "mask[0]", "value"),
    (MINIMAL + "  - {name: mail, match: [a=b], restart: {job: j}, symptom: {rabbitmq: {}}}", 13, "runbooks[1].name", "together"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "place", "kind"), REFUSED, ids=[f"{row[2]}-{row[3]}" for row in REFUSED])
def test_a_mistake_has_its_line_place_kind_and_remedy(text, line, place, kind):
    """Every refused configuration says the file, the line, the place, the mistake and what to do."""
    reported = problems(text)
    begin = f"unstick.yaml:{line}: {place} "
    assert [one for one in reported if one.startswith(begin) and re.search(KINDS[kind], one.removeprefix(begin))], reported
    assert all(re.fullmatch(r"unstick\.yaml:\d+: .+(\.|\?) \S.*[.?]", one) for one in reported)
    assert len(set(reported)) == len(reported)


@pytest.mark.parametrize(("pattern", "remedy"), REMOVED.items())
def test_a_key_that_is_gone_says_what_to_do_instead(pattern, remedy):
    """One sentence for each, also for a value such as a chat's type, and for names that people choose."""
    path, is_value, gone = pattern.partition("=")
    *above, key = path.split(".")
    text = yaml.safe_load(MINIMAL)
    here, place = text, ""
    for name in above:
        if isinstance(here, list):
            here, place = here[0], f"{place}[0]"
        else:
            inner = next(iter(here)) if name == "*" else name
            here, place = here.setdefault(inner, {}), f"{place}.{inner}"
    here[key] = gone.replace("*", "5m") if is_value else "x"
    (problem,) = [one for one in problems(yaml.safe_dump(text)) if f" {f'{place}.{key}'.removeprefix('.')} was removed. " in one]
    assert problem.endswith(f" was removed. {remedy}.")
    assert ". " not in remedy


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
    changed("token: env://RUNDECK_TOKEN", f"token: {SECRET}"),
    changed("token: env://RUNDECK_TOKEN", f"tokn: {SECRET}"),
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
    changed("token: env://RUNDECK_TOKEN", f"{SECRET}: x"),
    changed("token: env://RUNDECK_TOKEN", f"token: {{{SECRET}: x}}"),
    MINIMAL + f"{SECRET}: x",
    MINIMAL + f"    verify: {{{SECRET}: 1s}}",
    # a secret's file, which UNSTICK_CONFIG may name by mistake
    *(f"{SECRET}", f"PASSWORD={SECRET}\nTOKEN={SECRET}\n", f"password: {SECRET}\n{SECRET}: x\n"),
    *(f'{{"private_key": "{SECRET}", "{SECRET}": 1}}', f"-----BEGIN KEY-----\n{SECRET}\n-----END KEY-----\n", f"a: [{SECRET}"),
    *(f"a:\n\t{SECRET}: 1\n", f"[section]\npassword = {SECRET}\n"),
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_literal_secret_is_refused_and_never_repeated(text):
    """Wherever somebody wrote a secret, the mistake does not say it: mistakes end in logs (I8)."""
    assert SECRET not in "\n".join(problems(text))


def test_a_tab_is_named():
    """The commonest mistake that YAML's own words don't explain; nine lines that stand for a billion values end quickly."""
    (problem,) = problems(MINIMAL + "report:\n\tevery: week\n")
    assert problem == "unstick.yaml:14: the file is not valid YAML: a tab indents this line. Indent with spaces."
    (problem,) = problems(SHIPPED.replace("[a-z0-9][a-z0-9-]{0,39}", "[a-z", 1))
    assert ".allow." in problem
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    began = time.process_time()
    assert any("aliases" in one for one in problems("\n".join(lines)))
    assert time.process_time() - began < 3


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
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
    ("path_in", "says"),
    [
        (lambda path: path / "none.yaml", "no such file"),
        (lambda path: path, "can't be read"),
        (lambda path: path / "latin", "not UTF-8"),
    ],
)
def test_a_file_that_can_not_be_read(tmp_path, path_in, says):
    """The error names the path and what to do."""
    (tmp_path / "latin").write_bytes(b"a: \xe9\xff")
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(path_in(tmp_path))
    assert str(tmp_path) in str(caught.value)


# --- small parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30), ("5m", 300), ("1h", 3600), ("24h", 86400), ("2d", 172800), ("90", 90), ("1.5h", 5400), ("0", 0),
        ("5 m", 300), ("", None), ("m", None), ("-1s", None), ("1w", None), ("1h30m", None), ("1e3", None), ("٣s", None),
        ("9" * 40 + "s", None), (".5s", None),
    ],
)  # fmt: skip
def test_durations(text, expected):
    """A number with one unit, or plain seconds."""
    if expected is None:
        with pytest.raises(ValueError):
            read_duration(text)
    else:
        assert read_duration(text) == expected


def test_an_adapter_is_found_by_its_file():
    """Names lists without importing, and nothing is loaded that is not listed."""
    assert {"command", "rundeck"} <= set(adapter_names("runners"))
    assert "_shared" not in adapter_names("chats")
    for name in ("nothing", "_shared", "../errors", "__init__", "console.py"):
        with pytest.raises(KeyError):
            load_adapter("chats", name)
    with pytest.raises(ValueError, match="no kind of adapter"):
        adapter_names("cli")


def test_keys_of_several_systems():
    """A private CA of each system; who reads Japanese is in Japan, until the file says otherwise."""
    zones = [parse_config(MINIMAL + more).rules.time_zone for more in ("", "language: ja", "language: ja\ntime_zone: UTC")]
    assert zones == ["UTC", "Asia/Tokyo", "UTC"]
    text = MINIMAL.replace("token: env://RUNDECK_TOKEN", "token: env://R, ca: /etc/ca.pem")
    read = parse_config(text.replace("env://RABBITMQ_PASSWORD}", "env://P, ca: certificates}"))
    assert (read.runner.adapter.ca, read.symptoms["rabbitmq"].ca) == ("/etc/ca.pem", "certificates")


# --- what is made from the types -------------------------------------------------------------------------------------------


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
        MINIMAL,
        (ROOT / "unstick.yaml").read_text(encoding="utf-8"),
        changed("job: j-1", "job: j-1, options: {lines: 60}") + "    evidence: {job: j-2, options: {lines: 60}}",
    ],
    ids=["minimal", "example", "numbers in options"],
)
def test_the_schema_takes_what_is_read(text):
    """An editor shows no mistake where there is none."""
    checker = checker_of_the_schema()
    checker.check_schema(checker.schema)
    assert list(checker.iter_errors(yaml.safe_load(text))) == []
    assert isinstance(parse_config(text), Config)


@pytest.mark.parametrize(
    "mistake",
    [
        "stor: 1", "language: de", "storm: {within: soon}", "storm: {targets: 0}", "notify: console", "signing_keys: [literal]",
        "channels: {a: {type: nothing}}", "store: {local: {}}", "runbooks: [{name: a}]",
    ],
)  # fmt: skip
def test_the_schema_shows_mistakes(mistake):
    """An editor shows what stands in one place."""
    assert list(checker_of_the_schema().iter_errors({**yaml.safe_load(MINIMAL), **yaml.safe_load(mistake)}))
