"""card: what people would read of a notification, as every channel shows it."""

from __future__ import annotations

import json

import click
from msgspec.structs import replace

from functions.application.intake import group_by_document
from functions.config.registry import adapter_names, load_adapter
from functions.domain.cards.card import KINDS
from functions.domain.model.codes import Reason
from functions.domain.model.messages import Card
from functions.runtime.text import languages
from unstick import notifications, output, sample_cards, simulation

CHANNELS = adapter_names("chats")
SHOWN = 3


@click.command()
@output.options
@click.argument("file", metavar="FILE")
@click.option("--channel", "channels", multiple=True, type=click.Choice(CHANNELS), help="Only this kind of channel; repeatable.")
@click.option(
    "--kind", type=click.Choice(list(KINDS)), default=None, help="What happened; else what fits the alert, or held with --reason."
)
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), default=None, help="Why it is held.")
@click.option("--language", type=click.Choice(languages()), default=None, help="Instead of the configuration's.")
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
    """Show a notification's messages as every channel would show them, one for each target.

    FILE is what simulate takes. Names, links and texts are the alert's own; the queue's figures, times and executions
    are made up. A hold alarms people, waits or asks for approval as it would with this configuration; the approval link
    is not signed. Text channels are shown as text, the others as the JSON that is posted. Nothing is posted.
    """
    cards, language, left_out = _cards(config_path, file, kind, reason, language, everything=everything)
    messages = [
        (channel, one.kind, load_adapter("chats", channel).render(one, language))
        for one in cards
        for channel in channels or CHANNELS
    ]
    if as_json:
        output.print_json([{"channel": channel, "kind": kind, "message": message} for channel, kind, message in messages])
        return
    for channel, card_kind, message in messages:
        click.echo(click.style(f"--- {channel}: {card_kind}", bold=True))
        text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False, indent=2)
        output.print_lines(text) if channel == "console" else click.echo(text)
        click.echo()
    if left_out:
        output.print_text(f"and {left_out} more; --all shows them", err=True)


def _cards(
    config_path: str, file: str, kind: str | None, reason: str | None, language: str | None, *, everything: bool
) -> tuple[list[Card], str, int]:
    """The cards, their language, and how many were left out."""
    ports = output.load_adapters(config_path)
    recorded = notifications.read(file)
    alerts = notifications.parsed(recorded)
    rules = replace(ports.rules, language=language or ports.rules.language)
    groups = group_by_document(ports.config.match_alerts(alerts))
    at = simulation.recorded_at(recorded.at, alerts)
    cause = Reason(reason) if reason else None
    if kind == "bundle":
        return [sample_cards.bundle(list(groups.values()), cause, at, rules)], rules.language, 0
    targets = list(groups.items()) if everything else list(groups.items())[:SHOWN]
    cards = [sample_cards.card(key, tuple(cases), kind, cause, at, rules) for key, cases in targets]
    return cards, rules.language, len(groups) - len(targets)
