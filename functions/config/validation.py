"""The JSON Schema of unstick.yaml, made from the types and from formats.py, and all mistakes by it, with place and remedy.

Every scalar is a text there, as it stands in the file, and has a format. The keyword `adapters` stands for the keys of whichever
adapter the file names there. Then come the mistakes that no schema shows: between keys whose values are right by themselves. No
mistake repeats a value."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, ValidationError, validators

from functions.config.formats import FORMATS, STRUCTS, show_duration
from functions.config.settings import LOCAL, Auth, File, adapter_names, load_adapter
from functions.domain.decisions.matching import HOLDER_HOST, template_labels
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import OWN_OPTIONS, EvidenceJob, Restart, Runbook
from functions.domain.texts.patterns import full_match, mask
from functions.runtime.structs import convert

Path = tuple[str | int, ...]  # keys and list indexes, from the top of the file
Schema = Mapping[str, Any]


class Unshown(str):
    """A key that may be a secret: it leads to its line, and isn't shown."""

    __slots__ = ()


@lru_cache
def schema_of(struct: type) -> Schema:
    """The schema of a struct, with those of its parts inlined. Unknown keys are mistakes."""
    schema = msgspec.json.schema(struct)
    return _written({"$ref": schema["$ref"]}, schema["$defs"])


def adapter_schema(kind: str, name: str) -> Schema:
    """The keys of one adapter. `runbook/symptoms` stands for the keys of a symptom in a runbook."""
    if kind == "runbook/symptoms":
        return schema_of(load_adapter("symptoms", name).Keys)
    return schema_of(load_adapter(kind, name))


@lru_cache
def file_schema() -> Schema:
    """The schema of the whole file, including the top-level keys of the runner and the symptoms."""
    top = schema_of(File)
    systems = {name: adapter_schema(kind, name) for kind in ("runners", "symptoms") for name in adapter_names(kind)}
    return {**top, "properties": {**top["properties"], **systems}}


def describe(schema: Schema) -> str:
    """Describe to people how a value is written."""
    if "format" in schema:
        words = FORMATS[schema["format"]].words + _describe_bounds(schema)
    elif "enum" in schema:
        words = "one of " + ", ".join(schema["enum"])
    elif "adapters" in schema:
        return describe(expand_adapters(schema["adapters"]))
    elif "maxProperties" in schema:
        words = f"{{NAME: {{...}}}} with NAME one of {', '.join(schema['properties'])}"
    elif "allOf" in schema:
        words = f"{{type: {'|'.join(schema['properties']['type']['enum'])}, ...}}"
    elif "items" in schema:
        words = f"a list, each {describe(schema['items'])}"
    else:
        words = "a mapping, its keys below it or in {...}"
    return f"{words}, or null" if "null" in schema.get("type", ()) else words


def _describe_bounds(schema: Schema) -> str:
    show = show_duration if schema["format"] == "duration" else str
    if "minimum" not in schema:
        return ""
    low = show(schema["minimum"])
    return f" from {low} to {show(schema['maximum'])}" if "maximum" in schema else f" of {low} or more"


def _written(part: Schema, structs: Schema) -> dict[str, Any]:
    if "adapters" in part:
        return {"adapters": part["adapters"]}
    if "anyOf" in part:  # a type or null; flat, so that mistakes are reported for the type alone
        inner = _written(part["anyOf"][0], structs)
        return {**inner, "type": [inner["type"], "null"], "default": part["default"]}
    name = part.get("$ref", "").rpartition("/")[2]
    whole = {**({"format": STRUCTS[name]} if name in STRUCTS else structs.get(name, {})), **part}
    part = {key: value for key, value in whole.items() if key not in ("$ref", "title")}
    match part:
        case {"format": form}:
            kept = {key: part[key] for key in ("format", "minimum", "maximum", "default") if key in part}
            part = dict(FORMATS[form].schema) | kept
        case {"properties": properties}:
            part["properties"] = {key: _written(inner, structs) for key, inner in properties.items()}
            part["additionalProperties"] = False
        case {"items": inner}:
            part["items"] = _written(inner, structs)
        case {"additionalProperties": inner}:
            part["additionalProperties"] = _written(inner, structs)
        case {"type": "string"}:
            part["format"] = "optional-text" if part.get("default") == "" else "text"
        case {"type": scalar}:
            least = {"minimum": 0} if scalar == "integer" else {}
            part = {**least, **part, "type": "string", "format": scalar}
    return part


def expand_adapters(kind: str, named: Mapping[str, Schema] = MappingProxyType({})) -> dict[str, Any]:
    """The schema of one adapter: a chat has a key `type` beside its own keys; others are a mapping with one key, the name.
    `named`: the adapters whose keys are included; the others are listed by name only, and not imported."""
    settings = {name: named.get(name, {}) for name in adapter_names(kind.rpartition("/")[2])}
    if kind != "chats":
        by_name = {"properties": settings, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
        return {"type": "object", **by_name}
    chats = [
        {
            "if": {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {**keys, "properties": {"type": {}, **keys["properties"]}},
        }
        for name, keys in settings.items()
        if keys
    ]
    return {"type": "object", "properties": {"type": {"enum": list(settings)}}, "required": ["type"], "allOf": chats}


# --- mistakes


def find_mistakes(value: Any, schema: Schema) -> Iterator[tuple[Path, str, str]]:
    """(place, what is wrong there, how to fix it) of each mistake."""
    for error in _VALIDATOR.evolve(schema=schema).iter_errors(value):
        yield from _explain(tuple(error.absolute_path), error)


def read(value: Any, schema: Schema) -> Any:
    """The values without mistakes, in the JSON form that the types expect."""
    if value is None:
        return None
    if kind := schema.get("adapters"):
        return _read_adapter(kind, value)
    if "format" in schema:
        return FORMATS[schema["format"]].read(value)
    if isinstance(value, dict):
        properties: Mapping[str, Schema] = schema.get("properties", {})
        return {key: read(item, properties.get(key) or schema["additionalProperties"]) for key, item in value.items()}
    return [read(item, schema["items"]) for item in value] if isinstance(value, list) else value


def _read_adapter(kind: str, value: Mapping[str, Any]) -> Any:
    if kind == "chats":
        name, settings = value["type"], {key: setting for key, setting in value.items() if key != "type"}
    else:
        ((name, settings),) = value.items()
    settings = read(settings, adapter_schema(kind, name))
    if kind == "runbook/symptoms":
        return msgspec.to_builtins(convert(settings, load_adapter("symptoms", name).Keys).to_symptom())
    return {"name": name, "adapter": settings}


def _explain(path: Path, error: ValidationError) -> Iterator[tuple[Path, str, str]]:
    schema: Any = error.schema
    match error.validator:
        case _ if error.instance is None:
            yield path, "has no value", f"Write {describe(schema)}"
        case "additionalProperties":
            instance: Any = error.instance
            for name in instance.keys() - schema["properties"].keys():
                yield (*path, _shown(name)), *_unknown(name, schema["properties"])
        case "required":
            name = error.message
            yield path, f"lacks the key {name}", f"Add `{name}:`, {describe(schema['properties'][name])}"
        case "minItems" | "minProperties" if "maxProperties" not in schema:
            yield path, "is empty", "Name at least 1"
        case "format" if error.message:
            yield path, error.message, f"Write {describe(schema)}"
        case _:
            yield path, f"is not {describe(schema)}", "Name exactly one" if "maxProperties" in schema else "Write one that is"


def _shown(name: str) -> str:
    """An unknown key as it may be shown: somebody may have written a secret in its place, and mistakes end in logs."""
    return name if re.fullmatch("[a-z_]{1,24}", name) else Unshown(name)


def _unknown(name: str, known: Collection[str]) -> tuple[str, str]:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return "is not known", f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(sorted(known)) or 'nothing'}"


def _required(_: Any, names: list[str], instance: Any, __: Schema) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        yield from (ValidationError(name) for name in names if name not in instance)


def _format(validator: Any, name: str, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    others = {key: value for key, value in schema.items() if key != "format"}
    if instance is None or not validator.evolve(schema=others).is_valid(instance):
        return
    try:
        value = FORMATS[name].read(instance)
    except ValueError as error:
        yield ValidationError(str(error))
    else:
        if "minimum" in schema and not schema["minimum"] <= value <= schema.get("maximum", value):
            yield ValidationError("")


def _adapters(validator: Any, kind: str, instance: Any, _: Schema) -> Iterator[ValidationError]:
    here = {*instance.keys(), str(instance.get("type"))} if isinstance(instance, dict) else set()
    names = here.intersection(adapter_names(kind.rpartition("/")[2]))
    yield from validator.descend(instance, expand_adapters(kind, {name: adapter_schema(kind, name) for name in names}))


_VALIDATOR = validators.extend(Draft202012Validator, {"required": _required, "format": _format, "adapters": _adapters})({})


Mistakes = Iterator[tuple[Path, str, str]]  # (place, what is wrong there, how to fix it)


def find_inconsistencies(top: Mapping[str, Any], file: File, *, on_cloud_run: bool) -> Mistakes:
    """Find contradictions between the keys of the file. `top`: as written."""
    yield from _check_systems(top, file, on_cloud_run=on_cloud_run)
    yield from _check_places(file, on_cloud_run=on_cloud_run)
    yield from _check_channels(file)
    restarting, names = {runbook.restart.job.lower() for runbook in file.runbooks}, dict[str, int]()
    for n, runbook in enumerate(file.runbooks):
        here: Path = ("runbooks", n)
        if (first := names.setdefault(runbook.name, n)) != n:
            yield (*here, "name"), "is the name of another runbook too", f"Rename it; the first is runbooks[{first}]"
        written = top["runbooks"][n]["symptom"]
        for place, what, remedy in (*_check_symptom(written, runbook), *_check_runbook(runbook, top, restarting)):
            yield (*here, *place), what, remedy


def _check_systems(top: Mapping[str, Any], file: File, *, on_cloud_run: bool) -> Mistakes:
    runners, symptoms = adapter_names("runners"), adapter_names("symptoms")
    if sum(name in top for name in runners) != 1:
        yield (), "names no runner or several", f"Add exactly one of {', '.join(runners)}"
    if not any(name in top for name in symptoms):
        yield (), "names no symptom", f"Add one of {', '.join(symptoms)}"
    if file.identity_header and not file.machine_tokens:
        remedy = "Add `machine_tokens:`, and have the proxy send one of them beside the header: anybody can send the header alone"
        yield ("identity_header",), "is anybody's", remedy
    if file.grafana.auth == Auth():
        yield ("grafana", "auth"), "names no authentication method", "Add at least one of hmac, basic and bearer"
    for symptom in symptoms:
        for name, value in top.get(symptom, {}).get("headers", {}).items():
            if mask(line := f"{name}: {value}") != line:
                what, remedy = "looks like a secret, and is written out", "Use `token` or `password`, or a proxy"
                yield (symptom, "headers", name), what, remedy
    for name in runners if on_cloud_run else ():
        if name in top and load_adapter("runners", name).needs_machine:
            remedy = "Use another runner, or run Unstick on a machine of its own"
            yield (name,), "starts processes here, and Cloud Run keeps none", remedy


def _check_places(file: File, *, on_cloud_run: bool) -> Mistakes:
    properties = file_schema()["properties"]
    for key in ("scheduler", "signing_keys"):
        if not getattr(file, key) and file.store.name != LOCAL:
            yield (), f"lacks the key {key}", f"Add `{key}:`, {describe(properties[key])}; only a local store needs none"
    for key, named in (("store", file.store), ("scheduler", file.scheduler)):
        if on_cloud_run and named and named.name == LOCAL:
            remedy = "Use cloud_storage for the store, cloud_tasks for the scheduler"
            yield (key,), "is local, and Cloud Run keeps no files", remedy


def _check_channels(file: File) -> Mistakes:
    lists: dict[Path, tuple[str, ...]] = {("notify",): file.notify}
    if file.report:
        lists["report", "channels"] = file.report.channels
    for n, runbook in enumerate(file.runbooks):
        lists |= {("runbooks", n, "notify"): runbook.notify, ("runbooks", n, "escalate"): runbook.escalate}
    for place, names in lists.items():
        for n, name in enumerate(names):
            if name not in file.channels:
                remedy = f"Known: {', '.join(file.channels)}; add it to `channels:` or fix the name"
                yield (*place, n), "names no channel", remedy


def _check_symptom(written: Mapping[str, Any], runbook: Runbook) -> Mistakes:
    for kind, keys in written.items():
        shape = load_adapter("symptoms", kind).Keys
        settings = convert(read(keys, adapter_schema("runbook/symptoms", kind)), shape)
        for key, what, remedy in settings.find_mistakes():
            yield ("symptom", kind, key), what, remedy
        if "for_at_most" in keys and runbook.symptom.for_at_most_s < runbook.symptom.for_s:
            yield ("symptom", kind, "for_at_most"), "is shorter than `for`", "Lengthen it; as long as `for`, nothing is learned"
        for key, remedy in shape.NEEDED_BY_AUTO.items() if runbook.mode is Mode.AUTO else ():
            if not keys.get(key) or template_labels(str(keys[key])):
                yield ("symptom", kind, key), "must be written out for `mode: auto`", remedy


def _check_runbook(runbook: Runbook, top: Mapping[str, Any], restarting: set[str]) -> Mistakes:
    symptom = runbook.symptom
    if runbook.mode is Mode.APPROVE and not top.get("public_url"):
        yield ("mode",), "is approve, and approval links have no address", "Add `public_url:`"
    if symptom.kind not in top:
        yield ("symptom",), "can't be observed", f"Add `{symptom.kind}:` with its address at the top of the file"
    yield from _check_options("restart", runbook.restart)
    yield from _check_holder(runbook.restart)
    if runbook.evidence is not None:
        yield from _check_options("evidence", runbook.evidence)
        if runbook.evidence.job.lower() in restarting:
            remedy = "Name a job that only reads (docs/evidence.md): its runs would be taken for restarts"
            yield ("evidence", "job"), "is a job that restarts something", remedy
    if "recovered" not in symptom.keys and runbook.recovered.max_messages > symptom.max_messages:
        remedy = "Lower it: what counts as stuck must not count as recovered"
        yield ("recovered", "max_messages"), "is more than the symptom's max_messages", remedy


def _check_options(key: str, job: Restart | EvidenceJob) -> Mistakes:
    for name, template in job.options.items():
        here = (key, "options", name)
        if name in OWN_OPTIONS:
            yield here, "is an option that Unstick sets by itself", "Remove it here; the job must have it"
        taken = "a host" if template == HOLDER_HOST else "a label's value" if template_labels(template) else ""
        if taken and name not in job.allow:
            remedy = f"Add `allow: {{{name}: '[a-z0-9][a-z0-9-]{{0,39}}'}}` with what the job can take"
            yield here, f"takes {taken} that no pattern limits", remedy


NO_HOSTS = ("--help", "-h", "-", ".*", "*", "a b", "a,b", "a;b", "$(a)")
"""What a command line, a shell or a node filter would take for something other than one host."""


def _check_holder(restart: Restart) -> Mistakes:
    if restart.holder is None:
        return
    name, pattern, here = restart.holder.option, restart.holder.allow, ("restart", "holder")
    if name in OWN_OPTIONS:
        yield (*here, "option"), "is an option that Unstick sets by itself", "Name another option of the job"
    if name in restart.options or name in restart.allow:
        remedy = "Remove it there: it is sent only where a single host hangs, so it can't be part of the target"
        yield (*here, "option"), "is one of the target's options, too", remedy
    if any(full_match(pattern, text) for text in NO_HOSTS):
        remedy = r"Name your hosts, such as '10\.0\.3\.[0-9]{1,3}' or 'mail-[0-9]{1,2}'"
        yield (*here, "allow"), "also takes what is no host, such as --help, .* or several words", remedy
