"""`send`: what Grafana would post, and to whom."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request as Posted
from urllib.request import urlopen

import pytest
from msgspec.structs import replace
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.adapters.grafana.request import authenticate
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import Denied
from testbed.broker import free_ports
from testbed.patience import PATIENCE_S, wait_until
from testbed.recorded_grafana import known
from testbed.unstick_process import alert, notification
from tests.cli.conftest import FIRING, Line
from unstick.notifications import sign

SENT_AT = 1_800_000_000.9
FIRST, SECOND, TOKEN = (known(secret) for secret in ("f\xf6rst", "second", "token"))
HMAC = Hmac((FIRST, SECOND), header="X-Signature", timestamp_header="X-Time")
UNSTAMPED = replace(HMAC, timestamp_header=None)
BASIC, BEARER = Basic("\xfcser", (FIRST, SECOND)), Bearer((TOKEN, SECOND), scheme="ApiKey")
BODY = "{配送}".encode()


def test_send_posts_what_grafana_would(here: Line, httpserver: HTTPServer) -> None:
    """Signed with the first secret; --restamp lets the alerts begin now; any 2xx is code 0. A hold that ends by itself is said
    to, so that nobody sends it again."""
    taken: list[Request] = []
    reasons = iter(("storm_unknown", "cooldown", "paused"))

    def take(request: Request) -> Response:
        taken.append(request)
        held = {"id": "i-1", "target": "t", "action": "held", "reason": next(reasons)}
        return Response(json.dumps({"incidents": [held]}))

    httpserver.expect_request("/hook", method="POST").respond_with_handler(take)
    for reason, passes in (("storm_unknown", True), ("cooldown", True), ("paused", False)):
        shown = here.run("send", FIRING, httpserver.url_for("/hook"), "--restamp", code=0).stdout
        assert f"t: held ({reason}), incident i-1" in shown
        assert ("it is decided again by itself" in shown) is passes
    body = taken[0].get_data()
    assert body != json.loads(Path(FIRING).read_text())["request"]["body"].encode()
    authenticate(here.ports.config.grafana.auth, dict(taken[0].headers), body, here.ports.now())


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"error": "The signature does not match"}', 401, "The signature does not match"),
        (b"<html>welcome", 200, "is not the answer of Unstick's webhook"),
        (b"{}", 404, "is not the answer of Unstick's webhook"),
        (b'{"ok": true}', 200, "is not the answer of Unstick's webhook"),
    ],
)
def test_any_other_answer_is_code_1(here: Line, httpserver: HTTPServer, body: bytes, status: int, said: str) -> None:
    """What the webhook says is shown; a page of something else is not: the address is wrong, also where the status is 200."""
    httpserver.expect_request("/").respond_with_data(body, status=status)
    shown = here.run("send", FIRING, httpserver.url_for("/"), code=1).stdout
    assert said in shown
    assert "html" not in shown


def test_an_example_without_url_is_printed(here: Line) -> None:
    """For a file of one's own: what is printed is what simulate takes."""
    printed = here.run("send", "--example", "queue=mail.delivery", "vhost=/", code=0).stdout
    decision = incident_of(json.loads(here.run("simulate", "-", "--json", input=printed, code=0).stdout))
    assert (decision["runbook"], decision["action"]) == ("mail-delivery", "restarted")


def test_the_shipped_alert_is_one_for_the_shipped_configuration(here: Line) -> None:
    """examples/alert.json matches the runbook of unstick.yaml as it stands."""
    root = Path(__file__).parents[2]
    arguments = [str(root / "examples" / "alert.json"), "--config", str(root / "unstick.yaml")]
    assert incident_of(here.json("simulate", *arguments, code=1))["runbook"] == "mail-delivery"


def test_what_grafana_posts_is_kept_and_simulated(here: Line) -> None:
    """`simulate --listen` says where it listens, keeps the body without any header, and decides it."""
    path, port = here.folder / "recording.json", free_ports(1)[0]
    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(here.run, "simulate", "--listen", f"127.0.0.1:{port}", str(path), code=0)
        body = notification(alert("mail-delivery", "mail.delivery"))
        wait_until(lambda: _posted(port, body))
        result = recording.result(PATIENCE_S)
    assert f"http://127.0.0.1:{port}/" in result.stderr
    assert "would restart it" in result.stdout
    assert "secret-of-the-header" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600, "it may hold what only its owner may know"
    assert incident_of(here.json("simulate", str(path)))["action"] == "restarted"


def incident_of(shown: Any) -> dict[str, Any]:
    ((incident,),) = [one["incidents"] for one in shown]
    return dict(incident)


def _posted(port: int, body: bytes) -> bool:
    try:
        with urlopen(Posted(f"http://127.0.0.1:{port}/", body, {"Authorization": "secret-of-the-header"})) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("auth", "way", "by_first"),
    [
        (Auth(hmac=HMAC), "", Auth(hmac=replace(HMAC, secrets=(FIRST,)))),
        (Auth(hmac=UNSTAMPED), "", Auth(hmac=replace(UNSTAMPED, secrets=(FIRST,)))),
        (Auth(HMAC, BASIC, BEARER), "", Auth(hmac=replace(HMAC, secrets=(FIRST,)))),
        (Auth(HMAC, BASIC, BEARER), "basic", Auth(basic=replace(BASIC, passwords=(FIRST,)))),
        (Auth(bearer=BEARER), "", Auth(bearer=replace(BEARER, tokens=(TOKEN,)))),
    ],
)
def test_a_notification_is_let_in(auth: Auth, way: str, by_first: Auth) -> None:
    """By the first way that is configured, or by the one that is asked for, and by its first secret."""
    authenticate(by_first, sign(auth, BODY, SENT_AT, way), BODY, SENT_AT)


@pytest.mark.parametrize(("auth", "way", "said"), [(Auth(hmac=HMAC), "basic", "no basic"), (Auth(), "", "no way in")])
def test_a_way_that_is_not_configured(auth: Auth, way: str, said: str) -> None:
    """It is named, with a remedy."""
    with pytest.raises(Denied, match=f"grafana.auth has {said}") as denied:
        sign(auth, BODY, SENT_AT, way)
    assert denied.value.remedy
