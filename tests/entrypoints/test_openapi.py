"""docs/openapi.yaml is a sound description, and what the three entry points answer is what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from functions.domain.model.codes import Action, Reason
from tests.support.broker import free_ports
from tests.support.entry_points import Entry, configured
from tests.support.unstick_process import ROOT, alert, configuration, notification, runbook, signed

pytestmark = pytest.mark.usefixtures("patient_code")

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MAX_BODY = 200_000


@cache
def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    return found


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
    found: dict[str, Any] = described()["paths"][path][method.lower()]["responses"]
    return found


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


# --- the description -----------------------------------------------------------------------------------------------------------


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


# --- what is answered ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path, monkeypatch) -> Entry:
    """One that can reach nothing outside, with a store of its own."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    written = configuration(nobody, nobody, [runbook("mail")], report={"every": "week", "channels": ["console"]})
    written["grafana"]["max_body"] = MAX_BODY
    return configured(written, tmp_path, monkeypatch)


BODY = notification(alert("mail", "mail.delivery"), alert("unknown", "any"))
ANSWERS = {
    "accepted": ("post", BODY, {}, 200),
    "accepted by PUT": ("put", BODY, {}, 200),
    "no JSON": ("post", b"{", {}, 400),
    "no notification": ("post", b"{}", {}, 400),
    "wrong signature": ("post", BODY, {"X-Grafana-Alerting-Signature": "0" * 64}, 401),
    "too large": ("post", b" " * (MAX_BODY + 1), {}, 413),
    "compressed": ("post", BODY, {"Content-Encoding": "gzip"}, 415),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_webhook_answers_as_described(entry: Entry, name: str):
    """Status, type and body."""
    method, body, headers, status = ANSWERS[name]
    answer = entry["webhook"].open("/any/path", method=method.upper(), data=body, headers=signed(body) | headers)
    assert answer.status_code == status
    checked(answer, "/", method)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("target", ["webhook", "verify", "report"])
def test_other_methods_are_405_without_a_body(entry: Entry, target: str, method: str):
    """A redirect that turns POST into GET does not look like success."""
    answer = entry[target].open("/", method=method)
    assert answer.status_code == 405
    checked(answer, "/" if target == "webhook" else f"/{target}", "post")


def test_the_webhook_answers_503_as_described_where_nothing_can_be_saved(entry: Entry, tmp_path):
    """Neither store nor scheduler can be written."""
    (tmp_path / "unstick.db").mkdir()
    answer = entry.notify(BODY)
    assert answer.status_code == 503
    checked(answer, "/", "post")


def test_the_webhook_answers_503_as_described_where_its_secret_is_missing(entry: Entry, monkeypatch):
    """Who can't be told from a stranger is asked to come again."""
    monkeypatch.delenv("GRAFANA_HMAC_SECRET")
    answer = entry.notify(BODY)
    assert answer.status_code == 503
    checked(answer, "/", "post")


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("token", ["forged", "a" * 2000, "%00%ff", "WyJrIiwibiIsMF0.sig"])
def test_the_approval_page_answers_as_described(entry: Entry, method: str, token: str):
    """A link that is not ours is a page that says so, and so is one of an older form."""
    answer = entry["webhook"].open(f"/approve/{token}", method=method.upper())
    assert answer.status_code == 410
    checked(answer, "/approve/{token}", method)
    answer = entry["webhook"].post("/approve/open", data={"token": token})
    assert answer.status_code == 403
    checked(answer, "/approve/open", "post")


def test_the_page_that_a_link_opens_answers_as_described(entry: Entry):
    """It looks nothing up."""
    answer = entry["webhook"].get("/approve/")
    assert answer.status_code == 200
    checked(answer, "/approve/", "get")


def test_the_button_answers_as_described_to_a_body_that_no_form_has(entry: Entry):
    """Too large, or of another site."""
    for expected, sent in ((413, {"data": b"a" * 5000}), (403, {"headers": {"Origin": "https://other.example.com"}})):
        answer = entry["webhook"].post("/approve/open", **sent)
        assert answer.status_code == expected
        checked(answer, "/approve/open", "post")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200), (b"{}", 200), (b"[1]", 200), (b"no JSON", 200), (b'{"wake": 7}', 200), (b'{"wake": "forged"}', 401),
        (b'{"wake": ""}', 401), (b" " * (MAX_BODY + 1), 413),
    ],
)  # fmt: skip
def test_verify_answers_as_described(entry: Entry, body: bytes, status: int):
    """What is signed by nobody is refused; what names no wake-up is a sweep."""
    answer = entry["verify"].post("/", data=body)
    assert answer.status_code == status
    checked(answer, "/verify", "post")


@pytest.mark.parametrize(("target", "path"), [("webhook", "/"), ("webhook", "/approve/open"), ("verify", "/verify")])
def test_what_is_compressed_is_415_as_described(entry: Entry, target: str, path: str):
    """Nobody who is meant to call compresses, so nothing is unpacked."""
    answer = entry[target].post(path, data=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    checked(answer, path, "post")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_path_that_the_framework_refuses_is_answered_as_described(entry: Entry, method: str):
    """One with a line break never reaches Unstick."""
    answer = entry["webhook"].open("/approve/a%0Ab", method=method.upper())
    assert answer.status_code == 404
    checked(answer, "/approve/{token}", method)


@pytest.mark.parametrize(("body", "status"), [(b'{"what": "nothing"}', 400), (b"[", 400), (b"[" * 3000, 400)])
def test_report_answers_as_described(entry: Entry, body: bytes, status: int):
    """What is neither a report nor a drill."""
    answer = entry["report"].post("/", data=body)
    assert answer.status_code == status
    checked(answer, "/report", "post")


def test_a_report_without_rundeck_answers_as_described(entry: Entry):
    """Told with what is missing, or 503; never a page of the server's."""
    answer = entry["report"].post("/", data=b'{"what": "report"}')
    checked(answer, "/report", "post")


# --- whatever is signed --------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=40)
labels = st.fixed_dictionaries(
    {},
    optional={
        "alertname": st.sampled_from(["RabbitMQQueueStuck", "DatasourceNoData"]) | texts,
        "service": st.sampled_from(["mail", "mail; id", "../mail", "MAIL"]) | texts,
        "queue": st.just("mail.delivery") | texts,
        "vhost": st.sampled_from(["/", "%2f", ".."]) | texts,
        "other": texts,
    },
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
times = st.sampled_from(["2026-11-24T23:07:55Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-14:00", "now"]) | texts
alerts = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["firing", "resolved"]),
        "labels": labels,
        "startsAt": times,
        "fingerprint": st.from_regex(r"\A[0-9a-f]{16}\Z") | texts,
    },
    optional={
        "annotations": st.dictionaries(texts, texts, max_size=2), "endsAt": times, "generatorURL": texts, "ruleUID": values,
    },
)  # fmt: skip
notifications = st.fixed_dictionaries(
    {"alerts": st.lists(alerts, max_size=3)},
    optional={"version": st.sampled_from(["1", "4", "2", None]), "orgId": st.integers(), "groupKey": texts, "receiver": values},
)
bodies = (notifications | values).map(lambda content: json.dumps(content).encode()) | st.binary(max_size=200)


@settings(database=None, suppress_health_check=list(HealthCheck))
@given(body=bodies)
def test_whatever_is_signed_is_answered_as_described(entry: Entry, body: bytes):
    """200 or 400, in the shape that is described; never 500, whatever the labels are."""
    answer = entry.notify(body)
    assert answer.status_code in (200, 400), answer.text
    checked(answer, "/", "post")
    if answer.status_code == 200:
        assert {one["action"] for one in answer.json["incidents"]} <= {"held", "deferred"}  # nothing can be reached here


@settings(database=None, suppress_health_check=list(HealthCheck))
@given(token=texts, method=st.sampled_from(["GET", "POST"]))
@example(token="\r", method="GET")
@example(token="%6Fpen", method="GET")
def test_whatever_is_asked_of_the_approval_page_is_a_page(entry: Entry, token: str, method: str):
    """No token opens it but ours, and none makes an error of it."""
    token = token.encode(errors="replace").decode()  # half a pair of UTF-16 can't be sent
    path = "/approve/" + quote(token, safe="/")  # as it is, Werkzeug's client would leave line breaks and tabs out
    answer = entry["webhook"].open(path, method=method)
    if token.strip("/") in ("", "open"):
        assert answer.status_code == (200 if method == "GET" else 403)
        return
    assert answer.status_code in (404, 410)
    checked(answer, "/approve/{token}", method)
    answer = entry["webhook"].post("/approve/open", data={"token": token, "act": "restart"})
    assert answer.status_code in (403, 413)
    checked(answer, "/approve/open", "post")
