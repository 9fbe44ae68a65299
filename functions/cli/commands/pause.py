"""pause: the kill switch on."""

from __future__ import annotations

import click

from functions.cli.showing import WRONG, adapters_of, aside, mark, options, put_json, require_store, shown


@click.command()
@options
@click.option("--reason", required=True, metavar="TEXT", help="Why, for those who read it at night.")
@click.option("--by", default="", metavar="NAME", help="Who; else the user of this machine.")
def pause(*, config_path: str, as_json: bool, reason: str, by: str) -> None:
    """Stop all restarts, until `resume`. Alerts are still taken, and told as held.

    Every instance reads the switch at the moment of acting. A restart that was started already is still verified. The
    channels of the top-level `notify` are told.

    Exit code 1: it was not paused, or a channel could not be told.
    """
    from functions.cli import switch
    from functions.domain.cards.card_input import CardInput
    from functions.domain.model.observations import Pause

    if not reason.strip():
        raise click.BadParameter("it is empty. Say why, for those who read it at night.", param_hint="--reason")
    ports = adapters_of(config_path)
    require_store(ports)
    who, now = by or switch.whoami(), ports.now()
    with aside():
        before = switch.turn(ports, Pause(reason, who, now))
        told = switch.tell(ports, CardInput("paused", now, detail=f"{reason} ({who})"))
    if as_json:
        put_json({"paused": True, "reason": reason, "by": who, "was_paused": before is not None, "told": told})
    else:
        replaced = f" It was paused already: {shown(before.reason)} ({shown(before.by)})." if before else ""
        click.echo(f"{mark('PAUSED', 'warn')}: nothing is restarted until `python -m functions resume`.{replaced}")
        say_told(told)
    if any(told.values()):
        raise SystemExit(WRONG)


def say_told(told: dict[str, str]) -> None:
    """Who was told, and who was not."""
    if not told:
        click.echo("Nobody was told: the configuration names no channel for it.", err=True)
    for channel, problem in told.items():
        if problem:
            click.echo(f"{mark('NOT TOLD', 'wrong')} on {shown(channel)}: {shown(problem)} Tell them yourself.", err=True)
        else:
            click.echo(f"told on {shown(channel)}")
