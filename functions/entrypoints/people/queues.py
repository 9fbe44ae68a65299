"""Reads the current state of the queues, for a person who decides."""

from functools import partial

from functions.application import observe
from functions.bootstrap import Adapters
from functions.domain.cards import approval_page
from functions.domain.cards.approval_page import Row
from functions.domain.health.looks import judge_health
from functions.domain.health.proofs import Judgement
from functions.domain.health.rows import terms_of
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import Pause, Reading, Unknown, figures_of
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Phrase, Text

LOOK_S = 6.0


def read_rows(ports: Adapters, watched: tuple[QueueState, ...], now: float) -> tuple[tuple[Row, ...], tuple[Phrase, ...]]:
    """The queues and what would prevent a restart, read at once with the kill switch; failures are shown as such."""
    rules = ports.rules
    first = watched[: approval_page.QUEUES_SHOWN]
    queues = {one.queue.key: (one.queue, rules.runbooks.get(one.runbook)) for one in first}
    queue_calls, read_queues = observe.plan_queues(ports, queues, LOOK_S)
    pause, *results = ports.run_parallel([partial(observe.read_pause, ports, LOOK_S), *queue_calls], LOOK_S)
    snapshots = read_queues(results)
    rows = [_row(rules, one, snapshots[one.queue.key], now) for one in first]
    rows += [Row(one.queue.name, Unknown(""), Health.UNKNOWN) for one in watched[len(first) :]]
    return tuple(rows), _warnings(pause)


def _row(rules: Rules, watched: QueueState, answer: object, now: float) -> Row:
    seen: Reading = observe.or_unknown(answer)
    runbook = rules.runbooks.get(watched.runbook)
    judged = judge_health(runbook.symptom, seen, watched, now, terms_of(runbook))[0] if runbook else Judgement(Health.UNKNOWN, "")
    return Row(watched.queue.name, figures_of(seen) or Unknown(judged.why), judged.health)


def _warnings(pause: object) -> tuple[Phrase, ...]:
    if isinstance(pause, Exception):
        return (Text("The kill switch can't be read, so the button would restart nothing."),)
    if isinstance(pause, Pause):
        return (Text("The kill switch is on: the button would restart nothing. {why}", why=pause.why),)
    return ()
