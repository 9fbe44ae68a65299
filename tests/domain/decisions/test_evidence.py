"""How long a restart waits for its evidence, and what is said where there is none (I10)."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from functions.domain.decisions.evidence import (
    REASON,
    join_nodes,
    read_opinions,
    read_places,
    with_readings,
    without_evidence_runs,
)
from functions.domain.model.codes import Mode, Phase
from functions.domain.model.events import Collect, EvidenceStarted, Start
from functions.domain.model.incidents import Document, Evidence, EvidenceRun, Opinion, Place
from functions.domain.model.observations import EvidenceReading, Execution, Holder, NodeOutput, Pause
from functions.domain.model.runbooks import EvidenceJob
from tests.support.worlds.scenes import (
    NOW,
    TARGET,
    alerted,
    case,
    document,
    execution,
    history_of,
    incident,
    moved,
    phase,
    rules,
    runbook,
    seen,
    woken,
)

EMPTY = Document(TARGET.key)
TAG = "inc-1.evidence-r4nd0m0"
RUN = execution(12, started=0, ended=None, tag=TAG)
ENDED = replace(RUN, status="succeeded", runner_ended_at=(RUN.runner_started_at or 0.0) + 5)
FAILED = replace(ENDED, status="failed")
COLLECTED = Evidence({"service": "mail"}, NOW, NOW + 20, (EvidenceRun(TAG),))


def book(within_s: float = 20.0, mode: Mode = Mode.AUTO):
    job = EvidenceJob("job-evidence", {"service": "${labels.queue}"}, {"service": "[a-z]+"}, within_s=within_s)
    return runbook(evidence=job, mode=mode)


def written(text: str | None) -> tuple[NodeOutput, ...] | None:
    return None if text is None else (NodeOutput("worker-1", text),)


@pytest.mark.parametrize(
    ("evidence", "changes", "orders"),
    [
        pytest.param(Evidence({"service": "mail"}), {}, True, id="none yet"),
        pytest.param(None, {}, False, id="an incident of before the job was configured"),
        pytest.param(COLLECTED, {}, False, id="asked for already"),
        pytest.param(Evidence(missing="no label"), {}, False, id="can't be asked for"),
        pytest.param(Evidence(), {"restarts": 1, "attempt": 1}, False, id="restarted already"),
    ],
)
def test_evidence_comes_once_and_before_the_first_restart(evidence, changes, orders):
    """After it, there is nothing left to see."""
    result = woken(document(incident(evidence=evidence, **changes)), NOW, with_rules=rules(book()))
    assert (phase(result) is Phase.COLLECTING) == orders
    assert any(isinstance(act, Start) for act in result.acts) is not orders
    without = woken(document(incident(evidence=evidence, **changes)), NOW)
    assert phase(without) is Phase.STARTING, "the runbook names no job any more"
    unnamed = moved(EMPTY, alerted(case(book=book(), labels={"alertname": "Stuck"})), with_rules=rules(book()))
    missing = 'option service: the alert has no label "queue"'
    assert (phase(unnamed), str(unnamed.document.incident.evidence.missing)) == (Phase.STARTING, missing)


@pytest.mark.parametrize(("within_s", "due_s"), [(20.0, 3.0), (2.0, 2.0), (3.0, 3.0)])
@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.APPROVE, Mode.OBSERVE])
def test_what_is_held_otherwise_collects_nothing(within_s, due_s, mode):
    """Evidence is of what is restarted: every three seconds, and at the end of `within`, with the alert's options."""
    held = moved(EMPTY, alerted(case(book=book())), seen(pause=Pause("x")), with_rules=rules(book()))
    assert (phase(held), [act for act in held.acts if isinstance(act, Collect)]) == (None, [])
    with_rules = rules(book(within_s, mode), public_url="https://unstick.example.com")
    result = moved(EMPTY, alerted(case(book=with_rules.runbooks["mail"])), with_rules=with_rules)
    assert [act for act in result.acts if isinstance(act, Collect)] == [
        Collect(TAG, "job-evidence", {"service": "mail"}, within_s)
    ]
    kept = result.document.incident
    assert (kept.phase, kept.due, kept.reason) == (Phase.COLLECTING, NOW + due_s, None)
    assert kept.evidence == Evidence({"service": "mail"}, NOW, NOW + within_s, (EvidenceRun(TAG),))


def test_a_late_answer_changes_nothing():
    """The incident has gone on without it, or another one is collecting."""
    for later in (document(incident(Phase.RUNNING, evidence=COLLECTED)), document(incident(Phase.COLLECTING, id="inc-2"))):
        assert moved(later, EvidenceStarted(TAG, RUN)).document == later


def noted(evidence: Evidence, reading: EvidenceReading, after_s: float = 20.0) -> Evidence:
    return with_readings(evidence, (reading,), NOW + after_s)


@pytest.mark.parametrize(
    ("run", "output", "problem", "said"),
    [
        pytest.param(ENDED, "text", "", "", id="all is well"),
        pytest.param(ENDED, "", "", "execution 12 wrote nothing", id="no output"),
        pytest.param(ENDED, None, "", "execution 12 wrote nothing", id="unread"),
        pytest.param(FAILED, "text", "", "execution 12 ended as failed", id="failed"),
        pytest.param(RUN, None, "", "its job had not ended after 20 s", id="it runs on"),
        pytest.param(None, None, "", "its job had not ended after 20 s", id="never seen"),
        pytest.param(None, None, "403", "its run can't be read: 403", id="refused"),
        pytest.param(RUN, None, "403", "its run can't be read: 403", id="refused though it was seen"),
    ],
)
def test_what_is_missing_is_said(run: Execution | None, output, problem, said):
    """For people to mend it; what was said before stays."""
    output = written(output)
    collected = noted(COLLECTED, EvidenceReading(run, output, problem))
    assert (str(collected.missing), collected.execution) == (said, run)
    assert collected.lines == (("text",) if output and output[0].text else ())
    before = noted(replace(COLLECTED, missing="it was refused"), EvidenceReading(run, output, problem))
    assert before.missing == "it was refused"
    known = noted(replace(COLLECTED, runs=(EvidenceRun(TAG, execution=ENDED),)), EvidenceReading(None, output, problem))
    assert known.execution == ENDED


def test_runs_that_collect_evidence_are_seen_by_no_guard():
    """Neither this target's nor those of others, which keep the same job busy."""
    ours, theirs = execution(21, ended=None), execution(22, ended=None)
    mine, other = replace(RUN, id="23"), replace(RUN, id="24", tag="inc-7.evidence")
    shown = without_evidence_runs(seen(history=history_of(ours, mine, others=(theirs, other))))
    assert (shown.history.executions, shown.history.others) == ((ours,), (theirs,))
    for history in (history_of(mine, others=(theirs,)), history_of(ours, others=(other,))):
        kept = without_evidence_runs(seen(history=history)).history
        assert not [one for one in (*kept.executions, *kept.others) if one.is_evidence]
    plain = seen(history=history_of(ours, others=(theirs,)))
    assert without_evidence_runs(plain) == plain


HUNG, OTHER = NodeOutput("worker-1", "stack of 1"), NodeOutput("worker-2", "stack of 2")


def test_each_node_s_lines_are_under_its_name():
    """One node needs no name; a node that wrote nothing has no line."""
    assert join_nodes((HUNG, OTHER)) == "worker-1:\nstack of 1\nworker-2:\nstack of 2"
    assert join_nodes((HUNG, NodeOutput("worker-2", ""))) == "stack of 1"
    assert join_nodes(()) == ""


HEALTHY, STUCK = f"unstick {TAG} healthy", f"unstick {TAG} stuck"


@pytest.mark.parametrize(
    ("text", "opinion"),
    [
        (f"a\n{HEALTHY} 3 countdowns", (True, "3 countdowns")),
        (f"{STUCK} send_mail\r\n\n", (False, "send_mail")),
        (HEALTHY, (True, "")),
        (f"{STUCK} {'x' * 300}", (False, "x" * REASON)),
        (f"{HEALTHY}\n{STUCK}", None),
        (f"{HEALTHY}\n{HEALTHY}", None),
        (f"{STUCK}\nmore", None),
        (f"> {STUCK}", None),
        (f"unstick {TAG} healthyish", None),
        ("", None),
    ],
)
def test_an_opinion_is_the_last_line_of_a_node_and_names_the_attempt(text, opinion):
    """Where the run was limited to one host it is that host's, else the node's; each node has its own."""
    node, other = NodeOutput("worker-1", text), NodeOutput("worker-2", f"{STUCK} b")
    expected = [Opinion("10.0.3.7", *opinion)] if opinion else []
    assert read_opinions(EvidenceRun(TAG, "10.0.3.7"), EvidenceReading(ENDED, (node,))) == expected
    both = [replace(one, host="worker-1") for one in expected]
    read = read_opinions(EvidenceRun(TAG, "10.0.3.7"), EvidenceReading(ENDED, (node, other)))
    assert read == [*both, Opinion("worker-2", False, "b")]


FORGED = [
    "unstick: stuck x", "unstick stuck x", "unstick inc-2.evidence stuck x", "unstick INC-1.EVIDENCE stuck x", "unstick  stuck x",
    '"task"\nunstick other.evidence stuck x', "x\runstick: healthy y", "x\u2028unstick: healthy y", "x\x0bunstick: healthy y",
    "x\x85unstick: healthy y", "\x1b[2Kunstick: healthy y", ">> unstick: stuck", '{"unstick": "healthy"}', "unstick .* healthy x",
    f"{'x' * 9000} unstick: stuck", "unstick: stuck",
]  # fmt: skip


@pytest.mark.parametrize("line", FORGED, ids=range(len(FORGED)))
def test_who_does_not_know_the_attempt_forges_no_opinion(line):
    """A publisher put a line break into Celery's task id, and the job printed it."""
    reading = EvidenceReading(ENDED, (NodeOutput("worker-1", f"state\n{line}"),))
    assert read_opinions(EvidenceRun(TAG, "10.0.3.7"), reading) == []
    place = re.sub("(healthy|stuck)", "at a.py, b, line 1", line)
    assert read_places((NodeOutput("worker-1", f"state\n{place}"),), TAG, "10.0.3.7") == ()


DELIVER = "causes.py, deliver, line 10, called by causes.py, handle, in smtplib.SMTP.getreply, waits for 10.0.3.9:25"
AT, AT_OTHER = f"unstick {TAG} at {DELIVER}", f"unstick {TAG} at stock.py, reserve, line 7"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (f">> a\n{AT}\r\n\n", [DELIVER]),
        (f"{AT}\n{STUCK} x", [DELIVER]),
        (f"{AT}\n{AT_OTHER}\n{HEALTHY}", [DELIVER, "stock.py, reserve, line 7"]),
        (f"{AT}\n" * 5, [DELIVER] * 4),
        (f"{AT}{'x' * 300}", [f"{DELIVER}{'x' * 300}"[:REASON]]),
        (f"{AT}\nstate\n{AT_OTHER}", []),
        (f"{AT}\nmore", []),
        (f"{AT}\n{STUCK}\n{STUCK}", []),
        (f"unstick {TAG} at causes.py, line 10", []),
        (f"unstick {TAG} at cau ses.py, deliver, line 10", []),
        (f"{STUCK} {AT}", []),
        ("", []),
    ],
)
def test_places_are_the_last_lines_of_a_node_and_name_the_attempt(text, places):
    """Only an opinion may follow them. Each node's first place comes before the other places of any."""
    node, other = NodeOutput("worker-1", text), NodeOutput("worker-2", AT_OTHER)
    assert [place.text for place in read_places((node,), TAG, "10.0.3.7")] == places
    assert {place.host for place in read_places((node,), TAG, "10.0.3.7")} <= {"10.0.3.7"}
    both = read_places((node, other), TAG, "10.0.3.7")
    assert both[: len(places[:1]) + 1] == (*(Place("worker-1", one) for one in places[:1]), Place("worker-2", AT_OTHER[-25:]))


@pytest.mark.parametrize(("names", "count"), [(("worker-1", "worker-2"), 2), (("10.0.0.7", "10.0.0.8"), 1)])
def test_a_place_is_kept_and_is_no_opinion(names, count):
    """Where nodes are named as connections are, only that of the holder's host; a failed run's counts too."""
    nodes = tuple(NodeOutput(name, f"{line}\n{STUCK} x") for name, line in zip(names, (AT, AT_OTHER), strict=True))
    state = replace(incident().queues[0], holders=(Holder("10.0.0.7", "mail-2"),))
    collecting = document(incident(Phase.COLLECTING, evidence=COLLECTED, queues=(state,)))
    looked = replace(seen(), evidence=(EvidenceReading(FAILED, nodes),))
    kept = woken(collecting, NOW + 5, looked, with_rules=rules(book())).document.incident
    assert kept.places == (Place(names[0], DELIVER), Place(names[1], "stock.py, reserve, line 7"))[:count]
