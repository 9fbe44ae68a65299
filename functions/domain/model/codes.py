"""The codes in answers, logs, metrics and docs. Their values never change."""

from enum import StrEnum

VERSION = 1  # of everything that is stored or sent: documents, archive records, wake-ups. A release refuses newer ones.


class Reason(StrEnum):
    """Why Unstick held a restart. The values are the reason codes in logs, metrics, answers and docs."""

    PAUSED = "paused"
    NOT_FIRING = "not_firing"
    NO_RUNBOOK = "no_runbook"
    TEST_ALERT = "test_alert"
    MONITORING_FAILURE = "monitoring_failure"
    STALE_ALERT = "stale_alert"
    FROZEN = "frozen"
    SYMPTOM_GONE = "symptom_gone"
    SYMPTOM_UNKNOWN = "symptom_unknown"
    NEVER_CONSUMED = "never_consumed"
    GOING_ROUND = "going_round"
    LEDGER_UNKNOWN = "ledger_unknown"
    RUNNER_CLOCK = "runner_clock"
    ALREADY_RUNNING = "already_running"
    JOB_BUSY = "job_busy"
    ZOMBIE_EXECUTION = "zombie_execution"
    RESTART_REFUSED = "restart_refused"
    START_UNCLEAR = "start_unclear"
    ABORTED = "aborted"
    DUPLICATE = "duplicate"
    ESCALATED = "escalated"
    COOLDOWN = "cooldown"
    TOO_MANY_RESTARTS = "too_many_restarts"
    FAILING = "failing"
    TOO_MANY_TARGETS = "too_many_targets"
    STORM_UNKNOWN = "storm_unknown"
    INCIDENT_FULL = "incident_full"
    INVALID_OPTION = "invalid_option"
    OBSERVE_ONLY = "observe_only"
    LIKELY_STUCK = "likely_stuck"
    AWAITING_APPROVAL = "awaiting_approval"
    DECLINED = "declined"


ASKED = frozenset({Reason.AWAITING_APPROVAL, Reason.LIKELY_STUCK})
"""Reasons with which people are asked as a matter of course, not to overrule Unstick."""
_LIMITS = {Reason.COOLDOWN, Reason.TOO_MANY_RESTARTS, Reason.FAILING, Reason.TOO_MANY_TARGETS}
OVERRULED = frozenset({Reason.ESCALATED, Reason.STALE_ALERT, Reason.FROZEN, *ASKED, *_LIMITS})
"""Reasons for which a person is asked, and may overrule. Never the kill switch, a healthy queue, or anything unknown."""
UNKNOWN = frozenset({Reason.LEDGER_UNKNOWN, Reason.RUNNER_CLOCK, Reason.STORM_UNKNOWN, Reason.SYMPTOM_UNKNOWN})
"""Reasons that something can't be known now."""


class Mode(StrEnum):
    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


class Phase(StrEnum):
    DEFERRED = "deferred"
    ASKED = "asked"
    WAITING = "waiting"
    COLLECTING = "collecting"
    STARTING = "starting"
    RUNNING = "running"
    VERIFYING = "verifying"


class Action(StrEnum):
    """The action that the answer to Grafana names for an incident."""

    RESTARTED = "restarted"
    ADOPTED = "adopted"
    HELD = "held"
    DEFERRED = "deferred"
    ASKED = "asked"


class Verdict(StrEnum):
    RECOVERED = "recovered"
    DRAINING = "draining"
    STUCK = "stuck"
    UNKNOWN = "unknown"


class Ending(StrEnum):
    RECOVERED = "recovered"
    ESCALATED = "escalated"
    HELD = "held"


class Health(StrEnum):
    ILL = "ill"  # stuck: proved
    LIKELY = "likely"  # it may be stuck, and some healthy applications look the same
    WELL = "well"
    UNSURE = "unsure"  # over the limit, but Unstick must check again before it can call the queue stuck
    UNKNOWN = "unknown"
    NEVER_CONSUMED = "never_consumed"  # messages wait and nobody takes them, and no consumer is known that ever took any
    GOING_ROUND = "going_round"  # the same messages are delivered again and again, and none is acknowledged


class Proof(StrEnum):
    """The rows of the verdict table."""

    FULL = "full"  # a channel holds as many messages as it may, and does nothing with them
    WORK_WAITS = "work_waits"  # a channel holds messages and does nothing with them, others wait, and none is delivered
    UNSERVED = "unserved"  # messages wait, and consumers that hold nothing are given none
    GONE = "gone"  # messages wait, and the consumer that the queue had is gone
    PERHAPS = "perhaps"  # all that can be read stands still, and none of the above shows it
    STATED = "stated"  # the runbook's own condition for "stuck" holds
