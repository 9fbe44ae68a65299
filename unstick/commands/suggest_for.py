"""suggest-for: how long a queue stood still and moved again by itself, and the `for` that follows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from msgspec import Struct

from functions.application.observe import unwrap
from functions.bootstrap import Adapters
from functions.config.formats import show_duration
from functions.config.registry import load_adapter
from functions.domain.decisions.matching import NotRendered, render_target
from functions.domain.decisions.stillness import (
    LONGEST_S,
    History,
    Stillness,
    healed_of,
    propose_for,
    read_history,
    restart_times,
)
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import ExecutionHistory, QueueSnapshot
from functions.domain.model.runbooks import Rules, Runbook
from functions.domain.texts.words import duration
from functions.runtime.errors import Denied, Unavailable
from unstick import output

FINE_S, HOUR_S, DAY_S, WEEK_S = 585.0, 3585.0, 86400.0, 604800.0
"""As far back as the broker keeps samples 5 s and a minute apart, less what it needs to look back so far."""

DAY_STEP_S, WEEK_STEP_S = 30.0, 60.0
"""Two scrapes must fit into a step, and 11,000 samples of a series are the most that Prometheus gives."""

PROMETHEUS_HELP = "Read the last day and week from there too.  [default: `prometheus` in the configuration]"
LABEL_HELP = "A label that alerts of the queue have. May be repeated."


class Watched(Struct, frozen=True):
    """What is known of one queue."""

    runbook: Runbook
    queue: QueueRef
    histories: tuple[History, ...]
    restarts: str
    """Empty, or why it is not known when the application was restarted."""

    @property
    def healed(self) -> list[Stillness]:
        return healed_of(self.histories)

    @property
    def stands_still(self) -> Stillness | None:
        newest = [one for history in self.histories for one in history.stillnesses[-1:] if not one.ended]
        return max(newest, key=lambda one: one.lasted_s, default=None)


@click.command("suggest-for")
@output.options
@output.timeout_option(15.0, 120, "How long each system may take.")
@click.option("--label", "labels", multiple=True, required=True, metavar="NAME=VALUE", help=LABEL_HELP)
@click.option("--prometheus", "url", metavar="URL", help=PROMETHEUS_HELP)
def suggest_for(*, config_path: str, as_json: bool, timeout_s: float, labels: tuple[str, ...], url: str | None) -> None:
    """Suggest a runbook's `for` from the queue's own history.

    Reads the samples that the queue's system keeps, for RabbitMQ of the last hour, and with Prometheus those of the last
    week. Looks for the longest time in which messages waited, nothing was acknowledged, and the queue moved again by
    itself. `for` must be longer than that. Times that a restart in Rundeck ended are left out. Without Prometheus, choose
    an hour that has seen a deployment and the longest job.

    Exit code 1: `for` in the configuration is shorter than what is suggested.
    """
    ports = output.load_adapters(config_path)
    given = output.named_values("--label", labels)
    now = ports.now()
    with output.logs_to_stderr():
        past = _prometheus(ports, url)
        looks = (_look(ports, runbook, given, now, timeout_s, past) for runbook in ports.rules.runbooks.values())
        queues = [one for one in looks if one]
    if not queues:
        remedy = "Give all labels that a runbook's symptom names, such as --label vhost=/ --label queue=NAME."
        raise output.Unusable(f"no runbook names a queue for these labels. {remedy}")
    if as_json:
        output.print_json([_as_json(one) for one in queues])
    else:
        for one in queues:
            _print(one, ports.rules)
    if any(one.runbook.symptom.for_s < propose_for(one.healed) for one in queues):
        raise SystemExit(output.WRONG)


def _prometheus(ports: Adapters, url: str | None) -> Any:
    """The settings of the Prometheus that knows more of the past; None where there is none."""
    if not url:
        return ports.config.symptoms.get("prometheus")
    from functions.adapters.symptoms.prometheus import Prometheus

    return Prometheus(url)


def _look(ports: Adapters, runbook: Runbook, given: Mapping[str, str], now: float, timeout_s: float, past: Any) -> Watched | None:
    """None where the runbook names no queue for an alert with these labels. Raises Denied or Unavailable."""
    labels = {**{matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="}, **given}
    try:
        queue = ports.symptoms[runbook.symptom.kind].name_queue(runbook.symptom, labels)
    except NotRendered:
        return None
    back_s = HOUR_S if past is None else WEEK_S
    restarts, why = _restarts(ports, runbook, labels, now, back_s, timeout_s)
    looks: list[Any] = [
        partial(ports.symptoms[queue.kind].look_all, [(queue, back_s)], timeout_s=timeout_s) for back_s in (FINE_S, HOUR_S)
    ]
    snapshots = [unwrap(one)[0] for one in ports.run_parallel(looks, timeout_s)]
    if past is not None:
        snapshots += _past(past, queue, timeout_s)
    histories = [read_history(unwrap(seen), runbook.symptom.max_messages, restarts) for seen in snapshots]
    return Watched(runbook, queue, tuple(one for one in histories if one), why)


def _past(settings: Any, queue: QueueRef, timeout_s: float) -> list[QueueSnapshot]:
    """With the samples of the last day, and of the last week. Raises Denied or Unavailable."""
    from functions.adapters.symptoms.prometheus.past import read_past

    past_queries = getattr(load_adapter("symptoms", queue.kind), "past_queries", None)
    if past_queries is None:
        return []
    return [
        read_past(settings, *past_queries(queue, step_s), back_s=back_s, step_s=step_s, timeout_s=timeout_s)
        for back_s, step_s in ((DAY_S, DAY_STEP_S), (WEEK_S, WEEK_STEP_S))
    ]


def _restarts(
    ports: Adapters, runbook: Runbook, labels: Mapping[str, str], now: float, back_s: float, timeout_s: float
) -> tuple[list[tuple[float, float]], str]:
    try:
        target = render_target(runbook, ports.config.runner_url, labels)
        seen: ExecutionHistory = ports.read_history(target, back_s, None, timeout_s, tail=False)
    except NotRendered as refusal:
        return [], str(refusal.text)
    except (Denied, Unavailable) as error:
        return [], str(error)
    return restart_times(seen.executions, seen.runner_now - (seen.read_at or now), now), ""


def _print(watched: Watched, rules: Rules) -> None:
    symptom = watched.runbook.symptom
    name = click.style(f"{watched.runbook.name}, {output.printable(watched.queue.name)}: ", bold=True)
    if not watched.histories:
        output.print_text("there are no samples of it. Are RabbitMQ's statistics off?", name, "  ")
        return
    proposed_s = propose_for(watched.healed)
    output.print_text(f"for is {duration(symptom.for_s)}", name, "  ")
    rows = [_row(history, rules) for history in watched.histories]
    click.echo(output.table(("since", "a sample every", "stood still and moved again", "longest", "from"), rows))
    restarted = [one for history in watched.histories for one in history.stillnesses if one.restarted]
    if restarted:
        output.print_text(f"left out, since the application was restarted meanwhile: {len(restarted)}", "  ")
    if watched.restarts:
        output.print_text(f"restarts are not left out: {watched.restarts}", output.mark("  ?  ", "warn"))
    if now := watched.stands_still:
        output.print_text(f"it stands still now, for {duration(now.lasted_s)}", output.mark("  ?  ", "warn"))
    if proposed_s > LONGEST_S:
        output.print_text(
            f"no for is long enough ({duration(LONGEST_S)} at most): set mode: approve", output.mark("  →  ", "wrong")
        )
    elif symptom.for_s < proposed_s:
        output.print_text(f"set for: {show_duration(proposed_s)}", output.mark("  →  ", "wrong"))
    else:
        output.print_text(f"for: {show_duration(proposed_s)} would be enough", output.mark("  →  ", "ok"))


def _row(history: History, rules: Rules) -> tuple[str, ...]:
    healed = healed_of([history])
    looked = (output.local_time(history.since, rules), str(duration(history.step_s)), f"{len(healed)} times")
    if not healed:
        return (*looked, "", "")
    longest = f"{duration(healed[0].lasted_s)} to {duration(healed[0].needs_s)}"
    return (*looked, longest, output.local_time(healed[0].began_at, rules))


def _as_json(watched: Watched) -> dict[str, Any]:
    return {
        "runbook": watched.runbook.name,
        "queue": watched.queue.name,
        "for_s": watched.runbook.symptom.for_s,
        "suggested_s": propose_for(watched.healed) if watched.histories else None,
        "healed": [_stillness(one) for one in watched.healed],
        "left_out": [_stillness(one) for history in watched.histories for one in history.stillnesses if one.restarted],
        "stands_still_s": watched.stands_still.lasted_s if watched.stands_still else 0.0,
        "restarts_unknown": watched.restarts or None,
        "histories": [{"since": one.since, "step_s": one.step_s} for one in watched.histories],
    }


def _stillness(one: Stillness) -> dict[str, float]:
    return {"began_at": one.began_at, "at_least_s": one.lasted_s, "at_most_s": one.needs_s}
