"""`check`: everything is asked, nothing is changed, and each mistake comes with its remedy."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import pytest
import yaml

from functions.adapters.checks import HOLDER_HOSTS
from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.ports import Finding
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Execution, QueueStalls, Stall, StallKind
from functions.entrypoints import checks
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import INCIDENT, Job, Option
from testbed.patience import wait_until
from testbed.unstick_process import HMAC_SECRET, SIGNING_KEY, job_id, runbook
from tests.cli.conftest import Line

NEVER_S = 600.0
MAIL = ("--label", "queue=mail.delivery", "--label", "vhost=/")


def findings(here: Line, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    """The findings by what they are about."""
    answer = here.json("check", *arguments, code=code)
    assert answer["ok"] is (code == 0)
    return {f"{one['system']}: {one['what']}": one for one in answer["findings"]}


def test_all_is_well(here: Line) -> None:
    """Where everything is right every line is, and the exit code is 0. No job is started, the store is as it was, and no secret
    is shown."""
    here.configured(runbook("mail-delivery", mode="approve"), public_url="https://unstick.example.com")
    lines = findings(here, *MAIL, code=0)
    assert {line["ok"] for line in lines.values()} == {True}
    for part in (
        "Secrets: rundeck.token",
        "rundeck: the job refuses a late start",
        "rundeck: the token may run the job",
        "rabbitmq: RabbitMQ queue 'mail.delivery' in vhost '/'",
        "Scheduler: scheduler",
        "Chats: console (console)",
    ):
        assert any(name.startswith(part) for name in lines), part
    assert any("a second writer is turned away" in line["detail"] for line in lines.values())
    assert here.rundeck.posts() == []
    assert here.ports.store.list_documents(timeout_s=5) == []
    shown = here.run("check").output + here.run("check", "--json").output
    assert [secret for secret in (HMAC_SECRET, SIGNING_KEY, here.rundeck.token, "secret\n") if secret in shown] == []


@pytest.mark.parametrize(
    ("name", "value", "ok", "line", "said"),
    [
        ("RABBITMQ_PASSWORD", None, False, "rabbitmq.password", "RABBITMQ_PASSWORD"),
        ("UNSTICK_SIGNING_KEY", "short", None, "signing_keys[0]", "openssl"),
    ],
)
def test_a_secret_that_is_not_as_it_should_be(
    here: Line, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, ok: bool | None, line: str, said: str
) -> None:
    """Missing, or too short. The value is not shown, and the other systems are asked all the same."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    lines = findings(here, *MAIL, code=0 if value == "short" else 1)
    shown = lines[f"Secrets: {line}"]
    assert (shown["ok"], said in shown["detail"] + shown["remedy"]) == (ok, True)
    assert lines["rundeck: the job refuses a late start"]["ok"] is True


BOOK = runbook("mail-delivery")
WIDE = runbook("wide", match=['alertname="RabbitMQQueueStuck"'], restart=BOOK["restart"])
HMAC = {"hmac": {"secrets": ["env://GRAFANA_HMAC_SECRET"]}}
ANNOTATED = {"auth": HMAC, "annotations": {"url": "http://127.0.0.1:1", "token": "env://ANNOTATOR"}}


def looks_at(**keys: str) -> list[dict[str, Any]]:
    return [runbook("mail-delivery", mode="observe", symptom={"rabbitmq": keys})]


CONFIGURED = [
    # runbooks, other keys, the command's labels, the line, whether it is right, and a part of what it says
    (looks_at(), {}, ["queue"], "rabbitmq: the queue", None, "missing here: the label vhost"),
    (looks_at(), {}, [], "rabbitmq: the queue", None, "--label vhost=... --label queue=..."),
    (looks_at(vhost="/", queue="not.there"), {}, [], "rabbitmq: RabbitMQ queue 'not.there' in vhost '/'", False, ""),
    (looks_at(vhost="/"), {}, [], "rabbitmq: queues in vhost /", True, ""),
    (looks_at(vhost="mial"), {}, [], "rabbitmq: queues in vhost mial", False, ""),
    ([WIDE, BOOK], {}, [], "Configuration: mail-delivery gets its alerts", False, "before wide"),
    (*([runbook("mail-delivery", notify=[], escalate=[])], {"notify": []}, []),
        *("Configuration: people hear of what happens", False, "")),
    ([runbook("mail-delivery", match=["service==mail"])], {}, [], ": match", None, "looks for the value `=mail`"),
    ([], {"public_url": "http://unstick.example.com"}, [], "Configuration: public_url leads to a proxy", None, ""),
    (*([], {"signing_keys": ["env://GRAFANA_HMAC_SECRET"]}, []),
        *("Configuration: grafana.auth.hmac.secrets[0] is separate", None, "is one of signing_keys")),
    ([], {"grafana": ANNOTATED}, [], "Secrets: grafana.annotations.token", False, "ANNOTATOR"),
]  # fmt: skip


@pytest.mark.parametrize(("books", "keys", "labels", "line", "right", "said"), CONFIGURED, ids=[row[3] for row in CONFIGURED])
def test_what_the_configuration_comes_to(
    here: Line, books: list[Any], keys: dict[str, Any], labels: list[str], line: str, right: bool | None, said: str
) -> None:
    """Wrong is what can't work; what may be meant is pointed out, and so is what can't be known here."""
    here.configured(*books, **keys)
    given = [word for name in labels for word in ("--label", f"{name}=mail.delivery")]
    lines = findings(here, *given, code=1 if right is False else 0)
    (shown,) = (one for name, one in lines.items() if name.endswith(line))
    assert shown["ok"] is right
    assert said in shown["detail"] + shown["remedy"]


def test_auto_needs_the_guard_of_the_job(here: Line) -> None:
    """A job without the first step is refused for `mode: auto`, and pointed out for the others."""
    next(iter(here.rundeck.state.jobs.values())).guard = False
    for mode, right in (("auto", False), ("observe", None)):
        here.configured(runbook("mail-delivery", mode=mode))
        line = findings(here, *MAIL, code=1 if right is False else 0)["rundeck: the job refuses a late start"]
        assert (line["ok"], "infra/rundeck/job.yaml" in line["remedy"]) == (right, True)


def test_lines_that_runbooks_share_stand_once(here: Line) -> None:
    """Two runbooks on one server, one with evidence: what is about the server is one line for all, a missing job is one's own."""
    evidence = Job(id=job_id("stack"))
    here.rundeck.state.jobs[evidence.id] = evidence
    here.configured(runbook("mail-delivery", evidence={"job": evidence.id}), runbook("other"))
    answer = here.json("check", code=1)["findings"]
    (taken,) = [one for one in answer if one["what"].endswith("Rundeck answers and takes the token")]
    assert taken["runbooks"] == ["mail-delivery", "other"]
    wrong = [one for one in answer if one["ok"] is False and not one["what"].startswith("evidence: ")]
    assert {tuple(one["runbooks"]) for one in wrong} == {("other",)}


RUNS, OPINION = "its job runs and writes something", "its opinion is understood"
SURE, STRANGE = "unstick {tag} healthy 3 tasks are for later", "unstick 20261201-081500-0a1b2c3d.evidence stuck no"
ONE = {"shard": "1"}
EVIDENCE = [
    # how the job is, what it writes, more labels, whether its line and that of its opinion are right, and what the first says
    ({}, "x", {}, None, ..., "missing here: the label shard"),
    ({}, "x", {"shard": "1-"}, False, ..., "option s (from label shard): it does not match its `allow` pattern"),
    ({}, f"a\n{SURE}", ONE, True, True, "execution 1 on 127.0.0.1: unstick"),
    ({}, STRANGE, ONE, True, None, "execution 1 on 127.0.0.1: unstick"),
    ({"action": None}, "", ONE, False, ..., "execution 1 wrote nothing"),
    ({}, False, ONE, False, ..., "execution 1 ended as failed: Failed"),
    ({"nodes": "tags: none"}, "x", ONE, False, ..., "execution 1 ended as failed: No matched nodes"),
    ({"duration_s": math.inf}, "x", ONE, False, ..., "its job had not ended after 1 s"),
    ({"enabled": False}, "x", ONE, False, ..., "executions are disabled"),
]


@pytest.mark.parametrize(("how", "written", "labels", "ok", "opinion", "said"), EVIDENCE)
def test_evidence_jobs_are_run_if_wanted(
    here: Line, how: dict[str, Any], written: Any, labels: dict[str, str], ok: bool | None, opinion: Any, said: str
) -> None:
    """Each once, and read as an incident would; such a run is no restart. Without --run nothing is started."""
    declared = Option("q"), Option("s"), Option("h", default=".*"), Option(INCIDENT)
    job = Job(job_id("stack"), options=declared, begins="", guard=False)
    how = {"action": lambda options: written and written.format(tag=options[INCIDENT])} | how
    here.rundeck.state.jobs[job.id] = replace(job, **how)
    options, allow = {"q": "${labels.queue}", "s": "${labels.shard}", "h": "${holder.host}"}, {"q": ".*", "s": "[0-9]", "h": ".*"}
    evidence = {"job": job.id, "options": options, "allow": allow, "within": "1s", "opinion": True}
    here.configured(runbook("mail-delivery", evidence=evidence))
    given = (*MAIL, *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")))
    here.run("check", *given)
    assert here.rundeck.posts() == []
    findings = json.loads(here.run("check", "--run", "--json", *given).stdout)["findings"]
    first, *others = [one for one in findings if one["system"] == "Evidence of mail-delivery"]
    assert (first["ok"], said in first["detail"], bool(first["remedy"])) == (ok, True, ok is not True), first
    assert first["what"] == (RUNS if "disabled" not in said else "Evidence of mail-delivery can be asked")
    assert [(one["what"], one["ok"]) for one in others] == ([] if opinion is ... else [(OPINION, opinion)])
    runs = list(here.rundeck.state.runs.values())
    assert [run.job for run in runs] == [job.id] * ("1" in said)
    for run in runs:
        assert run.options[INCIDENT].startswith("check-")
        assert run.options["h"] == "127.0.0.1", "the host of a consumer of the queue"
        assert Execution("1", "", "", tag=run.options[INCIDENT]).is_evidence


def test_a_secret_that_a_server_echoes_is_not_shown(here: Line) -> None:
    """A proxy may quote the request; `check` runs where others read along."""
    value = SecretRef("env://GRAFANA_HMAC_SECRET").read().decode()
    question = checks.Question("x", lambda: [Finding("answers", ok=False, detail=f"no such token: {value}")])
    (line,) = checks.ask_all([question], 5.0, lambda: None)
    assert line.finding.detail == "no such token: ***"


def test_a_system_that_does_not_answer_takes_no_longer_than_it_may(here: Line) -> None:
    """Its line says so; the others are shown as they are."""
    here.rabbit.broken = dict.fromkeys(("overview", "totals", "page", "whoami"), NEVER_S)
    others = "rundeck: the job refuses a late start"  # where the machine itself stands still for that second, they are late, too
    lines = wait_until(lambda: findings(here, "--timeout", "1", code=1), lambda lines: lines[others]["ok"] is True)
    assert any(line["ok"] is False and line["system"] == "rabbitmq" for line in lines.values())


def test_the_table_has_marks_and_remedies(here: Line) -> None:
    """As text: a word for each state, the remedy under what is wrong, and a count at the end."""
    here.rundeck.tokens = {here.rundeck.token: "viewer"}
    shown = here.run("check", "--only-wrong", code=1).stdout
    assert "FAILED  the token may run the job" in shown
    assert "→ allow `run` on the job" in shown
    assert "  ok  " not in shown
    assert shown.rstrip().endswith("failed")


def with_holder(here: Line, hostname: str) -> None:
    """Two nodes of consumers, of which one has this attribute, and a job that can be limited to one of them."""
    book = runbook("mail-delivery")
    (book,) = looks_at()
    book["restart"]["holder"] = {"option": "host", "allow": r"10\.0\.3\.[0-9]{1,3}"}
    here.configured(book)
    (job,) = [one for one in here.rundeck.state.jobs.values() if one.id == book["restart"]["job"]]
    job.options = (*job.options, Option("host", default=".*"))
    job.nodes = "tags: consumers hostname: ${option.host}"
    here.rundeck.state.hostnames = {"mail-1": hostname}
    here.rabbit.queue("mail.delivery").set(consumers=("10.0.3.7:50001 -> 10.0.0.2:5672",))


@pytest.mark.parametrize(
    ("hostname", "labels", "role", "ok", "detail", "remedy"),
    [
        ("10.0.3.7", MAIL, "", True, "", ""),
        ("10.0.3.7", (), "", None, "", ""),
        (
            *("mail-1.example.com", MAIL, "", False),
            "consumers come from 10.0.3.7, the nodes' `hostname` is mail-1.example.com",
            "`hostname`",
        ),
        (
            "10.0.3.7:2222",
            (),
            "",
            False,
            "none matches `allow` of host: the nodes' `hostname` is 10.0.3.7:2222",
            "without a port",
        ),
        ("10.0.3.7:2222", MAIL, "", False, "come from 10.0.3.7, the nodes' `hostname` is 10.0.3.7:2222", "without a port"),
        ("mail-1.example.com", (), "", False, "none matches `allow` of host", ""),
        ("10.0.3.7", MAIL, "viewer", False, "Read Nodes", "unstick.aclpolicy"),
    ],
)
def test_hosts_of_consumers_are_compared_with_the_nodes(
    here: Line, hostname: str, labels: tuple[str, ...], role: str, ok: bool | None, detail: str, remedy: str
) -> None:
    """Nodes may be named by DNS, and RabbitMQ sees addresses: a restart of one host would go nowhere, and so would the next.
    Without a queue only what `allow` says of the nodes is known; what the token may not see is said, and what to load."""
    with_holder(here, hostname)
    if role:
        here.rundeck.tokens = {here.rundeck.token: role}
    lines = findings(here, *labels, code=1 if ok is False else 0)
    line = lines[f"rundeck: {HOLDER_HOSTS}"]
    assert (line["ok"], detail in line["detail"], remedy in line["remedy"]) == (ok, True, True), line
    assert "rundeck: rundeck can be asked" not in lines


def test_hosts_of_consumers_are_compared_with_those_that_a_command_may_get(here: Line) -> None:
    """Commands have no nodes: what the runbook lists is compared, and the remedy says so."""
    here.rabbit.queue("mail.delivery").set(consumers=("10.0.3.7:50001 -> 10.0.0.2:5672",))
    job = {"run": ["echo", "${option.host}"], "timeout": "1m", "defaults": {"host": "all"}}
    command = {"command": {"path": str(here.folder / "unstick.db"), "jobs": {"mail": job}}}
    for allow, right in ((r"mail-1|10\.0\.3\.7", True), (r"10\.0\.3\.[0-9]+", True), ("mail-1|mail-2", False)):
        path = here.configured(runbook("mail-delivery", restart={"job": "mail", "holder": {"option": "host", "allow": allow}}))
        whole = yaml.safe_load(path.read_text())
        del whole["rundeck"]
        path.write_text(yaml.safe_dump(whole | command))
        line = findings(here, code=0)[f"command: {HOLDER_HOSTS}"]
        assert (line["ok"], line["detail"]) == (None, f"`restart.holder.allow` lists {allow}")
        line = findings(here, *MAIL, code=0 if right else 1)[f"command: {HOLDER_HOSTS}"]
        assert line["ok"] is right
    assert line["detail"] == "consumers come from 10.0.3.7, `restart.holder.allow` lists mail-1|mail-2"
    assert line["remedy"] == "List each host there as RabbitMQ sees it, or leave `holder` out (docs/command.md)."


def watched(here: Line, queue: str, *stalls: Stall) -> None:
    """The document of a target whose queue was watched for twelve days."""
    stalls_of = {to_queue("/", queue).key: QueueStalls(time.time() - 12 * 86400.0, stalls)}
    here.saved(Document(queue.replace(".", "-"), matched={"mail-delivery": time.time()}, stalls=stalls_of))


SEEN = (
    *(Stall(StallKind.HELD, time.time() - 100.0 * at, lasted_s) for at, lasted_s in enumerate((150.0, 152.0, 70.0))),
    Stall(StallKind.GONE, time.time(), 90.0),
)


def test_auto_was_watched_before(here: Line) -> None:
    """In `auto` too long a stall is restarted, and can't be seen any more."""
    never = findings(here, *MAIL, code=0)["Alerts: mail-delivery: mail.delivery was watched"]
    assert (never["ok"], never["detail"]) == (None, "never, so how long it stands still while all is well is not known")
    assert "`mode: observe`" in never["remedy"]
    watched(here, "mail.delivery", *SEEN)
    watched(here, "mail.other")
    for labels in (MAIL, ()):
        lines = findings(here, *labels, code=0)
        line = lines["Alerts: mail-delivery: mail.delivery was watched"]
        assert line["ok"] is True
        assert line["detail"].split("; ") == [
            "for 12 d 0 h",
            "it stood still 3 times, for up to 2 min 32 s, and went on",
            "people are asked after 3 min 45 s, it is restarted after 3 min 52 s",
            "it stood still 1 time, for up to 1 min 30 s, and went on",
            "people are asked after 6 s, it is restarted after 2 min 15 s",
        ]
        assert ("Alerts: mail-delivery: mail.other was watched" in lines) is (not labels)
    (said, *_) = here.json("status")["stalls"]
    assert said.startswith("mail.delivery: it stood still 3 times, for up to 2 min 32 s, and went on")
    assert "; it stood still 1 time" in said
    assert said.partition("; it stood")[0] in here.run("status", code=0).output


def test_the_lines_that_auto_needs(here: Line) -> None:
    """Whose consumers, and where: from who consumes now. Nothing where they are there."""
    here.configured(*looks_at(queue="mail.delivery", vhost="/"))
    what = "Alerts: mail-delivery: what mode auto needs"
    assert '{rabbitmq: {vhost: "/", users: ["mail"], for: "60s"}}' in findings(here, code=0)[what]["detail"]
    watched(here, "mail.delivery", *SEEN)
    here.rabbit.queue("mail.delivery").set(consumers=())
    assert '{vhost: "/", users: ["..."], for: "60s"}' in findings(here, code=0)[what]["detail"]
    here.configured(*looks_at())
    assert what not in findings(here, code=0), "the queue comes with the alert"
    here.configured()
    assert what not in findings(here, code=0)
