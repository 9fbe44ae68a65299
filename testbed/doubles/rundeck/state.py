"""What the Rundeck stand-in knows: jobs, executions, and the rules by which a run is taken or refused."""

import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from testbed.patience import PATIENCE_S

SERVER = "a48a0190-132d-444f-842b-c917e170ead2"
NOT_AFTER = "unstick_not_after"
INCIDENT = "unstick_incident"


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    required: bool = False
    values: tuple[str, ...] = ()
    """Enforced where there are any."""
    regex: str = ""
    default: str = ""
    secure: bool = False


OWN = (Option(INCIDENT, regex="^[A-Za-z0-9._-]{0,80}$"), Option(NOT_AFTER, regex="^[0-9]{0,12}$"))


@dataclass(slots=True)
class Job:
    """A job. `action` is what really happens: it gets the options, and a text that it returns is logged; False or an exception
    makes the run fail."""

    id: str = "11111111-1111-4111-8111-111111111111"
    name: str = "restart-service"
    group: str = "ops"
    project: str = "demo"
    description: str = "Restart a service"
    options: tuple[Option, ...] = (Option("service", required=True), *OWN)
    enabled: bool = True
    limit: int = 1
    """How many may run at once; 0: any number."""
    duration_s: float = 0.0
    """math.inf: for ever."""
    action: Callable[[Mapping[str, str]], object] | None = None
    results: list[str] = field(default_factory=list)
    """How the next runs end; after them, all succeed."""
    retries: int = 0
    timeout_s: float | None = 600.0
    strategy: str = "node-first"
    keepgoing: bool = False
    error_handler: bool = False
    """On the first step."""
    nodes: str = ""
    """The filter of the nodes that it runs on; empty for the server itself."""
    guard: bool = True
    """The first step refuses a start after `unstick_not_after`."""
    abort_s: float = 0.0
    """How long a step goes on after an abort."""
    steps: int = 2
    begins: str = "restarting"
    """Its first line, before the options; none where empty."""


class Line(NamedTuple):
    """An entry of a log, of one step on one node. Rundeck's own have no step, and the server's name."""

    at: float
    level: str
    text: str
    node: str = "localhost"
    step: str = ""


@dataclass(slots=True)
class Run:
    """An execution. Times are Unix seconds on the stand-in's clock."""

    id: int
    job: str | None
    project: str
    options: dict[str, str]
    user: str
    started: float
    ends_at: float = math.inf
    ended: float | None = None
    result: str = "succeeded"
    custom: str = ""
    aborted_by: str = ""
    scheduled: bool = False
    zombie: bool = False
    attempt: int = 0
    retried: int | None = None
    carried_out: bool = False
    no_nodes: bool = False
    """Its filter matched none."""
    nodes: tuple[str, ...] = ("localhost",)
    command_ends: float = -math.inf
    """When its command does, on the nodes: without a terminal neither an abort nor a lost connection ends it."""
    log: list[Line] = field(default_factory=list)

    def status(self, now: float) -> str:
        if self.aborted_by and self.ended is not None:
            return "aborted"
        if self.ended is None:
            return "scheduled" if self.started > now else "running"
        return self.result


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    secret: str
    user: str
    roles: tuple[str, ...]
    ends: float
    creator: str = "admin"


class Refused(Exception):
    """An error answer of the kind that carries `args` where there are any."""

    def __init__(self, status: int, code: str, message: str, *args: object) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.arguments = status, code, message, args


class State:
    """Jobs and executions, safe for threads. Knobs are plain attributes; set them at any time."""

    def __init__(self, jobs: tuple[Job, ...], clock: Callable[[], float]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.runs: dict[int, Run] = {}
        self.tokens: dict[str, Token] = {}
        self.next_id = 1
        self.passive = False
        self.disabled_projects: set[str] = set()
        self.deleted_projects: set[str] = set()
        """Those that are disabled or being deleted: nothing of them can be run, and little read."""
        self.nodes: dict[str, tuple[str, ...]] = {"localhost": (), "mail-1": ("consumers",)}
        """Name -> tags, in every project."""
        self.hostnames: dict[str, str] = {}
        """Name -> the attribute `hostname`; as its name where there is none."""
        self.attributes: dict[str, dict[str, str]] = {}
        """Name -> attributes in place of those of a node that is the server itself: `node-executor`, `always-set-pty`."""
        self.beside: list[tuple[int, int]] = []
        """(execution, earlier one) where the command of the earlier one of the same restart still ran."""
        self.hidden_nodes: set[str] = set()
        """Those that the token's role may neither read nor run on."""
        self.server = SERVER
        """The UUID of the server that answers; all runs are of SERVER."""
        self.up_since = clock() - 86400.0
        self.hides_rows = False
        self.lag_s = 0.0
        self.output_after_s = 0.1
        """Until so long after its start, the output of a run that has not ended is pending."""
        self.commit: Callable[[], object] = lambda: None
        """Called between the look at the limit and the row that counts."""
        self.clock_ahead_s = 0.0
        self.node_ahead_s = 0.0
        self.lock = threading.RLock()
        self._workers: list[threading.Thread] = []
        self._clock = clock

    def now(self) -> float:
        return self._clock() + self.clock_ahead_s

    @property
    def carried_out(self) -> list[Run]:
        """The runs that did restart something, oldest first: refused late starts are not among them."""
        with self.lock:
            self.settle()
            return [run for run in self.runs.values() if run.carried_out]

    def finish_work(self) -> None:
        """Wait until the actions of all runs are done; a run with a duration goes on."""
        for worker in self._workers:
            worker.join(PATIENCE_S)

    def plant(self, job: str | None, options: Mapping[str, str] | None = None, **more: Any) -> Run:
        """An execution as if it had been there before. Without `ended` it runs on for ever (as after a crash: `zombie=True`)."""
        with self.lock:
            number = more.pop("id", self.next_id)
            project = self.jobs[job].project if job is not None else more.pop("project", "demo")
            run = Run(
                number, job, project, dict(options or {}), more.pop("user", "admin"), more.pop("started", self.now()), **more
            )
            self.runs[number] = run
            self.next_id = max(self.next_id, number + 1)
            return run

    def finish(self, number: int, result: str = "succeeded") -> None:
        with self.lock:
            self.runs[number].ended, self.runs[number].result = self.now(), result

    def unfinished(self, job: str | None) -> list[Run]:
        return [run for run in self.runs.values() if run.ended is None and (job is None or run.job == job)]

    def cut(self, number: int) -> None:
        """Lose the connections to the nodes of a run: it fails, as JSch says it."""
        with self.lock:
            run = self.runs[number]
            run.log += [
                Line(self.now(), "ERROR", "Failed: NonZeroResultCode: Result code was -1", node, "2") for node in run.nodes
            ]
            self._end(run, "failed")

    def restart_server(self) -> None:
        """Restart Rundeck's server, with `clusterMode.enabled` and its UUID as before, as in the official image."""
        with self.lock:
            self.settle()
            for run in self.unfinished(None):
                self._end(run, "other", "incomplete")

    def _end(self, run: Run, result: str, custom: str = "") -> None:
        """End a run before its command. With a terminal the command ends with its connection."""
        run.ended, run.result, run.custom, run.zombie = self.now(), result, custom, False
        if all(self.has_terminal(node) for node in run.nodes):
            run.command_ends = min(run.command_ends, run.ended)

    def has_terminal(self, name: str) -> bool:
        attributes = self.attributes.get(name, {})
        return attributes.get("always-set-pty") == "true" and attributes.get("node-executor", "").endswith("-ssh")

    def refuse_disabled(self, project: str) -> None:
        if project in self.deleted_projects:
            said = f"Project {project} is disabled or being deleted"
            raise Refused(404, "api.error.project.disabled", said, project)

    def start(self, job_id: str, given: Mapping[str, Any], user: str, run_at: float | str | None = None) -> Run:
        """Take a run or refuse it, in the recorded order. The limit is looked at before the row is there."""
        with self.lock:
            job = self._startable(job_id, run_at)
            options = _accepted(job, given)
            if self.passive:
                said = "Could not schedule job: Execution mode is PASSIVE"
                raise Refused(400, "api.error.execution.failed", f"Execution failed: {said}", said)
            self._refuse_time(run_at)
        self.commit()
        with self.lock:
            started = float(run_at) if run_at is not None else self.now()
            run = self.plant(job_id, options, user=user, started=started, scheduled=run_at is not None)
            if run_at is None:
                self._begin(job, run)
            return run

    def _startable(self, job_id: str, run_at: float | str | None) -> Job:
        job = self.jobs[job_id]
        self.refuse_disabled(job.project)
        if job.project in self.disabled_projects and run_at is None:
            raise Refused(400, "api.error.job.disabled", "Project execution is disabled")
        if not job.enabled:
            raise Refused(400, "api.error.job.disabled", "Job execution is disabled")
        if self.passive and run_at is not None:
            raise Refused(400, "api.error.job.disabled", "Executions are disabled.")
        self.settle()
        if job.limit and len(self.unfinished(job_id)) >= job.limit:
            said = f'Job "{job.name}" {{{{Job {job.id}}}}}: Limit of running executions has been reached.'
            raise Refused(409, "api.error.execution.conflict", f"Execution had a conflict: {said}", said)
        return job

    def _refuse_time(self, run_at: float | str | None) -> None:
        said = ""
        if isinstance(run_at, str):
            said = "Invalid date/time format, only ISO 8601 is supported"
        elif run_at is not None and run_at < self.now():
            said = "A job cannot be scheduled for a time in the past"
        if said:
            raise Refused(400, "api.error.execution.failed", f"Execution failed: {said}", said)

    def matched(self, node_filter: str) -> list[str]:
        """The nodes of a filter, of which this knows `tags: TAG`, `name: PATTERN,...` and `hostname: PATTERN`, which all must
        match; without one it is the server."""
        terms = re.findall(r"(tags|name|hostname):\s*(\S+)", node_filter or "name: localhost")
        return [
            name
            for name, tags in self.nodes.items()
            if all(
                value in tags
                if kind == "tags"
                else re.fullmatch(value.replace(",", "|"), name if kind == "name" else self.hostnames.get(name, name)) is not None
                for kind, value in terms
            )
        ]

    def _begin(self, job: Job, run: Run) -> None:
        nodes = _filled_in(job.nodes, run.options)
        run.nodes = tuple(name for name in self.matched(nodes) if name not in self.hidden_nodes)
        if not run.nodes:
            said = f"No matched nodes: NodeSet{{includes={{{nodes.replace(': ', '=')}, dominant=false, }}}}"
            kind = "com.dtolabs.rundeck.core.NodesetEmptyException"
            at = "\tat com.dtolabs.rundeck.core.execution.workflow.BaseWorkflowExecutor.executeWorkflow(BaseWorkflow.java:220)"
            run.result, run.ends_at, run.no_nodes = "failed", run.started, True
            lines = (f"{kind}: {said}", at, f"Exception: class {kind}: {said}", said)
            run.log += [Line(run.started, "ERROR", line) for line in lines]
            return
        not_after = run.options.get(NOT_AFTER, "")
        node_now = int(self.now() + self.node_ahead_s)
        if job.guard and not_after.isdigit() and node_now > int(not_after):
            run.result, run.ends_at = "failed", run.started
            run.log += _refused_late(run, node_now - int(not_after))
            return
        run.carried_out = True
        self.beside += [(run.id, other.id) for other in self.runs.values() if self._is_at_work_beside(other, run)]
        run.result = job.results.pop(0) if job.results else "succeeded"
        if job.begins:
            begins = " ".join([job.begins, *run.options.values()])
            run.log += [Line(run.started, "NORMAL", begins, node, "2") for node in run.nodes]
        if job.action is None:
            self._lasts(job, run)
        else:
            run.command_ends = math.inf
            worker = threading.Thread(target=self._work, args=(job, run, job.action), daemon=True, name=f"run-{run.id}")
            worker.start()
            self._workers = [*(one for one in self._workers if one.is_alive()), worker]

    def _is_at_work_beside(self, other: Run, run: Run) -> bool:
        """Whether the command of another run of the same restart still runs."""
        own = {INCIDENT, NOT_AFTER}
        same = {name: value for name, value in other.options.items() if name not in own}.items() == {
            name: value for name, value in run.options.items() if name not in own
        }.items()
        return same and other.id != run.id and other.job == run.job and other.command_ends > self.now()

    def _lasts(self, job: Job, run: Run) -> None:
        run.ends_at = run.command_ends = run.started + job.duration_s
        if job.timeout_s is not None and job.duration_s > job.timeout_s:
            run.ends_at, run.result = run.started + job.timeout_s, "timedout"

    def _work(self, job: Job, run: Run, action: Callable[[Mapping[str, str]], object]) -> None:
        said = ""
        try:
            result = action(dict(run.options))
            well, said = result is not False, result if isinstance(result, str) else ""
        except Exception as error:  # noqa: BLE001 - a step that fails makes a failed execution, whatever it was
            well, said = False, f"Failed: {error}"
        with self.lock:
            self._lasts(job, run)
            run.ends_at = run.command_ends = max(run.ends_at, self.now())
            if not well:
                run.result = "failed"
            for line in said.splitlines() or ["done"] * well:
                run.log += [Line(self.now(), "NORMAL", line, node, "2") for node in run.nodes]

    def settle(self) -> None:
        """Bring executions to where they are by now; call it with the lock."""
        now = self.now()
        for run in list(self.runs.values()):
            if run.ended is None and run.ends_at <= now and not run.zombie:
                run.ended = max(run.ends_at, run.started)
                if run.result == "failed" and run.carried_out:
                    said = "Failed: NonZeroResultCode: Result code was 1"
                    run.log += [Line(run.ended, "ERROR", said, node, "2") for node in run.nodes]
                self._retry(run)
            if run.scheduled and run.started <= now:
                run.scheduled = False
                self._begin(self.jobs[str(run.job)], run)

    def _retry(self, run: Run) -> None:
        job = self.jobs.get(run.job or "")
        if job is None or run.result not in ("failed", "timedout") or run.attempt >= job.retries or run.aborted_by:
            return
        again = self.plant(job.id, run.options, user=run.user, started=run.ended, attempt=run.attempt + 1)
        run.result, run.retried = "failed-with-retry", again.id
        self._begin(job, again)

    def abort(self, number: int, user: str, *, force: bool) -> tuple[str, str, str]:
        """(abort status, reason, execution status): the abort is `pending` until the step ends."""
        run = self.runs[number]
        now = self.now()
        if force:
            self._end(run, "other", "incomplete")
            return "aborted", "Marked as incomplete", "aborted"
        if run.ended is not None:
            return "failed", "Job is not running", run.status(now)
        run.aborted_by = user
        if run.zombie or run.started > now:
            run.ended, run.zombie = now, False
            return "aborted", "", "aborted"
        run.ends_at = now + self.jobs[run.job].abort_s if run.job is not None else now
        if all(self.has_terminal(node) for node in run.nodes):
            run.command_ends = min(run.command_ends, run.ends_at)
        return "pending", "", "running"


def _filled_in(node_filter: str, options: Mapping[str, str]) -> str:
    """An option without a value stays literal."""
    for name, value in options.items():
        node_filter = node_filter.replace(f"${{option.{name}}}", value)
    return node_filter


def _refused_late(run: Run, late_s: int) -> list[Line]:
    """What the first step says, and what Rundeck says of it."""
    failed = "NonZeroResultCode: Result code was 3"
    at = "{ContextView(step:1, node:localhost)=BaseDataContext{{exec={exitCode=3}}}}"
    workflow = f"Execution failed: {run.id} in project {run.project}: [Workflow result"
    context = f"{{dataContext=MultiDataContextImpl(map={at}, base=null)}}"
    too_late = f"too late by {late_s} s: this restart was given up, nothing is restarted"
    wrote = (("NORMAL", too_late), ("ERROR", "Result: 3"), ("ERROR", f"Failed: {failed}"))
    skipped = "[wf:ca615c1e] Step [2] did not run. start conditions: [(after.step.1 == 'true')]"
    end = f"{workflow}: , step failures: {{1=Dispatch failed on 1 nodes: [localhost: {failed} + {context} ]}}]"
    lines = [Line(run.started, level, line, node, "1") for node in run.nodes for level, line in wrote]
    return [*lines, Line(run.started, "WARN", skipped), Line(run.started, "ERROR", end)]


def _accepted(job: Job, given: Mapping[str, Any]) -> dict[str, str]:
    """The options that the run gets: values that are no strings are dropped, unknown names are kept, defaults are filled in."""
    problems, taken = [], {}
    declared = {option.name: option for option in job.options}
    for option in job.options:
        value = given.get(option.name)
        if isinstance(value, list):
            problems.append(f"Option {option.name} value: [{', '.join(map(str, value))}] does not allow multiple values.")
            continue
        if not isinstance(value, str):
            value = option.default or None
        if option.required and not value:
            problems.append(f"Option '{option.name}' is required.")
        elif value and option.values and value not in option.values:
            problems.append(f"Option {option.name} value: {value} was not in the allowed values: [{', '.join(option.values)}]")
        elif value and option.regex and not re.fullmatch(option.regex, value):
            problems.append(f"Option {option.name} value: {value} doesn't match regular expression: {option.regex}")
        if value is not None and not option.secure:
            taken[option.name] = value
    if problems:
        said = "\n".join(problems)
        raise Refused(400, "api.error.job.options-invalid", f"Job options were not valid: {said}", said)
    return taken | {name: value for name, value in given.items() if name not in declared and isinstance(value, str)}
