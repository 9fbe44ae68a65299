"""causes: what the incidents have in common, for whoever is to find the bug."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from functions.application import report as reporting
from functions.application.collect import evidence_path
from functions.application.observe import unwrap
from functions.bootstrap import Adapters
from functions.cli import output
from functions.cli.documents import several_at_once
from functions.domain.cards.rendering import rendered
from functions.domain.causes import chart as causes_chart
from functions.domain.causes.common import compare
from functions.domain.causes.lines import common_lines
from functions.domain.causes.model import Common, Pattern, ordered
from functions.domain.causes.ticket import draft
from functions.domain.causes.words import LINES_SHOWN, before_the_restart, counted, judgement, sentence
from functions.domain.model.runbooks import Rules
from functions.domain.texts.evidence_lines import MARK, choose_lines
from functions.runtime.errors import Denied, Unavailable

DAY_S = 86400.0
EVIDENCE_S = 60.0
MOST_READ = 60
"""Incidents whose evidence is read, the newest first: 15 MiB at most."""
MOST_HEALTHY = 1 << 20


@click.command()
@output.options
@click.option("--days", type=click.IntRange(1, 400), default=90, show_default=True, help="How far back to compare incidents.")
@click.option("--runbook", "only", metavar="NAME", default=None, help="Only the incidents of this runbook.")
@click.option(
    "--healthy",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="What the evidence job showed when all was well; repeatable. Lines are then compared with it.",
)
@output.chart_option
@click.option("--ticket", is_flag=True, help="Print a draft of the ticket as Markdown.")
def causes(
    *,
    config_path: str,
    as_json: bool,
    days: int,
    only: str | None,
    healthy: tuple[str, ...],
    chart_path: str | None,
    ticket: bool,
) -> None:
    """Show what incidents have in common: hours, weekdays, holders, time since the last restart, lines of evidence.

    Each figure comes with its odds: how often chance alone would do as much, counting in how many places it was looked
    for. Incidents within three hours of each other count once for hours and weekdays. Fewer than five incidents say
    nothing. Lines are compared as templates; without --healthy only those that cards show, since the job's own headings
    are in every output.
    """
    ports = output.load_adapters(config_path)
    output.require_store(ports)
    if only is not None and only not in ports.rules.runbooks:
        raise output.Unusable(f"there is no runbook {only}. The configuration has: {', '.join(ports.rules.runbooks)}.")
    with output.logs_to_stderr():
        now = ports.now()
        known = reporting.gather(ports, now, now - days * DAY_S)
        compared = [one for one in compare(known, ports.rules, now) if only in (None, one.runbook)]
        compared = [_with_lines(ports, common, [_read(path) for path in healthy]) for common in compared]
    if chart_path:
        output.write_file(chart_path, causes_chart.chart(compared, ports.rules))
    if as_json:
        output.print_json([_as_json(common, ports.rules) for common in compared])
    elif ticket:
        _print_tickets(compared, ports.rules)
    else:
        _print(compared, ports.rules, output.local_time(now - days * DAY_S, ports.rules)[:10])


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(MOST_HEALTHY).decode(errors="replace")


def _with_lines(ports: Adapters, common: Common, healthy: Sequence[str]) -> Common:
    """With the lines of evidence that stand in most of its incidents."""
    incidents = [case.incident for case in reversed(common.cases)][:MOST_READ]
    outputs: list[str] = []
    with output.progress(f"reading evidence of {common.runbook}", len(incidents)) as advance:
        calls = [partial(ports.read_archived, evidence_path(incident), EVIDENCE_S) for incident in incidents]
        for incident, body in zip(incidents, several_at_once(ports, calls, EVIDENCE_S), strict=True):
            advance()
            if isinstance(body, Unavailable | Denied):
                output.print_text(f"the evidence of {incident} can't be read and is left out: {body}", err=True)
            elif unwrap(body) is not None:
                outputs.append(body.decode(errors="replace"))
    if not outputs:
        return common
    return replace(common, patterns=ordered([*common.besides_lines, *_lines(outputs, healthy)]), examined=len(outputs))


def _lines(outputs: Sequence[str], healthy: Sequence[str]) -> tuple[Pattern, ...]:
    """All lines where healthy samples can tell which are always there; else those that cards show."""
    from functions.cli.log_templates import mine  # 60 ms and more, and only where there is evidence

    texts = [*outputs, *healthy]
    samples = [[line.removeprefix(MARK) for line in text.splitlines()] if healthy else list(choose_lines(text)) for text in texts]
    with output.progress("comparing lines", len(samples)) as advance:
        templates = mine(samples, advance)
    return common_lines(templates[: len(outputs)], templates[len(outputs) :])


def _print(compared: Sequence[Common], rules: Rules, since: str) -> None:
    if not compared:
        output.print_text(f"no incident ended since {since}")
    for place, common in enumerate(compared):
        if place:
            click.echo()
        output.print_text(rendered(rules, counted(common, rules)), click.style(f"{common.runbook}: ", bold=True), "  ")
        if judged := judgement(common):
            output.print_text(rendered(rules, judged), "  ")
        for pattern in common.besides_lines:
            _print_pattern(pattern, rules)
        for label, figures in before_the_restart(common):
            output.print_text(f"{rendered(rules, label)}: {rendered(rules, figures)}", "  ")
        if common.examined:
            output.print_text(f"evidence of {common.examined} incidents, lines in most of them: {len(common.lines)}", "  ")
        for pattern in common.lines[:LINES_SHOWN]:
            _print_pattern(pattern, rules)
        if len(common.lines) > LINES_SHOWN:
            output.print_text(f"and {len(common.lines) - LINES_SHOWN} more; --json has them all", "    ")


def _print_pattern(pattern: Pattern, rules: Rules) -> None:
    """A star marks what is hardly chance."""
    star = output.mark("  * ", "warn") if pattern.telling else "    "
    output.print_text(rendered(rules, sentence(pattern)), star)


def _print_tickets(compared: Sequence[Common], rules: Rules) -> None:
    if not compared:
        raise output.Wrong("there is no incident to write a ticket about. --days looks further back.")
    drafts = []
    for common in compared:
        runbook = rules.runbooks.get(common.runbook)
        drafts.append(draft(common, rules, root_cause=runbook.root_cause if runbook else ""))
    click.echo("\n".join(drafts), nl=False)


def _as_json(common: Common, rules: Rules) -> dict[str, Any]:
    """As it is, with the sentences in the language of the configuration."""
    content: dict[str, Any] = msgspec.to_builtins(replace(common, patterns=()))
    content["patterns"] = [
        msgspec.to_builtins(replace(one, what=rendered(rules, one.what)))
        | {"telling": one.telling, "sentence": rendered(rules, sentence(one))}
        for one in common.patterns
    ]
    return content | {"too_few": common.too_few}
