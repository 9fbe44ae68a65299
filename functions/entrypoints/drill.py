"""The drill: marked test alerts go through the deployed function, and the time of each part is posted. Nothing is restarted.

It needs no more rights than a stranger with Grafana's secret and a reader of the store have. It sends one alert more than
`webhook` decides at once, so that the last one goes through the scheduler to `verify`, as wake-ups do. Since they are many,
they are posted as one message, whose time is set by a second wake-up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from functions.adapters.grafana import sender
from functions.adapters.grafana.request import parse
from functions.application.deliver import post_to_all
from functions.application.intake import DIRECT, document_key
from functions.application.observe import unwrap
from functions.application.serialization import decode
from functions.domain.cards import drill_card
from functions.domain.cards.card import DRILL
from functions.domain.cards.drill_card import Leg
from functions.domain.decisions.messages import default_channels
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import Document
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Text

if TYPE_CHECKING:
    from functions.application.ports import Stored
    from functions.bootstrap import Adapters

ALERTS = DIRECT + 1
MARK = "unstick_drill"
SOURCE = "https://drill.unstick.invalid/"
BUNDLE = f"bundle-{Reason.TEST_ALERT.value.replace('_', '-')}"
POLL_S = 0.5
LOAD_S = 10.0
"""For one reading of all its documents, however long the part may take."""

STORE_S = 10.0
SCHEDULER_S = 120.0
"""A fresh instance of `verify` may need a minute to open a private network."""

POSTED_S = 180.0
"""Messages that go out as one wait 20 s for each other and then for a wake-up; a chat that is down is tried each minute."""


class DrillResult(Struct, frozen=True):
    """`told`: channel -> what went wrong, empty where the times were posted."""

    at: float
    legs: tuple[Leg, ...]
    told: dict[str, str]

    @property
    def ok(self) -> bool:
        return all(leg.ok for leg in self.legs) and not any(self.told.values())


def as_json(result: DrillResult) -> dict[str, Any]:
    """The result as plain values."""
    return {"ok": result.ok, "at": result.at, "legs": [_leg_as_json(leg) for leg in result.legs], "told": result.told}


def _leg_as_json(leg: Leg) -> dict[str, Any]:
    return asdict(leg) | {"detail": str(leg.detail), "remedy": str(leg.remedy)}


def run(
    ports: Adapters, *, url: str = "", tell: bool = True, also: Iterable[Leg] = (), on_leg: Callable[[Leg], None] = lambda _: None
) -> DrillResult:
    """Send the alerts, follow them part by part until one fails, and post the times. `url`: instead of `public_url`.

    What fails at another `url` than the configuration's is not posted: a typing error is no outage.

    `also`: parts that are done already, to be reported with the others. Raises Denied where there is no URL or no secret.
    """
    at, legs = ports.now(), list(also)
    for leg in _follow(ports, url or ports.rules.public_url):
        legs.append(leg)
        on_leg(leg)
        if not leg.ok:
            ports.log("ERROR", f"the drill failed at {leg.name}: {leg.detail}", remedy=leg.remedy)
    mistyped = url.rstrip("/") not in ("", ports.rules.public_url) and any(leg.name == "webhook" and not leg.ok for leg in legs)
    if mistyped or not tell:
        return DrillResult(at, tuple(legs), {})
    problems = post_to_all(ports, ports.config.report_channels, drill_card.card(tuple(legs), ports.rules, at))
    for name, problem in problems.items():
        if problem:
            ports.log("ERROR", f"the drill was not posted to {name}: {problem}", channel=name)
    return DrillResult(at, tuple(legs), problems)


# --- the alerts and their way ------------------------------------------------------------------------------------------


def notification(now: float) -> bytes:
    """As the Test button of a contact point makes them, so that they can't ask for anything."""
    summary = "A drill: nothing is wrong."
    labels = [{"alertname": DRILL, MARK: "true", "instance": str(number)} for number in range(ALERTS)]
    alerts = [sender.alert(own, summary, f"drill-{number:02}", now) for number, own in enumerate(labels)]
    return sender.notification(alerts, receiver="webhook", group_key=f"webhook-drill-{now:.0f}", source=SOURCE)


def _follow(ports: Adapters, url: str) -> Iterable[Leg]:
    """Each part once it is done; the first that fails is the last."""
    if not url:
        remedy = Text("Set `public_url` to the webhook's URL, or give it with --url.")
        raise Denied("drill", Text("there is no URL to send to"), code="url", remedy=remedy)
    body = notification(ports.now())
    cases = ports.config.match_alerts(parse(body))
    keys = [document_key(case) for case in cases]
    before = _generations(ports, [*keys, BUNDLE])
    headers = sender.headers(ports.config.grafana.auth, body, ports.now())
    began = ports.monotonic()
    webhook = _send(url.rstrip("/") + "/", body, headers)
    yield webhook
    answered = ports.monotonic()
    parts: list[tuple[str, Callable[[], bool], float, float, Text, Text]] = [
        (
            "store",
            lambda: _are_changed(ports, keys[:DIRECT], before),
            STORE_S,
            answered,
            Text("not all alerts were saved"),
            Text("Check that the function uses the store of this configuration; its log says why it could not save."),
        ),
        (
            "scheduler",
            lambda: _are_changed(ports, keys[DIRECT:], before),
            SCHEDULER_S,
            answered,
            Text("no wake-up arrived within {seconds} s", seconds=round(SCHEDULER_S)),
            Text("Check the log of verify and the scheduler's queue; `unstick check` checks the scheduler."),
        ),
        (
            "chat",
            lambda: _are_posted(ports, keys, before),
            POSTED_S,
            began,
            Text("the message has not been posted"),
            Text("The log of verify says which channel failed."),
        ),
    ]
    passed = webhook.ok
    for name, is_done, within_s, since, detail, remedy in parts:
        if not passed:
            return
        if name == "chat" and not default_channels(ports.rules):
            yield Leg(name, ok=False, detail=Text("no channel is configured"), remedy=Text("Add `notify:` at the top."))
            return
        passed = wait_until(ports, is_done, within_s)
        seconds = ports.monotonic() - since
        yield Leg(name, passed, seconds) if passed else Leg(name, passed, seconds, detail, remedy)


def _send(url: str, body: bytes, headers: dict[str, str]) -> Leg:
    """Post, and check that the answer names each alert as a test."""
    began = time.monotonic()
    try:
        response = http_client.request("webhook", "POST", url, timeout_s=sender.SEND_S, headers=headers, body=body)
        answer = response.json() if response.body else {}
    except Unavailable as error:
        remedy = Text("Check that the function is deployed and `public_url` leads to it.")
        return Leg("webhook", ok=False, seconds=time.monotonic() - began, detail=error.detail, remedy=remedy)
    seconds = time.monotonic() - began
    incidents = answer.get("incidents") if isinstance(answer, dict) else None
    if response.status == 200 and isinstance(incidents, list) and len(incidents) == ALERTS:
        if all(isinstance(incident, dict) and incident.get("reason") == Reason.TEST_ALERT for incident in incidents):
            return Leg("webhook", ok=True, seconds=seconds)
        detail, remedy = Text("a test alert was taken for a real one"), Text("Deploy the same release as here.")
    else:
        why = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        detail = Text("it answered {answer}", answer=f"{response.status} {why}".strip())
        remedy = Text("401: check that grafana.auth is the same here and there. 404: check that public_url leads to `webhook`.")
    return Leg("webhook", ok=False, seconds=seconds, detail=detail, remedy=remedy)


def wait_until(ports: Adapters, is_done: Callable[[], bool], within_s: float) -> bool:
    """Whether it is done in time. The only place where anything waits: nobody waits for the drill's answer."""
    ends = ports.monotonic() + within_s
    while not is_done():
        if ports.monotonic() >= ends:
            return False
        time.sleep(POLL_S)
    return True


def _load(ports: Adapters, keys: list[str]) -> dict[str, Stored]:
    """Those of the documents that exist."""
    results = ports.run_parallel([partial(ports.load, key, LOAD_S) for key in keys], LOAD_S)
    loaded = {key: unwrap(result) for key, result in zip(keys, results, strict=True)}
    return {key: stored for key, stored in loaded.items() if stored is not None}


def _generations(ports: Adapters, keys: list[str]) -> dict[str, str]:
    return {key: stored.generation for key, stored in _load(ports, keys).items()}


def _are_changed(ports: Adapters, keys: list[str], before: dict[str, str]) -> bool:
    now = _generations(ports, keys)
    return all(key in now and now[key] != before.get(key) for key in keys)


def _are_posted(ports: Adapters, keys: list[str], before: dict[str, str]) -> bool:
    """The bundle is a new one, and neither it nor any alert has a message left to post."""
    documents = [decode(Document, stored.body, key) for key, stored in _load(ports, [*keys, BUNDLE]).items()]
    return not any(document.to_tell for document in documents) and _are_changed(ports, [BUNDLE], before)
