"""report: what the bug costs."""

from __future__ import annotations

from pathlib import Path

import click

from functions.cli.showing import WRONG, Unusable, adapters_of, aside, mark, options, put_json, shown


@click.command()
@options
@click.option("--days", type=click.Choice(["7", "30"]), default=None, help="What the headline is about; else report.every.")
@click.option("--chart", "chart_path", metavar="FILE.svg", help="Write the chart into this file.")
@click.option("--post", is_flag=True, help="Post it on the channels of `report`, else of `notify`, as the weekly report does.")
def report(*, config_path: str, as_json: bool, days: str | None, chart_path: str | None, post: bool) -> None:
    """Show what the bug behind each runbook costs: restarts by Unstick and by hand, recoveries, time saved.

    From the archive and Rundeck's history, over the last 7 and 30 days. Nothing is changed; only --post tells anybody.

    Exit code 1: with --post, a channel could not be told.
    """
    from functions.adapters.chats import console
    from functions.application import report as reporting
    from functions.domain.costs import card as cost_card
    from functions.domain.costs import chart as cost_chart

    if post and days:
        raise click.UsageError("--days changes what is shown here; what is posted goes by report.every in the configuration.")
    ports = adapters_of(config_path)
    failed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    with aside():
        if post:
            done = reporting.post_report(ports, ports.now())
            cost, card, told, failed = done.cost, done.card, done.told, done.failed
        else:
            every = ports.config.report.every if ports.config.report else "week"
            cost = reporting.gather(ports, ports.now())
            card = cost_card.card(cost, ports.rules, days=int(days or ("30" if every == "month" else "7")))
    if chart_path:
        _write(chart_path, cost_chart.chart(cost, ports.rules))
    if as_json:
        put_json({"report": reporting.as_json(cost), "told": told, "failed": failed})
    else:
        click.echo(console.render(card, ports.rules.language))
        if post and not (told or failed):
            click.echo("Nobody was told: neither `report` nor the top-level `notify` names a channel.", err=True)
        for name in told:
            click.echo(f"told on {shown(name)}")
    for name in failed:
        click.echo(f"{mark('NOT TOLD', 'wrong')} on {shown(name)}: the log above says why.", err=True)
    if failed:
        raise SystemExit(WRONG)


def _write(path: str, chart: str) -> None:
    try:
        Path(path).write_text(chart, encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{path}: can't be written ({type(error).__name__}). Name a file in a folder that is there.") from None
