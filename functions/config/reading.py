"""A mapping of unstick.yaml to a Struct, by its annotations. Unknown keys are mistakes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import EnumType
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from functions.config import kinds
from functions.config.kinds import Kind
from functions.config.yaml_nodes import FAILED, Node, Reading
from functions.runtime.secrets import SecretRef

T = TypeVar("T")
Special = Mapping[tuple[type, str], Kind]
"""The kinds of fields, by class and name, that their annotations don't tell."""
NONE_SPECIAL: Special = {}


class Key(Struct, frozen=True):
    """One key of a mapping that becomes a Struct."""

    name: str
    field: str
    kind: Kind
    required: bool
    default: Any


def keys(made: type, special: Special = NONE_SPECIAL) -> dict[str, Key]:
    """The keys of a Struct: its fields' names, without the `_s` of durations."""
    found = {}
    for one in fields(made):
        default = one.default if one.default_factory is NODEFAULT else one.default_factory()
        kind = special.get((made, one.name)) or kind_of(one.type, one.name, special)
        if kind is kinds.TEXT and default == "":
            kind = kinds.OPTIONAL_TEXT
        name = one.name.removesuffix("_s") if one.type is float else one.name
        found[name] = Key(name, one.name, kind, one.required, default)
    return found


def kind_of(hint: Any, name: str, special: Special = NONE_SPECIAL) -> Kind:
    """The kind of a field by its annotation and, for URLs and durations, by its name."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is not None:
        return _kind_of_several(origin, inner, name, special)
    if isinstance(hint, EnumType):
        return kinds.choice([str(hint[name]) for name in hint.__members__], hint)
    if isinstance(hint, type) and issubclass(hint, Struct) and hint is not SecretRef:
        return Kind("a mapping", lambda node, reading: read_fields(hint, node, reading, special), {"struct": hint})
    if hint is str and (name == "url" or name.endswith("_url")):
        return kinds.URL
    if hint is float and name.endswith("_s"):
        return kinds.duration(0.001)
    numbers = {int: kinds.whole(0), float: kinds.number("a number of 0 or more")}
    by_type = {str: kinds.TEXT, bool: kinds.FLAG, SecretRef: kinds.SECRET, **numbers}
    if hint not in by_type:
        raise TypeError(f"the field {name} has a type that configuration can't be read into: {hint}")
    return by_type[hint]


def _kind_of_several(origin: Any, inner: tuple[Any, ...], name: str, special: Special) -> Kind:
    if origin in (Union, UnionType):
        return kinds.nullable(kind_of(next(one for one in inner if one is not type(None)), name, special))
    if origin is Literal:
        return kinds.choice(inner)
    if origin is tuple:
        return kinds.listing(kind_of(inner[0], "", special), least=1 if inner[0] is SecretRef else 0)
    if issubclass(origin, Mapping):
        return kinds.mapped(kind_of(inner[1], "", special), "name")
    raise TypeError(f"the field {name} has a type that configuration can't be read into: {origin}")


def read_fields(
    made: type[T], node: Node, reading: Reading, special: Special = NONE_SPECIAL, *, but: Collection[str] = ()
) -> T | Any:
    """Read a mapping into a Struct; FAILED if it is none. Keys in `but` are somebody else's.

    A required field that failed becomes None, so that what depends on the others is still looked at; nothing of it is used
    once there is a mistake.
    """
    if not isinstance(node.value, dict):
        return reading.wrong(node, "is not a mapping", "Write its keys below it, or in {...}")
    known = keys(made, special)
    for key, child in node.value.items():
        if key not in known and key not in but:
            unknown(child, key, (*known, *but), reading)
    values: dict[str, Any] = {}
    for key in known.values():
        value = _value(key, node, reading)
        if value is not FAILED or key.required:
            values[key.field] = None if value is FAILED else value
    try:
        return made(**values)
    except ValueError as error:  # a room's Settings may refuse what does not go together
        return reading.wrong(node, str(error), "See docs/configuration.md")


def _value(key: Key, node: Node, reading: Reading) -> Any:
    child = node.under(key.name)
    if child is not None:
        return key.kind.read(child, reading)
    return reading.wrong(node, f"lacks the key {key.name}", f"Add `{key.name}:`, {key.kind.words}") if key.required else FAILED


def unknown(child: Node, key: str, known: Collection[str], reading: Reading) -> None:
    """Say that a key is not known, and what was probably meant."""
    from difflib import get_close_matches  # 3 ms, and only for who made a mistake

    close = get_close_matches(key, list(known), n=1, cutoff=0.6)
    all_known = f"Known here: {', '.join(sorted(known)) or 'nothing'}"
    reading.wrong(child, "is not known", f"Did you mean {close[0]}" if close else all_known)
