"""What a notification of Grafana or Alertmanager says, and what is none."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from functions.adapters.grafana.request import parse
from functions.domain.model.alerts import Alert
from functions.runtime.errors import BadRequest
from testbed.recorded_grafana import RECORDINGS

TEST_BUTTON = {
    "20-test-contact-point", "31-test-contact-point-custom", "42-test-button-grafana-11", "43-test-button-grafana-11-custom",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RECORDINGS if name != "10-custom-payload"])
def test_recorded_notification_is_read(name):
    """Each recorded body is compared with counts that were made by other means."""
    recording = RECORDINGS[name]
    alerts, expect = parse(recording.body), recording.expect
    assert [alert.fingerprint for alert in alerts] == expect["fingerprints"]
    assert sum(alert.firing for alert in alerts) == expect["firing"]
    assert sum(not alert.firing for alert in alerts) == expect["resolved"]
    assert {alert.source for alert in alerts} == {_source(recording.body)}
    for alert in alerts:
        assert alert.firing == (alert.ends_at is None)
        assert 0 <= recording.at - alert.starts_at < 3 * 86_400
        assert alert.test == (name in TEST_BUTTON)
        assert not [key for key in (*alert.labels, *alert.annotations) if key.startswith("__")]


def _source(body: bytes) -> str:
    sent = json.loads(body)
    return f"{sent['externalURL']}#{sent.get('orgId', '')}"


def test_notification_of_grafana_in_full():
    """All that is kept of a recorded notification of Grafana."""
    url = "https://grafana.example.com"
    alert = Alert(
        fingerprint="8b6529b40b930461",
        source=f"{url}/#1",
        firing=True,
        labels={
            "alertname": "RabbitMQQueueStuck", "grafana_folder": "Mail", "instance": "rabbit1:15692", "queue": "mail.delivery",
            "service": "mail-delivery", "severity": "critical", "vhost": "/",
        },
        annotations={
            "description": "Queue mail.delivery on vhost / has 1520 ready messages and no acknowledgements for 10 minutes.",
            "runbook_url": "https://runbooks.example.com/rabbitmq/queue-stuck",
            "summary": "Queue mail.delivery is not draining",
        },
        starts_at=1_795_561_675.0,
        generator_url=f"{url}/alerting/grafana/eg5k2rmqstuck1/view?orgId=1",
        silence_url=f"{url}/alerting/silence/new?alertmanager=grafana&matcher=__alert_rule_uid__%3Deg5k2rmqstuck1"
        "&matcher=instance%3Drabbit1%3A15692&matcher=queue%3Dmail.delivery&matcher=service%3Dmail-delivery"
        "&matcher=severity%3Dcritical&matcher=vhost%3D%2F&orgId=1",
        dashboard_url=f"{url}/d/rmq-overview?from=1795558075000&orgId=1&to=1795561678327",
        panel_url=f"{url}/d/rmq-overview?from=1795558075000&orgId=1&to=1795561678327&viewPanel=12",
    )  # fmt: skip
    assert parse(RECORDINGS["02-hmac-timestamp-firing"].body) == (alert,)


def test_an_alertmanager_s_alert_leads_to_its_graph_itself_and_its_silence():
    """As Alertmanager's own pages write a filter. Grafana sends the same form for an imported one, with links of its own."""
    (alert,) = parse(RECORDINGS["am-01-firing-basic"].body)
    place = quote("{" + ",".join(f'{name}="{value}"' for name, value in sorted(alert.labels.items())) + "}", safe="")
    assert alert.panel_url.startswith("http://prometheus.example.com:9090/graph?g0.expr=rabbitmq_queue_messages_ready")
    assert alert.generator_url == f"http://alertmanager.example.com:9093/#/alerts?filter={place}"
    assert alert.silence_url == f"http://alertmanager.example.com:9093/#/silences/new?filter={place}"
    (imported, *_) = parse(RECORDINGS["27-imported-am-basic"].body)
    assert (imported.silence_url, imported.panel_url) == ("", "")
    assert "#" not in imported.generator_url


NOT_ONE = "The body is not a notification: "


def notification(**changes: Any) -> bytes:
    """A small notification with something changed in its only alert (`alert_` in front) or in the whole; `...` leaves it out."""
    alert = {
        "status": "firing", "labels": {"alertname": "X"}, "annotations": {}, "startsAt": "2026-11-24T23:07:55Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "https://g.example.com/rule", "fingerprint": "8b6529b40b930461",
    }  # fmt: skip
    whole = {"receiver": "ops", "status": "firing", "externalURL": "https://g.example.com/", "version": "1", "groupKey": "{}:{}"}
    for name, value in changes.items():
        (alert if name.startswith("alert_") else whole)[name.removeprefix("alert_")] = value
    whole.setdefault("alerts", [{name: value for name, value in alert.items() if value is not ...}])
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T23:07:55Z", 1_795_561_675.0), ("2026-11-25T08:07:55+09:00", 1_795_561_675.0),
        ("2026-11-24T18:37:55.123456789-04:30", 1_795_561_675.123457), ("0002-01-01T00:00:00Z", -62_104_060_800.0),
        *((none, None) for none in ("0001-01-01T09:18:59+09:18", "0000-12-31T19:03:58-04:56", "", None, ...)),
    ],
)  # fmt: skip
def test_times_are_read_to_the_microsecond(text, at):
    """In any time zone, and from Go's year 2 on. Grafana's year 1, and whatever a template leaves out, is no end."""
    assert parse(notification(alert_endsAt=text))[0].ends_at == (at and pytest.approx(at, abs=1e-6, rel=0))


@pytest.mark.parametrize(
    "text",
    [
        "", "1795561675", "2026-11-24", "2026-11-24 23:07:55Z", "2026-11-24T23:07:55", "20261124T230755Z", "2026-02-30T00:00:00Z",
        "2026-11-24T24:00:00Z", "2026-11-24T23:07:55.1234567890Z", "2026-11-24T23:07:55+0900", "2026-11-24T23:07:55Z\n",
        "２０２６-11-24T23:07:55Z",
    ],
)  # fmt: skip
def test_broken_times_are_refused(text):
    """What is not an RFC 3339 time is refused with its place, at the start as at the end."""
    for field in ("startsAt", *(["endsAt"] if text else [])):
        with pytest.raises(BadRequest) as caught:
            parse(notification(**{f"alert_{field}": text}))
        assert caught.value.status == 400
        assert caught.value.sentence.startswith(f"`$.alerts[0].{field}` is not an RFC 3339 time.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *((body, NOT_ONE) for body in (b"", b"<html>", b'{"alerts":[', b'{"a":NaN}', notification(alerts=[]))),
        (RECORDINGS["10-custom-payload"].body, NOT_ONE + "Object missing required field `alerts`"),
        (b'{"alerts":[1]}', NOT_ONE + "Expected `object`, got `int` - at `$.alerts[0]`."),
        (notification(alert_labels={"secret": 1}), NOT_ONE + "Expected `str`, got `int` - at `$.alerts[0].labels[...]`."),
        *((notification(**{f"alert_{name}": ...}), f"{NOT_ONE}Object missing required field `{name}` - at `$.alerts[0]`.")
            for name in ("labels", "fingerprint", "status", "startsAt")),
        (notification(alert_startsAt="0001-01-01T00:00:00Z"), "`$.alerts[0].startsAt` is not an RFC 3339 time."),
        (notification(alert_status="pending"), NOT_ONE + "Invalid enum value 'pending' - at `$.alerts[0].status`."),
        (notification(alert_status="x" * 5000), NOT_ONE + "Invalid enum value 'xxx"),
        *((notification(alert_fingerprint=wrong), NOT_ONE + "Expected `str` matching regex ")
            for wrong in ("8b65 9b40b930461", "f" * 65, "8b6529b40b930461\n", "")),
        (notification(version="3"), NOT_ONE + "Invalid enum value '3' - at `$.version`."),
        *((notification(**wrong), NOT_ONE) for wrong in ({"orgId": 2**53 + 1}, {"orgId": "1"})),
        (b"[" * 1_000_000, NOT_ONE),
        (b'{"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", NOT_ONE + "maximum recursion depth exceeded"),
        (b'{"orgId":' + b"1" * 1_000_000 + b"}", NOT_ONE),
    ],
)  # fmt: skip
def test_what_is_no_notification_is_refused_with_the_remedy(body, said):
    """Whoever knows the secret but sends something else gets 400 and is told what to do about it."""
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.sentence.startswith(said)
    assert caught.value.sentence.endswith(
        'If the contact point has a custom payload, remove it or make it {{ template "webhook.default.payload" . }}.'
    )
    assert len(caught.value.sentence.encode()) <= 1024


@pytest.mark.parametrize(
    "body",
    [
        notification(values={"A": 1}, message=None, title=7, state=["x"], newField={"deep": [1, {}]}),
        notification(alert_values={"A": 1e300, "B": -0.0}, alert_orgId="x", alert_ruleUID=None),
        notification(version=..., receiver=..., groupKey=..., externalURL=..., alert_annotations=...),
        notification(orgId=None, status="nonsense"),
        b'{"bomb":' + b"9" * 100_000 + b"," + notification()[1:],
        b'{"bomb":1e400,' + notification()[1:],
        b'{"bomb":"\xff",' + notification()[1:],
    ],
)
def test_what_is_not_needed_is_passed_over(body):
    """New, missing and odd fields that decide nothing do not cost an alert."""
    (alert,) = parse(body)
    assert (alert.fingerprint, alert.firing, alert.starts_at, alert.name) == ("8b6529b40b930461", True, 1795561675.0, "X")


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({}, True),
        ({"alert_generatorURL": "?orgId=7"}, True),
        ({"alert_generatorURL": ...}, True),
        ({"alert_ruleUID": ""}, True),
        ({"receiver": "test", "groupKey": "test-57c6d9296de2ad39-1795561723"}, True),
        ({"receiver": "mail {1}", "groupKey": "mail {1}-57c6d9296de2ad39-1795561723"}, True),
        ({"groupKey": "whatever a later release writes"}, True),
        ({"groupKey": '{}:{alertname="webhook-"}'}, False),
        ({"groupKey": ...}, False),
        ({"alert_ruleUID": "eg5k"}, False),
        ({"alert_generatorURL": "https://g.example.com/rule"}, False),
    ],
)
def test_the_test_button_is_known_by_all_its_signs(changes, test):
    """I3: an alert that no policy has sent and that no rule has made restarts nothing, whichever release made it."""
    signs = {"receiver": "webhook", "groupKey": "webhook-57c6d9296de2ad39-1795561723", "alert_generatorURL": ""}
    body = notification(**signs | changes)
    assert parse(body)[0].test is test


@pytest.mark.parametrize(
    "url",
    [
        "", "?orgId=7", "/relative", "javascript:alert(1)", "data:text/html,x", "https://a b", "https://x/\u0000",
        "https://x/\u202egpj.exe", " https://x/", "//x/",
    ],
)  # fmt: skip
def test_links_that_nobody_should_follow_are_dropped(url):
    """Only http and https links without blanks, control and invisible characters reach people."""
    fields = {f"alert_{name}URL": url for name in ("generator", "silence", "dashboard", "panel")}
    (alert,) = parse(notification(**fields))
    assert (alert.generator_url, alert.silence_url, alert.dashboard_url, alert.panel_url) == ("", "", "", "")
