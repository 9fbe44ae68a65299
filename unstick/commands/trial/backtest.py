"""backtest: recorded notifications against two configurations, and what would differ."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from msgspec import Struct

from functions.config.loader import load_config
from functions.config.settings import Config
from unstick import notifications, observations, output, simulation
from unstick.notifications import Recorded
from unstick.simulation import Observe

STATED = (
    "Each recording is decided by itself on its own clock, with {seen} and without any document of an earlier one. "
    "No system is read, nothing is saved, started or sent."
)
STUCK = "every queue stuck, nothing restarted before, the kill switch off"
Fate = tuple[str, str, str, str]
"""Runbook, target, action, reason."""


class Difference(Struct, frozen=True):
    file: str
    alert: str
    count: int
    before: Fate
    after: Fate


@click.command()
@output.options
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--against", "other_path", required=True, metavar="OTHER.yaml", help="The configuration to compare with.")
@click.option("--seen", "seen_path", metavar="FILE", help=f"The observation, as for simulate, instead of: {STUCK}.")
def backtest(*, config_path: str, as_json: bool, folder: str, other_path: str, seen_path: str | None) -> None:
    """Show what a changed configuration would have done with recorded notifications.

    Decides every *.json and *.json.gz in DIR by --config and by --against, and shows each alert that they treat
    differently. Each recording is decided by itself, on its own clock, offline: with every queue stuck and an empty
    history (or what --seen says), so cooldowns and limits that need a history don't show.

    Exit code 1: something differs.
    """
    before, after = load_config(config_path), load_config(other_path)
    made_up = observations.from_file(seen_path) if seen_path else observations.stuck
    observe = simulation.made_up_observations(made_up)
    paths = sorted(path for pattern in ("*.json", "*.json.gz") for path in Path(folder).glob(pattern))
    if not paths:
        raise output.Unusable(f"{folder}: has no *.json or *.json.gz. Name the folder with the recordings; `record` makes them.")
    left_out: dict[str, str] = {}
    differences: list[Difference] = []
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    with output.progress("deciding", len(paths)) as advance:
        for path in paths:
            try:
                recorded = notifications.read(str(path))
                fates = [_fates(settings, recorded, observe) for settings in (before, after)]
            except output.Unusable as error:
                left_out[path.name] = error.message.removeprefix(f"{path}: ")
            else:
                differences += _differences(path.name, *fates)
                for count, fate_of_alerts in zip(counts, fates, strict=True):
                    count.update("/".join(filter(None, fate[2:])) for _, fate in fate_of_alerts)
            advance()
    stated = STATED.format(seen=f"what {seen_path} says" if seen_path else STUCK)
    if as_json:
        output.print_json(
            {
                "stated": stated,
                "recordings": len(paths) - len(left_out),
                "left_out": left_out,
                "before": {"config": config_path, "alerts": counts[0]},
                "after": {"config": other_path, "alerts": counts[1]},
                "differences": [
                    {"file": one.file, "alert": one.alert, "count": one.count}
                    | {"before": _named(one.before), "after": _named(one.after)}
                    for one in differences
                ],
            }
        )
    else:
        _print(stated, differences, counts, left_out, len(paths))
    if differences:
        raise SystemExit(output.WRONG)


def _fates(settings: Config, recorded: Recorded, observe: Observe) -> list[tuple[str, Fate]]:
    """(name, what happens to it) of every alert, in the notification's order."""
    alerts = notifications.parsed(recorded)
    fates: dict[int, Fate] = {}
    for decision in simulation.decide_notification(settings, alerts, simulation.recorded_at(recorded.at, alerts), observe):
        reply = decision.reply
        for case in decision.cases:
            fates[id(case.alert)] = (reply.runbook, reply.target, reply.action.value, reply.reason.value if reply.reason else "")
    return [(alert.name, fates[id(alert)]) for alert in alerts]


def _differences(file: str, before: list[tuple[str, Fate]], after: list[tuple[str, Fate]]) -> list[Difference]:
    """What is decided differently; alerts of one notification that change alike are one line."""
    changed = Counter((name, old, new) for (name, old), (_, new) in zip(before, after, strict=True) if old != new)
    return [Difference(file, name, count, old, new) for (name, old, new), count in changed.items()]


def _named(fate: Fate) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(("runbook", "target", "action", "reason"), fate, strict=True)}


def _sentence(fate: Fate) -> str:
    runbook, target, action, reason = fate
    return f"{action}{f' ({reason})' if reason else ''}{f' {target}' if target else ''}{f' by {runbook}' if runbook else ''}"


def _print(
    stated: str, differences: list[Difference], counts: tuple[Counter[str], Counter[str]], left_out: dict[str, str], files: int
) -> None:
    output.print_text(stated)
    names = sorted({*counts[0], *counts[1]})
    rows: list[tuple[object, ...]] = [(name, counts[0][name], counts[1][name]) for name in names]
    click.echo("\n" + output.table(("alerts that would be", "before", "after"), rows) + "\n")
    if differences:
        rows = [(one.file, f"{one.alert} x{one.count}", _sentence(one.before), _sentence(one.after)) for one in differences]
        click.echo(output.table(("recording", "alerts", "before", "after"), rows) + "\n")
    for file, why in left_out.items():
        output.print_text(f"left out: {file}: {why}", err=True)
    changed = sum(one.count for one in differences)
    output.print_text(f"{files - len(left_out)} recordings, {changed} alerts would be treated differently")
