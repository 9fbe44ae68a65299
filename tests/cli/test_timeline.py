"""One incident from the first alert to its outcome, in order."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import AfterRestart, Evidence, HistoryEntry, Incident, Outcome
from functions.domain.model.observations import Execution
from functions.runtime.text import Text
from tests.support.worlds.example_stories import EXAMPLES, NOW
from unstick.timeline import Entry, tell


def told() -> Incident:
    """The gallery's escalated incident, with a history: it waited for a cooldown, and both restarts did not help."""
    incident = EXAMPLES["escalated"].incident
    assert incident is not None
    history = (
        HistoryEntry(NOW - 280, Phase.WAITING, Reason.COOLDOWN, Text("restarted {age} ago", age="4 min")),
        HistoryEntry(NOW - 121, Phase.STARTING, attempt=1),
        HistoryEntry(NOW - 118, Phase.RUNNING, attempt=1),
        HistoryEntry(NOW - 86, Phase.VERIFYING, attempt=1),
    )
    return replace(
        incident,
        history=history,
        queues=(replace(incident.queues[0], after=AfterRestart(615, looked_at=NOW, verdict=Verdict.STUCK)),),
    )


OUTCOME = Outcome("7f3a9c21", Ending.ESCALATED, None, NOW + 1, ())


def kinds(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.kind for entry in entries if entry.kind != "check"]


def test_the_entries_are_in_the_order_of_time() -> None:
    """Whatever clock they were noted by; both runs link to Rundeck with the log's end, and evidence comes between."""
    entries = tell(told(), OUTCOME)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert (kinds(entries)[0], entries[-1].kind) == ("alert", "outcome")
    assert [kind for kind in kinds(entries) if kind == "restart"] == ["restart"] * 4
    runs = [entry for entry in tell(told(), OUTCOME) if entry.kind == "restart"]
    assert all(entry.link.startswith("https://rundeck.example.com/") for entry in runs)
    assert [bool(entry.lines) for entry in runs].count(True) == 1
    run = Execution("1846", "https://rundeck.example.com/execution/show/1846", "succeeded", NOW - 125, NOW - 123)
    evidence = Evidence(asked_at=NOW - 126, execution=run, lines=('File "/app/mailer.py", line 212',))
    (entry,) = [one for one in tell(replace(told(), runner_ahead_s=0.0, evidence=evidence)) if one.kind == "evidence"]
    assert (str(entry.text), entry.at, entry.link, entry.lines) == (
        "execution 1846: succeeded", NOW - 123, run.url, evidence.lines,
    )  # fmt: skip
    missing = replace(evidence, execution=None, lines=(), missing="the job is already running")
    (entry,) = [one for one in tell(replace(told(), evidence=missing)) if one.kind == "evidence"]
    assert str(entry.text) == "no evidence: the job is already running"


def test_what_each_entry_says() -> None:
    shown = {(entry.kind, str(entry.text)) for entry in tell(told(), OUTCOME)}
    assert any(
        kind == "decision" and text.startswith("waits: ") and text.endswith("(restarted 4 min ago)") for kind, text in shown
    )
    assert ("decision", "restarts: attempt 1") in shown
    looks = [text for kind, text in shown if kind == "check"]
    assert any("20 unacknowledged (41 kB)" in text and "held by mail-worker-2 (10.0.3.7)" in text for text in looks)
    assert any(kind == "verdict" and "still stuck (615 messages, 1 consumer)" in text for kind, text in shown)
    assert ("outcome", "a person is needed") in shown
