"""card: what people would read of a notification, as every channel shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from functions.cli.showing import Unusable, adapters_of, options, put_json
from functions.domain.model.codes import Reason
from functions.runtime.registry import adapter_names, load_adapter

if TYPE_CHECKING:
    from functions.domain.model.messages import Card

KINDS = (
    "started",
    "held",
    "draining",
    "recovered",
    "escalated",
    "resolved",
    "not_approved",
    "test",
    "bundle",
    "paused",
    "resumed",
    "unsigned",
)
CHANNELS = adapter_names("chats")
SHOWN = 3


@click.command()
@options
@click.argument("file", metavar="FILE")
@click.option("--channel", "channels", multiple=True, type=click.Choice(CHANNELS), help="Only this kind of channel; repeatable.")
@click.option(
    "--kind", type=click.Choice(KINDS), default=None, help="What happened; else what fits the alert, or held with --reason."
)
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), default=None, help="Why it is held.")
@click.option("--language", type=click.Choice(["en", "ja"]), default=None, help="Instead of the configuration's.")
@click.option("--all", "everything", is_flag=True, help=f"Every target, not only the first {SHOWN}.")
def card(
    *,
    config_path: str,
    as_json: bool,
    file: str,
    channels: tuple[str, ...],
    kind: str | None,
    reason: str | None,
    language: str | None,
    everything: bool,
) -> None:
    """Render a notification as every channel would show it, a card for each target.

    FILE is what simulate takes. Names, links and texts are the alert's own; the queue's figures, times and executions
    are made up. A hold calls people, waits or asks for approval as it would with this configuration; the approval link
    is not signed. Text channels are shown as text, the others as the JSON that is posted. Nothing is posted.
    """
    cards, language, left = _cards(config_path, file, kind, reason, language, everything=everything)
    chosen = channels or CHANNELS
    rendered = [(name, made, load_adapter("chats", name).render(made, language)) for made in cards for name in chosen]
    if as_json:
        put_json([{"channel": name, "kind": made.kind, "message": message} for name, made, message in rendered])
        return
    for name, made, message in rendered:
        click.echo(click.style(f"--- {name}: {made.kind}", bold=True))
        click.echo(_text(message) + "\n")
    if left:
        click.echo(f"and {left} more; --all shows them", err=True)


def _cards(
    config_path: str, file: str, kind: str | None, reason: str | None, language: str | None, *, everything: bool
) -> tuple[list[Card], str, int]:
    """The cards, their language, and how many were left out."""
    from msgspec.structs import replace

    from functions.application.intake import document_key
    from functions.cli import deciding, notification_file, stories
    from functions.domain.decisions import matching

    ports = adapters_of(config_path)
    recorded = notification_file.read(file)
    alerts = notification_file.parsed(recorded).alerts
    rules = replace(ports.rules, language=language or ports.rules.language)
    groups: dict[str, list[Any]] = {}
    for case in matching.match_alerts(rules, ports.config.runner_url, alerts):
        groups.setdefault(document_key(case), []).append(case)
    if not groups:
        raise Unusable(f"{file}: has no alerts.")
    now = deciding.clock_of(recorded.at, alerts)
    cause = Reason(reason) if reason else None
    if kind == "bundle":
        return [stories.bundle({key: tuple(cases) for key, cases in groups.items()}, cause, now, rules)], rules.language, 0
    shown = list(groups.items()) if everything else list(groups.items())[:SHOWN]
    cards = [stories.card(key, tuple(cases), kind, cause, now, rules) for key, cases in shown]
    return cards, rules.language, len(groups) - len(shown)


def _text(message: object) -> str:
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False, indent=2)
