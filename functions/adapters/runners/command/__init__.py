"""The runner `command`: programs on this machine, without Rundeck.

A start has three steps: its row is committed, its order written, its supervisor started. After a crash between them, the journal
tells the next look whether it runs, has ended, is lost, or never began and never will."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, field

from functions.adapters.runners.command import runs
from functions.adapters.runners.command.runs import SYSTEM, Run, State
from functions.application.ports import EvidenceRun, Finding, Runner
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION, EvidenceJob, Restart
from functions.domain.texts.patterns import mask
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.secrets import redact
from functions.runtime.structs import duration, key, written
from functions.runtime.text import Text

LONGEST_S = 86400.0
TAIL_LINES, LINE = 20, 300  # how many lines of output, and characters of each, as of Rundeck's
POLL_S = 0.02


class Job(Struct, frozen=True, rename=key):
    """A program with its arguments and limits, which a runbook names as others name a job."""

    run: Annotated[tuple[Annotated[str, written("argument")], ...], Meta(min_length=1)]
    """The program and its arguments. `${option.NAME}` is an option of the runbook."""
    timeout_s: Annotated[float, duration(1, LONGEST_S)] = 300.0
    """Then it gets SIGTERM, five seconds later SIGKILL."""
    defaults: Mapping[str, Annotated[str, written("optional-text")]] = field(default_factory=dict)
    """Values of options that may be missing, such as that of `restart.holder`; an empty one too."""


class Command(Struct, frozen=True):
    """Commands on this machine (`command:` in unstick.yaml). Not on Google Cloud."""

    name: ClassVar[str] = "command runner"
    needs_machine: ClassVar[bool] = True
    url: ClassVar[str] = "command://localhost"
    """The same on every machine: it is part of each target's key, and a container gets a new host name with each start."""
    token_expires_at: ClassVar[None] = None

    path: str
    """SQLite file with the history; may be the local store's. `PATH-runs` has the output."""
    jobs: Annotated[Mapping[str, Job], Meta(min_length=1)]
    """Commands by the name that `restart.job` gives."""
    systemd: bool = False
    """Whether each command runs in a unit of its own (unstick-run@.service). Needed if systemd runs Unstick."""

    def job_named(self, name: str) -> Job:
        """The command of this name. Raises Denied if there is none."""
        if name in self.jobs:
            return self.jobs[name]
        remedy = Text("Add it to command.jobs, or name one of: {names}.", names=", ".join(self.jobs))
        raise Denied(SYSTEM, Text("there is no command {job}", job=name), code=DeniedCode.JOB, remedy=remedy)

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        where = "(target = ? AND (ended_at IS NULL OR ended_at > ?)) OR id = ?"
        rows = runs.find(self.path, where, (target.key, time.time() - since_s, follow), timeout_s=timeout_s)
        now = time.time()  # after the rows: none has ended later
        executions = tuple(map(_to_execution, rows))
        followed = next((run for run in executions if run.id == follow), None)
        lines = self._read_tail(followed.id) if followed and followed.ended and tail else None
        return ExecutionHistory(now, executions, followed=followed, tail=lines, read_at=now)

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """Start the command once. Its supervisor refuses right before the command if it is too late by then."""
        return self._start(
            target, {INCIDENT_OPTION: tag, NOT_AFTER_OPTION: str(int(runner_not_after))}, runner_not_after, timeout_s
        )

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        """Start a command that collects evidence. Any number may run at a time."""
        return self._start(Target("", self.url, job, options), {INCIDENT_OPTION: tag}, None, timeout_s)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        """Ask a run to end, and return its state, which may still be running: SIGKILL follows some seconds later."""
        runs.ask_to_end(runs.folder_of(self.path), int(execution), "unstick")
        return self._wait(int(execution), lambda state: state.ended_at is not None, time.monotonic() + timeout_s)

    def read_evidence(self, execution: str, *, partial: bool, timeout_s: float) -> EvidenceRun:
        for run in runs.find(self.path, "id = ?", (execution,), timeout_s=timeout_s):
            output = (NodeOutput("", runs.read_output(runs.folder_of(self.path), run.id)),)
            return _to_execution(run), output if partial or run.state.ended_at else None
        return None, None

    def start_page(self, target: Target) -> str:  # noqa: ARG002 - there is none
        return ""

    def check(
        self, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, auto: bool, timeout_s: float
    ) -> list[Finding]:
        del auto  # in no mode a command restarts anything late
        from functions.adapters.runners.command import checks  # no start and no alert needs it

        return checks.check(self, restart, evidence, consumers, timeout_s=timeout_s)

    def _start(self, target: Target, own: Mapping[str, str], not_after: float | None, timeout_s: float) -> Execution:
        ends, job = time.monotonic() + timeout_s, self.job_named(target.job)
        argv, folder = runs.fill(job, {**target.options, **own}), runs.folder_of(self.path)
        run = runs.claim(self.path, target, tag=own[INCIDENT_OPTION], not_after=not_after, timeout_s=timeout_s)
        try:
            runs.create_order(folder, run, argv, not_after, job.timeout_s)
            runs.launch(folder, run, systemd=self.systemd, timeout_s=ends - time.monotonic())
        except OSError as error:  # nothing runs, and once it is void, nothing will
            raise Denied(SYSTEM, str(error), remedy=Text("Run `unstick check`, which says what is missing.")) from None
        return self._wait(run, lambda state: state.began_at is not None, ends)

    def _wait(self, run: int, is_enough: Callable[[State], bool], ends: float) -> Execution:
        """Wait until the run's state is enough, or the time is up. One that has not begun by then may still begin."""
        folder = runs.folder_of(self.path)
        while (left_s := ends - time.monotonic()) > 0 and not is_enough(runs.read_state(folder, run, may_void=False)):
            time.sleep(POLL_S)
        for row in runs.find(self.path, "id = ?", (run,), timeout_s=max(left_s, POLL_S)):
            return _to_execution(row)
        raise Unavailable(SYSTEM, Text("the command has not begun yet"), late=True)

    def _read_tail(self, run: str) -> tuple[str, ...]:
        """The last lines, masked."""
        output = mask(redact(runs.read_output(runs.folder_of(self.path), int(run))))
        lines = [line[:LINE] for line in output.split("\n") if line.strip()]
        return tuple(lines[-TAIL_LINES:])


def _to_execution(run: Run) -> Execution:
    state = run.state
    return Execution(
        id=str(run.id),
        url="",
        status=f"failed: exit {state.exit}" if state.status == "failed" else state.status or "running",
        # The supervisor reads the clock for the refusal after it has noted the begin.
        runner_started_at=state.ended_at if state.status == "refused_late" else state.began_at,
        runner_ended_at=state.ended_at,
        tag=run.tag,
        runner_not_after=run.not_after,
        user="unstick",
        aborted_by=state.stopped_by,
        abandoned=state.status == runs.LOST,
        host=run.host,
        over=state.exit is not None,
    )


ADAPTER: type[Runner] = Command
