"""YAML as texts, lists and mappings, with the line of each.

A text is kept as it stands in the file, as YAML 1.2 has it: `no` is a text, and so is 09:00. A mistake never repeats a value: it
could be a secret in the wrong place.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from msgspec import Struct, field

MAX_CHARACTERS = 1024 * 1024
MAX_NODES = 50_000  # aliases included, each time they are used: a few lines of aliases can stand for billions of values
MAX_DEPTH = 20
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KEY = re.compile(r"[\w .:/<-]{1,40}")
_SIGN = r"'[^\w\s'\"\\]{1,2}'"
_QUOTED = re.compile(rf"({_SIGN})|\s*(?!{_SIGN})(['\"]).*\2")
"""What YAML's own sentences quote, up to the last quote. The group is a sign or two that it misses, such as ','."""
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge")}

Path = tuple[str | int, ...]
"""Keys and places in lists, from the top of the file."""


class Mistake(Struct, frozen=True):
    line: int
    path: Path
    what: str
    remedy: str


class Tree(Struct, frozen=True):
    """What the file holds. None stands for YAML's null."""

    value: Any
    lines: dict[Path, int]
    mistakes: list[Mistake] = field(default_factory=list)

    def report(self, path: Path, what: str, remedy: str, line: int = 0) -> None:
        """Note a mistake (a predicate of the place) and how to fix it."""
        known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        self.mistakes.append(Mistake(line or self.lines[known], path, what, remedy))


def parse_yaml(text: str) -> Tree:
    """Parse the text of a file. A tree with mistakes may lack what they are about."""
    if len(text) > MAX_CHARACTERS:
        return _refuse(f"has more than {MAX_CHARACTERS} characters", "Give each team a function of its own")
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        row = [*text.split("\n"), ""][line - 1]
        if "\t" in row[: len(row) - len(row.lstrip())]:
            return _refuse("is not valid YAML: a tab indents this line", "Indent with spaces", line)
        problem = _QUOTED.sub(lambda match: match[1] or "", str(getattr(error, "problem", None) or "it can't be read"))
        return _refuse(f"is not valid YAML: {problem}", "Fix it at or just above this line", line)
    if root is None:
        return _refuse("is empty", "Begin with the example in docs/configuration.md")
    tree = Tree({}, {(): 1})
    value = _Reader(tree).read(root, (), 0)
    return Tree(value, tree.lines, tree.mistakes)


def _refuse(what: str, remedy: str, line: int = 1) -> Tree:
    return Tree(None, {(): line}, [Mistake(line, (), what, remedy)])


class _Reader:
    """Turns YAML's nodes into values; counts them, since an alias is free to write."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.left = MAX_NODES

    def read(self, node: Any, path: Path, depth: int) -> Any:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            if self.left != -MAX_NODES:  # said once
                self.tree.report(path, "is nested too deeply, or repeats itself by aliases too often", "Write it out")
            self.left = -MAX_NODES
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            self.tree.lines.update({(*path, n): item.start_mark.line + 1 for n, item in enumerate(node.value)})
            return [self.read(item, (*path, n), depth + 1) for n, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
            return None if node.tag.endswith(":null") else node.value
        self.tree.report(path, "has a tag (`!...`)", "Remove the tag; values that begin with `!` go in quotes")
        return None

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            here = (*path, name)
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                remedy = "Write the keys out; an alias may stand for a whole value only"
                self.tree.report(here, "is not a plain key", remedy, line)
            elif name in mapping:
                first = self.tree.lines[here]
                self.tree.report(here, f"stands here a second time, first in line {first}", "Keep one of them", line)
            else:
                self.tree.lines[here] = line
                mapping[name] = self.read(value, here, depth + 1)
        return mapping


def show_path(path: Path) -> str:
    """A place as it is written for people. A key that does not look like one is left out: the file may be another one."""
    shown = ""
    for part in path:
        key = part if isinstance(part, int) or _KEY.fullmatch(part) else "?"
        shown += f"[{key}]" if isinstance(part, int) else f".{key}"
    return shown.removeprefix(".") or "the file"
