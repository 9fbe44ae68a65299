"""Fills the options into a command's arguments.

No shell of ours sees them, but `ssh` hands its arguments to one on the other side. So a value consists of characters that mean
nothing to any shell, and can become neither another argument nor an option of the program."""

import re
from collections.abc import Mapping

from functions.adapters.runners.command.settings import SYSTEM, Job
from functions.domain.decisions.matching import OPTION, shown, template_options
from functions.runtime.errors import Denied
from functions.runtime.text import Phrase, Text

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)


def fill(job: Job, options: Mapping[str, str]) -> list[str]:
    """The program and its arguments. Raises Denied for a value that is missing, or that a program or shell could misread."""
    given = {**job.defaults, **{name: value for name, value in options.items() if value}}
    if template_options(job.run[0]):
        raise _refused(Text("the program itself is an option"), Text("Write the program out; options are for its arguments."))
    return [_fill_argument(template, given) for template in job.run]


def _fill_argument(template: str, given: Mapping[str, str]) -> str:
    for name in template_options(template):
        if name not in given:
            remedy = Text("Add {name} to the runbook's options, or to the command's `defaults`.", name=name)
            raise _refused(Text("nothing fills in the option {name}", name=name), remedy)
        if not _PLAIN.fullmatch(given[name]):
            what = Text("the option {name} has characters that a shell could read: {value}", name=name, value=shown(given[name]))
            raise _refused(what, Text("Allow letters, digits and @%+=:,./_- only (`allow` in the runbook)."))
    argument = OPTION.sub(lambda option: given[option[1]], template)
    if argument.startswith("-") and not template.startswith("-"):
        what = Text("the argument {template} begins like an option: {value}", template=template, value=shown(argument))
        raise _refused(what, Text("Write fixed options of the program into command.jobs, not into the runbook's options."))
    return argument


def _refused(detail: Phrase, remedy: Phrase) -> Denied:
    return Denied(SYSTEM, detail, remedy=remedy)
