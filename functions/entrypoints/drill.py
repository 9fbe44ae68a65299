"""The drill sends marked test alerts through the deployed function and posts the time of each part. Nothing is restarted.

It needs no more rights than Grafana's secret and read access to the store. It sends one alert more than `webhook` decides
directly, so that the last one goes through the scheduler to `verify`, as wake-ups do."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from functions.adapters.grafana import sender
from functions.adapters.grafana.payload import parse
from functions.application.deliver import post_to_all
from functions.application.intake import DIRECT, document_key
from functions.bootstrap import Adapters
from functions.domain.cards import drill_card
from functions.domain.cards.card import DRILL
from functions.domain.cards.drill_card import Leg
from functions.domain.model.codes import Reason
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Text

ALERTS = DIRECT + 1
MARK = "unstick_drill"
SOURCE = "https://drill.unstick.invalid/"
POLL_S = 0.5
LOAD_S = 10.0
SCHEDULER_S = 120.0  # seconds. A new instance of `verify` may need a minute to connect to a private network


class DrillResult(Struct, frozen=True):
    """`told`: channel -> what went wrong; empty if the times were posted."""

    at: float
    legs: tuple[Leg, ...]
    told: dict[str, str]

    @property
    def ok(self) -> bool:
        return all(leg.ok for leg in self.legs) and not any(self.told.values())


def as_json(result: DrillResult) -> dict[str, Any]:
    """The result as plain values."""
    legs = [asdict(leg) | {"detail": str(leg.detail), "remedy": str(leg.remedy)} for leg in result.legs]
    return {"ok": result.ok, "at": result.at, "legs": legs, "told": result.told}


def run(
    ports: Adapters, *, url: str = "", tell: bool = True, also: Iterable[Leg] = (), on_leg: Callable[[Leg], None] = lambda _: None
) -> DrillResult:
    """Send the alerts, follow them until a part fails, and post the times. `url`: where to send to, instead of `public_url`. A
    failure at another `url` than the configured one isn't posted: it may be a typing error. `also`: parts that are already
    done, reported with the others. Raises Denied if there is no URL or no secret."""
    at, legs = ports.now(), list(also)
    for leg in _follow(ports, url or ports.rules.public_url):
        legs.append(leg)
        on_leg(leg)
        if not leg.ok:
            ports.log("ERROR", f"the drill failed at {leg.name}: {leg.detail}", remedy=leg.remedy)
    mistyped = url.rstrip("/") not in ("", ports.rules.public_url) and any(leg.name == "webhook" and not leg.ok for leg in legs)
    if mistyped or not tell:
        return DrillResult(at, tuple(legs), {})
    card = drill_card.card(tuple(legs), ports.rules, at)
    problems = post_to_all(ports, ports.config.report_channels, card, "the drill was not posted to ")
    return DrillResult(at, tuple(legs), problems)


def notification(now: float) -> bytes:
    """Make the alerts as the Test button of a contact point does, so that they can't restart anything."""
    summary = "A drill: nothing is wrong."
    labels = [{"alertname": DRILL, MARK: "true", "instance": str(number)} for number in range(ALERTS)]
    alerts = [sender.alert(own, summary, f"drill-{number:02}", now) for number, own in enumerate(labels)]
    return sender.notification(alerts, receiver="webhook", group_key=f"webhook-drill-{now:.0f}", source=SOURCE)


def _follow(ports: Adapters, url: str) -> Iterable[Leg]:
    """Yield each part when it is done; the first that fails is the last."""
    if not url:
        remedy = Text("Set `public_url` to the webhook's URL, or give it with --url.")
        raise Denied("drill", Text("there is no URL to send to"), remedy=remedy)
    body = notification(ports.now())
    last = document_key(ports.config.match_alerts(parse(body))[-1])  # `webhook` decides at most DIRECT, so a wake-up decides it
    before = _generation(ports, last)
    headers = sender.headers(ports.config.grafana.auth, body, ports.now())
    webhook = _send(url.rstrip("/") + "/", body, headers)
    yield webhook
    if webhook.ok:
        answered = ports.monotonic()
        passed = wait_until(ports, lambda: _generation(ports, last) != before, SCHEDULER_S)
        detail = Text("no wake-up arrived within {seconds} s", seconds=round(SCHEDULER_S))
        remedy = Text(
            "Check the log of verify and the scheduler's queue (`unstick check` checks it), and that verify has this store."
        )
        leg = Leg("scheduler", passed, ports.monotonic() - answered)
        yield leg if passed else replace(leg, detail=detail, remedy=remedy)


def _send(url: str, body: bytes, headers: dict[str, str]) -> Leg:
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
    """Whether `is_done` becomes true in time. The only place that sleeps: nobody waits for the drill's answer."""
    ends = ports.monotonic() + within_s
    while not is_done():
        if ports.monotonic() >= ends:
            return False
        time.sleep(POLL_S)
    return True


def _generation(ports: Adapters, key: str) -> str | None:
    stored = ports.store.load(key, timeout_s=LOAD_S)
    return None if stored is None else stored.generation
