"""Collects evidence once an incident, before its first restart. It never starts, holds or counts as a restart (I10).
The restart waits for the end of the evidence run, but never longer than `within`. Whatever happens to the run, the incident goes
on: at worst without evidence, and with the reason. After the wait the queues are read again.

The second opinion is what the job says of the application on each node (docs/evidence.md). Silence, or a contradiction, changes
nothing. The place where the application hangs comes from the same job: it is shown and counted, and is never an opinion."""

import re
from collections.abc import Iterable, Iterator
from operator import itemgetter

from msgspec.structs import replace

from functions.domain.decisions.matching import name_holder
from functions.domain.decisions.messages import was_told_recently
from functions.domain.decisions.turn import Turn
from functions.domain.health.looks import Judgement
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import Collect, Decision, EvidenceStarted, Keep, Kind
from functions.domain.model.incidents import Evidence, Incident, Opinion, Place
from functions.domain.model.observations import EVIDENCE, EvidenceReading, NodeOutput, Observation, Unknown
from functions.domain.texts.words import choose_lines, worded
from functions.runtime.text import Phrase, Text, named

REASON = 200  # characters of an opinion's reason, or of a place
PLACES = 4  # of an incident
LOOK_S = 3.0  # how often Unstick checks whether the run has ended


def tag_of(incident: Incident) -> str:
    """The tag that identifies the run, and that an opinion has to name."""
    return f"{incident.id}.{EVIDENCE}"


def evidence_to_read(incident: Incident | None) -> Evidence | None:
    """What is known of the run that the incident waits for; None if it waits for none."""
    return incident.evidence if incident is not None and incident.phase is Phase.COLLECTING else None


def needs_evidence(turn: Turn, decision: Decision) -> bool:
    """Whether to collect evidence first: once, before the first restart, and only if nothing else holds the restart."""
    incident, evidence = turn.incident, turn.incident.evidence
    if turn.runbook.evidence is None or incident.restarts or not evidence or evidence.asked_at is not None or evidence.missing:
        return False
    if decision.reason is Reason.OBSERVE_ONLY:  # nobody would read it
        return not was_told_recently(turn.document, incident.triggers, Reason.OBSERVE_ONLY, turn.at)
    return decision.kind in (Kind.RESTART, Kind.ASK) or (decision.reason is Reason.LIKELY_STUCK and decision.tell)


def order_evidence(turn: Turn, judged: tuple[Judgement, ...]) -> None:
    """Record that evidence is collected, and order the start of its job."""
    job, evidence = turn.runbook.evidence, turn.incident.evidence
    if job is None or evidence is None:
        raise TypeError("needs_evidence comes first")
    until = turn.at + job.within_s
    # First those with a proof, since a working consumer also holds some.
    proved = [channel.host for judgement in judged for channel in judgement.held_by]
    hosts = (*proved, *(holder.host for state in turn.incident.queues for holder in state.holders))
    evidence = name_holder(job, replace(evidence, asked_at=turn.at, until=until), hosts)
    due = min(turn.at + LOOK_S, until)
    turn.change(phase=Phase.COLLECTING, evidence=evidence, due=due, reason=None, detail="")
    turn.change_approval(nonce="", expires_at=None)
    turn.acts.append(Collect(tag_of(turn.incident), job.job, evidence.options, job.within_s))
    turn.answer(Action.DEFERRED, None)


def on_evidence_started(turn: Turn, event: EvidenceStarted) -> None:
    """Note the run. If it did not start, the incident goes on; without an answer it may run, and has its time."""
    incident = turn.document.incident
    if incident is None or incident.phase is not Phase.COLLECTING or incident.evidence is None or event.tag != tag_of(incident):
        return
    if event.execution is not None:
        turn.change(evidence=replace(incident.evidence, execution=event.execution))
    elif event.refusal:
        turn.change(evidence=replace(incident.evidence, missing=event.refusal), due=turn.at)


def is_awaited(evidence: Evidence, reading: EvidenceReading, now: float) -> bool:
    """Whether to keep waiting for the run: its output has not been read, and there is time left."""
    return not evidence.missing and reading.output is None and now < evidence.until


def check_evidence(turn: Turn) -> None:
    """Note what was collected, or why nothing was, and archive the output. Until then check again soon, at the latest when the
    time is up."""
    reading, evidence = turn.seen.evidence or EvidenceReading(), turn.incident.evidence or Evidence()
    if reading.awaited:
        due = max(turn.at, min(turn.at + LOOK_S, evidence.until))
        return turn.change(evidence=replace(evidence, execution=reading.execution or evidence.execution), due=due)
    job, tag = turn.runbook.evidence, tag_of(turn.incident)
    evidence = with_reading(evidence, reading, turn.at, tag, opinion=job is not None and job.opinion)
    hosts = {holder.host for state in turn.incident.queues for holder in state.holders}
    held = tuple(place for place in evidence.places if place.host in hosts)  # nodes may have other names than connections
    turn.change(evidence=replace(evidence, places=held or evidence.places))
    if whole := join_nodes(reading.output or ()):
        turn.acts.append(Keep(turn.incident.id, whole))
    turn.enter(Phase.WAITING)


def with_reading(evidence: Evidence, reading: EvidenceReading, now: float, tag: str, *, opinion: bool = False) -> Evidence:
    """Add what was collected, or why nothing was. `tag`: what places and opinions have to name. `opinion`: whether one counts."""
    output = reading.output or ()
    lines, places = choose_lines(join_nodes(output)), read_places(output, tag, evidence.host)
    evidence = replace(evidence, execution=reading.execution or evidence.execution, lines=lines, places=places)
    evidence = replace(evidence, missing=evidence.missing or _why_missing(evidence, reading, now))
    counts = opinion and not evidence.missing
    return replace(evidence, opinions=read_opinions(output, tag, evidence.host)) if counts else evidence


def _why_missing(evidence: Evidence, reading: EvidenceReading, now: float) -> Phrase:
    execution = evidence.execution
    if reading.problem:
        return named(Text("its run can't be read"), reading.problem)
    if execution is None or not execution.ended:
        waited_s = max(0.0, now - (evidence.asked_at or now))
        return Text("its job had not ended after {seconds} s", seconds=round(waited_s))
    if not execution.succeeded:
        return Text("execution {id} ended as {status}", id=execution.id, status=worded(execution.status))
    return "" if join_nodes(reading.output or ()) else Text("execution {id} wrote nothing", id=execution.id)


def without_evidence_runs(seen: Observation) -> Observation:
    """The observation without evidence runs, so that no guard counts one as a restart."""
    history = seen.history
    if isinstance(history, Unknown):
        return seen
    executions = tuple(execution for execution in history.executions if not execution.is_evidence)
    others = tuple(execution for execution in history.others if not execution.is_evidence)
    if (executions, others) == (history.executions, history.others):
        return seen
    return replace(seen, history=replace(history, executions=executions, others=others))


def read_opinions(output: tuple[NodeOutput, ...], tag: str, host: str) -> tuple[Opinion, ...]:
    """The opinion of each node: its only such line, and its last one. `host`: the one that the run was limited to. Whoever
    publishes messages, or writes into another system, can put a line into the output, but doesn't know the tag."""
    form = _opinion_of(tag)
    opinions = []
    for where, said in _split(output, host):
        matches = [match for text in said if (match := form.fullmatch(text))]
        if len(matches) == 1 and form.fullmatch(said[-1]):
            opinions.append(Opinion(where, matches[0][1] == "healthy", (matches[0][2] or "")[:REASON]))
    return tuple(opinions)


def read_places(output: tuple[NodeOutput, ...], tag: str, host: str) -> tuple[Place, ...]:
    """Where the application hangs, at most four places, the first ones of each node first. They are a node's last lines, before
    its opinion; where such a line stands elsewhere too, none of that node counts."""
    form = re.compile(rf"unstick {re.escape(tag)} at ([\w./<>$@-]+, [\w./<>$@-]+, line \d+(?:, .*)?)")
    places: list[tuple[int, Place]] = []
    for where, said in _split(output, host):
        lines = said[:-1] if said and _opinion_of(tag).fullmatch(said[-1]) else said
        found = [Place(where, match[1][:REASON]) for text in lines if (match := form.fullmatch(text))]
        if all(map(form.fullmatch, lines[len(lines) - len(found) :])):
            places += enumerate(found)
    return tuple(place for _, place in sorted(places, key=itemgetter(0))[:PLACES])


def _opinion_of(tag: str) -> re.Pattern[str]:
    return re.compile(rf"unstick {re.escape(tag)} (healthy|stuck)(?: (.*))?")


def _split(output: tuple[NodeOutput, ...], host: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of each node, under its host where the run was limited to one, otherwise under its name."""
    for node in output:
        lines = [text.strip() for text in node.text.split("\n") if text.strip()]
        yield host if host and len(output) == 1 else node.node, lines


def join_nodes(output: Iterable[NodeOutput]) -> str:
    """The whole output. Of several nodes, each is under its name."""
    written = [log for log in output if log.text]
    return "\n".join(f"{log.node}:\n{log.text}" if len(written) > 1 else log.text for log in written)
