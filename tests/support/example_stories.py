"""One story of each kind, as they come about, and hostile ones: for the tests of cards and chats and for the gallery."""

from __future__ import annotations

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.cards.card_input import CardInput
from functions.domain.model.alerts import Target
from functions.domain.model.codes import Mode, Phase, Reason, Verdict
from functions.domain.model.incidents import AlertRef, Escalation, Incident, PastAttempt, QueueState
from functions.domain.model.observations import Execution, Holder, QueueSnapshot
from functions.domain.model.runbooks import Recovered, Restart, Rules, Runbook, Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import Phrase, Text, named

NOW = 1_795_457_525.0  # 2026-11-24 03:12:05 in Tokyo
ALERTED = NOW - 412
RUNNER_AHEAD_S = 2.0
APPROVE = "https://unstick.example.com/approve/"

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
    ALERTED,
    "rabbitmq:/:mail.outgoing",
    "RabbitMQQueueStuck",
    "Nothing was acknowledged in mail.outgoing for 5 minutes",
    "critical",
    {
        "panel": "https://grafana.example.com/d/abc?viewPanel=4",
        "dashboard": "https://grafana.example.com/d/abc",
        "silence": "https://grafana.example.com/alerting/silence/new?x=1",
        "alert": "https://grafana.example.com/alerting/grafana/r1/view",
        "runbook": "https://wiki.example.com/mail-delivery",
    },
)
STUCK = tuple((NOW - 285 + 15 * n, 120 + 22 * n) for n in range(12))
DRAINED = (*STUCK, *((NOW - 110 + 10 * n, max(0, 362 - 45 * n)) for n in range(12)))
WORSE = (*STUCK, *((NOW - 110 + 10 * n, 362 + 2 * n) for n in range(12)))
HOLDER = Holder("10.0.3.7", "mail-worker-2", 20, NOW - 214)
BEFORE = QueueSnapshot(NOW - 120, 362, 342, 20, 1, head_at=NOW - 1560, held_bytes=40_960, holders=(HOLDER,))
WATCHED = QueueState(
    to_queue("/", "mail.outgoing"),
    "mail-delivery",
    ALERTED,
    BEFORE,
    consumers=1,
    curve=STUCK,
    head_at=BEFORE.head_at,
    holders=BEFORE.holders,
    held_bytes=BEFORE.held_bytes,
)
SEEN = replace(WATCHED, before=None, curve=tuple((at + 120, depth) for at, depth in STUCK))
"""As it is before any restart: what was seen just now stands in the curve alone."""
RUNNING = Execution(
    "1847", "https://rundeck.example.com/project/ops/execution/show/1847", "running", NOW - 118 + RUNNER_AHEAD_S, tag="7f3a.1"
)
ENDED = replace(RUNNING, status="succeeded", runner_ended_at=NOW - 86 + RUNNER_AHEAD_S)
INCIDENT = Incident(
    "7f3a9c21",
    Phase.RUNNING,
    ALERTED + 8,
    "mail-delivery",
    (WATCHED,),
    (TRIGGER,),
    attempt=1,
    restarts=1,
    execution=RUNNING,
    runner_ahead_s=RUNNER_AHEAD_S,
)
ADOPTED = replace(INCIDENT, adopted=True, execution=replace(RUNNING, user="h.tanaka"))
TAIL = (
    "03:06:41 stopping mail-delivery.service",
    "03:06:52 stopped",
    "03:06:52 starting mail-delivery.service",
    "03:06:58 connected to rabbitmq-1:5671 as mail",
    "03:06:58 consuming mail.outgoing, prefetch 20",
    "03:07:03 WARN smtp relay-2.example.com:25 timed out, trying again (1/∞)",
)


def rules(language: str = "en") -> Rules:
    zone, url = "Asia/Tokyo", "https://unstick.example.com"
    ends = NOW + 7 * 86400
    return Rules({"mail-delivery": RUNBOOK}, language=language, time_zone=zone, public_url=url, token_expires_at=ends)


def held(
    reason: Reason, detail: Phrase = "", remedy: Phrase = "", phase: Phase = Phase.DEFERRED, approve_url: str = ""
) -> CardInput:
    expires_at = NOW + 1800 if approve_url else None
    incident = replace(
        INCIDENT, phase=phase, queues=(SEEN,), attempt=0, execution=None, restarts=0, reason=reason, expires_at=expires_at
    )
    again = phase is Phase.WAITING
    return CardInput("held", NOW, RUNBOOK, TARGET, incident, reason, detail, remedy, approve_url=approve_url, again=again)


def _verifying(depth: int, consumers: int) -> Incident:
    drained = tuple(point for point in DRAINED if point[0] <= NOW - 110 or point[1] >= depth)
    watched = replace(WATCHED, depth=depth, consumers=consumers, curve=drained if depth < 300 else WORSE)
    return replace(INCIDENT, phase=Phase.VERIFYING, execution=ENDED, queues=(watched,))


def _escalated() -> CardInput:
    second = replace(ENDED, id="1851", url=ENDED.url.replace("1847", "1851"), tag="7f3a.2")
    stuck = replace(_verifying(384, 1).queues[0], holders=(replace(HOLDER, since=NOW - 71),), verdict=Verdict.STUCK)
    tries = (PastAttempt("7f3a.1", ENDED, "stuck"),)
    incident = replace(_verifying(384, 1), queues=(stuck,), attempt=2, restarts=2, execution=second, tries=tries, tail=TAIL)
    return CardInput("escalated", NOW, RUNBOOK, TARGET, incident, None, "it is still stuck")


HANDED_OVER = Escalation("7f3a9c21", RUNBOOK.name, NOW, due=NOW + 1800)

EXAMPLES: dict[str, CardInput] = {
    "started": CardInput("started", NOW, RUNBOOK, TARGET, INCIDENT),
    "adopted": CardInput("started", NOW, RUNBOOK, TARGET, ADOPTED),
    "held-restart-refused": held(
        Reason.RESTART_REFUSED,
        Text("the token's role lacks a permission"),
        Text("Load infra/rundeck/unstick.aclpolicy for the token's role."),
    ),
    "held-cooldown": held(Reason.COOLDOWN, Text("restarted {age} ago", age=duration(240)), phase=Phase.WAITING),
    "held-awaiting-approval": held(Reason.AWAITING_APPROVAL, phase=Phase.ASKED, approve_url=APPROVE),
    "held-overrule": held(
        Reason.TOO_MANY_RESTARTS,
        Text("restarts within {hours} h: {count}, the limit is {limit}", hours=1, count=3, limit=3),
        phase=Phase.ASKED,
        approve_url=APPROVE,
    ),
    "held-observe-only": held(Reason.OBSERVE_ONLY),
    "held-symptom-gone": held(
        Reason.SYMPTOM_GONE, named("mail.outgoing", Text("processed in the last {seconds} s: {count}", seconds=10, count=42))
    ),
    "held-no-runbook": CardInput("held", NOW, reason=Reason.NO_RUNBOOK, trigger=TRIGGER),
    "draining": CardInput("draining", NOW, RUNBOOK, TARGET, _verifying(212, 2)),
    "recovered": CardInput("recovered", NOW, RUNBOOK, TARGET, _verifying(0, 2)),
    "recovered-moving": CardInput("recovered", NOW, replace(RUNBOOK, root_cause=""), TARGET, _verifying(97, 2), moving=True),
    "escalated": _escalated(),
    "escalated-late": replace(_escalated(), late_s=4320.0),
    "escalated-again": CardInput(
        "escalated_again", NOW + 900, RUNBOOK, TARGET, trigger=TRIGGER, escalation=replace(HANDED_OVER, told=1)
    ),
    "acknowledged": CardInput(
        "acknowledged",
        NOW + 1080,
        RUNBOOK,
        TARGET,
        trigger=TRIGGER,
        escalation=replace(HANDED_OVER, told=1, due=None, taken_by="h.tanaka", taken_at=NOW + 1080),
    ),
    "resolved": CardInput("resolved", NOW, target=TARGET, trigger=TRIGGER, detail="7f3a9c21"),
    "not-approved": replace(held(Reason.AWAITING_APPROVAL), kind="not_approved", at=NOW + 1800),
    "declined": replace(
        held(Reason.DECLINED, "a deployment is under way until 03:40"),
        kind="declined",
        incident=replace(INCIDENT, queues=(SEEN,), attempt=0, execution=None, restarts=0, declined_by="h.tanaka"),
    ),
    "test": CardInput(
        "test", NOW, reason=Reason.TEST_ALERT, trigger=AlertRef("t", "g", NOW, "", "TestAlert", "Notification test")
    ),
    "bundle": CardInput(
        "bundle",
        NOW,
        reason=Reason.TOO_MANY_TARGETS,
        detail=Text(
            "other targets restarted within {minutes} min: {count}, so a shared cause is more likely", minutes=10, count=3
        ),
        bundled=tuple(f"service=worker-{n}" for n in range(1, 27)),
    ),
    "paused": CardInput("paused", NOW, detail="broker upgrade until 05:00 (h.tanaka)"),
    "resumed": CardInput("resumed", NOW, target=TARGET, detail="fixed by a rollback to 4.12.1 (h.tanaka)"),
    "unsigned": CardInput("unsigned", NOW),
    "expiring": CardInput("expiring", NOW),
}

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


def hostile(story: CardInput) -> CardInput:
    """The same story with 100 kB of markup, mentions and marks wherever a stranger's text may stand."""
    trigger = AlertRef("f", LONG, float("nan"), f"rabbitmq:{LONG}:{LONG}", LONG, LONG, LONG, NASTY_URLS)
    execution = replace(ENDED, id=LONG, url="javascript:alert(1)", status=LONG, user=LONG, tag=LONG)
    flat = ((0.0, 0),) * 5000
    watched = QueueState(to_queue(LONG, LONG), LONG, NOW, BEFORE, depth=-1, consumers=10**30, head_at=1e300, curve=flat)
    incident = replace(
        story.incident or INCIDENT,
        id=LONG,
        queues=(watched,) * 40,
        triggers=(trigger,) * 1000,
        execution=execution,
        adopted=True,
        tries=(PastAttempt(LONG, execution, LONG),) * 40,
        tail=(LONG,) * 40,
        approved_by=LONG,
        approved_why=LONG,
        declined_by=LONG,
        expires_at=1e300,
    )
    target = Target(LONG, LONG, LONG, {f"{LONG}{n}": LONG for n in range(3)})
    runbook = replace(story.runbook or RUNBOOK, name=LONG, root_cause=LONG)
    return replace(
        story,
        incident=incident,
        trigger=trigger,
        target=target,
        runbook=runbook,
        detail=LONG,
        remedy=LONG,
        bundled=(LONG,) * 300 if story.bundled else (),
        escalation=story.escalation and replace(story.escalation, incident=LONG, taken_by=LONG),
        late_s=1e9,
    )
