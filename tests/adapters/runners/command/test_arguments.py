"""How options get into a command, and what can't."""

from __future__ import annotations

import re

import pytest

from functions.adapters.runners.command import Job
from functions.adapters.runners.command.runs import fill
from functions.runtime.errors import Denied


@pytest.mark.parametrize(
    ("argument", "options", "filled"),
    [
        pytest.param("${option.service}", {"service": "mail"}, "mail", id="a whole argument"),
        pytest.param("mail@${option.n}.service", {"n": "2"}, "mail@2.service", id="a part of one"),
        pytest.param("${option.a}/${option.b}", {"a": "x", "b": "y"}, "x/y", id="several"),
        pytest.param("--name=${option.service}", {"service": "-rf"}, "--name=-rf", id="the value of a fixed option"),
        pytest.param("${option.host}", {}, "all", id="a default"),
        pytest.param("${option.host}", {"host": ""}, "all", id="empty is missing"),
        pytest.param("${option.host}", {"host": "fe80::1%eth0"}, "fe80::1%eth0", id="an address"),
        pytest.param("$(date) ${HOME:-}".replace("${HOME:-}", ";"), {}, "$(date) ;", id="what the configuration writes stays"),
        pytest.param("${option.a}", {"a": "x", "b": "${option.c}"}, "x", id="an option that the command doesn't use"),
    ],
)
def test_options_are_filled_in(argument, options, filled):
    assert fill(Job(("restart", argument), defaults={"host": "all"}), options) == ["restart", filled]


@pytest.mark.parametrize(
    ("run", "options", "why"),
    [
        pytest.param(("ssh", "${option.host}"), {"host": "-oProxyCommand=id"}, "begins like an option", id="ssh's own option"),
        pytest.param(("rm", "${option.a}${option.b}"), {"a": "-r", "b": "f"}, "begins like an option", id="put together"),
        pytest.param(("ssh", "h", "${option.x}"), {"x": "mail;id"}, "characters that a shell", id="for the shell behind ssh"),
        *(
            pytest.param(("ssh", "h", "a-${option.x}"), {"x": f"a{one}b"}, "characters that a shell", id=repr(one))
            for one in (*" \t\n\r\0'\"`$&|<>(){}[]*?!#~^\\;", "é", "\u2028", "٣")
        ),
        pytest.param(("echo", "${option.x}"), {"x": "${option.y}", "y": "z"}, "characters that a shell", id="never twice"),
        pytest.param(("echo", "${option.x}"), {}, "nothing fills in the option x", id="missing"),
        pytest.param(("${option.x}", "a"), {"x": "sh"}, "the program itself is an option", id="the program"),
    ],
)
def test_a_value_becomes_neither_an_option_nor_anything_to_a_shell(run, options, why):
    with pytest.raises(Denied, match=re.escape(why)) as refused:
        fill(Job(run), options)
    assert refused.value.remedy
