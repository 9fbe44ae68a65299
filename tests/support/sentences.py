"""Finds the English sentences in the program's code: every literal and f-string that could reach a card or a page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]

WORD, COUNT = "‹x›", "7"
"""What stands in for a value that the code puts in: a text, or what is always a number."""

A_WORD = r"(?:[A-Za-z][A-Za-z']+|‹x›|\b7\b)"
TWO_WORDS = re.compile(rf"{A_WORD}[,:;]? {A_WORD}")
LETTERS = re.compile(r"[A-Za-z]{2}")

COUNTS = {
    "MAX_NUMBERED", "VERSION", "acked", "acked_now", "answer.status", "count", "depth", "limit", "max_bytes",
    "outcome.status", "paging.get('total')", "seen.depth", "self.status", "size", "status", "symptom.max_messages", "version",
}  # fmt: skip
"""Expressions whose values are numbers, beside those with a format of their own."""

OTHER_FILES = {
    "functions/__*.py": "prose about the code",
    "functions/cli/*": "the command line is English",
    "functions/config*.py": "a mistake in unstick.yaml stops the start, and `check` tells it",
    "functions/adapters/chats/*": "what a chat refused stands in the log: the chat itself can't be told",
    "functions/adapters/schedulers/*": "a wake-up that can't be ordered stands in the log and in the answer",
    "functions/adapters/symptoms/rabbitmq/check.py": "only `check` shows it",
    "functions/adapters/grafana/annotations.py": "goes to Grafana and to the log",
    "functions/grafana*.py": "answers to Grafana",
    "functions/entrypoints/webhook.py": "answers to Grafana and to the scheduler",
    "functions/application/report.py": "answers to the scheduler",
    "functions/application/signing.py": "answers to the scheduler; the approval page has words of its own",
    "functions/runtime/logs.py": "the log",
    "functions/*words.py": "both languages are there",
    "functions/domain/texts/reasons.py": "both languages are there",
    "functions/details*.py": "both languages are there",
    "functions/domain/cards/svg.py": "SVG",
    "functions/domain/costs/chart.py": "SVG",
}
"""Files whose sentences no card shows, or in both languages, each with the reason."""

OTHER_PLACES = {
    "functions/domain/cards/approval_page.py:STYLE": "CSS",
    "functions/domain/cards/approval_page.py:_PAGE": "HTML",
    "functions/domain/cards/approval_page.py:HEADERS": "HTTP",
    "functions/domain/cards/drill_card.py:PHRASES": "both languages are there",
    "functions/runtime/sqlite.py:_SCHEMA": "SQL",
    "functions/adapters/stores/local.py:check": "only `check` shows it",
    "functions/adapters/stores/cloud_storage.py:check": "only `check` shows it",
    "functions/adapters/runners/rundeck/check.py:BY_NODE": "only `check` shows it",
    "functions/adapters/runners/rundeck/client.py:Settings": "a mistake in unstick.yaml stops the start",
    "functions/domain/decisions/matching.py:pattern_mistake": "a mistake in unstick.yaml stops the start",
    "functions/runtime/secrets.py:_built": "for tests",
}
"""The same for single names of a file."""

OTHER_TEXTS = {
    "GET, POST": "HTTP",
    '<a href="‹x›" rel="noreferrer noopener">‹x›</a>': "HTML",
    '<form method="post"><button type="submit">‹x›</button></form>': "HTML",
    '<svg aria-hidden="true" ': "SVG",
    "execution ‹x›": "names a restart for comparison",
    "A drill: nothing is wrong.": "an alert's own text, as Grafana's rules have theirs",
    "there is no address to send to": "ends the drill before there is anything to tell",
    "Set `public_url` to the webhook's address, or name it by --url.": "ends the drill before there is anything to tell",
    "Rundeck 7, API ‹x› of ‹x›": "of what is well, the drill tells nothing",
    "‹x›/‹x› in ‹x›": "names of a job and its project",
    "the channel ‹x› is not in the configuration": "the log",
    "failed: 7": "facts.py has words for how an attempt ended",
    " (from label ‹x›)": "a part of other sentences",
    "env://NAME, file://PATH or sm://PROJECT/NAME[/VERSION]": "a part of other sentences",
    "in the form sm://PROJECT/NAME[/VERSION] of unstick.yaml": "a part of other sentences",
    "Secret Manager (‹x›)": "a system's name",
    "Cloud Storage": "a system's name",
    "Executions are disabled": "compared with what Rundeck says",
    "timed out": "compared with what Google's client says",
    "bucket does not exist": "compared with what Cloud Storage says",
    "not management user": "compared with what RabbitMQ says",
    "access virtual host": "compared with what RabbitMQ says",
    "Name or service not known": "compared with what requests says",
    "nodename nor servname": "compared with what requests says",
    "Connection refused": "compared with what requests says",
    "reset by peer": "compared with what requests says",
}
"""The same for single texts."""

OTHER_CALLS = {
    "log": "the log",
    "event": "the log",
    "execute": "SQL",
    "executescript": "SQL",
    "BadRequest": "the answer to whoever asked",
    "Conflict": "taken up by flow.py, never told",
    "ConfigError": "stops the start",
    "TypeError": "a fault of the program: it stands in the log",
    "ValueError": "config.py makes a mistake in unstick.yaml of it",
}
"""Calls whose arguments no card shows."""


@dataclass(frozen=True)
class Sentence:
    """One English text with fillers for its values, and where it is made, as `functions/domain/decisions/guards.py:frozen`."""

    place: str
    text: str


def sentences() -> list[Sentence]:
    """All texts of the program that a card or a page could show."""
    files = [
        path
        for path in sorted((ROOT / "functions").rglob("*.py"))
        if not any(fnmatch(_name(path), other) for other in OTHER_FILES)
    ]
    found = [sentence for path in files for sentence in of_file(path)]
    return [sentence for sentence in found if sentence.place not in OTHER_PLACES and sentence.text not in OTHER_TEXTS]


def of_file(path: Path) -> list[Sentence]:
    """All of one file, excused or not."""
    return [Sentence(f"{_name(path)}:{owner}", text) for owner, text in of_code(path.read_text("utf-8"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def of_code(code: str) -> list[tuple[str, str]]:
    """(the top-level name in which it stands, text) of each text of two words or more; docstrings are none."""
    tree = ast.parse(code)
    constants = {
        ast.unparse(node.targets[0]): str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    texts = [(_owner(node), text) for node in tree.body for text in _texts(node, constants)]
    return [(owner, text) for owner, text in texts if TWO_WORDS.search(text) and LETTERS.search(text)]


def _owner(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else getattr(node, "name", "")


def _texts(node: ast.AST, constants: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in OTHER_CALLS:
        return
    inner = ast.iter_child_nodes(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(_part(part, constants) for part in node.values)
        inner = iter([part.value for part in node.values if isinstance(part, ast.FormattedValue)])
    for child in inner:
        yield from _texts(child, constants)


def _part(part: ast.expr, constants: dict[str, str]) -> str:
    """One piece of an f-string: its own words, or what stands in for a value."""
    if not isinstance(part, ast.FormattedValue):
        return str(ast.literal_eval(part))
    value = ast.unparse(part.value)
    if value in constants:
        return constants[value]
    number = isinstance(part.value, ast.BinOp) or part.format_spec is not None or value.startswith(("len(", "min("))
    filler = COUNT if number or value in COUNTS else WORD
    return repr(filler) if part.conversion == ord("r") else filler
