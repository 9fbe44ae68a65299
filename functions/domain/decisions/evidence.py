"""Collects evidence once an incident, before its first restart. It never starts, holds or counts as a restart (I10).
The restart waits for the end of the evidence run, but never longer than `within`. Whatever happens to the run, the incident goes
on: at worst without evidence, and with the reason. After the wait the queues are read again.

The second opinion is what the job says of the application on each host that holds messages (docs/evidence.md). Silence changes
nothing. The place where the application hangs comes from the same job: it is shown and counted, and is never an opinion."""

import re
from collections.abc import Iterable, Iterator
from operator import itemgetter

from msgspec.structs import replace

from functions.domain.decisions.matching import list_hosts, name_host
from functions.domain.decisions.messages import is_repeat
from functions.domain.decisions.turn import Turn
from functions.domain.health.looks import Judgement
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import Collect, Decision, EvidenceStarted, Keep, Kind
from functions.domain.model.incidents import Evidence, EvidenceRun, Incident, Opinion, Place
from functions.domain.model.observations import EVIDENCE, EvidenceReading, NodeOutput, Observation, Unknown
from functions.domain.texts.words import choose_lines, worded
from functions.runtime.text import Phrase, Text, join, named

REASON = 200  # characters of an opinion's reason, or of a place
HOSTS = 4  # that are looked at, each by a run of its own
OPINIONS_KEPT = 20
PLACES = 4  # of an incident
LOOK_S = 3.0  # how often Unstick checks whether the run has ended


def evidence_to_read(incident: Incident | None) -> Evidence | None:
    """What is known of the runs that the incident waits for; None if it waits for none."""
    return incident.evidence if incident is not None and incident.phase is Phase.COLLECTING else None


def needs_evidence(turn: Turn, decision: Decision) -> bool:
    """Whether to collect evidence first: once, before the first restart, and only if nothing else holds the restart."""
    incident, evidence = turn.incident, turn.incident.evidence
    if turn.runbook.evidence is None or incident.restarts or not evidence or evidence.asked_at is not None or evidence.missing:
        return False
    if decision.reason is Reason.OBSERVE_ONLY:  # nobody would read it
        return not is_repeat(turn, incident.triggers, Reason.OBSERVE_ONLY, incident)
    return decision.kind in (Kind.RESTART, Kind.ASK) or (decision.reason is Reason.LIKELY_STUCK and decision.tell)


def order_evidence(turn: Turn, judged: tuple[Judgement, ...]) -> None:
    """Record that evidence is collected, and order its job: a run for each host that holds messages, if it takes a host."""
    job, evidence = turn.runbook.evidence, turn.incident.evidence
    if job is None or evidence is None:
        raise TypeError("needs_evidence comes first")
    until = turn.at + job.within_s
    # First those with a proof, since a working consumer also holds some.
    proved = [channel.host for judgement in judged for channel in judgement.held_by]
    hosts = (*proved, *(holder.host for state in turn.incident.queues for holder in state.holders))
    wanted = list_hosts(job, hosts)[:HOSTS] or [""]
    runs = tuple(EvidenceRun(make_tag(turn.incident.id, turn.seen.nonce, place), host) for place, host in enumerate(wanted))
    due = min(turn.at + LOOK_S, until)
    evidence = replace(evidence, asked_at=turn.at, until=until, runs=runs)
    turn.change(phase=Phase.COLLECTING, evidence=evidence, due=due, reason=None, detail="")
    turn.change_approval(nonce="", expires_at=None)
    turn.acts += [Collect(run.tag, job.job, name_host(job, evidence.options, run.host), job.within_s) for run in runs]
    turn.answer(Action.DEFERRED, None)


def make_tag(incident: str, nonce: str, place: int) -> str:
    """The tag of a run, which an opinion has to name. Nobody can guess it: who publishes messages may write into its output."""
    return f"{incident}.{EVIDENCE}-{nonce}{place}"


def on_evidence_started(turn: Turn, event: EvidenceStarted) -> None:
    """Note the run. If it did not start, the incident goes on; without an answer it may run, and has its time."""
    incident = turn.document.incident
    if incident is None or incident.phase is not Phase.COLLECTING or incident.evidence is None:
        return
    runs = tuple(
        replace(run, execution=event.execution, missing=event.refusal) if run.tag == event.tag else run
        for run in incident.evidence.runs
    )
    is_over = all(run.missing for run in runs)
    turn.change(evidence=replace(incident.evidence, runs=runs), due=turn.at if is_over else incident.due)


def is_awaited(run: EvidenceRun, evidence: Evidence, reading: EvidenceReading, now: float) -> bool:
    """Whether to keep waiting for the run: its output has not been read, and there is time left."""
    return not run.missing and reading.output is None and now < evidence.until


def check_evidence(turn: Turn) -> None:
    """Note what was collected, or why nothing was, and archive the output. Until then check again soon, at the latest when the
    time is up."""
    readings, evidence = turn.seen.evidence or (), turn.incident.evidence or Evidence()
    if any(reading.awaited for reading in readings):
        due = max(turn.at, min(turn.at + LOOK_S, evidence.until))
        pairs = zip(evidence.runs, readings, strict=True)
        runs = tuple(replace(run, execution=reading.execution or run.execution) for run, reading in pairs)
        return turn.change(evidence=replace(evidence, runs=runs), due=due)
    evidence = with_readings(evidence, readings, turn.at)
    hosts = {holder.host for state in turn.incident.queues for holder in state.holders}
    held = tuple(place for place in evidence.places if place.host in hosts)  # nodes may have other names than connections
    turn.change(evidence=replace(evidence, places=held or evidence.places))
    job = turn.runbook.evidence
    if job is not None and job.opinion:
        pairs = zip(evidence.runs, readings, strict=False)
        _note_opinions(turn, [opinion for run, reading in pairs for opinion in read_opinions(run, reading)])
    if whole := join_nodes(output for reading in readings for output in reading.output or ()):
        turn.acts.append(Keep(turn.incident.id, whole))
    turn.enter(Phase.WAITING)


def _note_opinions(turn: Turn, given: list[Opinion]) -> None:
    """Keep each opinion with the channels that it is about: those of its host which held messages. One of a host that holds
    nothing counts for nothing; a runner without hosts has one, about all."""
    held = [channel for state in turn.incident.queues for channel in state.held_by]
    about = [replace(each, who=tuple(one for one in held if each.host in ("", one.host))) for each in given]
    kept = (*turn.document.opinions, *(opinion for opinion in about if opinion.who))
    turn.document = replace(turn.document, opinions=kept[-OPINIONS_KEPT:])


def with_readings(evidence: Evidence, readings: tuple[EvidenceReading, ...], now: float) -> Evidence:
    """Add what was collected, or why nothing was."""
    lines = choose_lines(join_nodes(output for reading in readings for output in reading.output or ()))
    pairs = zip(evidence.runs, (*readings, *[EvidenceReading()] * len(evidence.runs)), strict=False)
    runs = tuple(
        replace(run, execution=reading.execution or run.execution, missing=_why_missing(run, evidence, reading, now))
        for run, reading in pairs
    )
    missing = evidence.missing or (join(run.missing for run in runs) if all(run.missing for run in runs) else "")
    by_run = (read_places(reading.output or (), run.tag, run.host) for run, reading in zip(runs, readings, strict=False))
    ranked = sorted((pair for places in by_run for pair in enumerate(places)), key=itemgetter(0))
    return replace(evidence, runs=runs, lines=lines, missing=missing, places=tuple(place for _, place in ranked)[:PLACES])


def _why_missing(run: EvidenceRun, evidence: Evidence, reading: EvidenceReading, now: float) -> Phrase:
    execution = reading.execution or run.execution
    if run.missing:
        return run.missing
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


def read_opinions(run: EvidenceRun, reading: EvidenceReading) -> list[Opinion]:
    """The opinion of each node: its only such line, and its last one. Whoever publishes messages, or writes into another system,
    can put a line into the output, but doesn't know the tag."""
    form = _opinion_of(run.tag)
    opinions = []
    for where, said in _split(() if run.missing else reading.output or (), run.host):
        matches = [match for text in said if (match := form.fullmatch(text))]
        if len(matches) == 1 and form.fullmatch(said[-1]):
            opinions.append(Opinion(where, matches[0][1] == "healthy", (matches[0][2] or "")[:REASON]))
    return opinions


def read_places(output: tuple[NodeOutput, ...], tag: str, host: str) -> tuple[Place, ...]:
    """Where the application hangs, at most four places, the first ones of each node first. They are a node's last lines, before
    its opinion; where such a line stands elsewhere too, none of that node counts."""
    form = re.compile(rf"unstick {re.escape(tag)} at ([\w./<>$@-]+, [\w./<>$@-]+, line \d+(?:, .*)?)")
    places: list[tuple[int, Place]] = []
    for where, said in _split(output, host):
        lines = said[:-1] if said and _opinion_of(tag).fullmatch(said[-1]) else said
        of_node = [Place(where, match[1][:REASON]) for text in lines if (match := form.fullmatch(text))]
        if all(map(form.fullmatch, lines[len(lines) - len(of_node) :])):
            places += enumerate(of_node)
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
