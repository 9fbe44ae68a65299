"""`check` for Rundeck: token, permissions, project and the job's definition. Changes nothing."""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import Finding
from functions.domain.model.runbooks import Restart
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.parallel import run_parallel
from functions.runtime.text import Phrase, Text

MAX_SKEW_S = 30.0
FAR_DAYS = 3650
META_VERSION = 46
"""The first API version that has /job/ID/meta and /project/NAME/meta; only they show permissions without running anything."""
ANSWERS = "Rundeck answers and takes the token"
EXPIRY = "Rundeck's token does not expire within a week"
JOB = "Rundeck's job exists and is enabled"
MAY_RUN = "the token may run the job"
HISTORY = "the job's history can be read"
PROJECT = "the project runs jobs"
MODE = "Rundeck's mode is active"
DEFINITION = "the job's definition can be read"
NODES = "the job's node filter matches nodes"
OPTIONS = "the job declares the options that are sent"
HOLDER = "the job can be limited to the host that hangs"
VALUES = "the job allows the values that are sent"
ONCE = "the job runs once at a time"
GUARD = "the job refuses a late start"
TIMEOUT = "Rundeck ends a run before Unstick reports it as hung"
EVIDENCE_TIMEOUT = "Rundeck ends a run that hangs"
RETRY = "only Unstick tries a restart again"
ABORTS = "whether it may abort a run with wrong options (`kill`), Rundeck shows nowhere"

OPTIONAL: Mapping[str, tuple[DeniedCode, ...]] = {
    MAY_RUN: (DeniedCode.ACL, DeniedCode.API_VERSION, DeniedCode.WRONG_URL),
    PROJECT: (DeniedCode.ACL, DeniedCode.API_VERSION, DeniedCode.WRONG_URL),
    NODES: (DeniedCode.ACL,),
}
"""Refusals of what some tokens and older servers can't answer: unknown, not wrong."""

NODE_RIGHT = (
    "to see whether the filter matches, allow `read` on the resource kind node in the project (infra/rundeck/unstick.aclpolicy)"
)
OTHER_PROJECT = (
    "load infra/rundeck/unstick.aclpolicy for the job's project, group and name; where another project has this UUID already, "
    "import the job with one of its own and write it into restart.job"
)
HOLDER_REMEDY = "declare it as a plain option with a default that stands for all hosts, such as .* (infra/rundeck/job.yaml)"
LOG_LINES = 100
GUARD_LINE = re.compile(r"^too late by \d+ s: ")  # of infra/rundeck/job.yaml
UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def check(settings: Settings, restart: Restart, *, auto: bool, timeout_s: float) -> list[Finding]:
    """Everything that Unstick's own token can find out."""
    to = answers.connect(settings, timeout_s)
    try:
        answer = answers.ask(to, "GET", "system/info")
        server = answers.mapping(answers.mapping(answer.object().get("system")).get("rundeck"))
    except (Denied, Unavailable) as error:
        return [_failed(ANSWERS, error)]
    version, newest = answers.plain(str(server.get("version"))), answers.plain(str(server.get("apiversion")))
    detail = f"Rundeck {version}, API {settings.api_version} of {newest}"
    findings = [Finding(ANSWERS, ok=True, detail=detail), _check_token_end(settings, answer.at), _check_clock(answer)]
    check_definition = partial(_check_definition, settings, restart, auto=auto)
    return findings + _check_job(to, restart.job, str(server.get("node") or "localhost"), restart.options, check_definition)


def check_evidence(settings: Settings, job: str, options: tuple[str, ...], *, within_s: float, timeout_s: float) -> list[Finding]:
    """The same for an evidence job: it needs no guard against a late start, but a time-out."""
    to = answers.connect(settings, timeout_s)
    check_definition = partial(_check_evidence_definition, settings, options, within_s=within_s)
    findings = _check_job(to, job, "localhost", {}, check_definition)
    return [replace(finding, what=f"evidence: {finding.what}") for finding in findings]


def _check_job(
    to: answers.Connection, job: str, server: str, options: Mapping[str, str], check_definition: Callable[[Any], list[Finding]]
) -> list[Finding]:
    """The findings about a job, its project and its nodes. `server`: the node of a job without a node filter."""
    path = f"job/{quote(job, safe='')}"
    info, meta, history, definition = run_parallel(
        [
            partial(_get, to, f"{path}/info"),
            partial(_get, to, f"{path}/meta", META_VERSION),
            partial(_get, to, f"{path}/executions?max=1"),
            partial(_get_definition, to, path),
        ],
        timeout_s=to.left_s,
    )
    project, nodes = _ask_of_project(to, info, definition, server, options)
    findings: list[Finding] = []
    for what, result, judge in (
        (JOB, info, _check_info),
        (MAY_RUN, meta, _check_run_permission),
        (HISTORY, history, _check_history),
        (PROJECT, project, _check_project),
        (DEFINITION, definition, check_definition),
        (NODES, nodes, _check_nodes),
    ):
        if result is None:
            continue
        try:
            findings += [_failed(what, result)] if isinstance(result, Exception) else judge(result)
        except Unavailable as error:
            findings.append(_failed(what, error))
    return findings


def _check_evidence_definition(
    settings: Settings, options: tuple[str, ...], job: Mapping[str, Any], *, within_s: float
) -> list[Finding]:
    declared = [option.get("name") for option in job.get("options") or () if isinstance(option, dict)]
    tag = (settings.incident_option,) if settings.incident_option in declared else ()  # Rundeck keeps it anyway
    return [
        _check_options((*options, *tag), job, "evidence.options"),
        _check_timeout(job, math.inf, f"a minute, and above evidence.within, {within_s:g} s", EVIDENCE_TIMEOUT),
    ]


def _get(to: answers.Connection, path: str, at_least: int = 0) -> Any:
    return answers.ask(to.at_least(at_least), "GET", path).json()


def _get_definition(to: answers.Connection, path: str) -> Mapping[str, Any]:
    """As YAML, which every version can return; JSON needs API 44."""
    import yaml

    answer = answers.ask(to, "GET", path, accept="application/yaml")
    try:
        jobs = yaml.safe_load(answer.body)
    except (yaml.YAMLError, UnicodeDecodeError):
        jobs = None
    return answers.mapping(jobs[0] if isinstance(jobs, list) and jobs else None)


def _ask_of_project(to: answers.Connection, info: Any, definition: Any, server: str, options: Mapping[str, str]) -> list[Any]:
    """The project's meta and the nodes of the job's filter; None for unavailable ones, because the job was not found."""
    name = info.get("project") if isinstance(info, dict) else None
    if not isinstance(name, str):
        return [None, None]
    path = f"project/{quote(name, safe='')}"
    calls: list[Callable[[], Any]] = [partial(_get, to, f"{path}/meta?meta=*", META_VERSION)]
    if isinstance(definition, dict):
        calls.append(partial(_get_nodes, to, path, _fill_in(definition, options) or f"name: {server}"))
    return [*run_parallel(calls, timeout_s=to.left_s), None][:2]


def _node_filter(definition: Mapping[str, Any]) -> str:
    filters = definition.get("nodefilters")
    return str(filters.get("filter") or "") if isinstance(filters, dict) else ""


def _fill_in(definition: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """The node filter with the options that are sent, as far as they are known before an alert, and the others' defaults."""
    node_filter = _node_filter(definition)
    defaults = {name: str(option["value"]) for name, option in _declared(definition).items() if option.get("value")}
    for name, value in (defaults | {name: value for name, value in options.items() if "$" not in value}).items():
        node_filter = node_filter.replace(f"${{option.{name}}}", value)
    return node_filter


def _get_nodes(to: answers.Connection, path: str, node_filter: str) -> tuple[str, Any] | None:
    """The filter and its nodes; None if an option completes the filter only when the job runs."""
    if "${" in node_filter:
        return None
    return node_filter, _get(to, f"{path}/resources?filter={quote(node_filter, safe='')}")


def _failed(what: str, error: Exception) -> Finding:
    if isinstance(error, Denied):
        optional = error.code in OPTIONAL.get(what, ())
        remedy = OTHER_PROJECT if what == JOB and error.code is DeniedCode.ACL else "" if optional else error.remedy
        if what == NODES and optional:
            remedy = NODE_RIGHT
        return Finding(what, ok=None if optional else False, detail=error.detail, remedy=remedy)
    if isinstance(error, Unavailable):
        return Finding(what, ok=False, detail=error.detail, remedy="check rundeck.url and the network in between")
    raise error


def _check_token_end(settings: Settings, now: float) -> Finding:
    """Unknown, not wrong: until the token expires everything works."""
    ends = settings.token_expires_at
    if ends is None:
        remedy = "write the end that Rundeck showed into rundeck.token_expires; people are then told before it comes"
        return Finding(EXPIRY, ok=None, detail="a token can't read its own end", remedy=remedy)
    days = (ends - now) / 86400
    detail = f"{'far away' if days > 0 else 'expired'} at {settings.token_expires}"
    if 0 < days < FAR_DAYS:
        detail = f"{settings.token_expires}, in {days:.0f} days"
    return _finding(EXPIRY, ok=True if days > 7 else None, remedy="run infra/rundeck/rotate_token.py", detail=detail)


def _check_clock(answer: Any) -> Finding:
    what = f"Rundeck's clock is within {MAX_SKEW_S:.0f} s of ours"
    try:
        ahead_s = answers.runner_now(answer) - answer.at
    except Unavailable as error:
        return Finding(what, ok=False, detail=error.detail, remedy="have the proxy in front of Rundeck pass on the Date header")
    return _finding(what, ok=abs(ahead_s) <= MAX_SKEW_S, remedy="keep both clocks by NTP", detail=f"{ahead_s:+z.0f} s")


def _finding(what: str, *, ok: bool | None, remedy: Phrase, detail: str = "") -> Finding:
    """A finding; the remedy is shown only if it is needed."""
    return Finding(what, ok=ok, detail=detail, remedy="" if ok else remedy)


def _check_info(body: Any) -> list[Finding]:
    info = answers.mapping(body)
    name = answers.plain(f"{info.get('group') or ''}/{info.get('name')} in {info.get('project')}".lstrip("/"))
    return [_finding(JOB, ok=info.get("enabled") is True, remedy="enable the job's execution", detail=name)]


def _meta(body: Any, name: str) -> Mapping[str, Any]:
    """One part of the answer to `meta`: a list of {name, data}."""
    parts = body if isinstance(body, list) else []
    data = next((part.get("data") for part in parts if isinstance(part, dict) and part.get("name") == name), None)
    return data if isinstance(data, dict) else {}


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _check_run_permission(body: Any) -> list[Finding]:
    allowed = _bool(_meta(body, "authz").get("run"))
    remedy = "allow `run` on the job (infra/rundeck/unstick.aclpolicy)" if allowed is False else ""
    detail = "its role lacks `run` on the job" if allowed is False else ABORTS
    return [_finding(MAY_RUN, ok=allowed, remedy=remedy, detail=detail)]


def _check_history(body: Any) -> list[Finding]:
    paging, rows = answers.mapping(answers.mapping(body).get("paging")), answers.mapping(body).get("executions")
    hidden = not rows and bool(paging.get("total"))
    return [_finding(HISTORY, ok=not hidden, remedy=answers.EVENT_RIGHT, detail=f"{paging.get('total')} executions")]


def _check_project(body: Any) -> list[Finding]:
    enabled, active = _bool(_meta(body, "config").get("executionsEnabled")), _bool(_meta(body, "sysMode").get("active"))
    remedy = "enable executions of the project in Rundeck (Project Settings > Edit Configuration > Execution Mode)"
    return [
        _finding(PROJECT, ok=enabled, remedy=remedy, detail="executions are disabled" if enabled is False else ""),
        _finding(MODE, ok=active, remedy="set Rundeck's execution mode to active"),
    ]


def _check_nodes(filtered: tuple[str, Any]) -> list[Finding]:
    node_filter, nodes = answers.plain(filtered[0]), answers.mapping(filtered[1])
    if nodes:
        return [Finding(NODES, ok=True, detail=f"{node_filter}: {len(nodes)}")]
    remedy = "compare the job's node filter, the nodes' tags and the rule `node` of the policy (infra/rundeck/unstick.aclpolicy)"
    return [Finding(NODES, ok=False, detail=f"no node of `{node_filter}` that the token may use", remedy=remedy)]


def _check_definition(settings: Settings, restart: Restart, job: Mapping[str, Any], *, auto: bool) -> list[Finding]:
    holder = restart.holder.option if restart.holder else ""
    sent = (*restart.options, settings.incident_option, settings.not_after_option)
    problem, remedy = guard_problem(job, settings.not_after_option)
    return [
        _check_options(sent, job, "restart.options", holder),
        *_check_values(restart.options, job),
        *_check_holder(holder, job),
        _finding(ONCE, ok=not job.get("multipleExecutions"), remedy="set multipleExecutions to false"),
        Finding(GUARD, ok=False if problem and auto else None if problem else True, detail=problem, remedy=remedy),
        _check_timeout(job, restart.max_run_s, f"restart.max_run, {restart.max_run_s / 60:g} min"),
        _check_retry(job),
    ]


def _declared(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(option.get("name")): option for option in job.get("options") or () if isinstance(option, dict)}


def _check_holder(name: str, job: Mapping[str, Any]) -> list[Finding]:
    """Without this option the job must restart all hosts: an option without a value stays a literal ${option.NAME}."""
    option = _declared(job).get(name)
    if not name:
        return []
    if option is None:
        return [Finding(HOLDER, ok=False, detail=f"{name} is not declared", remedy=HOLDER_REMEDY)]
    if option.get("secure"):
        return [Finding(HOLDER, ok=False, detail=f"{name} is secure, so the history does not show it", remedy=HOLDER_REMEDY)]
    default = answers.plain(str(option.get("value") or ""), 40)
    if not default:
        return [Finding(HOLDER, ok=False, detail=f"{name} has no default, which stands for all hosts", remedy=HOLDER_REMEDY)]
    used = f"option.{name}" in _node_filter(job)
    detail = f"{name}, default {default}" if used else f"the job's node filter does not use {name}"
    remedy = "use it in the node filter, as in infra/rundeck/job.yaml"
    return [_finding(HOLDER, ok=True if used else None, remedy=remedy, detail=detail)]


def _check_options(sent: tuple[str, ...], job: Mapping[str, Any], key: str, holder: str = "") -> Finding:
    declared = _declared(job)
    problems = [f"{name} is not declared" for name in sent if name not in declared]
    problems += [f"{name} is secure, so the history does not show it" for name in sent if declared.get(name, {}).get("secure")]
    unsent = {name: option for name, option in declared.items() if name not in {*sent, holder}}
    problems += [f"{name} has a default" for name, option in unsent.items() if option.get("value")]
    problems += [f"{name} is required" for name, option in unsent.items() if option.get("required")]
    remedy = f"declare plain options, and name in {key} each that has a default or is required"
    return _finding(OPTIONS, ok=not problems, remedy=remedy, detail=answers.plain("; ".join(problems)))


def _check_values(options: Mapping[str, str], job: Mapping[str, Any]) -> list[Finding]:
    """A value that the job does not allow is refused at each start. One with labels is known only when an alert comes."""
    values = {name: option.get("values") or [] for name, option in _declared(job).items() if option.get("enforced")}
    known = {name: value for name, value in options.items() if "$" not in value}
    wrong = [f"{name}: {value}" for name, value in known.items() if value not in values.get(name, (value,))]
    if not wrong:
        return []
    remedy = "compare restart.options with the job's allowed values"
    return [Finding(VALUES, ok=False, detail=answers.plain("; ".join(wrong)), remedy=remedy)]


def _check_retry(job: Mapping[str, Any]) -> Finding:
    """Rundeck's own retries send the same `unstick_not_after` again, so the first step refuses most of them."""
    retry = job.get("retry")
    count = str((retry.get("retry") if isinstance(retry, dict) else retry) or "0")
    if count == "0":
        return Finding(RETRY, ok=True)
    remedy = "remove `retry` from the job: its first step refuses late retries, and `limits.attempts` is how often Unstick tries"
    return Finding(RETRY, ok=None, detail=f"retry: {answers.plain(count, 40)}", remedy=remedy)


def _check_timeout(job: Mapping[str, Any], below_s: float, key: str, what: str = TIMEOUT) -> Finding:
    """Unknown, not wrong: a hanging run is reported anyway, but it blocks the job until somebody aborts it."""
    remedy = f"set the job's timeout below {key}"
    text = str(job.get("timeout") or "")
    if not text:
        return Finding(what, ok=None, detail="the job has no timeout", remedy=remedy)
    if not re.fullmatch(r"\d+|(\d+[dhms]\s*)+", text):
        return Finding(what, ok=None, detail=f"the timeout can't be read: {answers.plain(text, 40)}", remedy=remedy)
    seconds = int(text) if text.isdigit() else sum(int(n) * UNITS_S[unit] for n, unit in re.findall(r"(\d+)([dhms])", text))
    return _finding(what, ok=True if 0 < seconds < below_s else None, remedy=remedy, detail=f"timeout: {answers.plain(text, 40)}")


def list_hosts(settings: Settings, restart: Restart, *, timeout_s: float) -> tuple[str, ...]:
    """The attribute `hostname` of each node of the job's filter: what `hostname: ${option.NAME}` compares, as a whole."""
    to = answers.connect(settings, timeout_s)
    path = f"job/{quote(restart.job, safe='')}"
    project = answers.mapping(_get(to, f"{path}/info")).get("project")
    node_filter = _fill_in(_get_definition(to, path), restart.options)
    found = _get_nodes(to, f"project/{quote(str(project), safe='')}", node_filter)
    nodes = answers.mapping(found[1]).values() if found else ()
    return tuple(answers.plain(str(node.get("hostname") or ""), 100) for node in nodes if isinstance(node, dict))


def doubt_refusal(settings: Settings, execution: str, *, timeout_s: float) -> Phrase:
    """Why the log of a late start doesn't prove that the guard refused it; empty if it does: its first step said so, or failed on
    a node. A run without nodes, or on one that can't be reached, ends in the same way, and so would every restart."""
    to = answers.connect(settings, timeout_s)
    entries = (
        answers.ask(to, "GET", f"execution/{quote(execution, safe='')}/output?lastlines={LOG_LINES}").object().get("entries")
    )
    rows = [row for row in entries if isinstance(row, dict)] if isinstance(entries, list) else []
    first_step = [str(row.get("log") or "") for row in rows if str(row.get("stepctx") or "").partition("@")[0] == "1"]
    if any(GUARD_LINE.search(line) or "NonZeroResultCode" in line for line in first_step):
        return ""
    errors = [answers.without_noise(str(row.get("log") or "")) for row in rows if row.get("level") == "ERROR"]
    said = next((line for line in reversed(errors) if line), "")
    return answers.quoted(said) or Text("its log has no line of the first step")


def guard_problem(job: Mapping[str, Any], not_after_option: str) -> tuple[str, str]:
    """Why a late start would restart something anyway, and the remedy; empty if the first step prevents it."""
    sequence = job.get("sequence")
    sequence = sequence if isinstance(sequence, dict) else {}
    steps = sequence.get("commands")
    first = steps[0] if isinstance(steps, list) and steps and isinstance(steps[0], dict) else {}
    script = first.get("script")
    code = "\n".join(line for line in str(script or "").splitlines() if not line.lstrip().startswith("#"))
    named = f"@option.{not_after_option}@" in code or f"RD_OPTION_{not_after_option.upper()}" in code
    if not (named and "date +%s" in code and re.search(r"\bexit [1-9]", code)):
        remedy = "put the first step of infra/rundeck/job.yaml before the restart; mode auto needs it"
        return f"its first step does not compare {not_after_option} with the time and fail", remedy
    if sequence.get("keepgoing"):
        return "keepgoing is true: the restart follows even if the first step fails", "set the workflow's keepgoing to false"
    strategy = str(sequence.get("strategy", "node-first"))
    if strategy not in ("node-first", "sequential"):
        problem = f"the strategy {answers.plain(strategy, 40)} does not wait for the first step"
        return problem, "set the workflow's strategy to sequential"
    if "errorhandler" in first:
        return "the first step has an error handler: its failure need not end the run", "remove the first step's error handler"
    return "", ""
