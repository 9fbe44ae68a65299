"""Writes docs/command-line.md from the commands' own help: `python -m tools.docs.command_line_page`."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import click

from unstick.main import command_line

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
WIDTH = 100
PROGRAM = "unstick"
COMMON = ("config_path", "as_json")
INTRODUCTION = """# The command line

This page is written by `python -m tools.docs.command_line_page` from the commands' own help; edit that.

`make setup` installs it into `.venv/bin`, `pipx install .` for you alone; on one machine and in the container it is there
([how they are set up](deploy.md#one-machine-systemd)). It takes the configuration that the function has (`UNSTICK_CONFIG` or
`--config`, default `unstick.yaml`) and reads its secrets from here: on Google Cloud by `gcloud auth application-default login`.

- Each command takes `--config FILE`, `--json` and `--help`. `--json` prints JSON on stdout. Log lines, messages of a console
  channel and progress go to stderr.
- Exit codes: 0 all is well, 1 something is wrong or held (a secret that can't be read, too), 2 the command or the configuration
  file is wrong.
- Text fits the terminal's width (or `COLUMNS`); into a file or a pipe it is not wrapped. Times are in `time_zone` of the
  configuration. Colours only on a terminal, and never with `NO_COLOR`.
- A shell completes commands, options and names with Tab, once it has run:

```sh
eval "$(_UNSTICK_COMPLETE=bash_source unstick)"    # zsh: zsh_source; fish: _UNSTICK_COMPLETE=fish_source unstick | source
```
"""


def page() -> str:
    """docs/command-line.md."""
    top = click.Context(command_line, info_name=PROGRAM, terminal_width=WIDTH, help_option_names=["-h", "--help"])
    parts = [INTRODUCTION, _block(command_line, top)]
    for name in command_line.list_commands(top):
        command = copy(command_line.commands[name])
        command.params, command.add_help_option = [one for one in command.params if one.name not in COMMON], False
        context = click.Context(command, parent=top, info_name=name, terminal_width=WIDTH)
        parts.append(f"## {name}\n\n{_block(command, context)}")
    return "\n".join(parts)


def _block(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context).rstrip()}\n```\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
