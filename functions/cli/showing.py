"""How the commands show things: options that all have, tables, JSON, progress, and what exit codes mean."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unicodedata import east_asian_width

import click

from functions.config.current import DEFAULT_PATH
from functions.domain.texts.sanitize import clean

if TYPE_CHECKING:
    from functions.bootstrap import Adapters

WRONG, UNUSABLE = 1, 2
MAX_CELL = 400
COLOURS = {"ok": "green", "wrong": "red", "unknown": "yellow", "warn": "yellow"}
F = TypeVar("F", bound=Callable[..., Any])


class Wrong(click.ClickException):
    """Something outside is wrong, or what was asked for was not done: exit code 1."""

    exit_code = WRONG


class Unusable(click.ClickException):
    """What was given can't be used, arguments, files or configuration: exit code 2."""

    exit_code = UNUSABLE


def options(command: F) -> F:
    """The options that every command has."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    place = click.option(
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
    return place(as_json(command))


def adapters_of(config_path: str) -> Adapters:
    """The outside that this configuration names. Raises ConfigError with all that is wrong in it."""
    from functions.bootstrap import Adapters
    from functions.config.loader import load_config

    return Adapters(load_config(config_path))


def require_store(ports: Adapters) -> None:
    """Raises Wrong where the store is a file that is not there.

    A relative path that is read from another folder would make a new file, and a kill switch in that stops nothing.
    """
    path = getattr(ports.config.store.settings, "path", None)
    if path is not None and not Path(path).exists():
        remedy = "Run this in the function's own folder, or write an absolute path. The function makes it at its first alert."
        raise Wrong(f"the store {Path(path).absolute()} is not there. {remedy}")


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What is logged or posted to a console goes to stderr meanwhile: stdout is the command's answer alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def put_json(content: object) -> None:
    """JSON on stdout. An enumeration is its value; what JSON does not know is its text."""
    click.echo(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def shown(text: object, limit: int = MAX_CELL) -> str:
    """One line that does a terminal no harm, whoever wrote it."""
    return clean(text, limit, "…")


def mark(word: str, kind: str = "") -> str:
    """A word in the colour of what it means; click takes colours away where stdout is no terminal."""
    return click.style(word, fg=COLOURS.get(kind or word), bold=kind == "wrong" or word == "wrong")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they must be, with two blanks between them."""
    cells = [list(head), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(columns(row[place]) for row in cells) for place in range(len(head))]
    lines = ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([click.style(lines[0], bold=True), *lines[1:]])


def padded(text: str, width: int) -> str:
    """The text, and blanks up to this width on a terminal."""
    return text + " " * max(0, width - columns(text))


def columns(text: str) -> int:
    """How many columns it takes on a terminal: East Asian wide characters take two."""
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while something takes its time, where stderr is a terminal. Call what it yields after each part."""
    lock = threading.Lock()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def done() -> None:
            with lock:
                bar.update(1)

        yield done


def ago(seconds: float) -> str:
    """`in 12 s`, `3 min ago`."""
    from functions.domain.texts.words import duration

    return f"in {duration('en', seconds)}" if seconds >= 0 else f"{duration('en', -seconds)} ago"
