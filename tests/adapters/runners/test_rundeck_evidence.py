"""Rundeck's evidence jobs: how a run is found, and what counts as its output."""

from typing import Any

import pytest

from functions.application.ports import EvidenceRun
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.rundeck import INCIDENT
from testbed.patience import PATIENCE_S, wait_until
from tests.adapters.runners.systems import SETTINGS, STACK, RundeckServer, Said, recorded

TAG = "inc-1.evidence"
ENDED = {"id": 7, "status": "failed", "date-ended": {"unixtime": 1}}
RUNNING, ALL = "executions?status=running&max=20", "executions?max=20"


def test_a_start_whose_answer_is_lost_is_found_by_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unknown, and not sent again."""
    with RundeckServer() as system:
        monkeypatch.setenv("RUNNER_SECRET", system.secret)
        system.fault("POST", "/run", "drop")
        with pytest.raises(Unavailable):
            system.adapter.start_evidence(system.evidence, {"process": "mail"}, tag=TAG, timeout_s=PATIENCE_S)

        def read_by_tag() -> EvidenceRun:
            return system.adapter.read_evidence(system.evidence, tag=TAG, execution=None, partial=False, timeout_s=PATIENCE_S)

        _, texts = wait_until(read_by_tag, lambda read: read[1] is not None)
        assert [node.text for node in texts or ()] == [STACK]
        assert len(system.posts()) == 1


def read(execution: str | None, *, partial: bool = False) -> EvidenceRun:
    return SETTINGS.read_evidence("j/1", tag=TAG, execution=execution, partial=partial, timeout_s=PATIENCE_S)


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
def test_the_output_is_taken_as_it_is(said: Said, log: Any, output: str | None) -> None:
    """All lines at once, and none while Rundeck still gets some."""
    said.bodies |= {"execution/e%2F1": ENDED, "lastlines=3000": log}
    run, texts = read("e/1")
    assert run is not None
    assert (run.id, texts if texts is None else "".join(node.text for node in texts)) == ("7", output)
    assert said.asked == ["execution/e%2F1", "execution/7/output?lastlines=3000"]


def test_what_a_run_that_hangs_wrote_so_far_is_read_once_nobody_waits(said: Said) -> None:
    """Its first lines are the most important ones."""
    said.bodies |= {"execution/7": {"id": 7, "status": "running"}, "lastlines=3000": {"entries": [{"log": ">> a"}]}}
    for partial, output in ((False, None), (True, ">> a")):
        run, texts = read("7", partial=partial)
        assert (run and run.ended, texts and texts[0].text) == (False, output)


@pytest.mark.parametrize(
    ("recording", "output"),
    [
        ("output-no-matched-nodes", ["No matched nodes: NodeSet{includes={tags=nosuchtag, dominant=false, }}"]),
        ("output-refused-late", ["too late by 60 s: this restart was given up, nothing is restarted", "Result: 3"]),
    ],
)
def test_what_rundeck_itself_says_of_a_failed_run_is_no_java(said: Said, recording: str, output: list[str]) -> None:
    """A trace that the job wrote is evidence; Rundeck's own, with its variables, is none."""
    said.bodies |= {"execution/7": ENDED, "lastlines=3000": recorded(recording)["body"]}
    lines = "\n".join(node.text for node in read("7")[1] or ()).splitlines()
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
def test_a_run_is_found_in_either_list(said: Said, running: Any, every: Any, id_of_run: str | None) -> None:
    """The newest twenty of each."""
    said.bodies |= {RUNNING: running, ALL: every}
    run, output = read(None)
    assert ((run and run.id), output) == (id_of_run, None)
    assert sorted(said.asked) == [f"job/j%2F1/{ALL}", f"job/j%2F1/{RUNNING}"]


@pytest.mark.parametrize("error", [Denied("Rundeck", "no"), Unavailable("Rundeck", "late")])
@pytest.mark.parametrize("place", [RUNNING, ALL])
def test_a_list_that_can_not_be_read_is_told(said: Said, place: str, error: Exception) -> None:
    """The run may be in it."""
    said.bodies |= {RUNNING: {}, ALL: {}} | {place: error}
    with pytest.raises(type(error)):
        read(None)
