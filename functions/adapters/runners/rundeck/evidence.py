"""Starts evidence jobs, finds their runs, and reads their output. Never used for restarts."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from functions.adapters.runners.rundeck import answers
from functions.adapters.runners.rundeck.client import ask_all
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import EvidenceRun
from functions.domain.model.observations import Execution, NodeOutput
from functions.domain.model.runbooks import INCIDENT_OPTION

OUTPUT_LINES = 3000
RECENT = 20  # number of runs in which the tag is searched. If a job runs more often in `within`, the run isn't found


def start_evidence(settings: Settings, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
    """Start the job once. Rundeck keeps options that the job doesn't declare, so the tag is always sent."""
    to = answers.connect(settings, timeout_s)
    sent = {**answers.without_empty(options), INCIDENT_OPTION: tag}
    return answers.execution_of(answers.start(to, job, sent), settings)


def read_evidence(
    settings: Settings, job: str, *, tag: str, execution: str | None, partial: bool, timeout_s: float
) -> EvidenceRun:
    """The run, and its output once it has ended. Without `execution`, the run is found by its tag."""
    to = answers.connect(settings, timeout_s)
    row = answers.read_execution(to, execution) if execution is not None else None
    run = answers.execution_of(row, settings) if row is not None else _find(to, job, tag)
    return run, _read_output(to, run.id) if run is not None and (run.ended or partial) else None


def _find(to: answers.Connection, job: str, tag: str) -> Execution | None:
    """On most databases running executions come last in the list of all, so both lists are read."""
    path = f"job/{quote(job, safe='')}/executions"
    calls = [partial(answers.ask, to, "GET", f"{path}?{which}max={RECENT}") for which in ("status=running&", "")]
    for result in ask_all(calls, to):
        rows: Any = result.object().get("executions")
        for row in rows if isinstance(rows, list) else ():
            run = answers.execution_of(answers.mapping(row), to.settings)
            if run.tag == tag:
                return run
    return None


def _read_output(to: answers.Connection, execution: str) -> tuple[NodeOutput, ...] | None:
    """The last lines of the job's output by node, unchanged; None while Rundeck doesn't have all of them yet."""
    body = answers.ask(to, "GET", f"execution/{execution}/output?lastlines={OUTPUT_LINES}").object()
    entries = body.get("entries")
    if body.get("pending") or not isinstance(entries, list):
        return None
    # what only Rundeck wrote is left out if nothing remains of it; a Java trace may be evidence if the job wrote it
    written = [entry for entry in entries if isinstance(entry, dict) and (_is_of_job(entry) or _line(entry))]
    lines: dict[str, list[str]] = {}
    for entry in written:
        lines.setdefault(str(entry.get("node") or ""), []).append(_line(entry))
    return tuple(NodeOutput(node, "\n".join(texts)) for node, texts in lines.items())


def _line(entry: dict[str, Any]) -> str:
    line = str(entry.get("log") or "")
    return line if _is_of_job(entry) else answers.without_noise(line)


def _is_of_job(entry: dict[str, Any]) -> bool:
    """Whether a step wrote it. Rundeck's own messages about a run have a level but no step."""
    return "stepctx" in entry or "level" not in entry
