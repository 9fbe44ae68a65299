"""Rundeck is killed in a run: who runs it is gone, and it stays `running`."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from functions.adapters.runners.rundeck import Rundeck as Adapter
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import TOKEN, CommandAction, Job, Rundeck
from testbed.patience import PATIENCE_S, wait_until

OPTIONS = {"service": "mail"}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNDECK_TOKEN", TOKEN)


def running(rundeck: Rundeck) -> tuple[Adapter, Target, Execution]:
    adapter = Adapter(rundeck.url, SecretRef("env://RUNDECK_TOKEN"))
    (job,) = rundeck.state.jobs.values()
    target = Target("k", rundeck.url, job.id, OPTIONS)
    started = adapter.run(target, tag="20261130-000000-aaaaaaaa.1", runner_not_after=2e9, timeout_s=PATIENCE_S)
    return adapter, target, started


def followed(adapter: Adapter, target: Target, started: Execution) -> Execution:
    seen = adapter.look(target, since_s=3600.0, follow=started.id, tail=False, timeout_s=PATIENCE_S).followed
    assert seen is not None
    return seen


def test_a_run_from_before_the_servers_start_is_abandoned() -> None:
    """As soon as the server is back; before that it just runs."""
    with Rundeck(Job(duration_s=math.inf, timeout_s=None)) as rundeck:
        adapter, target, started = running(rundeck)
        assert not followed(adapter, target, started).abandoned
        rundeck.state.crash()
        assert followed(adapter, target, started).abandoned
        assert adapter.look(target, since_s=3600.0, follow=started.id, tail=False, timeout_s=PATIENCE_S).executions[0].abandoned


def test_another_servers_run_in_a_cluster_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member has its own start, and an execution names the one that runs it."""
    with Rundeck(Job(duration_s=math.inf, timeout_s=None)) as rundeck:
        adapter, target, started = running(rundeck)
        rundeck.state.crash()
        rundeck.state.server = "22222222-bbbb-4bbb-8bbb-000000000002"
        assert not followed(adapter, target, started).abandoned


def test_without_the_right_to_read_the_system_it_is_waited_for() -> None:
    """The start of the server is not shown then; nothing else changes."""
    with Rundeck(Job(duration_s=math.inf, timeout_s=None)) as rundeck:
        adapter, target, started = running(rundeck)
        rundeck.state.crash()
        rundeck.state.shows_system = False
        assert not followed(adapter, target, started).abandoned


def test_a_run_that_ended_is_not_abandoned() -> None:
    """Whatever the server did since."""
    with Rundeck(Job()) as rundeck:
        adapter, target, started = running(rundeck)
        rundeck.state.finish_work()
        rundeck.state.up_since = rundeck.state.now() + 60.0
        assert not followed(adapter, target, started).abandoned


def test_the_stand_ins_script_outlives_it_without_a_reader(tmp_path: Path) -> None:
    """As measured with a killed Rundeck: the script goes on, and what it prints then ends it."""
    (tmp_path / "job.sh").write_text(
        f"cd {tmp_path}; touch begun; until [ -e crashed ]; do sleep 0.1; done; touch quiet; echo loud; touch on\n"
    )
    with Rundeck(Job(action=CommandAction(f"bash {tmp_path}/job.sh"), timeout_s=None)) as rundeck:
        running(rundeck)
        wait_until((tmp_path / "begun").exists)
        rundeck.state.crash()
        (tmp_path / "crashed").touch()
        rundeck.state.finish_work()
        assert (tmp_path / "quiet").exists()
        assert not (tmp_path / "on").exists()
