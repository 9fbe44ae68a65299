"""check: configuration, secrets, and every system with the permissions that Unstick needs there. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from functions.cli.showing import WRONG, adapters_of, aside, mark, options, progress, put_json, shown

if TYPE_CHECKING:
    from functions.cli.findings import Line

MARKS = {True: ("ok", "ok"), None: ("?", "unknown"), False: ("WRONG", "wrong")}


@click.command()
@options
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 120),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="How long each system may take; all are asked at once.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="A label that alerts have, to look at the queue that it leads to. May be repeated.",
)
@click.option("--only-wrong", is_flag=True, help="Leave out what is right.")
def check(*, config_path: str, as_json: bool, timeout_s: float, labels: tuple[str, ...], only_wrong: bool) -> None:
    """Say what is right, what is wrong, and what mends it.

    First the configuration, all its mistakes at once; then every secret, without showing any; then every system with
    exactly the permissions that Unstick needs there: Rundeck's token and each runbook's job (its options, its guard
    against late starts, without which `mode: auto` is refused), RabbitMQ's queues, store, scheduler, chats. Nothing is
    started, posted or changed; what the store's test writes is taken away again.
    """
    from functions.cli import findings

    ports = adapters_of(config_path)
    given = findings.labels_of(labels)
    questions = findings.questions(ports, given, timeout_s)
    with progress("asking every system", len(questions)) as done, aside():
        lines = findings.asked(questions, timeout_s, done)
    wrong = sum(line.finding.ok is False for line in lines)
    if as_json:
        put_json(
            {
                "ok": not wrong,
                "findings": [{"system": line.system, "runbooks": line.runbooks, **asdict(line.finding)} for line in lines],
            }
        )
    else:
        _print([line for line in lines if not only_wrong or line.finding.ok is not True])
        unknown = sum(line.finding.ok is None for line in lines)
        click.echo(f"\n{len(lines) - wrong - unknown} right, {unknown} to look at, {wrong} wrong")
    if wrong:
        raise SystemExit(WRONG)


def _print(lines: list[Line]) -> None:
    system = ""
    for line in lines:
        if line.system != system:
            system = line.system
            click.echo(click.style(f"{shown(system)}", bold=True))
        word, kind = MARKS[line.finding.ok]
        where = f" [{', '.join(map(shown, line.runbooks))}]" if line.runbooks else ""
        detail = f": {shown(line.finding.detail)}" if line.finding.detail else ""
        click.echo(f"  {mark(f'{word:<5}', kind)}  {shown(line.finding.what)}{where}{detail}")
        if line.finding.remedy:
            click.echo(f"         → {shown(line.finding.remedy)}")
