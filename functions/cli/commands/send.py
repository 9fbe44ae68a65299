"""send: posts a notification as Grafana would, signed by the configuration's secret."""

from __future__ import annotations

import json
import time

import click

from functions.cli.showing import WRONG, Unusable, mark, options, put_json, shown

WAYS = ("hmac", "basic", "bearer")


@click.command()
@options
@click.argument("file", metavar="FILE")
@click.argument("url", metavar="URL")
@click.option("--restamp", is_flag=True, help="Let the alerts begin (or end) now, so that they are no old ones.")
@click.option(
    "--as",
    "way",
    type=click.Choice(["hmac", "basic", "bearer"]),
    default=None,
    help="By which way in; else the first configured.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 300),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Grafana waits 30.",
)
def send(*, config_path: str, as_json: bool, file: str, url: str, restamp: bool, way: str | None, timeout_s: float) -> None:
    """Sign a notification like Grafana, and post it to URL.

    FILE is what simulate takes. It is signed with the first secret of the configuration's grafana.auth (HMAC with its
    timestamp header where that is configured, basic or bearer). Whatever receives it acts on it: a firing alert of a
    runbook in `mode: auto` does restart.

    Exit code 1: the answer is not 2xx.
    """
    from functions.adapters.grafana import sender
    from functions.cli import notification_file
    from functions.config.kinds import url_mistake
    from functions.config.loader import load_config
    from functions.runtime import http_client

    if mistake := url_mistake(url.partition("?")[0]):
        raise Unusable(f"URL {mistake}. Write the address of the webhook, such as http://127.0.0.1:8080/.")
    settings = load_config(config_path)
    recorded = notification_file.read(file)
    if restamp:
        recorded = notification_file.restamped(recorded, time.time())
    headers = sender.headers(settings.auth, recorded.body, time.time(), way or "")
    began = time.monotonic()
    answer = http_client.request("webhook", "POST", url, timeout_s=timeout_s, headers=headers, body=recorded.body)
    took_s = time.monotonic() - began
    well = 200 <= answer.status < 300
    said = _said(answer.body)
    if as_json:
        put_json({"status": answer.status, "seconds": round(took_s, 3), "answer": said})
    else:
        click.echo(f"{mark(str(answer.status), 'ok' if well else 'wrong')} in {took_s:.2f} s")
        for line in _lines(said):
            click.echo(f"  {shown(line, 1000)}")
    if not well:
        raise SystemExit(WRONG)


def _said(body: bytes) -> object:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body[:1000].decode(errors="replace")


def _lines(said: object) -> list[str]:
    """The answer in a line an incident."""
    if not isinstance(said, dict):
        return [str(said)] if said else []
    lines = [str(said["error"])] if said.get("error") else []
    for one in said.get("incidents") or ():
        execution = f", execution {one['execution']['id']} {one['execution']['url']}" if one.get("execution") else ""
        reason = f" ({one['reason']})" if one.get("reason") else ""
        name = one.get("target") or one.get("runbook") or "alert"
        lines.append(f"{name}: {one.get('action')}{reason}, incident {one.get('id')}{execution}")
    return lines
