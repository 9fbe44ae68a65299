"""Runs a command with the providers of a schema attached, so that Terraform needs neither their programs nor a network.

    python provider.py google-schema.json terraform validate

Terraform finds them by TF_REATTACH_PROVIDERS. They answer schema and validation; `terraform test` with mock_provider asks for
nothing else. An apply against them changes the state alone (lifecycle.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from lifecycle import Lifecycle
from messages import decoded, fields, message, schemas
from rules import Check

THREADS = 8  # Terraform validates several resources at once
Call = Callable[[bytes, Any], bytes]


class Provider:
    def __init__(self, schema: dict[str, Any], rules: dict[str, Any]) -> None:
        self.schema, self.rules = schema, rules
        self.response = schemas(schema)

    def validate(self, table: str) -> Call:
        """The call that validates what is in this table of the schema."""

        def call(request: bytes, _context: object) -> bytes:
            asked = dict(fields(request))
            name = asked[1].decode()
            root = decoded(asked.get(2, b""))
            check = Check(root, self.rules.get(name, {}) if table == "resource_schemas" else {})
            check.walk(self.schema[table][name]["block"], root, [], [])
            return b"".join(message(1, one) for one in check.mistakes)

        return call

    def calls(self) -> dict[str, Call]:
        """By their names in tfplugin5."""
        return {
            "GetSchema": lambda _request, _context: self.response,
            "PrepareProviderConfig": lambda request, _context: message(1, dict(fields(request)).get(1, b"")),
            "ValidateResourceTypeConfig": self.validate("resource_schemas"),
            "ValidateDataSourceConfig": self.validate("data_source_schemas"),
            "ValidateEphemeralResourceConfig": self.validate("ephemeral_resource_schemas"),
            "Configure": lambda _request, _context: b"",
            "Stop": lambda _request, _context: b"",
            **Lifecycle(self.schema["resource_schemas"], self.schema["data_source_schemas"]).calls(),
        }

    def start(self, socket: Path) -> grpc.Server:
        server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", -1)])
        handlers = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in self.calls().items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tfplugin5.Provider", handlers),))
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        return server


def main(schema: str, *command: str) -> int:
    content = json.loads(Path(schema).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        servers, attached = [], {}
        for number, (address, provider) in enumerate(sorted(content["provider_schemas"].items())):
            socket = Path(folder) / f"{number}.sock"
            servers.append(Provider(provider, content["rules"]).start(socket))
            address_here = {"Network": "unix", "String": str(socket)}
            attached[address] = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address_here}
        done = subprocess.run(command, env=os.environ | {"TF_REATTACH_PROVIDERS": json.dumps(attached)}, check=False)
        for server in servers:
            server.stop(0)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
