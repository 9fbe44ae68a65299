"""All commands, in the order of the help, and how errors are shown to the user."""

import io
import os
import sys
from typing import Any

import click

from functions import __version__
from functions.runtime.errors import BadRequest, ConfigError, Denied, Unavailable
from unstick.commands.check import check
from unstick.commands.incident import incident
from unstick.commands.look import look
from unstick.commands.report import report
from unstick.commands.send import send
from unstick.commands.simulate import simulate
from unstick.commands.status import status
from unstick.commands.store import backup, link, restore
from unstick.commands.switch import ack, approve, pause, resume
from unstick.output import Unusable, Wrong


class CommandLine(click.Group):
    """Lists the commands in their order, and turns Unstick's own errors into sentences with an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Unusable("the configuration is wrong.\n" + "\n".join(error.problems)) from None
        except BadRequest as error:
            raise Unusable(error.sentence) from None
        except Denied as error:
            raise Wrong(f"{error}. {error.remedy}".rstrip()) from None
        except Unavailable as error:
            remedy = "Make sure that it is up and can be reached from here; `check` asks every system."
            raise Wrong(f"{error}. {remedy}") from None


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unstick", message="%(prog)s %(version)s")
@click.pass_context
def command_line(ctx: click.Context) -> None:
    """Unstick from the command line: check it, try it, watch it, stop it.

    Exit codes: 0 all is well, 1 something is wrong or held, 2 the command or the configuration file is wrong.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


for command in (look, check, simulate, send, status, incident, approve, ack, pause, resume, report, link, backup, restore):
    command_line.add_command(command)


def run() -> None:
    """The command `unstick`, as pyproject.toml installs it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # don't fail if the terminal can't show a character
    command_line(prog_name="unstick")
