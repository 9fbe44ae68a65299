"""`send` and `drill`, against Unstick in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request as Posted
from urllib.request import urlopen

import pytest
import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.adapters.grafana.auth import authenticate
from functions.domain.cards import drill_card
from functions.domain.decisions.matching import target_key
from functions.domain.model.alerts import Target
from functions.domain.model.runbooks import Rules
from functions.entrypoints import drill
from functions.runtime.text import in_language
from testbed.broker import free_ports
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import BUDGET, Unstick, alert, configuration, job_id, notification, runbook
from tests.cli.line import FIRING, Line
from unstick import late_start

SERVICE = {"service": "mail-delivery"}


@contextmanager
def deployed(here: Line) -> Iterator[Unstick]:
    """Unstick serves, and the command line has its configuration."""
    observed = [runbook("mail-delivery", mode="observe")]
    unstick = Unstick(here.folder / "served", configuration(here.rundeck.url, here.rabbit.url, observed, budget=BUDGET))
    file = {"local": {"path": str(unstick.database)}}
    settings = yaml.safe_load((unstick.folder / "unstick.yaml").read_text())
    settings |= {"public_url": unstick.url.rstrip("/"), "store": file, "scheduler": file}
    (unstick.folder / "unstick.yaml").write_text(yaml.safe_dump(settings))
    here.config.write_text(yaml.safe_dump(settings))
    with unstick:
        yield unstick


def test_send_posts_what_grafana_would(here: Line, httpserver: HTTPServer) -> None:
    """Signed with the first secret; --restamp lets the alerts begin now; any 2xx is code 0."""
    taken: list[Request] = []

    def take(request: Request) -> Response:
        taken.append(request)
        return Response(json.dumps({"incidents": [{"id": "i-1", "target": "t", "action": "held", "reason": "cooldown"}]}))

    httpserver.expect_request("/hook", method="POST").respond_with_handler(take)
    shown = here.run("send", FIRING, httpserver.url_for("/hook"), "--restamp", code=0).stdout
    assert "t: held (cooldown), incident i-1" in shown
    body = taken[0].get_data()
    assert body != json.loads(Path(FIRING).read_text())["request"]["body"].encode()
    authenticate(here.ports.config.grafana.auth, dict(taken[0].headers), body, here.ports.now())


@pytest.mark.parametrize("arguments", [("send", FIRING, "http://127.0.0.1:1/"), ("drill", "--url", "http://127.0.0.1:1/")])
def test_a_secret_that_is_missing_is_code_1(here: Line, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """As for `check`: the file is right, and something outside of it is not."""
    monkeypatch.delenv("GRAFANA_HMAC_SECRET")
    assert "Set the environment variable GRAFANA_HMAC_SECRET" in here.run(*arguments, code=1).stderr


def test_an_answer_that_is_no_is_code_1(here: Line, httpserver: HTTPServer) -> None:
    """401: what the webhook says is shown."""
    httpserver.expect_request("/").respond_with_json({"error": "The signature does not match"}, status=401)
    assert "The signature does not match" in here.run("send", FIRING, httpserver.url_for("/"), code=1).stdout


def test_send_and_drill_through_the_whole_line(here: Line) -> None:
    """A real alert is taken as such; then the drill's alerts go by webhook and scheduler, and restart nothing."""
    with deployed(here) as unstick:
        taken = here.json("send", FIRING, unstick.url, "--restamp")
        assert taken["answer"]["incidents"][0]["reason"] == "observe_only"
        drilled = here.json("drill")
        assert [(leg["name"], leg["ok"]) for leg in drilled["legs"]] == [(n, True) for n in ("webhook", "scheduler")]
        assert drilled["told"] == {"console": ""}
        assert not unstick.cards("Test button")
        incidents = [document["incident"] for document in unstick.open_documents().values() if document["incident"]]
        assert [one["phase"] for one in incidents] == ["observing"], "only the real alert is followed"
    assert here.rundeck.posts() == []


def test_a_drill_with_the_wrong_secret(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails at the webhook, says why, tells people, and goes no further."""
    with deployed(here):
        monkeypatch.setenv("GRAFANA_HMAC_SECRET", "another")
        result = here.run("drill", "--json", code=1)
    drilled = json.loads(result.stdout)
    assert [(leg["name"], leg["ok"]) for leg in drilled["legs"]] == [("webhook", False)]
    assert "401" in drilled["legs"][0]["detail"]
    assert "The drill failed at: Webhook" in result.stderr


def test_a_drill_with_a_wrong_url_alarms_nobody(here: Line, httpserver: HTTPServer) -> None:
    """Whoever mistyped it sees it on the terminal; in the chat it would look like an outage."""
    httpserver.expect_request("/").respond_with_data("no such page", status=404)
    for url in (httpserver.url_for("/"), "http://127.0.0.1:1/"):
        result = here.run("drill", "--url", url, "--json", code=1)
        drilled = json.loads(result.stdout)
        assert [(leg["name"], leg["ok"]) for leg in drilled["legs"]] == [("webhook", False)]
        assert drilled["told"] == {}
        assert "ACT NOW" not in result.stderr
        shown = here.run("drill", "--url", url, code=1).stderr
        assert "Nothing of Unstick's answered there, so nobody was notified." in shown
        assert '{"severity"' not in shown


def test_a_drill_on_another_store(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The webhook answers, but saves elsewhere than this configuration says: the second leg fails."""
    monkeypatch.setattr(drill, "SCHEDULER_S", 1.0)
    with deployed(here) as unstick:
        here.configured(public_url=unstick.url.rstrip("/"))
        drilled = here.json("drill", "--no-post", code=1)
    assert [(leg["name"], leg["ok"]) for leg in drilled["legs"]] == [("webhook", True), ("scheduler", False)]
    assert "has this store" in drilled["legs"][1]["remedy"]
    assert drilled["told"] == {}


# --- the job refuses a late start --------------------------------------------------------------------------------------


def test_the_job_proves_that_it_refuses(here: Line) -> None:
    """A start an hour late is asked for once, and carried out never."""
    target = Target(
        target_key(here.rundeck.url, job_id("mail-delivery"), SERVICE), here.rundeck.url, job_id("mail-delivery"), SERVICE
    )
    assert late_start.refusal(here.ports, target).ok
    assert len(here.rundeck.posts()) == 1
    assert here.rundeck.state.carried_out == []


def test_a_job_without_the_guard_is_not_asked(here: Line) -> None:
    """It would restart: nothing is posted, and the remedy is shown."""
    next(iter(here.rundeck.state.jobs.values())).guard = False
    target = Target("k", here.rundeck.url, job_id("mail-delivery"), SERVICE)
    leg = late_start.refusal(here.ports, target)
    assert not leg.ok
    assert "infra/rundeck/job.yaml" in str(leg.remedy)
    assert here.rundeck.posts() == []


def test_a_guard_that_does_not_work_is_found_out(here: Line) -> None:
    """The definition looks right, but a node's clock is two hours behind: the run is not refused, and that is said."""
    here.rundeck.state.node_ahead_s = -7200
    target = Target("k", here.rundeck.url, job_id("mail-delivery"), SERVICE)
    leg = late_start.refusal(here.ports, target)
    assert not leg.ok
    assert "not refused" in str(leg.detail)


@pytest.mark.parametrize(("nodes", "unreachable", "why"), [
    ("tags: nobody", set(), "No matched nodes"),
    ("tags: consumers", {"mail-1"}, "Unable to connect to mail-1"),
])  # fmt: skip
def test_a_job_that_can_never_run_proves_nothing(here: Line, nodes: str, unreachable: set[str], why: str) -> None:
    """It fails as late as a refusal does, and so would every restart: what Rundeck says of it is shown."""
    job = next(iter(here.rundeck.state.jobs.values()))
    here.rundeck.state.unreachable = unreachable
    target = Target("k", here.rundeck.url, job_id("mail-delivery"), SERVICE)
    assert late_start.refusal(here.ports, target).ok
    job.nodes = nodes
    hides = pytest.MonkeyPatch()
    hides.setattr(type(here.ports.runner), "check", lambda *_, **__: [])  # which finds the first of them by itself
    leg = late_start.refusal(here.ports, target)
    hides.undo()
    assert not leg.ok
    assert why in str(leg.detail)
    assert "node filter" in str(leg.remedy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: setattr(state, "passive", True), "Set Rundeck's execution mode to active."),
        (lambda state: state.disabled_projects.add("demo"), "Enable executions of the job and of its project in Rundeck."),
    ],
    ids=["passive", "disabled"],
)
def test_a_rundeck_that_starts_nothing_is_found_out(here: Line, change: Callable[[Any], Any], said: str) -> None:
    """`check` does not see these: a real start does, and says what to do."""
    change(here.rundeck.state)
    done = here.run("drill", "--refusal", "mail-delivery", "--option", "service=mail-delivery", code=1)
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_drills_card(language: str) -> None:
    """A leg that failed calls for somebody, with what to do; else nobody need get up."""
    rules = Rules({}, language=language)
    well = (drill_card.Leg("webhook", ok=True, seconds=0.3), drill_card.Leg("scheduler", ok=True, seconds=2.1))
    assert drill_card.card(well, rules, 0.0).urgency == "fine"
    failed = drill_card.card((*well[:1], drill_card.Leg("scheduler", ok=False, detail="gone", remedy="look")), rules, 0.0)
    assert failed.urgency == "act"
    assert in_language(language, drill_card.NAMES["scheduler"]) in failed.headline
    assert "gone" in failed.facts[1][1]


# --- an example, and what keeps Grafana's own ---------------------------------------------------------------------------


def test_an_example_is_made_and_sent(here: Line) -> None:
    """`send --example`: the labels of the runbook's matchers are added, and the alert is taken as a real one."""
    with deployed(here) as unstick:
        answer = here.json("send", "--example", "queue=mail.delivery", "vhost=/", "service=mail-delivery", unstick.url)["answer"]
    assert [(one["runbook"], one["reason"]) for one in answer["incidents"]] == [("mail-delivery", "observe_only")]


def test_an_example_without_url_is_printed(here: Line) -> None:
    """For a file of one's own: what is printed is what simulate takes."""
    printed = here.run("send", "--example", "queue=mail.delivery", "vhost=/", code=0).stdout
    (incident,) = json.loads(here.run("simulate", "-", "--json", input=printed, code=0).stdout)[0]["incidents"]
    assert (incident["runbook"], incident["action"]) == ("mail-delivery", "restarted")


def test_the_shipped_alert_is_one_for_the_shipped_configuration(here: Line) -> None:
    """examples/alert.json matches the runbook of unstick.yaml as it stands."""
    root = Path(__file__).parents[2]
    seen = here.folder / "seen.json"
    seen.write_text('{"queues": {"*": {"depth": 362, "consumers": 1}}}')
    arguments = [str(root / "examples" / "alert.json"), "--seen", str(seen), "--config", str(root / "unstick.yaml")]
    (incident,) = here.json("simulate", *arguments)[0]["incidents"]
    assert incident["runbook"] == "mail-delivery"


def test_what_grafana_posts_is_kept_and_simulated(here: Line) -> None:
    """`simulate --listen` says where it listens, keeps the body without any header, and decides it."""
    path, port = here.folder / "recording.json", free_ports(1)[0]
    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(here.run, "simulate", "--listen", f"127.0.0.1:{port}", str(path), code=0)
        body = notification(alert("mail-delivery", "mail.delivery"))
        wait_until(lambda: _posted(port, body))
        result = recording.result(PATIENCE_S)
    assert f"http://127.0.0.1:{port}/" in result.stderr
    assert "would restart it" in result.stdout
    assert "secret-of-the-header" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600, "it may hold what only its owner may know"
    assert incident_of(here.json("simulate", str(path)))["action"] == "restarted"


def incident_of(shown: Any) -> dict[str, Any]:
    ((incident,),) = [one["incidents"] for one in shown]
    return dict(incident)


def _posted(port: int, body: bytes) -> bool:
    try:
        with urlopen(Posted(f"http://127.0.0.1:{port}/", body, {"Authorization": "secret-of-the-header"})) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(("body", "status"), [(b"<html>welcome", 200), (b"{}", 404), (b'{"ok": true}', 200)])
def test_another_server_is_told_apart_from_unstick(here: Line, httpserver: HTTPServer, body: bytes, status: int) -> None:
    """A page of something else is not shown as an answer: it says that the address is wrong, also where the status is 200."""
    httpserver.expect_request("/").respond_with_data(body, status=status)
    shown = here.run("send", FIRING, httpserver.url_for("/"), code=1).stdout
    assert "is not the answer of Unstick's webhook" in shown
    assert "html" not in shown


@pytest.mark.parametrize(("reason", "passes"), [("storm_unknown", True), ("cooldown", True), ("paused", False)])
def test_a_hold_that_ends_by_itself_is_said_to(here: Line, httpserver: HTTPServer, reason: str, passes: bool) -> None:
    """So that nobody sends it again."""
    answer = {"incidents": [{"id": "i-1", "target": "t", "action": "held", "reason": reason}]}
    httpserver.expect_request("/hook").respond_with_json(answer)
    shown = here.run("send", FIRING, httpserver.url_for("/hook"), code=0).stdout
    assert ("it is decided again by itself" in shown) is passes
