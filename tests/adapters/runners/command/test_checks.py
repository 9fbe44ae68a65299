"""What `unstick check` finds about commands, and how options get into a command."""

import re

import pytest

from functions.adapters.runners.command import Command, Job, checks
from functions.adapters.runners.command.runs import fill
from functions.application.ports import Finding
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Restart
from functions.runtime.errors import Denied

FINE = Job(("echo", "mail@${option.service}"), 60.0)
BY_HOST = Job(("echo", "${option.host}"), 60.0, {"host": "all"})
EMPTY = Job(("echo", "--to=${option.service}"), 60.0, {"service": ""})
HOLDER = "the command can be limited to the host that hangs"
OUTLIVES = "a command outlives a restart of Unstick"
LIMIT_S = 10.0
MISREAD = "something else than one argument"
ON_LABELS = {"service": "${labels.service}"}


@pytest.fixture
def findings(tmp_path, monkeypatch):
    monkeypatch.delenv("INVOCATION_ID", raising=False)

    def findings_of(restart: Restart, **jobs: Job) -> dict[str, Finding]:
        command = Command(str(tmp_path / "unstick.db"), {"restart": FINE, **jobs})
        return {line.what: line for line in command.check(restart, None, frozenset(), auto=True, timeout_s=LIMIT_S)}

    return findings_of


@pytest.mark.parametrize(
    ("restart", "what", "ok", "said"),
    [
        pytest.param(Restart("resart"), checks.PROGRAM, False, "name one of: restart", id="no such command"),
        pytest.param(Restart("gone"), checks.PROGRAM, False, "install it, or write its whole path", id="no such program"),
        pytest.param(Restart("folder"), checks.PROGRAM, False, "let Unstick's user run it", id="nothing to run"),
        pytest.param(Restart("restart"), checks.OPTIONS, False, "Add service to the runbook's options", id="not filled in"),
        pytest.param(
            Restart("restart", {"service": ""}), checks.OPTIONS, False, "`defaults` (it may be", id="a fixed empty value"
        ),
        pytest.param(Restart("may-be-empty", {"service": ""}), checks.OPTIONS, True, "", id="an empty default"),
        pytest.param(Restart("restart", {"service": "-x y"}), checks.OPTIONS, False, "Allow letters", id="a fixed value"),
        pytest.param(
            Restart("restart", ON_LABELS, holder=HolderOption("host", "a|b")), HOLDER, False, "a default", id="no holder"
        ),
        pytest.param(Restart("by-host", holder=HolderOption("host", "a|b")), HOLDER, True, "", id="a holder"),
    ],
)
def test_each_mistake_is_found_with_what_to_do(findings, restart, what, ok, said):
    line = findings(
        restart, **{"gone": Job(("/nowhere/restart-it",)), "folder": Job(("/",)), "by-host": BY_HOST, "may-be-empty": EMPTY}
    )[what]
    assert line.ok is ok
    assert said in str(line.remedy)


def test_under_systemd_a_command_needs_a_unit_of_its_own(findings, monkeypatch):
    """Else a restart of Unstick ends the restart of the application."""
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    findings = findings(Restart("restart", ON_LABELS))[OUTLIVES]
    assert (findings.ok, str(findings.remedy)) == (None, "set command.systemd: true (docs/command.md)")


def test_evidence_starts_without_a_host_that_nobody_knows(tmp_path):
    """The option is left out then: the command needs a default."""
    evidence = EvidenceJob("evidence", {"host": "${holder.host}", "fixed": "a b"}, {"host": ".*"})
    for defaults, ok in (({}, False), ({"host": ""}, True)):
        command = Command(str(tmp_path / "unstick.db"), {"evidence": Job(("echo", "${option.host}"), 60.0, defaults)})
        lines = command.check(Restart("evidence", {"host": "a"}), evidence, frozenset(), auto=True, timeout_s=LIMIT_S)
        assert [line.ok for line in lines if line.what == f"evidence: {checks.OPTIONS}"] == ([] if ok else [False])


@pytest.mark.parametrize(
    ("argument", "options", "filled"),
    [
        pytest.param("${option.service}", {"service": "mail"}, "mail", id="a whole argument"),
        pytest.param("--name=${option.service}", {"service": "-rf"}, "--name=-rf", id="the value of a fixed option"),
        pytest.param("${option.host}", {"host": ""}, "all", id="empty is missing"),
        pytest.param("--to=${option.to}", {}, "--to=", id="an empty default"),
        pytest.param("${option.host}", {"host": "fe80::1%eth0"}, "fe80::1%eth0", id="an address"),
    ],
)
def test_options_are_filled_in(argument, options, filled):
    assert fill(Job(("restart", argument), defaults={"host": "all", "to": ""}), options) == ["restart", filled]


@pytest.mark.parametrize(
    ("run", "options", "why"),
    [
        pytest.param(("ssh", "${option.host}"), {"host": "-oProxyCommand=id"}, MISREAD, id="ssh's own option"),
        pytest.param(("rm", "${option.a}${option.b}"), {"a": "-r", "b": "f"}, MISREAD, id="put together"),
        pytest.param(("ssh", "h", "${option.x}"), {"x": "mail;id"}, MISREAD, id="for the shell behind ssh"),
        *(
            pytest.param(("ssh", "h", "a-${option.x}"), {"x": f"a{sign}b"}, MISREAD, id=repr(sign))
            for sign in (*" \t\n\r\0'\"`$&|<>(){}[]*?!#~^\\;", "é", "\u2028", "٣")
        ),
        pytest.param(("echo", "${option.x}"), {"x": "${option.y}", "y": "z"}, MISREAD, id="never twice"),
        pytest.param(("echo", "${option.x}"), {}, "nothing fills in the option x", id="missing"),
        pytest.param(("echo", "--x=${option.x}"), {"x": ""}, "nothing fills in the option x", id="empty"),
        pytest.param(("${option.x}", "a"), {"x": "sh"}, MISREAD, id="the program"),
    ],
)
def test_a_value_becomes_neither_an_option_nor_anything_to_a_shell(run, options, why):
    with pytest.raises(Denied, match=re.escape(why)) as refused:
        fill(Job(run), options)
    assert refused.value.remedy
