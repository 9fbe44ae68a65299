"""Compares what two configurations decide about the same recordings: `simulate --against`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from functions.config.settings import Config
from unstick import notifications, output, simulation
from unstick.notifications import Recorded
from unstick.simulation import Observe

STATED = "Each recording is decided by itself on its own clock, with {seen}, and without the documents of earlier ones."


class Fate(Struct, frozen=True, omit_defaults=True):
    action: str
    reason: str = ""
    target: str = ""
    runbook: str = ""

    def __str__(self) -> str:
        parts = (f"({self.reason})" * bool(self.reason), self.target, f"by {self.runbook}" * bool(self.runbook))
        return " ".join(filter(None, (self.action, *parts)))


class Difference(Struct, frozen=True):
    file: str
    alert: str
    count: int
    before: Fate
    after: Fate


class Comparison(Struct, frozen=True):
    """The decisions of two configurations on the same recordings. `left_out`: the files that could not be used, and why."""

    stated: str
    recordings: int
    left_out: dict[str, str]
    before: Counter[str]
    after: Counter[str]
    differences: list[Difference]


def compare(before: Config, after: Config, recordings: Sequence[Recorded], observe: Observe, seen: str) -> Comparison:
    """Decide each recording with both. Skips recordings without a notification. `seen`: the made-up observation, in words."""
    result = Comparison(STATED.format(seen=seen), len(recordings), {}, Counter(), Counter(), [])
    with output.progress("deciding", len(recordings)) as advance:
        for recorded in recordings:
            try:
                fates = [_fates(settings, recorded, observe) for settings in (before, after)]
            except output.Unusable as error:
                result.left_out[Path(recorded.name).name] = error.message.removeprefix(f"{recorded.name}: ")
                continue
            finally:
                advance()
            for count, decided in zip((result.before, result.after), fates, strict=True):
                count.update("/".join(filter(None, (fate.action, fate.reason))) for _, fate in decided)
            changed = Counter((name, old, new) for (name, old), (_, new) in zip(*fates, strict=True) if old != new)
            file = Path(recorded.name).name
            result.differences.extend(Difference(file, name, count, old, new) for (name, old, new), count in changed.items())
    return result


def _fates(settings: Config, recorded: Recorded, observe: Observe) -> list[tuple[str, Fate]]:
    """(name, fate) of every alert, in the notification's order."""
    alerts = notifications.parsed(recorded)
    decisions = simulation.decide_notification(settings, alerts, simulation.recorded_at(recorded.at, alerts), observe)
    fates = {
        alert.fingerprint: Fate(decision.action, decision.reason or "", decision.target or "", decision.runbook or "")
        for decision in decisions
        for alert in decision.alerts
    }
    return [(alert.name, fates[alert.fingerprint]) for alert in alerts]


def show(result: Comparison) -> None:
    """The comparison as text."""
    output.print_text(result.stated)
    click.echo()
    counts = [(name, result.before[name], result.after[name]) for name in sorted({*result.before, *result.after})]
    output.print_table(("alerts that would be", "before", "after"), counts)
    if result.differences:
        click.echo()
        rows = [(one.file, f"{one.alert} x{one.count}", one.before, one.after) for one in result.differences]
        output.print_table(("recording", "alerts", "before", "after"), rows)
    for file, why in result.left_out.items():
        output.print_text(f"left out: {file}: {why}", err=True)
    changed = sum(one.count for one in result.differences)
    output.print_text(f"{result.recordings - len(result.left_out)} recordings, {changed} alerts would be treated differently")
