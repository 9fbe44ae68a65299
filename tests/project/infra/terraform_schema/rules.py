"""What the provider's own validators would say of a configuration, from the `rules` of google-schema.json."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from messages import UNKNOWN, mistake


def _taken(read: Callable[[str], object]) -> Callable[[str], bool]:
    """Whether a reader takes the value without raising ValueError."""

    def takes(value: str) -> bool:
        try:
            read(value)
        except ValueError:
            return False
        return True

    return takes


FORMATS: dict[str, Callable[[str], object]] = {
    "base64": _taken(lambda value: base64.b64decode(value, validate=True)),
    "json": _taken(json.loads),
    "cidr": lambda value: "/" in value and _taken(lambda network: ipaddress.ip_network(network, strict=False))(value),
    "iam-member": lambda value: (
        not value.startswith("deleted") and re.search(r".+:.+|project(Owners|Readers|Writers)|all(Authenticated)?Users", value)
    ),
    "domain": lambda value: re.fullmatch(r"[-a-z0-9]+(\.[-a-z0-9]+)+", value),
}


def _lookup(root: Any, path: str) -> Any:
    """What stands at a path such as service_config.0.vpc_connector; None where nothing was set."""
    value = root
    for step in path.split("."):
        if value is UNKNOWN:
            return UNKNOWN
        if step.isdigit():
            value = value[int(step)] if isinstance(value, list) and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return None
    return None if value == [] else value


def _together(rule: dict[str, Any], dotted: str, root: Any) -> Iterator[str]:
    """One of several must be set; the argument itself counts."""
    for name, most in (("exactly_one_of", 1), ("at_least_one_of", None)):
        if name not in rule:
            continue
        paths = sorted({dotted, *rule[name]})
        values = {path: _lookup(root, path) for path in paths}
        given = [path for path, value in values.items() if value is not None and value is not UNKNOWN]
        unknown = any(value is UNKNOWN for value in values.values())
        if (most and len(given) > most) or (not given and not unknown):
            yield f"{name.replace('_', ' ')} {paths}: given is {given or 'none'}"


def _alone(rule: dict[str, Any], dotted: str, value: Any) -> Iterator[str]:
    """What a value by itself must be."""
    if "enum" in rule and value not in rule["enum"]:
        yield f"expected {dotted} to be one of {rule['enum']}, got {value!r}"
    if "regex" in rule and not re.search(rule["regex"], value):
        yield f"{dotted} ({value!r}) must match {rule['regex']}"
    if "length" in rule and not rule["length"][0] <= len(value) <= rule["length"][1]:
        yield f"{dotted} ({value!r}): its length must be in {rule['length']}"
    if "range" in rule and not rule["range"][0] <= value <= rule["range"][1]:
        yield f"{dotted} ({value!r}) must be in {rule['range']}"
    if "format" in rule and not FORMATS[rule["format"]](value):
        yield f"{dotted} ({value!r}) is no valid {rule['format']}"


def _broken(rule: dict[str, Any], dotted: str, value: Any, root: Any) -> Iterator[str]:
    yield from _together(rule, dotted, root)
    if value is None or value == []:
        return
    for path in rule.get("conflicts_with", []):
        if path != dotted and _lookup(root, path) not in (None, UNKNOWN):
            yield f"{dotted} conflicts with {path}"
    for path in rule.get("required_with", []):
        if _lookup(root, path) is None:
            yield f"{dotted} requires {path}"
    if value is not UNKNOWN:
        yield from _alone(rule, dotted, value)


class Check:
    """One configuration of one resource. `rules`: by the path without places in lists; with [] for each item of a list."""

    def __init__(self, root: Any, rules: dict[str, Any]) -> None:
        self.root, self.rules = root, rules
        self.mistakes: list[bytes] = []

    def walk(self, block: dict[str, Any], value: Any, path: list[str | int], names: list[str]) -> None:
        if not isinstance(value, dict):
            return
        for name, attribute in block.get("attributes", {}).items():
            if value.get(name) is not None and not (attribute.get("required") or attribute.get("optional")):
                self.mistakes.append(mistake([*path, name], f"{'.'.join([*names, name])} is decided by the service."))
            self._one(name, value.get(name), path, names)
        for name, nested in block.get("block_types", {}).items():
            here = value.get(name)
            self._one(name, here, path, names)
            items = here if isinstance(here, list) else [] if here is None else [here]
            for place, item in enumerate(items):
                deeper = [*path, name, place] if nested["nesting_mode"] == "list" else [*path, name]
                self.walk(nested["block"], item, deeper, [*names, name])

    def _one(self, name: str, value: Any, path: list[str | int], names: list[str]) -> None:
        dotted = ".".join([*names, name])
        place = [*path, name]
        said = list(_broken(self.rules.get(dotted, {}), ".".join(map(str, place)), value, self.root))
        if isinstance(value, list) and f"{dotted}[]" in self.rules:
            for item in value:
                said += _broken(self.rules[f"{dotted}[]"], dotted, item, self.root)
        self.mistakes += [mistake(place, sentence) for sentence in said]
