"""Output of the commands: common options, text that fits the terminal, tables, JSON, progress, and exit codes."""

import contextlib
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from functions.adapters.chats.console import columns as columns_without_colours
from functions.adapters.chats.console import wrap
from functions.bootstrap import DEFAULT_PATH, Adapters
from functions.config.loader import load_config
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import clean, duration

WRONG, UNUSABLE = 1, 2
MAX_CELL, MAX_TEXT = 400, 1000
COLOURS = {"ok": "green", "wrong": "red", "warn": "yellow"}
GAP = "  "
WIDEST = 10_000
F = TypeVar("F", bound=Callable[..., Any])


class _Failure(click.ClickException):
    def format_message(self) -> str:
        """Wrap the sentences to the terminal's width, without control characters."""
        lines = clean(self.message, MAX_TEXT * 20, "…", lines=True).splitlines()
        return "\n".join(part for line in lines for part in wrap(line, width() - len("Error: ")))


class Wrong(_Failure):
    """Something outside is wrong, or the request was not carried out: exit code 1."""

    exit_code = WRONG


class Unusable(_Failure):
    """An argument, a file or the configuration can't be used: exit code 2."""

    exit_code = UNUSABLE


def options(command: F) -> F:
    """The options that all commands share."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    config = click.option(
        "--config",
        "config_path",
        type=click.Path(),
        envvar="UNSTICK_CONFIG",
        default=DEFAULT_PATH,
        show_default=True,
        show_envvar=True,
        metavar="FILE",
        help="The configuration.",
    )
    return config(as_json(command))


def timeout_option(default_s: float, longest_s: float, description: str) -> Callable[[F], F]:
    """`--timeout SECONDS`."""
    seconds = click.FloatRange(1, longest_s)
    return click.option(
        "--timeout", "timeout_s", type=seconds, default=default_s, show_default=True, metavar="SECONDS", help=description
    )


def named_values(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Parse NAME=VALUE arguments. Raises Unusable for one without `=`."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign:
            raise Unusable(f"{option} {pair} is not NAME=VALUE. Write for example {option} queue=mail.outgoing.")
        values[name] = value
    return values


def load_adapters(config_path: str) -> Adapters:
    """The adapters of this configuration. Raises ConfigError with all mistakes in it."""
    return Adapters(load_config(config_path))


def load_with_store(config_path: str) -> Adapters:
    """The same, for what reads the store. Raises Wrong for a file that doesn't exist: a relative path would create another one,
    whose kill switch stops nothing."""
    ports = load_adapters(config_path)
    path = getattr(ports.store, "path", None)
    if path is not None and not Path(path).exists():
        remedy = "Run this in the function's own folder, or write an absolute path. The function creates it at its first alert."
        raise Wrong(f"the store {Path(path).absolute()} does not exist. {remedy}")
    return ports


def logs_to_stderr() -> contextlib.AbstractContextManager[object]:
    """Send log lines and posts to a console to stderr in the `with` block: stdout is for the command's answer only."""
    return contextlib.redirect_stdout(sys.stderr)


FAR_S = 10 * 365.25 * 86400.0


def print_json(content: object) -> None:
    """Print JSON on stdout. Values of other types become text, and what a terminal would obey or hide is escaped."""
    click.echo("".join(map(_escape_invisible, json.dumps(content, ensure_ascii=False, indent=2, default=str))))


def _escape_invisible(char: str) -> str:
    if char.isprintable() or char == "\n":
        return char
    return json.dumps(char)[1:-1]


def print_text(text: object, prefix: str = "", hanging: str | None = None, *, err: bool = False) -> None:
    """Print untrusted text within the terminal's width. `prefix` is ours; further lines begin with `hanging`."""
    hanging = " " * columns(prefix) if hanging is None else hanging
    first, *others = wrap(printable(text, MAX_TEXT), width() - columns(hanging), width() - columns(prefix))
    click.echo("\n".join([(prefix + first).rstrip(), *(hanging + line for line in others)]), err=err)


def print_lines(text: str) -> None:
    """Print a channel's text with its line breaks. Lines that are too long continue below, indented by two columns."""
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        first, *others = wrap(line, width() - len(indent) - 2, width())
        click.echo("\n".join([first, *(f"{indent}  {other}" for other in others)]))


def print_posted(problems: Mapping[str, str]) -> None:
    """Print who was notified and who was not."""
    if not problems:
        print_text("Nobody was notified: the configuration names no channel for it.", err=True)
    for channel, problem in problems.items():
        if problem:
            print_text(f"to {channel}: {problem} Tell them yourself.", mark("NOT SENT ", "wrong"), err=True)
        else:
            print_text(f"sent to {channel}")


def printable(text: object, limit: int = MAX_CELL) -> str:
    """Possibly untrusted text as one line without control characters."""
    return clean(text, limit, "…")


def mark(word: str, kind: str = "") -> str:
    """A word in the colour of its kind; click removes colours if stdout is not a terminal."""
    return click.style(word, fg=COLOURS.get(kind or word), bold=kind == "wrong")


def width() -> int:
    """The terminal's columns (or COLUMNS); unlimited if the output goes to a file or pipe."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return sys.maxsize


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as needed; they wrap on a narrow terminal. Prints nothing for no rows."""
    from rich.console import Console  # takes 30 ms; needed only for tables
    from rich.table import Table

    if not rows:
        return
    table = Table(*head, box=None, pad_edge=False, padding=(0, len(GAP), 0, 0))
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(
        file=io.StringIO(), color_system=None, width=min(width(), WIDEST), markup=False, emoji=False, highlight=False
    )
    with console.capture() as shown:
        console.print(table)
    heading, *others = (line.rstrip() for line in shown.get().splitlines())
    click.echo("\n".join([click.style(heading, bold=True), *others]))


def padded(text: str, columns_at_least: int) -> str:
    """The text, padded with spaces to this many terminal columns."""
    return text + " " * max(0, columns_at_least - columns(text))


def columns(text: str) -> int:
    """The columns that the text takes on a terminal: East Asian wide characters take two, colours none."""
    return columns_without_colours(click.unstyle(text))


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, if that is a terminal. Call the yielded function after each part."""
    lock = threading.Lock()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def advance() -> None:
            with lock:
                bar.update(1)

        yield advance


def relative(seconds: float) -> str:
    """`in 12 s`, `3 min ago`."""
    if seconds > FAR_S:
        return "in more than 10 years"
    return f"in {duration(seconds)}" if seconds >= 0 else f"{duration(-seconds)} ago"


def local_time(at: float, rules: Rules) -> str:
    """`2026-11-26 21:04:11`, in the configuration's time zone. A command names the zone once."""
    return datetime.fromtimestamp(at, rules.zone).strftime("%Y-%m-%d %H:%M:%S")
