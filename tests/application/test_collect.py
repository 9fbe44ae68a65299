"""Evidence comes once, before the restart, and never costs it more than `within` (I10)."""

import re
from typing import Any

import pytest
from msgspec.structs import replace

from functions.application import reconcile
from functions.domain.model.codes import Action, Phase
from functions.domain.model.events import Reply, TimerFired
from functions.domain.model.runbooks import EvidenceJob
from functions.runtime.errors import Denied, DeniedCode
from tests.support.worlds.memory import DOWN, Memory, fails
from tests.support.worlds.scenes import AHEAD_S, TARGET, alerted, case, rules, runbook

KEY = TARGET.key
WITHIN_S = 20.0
JOB = EvidenceJob("job-evidence", {"service": "${labels.queue}"}, {"service": "[a-z]+"}, within_s=WITHIN_S)
TAG = "inc-1.evidence"  # and what nobody can guess
OUTPUT = "dump of 71\n>> MainThread in recv\n>>   read_reply (smtp.py:41)\npassword=hunter2\n"


def outside(**changes: Any) -> Memory:
    return Memory(rules(replace(runbook(evidence=JOB), **changes), public_url="https://unstick.example"))


def told(ports: Memory) -> Reply | None:
    """The alert arrives."""
    event = alerted(case(book=ports.rules.runbooks["mail"]))
    return reconcile.advance(ports, KEY, event, ports.budget())


def wait(ports: Memory, seconds: float) -> None:
    """So much later its wake-up comes."""
    ports.clock += seconds
    reconcile.advance(ports, KEY, TimerFired(), ports.budget(60.0))


def ended(ports: Memory, output: str | None = OUTPUT, status: str = "succeeded") -> None:
    """The evidence run ends."""
    assert ports.evidence is not None
    ports.evidence = replace(ports.evidence, status=status, runner_ended_at=ports.clock + AHEAD_S)
    ports.output = output


def phase(ports: Memory) -> Phase | None:
    incident = ports.document(KEY).incident
    return incident.phase if incident else None


def started(ports: Memory) -> list[str]:
    return [name for name in map(_without_random, ports.names) if name.startswith(("run ", "collect "))]


def _without_random(name: str) -> str:
    return re.sub(r"(evidence)-[\w-]+$", r"\1", name)


def test_evidence_is_collected_before_the_restart_and_shown_with_it():
    """The restart waits for the end of the run. The card shows the marked lines and a link; the archive has all, masked."""
    ports = outside()
    reply = told(ports)
    assert reply is not None
    assert (reply.action, started(ports)) == (Action.DEFERRED, [f"collect {TAG}"])
    assert ports.evidence_options == {"service": "mail"}
    wait(ports, 3.0)
    assert started(ports) == [f"collect {TAG}"]
    assert "history" not in ports.names[-4:], "while it is awaited, only the run is asked for"
    ended(ports)
    wait(ports, 3.0)
    assert started(ports) == [f"collect {TAG}", "run inc-1.1"]
    (_, card), *_ = ports.posts
    assert card.kind == "started"
    assert card.evidence == ("MainThread in recv", "read_reply (smtp.py:41)")
    assert ("Evidence in Rundeck", "http://rundeck/evidence-1") in card.links
    assert ports.archived["evidence/inc-1.txt"] == OUTPUT.replace("hunter2", "***").encode()


def test_a_run_that_hangs_costs_no_more_than_within():
    """When the time is up, the restart is made, and the card says why there is no evidence, or what there was so far."""
    ports = outside()
    told(ports)
    begun = ports.clock
    while phase(ports) is Phase.COLLECTING:
        wait(ports, max(0.0, (ports.document(KEY).due or 0.0) - ports.clock))
    assert started(ports)[-1] == "run inc-1.1"
    assert ports.clock - begun < WITHIN_S + 1.0
    assert ("Evidence", "incomplete: its job had not ended after 20 s") in ports.posts[0][1].facts
    ports = outside()
    told(ports)
    ports.so_far = OUTPUT
    wait(ports, 3.0)
    assert started(ports) == [f"collect {TAG}"]
    wait(ports, 18.0)
    (_, card), *_ = ports.posts
    assert ("Evidence", "incomplete: its job had not ended after 21 s") in card.facts
    assert card.evidence == ("MainThread in recv", "read_reply (smtp.py:41)")


BUSY = Denied("Rundeck", "the job is already running", code=DeniedCode.BUSY)


@pytest.mark.parametrize(
    ("where", "error", "why"),
    [
        ("collect", BUSY, f"incomplete: {BUSY.detail}"),
        ("collect", DOWN, "incomplete: its job had not ended"),
        ("evidence", DOWN, ""),
        ("archive", DOWN, None),
    ],
)
def test_nothing_that_fails_holds_the_restart(where: str, error: Exception, why: str | None):
    """Whatever can't be reached, at the latest after `within` the restart is made, a second later if the run was refused."""
    ports = outside()
    ports.before = fails(where, error=error)
    told(ports)
    if where == "archive":
        ended(ports)
    wait(ports, 1.0 if error is BUSY else WITHIN_S)
    assert started(ports)[-1] == "run inc-1.1"
    assert why is None or why in dict(ports.posts[0][1].facts)["Evidence"]


def test_the_kill_switch_counts_before_and_after():
    """I9: paused between decision and POST, no evidence is collected; paused while it is, nothing is restarted."""
    ports = outside()
    ports.before = lambda name: ports.pause() if name == f"save {KEY}" and "pause" not in ports.bodies else None
    told(ports)
    assert started(ports) == []
    ports = outside()
    told(ports)
    ended(ports)
    ports.pause()
    wait(ports, 3.0)
    assert started(ports) == [f"collect {TAG}"]
