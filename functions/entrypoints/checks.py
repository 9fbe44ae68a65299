"""The questions of `check`: which system answers each, and the lines of the answer; and those about the configuration itself."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from functions.application.observe import read_pause, unwrap
from functions.application.ports import Chat, Finding, Query, QueueOutcome, finding_of, finding_of_error
from functions.application.serialization import decode
from functions.application.storm import is_shard
from functions.bootstrap import Adapters
from functions.config.matchers import overlaps
from functions.domain.decisions.matching import NotRendered, last_matches
from functions.domain.decisions.messages import channels_for
from functions.domain.model.alerts import MOVES, RETURNS
from functions.domain.model.codes import Mode
from functions.domain.model.incidents import Document
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Remedy, Rules, Runbook
from functions.domain.texts.masking import MASK
from functions.domain.texts.patterns import full_match
from functions.domain.texts.words import duration
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.loopback import is_loopback
from functions.runtime.parallel import run_in_batches, run_parallel
from functions.runtime.secrets import SecretRef

LEAST_HIDDEN = 8  # characters of a secret; a shorter one is part of other words
SHORT_SECRET = 16  # bytes. A shorter secret can be guessed from a signed body
GRACE_S = 1.0  # seconds beyond the time-out of each system that all together may take
MOVER = "whether the job could move a message"
AT_ONCE = 16
NOT_MATCHED = ("bundle-", "check-")
HOLDER_HOSTS = "the job can be limited to the consumers' hosts"
COMPARED_WITH_QUEUE = "To compare them with a queue's consumers, add: --label vhost=... --label queue=..."


class Line(Struct, frozen=True):
    """One line of the answer. `runbooks`: the affected ones; empty: all."""

    system: str
    finding: Finding
    runbooks: tuple[str, ...] = ()


class Question(Struct, frozen=True):
    system: str
    ask: Callable[[], list[Finding]]
    runbook: str = ""


def questions(ports: Adapters, labels: Mapping[str, str], timeout_s: float, *, creates: bool = True) -> list[Question]:
    """All questions, in the order of the answer. `creates`: whether this account is to create wake-ups."""
    books, runner, chats = ports.rules.runbooks.values(), ports.config.runner.name, ports.config.channels.items()

    def ask(system: str, runbook: str, check: Callable[..., list[Finding]], *given: Any, **more: Any) -> Question:
        return Question(system, partial(check, *given, timeout_s=timeout_s, **more), runbook)

    return [
        Question("Configuration", lambda: list(_check_configuration(ports))),
        *(Question("Secrets", partial(_check_secret, place, secret)) for place, secret in ports.config.secrets),
        *(ask(runner, one.name, ports.runner.check, one.restart, auto=one.mode is Mode.AUTO) for one in books),
        *(ask(runner, one.name, _check_holder, ports, one, one.restart.holder, labels) for one in books if one.restart.holder),
        *(ask(runner, one.name, _check_evidence, ports, one.evidence) for one in books if one.evidence),
        *(ask(runner, one.name, _check_remedy, ports, one, remedy) for one in books for remedy in one.remedies),
        *(ask(one.symptom.kind, one.name, _check_queue, ports, one, labels) for one in books),
        ask("Store", "", ports.store.check),
        ask("Scheduler", "", ports.scheduler.check, creates=creates),
        ask("Store", "", _check_switch, ports),
        ask("Alerts", "", _check_matches, ports),
        *(ask("Chats", "", check_chat, f"{name} ({one.name})", one.adapter) for name, one in chats),
    ]


def ask_all(
    every: Sequence[Question], timeout_s: float, advance: Callable[[], None], secrets: Iterable[SecretRef] = ()
) -> list[Line]:
    """Ask all at once. Shared lines appear once; values of `secrets` are hidden, since a server may echo what it was sent."""

    def ask(question: Question) -> list[Finding]:
        try:
            return question.ask()
        finally:
            advance()

    results = run_parallel([partial(ask, question) for question in every], timeout_s=timeout_s + GRACE_S)
    values = list(_read_values(secrets))
    runbooks: dict[tuple[str, Finding], list[str]] = {}
    for question, result in zip(every, results, strict=True):
        for one in [_unanswered(question, result)] if isinstance(result, Exception) else result:
            finding = _hide(one, values)
            runbooks.setdefault((question.system, finding), []).append(question.runbook)
    several = len({question.runbook for question in every if question.runbook}) > 1
    order = {question.system: place for place, question in reversed(list(enumerate(every)))}
    lines = [
        Line(system, finding, tuple(name for name in dict.fromkeys(names) if name) if several else ())
        for (system, finding), names in runbooks.items()
    ]
    return sorted(lines, key=lambda line: order[line.system])


def _read_values(secrets: Iterable[SecretRef]) -> Iterator[str]:
    for secret in secrets:
        with suppress(Denied, Unavailable):  # that has a line of its own
            value = secret.read().decode(errors="replace").strip()
            if len(value) >= LEAST_HIDDEN:
                yield value


def _hide(finding: Finding, values: list[str]) -> Finding:
    detail = str(finding.detail)
    for value in values:
        detail = detail.replace(value, MASK)
    return finding if detail == str(finding.detail) else replace(finding, detail=detail)


def _unanswered(question: Question, error: Exception) -> Finding:
    what = f"{question.system} {'can be asked' if isinstance(error, Denied) else 'answers'}"
    remedy = "Make sure that it is up and can be reached from here, or give --timeout more seconds."
    return finding_of(what, lambda: unwrap(error), remedy)


def _check_configuration(ports: Adapters) -> Iterator[Finding]:
    """Settings that are valid, but may not be intended."""
    rules, count = ports.rules, len(ports.rules.runbooks)
    yield Finding("the file has no mistakes", True, f"{count} runbook{'s' * (count != 1)}")
    if not rules.runbooks:
        yield Finding("runbooks", None, "there are none, so nothing is ever restarted", "Add one.")
    for one in overlaps(rules.runbooks):
        detail, remedy = f"an alert may match {one.earlier} too, which comes before it", "Add a matcher that keeps the two apart."
        if one.always:
            detail = f"{one.earlier}, which comes before it, takes every alert that it matches"
            remedy = f"Move it before {one.earlier}, or remove it."
        yield Finding(f"{one.later} gets its alerts", False if one.always else None, detail, remedy)
    for runbook in rules.runbooks.values():
        yield from _check_runbook(rules, runbook)
    if not rules.default_channels:
        what = "people hear of everything else"
        yield Finding(what, None, "nobody hears of alerts without a runbook", "Add `notify:` at the top.")
    if ports.config.identity_header:
        detail = f"whoever reaches this function past the proxy can set {ports.config.identity_header} and approve in any name"
        yield Finding("identity_header", None, detail, "Set it only if nothing gets here past that proxy, Grafana included.")
    yield from _check_secrecy(ports)


def _check_runbook(rules: Rules, runbook: Runbook) -> Iterator[Finding]:
    """Whether people hear of it, and what becomes of a queue that is only likely to hang."""
    if not channels_for(rules, runbook):
        what = f"people hear of {runbook.name}"
        yield Finding(what, False, "no channel is named", "Add `notify:` to the runbook or at the top.")
    if runbook.mode is Mode.AUTO and not rules.can_ask:
        detail = "nobody can be asked about what is only likely to hang, so that is held"
        yield Finding(f"{runbook.name}: people can be asked", None, detail, "Set `public_url`.")
    if runbook.restart.holder and not runbook.symptom.users:
        detail = "whoever may consume the queue decides which host is restarted, so such a restart asks a person"
        remedy = "Add the application's RabbitMQ users to the symptom: `users: [...]`. With --label queue=... this names them."
        yield Finding(f"{runbook.name}: restart.holder", None, detail, remedy)


def _check_secrecy(ports: Adapters) -> Iterator[Finding]:
    """Settings that let others read traffic or sign in our name."""
    urls = {f"{ports.config.runner.name}.url": ports.config.runner_url, "public_url": ports.rules.public_url}
    for name, symptom in ports.symptoms.items():
        if any(place.startswith(f"{name}.") for place, _ in ports.config.secrets):
            urls[f"{name}.url"] = getattr(symptom, "url", "")
    for place, url in urls.items():
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            detail, remedy = "http sends everything unencrypted", "Use https, or keep the traffic inside a private network."
            yield Finding(f"{place} is private", None, detail, remedy)
    keys = {key.reference for key in ports.config.signing_keys}
    for place, secret in ports.config.secrets:
        if secret.reference in keys and not place.startswith("signing_keys"):
            detail = f"{secret.reference} is one of signing_keys: whoever has it can sign approvals and wake-ups"
            yield Finding(f"{place} is separate", None, detail, "Make another for signing_keys.")


def _check_secret(place: str, secret: SecretRef) -> list[Finding]:
    """Check whether the secret can be read; its value is never shown."""

    def look() -> Finding:
        value = secret.read()
        around = "blank or line break at an end" if value != value.strip() else ""
        if around or (len(value) > 1 and value[:1] == value[-1:] and value[:1] in (b'"', b"'")):
            around = around or "pair of quotes around it"
            remedy = "If that is not part of it, set it again as docs/deploy.md says."
            return Finding(place, None, f"{secret.reference} has a {around}", remedy)
        if len(value) < SHORT_SECRET and place.startswith(("grafana.auth", "signing_keys")):
            remedy = "Use a long random one: openssl rand -hex 32"
            return Finding(place, None, f"{secret.reference} is shorter than {SHORT_SECRET} bytes", remedy)
        return Finding(place, True, f"{secret.reference} can be read")

    return [finding_of(place, look, "Make sure that it can be read from here.")]


def _check_remedy(ports: Adapters, runbook: Runbook, remedy: Remedy, *, timeout_s: float) -> list[Finding]:
    """The same for a remedy's job, which must always refuse a late start."""
    moving = dict.fromkeys((*MOVES, RETURNS), "$") if remedy.moves else {}
    options = {**runbook.restart.options, **remedy.options, **moving}
    restart = replace(runbook.restart, job=remedy.job, options=options, holder=None)
    findings = ports.runner.check(restart, auto=True, timeout_s=timeout_s)
    if moving:
        ask_there = "Ask there, without a stop: unstick-move check VHOST QUEUE 1 check (docs/remedies.md)."
        findings.append(Finding(MOVER, None, "only its node can tell, with the job's own account", ask_there))
    return [replace(finding, what=f"{remedy.name}: {finding.what}") for finding in findings]


def _check_evidence(ports: Adapters, evidence: EvidenceJob, *, timeout_s: float) -> list[Finding]:
    return ports.runner.check_evidence(evidence.job, tuple(evidence.options), within_s=evidence.within_s, timeout_s=timeout_s)


def _check_queue(ports: Adapters, runbook: Runbook, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    symptom = runbook.symptom
    return ports.symptoms[symptom.kind].check(symptom, _labels_of(runbook, labels), timeout_s=timeout_s)


def _labels_of(runbook: Runbook, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an alert: these, and those that the runbook's matchers require."""
    return {matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="} | dict(labels)


def _check_holder(
    ports: Adapters, runbook: Runbook, holder: HolderOption, labels: Mapping[str, str], *, timeout_s: float
) -> list[Finding]:
    """Compare the consumers' hosts, as `restart.holder` sends one, with those that the runner knows and with `allow`: a start
    for another host goes nowhere."""
    hosts, (where, remedy) = ports.runner.list_hosts(runbook.restart, timeout_s=timeout_s), ports.runner.hosts_are
    adapter = ports.symptoms[runbook.symptom.kind]
    consumers: tuple[str, ...] = ()
    with suppress(NotRendered):  # the queue comes with the alert
        query = Query(adapter.name_queue(runbook.symptom, _labels_of(runbook, labels)), 0.0)
        consumers = _hosts_of(*adapter.look_all([query], timeout_s=timeout_s))
    known, named = f"{where} {', '.join(sorted(hosts)) or 'not there'}", consumers or hosts
    allowed = [host for host in named if full_match(holder.allow, host)]
    if lost := sorted(set(consumers) - set(hosts)):
        return [Finding(HOLDER_HOSTS, False, f"consumers come from {', '.join(lost)}, {known}", remedy)]
    if not allowed:
        return [Finding(HOLDER_HOSTS, False, f"none matches restart.holder.allow: {known}", remedy)]
    detail = f"{len(allowed)} of {len(named)} match restart.holder.allow"
    return [Finding(HOLDER_HOSTS, bool(consumers) or None, detail, COMPARED_WITH_QUEUE)]


def _hosts_of(seen: QueueOutcome) -> tuple[str, ...]:
    """The hosts that the queue's consumers come from, by their channels or else by the names of these."""
    if not isinstance(seen, QueueSnapshot):
        return ()
    names = {one.host for one in seen.channels or () if one.host}
    addresses = (re.match(r"\[?([^\s\]]+?)\]?:\d+ -> ", one) for one in seen.consumer_ids or ())
    return tuple(sorted(names or {one[1] for one in addresses if one}))


def check_chat(what: str, chat: Chat, timeout_s: float) -> list[Finding]:
    """The findings of the chat, or the error that it raises. One that doesn't answer now must not fail a deployment."""
    try:
        return [replace(finding, what=what) for finding in chat.check(timeout_s=timeout_s)]
    except (Denied, Unavailable) as error:
        return [replace(finding_of_error(what, error), ok=False if isinstance(error, Denied) else None)]


def _check_matches(ports: Adapters, *, timeout_s: float) -> list[Finding]:
    """When each runbook last matched an alert, and what matched none."""
    try:
        keys = [one.key for one in ports.store.list_documents(timeout_s=timeout_s) if not one.key.startswith(NOT_MATCHED)]
        calls = [partial(ports.store.load, key, timeout_s=timeout_s) for key in keys if key != "pause" and not is_shard(key)]
        loaded = run_in_batches(ports.run_parallel, calls, timeout_s=timeout_s, at_once=AT_ONCE)
        bodies = [one.body for one in map(unwrap, loaded) if one is not None]
        documents = [decode(Document, body, "of a target") for body in bodies]
    except (Denied, Unavailable) as error:
        return [Finding("runbooks get alerts", None, error.detail, error.remedy)]
    now, findings = ports.now(), []
    for name, at in last_matches(ports.rules.runbooks, documents).items():
        detail = "no alert has matched it yet" if at is None else f"last {duration(max(now - at, 0.0))} ago"
        findings.append(Finding(f"{name} gets alerts", True, detail))
    early = (one for document in documents for one in document.unmatched.recent(now))
    return [*findings, *(Finding(f"{one.said} matches a runbook", None, "it matched none", one.detail) for one in early)]


def _check_switch(ports: Adapters, *, timeout_s: float) -> list[Finding]:
    what = "kill switch"
    try:
        pause = read_pause(ports, timeout_s)
    except (Denied, Unavailable) as error:
        detail = f"it can't be read, and while it can't, nothing is restarted: {error.detail}"
        return [replace(finding_of_error(what, error, "Make sure that the store is up."), detail=detail)]
    detail = f"on, so nothing is restarted: {pause.reason} ({pause.by})" if pause else "off"
    return [Finding(what, None if pause else True, detail, "To turn it off: unstick resume")]
