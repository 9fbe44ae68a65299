"""What the Rundeck stand-in answers: JSON of the recorded shapes, and YAML of a job's definition."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from testbed.doubles.rundeck.state import NOT_AFTER, Job, Line, Run, State

NEWEST = 59
OLDEST = 14
GUARD = f"""#!/bin/sh
not_after='@option.{NOT_AFTER}@'
[ -z "$not_after" ] || [ "$(date +%s)" -le "$not_after" ] || exit 3
"""


def moment(at: float) -> dict[str, Any]:
    return {"unixtime": int(at * 1000), "date": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def job_links(job: Job, base: str) -> dict[str, Any]:
    return {"href": f"{base}/api/{NEWEST}/job/{job.id}", "permalink": f"{base}/project/{job.project}/job/show/{job.id}"}


def execution(state: State, run: Run, base: str, *, as_of: float) -> dict[str, Any]:
    """The execution object, as things were at `as_of`."""
    ended = run.ended if run.ended is not None and run.ended <= as_of else None
    status = run.status(as_of) if ended is not None or run.ended is None else "running"
    body: dict[str, Any] = {
        "id": run.id,
        **_links(run, base),
        "status": status,
        "project": run.project,
        "executionType": "user-scheduled" if run.scheduled else "user",
        "user": run.user,
        "date-started": moment(run.started),
        "description": f"Plugin[exec-command, nodeStep: true] [... {_steps(state, run)} steps]",
        "argstring": _argstring(run.options),
        "serverUUID": "a48a0190-132d-444f-842b-c917e170ead2",
        "jobDeleted": False,
    }
    if status == "other":
        body["customStatus"] = run.custom
    if ended is not None:
        body["date-ended"] = moment(ended)
        nodes = "successfulNodes" if status == "succeeded" else "failedNodes"
        if not run.no_nodes and status not in ("other", "missed") and (run.carried_out or status != "aborted"):
            body[nodes] = list(run.nodes)
    if status == "aborted":
        body["abortedby"] = run.aborted_by
    if run.attempt:
        body["retryAttempt"] = run.attempt
    if run.retried is not None and ended is not None:
        again = state.runs[run.retried]
        body["retriedExecution"] = {"id": again.id, **_links(again, base), "status": again.status(as_of)}
    if run.job is not None:
        body["job"] = _job_of(state, run, base)
    return body


def _links(run: Run, base: str) -> dict[str, str]:
    return {
        "href": f"{base}/api/{NEWEST}/execution/{run.id}",
        "permalink": f"{base}/project/{run.project}/execution/show/{run.id}",
    }


def _steps(state: State, run: Run) -> int:
    return state.jobs[run.job].steps if run.job is not None else 1


def _job_of(state: State, run: Run, base: str) -> dict[str, Any]:
    job = state.jobs[str(run.job)]
    shown: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "group": job.group,
        "project": job.project,
        "description": job.description,
        **job_links(job, base),
    }
    if run.options:
        shown["options"] = dict(run.options)
    if (average := _average_ms(state, job)) is not None:
        shown["averageDuration"] = average
    return shown


def _average_ms(state: State, job: Job) -> int | None:
    """Of the newest, so that a long history costs no more than a short one."""
    newest = islice(reversed(state.runs.values()), 50)
    lasted = [run.ended - run.started for run in newest if run.job == job.id and run.ended is not None]
    return int(1000 * sum(lasted) / len(lasted)) if lasted else None


def _argstring(options: dict[str, str]) -> str | None:
    quoted = (
        (name, value if value and not set(value) & set(' "') else '"' + value.replace('"', '""') + '"')
        for name, value in options.items()
    )
    return " ".join(f"-{name} {value}" for name, value in quoted) or None


def info(state: State, job: Job, base: str, *, version: int) -> dict[str, Any]:
    at = "2026-11-24T23:15:02Z"
    written = {"created": at, "createdBy": "admin", "lastModified": at, "lastModifiedBy": "admin"}
    body: dict[str, Any] = {
        "id": job.id,
        **job_links(job, base),
        "scheduled": False,
        "scheduleEnabled": True,
        "enabled": job.enabled,
        **(written if version == NEWEST else {}),  # recorded with 59, and not with 41
        "name": job.name,
        "group": job.group,
        "project": job.project,
        "description": job.description,
    }
    if (average := _average_ms(state, job)) is not None:
        body["averageDuration"] = average
    return body


def node(name: str, tags: tuple[str, ...], hostname: str, attributes: dict[str, str]) -> dict[str, Any]:
    """A node of the project's resources. The server itself has a description."""
    executors = {"hostname": hostname, "osFamily": "unix", "node-executor": "local", "file-copier": "local"}
    described = {"description": "Rundeck server node"} if name == "localhost" else {}
    return {"nodename": name, **executors, **described, "tags": ", ".join(tags), **attributes}


def meta(state: State, job: Job, *, may: set[str]) -> list[dict[str, Any]]:
    rights = ("toggle_execution", "run", "update", "toggle_schedule", "create", "read", "delete", "view")
    ended = [run for run in state.runs.values() if run.job == job.id and run.ended is not None]
    stats: dict[str, Any] = {"executionCount": len(ended), "averageDuration": _average_ms(state, job) or 0}
    stats["successRate"] = sum(run.result == "succeeded" for run in ended) / max(1, len(ended))
    schedule = {
        "scheduleEnabled": True, "executionEnabled": job.enabled, "schedule": {}, "serverNodeUUID": None,
        "nextExecutionTime": None, "hasSchedule": False,
    }  # fmt: skip
    return [
        {"data": schedule, "name": "schedule"},
        {"data": {right: right in may for right in rights}, "name": "authz"},
        {"data": stats, "name": "stats"},
    ]


def project_meta(state: State, project: str, *, may: set[str]) -> list[dict[str, Any]]:
    admin = dict.fromkeys(("configure", "admin", "app_admin", "export", "scm_export", "import", "scm_import"), False)
    types = {"job": dict.fromkeys(("delete", "create"), "create" in may), "event": {"read": "events" in may}}
    return [
        {"data": {"project": admin, "types": types}, "name": "authz"},
        {"data": {"executionsEnabled": project not in state.disabled_projects, "scheduleEnabled": True}, "name": "config"},
        {"data": {"active": not state.passive}, "name": "sysMode"},
        {"data": {"readmeDisplay": ["none"], "readme": {}, "motdDisplay": ["none"]}, "name": "message"},
    ]


def definition(job: Job) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"script": GUARD}] if job.guard else []
    steps += [{"exec": "restart ${option.service}"}] * (job.steps - len(steps))
    if job.error_handler:
        steps[0] = steps[0] | {"errorhandler": {"exec": "true", "keepgoingOnSuccess": True}}
    body: dict[str, Any] = {
        "description": job.description, "executionEnabled": job.enabled, "group": job.group, "id": job.id, "loglevel": "INFO",
        "name": job.name, "nodeFilterEditable": True, "options": [_option(option) for option in job.options],
        "plugins": {"ExecutionLifecycle": None}, "scheduleEnabled": True,
        "sequence": {"commands": steps, "keepgoing": job.keepgoing, "strategy": job.strategy}, "user": "admin", "uuid": job.id,
    }  # fmt: skip
    if job.nodes:
        dispatch = {
            "excludePrecedence": True, "keepgoing": False, "rankOrder": "ascending", "successOnEmptyNodeFilter": False,
            "threadcount": "1",
        }  # fmt: skip
        body |= {"nodefilters": {"dispatch": dispatch, "filter": job.nodes}, "nodesSelectedByDefault": True}
    if job.timeout_s is not None:
        body["timeout"] = f"{job.timeout_s:.0f}s"
    if job.retries:
        body["retry"] = str(job.retries)
    if job.limit != 1:
        body["multipleExecutions"] = True
    return [body]


def _option(option: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"name": option.name}
    if option.values:
        body |= {"enforced": True, "values": list(option.values), "valuesListDelimiter": ","}
    for key, value in (
        ("required", option.required),
        ("regex", option.regex),
        ("value", option.default),
        ("secure", option.secure),
    ):
        if value:
            body[key] = value
    return body


def output(run: Run, *, last: int, now: float, version: int) -> dict[str, Any]:
    """The log of an execution. Numbers that are texts here are texts in Rundeck too."""
    entries = [_entry(line, run.user, version) for line in run.log]
    whole = sum(len(line.text) for line in run.log)
    return {
        "id": str(run.id),
        "offset": str(whole),
        "completed": run.ended is not None,
        "execCompleted": run.ended is not None,
        "hasFailedNodes": run.result != "succeeded" and run.ended is not None,
        "execState": run.status(now),
        "lastModified": str(int(now * 1000)),
        "execDuration": int(((run.ended or now) - run.started) * 1000),
        "percentLoaded": 99.5,
        "totalSize": whole,
        "retryBackoff": 0,
        "clusterExec": False,
        "serverNodeUUID": "a48a0190-132d-444f-842b-c917e170ead2",
        "compacted": False,
        "entries": entries[-last:],
    }


def pending_output(run: Run, now: float) -> dict[str, Any]:
    """Of a run that has only just begun."""
    waits = {"completed": False, "message": "Pending", "pending": "Waiting for output to start..."}
    state = {"execCompleted": False, "execState": run.status(now), "execDuration": int((now - run.started) * 1000)}
    server = {"retryBackoff": 0, "clusterExec": False, "serverNodeUUID": "a48a0190-132d-444f-842b-c917e170ead2"}
    return {"id": str(run.id), "offset": "0", **waits, **state, "hasFailedNodes": False, **server, "entries": []}


def _entry(line: Line, user: str, version: int) -> dict[str, Any]:
    when, step = datetime.fromtimestamp(line.at, UTC), line.step
    body: dict[str, Any] = {
        "time": when.strftime("%H:%M:%S"), "absolute_time": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "log": line.text,
        "level": line.level, **({"stepctx": step} if step else {"user": user}), "node": line.node,
    }  # fmt: skip
    if version >= 43:
        body["metadata"] = {"node": line.node, **({"stepctx": step, "step": step} if step else {"user": user})}
    return body


def system(base: str, state: State, *, full: bool) -> dict[str, Any]:
    parts = ("executions", "extended", "healthcheck", "jvm", "metrics", "os", "ping", "stats", "threadDump", "timestamp")
    body: dict[str, Any] = dict.fromkeys(parts)
    body["rundeck"] = {
        "apiversion": str(NEWEST), "base": "/var/lib/rundeck", "build": None, "buildGit": None, "node": "localhost",
        "serverUUID": state.server, "version": "stand-in",
    }  # fmt: skip
    if full:
        since = {"datetime": moment(state.up_since)["date"], "epoch": int(state.up_since * 1000), "unit": "ms"}
        body["stats"] = {
            "cpu": {"loadAverage": {"average": 0, "unit": "percent"}, "processors": 2},
            "memory": {"free": 576020480, "max": 3221225472, "total": 1090519040, "unit": "byte"},
            "scheduler": {"running": 0, "threadPoolSize": 10},
            "threads": {"active": 40},
            "uptime": {"duration": int((state.now() - state.up_since) * 1000), "since": since, "unit": "ms"},
        }
        body["executions"] = {"active": str(not state.passive).lower(), "executionMode": "passive" if state.passive else "active"}
        body["timestamp"] = {"datetime": moment(state.now())["date"], "epoch": int(state.now() * 1000), "unit": "ms"}
        body["ping"] = {"contentType": "text/plain", "href": f"{base}/api/{NEWEST}/metrics/ping"}
    return {"system": body}
