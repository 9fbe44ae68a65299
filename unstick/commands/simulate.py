"""simulate: shows what would be decided about a notification, with the result of every guard. Changes nothing."""

import time

import click
import msgspec

from functions.application.intake import group_by_document
from functions.bootstrap import Adapters
from functions.domain.model.codes import Action
from unstick import notifications, output, recorder, simulation
from unstick.notifications import Recorded
from unstick.simulation import SimulatedDecision

ACTIONS = {
    Action.RESTARTED: ("would restart it", "ok"),
    Action.ADOPTED: ("would follow the execution that already runs", "ok"),
    Action.HELD: ("would hold", "warn"),
    Action.DEFERRED: ("would decide later", "warn"),
    Action.ASKED: ("would ask for approval", "warn"),
}


@click.command()
@output.options
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--restamp", is_flag=True, help="Treat the alerts as if they had begun just now.")
@click.option("--listen", "address", metavar="HOST:PORT", help="First keep one notification that is posted here, as FILE.")
def simulate(*, config_path: str, as_json: bool, files: tuple[str, ...], address: str | None, restamp: bool) -> None:
    """Show what would be decided about notifications.

    Also what every guard says about each incident; --json adds all that was seen.

    FILE is the body of a notification (JSON; examples/alert.json is one), or a recorded request with its body in
    `request.body`, `body_text` or `body_base64`; either may be gzipped. - is stdin, and a folder all its *.json and
    *.json.gz. The real systems are read, which changes nothing there; nothing is saved, started or sent.

    --listen waits for one notification: add a contact point with that URL, and press Test, or wait for a real alert.

    Exit code 1: something would be held.
    """
    if address:
        if len(files) != 1 or files[0] == "-":
            raise click.UsageError("--listen takes one FILE, which it writes.")
        recorder.keep_one(files[0], address)
    recordings = [recorded for path in files for recorded in notifications.read_all(path)]
    if restamp:
        recordings = [notifications.restamped(recorded, time.time()) for recorded in recordings]
    if _simulate(config_path, recordings, as_json=as_json):
        raise SystemExit(output.WRONG)


def _simulate(config_path: str, recordings: list[Recorded], *, as_json: bool) -> bool:
    """Returns whether something would be held."""
    ports = output.load_adapters(config_path)
    results = [(recorded.name, *_decide(ports, recorded)) for recorded in recordings]
    if as_json:
        output.print_json([{"file": name, "at": at, "incidents": msgspec.to_builtins(made)} for name, at, made in results])
    else:
        for name, at, decisions in results:
            output.print_text(f"{name} at {output.local_time(at, ports.rules)} {ports.rules.time_zone}")
            for decision in decisions:
                _print(decision, at)
    return any(decision.is_held for _, _, decisions in results for decision in decisions)


def _decide(ports: Adapters, recorded: Recorded) -> tuple[float, list[SimulatedDecision]]:
    alerts, at = notifications.parsed(recorded), ports.now()
    targets = group_by_document(ports.config.match_alerts(alerts))
    with output.progress(f"reading the systems for {recorded.name}", len(targets)) as advance, output.logs_to_stderr():
        return at, simulation.decide_notification(ports, alerts, at, advance)


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
