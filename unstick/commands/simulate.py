"""simulate: shows what would be decided about a notification, with the result of every guard. Changes nothing."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from functions.application.intake import group_by_document
from functions.bootstrap import Adapters
from functions.config.loader import load_config
from functions.config.settings import Config
from functions.domain.model.codes import Action
from unstick import notifications, observations, output, recorder, simulation
from unstick.notifications import Recorded
from unstick.simulation import Observe, SimulatedDecision

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"])
STUCK = "every queue stuck, nothing restarted before, the kill switch off"
ACTIONS = {
    Action.RESTARTED: ("would restart it", "ok"),
    Action.ADOPTED: ("would follow the execution that already runs", "ok"),
    Action.HELD: ("would hold", "warn"),
    Action.DEFERRED: ("would decide later", "warn"),
    Action.ASKED: ("would ask for approval", "warn"),
}
STATED = "Each recording is decided by itself on its own clock, with {seen}, and without the documents of earlier ones."


@click.command()
@output.options
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--offline", is_flag=True, help="Read no system: shows what is held when nothing can be known.")
@click.option("--seen", "seen_path", metavar="FILE", help="Read the observation from this JSON file, not from the systems.")
@click.option("--restamp", is_flag=True, help="Treat the alerts as if they had begun just now.")
@click.option("--against", "other_path", metavar="OTHER.yaml", help="Show what this configuration would decide differently.")
@click.option("--since", type=MOMENT, metavar="TIME", help="Only notifications from then on, as 2026-11-28 or 2026-11-28T03:00.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Only notifications that came before this time.")
@click.option("--listen", "address", metavar="HOST:PORT", help="First keep one notification that is posted here, as FILE.")
def simulate(*, config_path: str, as_json: bool, files: tuple[str, ...], address: str | None, **wanted: Any) -> None:
    """Show what would be decided about notifications.

    Also what every guard says about each incident; --json adds all that was seen.

    FILE is the body of a notification (JSON; examples/alert.json is one), or a recorded request with its body in
    `request.body`, `body_text` or `body_base64`; either may be gzipped. - is stdin, and a folder all its *.json and
    *.json.gz. The real systems are read, which changes nothing there; nothing is saved, started or sent.

    --listen waits for one notification: add a contact point with that URL, and press Test, or wait for a real alert.

    --offline and --seen read no system, and use the recording's clock. A file for --seen is for example

    \b
      {"queues": {"*": {"depth": 362, "consumers": 1}},
       "ledger": {"executions": [
         {"id": "1", "url": "", "status": "succeeded",
          "runner_started_at": -500, "runner_ended_at": -400}]},
       "pause": null}

    Times of 0 or less count from now. {"why": "..."} in place of any part says that it could not be read.

    --against reads no system either: every queue is stuck and no history holds a restart, unless --seen says otherwise.

    Exit code 1: something would be held, or decided differently.
    """  # noqa: D301 - click's own mark for a block that keeps its lines is a real backspace
    if address:
        if len(files) != 1 or files[0] == "-":
            raise click.UsageError("--listen takes one FILE, which it writes.")
        recorder.keep_one(files[0], address)
    recordings = [recorded for path in files for recorded in notifications.read_all(path)]
    recordings = _between(config_path, recordings, wanted.pop("since"), wanted.pop("until"))
    if wanted["restamp"]:
        recordings = [notifications.restamped(recorded, time.time()) for recorded in recordings]
    run = _compare if wanted["other_path"] else _simulate
    if run(config_path, recordings, as_json=as_json, **wanted):
        raise SystemExit(output.WRONG)


def _between(config_path: str, recordings: list[Recorded], since: datetime | None, until: datetime | None) -> list[Recorded]:
    """The recordings of that time. Raises Unusable if there are none."""
    if since is None and until is None:
        return recordings
    rules = load_config(config_path).rules
    first, end = (at.replace(tzinfo=rules.zone).timestamp() if at else None for at in (since, until))
    times = [simulation.recorded_at(recording.at, notifications.parsed(recording)) for recording in recordings]
    between = [one for one, at in zip(recordings, times, strict=True) if (first or at) <= at and (end is None or at < end)]
    if not between:
        first_at, last_at = (output.local_time(at, rules) for at in (min(times), max(times)))
        raise output.Unusable(f"no notification came in that time: the first came at {first_at}, the last at {last_at}.")
    return between


def _simulate(config_path: str, recordings: list[Recorded], *, as_json: bool, restamp: bool, **wanted: Any) -> bool:
    """Returns whether something would be held."""
    offline, seen_path = wanted["offline"], wanted["seen_path"]
    if offline and seen_path:
        raise click.UsageError("--offline and --seen exclude each other: use one of them.")
    ports = output.load_adapters(config_path)
    live = simulation.live_observations(ports)
    observe = observations.from_file(seen_path) if seen_path else observations.unobserved() if offline else live
    real_time = observe is live or restamp
    results = [(recorded.name, *_decide(ports, recorded, observe, real_time=real_time)) for recorded in recordings]
    if as_json:
        output.print_json([{"file": name, "at": at, "incidents": msgspec.to_builtins(made)} for name, at, made in results])
    else:
        for name, at, decisions in results:
            output.print_text(f"{name} at {output.local_time(at, ports.rules)} {ports.rules.time_zone}")
            for decision in decisions:
                _print(decision, at)
    return any(decision.is_held for _, _, decisions in results for decision in decisions)


def _compare(config_path: str, recordings: list[Recorded], *, as_json: bool, other_path: str, **wanted: Any) -> bool:
    """Returns whether the two configurations decide something differently."""
    seen_path = wanted["seen_path"]
    observe = observations.from_file(seen_path) if seen_path else observations.stuck()
    seen = f"what {seen_path} says" if seen_path else STUCK
    result = _compare_all(load_config(config_path), load_config(other_path), recordings, observe, seen)
    output.print_json(msgspec.to_builtins(result)) if as_json else _print_comparison(result)
    return bool(result.differences)


def _decide(ports: Adapters, recorded: Recorded, observe: Observe, *, real_time: bool) -> tuple[float, list[SimulatedDecision]]:
    alerts = notifications.parsed(recorded)
    at = ports.now() if real_time else simulation.recorded_at(recorded.at, alerts)
    targets = group_by_document(ports.config.match_alerts(alerts))
    with output.progress(f"reading the systems for {recorded.name}", len(targets)) as advance, output.logs_to_stderr():
        return at, simulation.decide_notification(ports.config, alerts, at, observe, advance)


def _print(decision: SimulatedDecision, at: float) -> None:
    words, kind = ACTIONS[decision.action]
    name = decision.target or decision.alerts[0].name or "an alert without a name"
    click.echo()
    text = ": ".join(filter(None, (f"({decision.reason})" if decision.reason else "", decision.detail)))
    output.print_text(text, f"  {output.printable(name)}: {output.mark(words, kind)} ", "    ")
    rows = [("alerts", f"{len(decision.alerts)}: {', '.join(dict.fromkeys(alert.name for alert in decision.alerts))}")]
    rows.append(("runbook", decision.runbook or "none matches"))
    if not decision.runbook:
        rows.append(("labels", " ".join(f'{label}="{value}"' for label, value in decision.alerts[0].labels.items())))
    if decision.job:
        rows.append(("job", f"{decision.job} with {decision.target}"))
    if decision.again_at is not None:
        rows.append(("again", output.relative(decision.again_at - at)))
    rows.append(("message", ", ".join(decision.told) or "nobody, now"))
    for label, text in rows:
        output.print_text(text, f"    {label:<8} ")
    for guard in decision.guards:
        verdict = output.mark(guard.says, "ok" if guard.says == simulation.PASSES else "warn")
        text = ": ".join(filter(None, (guard.reason, guard.detail))) + " <- decides" * guard.decides
        output.print_text(text, f"      {guard.guard:<18} {verdict} ", " " * 8)


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


def _compare_all(before: Config, after: Config, recordings: Sequence[Recorded], observe: Observe, seen: str) -> Comparison:
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


def _print_comparison(result: Comparison) -> None:
    """The comparison as text."""
    output.print_text(result.stated)
    click.echo()
    counts = [(name, result.before[name], result.after[name]) for name in sorted({*result.before, *result.after})]
    output.print_table(("alerts that would be", "before", "after"), counts)
    if result.differences:
        click.echo()
        rows = [
            (difference.file, f"{difference.alert} x{difference.count}", difference.before, difference.after)
            for difference in result.differences
        ]
        output.print_table(("recording", "alerts", "before", "after"), rows)
    for file, why in result.left_out.items():
        output.print_text(f"left out: {file}: {why}", err=True)
    changed = sum(difference.count for difference in result.differences)
    output.print_text(f"{result.recordings - len(result.left_out)} recordings, {changed} alerts would be treated differently")
