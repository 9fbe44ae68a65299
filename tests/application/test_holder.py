"""The host that holds a message reaches the evidence job only as `allow` lets it, and never holds up anything."""

from __future__ import annotations

import pytest

from functions.domain.decisions.matching import HOLDER_HOST
from functions.domain.model.codes import Action
from functions.domain.model.observations import Holder
from functions.domain.model.runbooks import EvidenceJob
from tests.application.test_collect import ended, outside, started, told, wait
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import holding, sighting

JOB = EvidenceJob(
    "job-evidence", {"service": "${labels.queue}", "host": HOLDER_HOST}, {"service": "[a-z]+", "host": r"10\.0\.3\.[0-9]{1,3}"}
)
HOLDER = Holder("10.0.3.7", "mail-worker-2", 1)


def held_by(*holders: Holder) -> Memory:
    ports = outside(evidence=JOB)
    ports.mail = lambda at: holding(*holders, at=at) if holders else sighting(at=at)
    return ports


@pytest.mark.parametrize(
    ("holders", "why"),
    [
        ((), "without the option host: it is not known who holds a message"),
        ((Holder("10.9.9.9"),), 'without the option host: `allow` does not match "10.9.9.9"'),
        ((Holder("10.0.3.7; reboot"),), 'without the option host: `allow` does not match "10.0.3.7; reboot"'),
        ((Holder("10.0.3.7\n"),), 'without the option host: `allow` does not match "10.0.3.7\\n"'),
    ],
    ids=["nobody", "another net", "a command", "a newline"],
)
def test_without_a_host_that_matches_the_job_runs_without_the_option(holders: tuple[Holder, ...], why: str) -> None:
    """I8: on its own default. The card says so, and the restart waits no longer than for any evidence."""
    ports = held_by(*holders)
    reply = told(ports)
    assert reply is not None
    assert (reply.action, ports.evidence_options) == (Action.DEFERRED, {"service": "mail"})
    ended(ports)
    wait(ports, 3.0)
    assert started(ports)[-1] == "run inc-1.1"
    (shown,) = [value for label, value in ports.posts[0][1].facts if label == "Evidence"]
    assert shown.endswith(why.replace("`", ""))
