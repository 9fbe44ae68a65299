"""Requests that Schemathesis makes of docs/openapi.yaml, right and wrong ones, are answered as is written there.

Each operation is asked by who can prove to be Grafana or Unstick, and by a stranger. Rundeck and RabbitMQ are stand-ins on
loopback, the only address that tests/conftest.py lets anything connect to, so a proven notification starts a run there.
docs/decisions.md says why Schemathesis, and why not by its pytest plugin.
"""

import functools
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests import Request
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from werkzeug.test import Client, TestResponse

from functions import bootstrap
from functions.application.signing import sign
from functions.domain.model.codes import VERSION, Phase
from testbed.unstick_process import ROOT, alert, runbook, signed
from tests.support.worlds.one_machine import Place

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("patient_code")]

EXAMPLES = 6
"""Of the four kinds of requests of an operation each: right or wrong by the description, proven or not."""

ROUNDS = 5
"""At most, since it is chance whether the requests of one come to all statuses."""

CONFORMS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_headers_conformance,
    checks.response_schema_conformance,
]  # fmt: skip
EXACT = [*CONFORMS, checks.positive_data_acceptance, checks.negative_data_rejection]
"""On top: what the description calls right is let in, and what it calls wrong is refused."""

WHOLE = ("orgId",)


@dataclass(frozen=True)
class Asked:
    function: str
    seen: frozenset[int]
    """Statuses that the requests of one test must come to, so that neither all are let in nor all refused."""
    checks: list[Any]
    """For requests that are proven."""


OPERATIONS = {
    "notify": Asked("webhook", frozenset({200, 400, 401}), EXACT),
    "notifyByPut": Asked("webhook", frozenset({200, 400, 401}), EXACT),
    "listIncidents": Asked("webhook", frozenset({200, 403}), CONFORMS),
    "showIncident": Asked("webhook", frozenset({403, 404}), CONFORMS),
    "approve": Asked("webhook", frozenset({200, 403}), CONFORMS),  # then 410
    "pressInSlack": Asked("webhook", frozenset({401}), CONFORMS),  # no channel of type slack: nobody is let in
    "verify": Asked("verify", frozenset({200, 401}), CONFORMS),  # any body that names no wake-up is a sweep
    "report": Asked("report", frozenset({200, 400}), EXACT),
}


@dataclass(frozen=True)
class World:
    """Where the functions run. `asking`: the document of the incident that asks; `approval`: its link's token."""

    place: Place
    asking: str
    approval: str


@pytest.fixture
def world(place: Place) -> World:
    """Two stuck queues: `mail` is restarted by itself; `post` asks, and has asked."""
    more = {"public_url": "http://127.0.0.1:9", "report": {"every": "week", "channels": ["console"]}}
    place.configured(runbook("mail"), runbook("post", mode="approve"), **more)
    place.alerted("post")
    (asked,) = [one for one in place.documents() if one.incident and one.incident.phase is Phase.ASKED]
    approval = asked.incident.approval
    token = bootstrap.current_adapters().sign_approval(asked.key, approval.nonce, approval.expires_at or 0.0)
    return World(place, asked.key, str(token))


@functools.cache
def operations(*, credentials: bool) -> dict[str, Any]:
    """Those of the description, by name; `credentials`: requests made of them have some, all of them wrong."""
    settled = schemathesis.Config.from_dict({"generation": {"with-security-parameters": credentials}})
    described = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml", config=settled).get_all_operations()
    return {one.ok().definition.raw["operationId"]: one.ok() for one in described}


def plain(case: Any) -> Any:
    """With whole numbers written as such: to JSON Schema 6.0 is an integer; Unstick and the description's prose want 6."""
    for name in WHOLE if isinstance(case.body, dict) else ():
        if isinstance(case.body.get(name), float) and case.body[name].is_integer():
            case.body[name] = int(case.body[name])
    return case


def prove(case: Any, world: World, *, ours: bool) -> None:
    """Put a token of ours where one belongs; `ours`: the alert of a notification is one that a runbook matches, and a wake-up is
    one of ours instead of a forged one.
    """
    if case.path == "/approve/open" and isinstance(case.body, dict):
        case.body["token"] = world.approval
    elif case.path == "/verify" and isinstance(case.body, dict):
        payload = {"v": VERSION, "target": world.asking}
        case.body["wake"] = sign(bootstrap.current_adapters().config.signing_keys, payload) if ours else "forged"
    elif case.path == "/" and ours and case.meta.generation.mode.is_positive:
        case.body["alerts"][0] = alert("mail", "mail.delivery")


def answer(case: Any, client: Client, *, proven: bool) -> TestResponse:
    """What the function says to the bytes that `requests` would send, signed by Grafana's secret if `proven`."""
    sent = Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
    body = sent.body if isinstance(sent.body, bytes) else (sent.body or "").encode()
    headers = dict(sent.headers) | (signed(body) if proven and case.path == "/" else {})
    return client.open(sent.path_url, method=sent.method, data=body, headers=headers)


def blank(case: Any) -> bool:
    """Whether its body counts as none. Schemathesis takes any bytes for something else than a missing body."""
    return isinstance(case.body, bytes) and not case.body.strip()


def statuses(world: World, name: str, mode: GenerationMode, *, proven: bool) -> Counter[int]:
    """Ask, hold every answer against the description, and count."""
    asked, counted = OPERATIONS[name], Counter[int]()
    described = operations(credentials=not proven)[name]
    client = world.place.entry(asked.function)

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False
    )
    @given(case=described.as_strategy(mode).map(plain), ours=st.booleans())
    def ask(case: Any, ours: bool) -> None:
        if proven:
            prove(case, world, ours=ours)
        got = answer(case, client, proven=proven)
        counted[got.status_code] += 1
        case.validate_response(got, checks=asked.checks if proven and not blank(case) else CONFORMS)

    with suppress(Unsatisfiable):  # nothing can be wrong in a request without parameters
        ask()
    return counted


@pytest.mark.parametrize("name", OPERATIONS)
def test_requests_made_of_the_description_are_answered_as_described(world: World, name: str):
    """No 500, no status, type, header or body that is not described; and both what is let in and what is refused were seen."""
    counted = Counter[int]()
    for _ in range(ROUNDS):
        for mode in GenerationMode:
            counted += statuses(world, name, mode, proven=True)
            strangers = statuses(world, name, mode, proven=False)
            assert name not in ("notify", "notifyByPut") or set(strangers) == {401}, "whatever credentials are made up"
            counted += strangers
        if OPERATIONS[name].seen <= set(counted):
            break
    assert counted.total() >= 2 * EXAMPLES
    assert OPERATIONS[name].seen <= set(counted), counted
