"""As much of Terraform's provider protocol 5 as is needed here: its messages, by protobuf, and the values that they carry."""

import json
from collections.abc import Iterator
from typing import Any

import msgpack
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MESSAGES = {
    "Value": "msgpack:bytes=1 json:bytes=2",
    "State": "json:bytes=1",
    "Step": "attribute_name:string=1 element_key_int:int64=3",
    "Path": "steps:Step[]=1",
    "Diagnostic": "severity:int64=1 summary:string=2 detail:string=3 attribute:Path=4",
    "Attribute": "name:string=1 type:bytes=2 required:bool=4 optional:bool=5 computed:bool=6 sensitive:bool=7 deprecated:bool=9 "
    "write_only:bool=10 deprecation_message:string=11",
    "Nested": "type_name:string=1 block:Block=2 nesting:int64=3 min_items:int64=4 max_items:int64=5",
    "Block": "attributes:Attribute[]=2 block_types:Nested[]=3",
    "Schema": "version:int64=1 block:Block=2",
    "Named": "key:string=1 value:Schema=2",
    "Imported": "type_name:string=1 state:Value=2",
    "Capabilities": "get_provider_schema_optional:bool=2",
}
VALIDATE = ("type_name:string=1 config:Value=2", "diagnostics:Diagnostic[]=1")
CALLS = {
    "GetSchema": (
        "",
        "provider:Schema=1 resource_schemas:Named[]=2 data_source_schemas:Named[]=3 server_capabilities:Capabilities=6",
    ),
    "PrepareProviderConfig": ("config:Value=1", "prepared_config:Value=1"),
    "ValidateResourceTypeConfig": VALIDATE,
    "ValidateDataSourceConfig": VALIDATE,
    "Configure": ("", ""),
    "Stop": ("", ""),
    "UpgradeResourceState": ("type_name:string=1 raw_state:State=3", "upgraded_state:Value=1"),
    "ReadResource": ("current_state:Value=2", "new_state:Value=1"),
    "PlanResourceChange": (
        "type_name:string=1 prior_state:Value=2 proposed_new_state:Value=3",
        "planned_state:Value=1 requires_replace:Path[]=2 legacy_type_system:bool=5",
    ),
    "ApplyResourceChange": (
        "type_name:string=1 prior_state:Value=2 planned_state:Value=3",
        "new_state:Value=1 diagnostics:Diagnostic[]=3 legacy_type_system:bool=4",
    ),
    "ImportResourceState": ("type_name:string=1 id:string=2", "imported_resources:Imported[]=1"),
    "ReadDataSource": ("type_name:string=1 config:Value=2", "state:Value=1 diagnostics:Diagnostic[]=2"),
}
"""A call's request and response, as far as they are read or written here. Terraform passes over what is left out."""

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {"bytes": FIELD.TYPE_BYTES, "string": FIELD.TYPE_STRING, "bool": FIELD.TYPE_BOOL, "int64": FIELD.TYPE_INT64}
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}


def _classes() -> Iterator[tuple[str, Any]]:
    file = descriptor_pb2.FileDescriptorProto(name="tfplugin5.proto", package="tfplugin5", syntax="proto2")
    messages = dict(MESSAGES)
    for call, (request, response) in CALLS.items():
        messages |= {f"{call}Request": request, f"{call}Response": response}
    for name, fields in messages.items():
        described = file.message_type.add(name=name)
        for field, _, rest in (one.partition(":") for one in fields.split()):
            kind, _, number = rest.partition("=")
            own = kind.removesuffix("[]")
            label = FIELD.LABEL_OPTIONAL if own == kind else FIELD.LABEL_REPEATED
            typed = {"type": SCALARS[own]} if own in SCALARS else {"type": FIELD.TYPE_MESSAGE, "type_name": f".tfplugin5.{own}"}
            described.field.add(name=field, number=int(number), label=label, **typed)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    for name in messages:
        yield name, message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tfplugin5.{name}"))


CLASSES = dict(_classes())


class Unknown:
    """A value that only the apply would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


def read_value(value: Any) -> Any:
    """MessagePack, in which an extension stands for what is not known yet, or JSON."""
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False, ext_hook=lambda _code, _data: UNKNOWN)
    return json.loads(value.json) if value.json else None


def to_value(value: Any) -> dict[str, bytes]:
    def other(thing: object) -> Any:
        assert isinstance(thing, Unknown)
        return msgpack.ExtType(0, b"\0")

    return {"msgpack": msgpack.packb(value, default=other)}


def to_path(*steps: str | int) -> dict[str, Any]:
    return {"steps": [{"attribute_name": step} if isinstance(step, str) else {"element_key_int": step} for step in steps]}


def to_mistake(path: list[str | int], sentence: str) -> dict[str, Any]:
    """An error, with the place in the configuration that it is about."""
    said = {"severity": 1, "summary": "Invalid configuration", "detail": sentence}
    return said | ({"attribute": to_path(*path)} if path else {})


def to_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """From how `terraform providers schema -json` prints it."""
    return {"version": schema.get("version", 0), "block": _to_block(schema["block"])}


def _to_block(block: dict[str, Any]) -> dict[str, Any]:
    attributes = [
        part | {"name": name, "type": json.dumps(part["type"]).encode()} for name, part in block.get("attributes", {}).items()
    ]
    nested = [
        {
            "type_name": name, "block": _to_block(part["block"]), "nesting": NESTING[part["nesting_mode"]],
            "min_items": part.get("min_items", 0), "max_items": part.get("max_items", 0),
        }
        for name, part in block.get("block_types", {}).items()
    ]  # fmt: skip
    return {"attributes": attributes, "block_types": nested}
