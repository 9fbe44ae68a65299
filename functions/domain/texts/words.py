"""Words that several cards and chats share."""

from collections.abc import Mapping

from functions.domain.model.codes import Ending, Phase
from functions.domain.model.incidents import REFUSED_LATE, STUCK, UNCLEAR
from functions.domain.texts.sanitize import clean
from functions.runtime.text import Phrase, Text, in_brackets, in_language

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
TARGET = Text("Target")
INCIDENT = Text("Incident")
RESTART, ON_PURPOSE, WAS_HEALTHY = Text("Restart"), Text("It works on purpose"), Text("It was healthy")
DO_NOT = Text("Don't restart it")  # where that says nothing of the application: the card advises it
LINK_APPROVE = Text("Approve the restart")
LINK_ACKNOWLEDGE = Text("Acknowledge")
LINK_BY_HAND = Text("Restart by hand")
LINK_CAUSE = Text("Root cause")
LINK_QUEUE = Text("Queue in RabbitMQ")
LINK_MOVE = Text("Moving one message by hand")
LINK_DETAILS = Text("Details")
LINK_EXECUTION = Text("{runner} execution")
LINK_EVIDENCE = Text("Evidence in {runner}")

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
