"""`check` for Rundeck: token, permissions, project and the job's definition. Changes nothing."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.observe import unwrap
from functions.application.ports import Finding, finding_of_error
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
UNREACHABLE = "check rundeck.url and the network in between"
NODE_RIGHT = (
    "to see whether the filter matches, allow `read` on the resource kind node in the project (infra/rundeck/unstick.aclpolicy)"
)
OTHER_PROJECT = (
    "load infra/rundeck/unstick.aclpolicy for the job's project, group and name; where another project has this UUID already, "
    "import the job with one of its own and write it into restart.job"
)
OPTIONAL = {(NODES, DeniedCode.ACL): NODE_RIGHT} | {
    (what, code): "" for what in (MAY_RUN, PROJECT) for code in (DeniedCode.ACL, DeniedCode.API_VERSION, DeniedCode.WRONG_URL)
}
"""The remedy of refusals of what some tokens and older servers can't answer: unknown, not wrong."""
HOLDER_REMEDY = "declare it as a plain option with a default that stands for all hosts, such as .* (infra/rundeck/job.yaml)"
LOG_LINES = 100
GUARD_LINE = re.compile(r"^too late by \d+ s: ")  # of infra/rundeck/job.yaml
CheckDefinition = Callable[[Mapping[str, Any]], Iterator[Finding]]
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
    findings = [Finding(ANSWERS, True, detail), _check_token_end(settings, answer.at), _check_clock(answer)]
    check_definition = partial(_check_definition, settings, restart, auto=auto)
    return findings + _check_job(to, restart.job, str(server.get("node") or "localhost"), restart.options, check_definition)


def check_evidence(settings: Settings, job: str, options: tuple[str, ...], *, within_s: float, timeout_s: float) -> list[Finding]:
    """The same for an evidence job: it needs no guard against a late start, but a time-out."""

    def check_definition(definition: Mapping[str, Any]) -> Iterator[Finding]:
        own = settings.incident_option  # Rundeck keeps it if it isn't declared, too
        yield _check_options((*options, *({own} & _declared(definition).keys())), definition, "evidence.options")
        yield _check_timeout(EVIDENCE_TIMEOUT, definition, math.inf, f"a minute, and above evidence.within, {within_s:g} s")

    findings = _check_job(answers.connect(settings, timeout_s), job, "localhost", {}, check_definition)
    return [replace(finding, what=f"evidence: {finding.what}") for finding in findings]


def _check_job(
    to: answers.Connection, job: str, server: str, options: Mapping[str, str], check_definition: CheckDefinition
) -> list[Finding]:
    """The findings about a job, its project and its nodes. `server`: the node of a job without a node filter."""
    path = f"job/{quote(job, safe='')}"
    calls: list[Callable[[], Any]] = [
        partial(_get, to, f"{path}/info"),
        partial(_get, to, f"{path}/meta", META_VERSION),
        partial(_get, to, f"{path}/executions?max=1"),
        partial(_get_definition, to, path),
    ]
    info, meta, history, definition = run_parallel(calls, timeout_s=to.left_s)
    project = nodes = None  # unknown if the job was not found
    if isinstance(info, dict) and isinstance(name := info.get("project"), str):
        place = f"project/{quote(name, safe='')}"
        calls = [partial(_get, to, f"{place}/meta?meta=*", META_VERSION)]
        calls.append(partial(_get_nodes, to, place, definition, options, f"name: {server}"))
        project, nodes = run_parallel(calls, timeout_s=to.left_s)
    findings: list[Finding] = []
    for what, result, judge in (
        (JOB, info, _check_info),
        (MAY_RUN, meta, _check_run_permission),
        (HISTORY, history, _check_history),
        (PROJECT, project, _check_project),
        (DEFINITION, definition, check_definition),
        (NODES, nodes, _check_nodes),
    ):
        try:
            findings += [] if result is None else judge(unwrap(result))
        except (Denied, Unavailable) as error:
            findings.append(_failed(what, error))
    return findings


def _get(to: answers.Connection, path: str, at_least: int = 0) -> Any:
    return answers.ask(to.at_least(at_least), "GET", path).json()


def _get_definition(to: answers.Connection, path: str) -> Mapping[str, Any]:
    """As YAML, which every version can return; JSON needs API 44."""
    import yaml

    try:
        jobs = yaml.safe_load(answers.ask(to, "GET", path, accept="application/yaml").body)
    except (yaml.YAMLError, UnicodeDecodeError):
        jobs = None
    return answers.mapping(jobs[0] if isinstance(jobs, list) and jobs else None)


def _get_nodes(
    to: answers.Connection, place: str, definition: Any, options: Mapping[str, str], otherwise: str = ""
) -> tuple[str, Mapping[str, Any]] | None:
    """The job's filter (`otherwise`: if it has none), with the options that are sent, as far as they are known before an alert,
    and the others' defaults; and its nodes. None without a definition, or if an option completes it only when the job runs."""
    if not isinstance(definition, dict):
        return None
    node_filter = _node_filter(definition)
    defaults = {name: str(option["value"]) for name, option in _declared(definition).items() if option.get("value")}
    for name, value in (defaults | _known(options)).items():
        node_filter = node_filter.replace(f"${{option.{name}}}", value)
    node_filter = node_filter or otherwise
    if "${" in node_filter:
        return None
    return node_filter, answers.mapping(_get(to, f"{place}/resources?filter={quote(node_filter, safe='')}"))


def _node_filter(definition: Mapping[str, Any]) -> str:
    return str(answers.part(definition, "nodefilters").get("filter") or "")


def _known(options: Mapping[str, str]) -> dict[str, str]:
    """Those without labels, which only an alert has."""
    return {name: value for name, value in options.items() if "$" not in value}


def _declared(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(option.get("name")): option for option in job.get("options") or () if isinstance(option, dict)}


def _failed(what: str, error: Denied | Unavailable) -> Finding:
    code = error.code if isinstance(error, Denied) else None
    if code and (what, code) in OPTIONAL:
        return Finding(what, None, error.detail, OPTIONAL[what, code])
    failed = finding_of_error(what, error, UNREACHABLE)
    return replace(failed, remedy=OTHER_PROJECT) if (what, code) == (JOB, DeniedCode.ACL) else failed


def _check_token_end(settings: Settings, now: float) -> Finding:
    """Unknown, not wrong: until the token expires everything works."""
    ends = settings.token_expires_at
    if ends is None:
        remedy = "write the end that Rundeck showed into rundeck.token_expires; people are then told before it comes"
        return Finding(EXPIRY, None, "a token can't read its own end", remedy)
    days = (ends - now) / 86400
    detail = f"{'far away' if days > 0 else 'expired'} at {settings.token_expires}"
    if 0 < days < FAR_DAYS:
        detail = f"{settings.token_expires}, in {days:.0f} days"
    return Finding(EXPIRY, days > 7 or None, detail, "run infra/rundeck/rotate_token.py")


def _check_clock(answer: Any) -> Finding:
    what = f"Rundeck's clock is within {MAX_SKEW_S:.0f} s of ours"
    try:
        ahead_s = answers.runner_now(answer) - answer.at
    except Unavailable as error:
        return finding_of_error(what, error, "have the proxy in front of Rundeck pass on the Date header")
    return Finding(what, abs(ahead_s) <= MAX_SKEW_S, f"{ahead_s:+z.0f} s", "keep both clocks by NTP")


def _check_info(body: Any) -> Iterator[Finding]:
    info = answers.mapping(body)
    name = answers.plain(f"{info.get('group') or ''}/{info.get('name')} in {info.get('project')}".lstrip("/"))
    yield Finding(JOB, info.get("enabled") is True, name, "enable the job's execution")


def _flag(body: Any, part: str, name: str) -> bool | None:
    """A flag in one part of the answer to `meta`, a list of {name, data}; None if it isn't there."""
    parts = body if isinstance(body, list) else []
    data = next((one.get("data") for one in parts if isinstance(one, dict) and one.get("name") == part), None)
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, bool) else None


def _check_run_permission(body: Any) -> Iterator[Finding]:
    allowed = _flag(body, "authz", "run")
    remedy = "allow `run` on the job (infra/rundeck/unstick.aclpolicy)" if allowed is False else ""
    yield Finding(MAY_RUN, allowed, "its role lacks `run` on the job" if remedy else ABORTS, remedy)


def _check_history(body: Any) -> Iterator[Finding]:
    total = answers.mapping(answers.mapping(body).get("paging")).get("total")
    yield Finding(HISTORY, bool(body.get("executions")) or not total, f"{total} executions", answers.EVENT_RIGHT)


def _check_project(body: Any) -> Iterator[Finding]:
    enabled = _flag(body, "config", "executionsEnabled")
    remedy = "enable executions of the project in Rundeck (Project Settings > Edit Configuration > Execution Mode)"
    yield Finding(PROJECT, enabled, "executions are disabled" if enabled is False else "", remedy)
    yield Finding(MODE, _flag(body, "sysMode", "active"), remedy="set Rundeck's execution mode to active")


def _check_nodes(filtered: tuple[str, Any]) -> Iterator[Finding]:
    node_filter, nodes = answers.plain(filtered[0]), filtered[1]
    detail = f"{node_filter}: {len(nodes)}" if nodes else f"no node of `{node_filter}` that the token may use"
    remedy = "compare the job's node filter, the nodes' tags and the rule `node` of the policy (infra/rundeck/unstick.aclpolicy)"
    yield Finding(NODES, bool(nodes), detail, remedy)


def _check_definition(settings: Settings, restart: Restart, job: Mapping[str, Any], *, auto: bool) -> Iterator[Finding]:
    holder = restart.holder.option if restart.holder else ""
    sent = (*restart.options, settings.incident_option, settings.not_after_option)
    yield _check_options(sent, job, "restart.options", holder)
    yield from _check_values(restart.options, job)
    if holder:
        yield _check_holder(holder, job)
    yield Finding(ONCE, not job.get("multipleExecutions"), remedy="set multipleExecutions to false")
    problem, remedy = guard_problem(job, settings.not_after_option)
    yield Finding(GUARD, not problem or (False if auto else None), problem, remedy)
    yield _check_timeout(TIMEOUT, job, restart.max_run_s, f"restart.max_run, {restart.max_run_s / 60:g} min")
    # Rundeck's own retries send the same `unstick_not_after` again, so the first step refuses most of them.
    retry = job.get("retry")
    count = str((retry.get("retry") if isinstance(retry, dict) else retry) or "0")
    detail = "" if count == "0" else f"retry: {answers.plain(count, 40)}"
    remedy = "remove `retry` from the job: its first step refuses late retries, and `limits.attempts` is how often Unstick tries"
    yield Finding(RETRY, count == "0" or None, detail, remedy)


def _check_holder(name: str, job: Mapping[str, Any]) -> Finding:
    """Without this option the job must restart all hosts: an option without a value stays a literal ${option.NAME}."""
    option = _declared(job).get(name, {})
    default = answers.plain(str(option.get("value") or ""), 40)
    if not option or option.get("secure") or not default:
        problem = "has no default, which stands for all hosts" if option else "is not declared"
        problem = "is secure, so the history does not show it" if option.get("secure") else problem
        return Finding(HOLDER, False, f"{name} {problem}", HOLDER_REMEDY)
    used = f"option.{name}" in _node_filter(job)
    detail = f"{name}, default {default}" if used else f"the job's node filter does not use {name}"
    return Finding(HOLDER, used or None, detail, "use it in the node filter, as in infra/rundeck/job.yaml")


def _check_options(sent: tuple[str, ...], job: Mapping[str, Any], key: str, holder: str = "") -> Finding:
    declared = _declared(job)
    problems = [f"{name} is not declared" for name in sent if name not in declared]
    problems += [f"{name} is secure, so the history does not show it" for name in sent if declared.get(name, {}).get("secure")]
    unsent = {name: option for name, option in declared.items() if name not in {*sent, holder}}
    problems += [f"{name} has a default" for name, option in unsent.items() if option.get("value")]
    problems += [f"{name} is required" for name, option in unsent.items() if option.get("required")]
    remedy = f"declare plain options, and name in {key} each that has a default or is required"
    return Finding(OPTIONS, not problems, answers.plain("; ".join(problems)), remedy)


def _check_values(options: Mapping[str, str], job: Mapping[str, Any]) -> Iterator[Finding]:
    """A value that the job does not allow is refused at each start."""
    values = {name: option.get("values") or [] for name, option in _declared(job).items() if option.get("enforced")}
    wrong = [f"{name}: {value}" for name, value in _known(options).items() if value not in values.get(name, (value,))]
    if wrong:
        remedy = "compare restart.options with the job's allowed values"
        yield Finding(VALUES, False, answers.plain("; ".join(wrong)), remedy)


def _check_timeout(what: str, job: Mapping[str, Any], below_s: float, key: str) -> Finding:
    """Unknown, not wrong: a hanging run is reported anyway, but it blocks the job until somebody aborts it."""
    text, seconds = str(job.get("timeout") or ""), 0
    detail = f"timeout: {answers.plain(text, 40)}" if text else "the job has no timeout"
    if re.fullmatch(r"\d+|(\d+[dhms]\s*)+", text):
        seconds = sum(int(n) * UNITS_S[unit or "s"] for n, unit in re.findall(r"(\d+)([dhms]?)", text))
    elif text:
        detail = f"the timeout can't be read: {answers.plain(text, 40)}"
    return Finding(what, 0 < seconds < below_s or None, detail, f"set the job's timeout below {key}")


def list_hosts(settings: Settings, restart: Restart, *, timeout_s: float) -> tuple[str, ...]:
    """The attribute `hostname` of each node of the job's filter: what `hostname: ${option.NAME}` compares, as a whole."""
    to = answers.connect(settings, timeout_s)
    path = f"job/{quote(restart.job, safe='')}"
    project = quote(str(answers.mapping(_get(to, f"{path}/info")).get("project")), safe="")
    filtered = _get_nodes(to, f"project/{project}", _get_definition(to, path), restart.options)
    nodes = filtered[1].values() if filtered else ()
    return tuple(answers.plain(str(node.get("hostname") or ""), 100) for node in nodes if isinstance(node, dict))


def doubt_refusal(settings: Settings, execution: str, *, timeout_s: float) -> Phrase:
    """Why the log of a late start doesn't prove that the guard refused it; empty if it does: its first step said so, or failed on
    a node. A run without nodes, or on one that can't be reached, ends in the same way, and so would every restart."""
    path = f"execution/{quote(execution, safe='')}/output?lastlines={LOG_LINES}"
    entries = answers.ask(answers.connect(settings, timeout_s), "GET", path).object().get("entries")
    rows = [row for row in entries if isinstance(row, dict)] if isinstance(entries, list) else []
    first_step = [str(row.get("log") or "") for row in rows if str(row.get("stepctx") or "").partition("@")[0] == "1"]
    if any(GUARD_LINE.search(line) or "NonZeroResultCode" in line for line in first_step):
        return ""
    errors = [answers.without_noise(str(row.get("log") or "")) for row in rows if row.get("level") == "ERROR"]
    said = next((line for line in reversed(errors) if line), "")
    return answers.quoted(said) or Text("its log has no line of the first step")


def guard_problem(job: Mapping[str, Any], not_after_option: str) -> tuple[str, str]:
    """Why a late start would restart something anyway, and the remedy; empty if the first step prevents it."""
    sequence = answers.part(job, "sequence")
    steps = sequence.get("commands")
    first = steps[0] if isinstance(steps, list) and steps and isinstance(steps[0], dict) else {}
    code = "\n".join(line for line in str(first.get("script") or "").splitlines() if not line.lstrip().startswith("#"))
    named = f"@option.{not_after_option}@" in code or f"RD_OPTION_{not_after_option.upper()}" in code
    if not (named and "date +%s" in code and re.search(r"\bexit [1-9]", code)):
        remedy = "put the first step of infra/rundeck/job.yaml before the restart; mode auto needs it"
        return f"its first step does not compare {not_after_option} with the time and fail", remedy
    if sequence.get("keepgoing"):
        return "keepgoing is true: the restart follows even if the first step fails", "set the workflow's keepgoing to false"
    if (strategy := str(sequence.get("strategy", "node-first"))) not in ("node-first", "sequential"):
        problem = f"the strategy {answers.plain(strategy, 40)} does not wait for the first step"
        return problem, "set the workflow's strategy to sequential"
    if "errorhandler" in first:
        return "the first step has an error handler: its failure need not end the run", "remove the first step's error handler"
    return "", ""
