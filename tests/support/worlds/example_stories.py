"""One card_input of each kind, as they come about, and hostile ones: for the tests of cards and chats and for the gallery."""

import math
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.cards.content import CardInput
from functions.domain.decisions.messages import compose_with_answers
from functions.domain.health.stalls import say_stalls
from functions.domain.model.alerts import Target
from functions.domain.model.cards import Card
from functions.domain.model.codes import Ending, Mode, Phase, Proof, Reason, Verdict
from functions.domain.model.incidents import (
    AfterRestart,
    AlertRef,
    Escalation,
    Evidence,
    EvidenceRun,
    Incident,
    Outcome,
    PastAttempt,
    Place,
    QueueState,
)
from functions.domain.model.observations import Execution, Holder, QueueSnapshot, QueueStalls, Stall, StallKind
from functions.domain.model.runbooks import Recovered, Restart, Rules, Runbook, Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import Phrase, Text, join, named
from tests.support.worlds.scenes import change

NOW = 1_795_457_525.0  # 2026-11-24 03:12:05 in Tokyo
RUNNER_AHEAD_S = 2.0
NONCE = "t0k3n"
APPROVE = "https://unstick.example.com/approve/"
START_PAGE = "https://rundeck.example.com/project/ops/job/show/11111111-1111-4111-8111-111111111111?opt.service=mail-delivery"

RUNBOOK = Runbook(
    "mail-delivery",
    (),
    Restart("11111111-1111-4111-8111-111111111111"),
    Symptom("rabbitmq"),
    mode=Mode.AUTO,
    recovered=Recovered(),
    mention=("<!channel>", "<users/all>", "oncall@example.com"),
    root_cause="https://tracker.example.com/MAIL-123",
)
TARGET = Target("t-1", "https://rundeck.example.com", RUNBOOK.restart.job, {"service": "mail-delivery"})
TRIGGER = AlertRef(
    "f1",
    "https://grafana.example.com 1",
    NOW - 8,
    "rabbitmq:/:mail.outgoing",
    "RabbitMQQueueMaybeStuck",
    "356 messages stand still in mail.outgoing",
    {
        "panel": "https://grafana.example.com/d/abc?viewPanel=4",
        "dashboard": "https://grafana.example.com/d/abc",
        "silence": "https://grafana.example.com/alerting/silence/new?x=1",
        "alert": "https://grafana.example.com/alerting/grafana/r1/view",
        "runbook": "https://wiki.example.com/mail-delivery",
    },
    suspicion=True,
)
OWN = replace(TRIGGER, name="MailStuck", summary="No mail was sent for 5 minutes", suspicion=False)
"""Of a rule of the team's own: what the shipped ones send is a suspicion."""
PAGE = "https://rundeck.example.com/project/ops/execution/show/"


class Course(Struct, frozen=True):
    """One simulated incident, up to NOW: the queue stands still from twenty seconds before its alert on, and empties after
    the last restart if that helps. Every figure of a card is read from it, so that no two of them can contradict each other."""

    alerted_s: float = 8.0
    """How long ago the alert began."""
    started_s: tuple[float, ...] = ()
    """How long ago the job was started, each time for 32 s."""
    drained_per_s: float = 0.0
    moves_s: float = 0.0
    """Without a restart: how long ago it began to move by itself."""
    one_of: int = 1
    """How many consumers it has. Of several only one hangs, with one message, and the others go on."""

    @property
    def alerted_at(self) -> float:
        return NOW - self.alerted_s

    @property
    def stuck_at(self) -> float:
        return self.alerted_at - 20.0

    @property
    def moves_at(self) -> float:
        if not self.drained_per_s:
            return math.inf
        return NOW - (self.started_s[-1] - 32.0 if self.started_s else self.moves_s)

    def depth(self, at: float) -> int:
        if self.one_of > 1:
            return int(self.stuck_at <= at < self.moves_at)
        filled = 340 + 0.8 * (min(at, self.moves_at) - self.stuck_at)
        return round(max(0.0, filled - self.drained_per_s * max(0.0, at - self.moves_at)))

    def snapshot(self, at: float) -> QueueSnapshot:
        depth, ends = self.depth(at), [NOW - started_s + 32.0 for started_s in self.started_s]
        connected_at = max((ended_at for ended_at in ends if ended_at < at), default=self.stuck_at - 10.0)
        held = 20 if self.one_of == 1 else 1
        holder = Holder("10.0.3.7", "mail-worker-2", held, connected_at + 6.0)
        head_at = self.stuck_at - 6.0
        return QueueSnapshot(at, depth, depth - held, held, self.one_of, head_at=head_at, holders=(holder,))

    def queue(self) -> QueueState:
        """The queue as it is now; its state before the last restart where there was one."""
        restarted, seen = bool(self.started_s), self.snapshot(NOW)
        checked = restarted and self.started_s[-1] > 32.0
        moves = self.moves_at < NOW
        curve = tuple((at, self.depth(at)) for at in (*range(int(self.alerted_at - 165), int(NOW), 15), NOW))
        return QueueState(
            to_queue("/", "mail.outgoing"),
            "mail-delivery",
            self.alerted_at,
            self.snapshot(NOW - self.started_s[-1]) if restarted else None,
            Proof.FULL,
            after=AfterRestart(self.depth(NOW), verdict=None if moves else Verdict.STUCK) if checked else AfterRestart(),
            consumers=self.one_of + 1 if moves and self.one_of == 1 else self.one_of,
            curve=curve,
            head_at=None if moves else seen.head_at,
            holders=() if moves else seen.holders,
        )

    def execution(self, number: int) -> Execution:
        """The run of the attempt with this number, from 0 on."""
        started_s, name = self.started_s[number], str(1847 + 4 * number)
        started_at = NOW - started_s + RUNNER_AHEAD_S
        running = Execution(name, PAGE + name, "running", started_at, tag=f"7f3a.{number + 1}")
        return running if started_s < 32.0 else replace(running, status="succeeded", runner_ended_at=started_at + 32.0)

    def incident(self, phase: Phase, **changes: object) -> Incident:
        attempts = len(self.started_s)
        incident = Incident(
            "7f3a9c21",
            phase,
            self.alerted_at + 4,
            "mail-delivery",
            (self.queue(),),
            (replace(TRIGGER, starts_at=self.alerted_at),),
            attempt=attempts,
            restarts=attempts,
            execution=self.execution(attempts - 1) if attempts else None,
            tries=tuple(PastAttempt(f"7f3a.{n + 1}", self.execution(n), "stuck") for n in range(attempts - 1)),
            runner_ahead_s=RUNNER_AHEAD_S,
            start_page=START_PAGE,
        )
        return change(incident, **changes)


STARTS = Course(started_s=(3.0,))
HELD = Course()
RECOVERS = Course(412.0, (404.0,), drained_per_s=1.1)
TRIED = Course(324.0, (316.0, 157.0))
ONE_RECOVERS = Course(96.0, (88.0,), drained_per_s=1.0, one_of=3)
INCIDENT, ALERTED = STARTS.incident(Phase.RUNNING), STARTS.alerted_at
BEFORE = STARTS.snapshot(NOW)
RUNNING, ENDED = STARTS.execution(0), RECOVERS.execution(0)
ADOPTED = change(INCIDENT, adopted=True, execution=replace(RUNNING, user="h.tanaka", tag=""))
TAIL = (
    "03:09:29 stopping mail-delivery.service", "03:09:40 stopped", "03:09:40 starting mail-delivery.service",
    "03:09:46 connected to rabbitmq-1:5671 as mail", "03:09:46 consuming mail.outgoing, prefetch 20",
    "03:09:51 WARN smtp relay-2.example.com:25 timed out, trying again (1/∞)",
)  # fmt: skip


CALLED = "called by mail_worker.py, on_message"
EVIDENCE = Evidence(
    runs=(EvidenceRun("7f3a9c21.evidence-0", execution=replace(
        RUNNING, id="1846", url=RUNNING.url.replace("1847", "1846"), status="succeeded", runner_ended_at=NOW + RUNNER_AHEAD_S
    )),),
    lines=(
        "process 71, thread 71: still", "  readinto, socket.py, line 706", "  getreply, smtplib.py, line 398",
        "  deliver, mail_worker.py, line 112", "  on_message, mail_worker.py, line 58", "  main, mail_worker.py, line 23",
    ),
    places=(Place("10.0.3.7", f"mail_worker.py, deliver, line 112, {CALLED}, in smtplib.SMTP.getreply, waits for 10.0.3.9:25"),),
)  # fmt: skip
HUNG = tuple(
    Outcome(f"i{days}", Ending.RECOVERED, None, NOW - days * 86400.0, (), restarts=1, places=EVIDENCE.places if days != 4 else ())
    for days in range(1, 8)
)
"""The target's last incidents: of one no place is known."""


def rules(language: str = "en") -> Rules:
    zone, url = "Asia/Tokyo", "https://unstick.example.com"
    return Rules({"mail-delivery": RUNBOOK}, language=language, time_zone=zone, public_url=url, runner="Rundeck")


def held(
    reason: Reason, detail: Phrase = "", remedy: Phrase = "", phase: Phase = Phase.DEFERRED, approve_url: str = ""
) -> CardInput:
    expires_at = NOW + 1800 if approve_url else None
    incident = HELD.incident(phase, reason=reason, expires_at=expires_at)
    again = phase is Phase.WAITING
    return CardInput("held", NOW, RUNBOOK, TARGET, incident, reason, detail, remedy, approve_url=approve_url, again=again)


def _verifying(kind: str, course: Course) -> CardInput:
    return CardInput(kind, NOW, RUNBOOK, TARGET, course.incident(Phase.VERIFYING))


def _symptom_gone() -> CardInput:
    course = Course(drained_per_s=4.2, moves_s=70.0)
    detail = named("mail.outgoing", Text("processed in the last {seconds} s: {count}", seconds=10, count=42))
    return replace(held(Reason.SYMPTOM_GONE, detail), incident=course.incident(Phase.DEFERRED, reason=Reason.SYMPTOM_GONE))


def _escalated() -> CardInput:
    incident = TRIED.incident(Phase.VERIFYING, tail=TAIL)
    return CardInput("escalated", NOW, RUNBOOK, TARGET, incident, None, "it is still stuck")


def _cooldown() -> CardInput:
    card_input = held(Reason.COOLDOWN, Text("restarted {age} ago", age=duration(240)), phase=Phase.WAITING)
    return replace(card_input, incident=change(card_input.incident, due=NOW + 360))


def _likely(reason: Reason = Reason.LIKELY_STUCK, **changes: Any) -> CardInput:
    course = Course(one_of=3)
    room = Text("it holds {held}, and may be able to take more: Celery's countdowns, batches and delays look like this", held=1)
    before = [Stall(StallKind.HELD, NOW - 3600.0 * n, length) for n, length in enumerate((702.0, 655.0), 2)]
    stalls = say_stalls(RUNBOOK.symptom, QueueStalls(0.0, tuple(before)))
    queue = replace(course.queue(), proof=Proof.PERHAPS, against=room, stalls=stalls)
    incident = course.incident(Phase.ASKED, reason=reason, queues=(queue,), expires_at=NOW + 1800)
    return replace(CardInput("held", NOW, RUNBOOK, TARGET, incident, reason, approve_url=APPROVE), **changes)


def _second_approval() -> CardInput:
    incident = Course(184.0, (176.0,)).incident(Phase.ASKED, approved_by="h.tanaka", expires_at=NOW + 1800)
    return CardInput("held", NOW, RUNBOOK, TARGET, incident, Reason.AWAITING_APPROVAL, approve_url=APPROVE)


HANDED_OVER = Escalation("7f3a9c21", RUNBOOK.name, NOW, due=NOW + 1800, queues=(Course(1224.0).queue(),), start_page=START_PAGE)

EXAMPLES: dict[str, CardInput] = {
    "started": CardInput("started", NOW, RUNBOOK, TARGET, INCIDENT),
    "started-evidence": CardInput("started", NOW, RUNBOOK, TARGET, replace(INCIDENT, evidence=EVIDENCE), outcomes=HUNG),
    "adopted": CardInput("started", NOW, RUNBOOK, TARGET, ADOPTED),
    "held-restart-refused": held(
        Reason.RESTART_REFUSED,
        Text("the token's role lacks a permission"),
        Text("Load infra/rundeck/unstick.aclpolicy for the token's role."),
    ),
    "held-cooldown": _cooldown(),
    "held-awaiting-approval": held(Reason.AWAITING_APPROVAL, phase=Phase.ASKED, approve_url=APPROVE),
    "held-second-approval": _second_approval(),
    "held-likely": _likely(),
    "not-answered": _likely(kind="not_approved", at=NOW + 1800, approve_url=""),
    "held-overrule": held(
        Reason.TOO_MANY_RESTARTS,
        Text("restarts within {hours} h: {count}, the limit is {limit}", hours=1, count=3, limit=3),
        phase=Phase.ASKED,
        approve_url=APPROVE,
    ),
    "held-observe-only": held(Reason.OBSERVE_ONLY),
    "held-symptom-gone": _symptom_gone(),
    "held-no-runbook": CardInput("held", NOW, reason=Reason.NO_RUNBOOK, trigger=OWN),
    "recovered": _verifying("recovered", RECOVERS),
    "recovered-one": replace(
        _verifying("recovered", ONE_RECOVERS),
        outcomes=HUNG,
        incident=ONE_RECOVERS.incident(
            Phase.VERIFYING,
            holder_host="10.0.3.7",
            evidence=EVIDENCE,
            triggers=(replace(TRIGGER, starts_at=ONE_RECOVERS.alerted_at, summary="1 message stands still in mail.outgoing"),),
        ),
    ),
    "recovered-moving": replace(
        _verifying("recovered", Course(640.0, (632.0,), drained_per_s=0.48)), moving=True, runbook=replace(RUNBOOK, root_cause="")
    ),
    "escalated": _escalated(),
    "escalated-again": CardInput("escalated_again", NOW + 900, RUNBOOK, TARGET, trigger=TRIGGER, escalation=HANDED_OVER),
    "acknowledged": CardInput(
        "acknowledged",
        NOW + 1080,
        RUNBOOK,
        TARGET,
        trigger=TRIGGER,
        escalation=replace(HANDED_OVER, taken_by="h.tanaka", taken_at=NOW + 1080),
    ),
    "resolved": CardInput("resolved", NOW + 1800, RUNBOOK, TARGET, trigger=TRIGGER, escalation=replace(HANDED_OVER, queues=())),
    "not-approved": replace(held(Reason.AWAITING_APPROVAL), kind="not_approved", at=NOW + 1800),
    "declined": replace(
        held(Reason.DECLINED, "a deployment is under way until 03:40"),
        kind="declined",
        incident=HELD.incident(Phase.ASKED, declined_by="h.tanaka"),
    ),
    "test": CardInput(
        "test", NOW, reason=Reason.TEST_ALERT, trigger=AlertRef("t", "g", NOW, "", "TestAlert", "Notification test")
    ),
    "bundle": CardInput(
        "bundle", NOW, reason=Reason.TOO_MANY_TARGETS, bundled=tuple(f"service=worker-{n}" for n in range(1, 27))
    ),
    "paused": CardInput(
        "paused", NOW, detail=join(("broker upgrade (h.tanaka)", Text("until {until}", until="2026-11-24 05:00:00 JST")))
    ),
    "resumed": CardInput("resumed", NOW, target=TARGET, detail="fixed by a rollback to 4.12.1 (h.tanaka)"),
}


def answerable(card_input: CardInput, in_rules: Rules) -> Card:
    """Its card as it is posted: with the buttons of chats that have them."""
    link = f"{APPROVE}#{NONCE}"
    if card_input.approve_url:
        card_input = replace(card_input, approve_url=link)
    elif card_input.kind.startswith("escalated"):
        card_input = replace(card_input, acknowledge_url=link)
    return replace(compose_with_answers(card_input, in_rules), token=NONCE)


NASTY = (
    "<!channel> @everyone @here <users/all> <at>oncall@example.com</at> <@U0123ABCD> [x](https://evil.example.com) "
    "<https://evil.example.com|click> *b* _i_ `c` ```x``` <b>&amp;</b> {{DATE(2020-01-01)}} ${labels.x} "
    "\u202egnp.exe\u2066\u200f\u200b\x00\x07\x1b[31mred\x1b]8;;https://evil.example.com\x07 \ud800 \U000e0041 \r\n\u2028 "
)
LONG = NASTY * (100_000 // len(NASTY) + 1)
NASTY_URLS = {
    "panel": "javascript:alert(1)",
    "dashboard": "https://good.example.com@evil.example.com/",
    "silence": "https://x/" + "a" * 100_000,
    "alert": "https://e.example.com/|<!channel>",
    "runbook": "data:text/html,x",
}


def hostile(card_input: CardInput) -> CardInput:
    """The same card_input with 100 kB of markup, mentions and marks wherever a stranger's text may stand."""
    trigger = AlertRef("f", LONG, float("nan"), f"rabbitmq:{LONG}:{LONG}", LONG, LONG, NASTY_URLS)
    execution = replace(ENDED, id=LONG, url="javascript:alert(1)", status=LONG, user=LONG, tag=LONG)
    flat = ((0.0, 0),) * 5000
    watched = QueueState(
        to_queue(LONG, LONG), LONG, NOW, BEFORE, after=AfterRestart(-1), consumers=10**30, head_at=1e300, curve=flat
    )
    evidence = (card_input.incident or INCIDENT).evidence
    incident = change(
        card_input.incident or INCIDENT,
        id=LONG,
        evidence=evidence
        and replace(
            evidence,
            runs=(EvidenceRun(LONG, execution=execution),),
            lines=(LONG,) * 40,
            missing=LONG,
            places=(Place(LONG, LONG),) * 4,
        ),
        queues=(watched,) * 40,
        triggers=(trigger,) * 1000,
        execution=execution,
        adopted=True,
        tries=(PastAttempt(LONG, execution, LONG),) * 40,
        tail=(LONG,) * 40,
        start_page=f"javascript:alert(1){LONG}",
        approved_by=LONG,
        approved_why=LONG,
        declined_by=LONG,
        expires_at=1e300,
    )
    target = Target(LONG, LONG, LONG, {f"{LONG}{n}": LONG for n in range(3)})
    runbook = replace(card_input.runbook or RUNBOOK, name=LONG, root_cause=LONG)
    return replace(
        card_input,
        incident=incident,
        trigger=trigger,
        target=target,
        runbook=runbook,
        detail=LONG,
        remedy=LONG,
        bundled=(LONG,) * 300 if card_input.bundled else (),
        escalation=card_input.escalation and replace(card_input.escalation, incident=LONG, taken_by=LONG),
    )
