"""report: shows what the bug costs."""

import click

from functions.adapters.chats import console
from functions.application import history
from functions.entrypoints.report_request import report_channels, report_days
from unstick import output


@click.command()
@output.options
@click.option("--days", type=click.Choice(["7", "30"]), default=None, help="The period; else report.every.")
@click.option("--post", is_flag=True, help="Post it to the channels of `report`, else of `notify`, as the weekly report does.")
def report(*, config_path: str, as_json: bool, days: str | None, post: bool) -> None:
    """Show what the bug behind each runbook costs.

    That is how long queues were stuck, incidents, restarts, hand-overs to people, and where they hung, beside the
    period before. All from the archive. Nothing is changed; only --post notifies people.

    Exit code 1: with --post, a channel could not be notified.
    """
    if post and days:
        raise click.UsageError("--days changes what is shown here; what is posted follows report.every in the configuration.")
    ports = output.load_adapters(config_path)
    with output.logs_to_stderr():
        if post:
            reported = history.post_report(ports, report_channels(ports.config), report_days(ports.config))
        else:
            covered = int(days or report_days(ports.config))
            reported = history.Reported(*history.compose_report(ports, covered), {})
    if as_json:
        output.print_json(reported.as_json())
    else:
        output.print_lines(console.render(reported.card, ports.rules.language))
        if post:
            output.print_posted(reported.problems)
    if any(reported.problems.values()):
        raise SystemExit(output.WRONG)
