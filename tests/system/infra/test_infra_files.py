"""Grafana, Docker and systemd: files that are read by programs which are not here, or only in part.

Grafana's files are parsed and compared with each other, its alert rule's query is run by promtool, and the units are verified by
systemd. Docker's own plugin takes the compose file in nightly.yml.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.config.loader import parse_config
from functions.domain.decisions.matching import matches
from tests.support.needs import need

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"
ALERTING = INFRA / "grafana" / "provisioning" / "alerting"
DOCKER = INFRA / "docker"
EXAMPLES = [INFRA / "unstick.cloud.yaml", INFRA / "systemd" / "unstick.yaml", DOCKER / "lab" / "unstick.yaml"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


GROUPS = read(ALERTING / "alert-rule.yaml")["groups"]
SUSPICION, ALERT = (rule for group in GROUPS for rule in group["rules"])
"""What goes to Unstick after seconds, and what goes to people after minutes."""

each_rule = pytest.mark.parametrize("rule", [SUSPICION, ALERT], ids=lambda rule: rule["title"])


def test_the_contact_point_signs_with_a_timestamp_under_the_names_that_unstick_expects() -> None:
    """Grafana's and Unstick's sides are written in two files, and a difference between them answers every alert 401."""
    receiver = read(ALERTING / "contact-point.yaml")["contactPoints"][0]["receivers"][0]
    signing = receiver["settings"]["hmacConfig"]
    for file in EXAMPLES:
        expected = read(file)["grafana"]["auth"]["hmac"]
        assert (signing["header"], signing["timestampHeader"]) == (expected["header"], expected["timestamp_header"])
    assert signing["secret"] == "$UNSTICK_HMAC_SECRET"
    assert (receiver["type"], receiver["settings"]["httpMethod"], receiver["disableResolveMessage"]) == ("webhook", "POST", False)


def test_policy_rules_and_mute_timing_fit_together() -> None:
    """The suspicion takes the route to Unstick at once, the alert the root's to people; receivers exist, nothing is muted."""
    policy = read(ALERTING / "notification-policy.yaml")["policies"][0]
    (route,) = policy["routes"]
    folders = {ALERTING: ALERTING, INFRA / "grafana" / "bearer": ALERTING}
    for signing, others in folders.items():
        files = [signing / "contact-point.yaml", others / "people.yaml"]
        points = [point["name"] for file in files for point in read(file)["contactPoints"]]
        # Grafana ends at its start where a policy names one that is nowhere; a fresh one has none of its own since 12.4.
        assert set(points) == {policy["receiver"], *(route["receiver"] for route in policy["routes"])}
    assert all(SUSPICION["labels"][label] == value for label, _, value in route["object_matchers"])
    assert not any(ALERT["labels"].get(label) == value for label, _, value in route["object_matchers"])
    assert "continue" not in route
    assert "mute_time_intervals" not in route
    assert read(ALERTING / "mute-timing.yaml")["muteTimes"][0]["name"]
    assert (route["group_wait"], SUSPICION["for"], GROUPS[0]["interval"]) == ("0s", "0s", "10s")


@each_rule
def test_the_rules_alert_is_taken_by_the_examples_runbook(rule: Any) -> None:
    """The title becomes `alertname`; it and `service` are what the runbooks of the examples match, whichever route it takes."""
    labels = rule["labels"] | {"alertname": rule["title"], "vhost": "/", "queue": "mail.delivery"}
    for file in EXAMPLES:
        (runbook,) = parse_config(file.read_text(encoding="utf-8"), name=file.name, on_cloud_run=False).rules.runbooks.values()
        assert all(matches(matcher, labels) for matcher in runbook.match), file


@each_rule
def test_the_rule_points_to_a_panel_and_a_data_source_that_exist(rule: Any) -> None:
    """The alert's dashboard link, which Unstick hands on to people, leads somewhere."""
    dashboard = json.loads((INFRA / "grafana" / "dashboards" / "unstick.json").read_text(encoding="utf-8"))
    assert rule["annotations"]["__dashboardUid__"] == dashboard["uid"]
    assert int(rule["annotations"]["__panelId__"]) in {panel["id"] for panel in dashboard["panels"]}
    source = read(INFRA / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")["datasources"][0]["uid"]
    assert {query["datasourceUid"] for query in rule["data"]} == {source, "__expr__"}
    assert rule["condition"] in {query["refId"] for query in rule["data"]}
    assert {annotation["name"] for annotation in dashboard["annotations"]["list"]} == {
        "Alerts", "Consumers gone", "Moving again", "Unstick",
    }  # fmt: skip


def rule_of_prometheus(name: str) -> Any:
    groups = read(INFRA / "prometheus" / "rules.yml")["groups"]
    (rule,) = [one for group in groups for one in group["rules"] if one.get("alert") == name]
    return rule


@each_rule
def test_grafanas_rules_are_those_of_prometheus(rule: Any) -> None:
    """Whoever changes a window in one file changes it in the other."""
    other = rule_of_prometheus(rule["title"])
    inner, _, service = other["expr"].removeprefix("label_replace(").rpartition(',\n  "service"')
    assert service
    own, _, zeros = rule["data"][0]["model"]["expr"].strip().removeprefix("(").rpartition(")\nor 0 *")
    assert zeros
    # Grafana has no recording rules: it names the queues, and what was recorded, in each place.
    counter, consumers = (f"rabbitmq_detailed_queue_{name}" for name in ("messages_delivered_ack_total", "consumers"))
    served = f"max_over_time({counter}[1d])\nunless on (job, vhost, queue) max_over_time({consumers}[1d]) > 0"
    inner = inner.replace("max_over_time(unstick:served_queues[1d])", served)
    assert own.replace('{queue=~"mail[.]delivery"}', "").split() == inner.split()
    assert rule["for"] == other.get("for", "0s")
    # Grafana's provisioning puts the environment's variables in place of `$NAME`: `$values` would be gone.
    assert [text for text in rule["annotations"].values() if "$" in text] == []


@pytest.mark.parametrize("name", ["consumers", "acked"])
def test_what_grafana_asks_of_the_day_before_is_what_prometheus_asks(name: str) -> None:
    """For each queue instead of one, in a query instead of an annotation; history_test.yml tests what it finds."""
    (query,) = [one["model"]["expr"] for one in SUSPICION["data"] if one["refId"] == name]
    own = query.replace(" by (job, vhost, queue) ", "").replace('{queue=~"mail[.]delivery"}', "")
    (other,) = re.findall("`(.*?)`", rule_of_prometheus(SUSPICION["title"])["annotations"][f"unstick_{name}_1d"], re.DOTALL)
    assert own.split() == other.replace("{job=%[1]q, vhost=%[2]q, queue=%[3]q}", "").split()


@each_rule
def test_the_rules_query_tells_stuck_from_busy_and_from_missing(rule: Any, tmp_path: Path) -> None:
    """Above zero for a stuck queue, zero for a busy one, no line only where there are no figures. Its inner part is that of
    Prometheus' rule, which has tests of its own.
    """
    query = f"({rule['data'][0]['model']['expr']})"
    samples = [
        {"labels": f'{{job="rabbitmq", vhost="{vhost}", queue="mail.delivery"}}', "value": value}
        for vhost, value in (("stuck", 5), ("busy", 0))
    ]
    recorded = [
        {"series": f'rabbitmq_detailed_{metric}{{job="rabbitmq", vhost="{vhost}", queue="{queue}"{labels}}}', "values": figures}
        for vhost, acked in (("stuck", "7x120"), ("busy", "0+10x120"))
        for queue in ("mail.delivery", "other.queue")
        for metric, labels, figures in (
            ("queue_messages_ready", "", "5x120"),
            ("queue_messages_unacked", "", "0x120"),
            ("channel_messages_acked_total", f', channel="{vhost}"', acked),
        )
    ]
    asked = {"expr": query, "eval_time": "10m"}
    tests = [
        {"interval": "5s", "input_series": recorded, "promql_expr_test": [asked | {"exp_samples": samples}]},
        {"interval": "15s", "input_series": [], "promql_expr_test": [asked | {"exp_samples": []}]},
    ]
    need("prometheus")
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": tests}), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, check=False)
    assert (done.returncode, "SUCCESS" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_lab_listens_on_loopback_only_and_every_file_that_it_mounts_is_there() -> None:
    """A lab has weak spots by design; what a hole in the function gives is its own secrets, and nothing of the machine."""
    services = read(DOCKER / "compose.yaml")["services"]
    assert set(services) == {"unstick", "set-up", "application", "publisher", "rabbitmq", "rundeck", "prometheus", "grafana"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (DOCKER / volume.split(":")[0]).exists(), volume
    unstick = read(DOCKER / "compose.yaml")["services"]["unstick"]
    assert unstick["read_only"]
    assert unstick["cap_drop"] == ["ALL"]
    assert unstick["security_opt"] == ["no-new-privileges:true"]
    stages = (DOCKER / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    final = next(stage for stage in stages if stage.startswith("python:3.13-slim AS unstick"))
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["10001:10001"]
    assert stages[-1].strip() == "unstick"


UNITS = [
    "unstick.service", "unstick@.service", "unstick-run@.service", "unstick-report.timer",
    "unstick-health.timer", "unstick-health.service", "unstick-failed@.service",
]  # fmt: skip


@pytest.fixture
def analyze(tmp_path: Path) -> Any:
    need("systemd")
    for name in UNITS:
        text = (INFRA / "systemd" / name).read_text(encoding="utf-8")
        # The programs of the units must exist for the verifier, and are not installed here.
        (tmp_path / name).write_text(re.sub(r"/opt/unstick/\.venv/bin/\S+", sys.executable, text), encoding="utf-8")

    def run(*arguments: str) -> str:
        done = subprocess.run(["systemd-analyze", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_systemd_finds_no_mistake_in_the_units(analyze: Any) -> None:
    """An unknown setting is only a line in the journal at run time, and a protection that is not there."""
    names = [f"./{name.replace('@.', '@1.')}" for name in UNITS]
    assert "unstick" not in analyze("verify", "--man=no", "--recursive-errors=no", *names)


@pytest.mark.parametrize("unit", UNITS[:3])
def test_systemd_finds_little_that_the_service_could_harm(analyze: Any, unit: str) -> None:
    """`systemd-analyze security` gives 0 (safe) to 10; without any hardening a service gets 9.6."""
    assert "Overall exposure" in analyze("security", "--offline=true", "--no-pager", "--threshold=20", f"./{unit}")
