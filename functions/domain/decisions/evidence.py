"""Collects evidence once an incident, before its first restart. It never starts, holds or counts as a restart (I10).

The restart waits for the end of the evidence run, and never longer than `within`. Whatever happens to the run, the incident goes
on: at worst it goes on without evidence, and says why. After the wait everything is looked at anew.
"""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.decisions.context import StepContext, reply_for_incident
from functions.domain.decisions.guards import Decision, Kind
from functions.domain.decisions.matching import name_holder
from functions.domain.decisions.messages import was_told_recently
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import Act, Collect, EvidenceStarted, Keep, Step
from functions.domain.model.incidents import Document, Evidence, Incident
from functions.domain.model.observations import EVIDENCE, EvidenceReading, ExecutionHistory, Observation
from functions.domain.model.runbooks import Runbook
from functions.domain.texts.evidence_lines import choose_lines
from functions.domain.texts.words import worded
from functions.runtime.text import Phrase, Text, named

LOOK_S = 3.0
"""How often Unstick checks whether the run has ended."""


def tag_of(incident: Incident) -> str:
    """The tag by which the run is found again if the answer of its start is lost."""
    return f"{incident.id}.{EVIDENCE}"


def needs_evidence(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> bool:
    """Whether to collect evidence first: once, before the first restart, and for nothing that is held otherwise."""
    evidence = incident.evidence
    if runbook.evidence is None or evidence is None or evidence.asked_at is not None or evidence.missing or incident.restarts:
        return False
    if decision.reason is Reason.OBSERVE_ONLY:  # unless nobody would read it
        return not was_told_recently(document, incident.triggers, Reason.OBSERVE_ONLY, context.at)
    return decision.kind in (Kind.RESTART, Kind.ASK)


def order_evidence(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """Record that evidence is collected, and order the start of its job."""
    if runbook.evidence is None or incident.evidence is None:
        raise TypeError("needs_evidence comes first")
    job, until = runbook.evidence, context.at + runbook.evidence.within_s
    holders = (holder for watched in incident.queues for holder in watched.holders)
    evidence = name_holder(job, replace(incident.evidence, asked_at=context.at, until=until), holders)
    incident = replace(
        incident,
        phase=Phase.COLLECTING,
        evidence=evidence,
        due=min(context.at + LOOK_S, until),
        reason=None,
        detail="",
        nonce="",
        expires_at=None,
    )
    collect = Collect(tag_of(incident), job.job, evidence.options, job.within_s)
    reply = reply_for_incident(document, incident, runbook, Action.DEFERRED, None)
    return Step(replace(document, incident=incident), (collect,), reply)


def on_evidence_started(document: Document, event: EvidenceStarted, context: StepContext) -> Step:
    """Note the run; without one the incident goes on at once. Without an answer, the next check looks for the run."""
    incident = document.incident
    if incident is None or incident.phase is not Phase.COLLECTING or incident.evidence is None or event.tag != tag_of(incident):
        return Step(document)
    evidence, due = incident.evidence, incident.due
    if event.execution is not None:
        evidence = replace(evidence, execution=event.execution)
    elif event.refusal:
        evidence, due = replace(evidence, missing=event.refusal), context.at
    return Step(replace(document, incident=replace(incident, evidence=evidence, due=due)))


def is_awaited(evidence: Evidence, reading: EvidenceReading, now: float) -> bool:
    """Whether to wait on for the run: its output was not read yet, and there is time left."""
    return not evidence.missing and reading.output is None and now < evidence.until


def wait_for_evidence(document: Document, incident: Incident, reading: EvidenceReading, context: StepContext) -> Step:
    """Check again soon, at the latest when the time is up."""
    evidence = incident.evidence or Evidence()
    due = max(context.at, min(context.at + LOOK_S, evidence.until))
    evidence = replace(evidence, execution=reading.execution or evidence.execution)
    return Step(replace(document, incident=replace(incident, evidence=evidence, due=due)))


def note_evidence(incident: Incident, reading: EvidenceReading, now: float) -> tuple[Incident, tuple[Act, ...]]:
    """The incident with what was collected, or why nothing was; and the act that keeps the output."""
    evidence = incident.evidence or Evidence()
    evidence = replace(evidence, execution=reading.execution or evidence.execution, lines=choose_lines(reading.output or ""))
    evidence = replace(evidence, missing=evidence.missing or _why_missing(evidence, reading, now))
    return replace(incident, evidence=evidence), (Keep(incident.id, reading.output),) if reading.output else ()


def _why_missing(evidence: Evidence, reading: EvidenceReading, now: float) -> Phrase:
    execution = evidence.execution
    if reading.problem:
        return named(Text("its run can't be read"), reading.problem)
    if execution is None:
        return Text("the start of its job was not answered")
    waited_s = max(0.0, now - (evidence.asked_at or now))
    if not execution.ended:
        return Text("execution {id} had not ended after {seconds} s", id=execution.id, seconds=round(waited_s))
    if not execution.succeeded:
        return Text("execution {id} ended as {status}", id=execution.id, status=worded(execution.status))
    if reading.output is None:
        return Text("the output of execution {id} could not be read", id=execution.id)
    return "" if reading.output else Text("execution {id} wrote nothing", id=execution.id)


def without_evidence_runs(seen: Observation) -> Observation:
    """The observation without runs that collected evidence: no guard may take one for a restart."""
    ledger = seen.ledger
    if not isinstance(ledger, ExecutionHistory):
        return seen
    executions = tuple(execution for execution in ledger.executions if not execution.is_evidence)
    others = tuple(execution for execution in ledger.others if not execution.is_evidence)
    if (executions, others) == (ledger.executions, ledger.others):
        return seen
    return replace(seen, ledger=replace(ledger, executions=executions, others=others))
