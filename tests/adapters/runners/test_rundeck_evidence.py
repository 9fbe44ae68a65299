"""Rundeck's adapter: evidence jobs, and the files of infra/rundeck that are such jobs."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers, client
from functions.application.ports import EvidenceRun
from functions.domain.model.observations import Execution
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import INCIDENT, Job, Option, Rundeck
from testbed.patience import PATIENCE_S, wait_until

RECORDINGS = Path(__file__).parents[2] / "recordings" / "rundeck"
EVIDENCE = "22222222-2222-4222-8222-222222222222"
TAG = "inc-1.evidence"
STACK = "Thread 71\n>>   read_reply (smtp.py:41)\n\tat com.example.Mail.deliver(Mail.java:7)"


def evidence_job(**changes: Any) -> Job:
    options = (Option("process", required=True), Option(INCIDENT))
    more = {"action": lambda _: STACK, "begins": "", "limit": 0, "guard": False, "timeout_s": 60.0, **changes}
    return Job(id=EVIDENCE, name="evidence-process", options=options, **more)


@pytest.fixture
def double() -> Iterator[Rundeck]:
    with Rundeck(Job(), evidence_job()) as served:
        yield served


def start(settings: Settings, timeout_s: float = PATIENCE_S) -> Execution:
    return client.start_evidence(settings, EVIDENCE, {"process": "mail"}, tag=TAG, timeout_s=timeout_s)


def read(settings: Settings, execution: str | None) -> EvidenceRun:
    return client.read_evidence(settings, EVIDENCE, tag=TAG, execution=execution, partial=False, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("lost", [False, True], ids=["by its id", "by its tag"])
def test_its_output_is_read_once_it_has_ended(double: Rundeck, settings: Settings, lost: bool):
    """The whole output as the job wrote it, a Java stack too: nothing is taken for Rundeck's own noise.

    A start without an answer is unknown and not sent again; its tag finds it.
    """
    if lost:
        double.fault("POST", "/run", "drop")
    with pytest.raises(Unavailable) if lost else nullcontext():
        started = start(settings)
    assert len(double.posts()) == 1
    run, output = wait_until(lambda: read(settings, None if lost else started.id), lambda both: both[1] is not None)
    assert run is not None
    assert (run.succeeded, [one.text for one in output or ()]) == (True, [STACK])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Rundeck answers, by the end of the path; an error is raised. `asked`: the paths."""
    said: dict[str, Any] = {"asked": []}

    def ask(_to: Any, _method: str, path: str, **_: Any) -> Answer:
        said["asked"].append(path)
        body = next(body for end, body in said.items() if path.endswith(end))
        if isinstance(body, Exception):
            raise body
        return Answer("Rundeck", 200, {}, json.dumps(body).encode(), 1.0)

    monkeypatch.setattr(answers, "ask", ask)
    return said


NOBODY = Settings("http://rundeck", SecretRef("env://NONE"))


@pytest.mark.parametrize(
    ("log", "output"),
    [
        ({"entries": [{"log": "a"}, {"log": ""}, {"log": None}, {}, "odd", {"log": " b"}]}, "a\n\n\n\n b"),
        ({"entries": [{"log": "a"}], "pending": False}, "a"),
        ({"entries": [{"log": "a"}], "pending": True}, None),
        ({"entries": []}, ""),
        ({"entries": {}}, None),
        ({}, None),
    ],
)
def test_the_output_is_taken_as_it_is(said: dict[str, Any], log: Any, output: str | None) -> None:
    """All lines at once, and none while Rundeck still gets some."""
    said |= {"execution/e%2F1": {"id": 7, "status": "failed", "date-ended": {"unixtime": 1}}, "lastlines=3000": log}
    run, read_output = read(NOBODY, "e/1")
    assert run is not None
    assert (run.id, read_output if read_output is None else "".join(one.text for one in read_output)) == ("7", output)
    assert said["asked"] == ["execution/e%2F1", "execution/7/output?lastlines=3000"]


def test_what_a_run_that_hangs_wrote_so_far_is_read_once_nobody_waits(said: dict[str, Any]) -> None:
    """Its first lines are the most important ones."""
    said |= {"execution/7": {"id": 7, "status": "running"}, "lastlines=3000": {"entries": [{"log": ">> a"}]}}
    for partial, output in ((False, None), (True, ">> a")):
        run, read_output = client.read_evidence(NOBODY, "j", tag=TAG, execution="7", partial=partial, timeout_s=PATIENCE_S)
        assert (run and run.ended, read_output and read_output[0].text) == (False, output)


@pytest.mark.parametrize(
    ("recording", "output"),
    [
        ("output-no-matched-nodes", ["No matched nodes: NodeSet{includes={tags=nosuchtag, dominant=false, }}"]),
        ("output-refused-late", ["too late by 60 s: this restart was given up, nothing is restarted", "Result: 3"]),
    ],
)
def test_what_rundeck_itself_says_of_a_failed_run_is_no_java(said: dict[str, Any], recording: str, output: list[str]) -> None:
    """A trace that the job wrote is evidence; Rundeck's own, with its variables, is none."""
    exchange = json.loads((RECORDINGS / f"{recording}.json").read_text())
    said |= {"execution/7": {"id": 7, "status": "failed", "date-ended": {"unixtime": 1}}, "lastlines=3000": exchange["body"]}
    lines = "\n".join(one.text for one in read(NOBODY, "7")[1] or ()).splitlines()
    assert lines[: len(output)] == output
    assert not any("dataContext" in line or "com.dtolabs" in line or line.startswith("\tat ") for line in lines)


def row(number: int, tag: str) -> dict[str, Any]:
    return {"id": number, "status": "running", "job": {"options": {INCIDENT: tag}}}


@pytest.mark.parametrize(
    ("running", "every", "id_of_run"),
    [
        ({"executions": [row(1, "a"), row(1, "x"), row(2, TAG)]}, {"executions": [row(3, TAG)]}, "2"),
        ({"executions": [row(1, "x")]}, {"executions": [row(1, "x"), row(3, TAG)]}, "3"),
        ({"executions": {}}, {"executions": [row(3, TAG)]}, "3"),
        ({}, {"executions": [row(3, "x")]}, None),
    ],
)
def test_a_run_is_found_in_either_list(said: dict[str, Any], running: Any, every: Any, id_of_run: str | None) -> None:
    """The newest twenty of each."""
    said |= {"executions?status=running&max=20": running, "executions?max=20": every}
    run, output = client.read_evidence(NOBODY, "j/1", tag=TAG, execution=None, partial=False, timeout_s=PATIENCE_S)
    assert ((run and run.id), output) == (id_of_run, None)
    assert sorted(said["asked"]) == ["job/j%2F1/executions?max=20", "job/j%2F1/executions?status=running&max=20"]


@pytest.mark.parametrize("error", [Denied("Rundeck", "no"), Unavailable("Rundeck", "late")])
@pytest.mark.parametrize("place", ["executions?status=running&max=20", "executions?max=20"])
def test_a_list_that_can_not_be_read_is_told(said: dict[str, Any], place: str, error: Exception) -> None:
    """The run may be in it."""
    said |= {"executions?status=running&max=20": {}, "executions?max=20": {}} | {place: error}
    with pytest.raises(type(error)):
        read(NOBODY, None)
