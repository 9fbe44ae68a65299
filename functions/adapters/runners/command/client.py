"""Starts commands, finds them again, and ends them.

A start has three steps: its row is committed, its order written, its supervisor started. After a crash between them, the journal
tells the next look whether it runs, has ended, is lost, or never began and never will."""

import time
from collections.abc import Callable, Mapping

from functions.adapters.runners.command import checks, history, journal
from functions.adapters.runners.command.arguments import fill
from functions.adapters.runners.command.history import Run
from functions.adapters.runners.command.journal import State
from functions.adapters.runners.command.launch import launch
from functions.adapters.runners.command.settings import SYSTEM, Settings
from functions.application.ports import EvidenceRun, Finding
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION, EvidenceJob, Restart
from functions.domain.texts.masking import mask
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.redaction import redact
from functions.runtime.text import Text

TAIL_LINES, LINE = 20, 300  # how many lines of output, and characters of each, as of Rundeck's
POLL_S = 0.02


class Command(Settings, frozen=True):
    """Commands on this machine (`command:` in unstick.yaml). Not on Google Cloud."""

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        now, followed, lines = time.time(), None, None
        where = "(target = ? AND (ended_at IS NULL OR ended_at > ?)) OR id = ?"
        runs = history.find(self.path, where, (target.key, now - since_s, follow), timeout_s=timeout_s)
        for run in runs:
            if str(run.id) == follow:
                followed, lines = _to_execution(run), self._read_tail(run) if tail and run.state.ended_at else None
        return ExecutionHistory(now, tuple(map(_to_execution, runs)), followed=followed, tail=lines, read_at=now)

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """Start the command once. Its supervisor refuses right before the command if it is too late by then."""
        own = {INCIDENT_OPTION: tag, NOT_AFTER_OPTION: str(int(runner_not_after))}
        return self._start(target.key, target.job, {**target.options, **own}, not_after=runner_not_after, timeout_s=timeout_s)

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        """Start a command that collects evidence. Any number may run at a time."""
        return self._start("", job, {**options, INCIDENT_OPTION: tag}, not_after=None, timeout_s=timeout_s)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        """Ask a run to end, and return its state, which may still be running: SIGKILL follows some seconds later."""
        journal.abort(journal.folder_of(self.path), int(execution), "unstick")
        return self._wait(int(execution), lambda state: state.ended_at is not None, time.monotonic() + timeout_s)

    def read_evidence(self, job: str, *, tag: str, execution: str | None, partial: bool, timeout_s: float) -> EvidenceRun:
        where, values = ("id = ?", (execution,)) if execution else ("job = ? AND tag = ?", (job, tag))
        for run in history.find(self.path, where, values, timeout_s=timeout_s):
            output = (NodeOutput("", journal.read_output(journal.folder_of(self.path), run.id)),)
            return _to_execution(run), output if partial or run.state.ended_at else None
        return None, None

    def start_page(self, target: Target) -> str:  # noqa: ARG002 - there is none
        return ""

    def check(
        self, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, auto: bool, timeout_s: float
    ) -> list[Finding]:
        del auto  # in no mode a command restarts anything late
        return checks.check(self, restart, evidence, consumers, timeout_s=timeout_s)

    def _start(
        self, target: str, name: str, options: Mapping[str, str], *, not_after: float | None, timeout_s: float
    ) -> Execution:
        ends, job = time.monotonic() + timeout_s, self.job_named(name)
        argv, tag, folder = fill(job, options), options[INCIDENT_OPTION], journal.folder_of(self.path)
        run = history.claim(self.path, target, name, tag=tag, not_after=not_after, timeout_s=timeout_s)
        try:
            journal.create(folder, run, argv, not_after, job.timeout_s)
            launch(folder, run, systemd=self.systemd, timeout_s=ends - time.monotonic())
        except OSError as error:
            remedy = Text("Run `unstick check`, which says what is missing.")
            self._withdraw(run, Denied(SYSTEM, str(error), remedy=remedy))
        except Denied as denied:
            self._withdraw(run, denied)
        return self._wait(run, lambda state: state.began_at is not None, ends)

    def _withdraw(self, run: int, refusal: Denied) -> None:
        """Raise the refusal if it is certain that nothing runs."""
        if history.withdraw(self.path, run, timeout_s=1.0):
            raise refusal

    def _wait(self, run: int, is_enough: Callable[[State], bool], ends: float) -> Execution:
        """Wait until the run's state is enough, or the time is up. One that has not begun by then may still begin."""
        folder = journal.folder_of(self.path)
        while (left_s := ends - time.monotonic()) > 0 and not is_enough(journal.read(folder, run, may_void=False)):
            time.sleep(POLL_S)
        for row in history.find(self.path, "id = ?", (run,), timeout_s=max(left_s, POLL_S)):
            return _to_execution(row)
        raise Unavailable(SYSTEM, Text("the command has not begun yet"), late=True)

    def _read_tail(self, run: Run) -> tuple[str, ...]:
        """The last lines, masked."""
        output = mask(redact(journal.read_output(journal.folder_of(self.path), run.id)))
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
        abandoned=state.status == journal.LOST,
    )
