"""Words that several cards and chats share: of each reason, of values, and foreign texts made harmless."""

import re
import unicodedata
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import REFUSED_LATE, STUCK, UNCLEAR
from functions.runtime.text import Phrase, Text, in_brackets, in_language

MAX_URL = 2000  # Slack accepts 3,000 characters, and browsers handle about 2,000

# Not compiled here: that would add 1.5 ms to each start, and `re` caches compiled patterns.
ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])"
_URL = r"https?://[^\s<>\"'`{}|\\^\x00-\x20\x7f]+"
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format (bidi, zero width, tags), surrogates, private, unassigned
_MARKS_KEPT = 2  # the most combining accents on a letter: a stack of them covers the lines above


def clean(text: object, limit: int, mark: str, *, lines: bool = False) -> str:
    """At most `limit` characters, none of them invisible or reordering; `mark` shows that something is missing.
    With `lines` newlines stay; otherwise all white space becomes single spaces. The time depends only on `limit`."""
    taken = str(text)[: limit * 4 + 64]
    joined = taken if taken.isascii() and taken.isprintable() else _keep_visible(taken, lines=lines)
    joined = "\n".join(line.rstrip() for line in joined.split("\n")).strip("\n") if lines else " ".join(joined.split())
    return shorten(joined, limit, mark, more=len(str(text)) > len(taken))


def _keep_visible(text: str, *, lines: bool) -> str:
    kept: list[str] = []
    marks = 0
    for char in re.sub(ANSI, "", text):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char in "\n\t\r" or category in ("Zl", "Zp"):
            kept.append("\n" if lines and char == "\n" else " ")
        elif category not in _DROPPED and marks <= _MARKS_KEPT:
            kept.append(char)
    return "".join(kept)


def shorten(text: str, limit: int, mark: str, *, more: bool = False) -> str:
    """The text within `limit` characters, ending in `mark` if something is missing (`more`: it was already cut)."""
    if len(text) <= limit and not more:
        return text
    return (text[: max(0, limit - len(mark))].rstrip() + mark)[: max(0, limit)]


def safe_url(url: object) -> str:
    """The URL if it is http or https with a host, and without a name or password; otherwise an empty string."""
    text = str(url)[: MAX_URL + 1].strip()
    if len(text) > MAX_URL or not re.fullmatch(_URL, text, re.IGNORECASE):
        return ""
    if any(unicodedata.category(char) in _DROPPED for char in text):
        return ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    return text if host and "@" not in parts.netloc else ""


URGENCIES: Mapping[str, Text] = {
    "act": Text("ACT NOW"),
    "watch": Text("No action yet"),
    "plan": Text("In working hours"),
    "fine": Text("No action needed"),
    "over": Text("Ended"),
}
"""The first words of every headline: how urgent it is. `over`: on pages, what is no longer urgent."""

SHORTENED = Text("… (shortened)")
LOG_END = Text("End of the job's log")
EVIDENCE = Text("Evidence before the restart")
ALERT = Text("Alert")
RESTART, ON_PURPOSE, WAS_HEALTHY = Text("Restart"), Text("It works on purpose"), Text("It was healthy")
DO_NOT = Text("Don't restart it")
LINK_BY_HAND = Text("Restart by hand")
LINK_CAUSE = Text("Root cause")

PHASES: Mapping[Phase, Text] = {
    Phase.DEFERRED: Text("there was no time to decide; the next step decides"),
    Phase.ASKED: Text("asks for approval"),
    Phase.WAITING: Text("waits"),
    Phase.COLLECTING: Text("collects evidence first"),
    Phase.STARTING: Text("restarts: attempt {attempt}"),
    Phase.RUNNING: Text("the restart runs"),
    Phase.VERIFYING: Text("checks whether the queue recovers"),
}
ENDINGS: Mapping[Ending, Text] = {
    Ending.RECOVERED: Text("recovered"),
    Ending.ESCALATED: Text("a person is needed"),
    Ending.HELD: Text("nothing was restarted"),
}

MARK = ">> "  # the evidence job's prefix for the lines that matter
LINES, LINE = 12, 240  # lines of evidence or of a job's log on a card, and characters of each

STATUSES: Mapping[str, Text] = {
    "running": Text("running"),
    "succeeded": Text("succeeded"),
    "failed": Text("failed"),
    "aborted": Text("aborted"),
    "timedout": Text("timed out"),
    STUCK: Text("still stuck"),
    UNCLEAR: Text("no clear answer to the start"),
    REFUSED_LATE: Text("refused by the job because it came too late"),
}


def log_title(title: str, language: str) -> str:
    """The title of a card's log lines. By default they are the end of the job's log."""
    return title or in_language(language, LOG_END)


def choose_lines(output: str) -> tuple[str, ...]:
    """The first 12 lines that the job marked with `>> `, without the mark; if none is marked, the last 12 that aren't blank."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    marked = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return tuple(line[:LINE] for line in (marked[:LINES] or lines[-LINES:]))


def duration(seconds: float) -> Text:
    """A duration for people, in its two largest units."""
    whole = round(min(max(0.0, seconds), 1e9))  # in this order also for NaN
    minutes, s = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return Text("{days} d {hours} h", days=days, hours=hour)
    if hours:
        return Text("{hours} h {minutes} min", hours=hours, minutes=minute)
    if minutes and s:
        return Text("{minutes} min {seconds} s", minutes=minutes, seconds=s)
    return Text("{minutes} min", minutes=minutes) if minutes else Text("{seconds} s", seconds=s)


def messages(count: int) -> Phrase:
    """A number of messages."""
    return Text("{count} message", "{count} messages", count=count)


def consumers(count: int) -> Phrase:
    """A number of consumers."""
    return Text("{count} consumer", "{count} consumers", count=count)


def worded(status: str) -> Phrase:
    """How an execution or attempt ended, in words for people."""
    first, _, rest = status.partition(": ")
    if rest and (rest == first or rest.startswith(f"{first}: ")):  # an attempt failed because its job did
        return worded(rest)
    return in_brackets(STATUSES.get(first) or clean(first, 60, "…"), worded(rest) if rest else "")


class Explained(Struct, frozen=True):
    """The texts of a reason: `short` fits after a headline's colon; `todo` is a sentence."""

    urgency: str
    short: Text
    todo: Text = Text("Nothing.")
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
        Text("it is waiting for approval"), Text("Check the figures, then approve or decline the restart.")
    ),
    Reason.DECLINED: watch_by_hand(
        Text("a person declined the restart"),
        Text("If in doubt, ask whoever declined it. If it hangs after all, restart it by hand."),
    ),
}
