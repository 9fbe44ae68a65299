"""What the demo shows: one line a step, with the time that it took. Colour and moving lines only on a terminal."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GREEN, RED, DIM, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
COLUMNS = 100


@dataclass(slots=True)
class Line:
    """One step. `text` is what stands there when it is over."""

    text: str


class Screen:
    def __init__(self) -> None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self.moving = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.coloured = self.moving and not os.environ.get("NO_COLOR")
        self.columns = min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)

    def title(self, text: str) -> None:
        print(f"\n{self._in(BOLD, textwrap.fill(text, self.columns))}\n", flush=True)

    def text(self, text: str = "") -> None:
        print(text, flush=True)

    @contextmanager
    def step(self, doing: str) -> Iterator[Line]:
        """Show a step while it goes on, and how it ended."""
        line, began = Line(doing), time.monotonic()
        self.now(doing)
        try:
            yield line
        except BaseException:
            self._over(self._in(RED, "✗"), doing, time.monotonic() - began)
            raise
        self._over(self._in(GREEN, "✔"), line.text, time.monotonic() - began)

    def now(self, doing: str) -> None:
        """What is being done: on a terminal only, and gone when the step is over."""
        if self.moving:
            print(f"\r\x1b[K  {self._in(DIM, '… ' + doing[: self.columns - 6])}", end="", flush=True)

    def _over(self, sign: str, text: str, took_s: float) -> None:
        took = f"{took_s:.1f} s"
        *before, last = textwrap.wrap(text, self.columns - len(took) - 7, break_on_hyphens=False) or [""]
        room = self.columns - len(last) - len(took) - 5
        clear = "\r\x1b[K" if self.moving else ""
        lines = "".join(f"{line}\n    " for line in before) + last
        print(f"{clear}  {sign} {lines}{' ' * room}{self._in(DIM, took)}", flush=True)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self.coloured else text
