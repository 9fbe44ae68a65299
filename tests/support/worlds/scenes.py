"""Small worlds for tests of the core: an alert, a runbook, what is seen. Everything has a default; a test names what matters."""

from typing import Any

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import decode, encode
from functions.domain.decisions.step import step
from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef, Target
from functions.domain.model.cards import Message
from functions.domain.model.codes import Ending, Mode, Phase, Reason
from functions.domain.model.events import AlertsReceived, Event, Start, Step, TimerFired, Wake
from functions.domain.model.incidents import AlertRef, Asked, Document, Escalation, Incident, QueueState
from functions.domain.model.observations import (
    Channel,
    Execution,
    ExecutionHistory,
    Holder,
    Observation,
    Pause,
    QueueHistory,
    QueueSnapshot,
    StallKind,
    Storm,
    Subject,
    Unknown,
)
from functions.domain.model.runbooks import Matcher, Restart, Rules, Runbook, Symptom

NOW = 1_800_000_000.0
"""Friday, 2027-01-15 08:00 UTC, 17:00 in Tokyo."""

AHEAD_S = 20.0
"""The runner's clock less ours, so that no test passes by mixing them up."""

RUNNER_NOW = NOW + AHEAD_S
TARGET = Target("mail-key", "http://rundeck", "job-1", {"service": "mail"})
MAIL = to_queue("/", "mail.delivery")
POST = to_queue("/", "mail.post")
OLD, NEW = ("old consumer",), ("new consumer",)


def runbook(**changes: Any) -> Runbook:
    matchers, symptom = (Matcher("alertname", "=", "Stuck"),), Symptom("rabbitmq", {"vhost": "/", "queue": "mail"})
    plain = Runbook("mail", matchers, Restart("job-1"), symptom, mode=Mode.AUTO, notify=("ops",), escalate=("duty",))
    return replace(plain, **changes)


def rules(*runbooks: Runbook, **changes: Any) -> Rules:
    return Rules({one.name: one for one in runbooks or (runbook(),)}, notify=("everybody",), **({"runner": "Rundeck"} | changes))


def alert(**changes: Any) -> Alert:
    labels = {"alertname": "Stuck", "queue": "mail"}
    return replace(Alert("fp-1", "grafana#1", True, labels, {}, NOW - 90.0), **changes)


def case(queue: QueueRef = MAIL, book: Runbook | None = None, **changes: Any) -> MatchedAlert:
    return MatchedAlert(alert(**changes), book or runbook(), TARGET, queue)


def alerted(*cases: MatchedAlert, incident: str = "inc-1", crowd: bool = False) -> AlertsReceived:
    return AlertsReceived(cases or (case(),), incident, crowd=crowd)


def held_by(*channels: Channel, queue: QueueRef = MAIL) -> Subject:
    """That these channels stand still with messages of the queue."""
    return Subject(queue.key, StallKind.HELD, channels)


def resolved(**changes: Any) -> AlertsReceived:
    return alerted(case(firing=False, ends_at=NOW, **changes), incident="inc-resolved")


def snapshot(
    depth: int = 50,
    *,
    acks: int | None = None,
    at: float = NOW,
    ids: tuple[str, ...] | None = OLD,
    samples_s: float = 125.0,
    **more: Any,
) -> QueueSnapshot:
    """A queue whose page can be had, with a sample every 5 s, none of which moved: nobody takes what waits, and no channel holds
    anything. `acks`: processed in the last 5 s."""
    count = int(samples_s / 5.0) + 1
    grid = [at - 5.0 * n for n in range(count - 1, -1, -1)]
    counter = tuple(zip(grid, [1000] * (count - 1) + [1000 + (acks or 0)], strict=True))
    figures = {name: tuple((when, value) for when in grid) for name, value in (("ready", depth), ("unacked", 0))}
    still = QueueSnapshot(
        at, depth, depth, 0, consumers=None if ids is None else len(ids), consumer_ids=ids, acks=1000 + (acks or 0)
    )
    still = replace(still, deliveries=1000 + (acks or 0), ack_samples=counter, depth_samples=figures["ready"])
    still = replace(still, history=QueueHistory(**figures, deliveries=counter), channels=())
    return replace(still, **more)


def never_used(**more: Any) -> QueueSnapshot:
    """A queue in which messages wait, and nobody was ever seen to take one."""
    return replace(snapshot(ids=(), deliveries=None, ack_samples=(), **more), acks=None)


def holding(*holders: Holder, at: float = NOW, **more: Any) -> QueueSnapshot:
    """A queue of which each of these consumers holds all that it may, one message, and has done nothing for two minutes."""
    grid = [at - 5.0 * n for n in range(25, -1, -1)]
    still = tuple((when, 7) for when in grid)
    channels = tuple(Channel(f"{one.host} (1)", one.host, one.name, 1, 1, still, window=1) for one in holders)
    unacked = max(len(holders), 1)
    seen = snapshot(unacked, at=at, ready=0, unacked=unacked, channels=channels or None, holders=holders)
    history = replace(seen.history, ready=tuple((when, 0) for when in grid), unacked=tuple((when, unacked) for when in grid))
    return replace(seen, history=history, **more)


def going_round(at: float = NOW) -> QueueSnapshot:
    """A queue whose one message is returned and delivered again every second."""
    grid = [at - 5.0 * n for n in range(25, -1, -1)]
    again = tuple((when, 1000 + 5 * place) for place, when in enumerate(grid))
    one, none = tuple((when, 1) for when in grid), tuple((when, 0) for when in grid)
    history = QueueHistory(ready=none, unacked=one, deliveries=again, redeliveries=again)
    return snapshot(1, at=at, ready=0, unacked=1, ack_samples=none, acks=0, history=history)


def bare(depth: int, at: float = NOW, **more: Any) -> QueueSnapshot:
    """A queue whose page can't be read: live totals and nothing else."""
    unread = Unknown("the page can't be read")
    return replace(QueueSnapshot(at, depth, depth, 0, blind=unread), **more)


def execution(number: int = 7, *, started: float = -60.0, ended: float | None = -50.0, **changes: Any) -> Execution:
    """A run, its times in seconds from RUNNER_NOW. Its command ends with it."""
    status = "running" if ended is None else "succeeded"
    ended_at = None if ended is None else RUNNER_NOW + ended
    run = Execution(str(number), f"http://rundeck/execution/{number}", status, RUNNER_NOW + started, ended_at)
    return replace(run, **{"over": ended is not None, **changes})


def history_of(*executions: Execution, now: float = NOW, **changes: Any) -> ExecutionHistory:
    return replace(ExecutionHistory(now + AHEAD_S, executions, read_at=now), **changes)


def seen(
    *executions: Execution,
    now: float = NOW,
    mail: QueueSnapshot | Unknown | None = None,
    post: QueueSnapshot | Unknown | None = None,
    pause: Pause | Unknown | None = None,
    storm: Storm | Unknown | None = None,
    history: ExecutionHistory | Unknown | None = None,
) -> Observation:
    """An observation: one stuck queue, nothing in the way, unless said otherwise."""
    queues: dict[str, QueueSnapshot | Unknown] = {MAIL.key: mail or snapshot(at=now)}
    if post is not None:
        queues[POST.key] = post
    return Observation(history or history_of(*executions, now=now), queues, pause, storm or Storm(), nonce="r4nd0m")


def well(at: float = NOW, ids: tuple[str, ...] = NEW) -> QueueSnapshot:
    return snapshot(0, at=at, ids=ids)


def trigger(**changes: Any) -> AlertRef:
    return replace(AlertRef("fp-1", "grafana#1", NOW - 90.0, MAIL.key, "Stuck"), **changes)


def change(incident: Incident, **changes: Any) -> Incident:
    """The incident with these fields changed. Fields of its parts are given like the others."""
    for name in ("approval", "run"):
        part = getattr(incident, name)
        of_part = {field: changes.pop(field) for field in part.__struct_fields__ if field in changes}
        changes |= {name: replace(part, **of_part)} if of_part else {}
    return replace(incident, **changes)


def incident(phase: Phase = Phase.WAITING, **changes: Any) -> Incident:
    watched = (QueueState(MAIL, "mail", NOW, before=snapshot()),)
    waiting = Incident("inc-1", phase, NOW, "mail", watched, (trigger(),), due=NOW, runner_ahead_s=AHEAD_S)
    return change(waiting, **changes)


def document(incident: Incident | None = None, **changes: Any) -> Document:
    due = incident.due if incident is not None else None
    return replace(Document(TARGET.key, TARGET, incident, due=due), **changes)


def escalation(at: float = NOW - 60.0, *, queue: QueueRef = MAIL, **changes: Any) -> Escalation:
    """People were called for the queue."""
    asked = Asked(at, at + AHEAD_S, remind_at=at + 900.0)
    return replace(Escalation("inc-0", "mail", at, asked=asked, queues=(QueueState(queue, "mail", at),)), **changes)


def starting(**changes: Any) -> Document:
    """The POST of attempt 1 was ordered at NOW and nobody knows what came of it."""
    ordered = incident(Phase.STARTING, attempt=1, runner_not_after=RUNNER_NOW + 30.0, due=NOW + 20.0)
    return document(change(ordered, **changes))


def verifying(ended: float = -20.0, **changes: Any) -> Document:
    """The first restart ended this long before NOW, successfully."""
    run = execution(started=ended - 10.0, ended=ended, tag="inc-1.1")
    verified = incident(Phase.VERIFYING, attempt=1, restarts=1, execution=run, began_at=NOW - 60.0)
    queues = tuple(replace(watched, joined_at=NOW - 60.0) for watched in verified.queues)
    return document(change(verified, **{"queues": queues, **changes}))


def stored(document: Document) -> Document:
    """As the store gives it back: equal, and made of other objects."""
    return decode(Document, encode(document), document.key)


def woken(document: Document, at: float, what: Observation | None = None, with_rules: Rules | None = None) -> Step:
    return step(stored(document), TimerFired(), what or seen(now=at), at, with_rules or rules())


def moved(
    document: Document, event: Event, what: Observation | None = None, at: float = NOW, with_rules: Rules | None = None
) -> Step:
    return step(stored(document), event, what or seen(now=at), at, with_rules or rules())


def kinds(document: Document) -> list[str]:
    """What there is to tell, in order, each on its first channel only."""
    shown: dict[str, Message] = {}
    for message in document.to_tell:
        shown.setdefault(message.id.rpartition("@")[0], message)
    return [message.card.kind for message in shown.values()]


def channels(document: Document) -> set[str]:
    return {message.channel for message in document.to_tell}


def wakes(result: Step) -> list[float]:
    return [act.at for act in result.acts if isinstance(act, Wake)]


def phase(result: Step) -> Phase | None:
    return result.document.incident.phase if result.document.incident else None


def reason(result: Step) -> Reason | None:
    return result.reply.reason if result.reply else None


def starts(result: Step) -> list[Start]:
    return [act for act in result.acts if isinstance(act, Start)]


def last(result: Step) -> tuple[Ending, Reason | None]:
    """How the incident ended."""
    return result.document.outcomes[-1].ending, result.document.outcomes[-1].reason


def links_of(result: Step) -> list[str]:
    """The links of the first message."""
    return [url for _, url in result.document.to_tell[0].card.links]


def ill(at: float) -> QueueSnapshot:
    """As stuck as before, with the consumers that came with the restart."""
    return snapshot(50, at=at, ids=NEW)


def through(document: Document, looks: list[tuple[float, Observation]], with_rules: Rules | None = None) -> Step:
    """Wake the document at these times after NOW, each time with what is seen then; messages are posted in between."""
    for after_s, what in looks:
        result = woken(document, NOW + after_s, what, with_rules)
        document = replace(result.document, to_tell=(), to_archive=())
    return result
