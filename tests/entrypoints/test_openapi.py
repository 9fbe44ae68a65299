"""docs/openapi.yaml is a sound description, and what the three entry points answer is what it says."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import functions_framework
import jsonschema
import pytest
import yaml
from werkzeug.test import Client, TestResponse

from functions.domain.model.codes import Action, Reason
from testbed.broker import free_ports
from testbed.unstick_process import MACHINE_TOKEN, ROOT, alert, configuration, notification, runbook, signed
from tests.support.worlds.one_machine import SECRETS

pytestmark = pytest.mark.usefixtures("patient_code")

Served = Callable[[str], Client]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MAX_BODY = 8 * 1024 * 1024


@cache
def described() -> dict[str, Any]:
    description: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    return description


def resolved(node: Any) -> Any:
    """What a reference inside the description stands for, else the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        place = described()
        for step in node["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        node = place
    return node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, item[method]) for path, item in described()["paths"].items() for method in METHODS if method in item]


def responses(path: str, method: str) -> dict[str, Any]:
    """By status, as the description has them for this operation."""
    by_status: dict[str, Any] = described()["paths"][path][method.lower()]["responses"]
    return by_status


def checked(answer: TestResponse, path: str, method: str) -> None:
    """The answer's status is documented, and its type and body are what is said there."""
    documented = responses(path, method)
    assert str(answer.status_code) in documented, f"{answer.status_code} {answer.text}"
    said = resolved(documented[str(answer.status_code)])
    contents = said.get("content", {})
    assert set(said.get("headers", {})) <= set(answer.headers.keys())
    if not contents:
        assert answer.data == b""
        return
    assert answer.mimetype in contents
    schema = {**contents[answer.mimetype]["schema"], "components": described()["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json if answer.is_json else answer.text)


def test_the_description_is_sound():
    """Version 3.1, every reference leads somewhere, every schema is one, every operation has its own name and its answers."""
    assert described()["openapi"].startswith("3.1.")
    for reference in references(described()):
        assert resolved({"$ref": reference}) is not None, reference
    for schema in described()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    schemes = set(described()["components"]["securitySchemes"])
    for path, method, operation in operations():
        assert {scheme for way in operation["security"] for scheme in way} <= schemes, (path, method)
        assert all(resolved(one)["description"] for one in operation["responses"].values()), (path, method)


def test_the_enumerations_are_the_programs():
    """No action and no reason code is missing, and none too many."""
    schemas = described()["components"]["schemas"]
    assert schemas["Incident"]["properties"]["action"]["enum"] == [action.value for action in Action]
    assert schemas["Reason"]["enum"] == [reason.value for reason in Reason]


@pytest.fixture
def entry(tmp_path, monkeypatch) -> Served:
    """One that can reach nothing outside, with a store of its own."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    for name, value in (SECRETS | {"UNSTICK_CONFIG": "unstick.yaml"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    written = configuration(nobody, nobody, [runbook("mail")], report={"every": "week", "channels": ["console"]})
    (tmp_path / "unstick.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")

    def client(function: str) -> Client:
        caller = functions_framework.create_app(function, str(ROOT / "main.py")).test_client()
        if function != "webhook":
            caller.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {MACHINE_TOKEN}"
        return caller

    return cache(client)


BODY = notification(alert("mail", "mail.delivery"), alert("unknown", "any"))
GZIP = {"Content-Encoding": "gzip"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOKENS = ("forged", "a" * 2000, "%00%ff", "WyJrIiwibiIsMF0.sig")
ENTRIES = (("webhook", "/"), ("verify", "/verify"), ("report", "/report"))
READER = {"Authorization": f"Bearer {MACHINE_TOKEN}"}
ONE = "/incidents/{id}"
OPEN = "/approve/open"
ANSWERS: list[tuple[str, str, str, str, bytes, dict[str, str], int]] = [
    # function, path, path in the description, method, body, headers, status; what Grafana sends is signed when it is sent
    ("webhook", "/any/path", "/", "POST", BODY, {}, 200),
    ("webhook", "/any/path", "/", "PUT", BODY, {}, 200),
    ("webhook", "/", "/", "POST", b"{", {}, 400),
    ("webhook", "/", "/", "POST", b"{}", {}, 400),
    ("webhook", "/", "/", "POST", BODY, {"X-Grafana-Alerting-Signature": "0" * 64}, 401),
    ("webhook", "/", "/", "POST", b" " * (MAX_BODY + 1), {}, 413),
    ("webhook", "/", "/", "POST", BODY, GZIP, 415),
    ("webhook", "/approve/", "/approve/", "GET", b"", {}, 200),
    *(("webhook", "/incidents", "/incidents", "GET", b"", headers, status) for headers, status in (({}, 403), (READER, 200))),
    ("webhook", "/incidents/x?link=forged", ONE, "GET", b"", {}, 403),
    ("webhook", "/incidents/x", ONE, "GET", b"", READER, 404),
    ("webhook", "/incidents/a%0Ab", ONE, "GET", b"", READER, 404),
    *(("webhook", OPEN, OPEN, "POST", f"token={token}".encode(), FORM, 403) for token in TOKENS),
    ("webhook", OPEN, OPEN, "POST", b"", {"Origin": "https://other.example.com"}, 403),
    ("webhook", OPEN, OPEN, "POST", b"a" * 5000, {}, 413),
    ("webhook", OPEN, OPEN, "POST", b"{}", GZIP, 415),
    *(("verify", "/", "/verify", "POST", body, {}, 200) for body in (b"", b"{}", b"[1]", b"no JSON", b'{"wake": 7}')),
    *(("verify", "/", "/verify", "POST", body, {}, 401) for body in (b'{"wake": "forged"}', b'{"wake": ""}')),
    *((name, "/", f"/{name}", "POST", b" " * (MAX_BODY + 1), {}, 413) for name in ("verify", "report")),
    *((name, "/", f"/{name}", "POST", b"{}", GZIP, 415) for name in ("verify", "report")),
    *(("report", "/", "/report", "POST", body, {}, 400) for body in (b'{"what": "nothing"}', b"[", b"[" * 3000)),
    ("report", "/", "/report", "POST", b'{"what": "report"}', {}, 200),  # posted, with what could not be read
    *((name, "/", path, method, b"", {}, 405) for name, path in ENTRIES for method in ("GET", "DELETE", "PATCH", "OPTIONS")),
]


@pytest.mark.parametrize(
    ("function", "path", "described_as", "method", "body", "headers", "status"),
    ANSWERS,
    ids=[f"{row[3]} {row[2]} {row[-1]}" for row in ANSWERS],
)
def test_each_answer_is_as_described(
    entry: Callable[[str], Client],
    function: str,
    path: str,
    described_as: str,
    method: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
):
    """Status, headers, type and body. 405 has none, so that a redirect that turns POST into GET does not look like success."""
    if described_as == "/":
        headers = signed(body) | headers
    answer = entry(function).open(path, method=method, data=body, headers=headers)
    assert answer.status_code == status
    checked(answer, described_as, "post" if status == 405 else method)


@pytest.mark.parametrize("missing", ["a store", "the secret"])
def test_the_webhook_answers_503_as_described(entry: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str):
    """Neither store nor scheduler can be written; or nobody can be told from a stranger."""
    if missing == "a store":
        (tmp_path / "unstick.db").mkdir()
    else:
        monkeypatch.delenv("GRAFANA_HMAC_SECRET")
    answer = entry("webhook").post("/", data=BODY, headers=signed(BODY))
    assert answer.status_code == 503
    checked(answer, "/", "post")
