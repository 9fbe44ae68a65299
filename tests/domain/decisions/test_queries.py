"""When a step needs an observation, and of what."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.decisions.queries import evidence_to_read, is_enough, needs_observation, of_alerts, what_to_observe
from functions.domain.model.codes import Ending, Phase
from functions.domain.model.events import Approved, MessagesDelivered, Resumed, TimerFired
from functions.domain.model.incidents import QUEUES_KEPT, Document, Evidence, Outcome
from functions.domain.model.runbooks import EvidenceJob
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    POST,
    TARGET,
    alerted,
    case,
    document,
    escalation,
    execution,
    incident,
    resolved,
    rules,
    runbook,
    trigger,
)

EMPTY = Document(TARGET.key)
LATER = document(incident(due=NOW + 10))
DUE = document(incident(due=NOW))
ESCALATED = replace(
    EMPTY,
    target=TARGET,
    escalation=escalation(queue=POST, due=NOW),
    outcomes=(Outcome("inc-0", Ending.ESCALATED, None, NOW - 60, (trigger(),), queues=(MAIL, POST)),),
)
AWAY = alerted(replace(case(), target=None, queue=None))


@pytest.mark.parametrize(
    ("before", "event", "needed"),
    [
        pytest.param(EMPTY, alerted(), True, id="a firing alert"),
        pytest.param(EMPTY, resolved(), False, id="a resolved one"),
        pytest.param(EMPTY, AWAY, False, id="one without a target"),
        pytest.param(ESCALATED, resolved(), True, id="a resolved one ends no escalation of a queue that is stuck"),
        pytest.param(LATER, alerted(), False, id="one that joins before the next step is due"),
        pytest.param(DUE, alerted(), True, id="one that joins when it is due"),
        pytest.param(document(incident(Phase.ASKED, due=NOW + 10)), alerted(), True, id="what was held may have passed"),
        pytest.param(
            document(incident(Phase.OBSERVING, due=NOW + 10)), alerted(), True, id="what is only observed is told again"
        ),
        pytest.param(LATER, TimerFired(), False, id="a wake-up that comes early"),
        pytest.param(DUE, TimerFired(), True, id="a wake-up that is due"),
        pytest.param(DUE, TimerFired(due=NOW - 5), False, id="a wake-up that another one has replaced"),
        pytest.param(
            document(incident(due=NOW - 9.9)), TimerFired(due=NOW - 15), False, id="a replaced one, while its own may come"
        ),
        pytest.param(document(incident(due=NOW - 10)), TimerFired(due=NOW - 15), True, id="one that makes up for a lost one"),
        pytest.param(document(incident(due=NOW - 60)), TimerFired(due=NOW - 15), True, id="one a minute later"),
        pytest.param(LATER, TimerFired(at_once=True), False, id="at once, where nothing was deferred"),
        pytest.param(document(incident(Phase.DEFERRED, due=NOW + 10)), TimerFired(at_once=True), True, id="at once"),
        pytest.param(EMPTY, TimerFired(), False, id="nothing is open"),
        pytest.param(ESCALATED, TimerFired(), True, id="a reminder that is due"),
        pytest.param(EMPTY, Approved("n", "anna"), False, id="an approval of nothing"),
        pytest.param(LATER, Approved("n", "anna"), True, id="an approval"),
        pytest.param(ESCALATED, Resumed("anna"), False, id="resume"),
        pytest.param(DUE, MessagesDelivered(frozenset()), False, id="delivered"),
    ],
)
def test_a_step_is_observed_for_only_where_it_decides_by_what_is_seen(before: Document, event: Any, needed: bool):
    """Each observation queries every system."""
    assert needs_observation(before, event, NOW) is needed


def test_all_queues_are_observed_that_the_step_may_judge():
    """Those of the alerts, the open incident and the escalation; enough for a document without an incident."""
    joined = what_to_observe(document(incident()), alerted(case(POST)), rules())
    assert (set(joined.queues), joined.target) == ({MAIL.key, POST.key}, TARGET)
    assert what_to_observe(ESCALATED, TimerFired(), rules()).queues == {POST.key: (POST, runbook())}
    settled = replace(ESCALATED, outcomes=(replace(ESCALATED.outcomes[0], ending=Ending.RECOVERED),))
    known = what_to_observe(settled, alerted(case(), case(POST, fingerprint="fp-2")), rules())
    assert set(known.queues) == {POST.key}, "the alert of the other queue is settled"
    few, many = of_alerts((case(),)), of_alerts(tuple(case(replace(MAIL, key=f"k{n}")) for n in range(QUEUES_KEPT + 5)))
    assert len(many.queues) == QUEUES_KEPT
    ended = replace(EMPTY, outcomes=ESCALATED.outcomes)
    assert [is_enough(few, one) for one in (EMPTY, ended, LATER, ESCALATED)] == [True, True, False, False]
    assert [is_enough(many, one) for one in (EMPTY, ended)] == [True, False]


@pytest.mark.parametrize(
    ("changes", "follow", "tail"),
    [
        ({}, None, False),
        ({"execution": execution(7)}, "7", True),
        ({"execution": execution(7), "tail": ("line",)}, "7", False),
        ({"execution": execution(7), "phase": Phase.OBSERVING}, None, False),
        ({"execution": execution(7), "phase": Phase.ASKED}, "7", True),
    ],
    ids=["none", "followed", "its log is known", "a person's, while it is only observed", "while a person is asked"],
)
def test_the_execution_is_followed_and_its_log_read_once(changes: dict[str, Any], follow: str | None, tail: bool):
    """Of the current attempt."""
    wanted = what_to_observe(document(incident(**changes)), TimerFired(), rules())
    assert (wanted.follow, wanted.tail) == (follow, tail)


def test_evidence_is_read_while_it_is_collected():
    """Not before, not afterwards, and not for a runbook that lost its job."""
    job, known = EvidenceJob("job-9"), Evidence({"host": "a"}, NOW)
    with_job, without = rules(runbook(evidence=job)), rules()
    collecting = incident(Phase.COLLECTING, evidence=known)
    assert evidence_to_read(collecting, with_job) == (job, known)
    for one, under in (
        (None, with_job),
        (incident(evidence=known), with_job),
        (incident(Phase.ASKED, evidence=known), with_job),
        (replace(collecting, evidence=None), with_job),
        (collecting, without),
    ):
        assert evidence_to_read(one, under) is None
