"""Films the demo for the README: `python -m tools.docs.demo_picture` runs it and writes docs/demo.svg.

The picture is CSS only, and narrow enough to be read on a phone. It plays once, with pauses shortened: rows that are still to
come are dim, so that it is never empty. Who doesn't want things to move sees its end as a still.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from tools.docs.card_picture import MONO, xml

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "demo.svg"
COLUMNS = 54
SIZE, ROW, EDGE = 13, 19, 16
LONGEST_PAUSE_S = 1.2
STYLE = """text{font:13px MONO;fill:#e6e8eb;white-space:pre}.ok{fill:#7ee2a0}
@media(prefers-reduced-motion:no-preference){text{opacity:.4;animation:come .2s forwards}}@keyframes come{to{opacity:1}}"""


def filmed() -> Iterator[tuple[float, str]]:
    """(seconds since the row before, row) of a real run. Raises CalledProcessError if it doesn't recover."""
    environment = os.environ | {"COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-X", "utf8", "-m", "demo"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8") as demo:
        before = time.monotonic()
        for line in demo.stdout or ():
            now = time.monotonic()
            yield now - before, line.rstrip()
            before = now
    if demo.returncode:
        raise subprocess.CalledProcessError(demo.returncode, command)


def drawn(rows: list[tuple[float, str]]) -> str:
    """The SVG."""
    at_s, parts = 0.0, []
    for number, (after_s, row) in enumerate(rows):
        at_s += min(after_s, LONGEST_PAUSE_S) if number else 0.0
        kind = ' class="ok"' if row.lstrip().startswith(("✔", "Recovered")) else ""
        y = EDGE + SIZE + number * ROW
        parts.append(f'<text x="{EDGE}" y="{y}"{kind} style="animation-delay:{at_s:.1f}s" xml:space="preserve">{xml(row)}</text>')
    width, height = round(COLUMNS * SIZE * 0.605) + 2 * EDGE, len(rows) * ROW + 2 * EDGE
    title = "make demo: one of three workers hangs and is restarted alone"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE.replace('MONO', MONO)}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#17191c"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    """Run the demo and write the picture: its steps and its last word, without the cards between them."""
    rows = [(after_s, row) for after_s, text in filmed() for row in wrap(text, COLUMNS, subsequent_indent="  ") or [""]]
    cards = next(number for number, (_, row) in enumerate(rows) if row.startswith("What people read"))
    ending = next(number for number, (_, row) in enumerate(rows) if row.startswith("Recovered"))
    PICTURE.write_text(drawn([row for row in (*rows[:cards], *rows[ending:]) if row[1].strip()]), encoding="utf-8")


if __name__ == "__main__":
    main()
