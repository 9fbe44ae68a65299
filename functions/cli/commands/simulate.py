"""simulate: what would be decided of a notification, with what every guard says. Nothing is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from functions.cli.showing import WRONG, adapters_of, ago, aside, mark, options, padded, progress, put_json, shown

if TYPE_CHECKING:
    from functions.bootstrap import Adapters
    from functions.cli.deciding import Decided, Look
    from functions.cli.notification_file import Recorded
    from functions.domain.model.observations import Observation

ACTIONS = {
    "restarted": ("would restart it", "ok"),
    "adopted": ("would go on from the execution that is there", "ok"),
    "held": ("would hold", "warn"),
    "deferred": ("would decide later", "warn"),
    "asked": ("would ask for approval", "warn"),
}
GUARD_COLUMNS = 18


@click.command()
@options
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--offline", is_flag=True, help="Look at nothing: shows what holds when nothing can be known.")
@click.option("--seen", "seen_path", metavar="FILE", help="Take what is seen from this JSON file instead of the real systems.")
@click.option("--restamp", is_flag=True, help="Take the alerts as if they had begun just now.")
def simulate(
    *, config_path: str, as_json: bool, files: tuple[str, ...], offline: bool, seen_path: str | None, restamp: bool
) -> None:
    """Show what would be decided of notifications, and what every guard says of each incident.

    FILE is the body of a notification (JSON), or a recorded request with its body in `request.body`, `body_text` or
    `body_base64`; either may be gzipped, and - is stdin. The real systems are looked at, which changes nothing there;
    nothing is saved, started or told.

    With --offline or --seen neither is needed, and the clock is that of the recording. --seen reads for example

    \b
      {"queues": {"*": {"depth": 362, "consumers": 1}},
       "ledger": {"executions": [{"id": "1", "url": "", "status": "succeeded",
                                  "runner_started_at": -500, "runner_ended_at": -400}]},
       "pause": null}

    where times of 0 or less count from now, and {"why": "..."} in place of any part says that it could not be seen.

    Exit code 1: something would be held.
    """  # noqa: D301 - click's own mark for a block that keeps its lines is a real backspace
    from functions.cli import deciding, made_up, notification_file

    if offline and seen_path:
        raise click.UsageError("--offline and --seen exclude each other: name one of them.")
    ports = adapters_of(config_path)
    look = deciding.live(ports)
    if offline or seen_path:
        look = deciding.alone(made_up.from_file(seen_path) if seen_path else made_up.nothing)
    real_time = not (offline or seen_path) or restamp
    recordings = [notification_file.read(path) for path in files]
    if restamp:
        recordings = [notification_file.restamped(one, time.time()) for one in recordings]
    found = [(recorded, _decided(ports, recorded, look, real_time=real_time)) for recorded in recordings]
    if as_json:
        put_json(
            [
                {"file": recorded.name, "at": at, "incidents": [deciding.as_json(one) for one in decisions]}
                for recorded, (at, decisions) in found
            ]
        )
    else:
        for recorded, (at, decisions) in found:
            _print(recorded, at, decisions)
    if any(one.held for _, (_, decisions) in found for one in decisions):
        raise SystemExit(WRONG)


def _decided(ports: Adapters, recorded: Recorded, look: Look, *, real_time: bool) -> tuple[float, list[Decided]]:
    from functions.application.intake import document_key
    from functions.cli import deciding, notification_file
    from functions.domain.decisions import matching

    alerts = notification_file.parsed(recorded).alerts
    at = ports.now() if real_time else deciding.clock_of(recorded.at, alerts)
    settings = ports.config
    targets = {document_key(case) for case in matching.match_alerts(settings.rules, settings.runner_url, alerts)}
    with progress(f"looking, for {recorded.name}", len(targets)) as done, aside():
        return at, deciding.decided(settings, alerts, at, look, done)


def _print(recorded: Recorded, at: float, decisions: list[Decided]) -> None:
    click.echo(click.style(f"{shown(recorded.name)}  ({time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(at))})", bold=True))
    for one in decisions:
        _print_one(one, at)


def _print_one(one: Decided, at: float) -> None:
    words, kind = ACTIONS[one.reply.action.value]
    reason = f" ({one.reply.reason.value})" if one.reply.reason else ""
    name = one.reply.target or one.cases[0].alert.name or "an alert without a name"
    click.echo(f"\n  {shown(name)}: {mark(words, kind)}{reason}{f': {shown(one.detail)}' if one.detail else ''}")
    target = one.cases[0].target
    names = ", ".join(dict.fromkeys(case.alert.name for case in one.cases))
    click.echo(f"    alerts   {len(one.cases)}: {shown(names)}")
    click.echo(f"    runbook  {shown(one.reply.runbook or 'none matches')}")
    if target:
        click.echo(f"    job      {shown(target.job)} with {shown(target.name)}")
        for line in _seen(one.seen, at):
            click.echo(f"    seen     {shown(line)}")
    if one.again_at is not None:
        click.echo(f"    again    {ago(one.again_at - at)}")
    click.echo(f"    told     {', '.join(one.told) or 'nobody, now'}")
    for guard, says in one.guards:
        reason = f" {says.reason.value}" if says and says.reason else ""
        said = mark("passes", "ok") if says is None else mark(f"{says.kind.value}{reason}", "warn")
        detail = f": {shown(says.detail)}" if says and says.detail else ""
        click.echo(f"      {padded(guard, GUARD_COLUMNS)} {said}{detail}{'   <- decides' if guard == one.decides else ''}")


def _seen(seen: Observation, at: float) -> list[str]:
    """What the guards had before them, in a line each."""
    from functions.domain.model.observations import ExecutionHistory, Pause, QueueSnapshot, Storm

    lines = []
    for key, queue in seen.queues.items():
        if isinstance(queue, QueueSnapshot):
            known = "not known" if queue.consumers is None else str(queue.consumers)
            lines.append(
                f"{key}: {queue.depth} messages ({queue.ready} ready, {queue.unacked} unacknowledged), consumers: {known}"
            )
        else:
            lines.append(f"{key}: {queue.why}")
    if isinstance(seen.ledger, ExecutionHistory):
        newest = next(iter(seen.ledger.executions), None)
        last = f", the newest {newest.id} is {newest.status}" if newest else ""
        busy = f"; {len(seen.ledger.others)} of the job with other options" if seen.ledger.others else ""
        ahead_s = seen.ledger.runner_now - at
        lines.append(f"history: {len(seen.ledger.executions)} executions{last}{busy}; its clock is {ahead_s:+.0f} s")
    else:
        lines.append(f"history: {seen.ledger.why}")
    switch = "off" if seen.pause is None else f"on: {seen.pause.reason}" if isinstance(seen.pause, Pause) else seen.pause.why
    lines.append(f"kill switch: {switch}")
    lines.append(f"storm: {len(seen.storm.slots)} slots taken" if isinstance(seen.storm, Storm) else f"storm: {seen.storm.why}")
    return lines
