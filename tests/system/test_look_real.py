"""`unstick look` on a real broker: what it says of queues that stand still, move, or are nobody's, and of mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from click.testing import CliRunner, Result

from functions.config.loader import load_config
from testbed.broker import ADMIN, consumer
from testbed.patience import wait_until
from tools.docs.pages import ROOT
from unstick.commands.look import UNUSED
from unstick.main import command_line

REST = (ROOT / "examples" / "one-queue.yaml").read_text(encoding="utf-8").partition("  - name:")[0]
Look = Callable[..., Result]


@pytest.fixture
def look(rabbitmq_server, monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setenv("RABBITMQ_PASSWORD", ADMIN[1])
    return lambda *arguments: CliRunner().invoke(command_line, ["look", rabbitmq_server.url, "--user", ADMIN[0], *arguments])


def as_json(result: Result) -> dict[str, Any]:
    return {one["queue"]: one for one in json.loads(result.stdout)["queues"]}


@pytest.mark.long
def test_it_says_what_stands_still_and_who_holds_it(rabbitmq_server, look, tmp_path):
    """All queues in one look, those that stand still first; what went on by itself is learned; and a runbook for a queue."""
    rabbitmq_server.add_vhost("look 1")
    for name, depth in (("hangs", 5), ("moves", 99), ("slow", 9), ("nobody's", 9)):
        rabbitmq_server.publish(name, depth, vhost="look 1")
    in_vhost, pace = ("--vhost", "look 1"), {"hangs": 1.0, "moves": 0.4, "slow": 1 / 45}
    with ExitStack() as stack:
        for name, per_second in pace.items():
            mode = "stuck-unacked" if name == "hangs" else "slow"
            stack.enter_context(consumer(rabbitmq_server, name, mode, vhost="look 1", per_second=per_second))
        states = {"hangs": "stands still", "slow": "did nothing just now", "moves": "moves", "nobody's": UNUSED}
        seen = wait_until(
            lambda: as_json(look(*in_vhost, "--json")),
            lambda seen: seen["slow"]["stalls_s"] and {name: one["state"] for name, one in seen.items()} == states,
            within_s=180.0,
        )
        assert (next(iter(seen)), 40 <= seen["slow"]["stalls_s"][0] <= 55) == ("hangs", True)
        (holder,) = seen["hangs"]["held_by"]
        assert (holder["user"], holder["held"], holder["window"]) == (ADMIN[0], 1, 1)
        shown = look(*in_vhost)
        assert (shown.exit_code, "stands still: 1" in shown.stdout) == (1, True)
        assert f"    held by {ADMIN[0]}, Pika Python Client Library at 127.0.0.1, holds 1 of 1" in shown.stdout.splitlines()
        for name, exit_code in (("hangs", 1), ("slow", 0)):
            assert look(*in_vhost, "--queue", name).exit_code == exit_code
            path = tmp_path / f"{name}.yaml"
            path.write_text(REST + look(*in_vhost, "--runbook", name).stdout)
            book = load_config(path).rules.runbooks[name]
            assert (book.mode, book.symptom.users, book.symptom.for_s >= 60.0) == ("observe", (ADMIN[0],), True)


@pytest.mark.parametrize(
    ("option", "said"), [("--queue", "no queue 'none' in vhost"), ("--vhost", "no such vhost"), ("--user", "the login failed")]
)
def test_a_mistake_is_one_line(look, option, said):
    result = look(option, "none")
    assert (result.exit_code, said in result.stderr, ADMIN[1] in result.output) == (1, True, False)


def test_a_password_in_the_url_is_taken_and_never_shown(rabbitmq_server, monkeypatch):
    monkeypatch.delenv("RABBITMQ_PASSWORD", raising=False)
    url = rabbitmq_server.url.replace("//", f"//{ADMIN[0]}:{ADMIN[1]}@")
    result = CliRunner().invoke(command_line, ["look", url, "--json"])
    assert ("set RABBITMQ_PASSWORD" in " ".join(result.stderr.split()), ADMIN[1] in result.output) == (True, False)
    assert set(json.loads(result.stdout)) == {"queues", "counts"}
    assert "is not the address" in CliRunner().invoke(command_line, ["look", "rabbit:15672"]).stderr
