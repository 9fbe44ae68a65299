"""Starts, reads and archives evidence. A restart waits for it at most its time-out: failures become data or a log line."""

from typing import Any

from msgspec.structs import replace

from functions.application.ports import Budget, Ports
from functions.domain.decisions.evidence import is_awaited, tag_of
from functions.domain.decisions.queries import evidence_to_read
from functions.domain.model.events import Collect, EvidenceStarted, Keep
from functions.domain.model.incidents import Incident
from functions.domain.model.observations import EvidenceReading
from functions.domain.texts.masking import mask
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.redaction import redact
from functions.runtime.text import Text

START_S = 5.0
KEEP_S = 2.0  # seconds to archive the output, in parallel with the save
READ_S = 3.0  # seconds for each check of the run. The last check may end this long after `within`


def evidence_path(incident: str) -> str:
    """The archive path of the output. It is beside the incident's record, which is written only when the incident ends."""
    return f"evidence/{incident}.txt"


def start_evidence(ports: Ports, collect: Collect, looked_from: float, pause: Any, budget: Budget) -> EvidenceStarted:
    """Start the evidence job once, unless the kill switch is on or can't be read."""
    if pause is not None:
        return EvidenceStarted(collect.tag, refusal=Text("the kill switch is on, or can't be read"))
    timeout_s = min(budget.at_most(START_S), collect.within_s - (ports.monotonic() - looked_from))
    if timeout_s <= 0:
        return EvidenceStarted(collect.tag, refusal=Text("too much time had passed since the last check"))
    try:
        run = ports.runner.start_evidence(collect.job, collect.options, tag=collect.tag, timeout_s=timeout_s)
    except Denied as denied:
        return EvidenceStarted(collect.tag, refusal=denied.detail)
    except Unavailable as unavailable:
        ports.log("WARNING", f"no response to the start of the evidence job: {unavailable}")
        return EvidenceStarted(collect.tag)
    return EvidenceStarted(collect.tag, run)


def read_evidence(ports: Ports, incident: Incident | None, budget: Budget) -> EvidenceReading | None:
    """Read the evidence run; None for an incident that collects none."""
    wanted = evidence_to_read(incident, ports.rules)
    if incident is None or wanted is None:
        return None
    job, evidence = wanted
    if evidence.missing:  # its id is in the answer to its start
        return EvidenceReading(evidence.execution)
    known = evidence.execution.id if evidence.execution else None
    try:
        run, output = ports.runner.read_evidence(
            job.job,
            tag=tag_of(incident),
            execution=known,
            partial=ports.now() >= evidence.until,  # nobody waits for the rest
            timeout_s=budget.at_most(READ_S),
        )
        masked = output and tuple(replace(one, text=mask(redact(one.text), ports.rules.mask)) for one in output)
        reading = EvidenceReading(run, masked)
    except (Denied, Unavailable) as error:
        reading = EvidenceReading(evidence.execution, problem=error.text)
    return replace(reading, awaited=is_awaited(evidence, reading, ports.now()))


def keep_evidence(ports: Ports, keep: Keep, timeout_s: float) -> None:
    """Archive the output. If that fails, the runner still has it."""
    try:
        ports.store.archive(evidence_path(keep.incident), keep.output.encode(), timeout_s=min(timeout_s, KEEP_S))
    except (Denied, Unavailable) as error:
        ports.log("WARNING", f"evidence not archived: {error}", incident=keep.incident)
