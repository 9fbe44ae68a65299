"""unstick.yaml to a Config. All mistakes are reported at once, each with its place, line and remedy."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from functions.config import registry
from functions.config.consistency import find_inconsistencies
from functions.config.schema import file_schema
from functions.config.settings import Config, to_config
from functions.config.validation import find_mistakes, read
from functions.config.yaml_tree import Tree, parse_yaml, show_path
from functions.runtime.errors import ConfigError

BEGIN = "Begin with the example in docs/configuration.md"


def load_config(path: str | Path, *, on_cloud_run: bool | None = None) -> Config:
    """Read a file. `on_cloud_run`: where it will run; None: where this process runs. Raises ConfigError with all mistakes."""
    here = "K_SERVICE" in os.environ
    return parse_config(_read(path), name=Path(path).name, on_cloud_run=here if on_cloud_run is None else on_cloud_run)


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem = "there is no such file. Create it (docs/configuration.md has an example), or name another by UNSTICK_CONFIG."
    except UnicodeDecodeError:
        problem = "the file is not UTF-8. Save it as UTF-8."
    except OSError as error:
        problem = f"the file can't be read ({type(error).__name__}). Fix its permissions or the path."
    raise ConfigError((f"{path}: {problem}",))


def parse_config(text: str, *, name: str = "unstick.yaml", on_cloud_run: bool = False) -> Config:
    """Read the text of a file. `name` is its name in mistakes. Raises ConfigError with all of them."""
    tree = parse_yaml(text)
    top = tree.value
    if not isinstance(top, dict):
        if not tree.mistakes:
            tree.report((), "is not a mapping", BEGIN)
    elif not top.keys() & file_schema()["properties"].keys():  # probably another file: repeat nothing of it
        tree.report((), "is not a configuration of Unstick", BEGIN)
    else:
        _report_mistakes(tree, on_cloud_run=on_cloud_run)
    if tree.mistakes:
        mistakes = sorted(tree.mistakes, key=lambda mistake: mistake.line)
        raise ConfigError(tuple(f"{name}:{one.line}: {show_path(one.path)} {one.what}. {_end(one.remedy)}" for one in mistakes))
    data = read(top, file_schema())
    ((runner, settings),) = _systems("runners", data).items()
    return to_config({**data, "runner": {"name": runner, "adapter": settings}, "symptoms": _systems("symptoms", data)})


def _report_mistakes(tree: Tree, *, on_cloud_run: bool) -> None:
    """Report what the schema finds, and contradictions between keys in the places that the schema accepts."""
    known = {mistake.path for mistake in tree.mistakes}
    by_schema = [one for one in find_mistakes(tree.value, file_schema()) if one[0] not in known]
    wrong = known | {place for place, _, _ in by_schema}
    for mistake in (*by_schema, *find_inconsistencies(tree.value, wrong, on_cloud_run=on_cloud_run)):
        tree.report(*mistake)


def _end(remedy: str) -> str:
    return remedy if remedy.endswith("?") else f"{remedy}."


def _systems(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in registry.adapter_names(kind) if name in data}
