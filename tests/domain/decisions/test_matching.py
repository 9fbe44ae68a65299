"""Which runbook takes an alert, and what it asks to be restarted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import name_queue, to_queue
from functions.config.formats import parse_matcher
from functions.domain.decisions.matching import (
    HOLDER_HOST,
    list_hosts,
    match_alerts,
    matches,
    name_host,
    render_evidence,
    target_key,
)
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.codes import Mode, Reason
from functions.domain.model.incidents import Evidence
from functions.domain.model.runbooks import EvidenceJob, Matcher, Restart, Rules, Runbook, Symptom

URL = "http://127.0.0.1:4440"
LABELS = {"alertname": "RabbitMQQueueStuck", "service": "mail-1", "vhost": "/", "queue": "mail.送信"}
RUNBOOK = Runbook(
    name="mail",
    match=(Matcher("alertname", "=", "RabbitMQQueueStuck"), Matcher("service", "=~", "mail-.*")),
    restart=Restart("job-1", {"service": "${labels.service}", "env": "prod"}, {"service": "[a-z0-9][a-z0-9-]{0,39}"}),
    symptom=Symptom("rabbitmq", {"vhost": "${labels.vhost}", "queue": "${labels.queue}"}),
    mode=Mode.AUTO,
)


def alert(labels: dict[str, str] | None = None, *, firing: bool = True, test: bool = False) -> Alert:
    return Alert("f" * 16, "grafana#1", firing, LABELS if labels is None else labels, {}, 1.0, test=test)


def case_of(labels: dict[str, str], *runbooks: Runbook, **more: bool) -> MatchedAlert:
    (case,) = match_alerts(Rules({one.name: one for one in runbooks or (RUNBOOK,)}), URL, [alert(labels, **more)], name_queue)
    return case


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ('service="mail"', ("service", "=", "mail")),
        ("service=mail", ("service", "=", "mail")),
        (' service != "mail" ', ("service", "!=", "mail")),
        ('service=~"mail-.*"', ("service", "=~", "mail-.*")),
        ("service!~mail|web", ("service", "!~", "mail|web")),
        ('service=""', ("service", "=", "")),
        ("service=", ("service", "=", "")),
        ('service="a b, {c}"', ("service", "=", "a b, {c}")),
        (r'service="a\"b\\c\nd"', ("service", "=", 'a"b\\c\nd')),
        (r'service=~"\d+\.x"', ("service", "=~", r"\d+\.x")),
        ('"service name"="a"', ("service name", "=", "a")),
        (r'"ser\"vice"="a"', ('ser"vice', "=", "a")),
        ("service.name=a", ("service.name", "=", "a")),
        ("キュー=~送信.*", ("キュー", "=~", "送信.*")),
        ('a="=~"', ("a", "=", "=~")),
        ("a==b", ("a", "=", "=b")),
    ],
)
def test_matchers_are_read_as_alertmanager_does(text, matcher):
    """Quoted and bare values, escapes, backslashes that escape nothing, and names in any script."""
    assert parse_matcher(text) == Matcher(*matcher)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "is not a matcher"), ("service", "is not a matcher"), ("=mail", "is not a matcher"),
        ('a b="c"', "is not a matcher"), ("{a=b}", "is not a matcher"), ("a>b", "is not a matcher"),
        *((text, "is not a matcher") for text in ('a="b', 'a="', 'a="b" x', 'a="b"c"', 'a=b"c', 'a="b",c="d"')),
        *((text, "is not a matcher") for text in ("a=b,c=d", "a=b}", 'a="b\\"', "a=b\\")),
        ('a=~"("', "not a regular expression of RE2 (missing ))"),
        ('a=~"(?=b)"', "RE2 (invalid perl operator)"), (r'a!~"(b)\1"', "invalid escape sequence"),
        ('a=~"b{2000}"', "invalid repetition"), ('a=~"\ud800"', "not valid Unicode"),
    ],
)  # fmt: skip
def test_what_is_no_matcher_says_why(text, mistake):
    """The sentence goes behind the place in the configuration's mistakes."""
    with pytest.raises(ValueError) as caught:
        parse_matcher(text)
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("a=x", "x", True), ("a=x", "xx", False), ("a=x", None, False), ("a!=x", "y", True), ("a!=x", None, True),
        ("a!=x", "x", False), ("a=", None, True), ("a=", "", True), ("a!=", None, False), ("a!=", "x", True),
        ("a=~x.*", "xyz", True), ("a=~x", "xy", False), ("a=~y", "xy", False), ("a=~.*", None, True), ("a=~.+", None, False),
        ("a=~x|y", "y", True), ("a=~x|y", "xz", False), ("a!~x.*", "y", True), ("a!~x.*", "xyz", False), ("a!~.+", None, True),
        ("a=~x", "x\n", False), ("a=~x$", "x\n", False), ("a=~.送", "配送", True), ("a=~(?i)mail", "MAIL", True),
        ("a=~.*", "x" * 1024, True), ("a=~.*", "x" * 1025, False), ("a!~y.*", "x" * 1025, False), ("a=~.*", "\ud800", True),
        ("a!~y", "\ud800", True),
    ],
)  # fmt: skip
def test_matching(text, value, expected):
    """Regular expressions must match the whole value; a missing label is the empty one; a huge value satisfies neither side."""
    assert matches(parse_matcher(text), {} if value is None else {"a": value}) is expected


def test_an_alert_becomes_a_target_and_a_queue():
    """Options are rendered, the key follows from URL, job and options alone; the host comes when the run is ordered."""
    case = case_of(LABELS)
    assert (case.runbook, case.reason, case.detail) == (RUNBOOK, None, "")
    assert case.target.options == {"service": "mail-1", "env": "prod"}
    assert (case.target.url, case.target.job) == (URL, "job-1")
    assert case.queue == to_queue("/", "mail.送信")
    assert case.target.key == target_key(URL, "job-1", {"env": "prod", "service": "mail-1"}) == "40cebf0fd60bfa1241a3"
    begun = render_evidence(HOSTS, LABELS)
    assert begun == Evidence({"level": "#1", "zone": "z"})
    assert list_hosts(HOSTS, ["h1", "h2", "h1"]) == ["h1", "h2"]
    assert name_host(HOSTS, begun.options, "h1") == {"level": "#1", "zone": "z", "host": "h1", "node": "h1"}


def test_what_makes_a_target():
    """Another queue, name of the runbook or order of options is the same target; another URL, job or value is another one."""
    same = case_of({**LABELS, "queue": "other"}, replace(RUNBOOK, name="else")).target
    key = same.key
    assert case_of(LABELS).target.key == key
    keys = {
        target_key("http://h", "job-1", same.options),
        target_key(URL, "job-2", same.options),
        target_key(URL, "job-1", {"env": "prod"}),
        key,
    }
    assert len(keys) == 4
    assert all(len(one) == 20 and int(one, 16) >= 0 for one in keys)
    assert target_key("a", "b", {"c": 'd","e'}) != target_key("a", "b", {"c": "d", "e": ""})


@pytest.mark.parametrize(
    ("labels", "test", "reason", "runbook", "detail"),
    [
        (LABELS, True, Reason.TEST_ALERT, None, ""),
        ({"alertname": "DatasourceNoData"}, True, Reason.TEST_ALERT, None, ""),
        ({**LABELS, "alertname": "DatasourceNoData"}, False, Reason.MONITORING_FAILURE, None, "DatasourceNoData"),
        (
            {**LABELS, "alertname": "DatasourceError", "rulename": "RabbitMQQueueStuck"}, False, Reason.MONITORING_FAILURE,
            "mail", "DatasourceError",
        ),
        ({"alertname": "Other"}, False, Reason.NO_RUNBOOK, None, ""),
        ({}, False, Reason.NO_RUNBOOK, None, ""),
    ],
)  # fmt: skip
def test_why_there_is_no_target(labels, test, reason, runbook, detail):
    """A contact point's test, a failure of the monitoring itself (told to its rule's runbook), or no runbook; in this order."""
    case = case_of(labels, test=test)
    assert (case.reason, case.runbook and case.runbook.name, case.target, case.queue, case.detail) == (
        reason, runbook, None, None, detail,
    )  # fmt: skip


LONG = "x" * 100_000
INVALID = [
    ("service", None, 'option service: the alert has no label "service"'),
    ("service", "", 'option service: the alert has no label "service"'),
    ("service", "mail-1;reboot", 'option service (from label service): it does not match its `allow` pattern: "mail-1;reboot"'),
    ("service", "mail-$(id)", "does not match"),
    ("service", "--help", 'option service (from label service): it begins like an option of a command: "--help"'),
    ("service", "mail-${labels.queue}", "does not match"),
    ("service", "mail-1\n", 'it contains control characters: "mail-1\\n"'),
    ("service", "mail-\x1b[31m", 'it contains control characters: "mail-\\x1b[31m"'),
    ("service", "mail-\ud800", "it contains control characters"),
    ("service", "mail-" + "a" * 41, "does not match"),
    ("service", "mail-" + LONG, 'label "service": 100,005 characters, the limit is 1,024: "mail-xxx'),
    ("vhost", None, 'vhost: the alert has no label "vhost"'),
    ("queue", None, 'queue: the alert has no label "queue"'),
    ("queue", "q\x00", 'queue: it contains control characters: "q\\x00"'),
    ("queue", "q\u2028", 'queue: it contains control characters: "q\\u2028"'),
    ("queue", "あ" * 86, "queue: 258 bytes, the limit is 255"),
    ("queue", LONG, 'queue, label "queue": 100,000 characters, the limit is 1,024'),
]


@pytest.mark.parametrize(("label", "value", "detail"), INVALID)
def test_a_label_that_may_not_be_used_holds_the_restart(label, value, detail):
    """No value reaches job or URL that is missing, hostile or huge; the detail names it escaped and short (I8)."""
    labels = {**LABELS, label: value} if value is not None else {name: one for name, one in LABELS.items() if name != label}
    wide = replace(RUNBOOK, match=(Matcher("alertname", "=", "RabbitMQQueueStuck"),))
    case = case_of(labels, wide)
    assert (case.reason, case.runbook, case.target, case.queue) == (Reason.INVALID_OPTION, wide, None, None)
    assert detail in str(case.detail)
    assert len(str(case.detail)) < 300
    assert str(case.detail).isprintable()


@given(
    st.dictionaries(
        st.sampled_from(["service", "vhost", "queue", "alertname", "rulename"]),
        st.text(st.characters(), max_size=300),
        max_size=5,
    )
)
def test_any_labels_end_in_a_target_that_is_allowed_or_a_reason(labels):
    """Whatever the labels hold, a target's options match their patterns, and nothing raises (I8)."""
    case = case_of({**labels, "alertname": labels.get("alertname", "RabbitMQQueueStuck")}, replace(RUNBOOK, match=()))
    if case.target is None:
        assert case.reason is not None
        assert str(case.detail).isprintable()
    else:
        service = case.target.options["service"]
        assert 1 <= len(service) <= 40
        assert set(service) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


HOSTS = EvidenceJob("j", {"level": "#1", "host": HOLDER_HOST, "node": HOLDER_HOST, "zone": "z"}, {"host": "h.*", "node": ".*"})


@pytest.mark.parametrize(
    ("allow", "host", "fits"),
    [
        ({"host": "h.*"}, "", False),
        ({}, "h1", False),
        ({"host": "h"}, "h1", False),
        ({"host": "h+"}, "h" * 1025, False),
        ({"host": "h+"}, "h" * 1024, True),
    ],
)
def test_a_host_that_may_not_be_used_is_left_out(allow, host, fits):
    """I8: the job runs on its own default."""
    job = EvidenceJob("j", {"host": "".join(HOLDER_HOST)}, allow)
    assert list_hosts(job, [host]) == ([host] if fits else [])
    assert name_host(job, {}, "") == {}


def test_a_fixed_option_is_used_as_it_is_unless_a_pattern_is_given():
    """The pattern sees the rendered option; a fixed one only has to match where a pattern is given."""
    fixed = Restart("j", {"env": "prod"}, {})
    assert case_of(LABELS, replace(RUNBOOK, restart=fixed)).target.options == {"env": "prod"}
    assert case_of(LABELS, replace(RUNBOOK, restart=replace(fixed, allow={"env": "prod|test"}))).target is not None
    assert case_of(LABELS, replace(RUNBOOK, restart=replace(fixed, allow={"env": "test"}))).reason is Reason.INVALID_OPTION
    restart = Restart("j", {"target": "host-${labels.service}.${labels.vhost}"}, {"target": "host-[a-z0-9-]+\\.[a-z]+"})
    runbook = replace(RUNBOOK, match=(), restart=restart)
    case = case_of({**LABELS, "vhost": "main"}, runbook)
    assert case.target.options == {"target": "host-mail-1.main"}
    assert case_of(LABELS, runbook).reason is Reason.INVALID_OPTION
    anything = replace(runbook, restart=replace(restart, allow={"target": "(?s).*"}))
    assert case_of({**LABELS, "vhost": "a\nb"}, anything).reason is Reason.INVALID_OPTION
    unlimited = replace(runbook, restart=Restart("j", {"target": "${labels.long}"}))
    assert {case_of({**LABELS, "long": value}, unlimited).reason for value in ("x", "#1")} == {Reason.INVALID_OPTION}
    of_two = replace(runbook, restart=Restart("j", {"target": "${labels.long}${labels.long}"}, {"target": "x*"}))
    assert case_of({**LABELS, "long": "x" * 512}, of_two).target is not None
    said = str(case_of({**LABELS, "long": "x" * 513}, of_two).detail)
    assert said.startswith("option target (from label long): 1,026 characters, the limit is 1,024: ")
