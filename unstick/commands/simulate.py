"""simulate: shows what would be decided about a notification, with the result of every guard. Changes nothing."""

import time
from datetime import datetime
from typing import Any

import click
import msgspec

from functions.application.intake import group_by_document
from functions.bootstrap import Adapters
from functions.config.loader import load_config
from functions.domain.model.observations import ExecutionHistory, Observation, Pause, QueueSnapshot, Storm
from unstick import comparison, notifications, observations, output, recorder, simulation
from unstick.notifications import Recorded
from unstick.simulation import Observe, SimulatedDecision

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"])
STUCK = "every queue stuck, nothing restarted before, the kill switch off"
ACTIONS = {
    "restarted": ("would restart it", "ok"),
    "adopted": ("would follow the execution that already runs", "ok"),
    "held": ("would hold", "warn"),
    "deferred": ("would decide later", "warn"),
    "asked": ("would ask for approval", "warn"),
}


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

    Also what every guard says about each incident.

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
    times = [simulation.recorded_at(one.at, notifications.parsed(one)) for one in recordings]
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
    observe = simulation.live_observations(ports)
    if offline or seen_path:
        made_up = observations.from_file(seen_path) if seen_path else observations.unobserved
        observe = simulation.made_up_observations(made_up)
    real_time = not (offline or seen_path) or restamp
    results = [(recorded.name, *_decide(ports, recorded, observe, real_time=real_time)) for recorded in recordings]
    if as_json:
        output.print_json(
            [{"file": name, "at": at, "incidents": list(map(simulation.as_json, decisions))} for name, at, decisions in results]
        )
    else:
        for name, at, decisions in results:
            stamp = f"{output.local_time(at, ports.rules)} {ports.rules.time_zone}"
            output.print_text(f"{name} at {stamp}")
            for decision in decisions:
                _print(decision, at)
    return any(decision.held for _, _, decisions in results for decision in decisions)


def _compare(config_path: str, recordings: list[Recorded], *, as_json: bool, other_path: str, **wanted: Any) -> bool:
    """Returns whether the two configurations decide something differently."""
    seen_path = wanted["seen_path"]
    made_up = observations.from_file(seen_path) if seen_path else observations.stuck
    seen = f"what {seen_path} says" if seen_path else STUCK
    observe = simulation.made_up_observations(made_up)
    result = comparison.compare(load_config(config_path), load_config(other_path), recordings, observe, seen)
    output.print_json(msgspec.to_builtins(result)) if as_json else comparison.show(result)
    return bool(result.differences)


def _decide(ports: Adapters, recorded: Recorded, observe: Observe, *, real_time: bool) -> tuple[float, list[SimulatedDecision]]:
    alerts = notifications.parsed(recorded)
    at = ports.now() if real_time else simulation.recorded_at(recorded.at, alerts)
    targets = group_by_document(ports.config.match_alerts(alerts))
    with output.progress(f"reading the systems for {recorded.name}", len(targets)) as advance, output.logs_to_stderr():
        return at, simulation.decide_notification(ports.config, alerts, at, observe, advance)


def _print(decision: SimulatedDecision, at: float) -> None:
    words, kind = ACTIONS[decision.reply.action.value]
    reason = f"({decision.reply.reason.value})" if decision.reply.reason else ""
    name = decision.reply.target or decision.cases[0].alert.name or "an alert without a name"
    click.echo()
    text = ": ".join(filter(None, (reason, decision.detail)))
    output.print_text(text, f"  {output.printable(name)}: {output.mark(words, kind)} ", "    ")
    names = ", ".join(dict.fromkeys(case.alert.name for case in decision.cases))
    rows = [("alerts", f"{len(decision.cases)}: {names}"), ("runbook", decision.reply.runbook or "none matches")]
    if target := decision.cases[0].target:
        rows += [("job", f"{target.job} with {target.name}"), *(("seen", line) for line in _observed(decision.seen, at))]
    if not decision.reply.runbook:
        rows.append(("labels", " ".join(f'{label}="{value}"' for label, value in decision.cases[0].alert.labels.items())))
    if decision.again_at is not None:
        rows.append(("again", output.relative(decision.again_at - at)))
    rows.append(("message", ", ".join(decision.told) or "nobody, now"))
    for label, text in rows:
        output.print_text(text, f"    {label:<8} ")
    for guard, result in decision.guards:
        verdict = output.mark("passes", "ok") if result is None else output.mark(result.kind.value, "warn")
        text = ": ".join(map(str, filter(None, (result.reason, result.detail)))) if result else ""
        output.print_text(text + " <- decides" * (guard == decision.decides), f"      {guard:<18} {verdict} ", " " * 8)


def _observed(seen: Observation, at: float) -> list[str]:
    lines = []
    for key, queue in seen.queues.items():
        if isinstance(queue, QueueSnapshot):
            known = "not known" if queue.consumers is None else str(queue.consumers)
            parts = "" if queue.ready is None else f" ({queue.ready} ready, {queue.unacked} unacknowledged)"
            lines.append(f"{key}: {queue.depth} messages{parts}, consumers: {known}")
        else:
            lines.append(f"{key}: {queue.why}")
    if isinstance(seen.history, ExecutionHistory):
        newest = next(iter(seen.history.executions), None)
        last = f", the newest {newest.id} is {newest.status}" if newest else ""
        busy = f"; {len(seen.history.others)} of the job with other options" if seen.history.others else ""
        ahead_s = seen.history.runner_now - at
        lines.append(f"history: {len(seen.history.executions)} executions{last}{busy}; its clock is {ahead_s:+.0f} s")
    else:
        lines.append(f"history: {seen.history.why}")
    switch = "off" if seen.pause is None else f"on: {seen.pause.why}" if isinstance(seen.pause, Pause) else seen.pause.why
    lines.append(f"kill switch: {switch}")
    lines.append(f"storm: {len(seen.storm.slots)} slots taken" if isinstance(seen.storm, Storm) else f"storm: {seen.storm.why}")
    return lines
