"""`unstick check` of commands: whether each could run now. It runs none of them."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from functions.adapters.checks import compare_hosts, finding_of_error, name_evidence
from functions.adapters.runners.command import runs
from functions.adapters.sqlite import open_file
from functions.application.ports import Finding
from functions.domain.decisions.matching import HOLDER_HOST, template_options
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION, EvidenceJob, Restart
from functions.runtime.errors import Denied, Unavailable

if TYPE_CHECKING:
    from functions.adapters.runners.command import Command, Job

PROGRAM = "the command's program can be run"
OPTIONS = "the options fill the command in"
START = "commands can be started"
EXAMPLE = "x"  # in place of what comes with the alert


def check(
    settings: Command, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, timeout_s: float
) -> list[Finding]:
    """Check the commands of a runbook, and that commands can be started at all."""
    lines = [*_check_restart(settings, restart, consumers), _check_start(settings, timeout_s)]
    if evidence:
        options = {name: value.replace(HOLDER_HOST, "") for name, value in evidence.options.items()}  # not always known
        lines += name_evidence(_check_job(settings, evidence.job, options, INCIDENT_OPTION), lines)
    return lines


def _check_restart(settings: Command, restart: Restart, consumers: frozenset[str]) -> Iterator[Finding]:
    yield from _check_job(settings, restart.job, restart.options, INCIDENT_OPTION, NOT_AFTER_OPTION)
    if (job := settings.jobs.get(restart.job)) and restart.holder:
        what, name = "the command can be limited to the host that hangs", restart.holder.option
        remedy = f"use ${{option.{name}}} in the command, and give it a default that stands for all hosts"
        yield Finding(what, name in _options_of(job) and name in job.defaults, name, remedy)
        remedy = "List each host there as RabbitMQ sees it, or leave `holder` out (docs/command.md)."
        yield compare_hosts(restart.holder, consumers, None, "`restart.holder.allow` lists", remedy)
    if "INVOCATION_ID" in os.environ and not settings.systemd:  # set by systemd for what it runs
        what, remedy = "a command outlives a restart of Unstick", "set command.systemd: true (docs/command.md)"
        yield Finding(what, None, "systemd ends it with Unstick's own unit", remedy)


def _check_job(settings: Command, name: str, options: Mapping[str, str], *own: str) -> Iterator[Finding]:
    """Check a command and its options: the runbook's, some of which have values with `$`, and Unstick's `own`."""
    try:
        job = settings.job_named(name)
        remedy = "install it, or write its whole path; let Unstick's user run it"
        yield Finding(PROGRAM, shutil.which(job.run[0]) is not None, job.run[0], remedy)
        examples = {name: EXAMPLE if "$" in value else value for name, value in options.items()}
        runs.fill(job, {**examples, **dict.fromkeys(own, EXAMPLE)})
    except Denied as error:
        yield finding_of_error(OPTIONS if name in settings.jobs else PROGRAM, error)
        return
    yield Finding(OPTIONS, True)


def _options_of(job: Job) -> set[str]:
    return {name for argument in job.run for name in template_options(argument)}


def _check_start(settings: Command, timeout_s: float) -> Finding:
    """Start `true` the way a command is started, under a number that no run ever has."""
    ends, folder, run = time.monotonic() + timeout_s, runs.folder_of(settings.path), 10**12 + secrets.randbelow(10**9)
    try:
        with open_file(runs.SYSTEM, settings.path, timeout_s=timeout_s) as file:
            file.execute("BEGIN IMMEDIATE")
        runs.create_order(folder, run, ["true"], None, timeout_s)
        runs.launch(folder, run, systemd=settings.systemd, timeout_s=timeout_s)
        while not (state := runs.read_state(folder, run, may_void=False)).status and time.monotonic() < ends:
            time.sleep(0.05)
        said = runs.read_output(folder, run)
    except OSError as error:
        return Finding(START, False, str(error), f"let Unstick's user write {folder} and run systemctl")
    except (Denied, Unavailable) as error:
        return finding_of_error(START, error, "check what else uses the file, and `systemctl status`")
    finally:
        runs.remove_files(folder, run)
    detail = "" if state.status == "succeeded" else said.strip() or state.status or "nothing began"
    remedy = f"if systemd starts them: unstick-run@.service has to name {folder}, and this configuration"
    return Finding(START, not detail, detail, remedy)
