"""The texts of each reason code: urgency, why nothing was restarted, and what to do."""

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from functions.domain.model.codes import Reason
from functions.runtime.text import Text

NOTHING = Text("Nothing.")


class Explained(Struct, frozen=True):
    """The texts of a reason: `short` fits after a headline's colon; `todo` is a sentence."""

    urgency: str
    short: Text
    todo: Text = NOTHING
    by_hand: bool = False  # whether people may have to start the job themselves, so that the card links to it


act, watch, plan, fine = (partial(Explained, urgency) for urgency in ("act", "watch", "plan", "fine"))
act_by_hand, watch_by_hand, plan_by_hand = (partial(kind, by_hand=True) for kind in (act, watch, plan))

REASONS: Mapping[Reason, Explained] = {
    Reason.PAUSED: act_by_hand(
        Text("Unstick is paused"),
        Text("Check the queue, restart the application by hand if needed, and resume Unstick when the pause is over."),
    ),
    Reason.NOT_FIRING: fine(Text("the alert is not firing")),
    Reason.NO_RUNBOOK: plan(
        Text("no runbook matches the alert"), Text("Add a runbook, fix the alert's labels, or route the alert elsewhere.")
    ),
    Reason.TEST_ALERT: fine(Text("a test notification")),
    Reason.MONITORING_FAILURE: watch(
        Text("monitoring has no data"), Text("If it lasts, fix the monitoring: until then nobody would notice a stuck queue.")
    ),
    Reason.STALE_ALERT: act_by_hand(
        Text("the alert is too old"), Text("Find out why nobody fixed it, and restart by hand if it still hangs.")
    ),
    Reason.FROZEN: act_by_hand(
        Text("a freeze window is active"), Text("Decide whether it can wait until the window ends; if not, restart by hand.")
    ),
    Reason.SYMPTOM_GONE: fine(Text("the queue is healthy")),
    Reason.SYMPTOM_UNKNOWN: act_by_hand(
        Text("the queue's state is unknown"),
        Text("Check the queue and the system that Unstick reads its figures from, and restart by hand if it hangs."),
    ),
    Reason.NEVER_CONSUMED: plan(
        Text("nobody was ever seen to consume the queue"),
        Text(
            "If nobody is meant to consume it (a dead-letter, delay or parking queue), take it out of the alert's rule. If its "
            "consumer never started, start it."
        ),
    ),
    Reason.GOING_ROUND: act(
        Text("the same messages come back again and again"),
        Text("A restart does not end the loop. Find out from the application's log why it returns them or crashes on them."),
    ),
    Reason.LEDGER_UNKNOWN: act_by_hand(
        Text("{runner} does not show what was restarted"),
        Text("Check {runner} and the token's rights. Open the last execution before you restart by hand: it may still run."),
    ),
    Reason.RUNNER_CLOCK: act_by_hand(
        Text("the clocks of {runner} and Unstick differ"),
        Text("Set both by NTP. Until then, restart by hand if the queue hangs."),
    ),
    Reason.ALREADY_RUNNING: watch(Text("a restart is already running"), Text("Wait for the result.")),
    Reason.JOB_BUSY: watch(Text("the job is busy"), Text("Nothing, unless that execution hangs: Unstick tries again.")),
    Reason.ZOMBIE_EXECUTION: act(
        Text("the outcome of a restart is unclear"),
        Text("Open the execution, abort it if it hangs, and check that the application came up."),
    ),
    Reason.RESTART_REFUSED: act_by_hand(
        Text("{runner} refused the restart"), Text("Restart by hand now, then fix what {runner} reports.")
    ),
    Reason.START_UNCLEAR: act_by_hand(
        Text("{runner} gave no clear answer to the start"),
        Text("Open the job in {runner}. If it does not run there, restart by hand: Unstick checks that restart's result."),
    ),
    Reason.ABORTED: act_by_hand(
        Text("a person aborted the restart"),
        Text("Ask whoever aborted it what the plan is; then resume the target, or restart it by hand."),
    ),
    Reason.DUPLICATE: fine(Text("it is already being handled")),
    Reason.ESCALATED: act(
        Text("it was escalated before and has not recovered since"),
        Text("Continue with the last escalation; resume the target when it is fixed."),
    ),
    Reason.COOLDOWN: watch_by_hand(Text("it was restarted recently"), Text("Nothing yet. If it can't wait, restart it by hand.")),
    Reason.TOO_MANY_RESTARTS: act_by_hand(
        Text("it was restarted too often"), Text("Find the cause now; restart by hand only if you must.")
    ),
    Reason.FAILING: act_by_hand(
        Text("the restart job keeps failing"), Text("Read the job's log, fix the job, and restart by hand.")
    ),
    Reason.TOO_MANY_TARGETS: act_by_hand(
        Text("too many targets are stuck at once"),
        Text("Check what they share before you restart any by hand: broker, database, network, the last rollout."),
    ),
    Reason.STORM_UNKNOWN: act_by_hand(
        Text("it is unknown how many targets are stuck"),
        Text("Find out with `unstick check` why the store can't be read, and restart by hand if the queue still hangs."),
    ),
    Reason.INCIDENT_FULL: act(
        Text("too many alerts of one application"),
        Text("Check the application's other queues; alerts that still fire are decided when they are sent again."),
    ),
    Reason.INVALID_OPTION: act(
        Text("a label's value is not allowed"), Text("Handle this alert by hand, then fix the alert rule's labels or `allow`.")
    ),
    Reason.OBSERVE_ONLY: plan_by_hand(
        Text("the runbook only observes"),
        Text("Check the queue and restart it by hand if it hangs, as before. Unstick restarts nothing here."),
    ),
    Reason.LIKELY_STUCK: plan_by_hand(
        Text("it may hang, and it may be healthy"),
        Text("See what speaks against it. If it hangs, restart it. If it works on purpose, say so: Unstick learns from it."),
    ),
    Reason.AWAITING_APPROVAL: act_by_hand(
        Text("it is waiting for approval"), Text("Check the figures, then restart it, or say that it works on purpose.")
    ),
    Reason.DECLINED: watch_by_hand(
        Text("a person declined the restart"),
        Text("If in doubt, ask whoever declined it. If it hangs after all, restart it by hand."),
    ),
}
