"""What `check` finds out about Rundeck. Nothing is changed there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from functions.adapters.runners.rundeck import answers
from functions.application.ports import Finding
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_parallel

if TYPE_CHECKING:
    from functions.adapters.runners.rundeck.client import Settings

MAX_SKEW_S = 30.0
META_VERSION = 46
"""/job/ID/meta came with it, and it is the only way to see the run permission without running."""
MODE_VERSION = 36
"""Below it a passive server answers the question for its mode with 503."""


def findings(settings: Settings, job: str, options: tuple[str, ...], *, auto: bool, timeout_s: float) -> list[Finding]:
    """All that can be seen with the function's own token; `options` are the names that the runbook sends."""
    to = answers.connect(settings, timeout_s)
    try:
        known = answers.ask(to, "GET", "system/info")
        server = answers.mapping(answers.mapping(answers.mapping(known.json()).get("system")).get("rundeck"))
    except (Denied, Unavailable) as error:
        return [_bad("Rundeck answers and takes the token", error)]
    version, newest = answers.plain(str(server.get("version"))), answers.plain(str(server.get("apiversion")))
    seen = f"Rundeck {version}, API {settings.api_version} of {newest}"
    found = [Finding("Rundeck answers and takes the token", ok=True, detail=seen)]
    found.append(_clock(lambda: answers.runner_now(known) - known.at))
    at = f"job/{quote(job, safe='')}"
    questions: list[tuple[str, Callable[[], Any], Callable[[Any], list[Finding]]]] = [
        ("Rundeck's job exists and is enabled", partial(_json, to, f"{at}/info"), _enabled),
        ("the token may run the job", partial(_json, to, f"{at}/meta", META_VERSION), _may_run),
        ("the job's history can be read", partial(_json, to, f"{at}/executions?max=1"), _history),
        ("Rundeck's mode is active", partial(_json, to, "system/executions/status", MODE_VERSION), _mode),
        ("the job's definition can be read", partial(_definition, to, at), partial(_defined, settings, options, auto=auto)),
    ]
    outcomes = run_parallel([ask for _, ask, _ in questions], timeout_s=to.left_s)
    for (what, _, judge), outcome in zip(questions, outcomes, strict=True):
        try:
            found += [_bad(what, outcome)] if isinstance(outcome, Exception) else judge(outcome)
        except Unavailable as error:
            found.append(_bad(what, error))
    return found


def _json(to: answers.Connection, path: str, at_least: int = 0) -> Any:
    return answers.ask(to, "GET", path, api_version=max(to.settings.api_version, at_least)).json()


OPTIONAL = {"the token may run the job": ("acl", "api_version", "wrong_url"), "Rundeck's mode is active": ("acl", "api_version")}
"""Questions that some tokens and older servers can't answer: not known is no mistake there."""


NODE_FIRST = "node-first"
BY_NODE = Finding(
    "the job refuses a late start on all nodes before it restarts one",
    ok=None,
    detail="its steps run node by node: with several nodes the last may find its time over",
    remedy="set the workflow's strategy to sequential",
)


def _bad(what: str, error: Exception) -> Finding:
    if isinstance(error, Denied):
        optional = error.code in OPTIONAL.get(what, ())
        return Finding(what, ok=None if optional else False, detail=error.detail, remedy="" if optional else error.remedy)
    if isinstance(error, Unavailable):
        return Finding(what, ok=False, detail=error.detail, remedy="check rundeck.url and the network in between")
    raise error


def _clock(ahead_s: Callable[[], float]) -> Finding:
    what = f"Rundeck's clock is within {MAX_SKEW_S:.0f} s of ours"
    try:
        ahead = ahead_s()
    except Unavailable as error:
        return Finding(what, ok=False, detail=error.detail, remedy="have the proxy in front of Rundeck pass on the Date header")
    well = abs(ahead) <= MAX_SKEW_S
    return Finding(what, ok=well, detail=f"{ahead:+.0f} s", remedy="" if well else "keep both clocks by NTP")


def _enabled(body: Any) -> list[Finding]:
    info = answers.mapping(body)
    name = answers.plain(f"{info.get('group') or ''}/{info.get('name')} in {info.get('project')}".lstrip("/"))
    enabled = info.get("enabled") is True
    remedy = "" if enabled else "enable the job's execution"
    return [Finding("Rundeck's job exists and is enabled", ok=enabled, detail=name, remedy=remedy)]


def _may_run(body: Any) -> list[Finding]:
    metas = body if isinstance(body, list) else []
    authz = next((meta.get("data") for meta in metas if isinstance(meta, dict) and meta.get("name") == "authz"), None)
    allowed = authz.get("run") if isinstance(authz, dict) else None
    remedy = "allow `run` on the job (infra/rundeck/unstick.aclpolicy)" if allowed is False else ""
    return [Finding("the token may run the job", ok=allowed if isinstance(allowed, bool) else None, remedy=remedy)]


def _history(body: Any) -> list[Finding]:
    paging, rows = answers.mapping(answers.mapping(body).get("paging")), answers.mapping(body).get("executions")
    hidden = not rows and bool(paging.get("total"))
    remedy = "allow `read` on the resource kind event in the project" if hidden else ""
    return [Finding("the job's history can be read", ok=not hidden, detail=f"{paging.get('total')} executions", remedy=remedy)]


def _mode(body: Any) -> list[Finding]:
    active = answers.mapping(body).get("executionMode") == "active"
    return [Finding("Rundeck's mode is active", ok=active, remedy="" if active else "set Rundeck's execution mode to active")]


def _definition(to: answers.Connection, at: str) -> Mapping[str, Any]:
    """YAML, which every version gives; JSON needs 44."""
    import yaml

    answer = answers.ask(to, "GET", at, accept=answers.YAML)
    try:
        jobs = yaml.safe_load(answer.body)
    except (yaml.YAMLError, UnicodeDecodeError):
        jobs = None
    return answers.mapping(jobs[0] if isinstance(jobs, list) and jobs else None)


def _defined(settings: Settings, options: tuple[str, ...], job: Mapping[str, Any], *, auto: bool) -> list[Finding]:
    listed = job.get("options") or []
    declared = {str(option.get("name")): option for option in listed if isinstance(option, dict)}
    sent = (*options, settings.incident_option, settings.not_after_option)
    wrong = [f"{name} is not declared" for name in sent if name not in declared]
    wrong += [f"{name} is secure, so the history does not show it" for name in sent if declared.get(name, {}).get("secure")]
    wrong += [f"{name} has a default" for name, option in declared.items() if option.get("value") and name not in sent]
    wrong += [f"{name} is required" for name, option in declared.items() if option.get("required") and name not in sent]
    several = bool(job.get("multipleExecutions"))
    by_node = isinstance(job.get("nodefilters"), dict) and _strategy(job) == NODE_FIRST
    guarded = has_guard(job, settings.not_after_option)
    return [
        Finding(
            "the job declares the options that are sent",
            ok=not wrong,
            detail=answers.plain("; ".join(wrong)),
            remedy="declare plain options, and name in restart.options each that has a default or is required" if wrong else "",
        ),
        Finding("the job runs once at a time", ok=not several, remedy="set multipleExecutions to false" if several else ""),
        Finding(
            "the job refuses a late start",
            ok=True if guarded else False if auto else None,
            detail="" if guarded else f"no first step that compares {settings.not_after_option} with the time",
            remedy="" if guarded else "put the first step of infra/rundeck/job.yaml before the restart; mode auto needs it",
        ),
        *([BY_NODE] if by_node else ()),
    ]


def _strategy(job: Mapping[str, Any]) -> str:
    sequence = job.get("sequence")
    return str(sequence.get("strategy", NODE_FIRST)) if isinstance(sequence, dict) else NODE_FIRST


def has_guard(job: Mapping[str, Any], not_after_option: str) -> bool:
    """Whether the first step is a script that compares the option with the time and can fail, and a failure ends the run."""
    sequence = job.get("sequence")
    steps = sequence.get("commands") if isinstance(sequence, dict) else None
    first = steps[0] if isinstance(steps, list) and steps and isinstance(steps[0], dict) else {}
    script = first.get("script")
    if not isinstance(script, str) or not isinstance(sequence, dict) or sequence.get("keepgoing") or "errorhandler" in first:
        return False
    if _strategy(job) not in (NODE_FIRST, "sequential"):
        return False
    code = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))
    named = f"@option.{not_after_option}@" in code or f"RD_OPTION_{not_after_option.upper()}" in code
    return named and "date +%s" in code and re.search(r"\bexit [1-9]", code) is not None
