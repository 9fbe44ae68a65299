"""Reads a job's history in Rundeck, starts the job once, aborts executions, and collects evidence.

Rundeck has no idempotency key, and its limit of one execution doesn't stop simultaneous requests. So a start is never sent
twice: a lost answer is Unavailable, and the history shows later what happened."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers
from functions.application.ports import EvidenceRun, Mismatch
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION
from functions.domain.texts.patterns import mask
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.parallel import Calls, name_late, run_parallel
from functions.runtime.secrets import redact
from functions.runtime.text import Text

if TYPE_CHECKING:
    from functions.adapters.runners.rundeck import Rundeck

MOST_ROWS = 250
LONG_RUN_S = 3600.0
"""Up to 5.x a list is ordered by start: one that started this long before the window may still have ended inside it."""
MAX_RETRIES = 20
TAIL_LINES = 20
OUTPUT_LINES = 3000  # of an evidence job, and of a run that failed
LINES_READ = 60  # a Java trace may follow the job's last output
FAILED = "Failed: "
_CODE = r"(Result code( was)?:?|exit status) (\d\d?|1[01]\d|12[0-7])\b"
_UNREACHED = r"HostNotFound|AuthenticationFailure|onnection refused|onnect timed out|No route to host|socket is not established"
COMMAND_ENDED = re.compile(f"{FAILED}.*({_CODE}|{_UNREACHED})")
"""What executors write of a command that has ended or never began (JSch, sshj, local and script steps; 6.1 and its sources). A
cut connection is -1, 255 or no code; from 128 on it may be the end of the executor's own process."""
NO_NODES = "No matched nodes"


class _Listed(Struct, frozen=True):
    """Rows of one list. `whole`: it has no more of them."""

    rows: tuple[Mapping[str, Any], ...]
    runner_now: float
    read_at: float
    whole: bool


def look(
    settings: Rundeck, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float
) -> ExecutionHistory:
    """The target's history over the last `since_s` seconds, from the job's own lists: they answer 403 where others hide rows.
    One round of parallel requests; a second one only if there are older runs, and one for `tail`; after a run that failed, one
    for its log. `followed` stays None for an execution that Rundeck no longer has."""
    to = answers.connect(settings, timeout_s)
    calls = [partial(_list, to, target.job, status, since_s=since_s) for status in ("running", "scheduled", "")]
    followers = [partial(_follow, to, follow, target.holder, tail=tail)] if follow is not None else []
    results = ask_all([*calls, *followers], to)
    lists, ((followed, lines),) = results[: len(calls)], results[len(calls) :] or ((None, None),)
    if not lists[-1].whole:
        # On most databases running executions come last, so one that ended between the two answers would be in neither list.
        lists += ask_all([calls[0], calls[-1]], to)
    rows = [row for listed in lists for row in listed.rows]
    ours, others = _split_by_target(rows, settings, target)
    newest = max(lists, key=lambda listed: (listed.runner_now, -listed.read_at))
    project = next((str(row["project"]) for row in rows if row.get("project")), "")
    page = start_page(settings, target, project) if project else ""
    return _note_over(to, ExecutionHistory(newest.runner_now, ours, others, followed, lines, newest.read_at, page), rows)


def start_page(settings: Rundeck, target: Target, project: str = "") -> str:
    """The job's page, with the target's options filled in if the project is known. Rundeck accepts them as `opt.NAME` since 2.7
    (docs.rundeck.com, "Linking to Jobs and providing option values"). Without the project it redirects to the page with the
    project, and drops them (ScheduledExecutionController.show, up to 6.x)."""
    url, job = settings.url.rstrip("/"), quote(target.job, safe="")
    if not project:
        return f"{url}/job/show/{job}"
    options = urlencode({f"opt.{name}": value for name, value in sorted(target.options.items()) if value}, quote_via=quote)
    page = f"{url}/project/{quote(project, safe='')}/job/show/{job}"
    return f"{page}?{options}" if options else page


def ask_all(calls: Calls, to: answers.Connection) -> list[Any]:
    """The results of the calls. Raises a clear refusal rather than a missing answer, since a refusal has a remedy."""
    results = [name_late(outcome, answers.SYSTEM) for outcome in run_parallel(calls, timeout_s=to.left_s)]
    for kind in (Denied, Exception):
        for outcome in results:
            if isinstance(outcome, kind):
                raise outcome
    return results


def _list(to: answers.Connection, job: str, status: str, *, since_s: float = 0.0) -> _Listed:
    """Executions of the job with this status, or all of them as far back as `since_s`."""
    wanted = f"status={status}&" if status else ""
    answer = answers.ask(to, "GET", f"job/{quote(job, safe='')}/executions?{wanted}max={MOST_ROWS}")
    body, now = answer.json(), answers.runner_now(answer)
    rows, total = answers.mappings(answers.mapping(body).get("executions")), answers.part(body, "paging").get("total")
    if not isinstance(total, int):
        raise Unavailable(answers.SYSTEM, Text("sent something other than a list of executions"))
    if len(rows) < min(MOST_ROWS, total):
        hidden = Text("hides executions: {shown} of {total} shown", shown=len(rows), total=total)
        raise Denied(answers.SYSTEM, hidden, remedy=answers.EVENT_RIGHT, status=answers.HTTP_OK)
    oldest = answers.seconds(rows[-1].get("date-ended")) if rows else None
    if len(rows) < total and (status or oldest is None or oldest >= now - since_s - LONG_RUN_S):
        why = Text("has over {count} executions of this job, too many to search; give each target a job of its own")
        raise Unavailable(answers.SYSTEM, why.fill(count=MOST_ROWS))
    return _Listed(tuple(rows), now, answer.at, whole=len(rows) >= total)


def _split_by_target(
    rows: list[Mapping[str, Any]], settings: Rundeck, target: Target
) -> tuple[tuple[Execution, ...], tuple[Execution, ...]]:
    """(the target's executions, unfinished ones of others), newest start first, each once, as ended if any list says so."""
    own = {INCIDENT_OPTION, NOT_AFTER_OPTION, target.holder}
    wanted = answers.without_empty(target.options)
    ours: dict[str, Execution] = {}
    others: dict[str, Execution] = {}
    for row in sorted(rows, key=lambda row: "date-ended" in row):
        execution = answers.execution_of(row, settings, target.holder)
        same = {name: value for name, value in answers.options_of(row).items() if name not in own} == wanted
        (ours if same else others)[execution.id] = execution
    newest_first = partial(sorted, key=lambda run: (run.runner_started_at or 0.0, int(run.id)), reverse=True)
    unfinished = (execution for execution in others.values() if not execution.ended)
    return tuple(newest_first(ours.values())), tuple(newest_first(unfinished))


def _follow(
    to: answers.Connection, execution: str, holder: str, *, tail: bool
) -> tuple[Execution | None, tuple[str, ...] | None]:
    """The execution at the end of the chain of retries, and its last log lines if it has ended."""
    for _ in range(MAX_RETRIES):
        try:
            row = answers.read_execution(to, execution)
        except Denied as denied:
            if denied.code is DeniedCode.JOB:
                return None, None
            raise
        retried = answers.part(row, "retriedExecution").get("id")
        if retried is None:
            last = answers.execution_of(row, to.settings, holder)
            return last, _read_tail(to, last.id) if tail and last.ended else None
        execution = str(retried)
    return None, None


def _read_tail(to: answers.Connection, execution: str) -> tuple[str, ...] | None:
    """The last log lines, with secrets masked; None if they can't be read, which must not fail the whole reading."""
    to = replace(to, ends=time.monotonic() + to.left_s / 2)
    try:
        answer = answers.ask(to, "GET", f"execution/{execution}/output?lastlines={LINES_READ}")
        rows = answers.mappings(answer.object().get("entries"))
    except (Denied, Unavailable):
        return None
    output = mask(redact("\n".join(str(row.get("log") or "").replace("\n", " ") for row in rows)))
    lines = [answers.without_noise(line) for line in output.split("\n")]
    return tuple(line for line, _ in groupby(filter(None, lines)))[-TAIL_LINES:]


def _note_over(to: answers.Connection, history: ExecutionHistory, rows: list[Mapping[str, Any]]) -> ExecutionHistory:
    """The history, with whether the command of the newest run that failed is over. Each look reads one log at most."""
    since, failed = history.runner_now - LONG_RUN_S, (run for run in history.executions if run.may_still_run)
    run = next((run for run in failed if (run.runner_ended_at or 0.0) >= since), None)
    row = next((row for row in rows if run and str(row.get("id")) == run.id and "date-ended" in row), {})
    if run is None or not _is_over(replace(to, ends=time.monotonic() + to.left_s / 2), row, run):
        return history
    over = replace(run, over=True)
    executions = tuple(over if each.id == run.id else each for each in history.executions)
    followed = over if history.followed and history.followed.id == run.id else history.followed
    return replace(history, executions=executions, followed=followed)


def _is_over(to: answers.Connection, row: Mapping[str, Any], run: Execution) -> bool:
    """Whether the log of each node says so, or the node has a terminal, or there was no node. What can't be read says nothing.
    A node that has succeeded so far when its run is aborted or times out counts as succeeded (recorded)."""
    lists = (row.get(key) for key in ("failedNodes", "successfulNodes"))
    failed, succeeded = (nodes if isinstance(nodes, list) else [] for nodes in lists)
    has_failed = row.get("status") == "failed"
    try:
        wrote = {output.node: output.text.splitlines() for output in _read_output(to, run.id) or ()}
        if not (failed or succeeded):  # Rundeck doesn't know on which nodes it ran, unless it ran on none
            return has_failed and any(NO_NODES in line for lines in wrote.values() for line in lines)
        left = [node for node in (failed if has_failed else failed + succeeded) if not _has_ended(wrote.get(node, []), run.tag)]
        nodes = answers.read_nodes(to, str(row.get("project")), f"name: {','.join(left)}") if left else {}
    except (Denied, Unavailable):
        return False
    return all(answers.has_terminal(nodes.get(node, {})) for node in left)


def _has_ended(lines: list[str], tag: str) -> bool:
    """Whether the restart ended on the node that wrote these lines: the shipped jobs say so, or each step that failed does."""
    failed = [line for line in lines if line.startswith(FAILED)]
    ended = re.compile(rf"unstick {re.escape(tag) or '.*'} ended \d+")
    return any(map(ended.fullmatch, lines)) or (bool(failed) and all(map(COMMAND_ENDED.match, failed)))


def run(settings: Rundeck, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
    """Start the job once. Rundeck silently drops or replaces option values, so its echo must equal what was sent. An option
    that a secure one hides, or a default that the runbook doesn't name, is a mismatch too: the history could never be matched."""
    own = {INCIDENT_OPTION: tag, NOT_AFTER_OPTION: str(int(runner_not_after))}
    sent = answers.without_empty({**target.options, **own})
    row = answers.start(answers.connect(settings, timeout_s), target.job, sent)
    execution, echo = answers.execution_of(row, settings, target.holder), answers.options_of(row)
    if target.holder not in sent:
        echo.pop(target.holder, None)  # the default, with which the job restarts all hosts
    if echo != sent:
        names = answers.plain(", ".join(sorted(name for name in {*echo, *sent} if echo.get(name) != sent.get(name))))
        remedy = Text(
            "Some options have other values: {names}. Declare them as plain options and list each in restart.options.",
            names=names,
        )
        raise Mismatch(answers.SYSTEM, execution, remedy=remedy)
    return execution


def abort(settings: Rundeck, execution: str, *, timeout_s: float) -> Execution:
    """Abort an execution, and return it as it is then: it runs until its step ends. Raises Denied if it can't be aborted."""
    to, path = answers.connect(settings, timeout_s), f"execution/{quote(execution, safe='')}"
    try:
        done = answers.mapping(answers.ask(to, "POST", f"{path}/abort").object().get("abort"))
        reason = Text("could not abort: {reason}", reason=answers.quoted(str(done.get("reason"))))
        problem = Denied(answers.SYSTEM, reason, status=answers.HTTP_OK)
        failed = problem if done.get("status") == "failed" else None
    except Denied as denied:
        failed = denied
    aborted = answers.execution_of(answers.ask(to, "GET", path).object(), settings)
    if failed is not None and not aborted.ended:
        raise failed
    return aborted


def start_evidence(settings: Rundeck, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
    """Start the job once. Rundeck keeps options that the job doesn't declare, so the tag is always sent."""
    sent = {**answers.without_empty(options), INCIDENT_OPTION: tag}
    return answers.execution_of(answers.start(answers.connect(settings, timeout_s), job, sent), settings)


def read_evidence(settings: Rundeck, execution: str, *, partial: bool, timeout_s: float) -> EvidenceRun:
    """The run, and its output once it has ended."""
    to = answers.connect(settings, timeout_s)
    run = answers.execution_of(answers.read_execution(to, execution), settings)
    return run, _read_output(to, run.id) if run.ended or partial else None


def _read_output(to: answers.Connection, execution: str) -> tuple[NodeOutput, ...] | None:
    """The last lines of the job's output by node, unchanged; None while Rundeck doesn't have all of them yet."""
    body = answers.ask(to, "GET", f"execution/{execution}/output?lastlines={OUTPUT_LINES}").object()
    if body.get("pending"):
        return None
    lines: dict[str, list[str]] = {}
    for entry in answers.mappings(body.get("entries")):
        # Rundeck's own messages have a level but no step. A Java trace may be evidence if the job wrote it.
        is_of_job, line = "stepctx" in entry or "level" not in entry, str(entry.get("log") or "")
        line = line if is_of_job else answers.without_noise(line)
        if is_of_job or line:
            lines.setdefault(str(entry.get("node") or ""), []).append(line)
    return tuple(NodeOutput(node, "\n".join(texts)) for node, texts in lines.items())
