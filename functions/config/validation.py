"""All mistakes of a file by its schema, each with its place and how to fix it; and the values where there are none.

A scalar is a text here, as it stands in the file, so the checks of types read it. No mistake repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from jsonschema import Draft202012Validator, TypeChecker, ValidationError, validators

from functions.config.formats import FORMATS, read_duration, show_duration
from functions.config.schema import Schema, adapter_schema, describe
from functions.config.yaml_tree import Path
from functions.runtime import registry

T = TypeVar("T")
_NAMES = {"object": "a mapping", "array": "a list", "string": "a text"}


def find_mistakes(value: Any, schema: Schema) -> Iterator[tuple[Path, str, str]]:
    """(place, what is wrong there, how to fix it) of each mistake."""
    for error in _flatten(_validator().evolve(schema=schema).iter_errors(value)):
        yield from _explain(tuple(error.absolute_path), error)


def convert(value: Any, schema: Schema, kind: type[T]) -> T:
    """What was found without a mistake, as a struct."""
    return msgspec.convert(_read(value, schema), kind, strict=False)


def unknown(name: str, known: Collection[str]) -> tuple[str, str]:
    """What is said of a key that is not known, with what was probably meant."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return "is not known", f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(sorted(known)) or 'nothing'}"


def _flatten(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """Of what may be null, the mistakes of what it is otherwise."""
    for error in errors:
        if error.validator == "anyOf":
            yield from _flatten(one for one in error.context or () if one.schema_path[0] == 0)
        else:
            yield error


def _explain(path: Path, error: ValidationError) -> Iterator[tuple[Path, str, str]]:
    schema: Any = error.schema
    value: Any = error.instance
    write = f"Write {describe(schema)}"
    match error.validator:
        case "additionalProperties":
            for name in value.keys() - schema["properties"].keys():
                yield (*path, name), *unknown(name, schema["properties"])
        case "required":
            yield (
                path,
                f"lacks the key {error.message}",
                f"Add `{error.message}:`, {describe(schema['properties'][error.message])}",
            )
        case "type" if value is None:
            yield path, "has no value", write
        case "type" if "enum" not in schema and not isinstance(schema["type"], list) and schema["type"] in _NAMES:
            yield path, f"is not {_NAMES[schema['type']]}", write
        case "minItems" | "minProperties":
            yield path, "is empty", "Name at least 1"
        case "format":
            yield path, error.message, write
        case "adapters":
            yield path, error.message, str(error.validator_value)
        case "minimum" | "maximum" if schema.get("format") == "duration":
            yield path, f"is not between {show_duration(schema['minimum'])} and {show_duration(schema['maximum'])}", write
        case _:
            yield path, f"is not {describe(schema)}", "Write one that is"


# --- keywords ---------------------------------------------------------------------------------------------------------------


@lru_cache
def _validator() -> Any:
    keywords = {"required": _required, "format": _format, "minimum": _minimum, "maximum": _maximum, "adapters": _adapters}
    types: dict[str, Any] = {
        "integer": _is_written(r"\d{1,12}"),
        "number": _is_written(r"\d{1,12}(\.\d{1,6})?"),
        "boolean": _is_written("true|false"),
        "string": lambda _, one: isinstance(one, str),
        "null": lambda _, one: one is None,
        "array": lambda _, one: isinstance(one, list),
        "object": lambda _, one: isinstance(one, dict),
    }
    extend: Any = validators.extend
    return extend(Draft202012Validator, keywords, type_checker=TypeChecker(types))({})


def _is_written(pattern: str) -> Callable[[Any, Any], bool]:
    return lambda _, one: isinstance(one, str) and re.fullmatch(pattern, one, re.ASCII) is not None


def _required(_: Any, names: list[str], instance: Any, __: Schema) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        yield from (ValidationError(name) for name in names if name not in instance)


def _format(validator: Any, name: str, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    others = {key: value for key, value in schema.items() if key not in ("format", "minimum", "maximum")}
    if validator.evolve(schema=others).is_valid(instance):
        try:
            FORMATS[name].read(instance)
        except ValueError as error:
            yield ValidationError(str(error))


def _minimum(validator: Any, least: float, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if (number := _number(validator, instance, schema)) is not None and number < least:
        yield ValidationError("")


def _maximum(validator: Any, most: float, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if (number := _number(validator, instance, schema)) is not None and number > most:
        yield ValidationError("")


def _number(validator: Any, instance: Any, schema: Schema) -> float | None:
    if schema.get("format") == "duration" and isinstance(instance, str):
        try:
            return read_duration(instance)
        except ValueError:
            return None
    return float(instance) if validator.is_type(instance, "number") else None


def _adapters(validator: Any, kind: str, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    names = registry.adapter_names(kind.rpartition("/")[2])
    place, name, settings = _choose(kind, instance)
    if kind == "chats" and name is None and isinstance(instance, dict):
        yield ValidationError("lacks the key type", validator_value=f"Add `type:`, one of {', '.join(names)}")
    elif name is None:
        yield ValidationError(f"is not {describe(schema)}", validator_value="Name exactly one")
    elif name in names:
        yield from validator.descend(settings, adapter_schema(kind, name), path=place)
    else:
        what, remedy = unknown(name, names)
        yield ValidationError(what, validator_value=remedy, path=["type" if place is None else name])


def _choose(kind: str, instance: Any) -> tuple[str | None, str | None, Any]:
    """(the key that it stands under, the adapter's name, its settings); no name where there is not exactly one."""
    if not isinstance(instance, dict):
        return None, None, None
    if kind == "chats":
        name = instance.get("type")
        return None, name if isinstance(name, str) else None, {key: one for key, one in instance.items() if key != "type"}
    return next(((name, name, settings) for name, settings in instance.items() if len(instance) == 1), (None, None, None))


# --- values -----------------------------------------------------------------------------------------------------------------


def _read(value: Any, schema: Schema) -> Any:
    """The value as msgspec takes it."""
    if "anyOf" in schema:
        return None if value is None else _read(value, schema["anyOf"][0])
    if "adapters" in schema:
        return _read_adapter(value, schema["adapters"])
    if "format" in schema:
        return FORMATS[schema["format"]].read(value)
    if isinstance(value, dict):
        properties: Mapping[str, Schema] = schema.get("properties", {})
        return {key: _read(one, properties.get(key) or schema["additionalProperties"]) for key, one in value.items()}
    return [_read(one, schema["items"]) for one in value] if isinstance(value, list) else value


def _read_adapter(value: Any, kind: str) -> Any:
    _, name, settings = _choose(kind, value)
    if name is None:
        raise msgspec.ValidationError(kind)
    if kind == "runbook/symptoms":
        module = registry.load_adapter("symptoms", name)
        return msgspec.to_builtins(module.to_symptom(convert(settings, adapter_schema(kind, name), module.Symptom)))
    return {"name": name, "settings": convert(settings, adapter_schema(kind, name), registry.load_adapter(kind, name).Settings)}
