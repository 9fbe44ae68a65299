"""YAML to a tree of texts, each with its place and line; and the list of mistakes.

A text is kept as it stands in the file, so that YAML's own guesses (`no` as false, 10:00 as 600) never get in. No value is
ever repeated in a mistake: it could be a secret in the wrong place.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct, field

MAX_CHARACTERS = 1024 * 1024
MAX_NODES = 50_000  # aliases included, each time they are used: a few lines of aliases can stand for billions of values
MAX_DEPTH = 20
MAX_KEY_SHOWN = 40
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SIGN = r"'[^\w\s'\"\\]{1,2}'"
QUOTED = re.compile(rf"({_SIGN})|\s*(?!{_SIGN})(['\"]).*\2")
"""What YAML's own sentences quote, up to the last quote. The group is a sign or two that it misses, such as ','."""
FAILED: Any = object()
"""What a reader returns after it has said what is wrong."""

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge")}


class Node(Struct, frozen=True):
    """One value of the file, where it stands, and what stands there: text, None, a list or a mapping."""

    place: str
    line: int
    value: Any

    def under(self, key: str) -> Node | None:
        """The value of a key, if this is a mapping that has it."""
        found: Node | None = self.value.get(key) if isinstance(self.value, dict) else None
        return found


class Reading(Struct, frozen=True):
    """One reading of one file, and what is wrong so far: (line, sentence)."""

    name: str
    found: list[tuple[int, str]] = field(default_factory=list)

    def wrong(self, at: Node, mistake: str, remedy: str) -> Any:
        """Note a mistake (a predicate of the place) and how to mend it. Returns FAILED."""
        end = "?" if remedy.startswith("Did") else "."
        self.found.append((at.line, f"{self.name}:{at.line}: {at.place or 'the file'} {mistake}. {remedy}{end}"))
        return FAILED

    def problems(self) -> tuple[str, ...]:
        return tuple(said for _, said in sorted(self.found, key=lambda one: one[0]))


def parse(text: str, reading: Reading) -> Node | None:
    """The tree of the file; None when it is none, which `reading` then says."""
    import yaml  # 13 ms; only the process that starts reads the file

    top = Node("", 1, None)
    if len(text) > MAX_CHARACTERS:
        reading.wrong(top, f"has more than {MAX_CHARACTERS} characters", "Give each team a function of its own")
        return None
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # Without the rest of what it quotes: that is the file's, and may be a secret.
        said = QUOTED.sub(lambda found: found[1] or "", str(getattr(error, "problem", None) or "it can't be read"))
        reading.wrong(Node("", mark.line + 1 if mark else 1, None), f"is no YAML: {said}", "Mend it at or just above this line")
        return None
    if root is None:
        reading.wrong(top, "is empty", "Begin with the example in docs/configuration.md")
        return None
    return _Tree(yaml, reading).node(root, "", 1, 0)


class _Tree:
    """Turns YAML's nodes into ours; counts them, since an alias is free to write."""

    def __init__(self, yaml: Any, reading: Reading) -> None:
        self.yaml = yaml
        self.reading = reading
        self.left = MAX_NODES

    def node(self, found: Any, place: str, line: int, depth: int) -> Node | None:
        here = Node(place, line, None)
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            if self.left != -MAX_NODES:  # said once
                self.reading.wrong(here, "is nested too deeply, or repeats itself by aliases too often", "Write it out")
            self.left = -MAX_NODES
            return None
        if isinstance(found, self.yaml.MappingNode) and found.tag == "tag:yaml.org,2002:map":
            return Node(place, line, self._mapping(found, place, depth))
        if isinstance(found, self.yaml.SequenceNode) and found.tag == "tag:yaml.org,2002:seq":
            items = [self.node(item, f"{place}[{n}]", item.start_mark.line + 1, depth + 1) for n, item in enumerate(found.value)]
            return Node(place, line, [item for item in items if item is not None])
        if isinstance(found, self.yaml.ScalarNode) and found.tag in _PLAIN_TAGS:
            return Node(place, line, None if found.tag.endswith(":null") else found.value)
        self.reading.wrong(here, "has a tag (`!...`)", "Remove the tag; values that begin with `!` go in quotes")
        return None

    def _mapping(self, found: Any, place: str, depth: int) -> dict[str, Node]:
        made: dict[str, Node] = {}
        for key, value in found.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, self.yaml.ScalarNode) else None
            here = Node(f"{place}.{shown_key(name or '?')}".lstrip("."), line, None)
            if name is None or key.tag == "tag:yaml.org,2002:merge":
                self.reading.wrong(here, "is no plain key", "Write the keys out; an alias may stand for a whole value only")
            elif name in made:
                self.reading.wrong(here, f"stands here a second time, first in line {made[name].line}", "Keep one of them")
            elif child := self.node(value, here.place, line, depth + 1):
                made[name] = child
        return made


def shown_key(key: str) -> str:
    """A key for a mistake's place: shortened, and nothing that moves a terminal's cursor."""
    cut = key if len(key) <= MAX_KEY_SHOWN else key[:MAX_KEY_SHOWN] + "…"
    return CONTROL.sub("?", cut)
