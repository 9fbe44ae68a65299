"""drill: sends marked alerts through the deployed system."""

import click

from functions.bootstrap import Adapters
from functions.domain.cards.drill_card import Leg
from functions.domain.decisions.matching import to_target
from functions.domain.model.alerts import Target
from functions.domain.model.runbooks import Runbook
from functions.entrypoints import drill as drilling
from unstick import late_start, output
from unstick.commands import completion

LEGS = 2


@click.command()
@output.options
@click.option("--url", default="", metavar="URL", help="The webhook's address; else public_url of the configuration.")
@click.option("--no-post", is_flag=True, help="Show the times only here. The alerts are still reported as tests.")
@click.option(
    "--refusal",
    "job",
    default="",
    metavar="RUNBOOK",
    help="Also prove that its job refuses a late start.",
    shell_complete=completion.runbooks,
)
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="With --refusal: an option that labels give.")
def drill(*, config_path: str, as_json: bool, url: str, no_post: bool, job: str, given: tuple[str, ...]) -> None:
    """Send marked test alerts through the deployed system.

    They are signed and posted as Grafana does it, and marked `unstick_drill`; they can't restart anything. The drill
    follows the webhook's answer and a wake-up through the scheduler to `verify`. The times are posted to the channels of
    `report`, else of `notify`; not if nothing of Unstick's answers at --url.

    --refusal RUNBOOK starts that runbook's job with an unstick_not_after of an hour ago, which the job's first step must
    refuse. It is tried only if `check` finds that step; without it, the job would restart the application.

    Exit code 1: a part failed, or a channel could not be notified.
    """
    ports = output.load_adapters(config_path)
    refusal: list[Leg] = []
    with output.progress("following the drill", LEGS + bool(job)) as advance, output.logs_to_stderr():
        if job:
            refusal.append(late_start.refusal(ports, _target(ports, job, given)))
            advance()
        result = drilling.run(ports, url=url, tell=not no_post, also=refusal, on_leg=lambda _: advance())
    if as_json:
        output.print_json(drilling.as_json(result))
    else:
        for leg in result.legs:
            _print(leg)
        if not no_post and (result.ok or result.told):
            output.print_posted(result.told)
        elif not no_post:
            output.print_text("Nothing of Unstick's answered there, so nobody was notified.", err=True)
    if not result.ok:
        raise SystemExit(output.WRONG)


def _print(leg: Leg) -> None:
    word = output.mark("ok    ", "ok") if leg.ok else output.mark("FAILED", "wrong")
    output.print_text(leg.detail, f"{word}  {leg.name:<10} {leg.seconds:6.1f} s  ")
    if leg.remedy:
        output.print_text(leg.remedy, " " * 8 + "→ ")


def _target(ports: Adapters, job: str, given: tuple[str, ...]) -> Target:
    """The runbook's target, with its fixed options and the given ones."""
    runbook = _runbook(ports, job)
    values = {name: value for name, value in runbook.restart.options.items() if "${" not in value}
    for name, value in output.named_values("--option", given).items():
        if name not in runbook.restart.options:
            known = ", ".join(runbook.restart.options) or "none"
            raise output.Unusable(f"--option {name}: {runbook.name} has no such option. It has: {known}.")
        values[name] = value
    missing = [name for name in runbook.restart.options if name not in values]
    if missing:
        raise output.Unusable(
            f"{runbook.name} takes {', '.join(missing)} from labels. Give --option {missing[0]}=VALUE for each."
        )
    url = ports.config.runner_url
    return to_target(runbook.restart, url, values)


def _runbook(ports: Adapters, job: str) -> Runbook:
    for runbook in ports.rules.runbooks.values():
        if job in (runbook.name, runbook.restart.job):
            return runbook
    raise output.Unusable(f"--refusal {job}: there is no such runbook. Known: {', '.join(ports.rules.runbooks) or 'none'}.")
