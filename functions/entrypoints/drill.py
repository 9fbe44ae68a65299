"""Shell: the drill. Marked test alerts go through the deployed line, and the time of each leg is told; nothing is restarted.

It needs no right that a stranger with Grafana's secret and a reader of the store do not have. One alert more is sent than
`webhook` decides at once, so that the last of them goes by the scheduler to `verify`, as wake-ups do; and since they are
many, they are told as one message, whose time is set by a second wake-up.
"""

from __future__ import annotations

import json
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
from functions.domain.cards.drill_card import Leg
from functions.domain.decisions import matching
from functions.domain.decisions.messages import default_channels
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import Document
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Phrase, Text

if TYPE_CHECKING:
    from functions.application.ports import Stored
    from functions.bootstrap import Adapters

ALERTS = DIRECT + 1
MARK = "unstick_drill"
SOURCE = "https://drill.unstick.invalid/"
BUNDLE = f"bundle-{Reason.TEST_ALERT.value.replace('_', '-')}"
POLL_S = 0.5
STORE_S = 10.0
SCHEDULER_S = 120.0
"""A fresh instance of `verify` may need a minute to open a private network."""

TOLD_S = 180.0
"""Messages that go out as one wait 20 s for each other and then for a wake-up; a chat that is down is tried each minute."""

SCHEDULER_REMEDY = Text("Check the log of verify and the scheduler's queue; `python -m functions check` checks the scheduler.")


class Drilled(Struct, frozen=True):
    """What came of a drill. `told`: channel -> what went wrong, empty where the times were told."""

    at: float
    legs: tuple[Leg, ...]
    told: dict[str, str]

    @property
    def ok(self) -> bool:
        return all(leg.ok for leg in self.legs) and not any(self.told.values())


def start(ports: Adapters) -> dict[str, Any]:
    """The weekly drill, for the entry point `report`."""
    return as_json(run(ports))


def as_json(drilled: Drilled) -> dict[str, Any]:
    """The result as plain values."""
    return {"ok": drilled.ok, "at": drilled.at, "legs": [_leg_as_json(leg) for leg in drilled.legs], "told": drilled.told}


def _leg_as_json(leg: Leg) -> dict[str, Any]:
    return asdict(leg) | {"detail": str(leg.detail), "remedy": str(leg.remedy)}


def run(
    ports: Adapters, *, url: str = "", tell: bool = True, also: Iterable[Leg] = (), on_leg: Callable[[Leg], None] = lambda _: None
) -> Drilled:
    """Send the alerts, follow them leg by leg until one fails, and tell the times. `url`: instead of `public_url`.

    `also`: legs that were gone already, to be told with the others. Raises Denied where there is no URL or no secret.
    """
    at, legs = ports.now(), list(also)
    for leg in _followed(ports, url or ports.rules.public_url):
        legs.append(leg)
        on_leg(leg)
        if not leg.ok:
            ports.log("ERROR", f"the drill failed at {leg.name}: {leg.detail}", remedy=leg.remedy)
    return Drilled(at, tuple(legs), _told(ports, legs, at) if tell else {})


# --- the alerts and their way ------------------------------------------------------------------------------------------


def notification(now: float) -> bytes:
    """As the Test button of a contact point makes them, so that they can ask for nothing."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "UnstickDrill", MARK: "true", "instance": str(number)},
            "annotations": {"summary": "A drill: nothing is wrong."},
            "startsAt": stamp,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": f"drill-{number:02}",
        }
        for number in range(ALERTS)
    ]
    return json.dumps(
        {
            "receiver": "webhook",
            "status": "firing",
            "version": "1",
            "groupKey": f"webhook-drill-{now:.0f}",
            "truncatedAlerts": 0,
            "externalURL": SOURCE,
            "orgId": 1,
            "alerts": alerts,
        }
    ).encode()


def _followed(ports: Adapters, url: str) -> Iterable[Leg]:
    """Each leg as it is gone; after one that failed there is no next."""
    if not url:
        remedy = Text("Set `public_url` to the webhook's URL, or give it with --url.")
        raise Denied("drill", Text("there is no URL to send to"), code="url", remedy=remedy)
    body = notification(ports.now())
    cases = matching.match_alerts(ports.rules, ports.config.runner_url, parse(body).alerts)
    keys = [document_key(case) for case in cases]
    before = _generations(ports, [*keys, BUNDLE])
    headers = sender.headers(ports.config.auth, body, ports.now())
    began = ports.monotonic()
    webhook = _sent(url.rstrip("/") + "/", body, headers)
    yield webhook
    if not webhook.ok:
        return
    answered = ports.monotonic()
    saved = until(ports, lambda: _changed(ports, keys[:DIRECT], before), STORE_S)
    remedy = Text("Check that the function uses the store of this configuration; its log says why it could not save.")
    yield _leg("store", saved, answered, ports, Text("not all alerts were saved"), remedy)
    if not saved:
        return
    delivered = until(ports, lambda: _changed(ports, keys[DIRECT:], before), SCHEDULER_S)
    yield _leg(
        "scheduler",
        delivered,
        answered,
        ports,
        Text("no wake-up arrived within {seconds} s", seconds=round(SCHEDULER_S)),
        SCHEDULER_REMEDY,
    )
    if not delivered:
        return
    if not default_channels(ports.rules):
        yield Leg("chat", ok=False, detail=Text("no channel is configured"), remedy=Text("Add `notify:` at the top."))
        return
    told = until(ports, lambda: _all_told(ports, keys, before), TOLD_S)
    yield _leg(
        "chat", told, began, ports, Text("the message has not been posted"), Text("The log of verify says which channel failed.")
    )


def _sent(url: str, body: bytes, headers: dict[str, str]) -> Leg:
    """Post, and see that the answer speaks of each alert as a test."""
    began = time.monotonic()
    try:
        answer = http_client.request("webhook", "POST", url, timeout_s=sender.SEND_S, headers=headers, body=body)
        said = answer.json() if answer.body else {}
    except Unavailable as error:
        remedy = Text("Check that the function is deployed and `public_url` leads to it.")
        return Leg("webhook", ok=False, seconds=time.monotonic() - began, detail=error.detail, remedy=remedy)
    took_s = time.monotonic() - began
    incidents = said.get("incidents") if isinstance(said, dict) else None
    if answer.status == 200 and isinstance(incidents, list) and len(incidents) == ALERTS:
        strange = [one for one in incidents if not isinstance(one, dict) or one.get("reason") != Reason.TEST_ALERT]
        if not strange:
            return Leg("webhook", ok=True, seconds=took_s)
        detail = Text("a test alert was taken for a real one")
        return Leg("webhook", ok=False, seconds=took_s, detail=detail, remedy=Text("Deploy the same release as here."))
    why = str(said.get("error", "")) if isinstance(said, dict) else ""
    remedy = Text("401: check that grafana.auth is the same here and there. 404: check that public_url leads to `webhook`.")
    return Leg(
        "webhook",
        ok=False,
        seconds=took_s,
        detail=Text("it answered {answer}", answer=f"{answer.status} {why}".strip()),
        remedy=remedy,
    )


def _leg(name: str, well: bool, since: float, ports: Adapters, detail: Phrase, remedy: Phrase) -> Leg:  # noqa: FBT001 - what came of it
    seconds = ports.monotonic() - since
    return Leg(name, ok=True, seconds=seconds) if well else Leg(name, ok=False, seconds=seconds, detail=detail, remedy=remedy)


def until(ports: Adapters, look: Callable[[], bool], within_s: float) -> bool:
    """Look until it is so; the only place where anything waits, and nobody waits for an answer meanwhile."""
    ends = ports.monotonic() + within_s
    while not look():
        if ports.monotonic() >= ends:
            return False
        time.sleep(POLL_S)
    return True


def _stored(ports: Adapters, keys: list[str]) -> list[Stored | None]:
    calls = [partial(ports.load, key, STORE_S) for key in keys]
    return [unwrap(found) for found in ports.run_parallel(list(calls), STORE_S)]


def _generations(ports: Adapters, keys: list[str]) -> dict[str, str]:
    return {key: stored.generation for key, stored in zip(keys, _stored(ports, keys), strict=True) if stored}


def _changed(ports: Adapters, keys: list[str], before: dict[str, str]) -> bool:
    found = zip(keys, _stored(ports, keys), strict=True)
    return all(stored is not None and stored.generation != before.get(key) for key, stored in found)


def _all_told(ports: Adapters, keys: list[str], before: dict[str, str]) -> bool:
    """The bundle was made anew, and neither it nor any alert has anything left to tell."""
    every = [*keys, BUNDLE]
    untold = [
        key
        for key, stored in zip(every, _stored(ports, every), strict=True)
        if stored is not None and decode(Document, stored.body, key).to_tell
    ]
    return not untold and _changed(ports, [BUNDLE], before)


def _told(ports: Adapters, legs: list[Leg], at: float) -> dict[str, str]:
    """Tell the times on the channels of the report, else of `notify`."""
    settings = ports.config.report
    card = drill_card.card(tuple(legs), ports.rules, at)
    problems = post_to_all(ports, settings.channels if settings else ports.rules.notify, card)
    for name, problem in problems.items():
        if problem:
            ports.log("ERROR", f"the drill was not posted to {name}: {problem}", channel=name)
    return problems
