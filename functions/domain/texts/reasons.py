"""The texts of each reason code: urgency, why nothing was restarted, and what to do."""

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from functions.domain.model.codes import Reason
from functions.runtime.text import Text

NOTHING = Text("Nothing.")


class Explained(Struct, frozen=True):
    """The texts of a reason: `short` fits after a headline's colon; `why` and `todo` are sentences."""

    urgency: str
    short: Text
    why: Text
    todo: Text = NOTHING
    by_hand: bool = False  # whether people may have to start the job themselves, so that the card links to it


act, watch, plan, fine = (partial(Explained, urgency) for urgency in ("act", "watch", "plan", "fine"))
act_by_hand, watch_by_hand, plan_by_hand = (partial(kind, by_hand=True) for kind in (act, watch, plan))

REASONS: Mapping[Reason, Explained] = {
    Reason.PAUSED: act_by_hand(
        Text("Unstick is paused"),
        Text("The kill switch is on, or can't be read, so nothing is restarted."),
        Text("Check the queue, restart the application by hand if needed, and resume Unstick when the pause is over."),
    ),
    Reason.NOT_FIRING: fine(Text("the alert is not firing"), Text("The alert is already resolved.")),
    Reason.NO_RUNBOOK: plan(
        Text("no runbook matches the alert"),
        Text("No runbook in the configuration matches the alert's labels, so Unstick does nothing about it."),
        Text("Add a runbook, fix the alert's labels, or route the alert elsewhere."),
    ),
    Reason.TEST_ALERT: fine(Text("a test notification"), Text("It was sent by the Test button of a contact point.")),
    Reason.MONITORING_FAILURE: watch(
        Text("monitoring has no data"),
        Text("Grafana reports no data or a failing data source. That says nothing about the application."),
        Text("If it lasts, fix the monitoring: until then nobody would notice a stuck queue."),
    ),
    Reason.STALE_ALERT: act_by_hand(
        Text("the alert is too old"),
        Text("The alert started too long ago for an automatic restart."),
        Text("Find out why nobody fixed it, and restart by hand if it still hangs."),
    ),
    Reason.FROZEN: act_by_hand(
        Text("a freeze window is active"),
        Text("The runbook forbids restarts at this time."),
        Text("Decide whether it can wait until the window ends; if not, restart by hand."),
    ),
    Reason.SYMPTOM_GONE: fine(Text("the queue is healthy"), Text("Messages are being processed.")),
    Reason.SYMPTOM_UNKNOWN: act_by_hand(
        Text("the queue's state is unknown"),
        Text("The queue's figures can't be read, and Unstick does not restart on a guess."),
        Text("Check the queue and the system that Unstick reads its figures from, and restart by hand if it hangs."),
    ),
    Reason.NEVER_CONSUMED: plan(
        Text("nobody was ever seen to consume the queue"),
        Text("Messages wait, but as far as Unstick knows no consumer ever took one, so there is nothing to restart."),
        Text(
            "If nobody is meant to consume it (a dead-letter, delay or parking queue), take it out of the alert's rule. If its "
            "consumer never came, start it."
        ),
    ),
    Reason.GOING_ROUND: act(
        Text("the same messages come back again and again"),
        Text("Messages are delivered again and again and none is acknowledged. A restart does not end such a loop."),
        Text("Find out from the application's log why it returns them or crashes on them; move them aside if need be."),
    ),
    Reason.LEDGER_UNKNOWN: act_by_hand(
        Text("{runner} does not show what was restarted"),
        Text("Without the history Unstick can't tell what was restarted or how that ended, so it restarts nothing."),
        Text("Check {runner} and the token's rights, look at the queue, and restart by hand if it hangs."),
    ),
    Reason.ALREADY_RUNNING: watch(
        Text("a restart is already running"),
        Text("Somebody started the same restart. Unstick checks its result as if it were its own."),
        Text("Wait for the result."),
    ),
    Reason.JOB_BUSY: watch(
        Text("the job is busy"),
        Text("{runner} is running the same job for another target, or has scheduled it. Unstick tries again."),
        Text("Nothing, unless that execution hangs."),
    ),
    Reason.ZOMBIE_EXECUTION: act(
        Text("a restart has been running for too long"),
        Text("The execution in {runner} does not end and blocks the next restart."),
        Text("Open the execution, abort it, and check that the application came up."),
    ),
    Reason.RESTART_REFUSED: act_by_hand(
        Text("{runner} refused the restart"),
        Text("{runner} answered that it does not start the job. Nothing was restarted."),
        Text("Restart by hand now, then fix what {runner} reports."),
    ),
    Reason.START_UNCLEAR: act_by_hand(
        Text("{runner} gave no clear answer to the start"),
        Text("Unstick asked for the start, but nothing shows yet that the job runs. It tries at most twice, then people decide."),
        Text("Open the job in {runner}. If it does not run there, restart by hand: Unstick checks that restart's result."),
    ),
    Reason.ABORTED: act_by_hand(
        Text("a person aborted the restart"),
        Text("Somebody aborted the execution in {runner}. That is a person's decision, so Unstick does not restart again."),
        Text("Ask whoever aborted it what the plan is; then resume the target, or restart it by hand."),
    ),
    Reason.DUPLICATE: fine(
        Text("it is already being handled"), Text("An incident of the same target already covers this alert.")
    ),
    Reason.ESCALATED: act(
        Text("it was escalated before and has not recovered since"),
        Text("A restart did not help last time, so another one would only hide the bug."),
        Text("Continue with the last escalation; resume the target when it is fixed."),
    ),
    Reason.COOLDOWN: watch_by_hand(
        Text("it was restarted recently"),
        Text("The cooldown after the last restart is not over yet."),
        Text("Nothing yet. If it can't wait, restart it by hand."),
    ),
    Reason.TOO_MANY_RESTARTS: act_by_hand(
        Text("it was restarted too often"),
        Text("The limit of restarts is reached: restarting no longer helps, or hides the bug."),
        Text("Find the cause now; restart by hand only if you must."),
    ),
    Reason.FAILING: act_by_hand(
        Text("the restart job keeps failing"),
        Text("The last executions of the job failed, so another one would probably fail too."),
        Text("Read the job's log, fix the job, and restart by hand."),
    ),
    Reason.TOO_MANY_TARGETS: act_by_hand(
        Text("too many targets are stuck at once"),
        Text("So many applications rarely fail independently: a shared cause is more likely."),
        Text("Check what they share before you restart any by hand: broker, database, network, the last rollout."),
    ),
    Reason.STORM_UNKNOWN: act_by_hand(
        Text("it is unknown how many targets are stuck"),
        Text("What the store says about other targets' restarts can't be read, so the limit `storm` can't be checked."),
        Text("Find out with `unstick check` why the store can't be read, and restart by hand if the queue still hangs."),
    ),
    Reason.INCIDENT_FULL: act(
        Text("too many alerts of one application"),
        Text("An incident takes a limited number of alerts and queues. Those beyond the limit were not checked."),
        Text("Check the application's other queues; alerts that still fire are decided when they are sent again."),
    ),
    Reason.INVALID_OPTION: act(
        Text("a label's value is not allowed"),
        Text("A label that the restart needs is missing or does not match the runbook's `allow`."),
        Text("Handle this alert by hand, then fix the alert rule's labels or `allow`."),
    ),
    Reason.OBSERVE_ONLY: plan_by_hand(
        Text("the runbook only observes"),
        Text("The runbook's mode is observe: Unstick watches and says what it would have done. Nothing is wrong with Unstick."),
        Text("Check the queue and restart it by hand if it hangs, as before. Unstick restarts nothing here."),
    ),
    Reason.LIKELY_STUCK: plan_by_hand(
        Text("it may hang, and it may be healthy"),
        Text(
            "It looks stuck, but some healthy applications look the same. Add the line that settles it, and Unstick stops asking."
        ),
        Text("Check what speaks against it. If it hangs, restart it; if not, do nothing."),
    ),
    Reason.AWAITING_APPROVAL: act(
        Text("it is waiting for approval"),
        Text("The queue is stuck, and a person has to approve the restart."),
        Text("Check the figures, then approve or decline."),
    ),
    Reason.DECLINED: watch_by_hand(
        Text("a person declined the restart"),
        Text("A person decided against the restart. Unstick doesn't ask again for this alert; the next one is handled as usual."),
        Text("Ask whoever declined it what the plan is; restart it by hand if it is needed after all."),
    ),
}
