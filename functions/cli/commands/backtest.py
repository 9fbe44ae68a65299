"""backtest: recorded notifications against two configurations, and what would differ."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from functions.cli.showing import WRONG, Unusable, adapters_of, options, progress, put_json, table

if TYPE_CHECKING:
    from functions.cli.deciding import Look
    from functions.cli.notification_file import Recorded
    from functions.config.settings import Config

STATED = (
    "Each recording is decided by itself on its own clock, with {seen} and without any document of a former one. "
    "Nothing is looked at, saved, started or told."
)
SICK = "every queue stuck, nothing restarted before, the kill switch off"
Fate = tuple[str, str, str, str]
"""Runbook, target, action, reason."""


class Difference(Struct, frozen=True):
    file: str
    alert: str
    count: int
    before: Fate
    after: Fate


@click.command()
@options
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--against", "other_path", required=True, metavar="OTHER.yaml", help="The configuration to compare with.")
@click.option("--seen", "seen_path", metavar="FILE", help=f"What is seen, as for simulate, instead of: {SICK}.")
def backtest(*, config_path: str, as_json: bool, folder: str, other_path: str, seen_path: str | None) -> None:
    """Show what a changed configuration would have done with recorded notifications.

    Decides every *.json and *.json.gz in DIR by --config and by --against, and shows each alert that they treat
    differently. Each recording is decided by itself, on its own clock, offline: with every queue stuck and an empty
    history (or what --seen says), so cooldowns and limits that need a history don't show.

    Exit code 1: something differs.
    """
    from functions.cli import deciding, made_up, notification_file

    before, after = adapters_of(config_path).config, adapters_of(other_path).config
    look = deciding.alone(made_up.from_file(seen_path) if seen_path else made_up.sick)
    paths = sorted(path for pattern in ("*.json", "*.json.gz") for path in Path(folder).glob(pattern))
    if not paths:
        raise Unusable(f"{folder}: has no *.json or *.json.gz. Name the folder that the recordings are in.")
    left_out: dict[str, str] = {}
    found: list[Difference] = []
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    with progress("deciding", len(paths)) as done:
        for path in paths:
            try:
                recorded = notification_file.read(str(path))
                fates = [_fates(settings, recorded, look) for settings in (before, after)]
            except Unusable as error:
                left_out[path.name] = error.message.removeprefix(f"{path}: ")
            else:
                found += _differences(path.name, *fates)
                for count, decided in zip(counts, fates, strict=True):
                    count.update("/".join(filter(None, fate[2:])) for _, _, fate in decided)
            done()
    stated = STATED.format(seen=f"what {seen_path} says" if seen_path else SICK)
    if as_json:
        put_json(
            {
                "stated": stated,
                "recordings": len(paths) - len(left_out),
                "left_out": left_out,
                "before": {"config": config_path, "alerts": counts[0]},
                "after": {"config": other_path, "alerts": counts[1]},
                "differences": [
                    {"file": one.file, "alert": one.alert, "count": one.count}
                    | {"before": _named(one.before), "after": _named(one.after)}
                    for one in found
                ],
            }
        )
    else:
        _print(stated, found, counts, left_out, len(paths))
    if found:
        raise SystemExit(WRONG)


def _fates(settings: Config, recorded: Recorded, look: Look) -> list[tuple[str, str, Fate]]:
    """(alert's place and fingerprint, its name, what becomes of it) of every alert."""
    from functions.cli import deciding, notification_file

    alerts = notification_file.parsed(recorded).alerts
    fate: dict[int, tuple[str, str, Fate]] = {}
    places = {id(alert): place for place, alert in enumerate(alerts)}
    for one in deciding.decided(settings, alerts, deciding.clock_of(recorded.at, alerts), look):
        reason = one.reply.reason.value if one.reply.reason else ""
        for case in one.cases:
            place = places[id(case.alert)]
            fate[place] = (
                f"{place} {case.alert.fingerprint}",
                case.alert.name,
                (one.reply.runbook, one.reply.target, one.reply.action.value, reason),
            )
    return [fate[place] for place in sorted(fate)]


def _differences(file: str, before: list[tuple[str, str, Fate]], after: list[tuple[str, str, Fate]]) -> list[Difference]:
    """What is decided otherwise; alerts of one notification that change alike are one line."""
    changed = Counter((name, old, new) for (_, name, old), (_, _, new) in zip(before, after, strict=True) if old != new)
    return [Difference(file, name, count, old, new) for (name, old, new), count in changed.items()]


def _named(fate: Fate) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(("runbook", "target", "action", "reason"), fate, strict=True)}


def _said(fate: Fate) -> str:
    runbook, target, action, reason = fate
    return f"{action}{f' ({reason})' if reason else ''}{f' {target}' if target else ''}{f' by {runbook}' if runbook else ''}"


def _print(
    stated: str, found: list[Difference], counts: tuple[Counter[str], Counter[str]], left_out: dict[str, str], files: int
) -> None:
    click.echo(stated + "\n")
    names = sorted({*counts[0], *counts[1]})
    click.echo(table(("alerts that would be", "before", "after"), [(name, counts[0][name], counts[1][name]) for name in names]))
    click.echo()
    if found:
        rows = [(one.file, f"{one.alert} x{one.count}", _said(one.before), _said(one.after)) for one in found]
        click.echo(table(("recording", "alerts", "before", "after"), rows) + "\n")
    for file, why in left_out.items():
        click.echo(f"left out: {file}: {why}", err=True)
    click.echo(f"{files - len(left_out)} recordings, {sum(one.count for one in found)} alerts would be treated differently")
