"""Finds the runbook of an alert and renders its target."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef, Target
from functions.domain.model.codes import Health, Reason
from functions.domain.model.incidents import Evidence
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Matcher, Restart, Rules, Runbook, Symptom
from functions.domain.texts.patterns import full_match
from functions.runtime.text import COMMA, Phrase, Text, join, named

if TYPE_CHECKING:
    from functions.domain.health.looks import Judgement  # each start would pay for it

MAX_MATCHED = 1024  # the longest label value that a regular expression sees: a longer one matches nothing
SHOWN = 60  # maximum length of an untrusted value in a sentence
LABELS_SHOWN = 8
MONITORING_FAILURES = ("DatasourceNoData", "DatasourceError")
"""Alerts that Grafana raises in place of a rule's own ("No data and error states" in its manual); `rulename` names the rule."""

_LABEL = re.compile(r"\$\{labels\.([^${}]+)\}")


def matches(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """Whether the labels satisfy the matcher. A value that is too long for a regular expression matches neither =~ nor !~."""
    value = labels.get(matcher.label, "")
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    if len(value) > MAX_MATCHED:
        return False
    return full_match(matcher.value, value) == (matcher.op == "=~")


HOLDER_HOST = "${holder.host}"  # a whole value in the evidence job's options: the host that holds a message


def template_labels(template: str) -> tuple[str, ...]:
    """The labels that the template names. Raises ValueError for any other `${`."""
    if "${" in _LABEL.sub("", template):
        raise ValueError("has a ${ that is not ${labels.NAME}")
    return tuple(_LABEL.findall(template))


OPTION = re.compile(r"\$\{option\.([A-Za-z0-9_.-]{1,80})\}")
"""An option of the runbook in an argument of a command."""


def template_options(template: str) -> tuple[str, ...]:
    """The options that an argument of a command uses. Raises ValueError for any other `${`."""
    if "${" in OPTION.sub("", template):
        raise ValueError("has a ${ that is not ${option.NAME}")
    return tuple(OPTION.findall(template))


class NotRendered(Exception):
    """A template's value can't be used; the text says why."""

    def __init__(self, text: Phrase) -> None:
        super().__init__(str(text))
        self.text = text


NameQueue = Callable[[Symptom, Mapping[str, str]], QueueRef]
"""The queue that a runbook's symptom watches for an alert with these labels. Raises NotRendered. Each symptom has its own."""


def fill_template(template: str, labels: Mapping[str, str], what: Phrase) -> str:
    """The template with its labels filled in. NotRendered names `what`; an empty label counts as missing."""
    if "${" not in template:
        return template
    for name in _LABEL.findall(template):
        value = labels.get(name, "")
        if not value:
            raise NotRendered(Text("{what}: the alert has no label {label}", what=what, label=shown(name)))
        if len(value) > MAX_MATCHED:  # check before inserting it, perhaps many times
            raise NotRendered(named(Text("{what}, label {label}", what=what, label=shown(name)), _too_long(value)))
    return _LABEL.sub(lambda label: labels[label[1]], template)


def _too_long(value: str) -> Text:
    return Text("{count} characters, the limit is {limit}: {value}", count=len(value), limit=MAX_MATCHED, value=shown(value))


def refuse_control_characters(value: str, what: Phrase) -> None:
    """Raise NotRendered if a filled-in value contains any."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise NotRendered(named(what, Text("it contains control characters: {value}", value=shown(value))))


def shown(value: str) -> str:
    """An untrusted value for a sentence: quoted, shortened, and with everything unprintable escaped."""
    cut = value[: SHOWN - 1] + "…" if len(value) > SHOWN else value
    escaped = (character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut)
    return f'"{"".join(escaped)}"'


def match_alerts(rules: Rules, runner_url: str, alerts: Iterable[Alert], name_queue: NameQueue) -> list[MatchedAlert]:
    """Match each alert, in order: its target, or the reason why it has none. Resolved ones too, to reach their incidents."""
    return [_case(rules.runbooks, runner_url, alert, name_queue) for alert in alerts]


def _case(runbooks: Mapping[str, Runbook], runner_url: str, alert: Alert, name_queue: NameQueue) -> MatchedAlert:
    if alert.test:
        return MatchedAlert(alert, reason=Reason.TEST_ALERT)
    if alert.name in MONITORING_FAILURES:
        # Look up the channels by the rule's name: those of its own runbook.
        own = {**alert.labels, "alertname": alert.labels.get("rulename", "")}
        return MatchedAlert(alert, _first(runbooks, own), reason=Reason.MONITORING_FAILURE, detail=alert.name)
    runbook, labels = _first(runbooks, alert.labels), alert.labels
    if runbook is None:
        return MatchedAlert(alert, reason=Reason.NO_RUNBOOK)
    try:
        options = _render(runbook.restart.options, runbook.restart, labels)
        target, queue = to_target(runbook.restart, runner_url, options), name_queue(runbook.symptom, labels)
    except NotRendered as refusal:
        return MatchedAlert(alert, runbook, reason=Reason.INVALID_OPTION, detail=refusal.text)
    return MatchedAlert(alert, runbook, target, queue)


def _first(runbooks: Mapping[str, Runbook], labels: Mapping[str, str]) -> Runbook | None:
    return next((runbook for runbook in runbooks.values() if all(matches(matcher, labels) for matcher in runbook.match)), None)


def explain_mismatch(runbooks: Mapping[str, Runbook], labels: Mapping[str, str]) -> Phrase:
    """The labels that the runbooks look at, with this alert's values."""
    names = dict.fromkeys(matcher.label for runbook in runbooks.values() for matcher in runbook.match)
    values = [f"{name}={shown(labels[name])}" if labels.get(name) else Text("no {label}", label=name) for name in names]
    return Text("the runbooks look at {labels}", labels=join(values[:LABELS_SHOWN], COMMA))


def _render(templates: Mapping[str, str], job: Restart | EvidenceJob, labels: Mapping[str, str]) -> dict[str, str]:
    return {name: _option(name, template, job.allow.get(name), labels) for name, template in templates.items()}


def to_target(restart: Restart, url: str, options: Mapping[str, str]) -> Target:
    """The target with these values of the options."""
    holder = restart.holder.option if restart.holder else ""
    return Target(target_key(url, restart.job, options), url, restart.job, options, holder)


def render_evidence(job: EvidenceJob, labels: Mapping[str, str]) -> Evidence:
    """The initial evidence of an incident: the job's options, or why none can be collected. `name_host` adds the host."""
    templates = {name: template for name, template in job.options.items() if template != HOLDER_HOST}
    try:
        return Evidence(_render(templates, job, labels))
    except NotRendered as refusal:
        return Evidence(missing=refusal.text)


def list_hosts(job: EvidenceJob, hosts: Iterable[str]) -> list[str]:
    """Those of these hosts that the job may be limited to, each once. None if it takes no host."""
    patterns = [option.allow for option in list_host_options(job)]
    allowed = (host for host in hosts if host and len(host) <= MAX_MATCHED and all(full_match(p, host) for p in patterns))
    return list(dict.fromkeys(allowed)) if patterns else []


def list_host_options(job: EvidenceJob) -> list[HolderOption]:
    """The options that limit the job to one host, as `restart.holder` does a restart."""
    return [HolderOption(name, job.allow.get(name, "")) for name, value in job.options.items() if value == HOLDER_HOST]


def name_host(job: EvidenceJob, options: Mapping[str, str], host: str) -> dict[str, str]:
    """The options with this host in those that take it; without a host they are left out."""
    return {**options, **{option.option: host for option in list_host_options(job)}} if host else dict(options)


def find_only_host(holder: HolderOption | None, judged: Iterable[Judgement]) -> str:
    """The only host with a proof; empty if there are several, or if it is unknown or not allowed."""
    stuck = [judgement for judgement in judged if judgement.health is Health.ILL]
    hosts = {channel.host for judgement in stuck for channel in judgement.held_by}
    if holder is None or len(hosts) != 1 or not all(judgement.held_by for judgement in stuck):
        return ""
    (host,) = hosts
    return host if host and len(host) <= MAX_MATCHED and full_match(holder.allow, host) else ""


def _option(name: str, template: str, allow: str | None, labels: Mapping[str, str]) -> str:
    what = Text("option {name}", name=name)
    value = fill_template(template, labels, what)
    if value == template and allow is None:
        return value
    if used := tuple(dict.fromkeys(_LABEL.findall(template))):
        what = Text("option {name} (from label {labels})", name=name, labels=join(used, COMMA))
    if len(value) > MAX_MATCHED:
        raise NotRendered(named(what, _too_long(value)))
    refuse_control_characters(value, what)
    if used and value.startswith("-"):
        raise NotRendered(named(what, Text("it begins like an option of a command: {value}", value=shown(value))))
    if allow is None or not full_match(allow, value):
        raise NotRendered(named(what, Text("it does not match its `allow` pattern: {value}", value=shown(value))))
    return value


def target_key(url: str, job: str, options: Mapping[str, str]) -> str:
    """The key of a target's document: 20 hex digits, the same for every notification of the target."""
    canonical = json.dumps([url, job, sorted(options.items())], separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]
