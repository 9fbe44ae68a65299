"""send: posts a notification like Grafana, signed with the configuration's secret."""

import json
import time
from typing import Any

import click

from functions.config.formats import read_url
from functions.config.loader import load_config
from functions.config.settings import Config
from functions.domain.model.codes import UNKNOWN, Reason
from functions.runtime import http_client
from unstick import notifications, output
from unstick.notifications import Recorded

PASSING = {Reason.COOLDOWN, Reason.JOB_BUSY, *UNKNOWN}  # reasons that end by themselves: Unstick decides again

WEBHOOK = "Write the address of the webhook, such as http://127.0.0.1:8080/."


@click.command()
@output.options
@click.argument("arguments", nargs=-1, required=True, metavar="FILE URL")
@click.option("--example", is_flag=True, help="Make a notification with the labels LABEL=VALUE... that stand in FILE's place.")
@click.option("--restamp", is_flag=True, help="Let the alerts begin (or end) now, so that they are not old.")
@click.option(
    "--as", "way", type=click.Choice(["hmac", "basic", "bearer"]), default=None, help="How to sign; else as configured first."
)
@output.timeout_option(30.0, 300, "Grafana waits 30.")
def send(*, config_path: str, arguments: tuple[str, ...], example: bool, restamp: bool, **wanted: Any) -> None:
    """Sign a notification like Grafana, and post it to URL.

    FILE is what simulate takes. It is signed with the first secret of the configuration's grafana.auth (HMAC with its
    timestamp header if that is configured, basic or bearer). The receiver acts on it: a firing alert of a runbook in
    `mode: auto` does restart.

    --example makes the notification: `send --example service=mail-delivery queue=mail.delivery vhost=/ URL`. The labels
    that the runbook's matchers name are added, unless their patterns fit many values. Without URL the notification is
    printed, for a file of your own.

    Exit code 1: the answer is not 2xx, or not Unstick's.
    """
    source, url = _split(arguments, example=example)
    settings = load_config(config_path)
    if example:
        recorded = notifications.example(settings.rules, output.named_values("--example", source), time.time())
    else:
        recorded = notifications.read(source[0])
    if not url:
        click.echo(recorded.body.decode())
        return
    if restamp:
        recorded = notifications.restamped(recorded, time.time())
    if not _post(settings, url, recorded, **wanted):
        raise SystemExit(output.WRONG)


def _post(settings: Config, url: str, recorded: Recorded, *, way: str | None, timeout_s: float, as_json: bool) -> bool:
    """Post it and show the answer. Returns whether the answer is Unstick's, and 2xx."""
    headers = notifications.sign(settings.grafana.auth, recorded.body, time.time(), way or "")
    began = time.monotonic()
    response = http_client.request("webhook", "POST", url, timeout_s=timeout_s, headers=headers, body=recorded.body)
    took_s = time.monotonic() - began
    answer = _parsed(response.body)
    is_unstick = isinstance(answer, dict) and ("incidents" in answer or "error" in answer)
    success = 200 <= response.status < 300 and is_unstick
    if as_json:
        output.print_json({"status": response.status, "seconds": round(took_s, 3), "answer": answer})
        return success
    click.echo(f"{output.mark(str(response.status), 'ok' if success else 'wrong')} in {took_s:.2f} s")
    if isinstance(answer, dict) and is_unstick:
        _print(answer)
    else:
        output.print_text(f"This is not the answer of Unstick's webhook: is {url} the right address? {WEBHOOK}", "  ")
    return success


def _split(arguments: tuple[str, ...], *, example: bool) -> tuple[tuple[str, ...], str]:
    """The notification to send, and the URL: the last argument, optional with --example."""
    url = arguments[-1]
    if example and "://" not in url:
        return arguments, ""
    if not example and len(arguments) != 2:
        raise click.UsageError("name a FILE and a URL.")
    try:
        read_url(url.partition("?")[0])
    except ValueError as mistake:
        raise output.Unusable(f"URL {mistake}. {WEBHOOK}") from None
    return arguments[:-1], url


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body[:1000].decode(errors="replace")


def _print(answer: dict[str, object]) -> None:
    if answer.get("error"):
        output.print_text(answer["error"], "  ")
    incidents = answer.get("incidents")
    for incident in incidents if isinstance(incidents, list) else ():
        execution = incident.get("execution")
        restart = f", execution {execution['id']} {execution['url']}" if execution else ""
        action, reason = incident.get("action"), incident.get("reason")
        name = incident.get("target") or incident.get("runbook") or "alert"
        held_for = f" ({reason})" if reason else ""
        output.print_text(f"{name}: {action}{held_for}, incident {incident.get('id')}{restart}", "  ", "    ")
        if action == "deferred" or (action == "held" and reason in PASSING):
            output.print_text("it is decided again by itself; `unstick status` shows when", "    → ")
