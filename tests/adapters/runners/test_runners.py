"""What every runner must do. A new runner is tested automatically, and fails here until it has a stand-in in systems.py."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from functions.application.ports import Runner
from functions.config.settings import adapter_names
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.domain.model.runbooks import EvidenceJob, Restart
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.structs import convert
from testbed.patience import PATIENCE_S, wait_until
from tests.adapters.runners.systems import STACK, SYSTEMS, System

RUNNERS = adapter_names("runners")
TAG, EVIDENCE = "inc-1.1", "inc-1.evidence"


@dataclass(frozen=True)
class Lab:
    system: System

    @property
    def adapter(self) -> Runner:
        return self.system.adapter

    def target(self, service: str = "mail", job: str = "") -> Target:
        return Target(f"key-of-{service}", self.adapter.url, job or self.system.job, {"service": service})

    def run(
        self, target: Target | None = None, *, tag: str = TAG, in_s: float = 60.0, timeout_s: float = PATIENCE_S
    ) -> Execution:
        """Start the restart; it must begin within `in_s`."""
        not_after = time.time() + in_s
        return self.adapter.run(target or self.target(), tag=tag, runner_not_after=not_after, timeout_s=timeout_s)

    def look(self, target: Target | None = None, *, follow: str | None = None, tail: bool = False) -> ExecutionHistory:
        return self.adapter.look(target or self.target(), since_s=3600.0, follow=follow, tail=tail, timeout_s=PATIENCE_S)

    def end_of(self, execution: Execution, target: Target | None = None) -> Execution:
        """The execution once it has ended."""
        ended = wait_until(lambda: self.look(target, follow=execution.id).followed, lambda run: run is not None and run.ended)
        assert ended is not None
        return ended

    def start_evidence(self) -> Execution:
        return self.adapter.start_evidence(self.system.evidence, {"process": "mail"}, tag=EVIDENCE, timeout_s=PATIENCE_S)

    def read_evidence(self, execution: str) -> tuple[Execution | None, str]:
        run, output = self.adapter.read_evidence(execution, partial=False, timeout_s=PATIENCE_S)
        return run, "\n".join(node.text for node in output or ())


@pytest.fixture(params=RUNNERS)
def lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    name = request.param
    assert name in SYSTEMS, f"add a stand-in for {name} to tests/adapters/runners/systems.py and to SYSTEMS"
    with SYSTEMS[name](tmp_path) as system:
        monkeypatch.setenv("RUNNER_SECRET", system.secret)
        yield Lab(system)


def test_its_settings_are_a_value(lab: Lab):
    """A frozen struct, which survives the archive of a function in the cloud; people know the runner by its name."""
    kind = type(lab.adapter)
    assert issubclass(kind, msgspec.Struct)
    assert kind.__struct_config__.frozen
    assert convert(json.loads(msgspec.json.encode(lab.adapter)), kind) == lab.adapter
    assert lab.adapter.name.isprintable()
    assert lab.adapter.name


def test_a_start_is_found_by_its_tag(lab: Lab):
    """In the target's history and by its id; it goes on until the job ends."""
    started = lab.run()
    assert (started.tag, started.ended, started.late) == (TAG, False, False)
    history = lab.look(follow=started.id)
    assert [(run.id, run.tag, run.ended) for run in history.executions] == [(started.id, TAG, False)]
    assert history.followed is not None
    assert history.followed.id == started.id
    assert abs(history.runner_now - time.time()) < PATIENCE_S
    wait_until(lambda: lab.system.restarted == ["mail"])


@pytest.mark.parametrize("well", [True, False])
def test_the_end_of_a_run_is_seen(lab: Lab, well: bool):
    """With its time, and how it ended; its last lines only where they are asked for."""
    began = time.time()
    started = lab.run()
    lab.system.finish(well=well)
    ended = lab.end_of(started)
    assert (ended.succeeded, ended.failed, ended.refused) == (well, not well, False)
    assert began - 1.0 <= (ended.runner_started_at or 0.0) <= (ended.runner_ended_at or 0.0)
    tail = wait_until(lambda: lab.look(follow=started.id, tail=True).tail, lambda lines: not well or lines)
    assert not well or any("restarted" in line for line in tail or ())
    assert lab.look(follow=started.id).tail is None


def test_a_late_start_restarts_nothing(lab: Lab):
    """I1: what comes after `not_after` refuses itself, and is no restart."""
    lab.system.finish()
    ended = lab.end_of(lab.run(in_s=-60.0))
    assert (ended.refused, ended.succeeded, ended.failed) == (True, False, False)
    assert lab.system.restarted == []


def test_a_target_is_restarted_once_at_a_time(lab: Lab):
    """A second start is refused as busy while the first runs; after it, it is taken."""
    first = lab.run()
    wait_until(lambda: lab.system.restarted)
    with pytest.raises(Denied) as denied:
        lab.run(tag="inc-1.2")
    assert denied.value.code is DeniedCode.BUSY
    assert lab.system.restarted == ["mail"]
    lab.system.finish()
    lab.end_of(first)
    second = lab.end_of(lab.run(tag="inc-1.2"))
    assert [run.id for run in lab.look().executions] == [second.id, first.id]


@pytest.mark.parametrize("timeout_s", [0.0, 0.001, 0.005, 0.02])
def test_a_start_without_time_is_never_sent_twice(lab: Lab, timeout_s: float):
    """I1: it is unclear, and the history shows later whether it runs; or it is taken all the same."""
    with suppress(Unavailable):
        lab.run(timeout_s=timeout_s)
    lab.system.finish()
    wait_until(lambda: all(run.ended for run in lab.look().executions))
    assert len(lab.system.restarted) <= len(lab.look().executions) <= 1


HOSTILE = ["mail; touch pwned", "$(id)", "`id`", "--help", "a b", "${option.service}", "'", "メール"]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_option_stays_one_option(lab: Lab, value: str):
    """I8: it reaches the job as it is, or it is refused with a remedy."""
    lab.system.finish()
    target, refusals = lab.target(value), []
    try:
        lab.end_of(lab.run(target), target)
    except Denied as denied:
        refusals.append(denied)
    assert lab.system.restarted == [value] * (not refusals)
    assert all(refusal.remedy for refusal in refusals)


def test_a_job_that_is_not_there_is_refused(lab: Lab):
    """With what to do."""
    with pytest.raises(Denied) as denied:
        lab.run(lab.target(job="33333333-3333-4333-8333-333333333333"))
    assert denied.value.code is DeniedCode.JOB
    assert denied.value.remedy


def test_a_run_on_one_host_is_its_targets(lab: Lab):
    """I1: it counts as a restart, whichever host its option names; and it is not another target's."""
    target = replace(lab.target(), holder="host")
    lab.system.finish()
    ended = lab.end_of(lab.run(replace(target, options={**target.options, "host": "mail-1"})), target)
    assert ended.host == "mail-1"
    assert [run.id for run in lab.look(target).executions] == [ended.id]
    assert lab.look(replace(target, key="key-of-web", options={"service": "web"})).executions == ()


def test_a_run_that_is_gone_is_none(lab: Lab):
    """It was deleted: that is known, and no error."""
    assert lab.look(follow="999999").followed is None


def test_what_does_not_answer_is_an_error(lab: Lab):
    """I4: never an empty history, and no secret in what is said."""
    lab.system.close()
    for call in (lab.look, lab.run, lab.start_evidence):
        with pytest.raises((Unavailable, Denied)) as error:
            call()
        assert not lab.system.secret or lab.system.secret not in f"{error.value!r} {error.value} {error.value.remedy}"


def test_an_abort_ends_the_run(lab: Lab):
    """It is not a success, and names who did it."""
    started = lab.run()
    wait_until(lambda: lab.system.restarted)
    assert lab.adapter.abort(started.id, timeout_s=PATIENCE_S).id == started.id
    ended = lab.end_of(started)
    assert not ended.succeeded
    assert ended.aborted_by


def test_what_has_ended_can_not_be_aborted(lab: Lab):
    """It stays as it was."""
    lab.system.finish()
    started = lab.run()
    lab.end_of(started)
    after = lab.adapter.abort(started.id, timeout_s=PATIENCE_S)
    assert (after.succeeded, after.aborted_by) == (True, "")


def test_evidence_is_read_once_it_is_there(lab: Lab):
    """It is no restart of anything."""
    started = lab.start_evidence()
    assert started.is_evidence
    run, output = wait_until(lambda: lab.read_evidence(started.id), lambda read: read[1])
    assert run is not None
    assert (run.id, run.succeeded, output.rstrip("\n")) == (started.id, True, STACK)
    assert lab.look().executions == ()
    assert lab.system.restarted == []


def test_check_finds_nothing_wrong_where_nothing_is(lab: Lab):
    """Lines for people, of the restart and of the evidence; nothing is started."""
    restart = Restart(lab.system.job, {"service": "${labels.service}"}, {"service": "[a-z-]{1,40}"})
    evidence = EvidenceJob(lab.system.evidence, {"process": "x"}, within_s=120.0)
    findings = lab.adapter.check(restart, evidence, frozenset(), auto=True, timeout_s=PATIENCE_S)
    assert [line for line in findings if line.ok is False] == []
    assert any(line.ok for line in findings)
    assert lab.look().executions == ()


def test_check_says_what_is_wrong_and_what_to_do(lab: Lab):
    """A job that is not there, and a system that does not answer."""
    check = partial(lab.adapter.check, evidence=None, consumers=frozenset(), auto=True, timeout_s=PATIENCE_S)
    gone = check(Restart("33333333-3333-4333-8333-333333333333"))
    lab.system.close()
    down = check(Restart(lab.system.job))
    for findings in (gone, down):
        wrong = [line for line in findings if line.ok is False]
        assert wrong
        assert all(line.remedy for line in wrong)
