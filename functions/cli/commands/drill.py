"""drill: marked alerts through the deployed line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from functions.cli.commands.pause import say_told
from functions.cli.showing import WRONG, Unusable, adapters_of, aside, mark, options, progress, put_json, shown

if TYPE_CHECKING:
    from functions.bootstrap import Adapters
    from functions.domain.cards.drill_card import Leg
    from functions.domain.model.alerts import Target
    from functions.domain.model.runbooks import Runbook

LEGS = 4


@click.command()
@options
@click.option("--url", default="", metavar="URL", help="The webhook's address; else public_url of the configuration.")
@click.option("--no-post", is_flag=True, help="Show the times only here. The alerts are told as tests all the same.")
@click.option("--refusal", "job", default="", metavar="RUNBOOK", help="Also prove that its job refuses a late start.")
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="With --refusal: an option that labels give.")
def drill(*, config_path: str, as_json: bool, url: str, no_post: bool, job: str, given: tuple[str, ...]) -> None:
    """Send marked test alerts through the deployed line, and tell how long each leg took.

    They are signed and posted as Grafana does it, and marked `unstick_drill`; they can restart nothing. Followed are:
    the webhook's answer, what it saved in the store, a wake-up through the scheduler to `verify`, and the message in the
    chat (about 20 seconds after). The times are posted on the channels of `report`, else of `notify`.

    --refusal RUNBOOK starts that runbook's job with unstick_not_after an hour ago, which the job's first step must refuse.
    It is tried only where `check` finds that step; without it, that would be a restart.

    Exit code 1: a leg failed, or a channel could not be told.
    """
    from functions.entrypoints import drill as drilling
    from functions.entrypoints import drill_refusal

    ports = adapters_of(config_path)
    also: list[Leg] = []
    with progress("following the drill", LEGS + bool(job)) as done, aside():
        if job:
            also.append(drill_refusal.refusal(ports, _target(ports, job, given)))
            done()
        drilled = drilling.run(ports, url=url, tell=not no_post, also=also, on_leg=lambda _: done())
    if as_json:
        put_json(drilling.as_json(drilled))
    else:
        for leg in drilled.legs:
            _print(leg)
        if not no_post:
            say_told(drilled.told)
    if not drilled.ok:
        raise SystemExit(WRONG)


def _print(leg: Leg) -> None:
    word = mark("ok   ", "ok") if leg.ok else mark("WRONG", "wrong")
    click.echo(f"{word}  {leg.name:<10} {leg.seconds:6.1f} s{f'  {shown(leg.detail)}' if leg.detail else ''}")
    if leg.remedy:
        click.echo(f"       → {shown(leg.remedy)}")


def _target(ports: Adapters, job: str, given: tuple[str, ...]) -> Target:
    """What the runbook restarts, with its fixed options and those that are given."""
    from functions.domain.decisions.matching import target_key
    from functions.domain.model.alerts import Target

    runbook = _runbook(ports, job)
    values = {name: value for name, value in runbook.restart.options.items() if "${" not in value}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or name not in runbook.restart.options:
            raise Unusable(f"--option {shown(one)}: that is no NAME=VALUE of an option of {runbook.name}: {_names(runbook)}.")
        values[name] = value
    missing = [name for name in runbook.restart.options if name not in values]
    if missing:
        raise Unusable(f"{runbook.name} takes {', '.join(missing)} from labels. Give --option {missing[0]}=VALUE for each.")
    url = ports.config.runner_url
    return Target(target_key(url, runbook.restart.job, values), url, runbook.restart.job, values)


def _runbook(ports: Adapters, job: str) -> Runbook:
    for runbook in ports.rules.runbooks.values():
        if job in (runbook.name, runbook.restart.job):
            return runbook
    raise Unusable(f"--refusal {shown(job)}: there is no such runbook. Known: {', '.join(ports.rules.runbooks) or 'none'}.")


def _names(runbook: Runbook) -> str:
    return ", ".join(runbook.restart.options) or "it has none"
