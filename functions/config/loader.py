"""unstick.yaml to a Config. All mistakes are reported at once, each with its place, line and remedy.

A text stays as it stands in the file (YAML 1.2): `no` and 09:00 are texts. Mistakes never repeat a value, which could be a
secret in the wrong place."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from functions.config.settings import Config, File, adapter_names, to_config
from functions.config.validation import Path, Unshown, file_schema, find_inconsistencies, find_mistakes, read
from functions.runtime.errors import ConfigError
from functions.runtime.structs import convert

BEGIN = "Begin with the example in docs/configuration.md"
MAX_NODES = 50_000  # counts an alias each time it is used: a few lines of aliases can expand to billions of values
MAX_DEPTH = 20
_KEY = re.compile(r"[\w .:/<-]{1,40}")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge")}


class _Written:
    """The file as written: its values, their lines, and its mistakes. None stands for YAML's null."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self.mistakes: list[tuple[int, Path, str, str]] = []
        self.left = MAX_NODES
        self.top = self._parse(text)

    def report(self, path: Path, what: str, remedy: str, line: int = 0) -> None:
        nearest = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        self.mistakes.append((line or self.lines[nearest], path, what, remedy))

    def _parse(self, text: str) -> Any:
        try:
            root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError) as error:  # its text may repeat a secret
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            return self.report((), "is not valid YAML", "Fix it at or just above this line; indent with spaces", line)
        return self.report((), "is empty", BEGIN) if root is None else self._read(root, (), 0)

    def _read(self, node: Any, path: Path, depth: int) -> Any:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            if self.left != -MAX_NODES:  # reported once
                self.report(path, "is nested too deeply, or repeats itself by aliases too often", "Write it out")
            self.left = -MAX_NODES
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            self.lines.update({(*path, n): item.start_mark.line + 1 for n, item in enumerate(node.value)})
            return [self._read(item, (*path, n), depth + 1) for n, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
            return None if node.tag.endswith(":null") else node.value
        self.report(path, "has a tag (`!...`)", "Remove the tag; values that begin with `!` go in quotes")
        return None

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            here = (*path, name)
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                remedy = "Write the keys out; an alias may stand for a whole value only"
                self.report(here, "is not a plain key", remedy, line)
            elif name in mapping:
                first = self.lines[here]
                self.report(here, f"stands here a second time, first in line {first}", "Keep one of them", line)
            else:
                self.lines[here] = line
                mapping[name] = self._read(value, here, depth + 1)
        return mapping


def show_path(path: Path) -> str:
    """Format a place for people. Leaves out a key that doesn't look like one: the file may be another one."""
    shown = ""
    for part in path:
        key = part if isinstance(part, int) or (_KEY.fullmatch(part) and not isinstance(part, Unshown)) else "?"
        shown += f"[{key}]" if isinstance(part, int) else f".{key}"
    return shown.removeprefix(".") or "the file"


# --- the file


def load_config(path: str | pathlib.Path, *, on_cloud_run: bool | None = None) -> Config:
    """Read a file. `on_cloud_run`: where it will run; None: where this process runs. Raises ConfigError with all mistakes."""
    here = "K_SERVICE" in os.environ
    return parse_config(_read(path), name=pathlib.Path(path).name, on_cloud_run=here if on_cloud_run is None else on_cloud_run)


def _read(path: str | pathlib.Path) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"the file can't be read as UTF-8 ({type(error).__name__})"
        remedy = "Create it (docs/configuration.md has an example), fix its permissions, or name another by UNSTICK_CONFIG"
    raise ConfigError((f"{path}: {problem}. {remedy}.",))


def parse_config(text: str, *, name: str = "unstick.yaml", on_cloud_run: bool = False) -> Config:
    """Read the text of a file. `name` is its name in mistakes. Raises ConfigError with all of them: contradictions between keys
    once each value is right by itself."""
    written = _Written(text)
    top, schema, unread = written.top, file_schema(), {path for _, path, _, _ in written.mistakes}
    if isinstance(top, dict) and top.keys() & schema["properties"].keys():
        for mistake in find_mistakes(top, schema):
            if mistake[0] not in unread:
                written.report(*mistake)
    elif not written.mistakes:  # probably another file: repeat nothing of it
        written.report((), "is not a configuration of Unstick", BEGIN)
    _raise_mistakes(written, name)
    data = read(top, schema)
    for mistake in find_inconsistencies(top, convert(data, File), on_cloud_run=on_cloud_run):
        written.report(*mistake)
    _raise_mistakes(written, name)
    ((runner, settings),) = _systems("runners", data).items()
    return to_config({**data, "runner": {"name": runner, "adapter": settings}, "symptoms": _systems("symptoms", data)})


def _raise_mistakes(written: _Written, name: str) -> None:
    mistakes = sorted(written.mistakes, key=lambda mistake: mistake[0])
    if mistakes:
        raise ConfigError(
            tuple(f"{name}:{line}: {show_path(path)} {what}. {_end(remedy)}" for line, path, what, remedy in mistakes)
        )


def _end(remedy: str) -> str:
    return remedy if remedy.endswith("?") else f"{remedy}."


def _systems(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in adapter_names(kind) if name in data}
