"""causes: shows what the incidents have in common, to help find the bug."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from functions.application.history import report as reporting
from functions.domain.cards.rendering import rendered
from functions.domain.causes.common import Common, compare
from functions.domain.causes.words import say_moved, sentence
from functions.domain.model.runbooks import Rules
from unstick import output
from unstick.commands import completion
from unstick.commands.ticket import counted, draft, figures, judgement

DAY_S = 86400.0
LINES_SHOWN = 8


@click.command()
@output.options
@click.option("--days", type=click.IntRange(1, 400), default=90, show_default=True, help="How far back to compare incidents.")
@click.option("--runbook", "only", metavar="NAME", help="Only the incidents of this runbook.", shell_complete=completion.runbooks)
@click.option("--ticket", is_flag=True, help="Print a draft of the ticket as Markdown.")
def causes(*, config_path: str, as_json: bool, days: int, only: str | None, ticket: bool) -> None:
    """Show what incidents have in common.

    That is hours, targets, holders, figures before the restart, and lines of evidence.

    What at least three in four incidents share is named with its count. Incidents within three hours of each other count
    once for hours and weekdays. Fewer than five incidents say nothing. Lines are those that cards show; they are the same
    if only numbers, times or ids differ.
    """
    ports = output.load_with_store(config_path)
    if only is not None and only not in ports.rules.runbooks:
        raise output.Unusable(f"there is no runbook {only}. The configuration has: {', '.join(ports.rules.runbooks)}.")
    with output.logs_to_stderr():
        now = ports.now()
        known = reporting.gather(ports, now, now - days * DAY_S)
        compared = [one for one in compare(known, ports.rules, now) if only in (None, one.runbook)]
    if as_json:
        output.print_json([_as_json(common, ports.rules) for common in compared])
    elif ticket:
        _print_tickets(compared, ports.rules)
    else:
        _print(compared, ports.rules, output.local_time(now - days * DAY_S, ports.rules)[:10])


def _print(compared: Sequence[Common], rules: Rules, since: str) -> None:
    if not compared:
        output.print_text(f"no incident ended since {since}")
    for place, common in enumerate(compared):
        if place:
            click.echo()
        output.print_text(rendered(rules, counted(common, rules)), click.style(f"{common.runbook}: ", bold=True), "  ")
        if judged := judgement(common):
            output.print_text(rendered(rules, judged), "  ")
        for message in common.moved[:LINES_SHOWN]:
            output.print_text(rendered(rules, say_moved(message)), output.mark("  * ", "warn"))
        for pattern in common.besides_lines:
            output.print_text(rendered(rules, sentence(pattern)), output.mark("  * ", "warn"))
        for label, value in figures(common):
            output.print_text(f"{rendered(rules, label)}: {rendered(rules, value)}", "  ")
        for pattern in common.lines[:LINES_SHOWN]:
            output.print_text(rendered(rules, sentence(pattern)), output.mark("  * ", "warn"))
        if len(common.lines) > LINES_SHOWN:
            output.print_text(f"and {len(common.lines) - LINES_SHOWN} more; --json has them all", "    ")


def _print_tickets(compared: Sequence[Common], rules: Rules) -> None:
    if not compared:
        raise output.Wrong("there is no incident to write a ticket about. --days looks further back.")
    drafts = []
    for common in compared:
        runbook = rules.runbooks.get(common.runbook)
        drafts.append(draft(common, rules, root_cause=runbook.root_cause if runbook else ""))
    click.echo("\n".join(drafts), nl=False)


def _as_json(common: Common, rules: Rules) -> dict[str, Any]:
    """As JSON values, with the sentences in the configured language."""
    content: dict[str, Any] = msgspec.to_builtins(replace(common, patterns=()))
    content["patterns"] = [
        msgspec.to_builtins(replace(one, what=rendered(rules, one.what))) | {"sentence": rendered(rules, sentence(one))}
        for one in common.patterns
    ]
    return content | {"too_few": common.too_few}
