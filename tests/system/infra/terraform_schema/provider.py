"""The provider `google`, so that Terraform needs neither its program nor a network.

    python provider.py google-schema.json

It prints TF_REATTACH_PROVIDERS, by which Terraform finds it, and ends with its input. It answers schema and validation, by the
`rules` of the file; `terraform test` with mock_provider asks for nothing else. An apply against it changes the state alone
(lifecycle.py).
"""

import base64
import ipaddress
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from jsonschema import Draft202012Validator, FormatChecker
from lifecycle import Lifecycle
from protocol import CALLS, CLASSES, UNKNOWN, read_value, to_mistake, to_schema

NAME = "registry.terraform.io/hashicorp/google"
THREADS = 8  # Terraform validates several resources at once
FORMATS = FormatChecker(formats=())
FORMATS.checks("base64", ValueError)(lambda value: base64.b64decode(value, validate=True) is not None)
FORMATS.checks("json", ValueError)(lambda value: bool(json.loads(value)))
FORMATS.checks("cidr", ValueError)(lambda value: "/" in value and bool(ipaddress.ip_network(value, strict=False)))
FORMATS.checks("iam-member")(
    lambda value: bool(re.search(r"^(?!deleted).+:.+|project(Owners|Readers|Writers)|all(Authenticated)?Users", value))
)


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


def _find_mistakes(rule: dict[str, Any], dotted: str, value: Any, root: Any) -> Iterator[str]:
    """What excludes or needs each other (the argument itself counts), and what a value by itself must be: a JSON Schema."""
    for name, most in (("exactly_one_of", 1), ("at_least_one_of", None)):
        values = {path: _lookup(root, path) for path in sorted({dotted, *rule[name]})} if name in rule else {}
        given = [path for path, value in values.items() if value is not None and value is not UNKNOWN]
        if (most and len(given) > most) or (values and not given and UNKNOWN not in values.values()):
            yield f"{name.replace('_', ' ')} {list(values)}: given is {given or 'none'}"
    if value is None or value == []:
        return
    for path in rule.get("conflicts_with", []):
        if path != dotted and _lookup(root, path) not in (None, UNKNOWN):
            yield f"{dotted} conflicts with {path}"
    for path in rule.get("required_with", []):
        if _lookup(root, path) is None:
            yield f"{dotted} requires {path}"
    if value is not UNKNOWN:
        for error in Draft202012Validator(rule, format_checker=FORMATS).iter_errors(value):
            yield f"{dotted}: {error.message}"


class Check:
    """One configuration of one resource. `rules`: by the path without places in lists; with [] for each item of a list."""

    def __init__(self, root: Any, rules: dict[str, Any]) -> None:
        self.root, self.rules = root, rules
        self.mistakes: list[dict[str, Any]] = []

    def walk(self, block: dict[str, Any], value: Any, path: list[str | int], names: list[str]) -> None:
        if not isinstance(value, dict):
            return
        for name, attribute in block.get("attributes", {}).items():
            if value.get(name) is not None and not (attribute.get("required") or attribute.get("optional")):
                self.mistakes.append(to_mistake([*path, name], f"{'.'.join([*names, name])} is decided by the service."))
            self._check(name, value.get(name), path, names)
        for name, nested in block.get("block_types", {}).items():
            here = value.get(name)
            self._check(name, here, path, names)
            items = here if isinstance(here, list) else [] if here is None else [here]
            for place, item in enumerate(items):
                deeper = [*path, name, place] if nested["nesting_mode"] == "list" else [*path, name]
                self.walk(nested["block"], item, deeper, [*names, name])

    def _check(self, name: str, value: Any, path: list[str | int], names: list[str]) -> None:
        dotted, place = ".".join([*names, name]), [*path, name]
        said = list(_find_mistakes(self.rules.get(dotted, {}), ".".join(map(str, place)), value, self.root))
        for item in value if isinstance(value, list) and f"{dotted}[]" in self.rules else ():
            said += _find_mistakes(self.rules[f"{dotted}[]"], dotted, item, self.root)
        self.mistakes += [to_mistake(place, sentence) for sentence in said]


class Provider:
    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def get_schema(self, _request: Any) -> dict[str, Any]:
        tables = ("resource_schemas", "data_source_schemas")
        schemas = {table: [{"key": k, "value": to_schema(v)} for k, v in self.content[table].items()] for table in tables}
        # By the capability Terraform asks for the schema once instead of for each walk.
        return schemas | {
            "provider": to_schema(self.content["provider"]), "server_capabilities": {"get_provider_schema_optional": True},
        }  # fmt: skip

    def validate(self, request: Any) -> dict[str, Any]:
        root = read_value(request.config)
        check = Check(root, self.content["rules"].get(request.type_name, {}))
        check.walk(self.content["resource_schemas"][request.type_name]["block"], root, [], [])
        return {"diagnostics": check.mistakes}

    def start(self, socket: Path) -> grpc.Server:
        calls: dict[str, Callable[[Any], dict[str, Any]]] = {
            "GetSchema": self.get_schema,
            "PrepareProviderConfig": lambda request: {"prepared_config": request.config},
            "ValidateResourceTypeConfig": self.validate,
            **Lifecycle(self.content["resource_schemas"], self.content["data_source_schemas"]).calls(),
        }
        handlers = {name: _handler(name, calls.get(name, lambda _request: {})) for name in CALLS}
        server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", -1)])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tfplugin5.Provider", handlers),))
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        return server


def _handler(name: str, call: Callable[[Any], dict[str, Any]]) -> grpc.RpcMethodHandler:
    response = CLASSES[f"{name}Response"]
    return grpc.unary_unary_rpc_method_handler(
        lambda request, _context: response(**call(request)), CLASSES[f"{name}Request"].FromString, response.SerializeToString
    )


def main(schema: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "provider.sock"
        server = Provider(json.loads(Path(schema).read_text(encoding="utf-8"))).start(socket)
        address = {"Network": "unix", "String": str(socket)}
        attached = {NAME: {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}}
        print(json.dumps(attached), flush=True)
        sys.stdin.read()
        server.stop(0)


if __name__ == "__main__":
    main(sys.argv[1])
