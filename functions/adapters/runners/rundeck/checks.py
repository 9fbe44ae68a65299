"""`check` for Rundeck: token, permissions and the job's definition. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.structs import replace

from functions.adapters.checks import HOLDER_HOSTS, compare_hosts, finding_of, finding_of_error, name_evidence
from functions.adapters.runners.rundeck import answers
from functions.application.ports import Finding
from functions.config.formats import pattern_mistake
from functions.domain.decisions.matching import list_host_options
from functions.domain.model.observations import MAX_SKEW_S
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION, EvidenceJob, HolderOption, Restart
from functions.domain.texts.patterns import full_match
from functions.domain.texts.words import duration
from functions.runtime.errors import Denied, DeniedCode, Unavailable

if TYPE_CHECKING:
    from functions.adapters.runners.rundeck import Rundeck

WEEK_S = 7 * 86400.0
META_VERSION = 46
"""The first API version that has `meta` of jobs and projects, which alone shows permissions without running anything."""
ANSWERS = "Rundeck answers and takes the token"
LASTS = "the token lasts for a week"
JOB = "Rundeck's job exists and is enabled"
MAY_RUN = "the token may run the job"
STARTS = "Rundeck starts the jobs of the project"
HISTORY = "the job's history can be read"
NODES = "the job's node filter matches nodes"
TERMINALS = "commands end with their run"
POLICY = "infra/rundeck/unstick.aclpolicy"
ABORTS = "whether it may abort a run with wrong options (`kill`), Rundeck shows nowhere"
UNREACHABLE = "check rundeck.url and the network in between"

Nodes = Mapping[str, Mapping[str, Any]]
Rules = Callable[[Mapping[str, Any]], Iterable[Finding]]
"""What a job's definition has to be like."""


def check(
    settings: Rundeck, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, auto: bool, timeout_s: float
) -> list[Finding]:
    """Everything that Unstick's own token can find out."""
    to = answers.connect(settings, timeout_s)
    try:
        answer = answers.ask(to, "GET", "system/info")
        server = answers.mapping(answers.mapping(answer.object().get("system")).get("rundeck"))
    except (Denied, Unavailable) as error:
        return [finding_of_error(ANSWERS, error, UNREACHABLE)]
    about = answers.plain(f"Rundeck {server.get('version')}, API {answers.API_VERSION} of {server.get('apiversion')}")
    compare = partial(_compare_nodes, restart.holder, consumers) if restart.holder else None
    lines = [
        Finding(ANSWERS, True, about),
        _check_clock(answer),
        _check_expiry(settings, answer.at),
        *_check_job(to, restart.job, restart.options, partial(_list_rules, restart, auto=auto), compare),
    ]
    if evidence:
        limits = [partial(_compare_nodes, option, consumers) for option in list_host_options(evidence)]
        of_job = _check_job(to, evidence.job, {}, partial(_list_evidence_rules, evidence), next(iter(limits), None))
        lines += name_evidence(of_job, lines)
    return lines


def _check_job(
    to: answers.Connection, job: str, options: Mapping[str, str], rules: Rules, compare: Callable[..., Finding] | None = None
) -> Iterator[Finding]:
    """What can be found out about a job and its nodes; of a job that can't be read only that, since nothing else can then."""
    path, what = f"job/{quote(job, safe='')}", JOB
    try:
        info = answers.mapping(_get(to, f"{path}/info"))
        name = answers.plain(f"{info.get('group') or ''}/{info.get('name')} in {info.get('project')}".lstrip("/"))
        yield Finding(JOB, info.get("enabled") is True, name, "enable the job's execution")
        newer, project = replace(to, api_version=META_VERSION), f"project/{quote(str(info.get('project')), safe='')}"
        yield _unless_refused(MAY_RUN, lambda: _judge_permission(_get(newer, f"{path}/meta")))
        yield _unless_refused(STARTS, lambda: _judge_project(_get(newer, f"{project}/meta?meta=*")))
        yield finding_of(HISTORY, lambda: _judge_history(_get(to, f"{path}/executions?max=1")), UNREACHABLE)
        what = "the job's definition can be read"
        definition = _get_definition(to, path)
    except (Denied, Unavailable) as error:
        yield finding_of_error(what, error, UNREACHABLE)
        return
    yield from rules(definition)
    node_filter = _fill_node_filter(definition, options)
    read_nodes = cache(partial(answers.read_nodes, to, str(info.get("project")), node_filter)) if node_filter else dict[str, Any]
    if node_filter:
        yield _unless_refused(NODES, lambda: _judge_nodes(node_filter, read_nodes()))
        yield _unless_refused(TERMINALS, lambda: _judge_terminals(read_nodes()))
    if compare:
        yield finding_of(HOLDER_HOSTS, lambda: compare(definition, read_nodes()), UNREACHABLE)


def _unless_refused(what: str, ask: Callable[[], Finding]) -> Finding:
    """The finding; unknown if Rundeck refuses to tell, as it may some tokens, and older servers don't know the question."""
    try:
        return ask()
    except Denied as error:
        return Finding(what, None, error.detail, error.remedy if error.code is DeniedCode.ACL else "")
    except Unavailable as error:
        return finding_of_error(what, error, UNREACHABLE)


def _get(to: answers.Connection, path: str) -> Any:
    return answers.ask(to, "GET", path).json()


def _get_definition(to: answers.Connection, path: str) -> Mapping[str, Any]:
    """As YAML, which every version can return; JSON needs API 44."""
    import yaml

    try:
        jobs = yaml.safe_load(answers.ask(to, "GET", path, accept="application/yaml").body)
    except (yaml.YAMLError, UnicodeDecodeError):
        jobs = None
    return answers.mapping(jobs[0] if isinstance(jobs, list) and jobs else None)


def _fill_node_filter(definition: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """The job's filter with the options that are sent, as far as they are known before an alert, and the others' defaults. Empty
    without a filter, or if an option completes it only when the job runs."""
    node_filter = _node_filter(definition)
    defaults = {name: str(option["value"]) for name, option in _declared(definition).items() if option.get("value")}
    for name, value in (defaults | {name: value for name, value in options.items() if "$" not in value}).items():
        node_filter = node_filter.replace(f"${{option.{name}}}", value)
    return "" if "${" in node_filter else node_filter


def _node_filter(definition: Mapping[str, Any]) -> str:
    return str(answers.part(definition, "nodefilters").get("filter") or "")


def _declared(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(option.get("name")): option for option in job.get("options") or () if isinstance(option, dict)}


def _check_clock(answer: Any) -> Finding:
    what = f"Rundeck's clock is within {MAX_SKEW_S:.0f} s of ours"
    try:
        ahead_s = answers.runner_now(answer) - answer.at
    except Unavailable as error:
        return finding_of_error(what, error, "have the proxy in front of Rundeck pass on the Date header")
    return Finding(what, abs(ahead_s) <= MAX_SKEW_S, f"{ahead_s:+z.0f} s", "keep both clocks by NTP")


def _check_expiry(settings: Rundeck, now: float) -> Finding:
    ends_at = settings.token_expires_at
    if ends_at is None:
        remedy = "write the end that Rundeck showed into rundeck.token_expires"
        return Finding(LASTS, None, "a token can't read its own end", remedy)
    left = f"it expires in {duration(ends_at - now)}" if ends_at > now else "it has expired"
    remedy = "run infra/rundeck/rotate_token.py, then deploy the configuration with the new token_expires"
    return Finding(LASTS, ends_at - now > WEEK_S, left, remedy)


def _meta(body: Any, name: str) -> Mapping[str, Any]:
    """A part of the answer to `meta`, a list of {name, data}; empty if it isn't there."""
    parts = [piece for piece in body if isinstance(piece, dict)] if isinstance(body, list) else []
    return next((answers.part(piece, "data") for piece in parts if piece.get("name") == name), {})


def _judge_permission(body: Any) -> Finding:
    allowed = _meta(body, "authz").get("run")
    if allowed is False:
        return Finding(MAY_RUN, False, "its role lacks `run` on the job", f"allow `run` on the job ({POLICY})")
    return Finding(MAY_RUN, True if allowed is True else None, ABORTS)


def _judge_project(body: Any) -> Finding:
    switches = _meta(body, "config").get("executionsEnabled"), _meta(body, "sysMode").get("active")
    if False in switches:
        return Finding(STARTS, False, *(answers.OFF if switches[0] is False else answers.PASSIVE))
    return Finding(STARTS, all(switches) or None)


def _judge_history(body: Any) -> Finding:
    total = answers.mapping(answers.mapping(body).get("paging")).get("total")
    return Finding(HISTORY, bool(body.get("executions")) or not total, f"{total} executions", answers.EVENT_RIGHT)


def _judge_nodes(node_filter: str, nodes: Nodes) -> Finding:
    shown, remedy = answers.plain(node_filter), f"compare the job's node filter, the nodes' tags and the rule `node` of {POLICY}"
    detail = f"{shown}: {len(nodes)}" if nodes else f"no node of `{shown}` that the token may use"
    return Finding(NODES, bool(nodes), detail, remedy)


def _judge_terminals(nodes: Nodes) -> Finding:
    """Over SSH, the default, a command without a terminal outlives a lost connection, an abort and a time-out."""
    kinds: dict[str, list[str]] = {}
    for name, node in nodes.items():
        executor = str(node.get("node-executor", "ssh"))
        kind = "a terminal" if answers.has_terminal(node) else "no terminal" if executor.endswith("ssh") else executor
        kinds.setdefault(kind, []).append(name)
    detail = answers.plain("; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items()))
    remedy = (
        "without a terminal a command outlives a lost connection, an abort and a time-out, and Unstick waits until max_run: "
        "give the nodes `always-set-pty: 'true'`, and another executor than ssh-exec, which has none (infra/rundeck/README.md)"
    )
    return Finding(TERMINALS, None if not nodes or {"no terminal", "ssh-exec"} & kinds.keys() else True, detail, remedy)


def _compare_nodes(holder: HolderOption, consumers: frozenset[str], job: Mapping[str, Any], nodes: Nodes) -> Finding:
    """By the attribute `hostname` of each node of the job's filter: what `hostname: ${option.NAME}` compares, as a whole. The
    option must take each host that may be sent: of consumers, of nodes, and those that `allow` lists."""
    hosts = [answers.plain(str(node.get("hostname") or ""), 100) for node in nodes.values()]
    option, listed = _declared(job).get(holder.option, {}), re.findall(r"[\w.:-]*\w(?![^|)])", holder.allow.replace("\\", ""))
    sent = sorted(host for host in consumers.union(hosts, listed) if full_match(holder.allow, host))
    if refused := [host for host in sent if _refuses(option, host)]:
        remedy = f"allow them in the option {holder.option} of the job, by its values or its regex"
        return Finding(HOLDER_HOSTS, False, f"{holder.option} does not allow {', '.join(refused)}", remedy)
    remedy = "Give each node as `hostname` the address that RabbitMQ sees, without a port, or don't send a host (infra/rundeck)."
    return compare_hosts(holder, consumers, hosts, "the nodes' `hostname` is", remedy)


def _list_evidence_rules(evidence: EvidenceJob, job: Mapping[str, Any]) -> Iterator[Finding]:
    """An evidence job needs no guard against a late start."""
    own = {INCIDENT_OPTION} & _declared(job).keys()  # Rundeck keeps it if it isn't declared, too
    yield _check_options({**evidence.options, **dict.fromkeys(own, "$")}, job, "evidence.options")
    for option in list_host_options(evidence):
        yield _check_holder(option.option, job)


def _list_rules(restart: Restart, job: Mapping[str, Any], *, auto: bool) -> Iterator[Finding]:
    """What has to be so in the definition of a job that restarts something."""
    holder = {restart.holder.option: "$"} if restart.holder else {}
    sent = {**restart.options, **holder, INCIDENT_OPTION: "$", NOT_AFTER_OPTION: "$"}
    yield _check_options(sent, job, "restart.options")
    for name in holder:
        yield _check_holder(name, job)
    several = "it may run several times at once" if job.get("multipleExecutions") else ""
    yield Finding("the job runs once at a time", not several, several, "set multipleExecutions to false")
    problem, remedy = guard_problem(job)
    yield Finding("the job refuses a late start", not problem or (False if auto else None), problem, remedy)
    # Rundeck's own retries send the same `unstick_not_after` again, so the first step refuses most of them.
    retry = job.get("retry")
    count = str((retry.get("retry") if isinstance(retry, dict) else retry) or "0")
    problem = "" if count == "0" else f"retry: {answers.plain(count, 40)}"
    remedy = "remove `retry` from the job: its first step refuses late retries, and `limits.attempts` is how often Unstick tries"
    yield Finding("only Unstick tries a restart again", not problem or None, problem, remedy)


def _check_options(sent: Mapping[str, str], job: Mapping[str, Any], key: str) -> Finding:
    """Values with `$` are known only when an alert comes."""
    declared = _declared(job)
    problems = [f"{name} is not declared" for name in sent if name not in declared]
    for name, option in declared.items():
        if name in sent:
            problems += [f"{name} is secure, so the history does not show it"] * bool(option.get("secure"))
            problems += [f"{name} does not allow {sent[name]}"] * ("$" not in sent[name] and _refuses(option, sent[name]))
        else:
            problems += [f"{name} has a default"] * bool(option.get("value"))
            problems += [f"{name} is required"] * bool(option.get("required"))
    remedy = f"declare plain options, name in {key} each that has a default or is required, and send only values that are allowed"
    return Finding("the job declares the options that are sent", not problems, answers.plain("; ".join(problems)), remedy)


def _refuses(option: Mapping[str, Any], value: str) -> bool:
    """Whether Rundeck does (ExecutionService.validateOptionValues), as far as can be told: not of values from a URL, nor by a
    regex of Java that RE2 doesn't know. An empty value isn't sent."""
    values, regex = [str(allowed) for allowed in option.get("values") or ()], str(option.get("regex") or "")
    parts = value.split(str(option.get("delimiter") or ",")) if option.get("multivalued") else [value]
    if option.get("enforced"):
        return bool(values) and not {"", *values}.issuperset(parts)
    return bool(regex) and not pattern_mistake(regex) and not all(full_match(regex, part) for part in parts if part)


def _check_holder(name: str, job: Mapping[str, Any]) -> Finding:
    """Without its default the job must restart all hosts: an option without a value stays a literal ${option.NAME}."""
    what, default = "the job can be limited to the host that hangs", _declared(job).get(name, {}).get("value")
    if not default or answers.HOST.fullmatch(str(default)):
        remedy = "declare it as a plain option with a default that stands for all hosts, such as .* (infra/rundeck/job.yaml)"
        detail = f"the default of {name} could be a host" if default else f"{name} has no default, which stands for all hosts"
        return Finding(what, False, detail, remedy)
    if f"option.{name}" not in _node_filter(job):
        remedy = "use it in the node filter, as in infra/rundeck/job.yaml"
        return Finding(what, None, f"the job's node filter does not use {name}", remedy)
    return Finding(what, True, name)


def guard_problem(job: Mapping[str, Any]) -> tuple[str, str]:
    """Why a late start would restart something anyway, and the remedy; empty if the first step prevents it."""
    sequence = answers.part(job, "sequence")
    steps = sequence.get("commands")
    first = steps[0] if isinstance(steps, list) and steps and isinstance(steps[0], dict) else {}
    code = "\n".join(line for line in str(first.get("script") or "").splitlines() if not line.lstrip().startswith("#"))
    named = f"@option.{NOT_AFTER_OPTION}@" in code or f"RD_OPTION_{NOT_AFTER_OPTION.upper()}" in code
    if not (named and "date +%s" in code and re.search(r"\bexit [1-9]", code)):
        remedy = "put the first step of infra/rundeck/job.yaml before the restart; mode auto needs it"
        return f"its first step does not compare {NOT_AFTER_OPTION} with the time and fail", remedy
    if sequence.get("keepgoing"):
        return "keepgoing is true: the restart follows even if the first step fails", "set the workflow's keepgoing to false"
    if (strategy := str(sequence.get("strategy", "node-first"))) not in ("node-first", "sequential"):
        problem = f"the strategy {answers.plain(strategy, 40)} does not wait for the first step"
        return problem, "set the workflow's strategy to sequential"
    if "errorhandler" in first:
        return "the first step has an error handler: its failure need not end the run", "remove the first step's error handler"
    return "", ""
