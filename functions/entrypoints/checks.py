"""The questions of `check`: which system answers each, and the lines of the answer; and those about the configuration itself."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.checks import find_missing, finding_of, finding_of_error
from functions.application.history import document_keys, load_documents
from functions.application.observe import READ_EVIDENCE_S, plan_queues, read_evidence
from functions.application.ports import Budget, Chat, Finding, Query
from functions.bootstrap import Adapters
from functions.config.settings import Config, File, Named
from functions.domain.decisions.evidence import make_tag, read_opinions, with_readings
from functions.domain.decisions.matching import (
    HOLDER_HOST,
    NotRendered,
    list_host_options,
    list_hosts,
    name_host,
    render_evidence,
)
from functions.domain.decisions.step import Queues
from functions.domain.health.stalls import say_stalls
from functions.domain.model.alerts import QueueRef
from functions.domain.model.codes import Mode, Phase
from functions.domain.model.incidents import Document, EvidenceRun, Incident
from functions.domain.model.observations import QueueSnapshot, QueueStalls
from functions.domain.model.runbooks import EvidenceJob, Runbook, Symptom
from functions.domain.texts.words import duration
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import is_loopback
from functions.runtime.parallel import run_parallel, unwrap
from functions.runtime.secrets import SecretRef, redact
from functions.runtime.text import join

SHORT_SECRET = 16  # bytes. A shorter secret can be guessed from a signed body
GRACE_S = 1.0  # seconds beyond the time-out of each system that all together may take
CONSUMERS_HOST = re.compile(r"\[?([^\s\]]+?)\]?:\d+ -> ")  # its connection's name begins with it
EVIDENCE_REMEDY = (
    "See its output. Rundeck's role needs `run` on the nodes, and `storage: read` on their keys (infra/rundeck/README.md)."
)
CONSUMERS_S = 10.0
UNREACHABLE = "Make sure that it is up and can be reached from here, or give --timeout more seconds."


class Line(Struct, frozen=True):
    """One line of the answer. `runbooks`: the affected ones; empty: all."""

    system: str
    finding: Finding
    runbooks: tuple[str, ...] = ()


class Question(Struct, frozen=True):
    system: str
    ask: Callable[[], list[Finding]]
    runbook: str = ""


def questions(ports: Adapters, labels: Mapping[str, str], timeout_s: float) -> list[Question]:
    """All questions, in the order of the answer."""
    every = [Question("Configuration", lambda: list(_check_configuration(ports)))]
    every += [Question("Secrets", partial(_check_secret, place, secret)) for place, secret in list_secrets(ports.config)]
    for runbook in ports.rules.runbooks.values():
        every += _ask_about(ports, runbook, labels, timeout_s)
    every.append(Question("Store", partial(ports.store.check, timeout_s=timeout_s)))
    every.append(Question("Scheduler", partial(ports.scheduler.check, timeout_s=timeout_s)))
    every.append(Question("Alerts", partial(_check_alerts, ports, labels, timeout_s)))
    for name, chat in ports.config.channels.items():
        every.append(Question("Chats", partial(check_chat, f"{name} ({chat.name})", chat.adapter, timeout_s)))
    return every


def list_secrets(config: Config) -> Iterator[tuple[str, SecretRef]]:
    """(place in the file, reference) of every secret."""
    sections = [(config.runner.name, config.runner), *config.symptoms.items()]
    for name, section in [*sections, *((name, getattr(config, name)) for name in File.__struct_fields__)]:
        yield from _secrets_in(name, section)


def _secrets_in(place: str, part: Any) -> Iterator[tuple[str, SecretRef]]:
    parts: dict[str, Any] = {}
    if isinstance(part, SecretRef):
        yield place, part
    elif isinstance(part, Named):
        parts = {place: part.adapter}
    elif isinstance(part, Struct):
        parts = {f"{place}.{name}": getattr(part, name) for name in part.__struct_fields__}
    elif isinstance(part, Mapping):
        parts = {f"{place}.{name}": value for name, value in part.items()}
    elif isinstance(part, tuple):
        parts = {f"{place}[{n}]": value for n, value in enumerate(part)}
    for inner, value in parts.items():
        yield from _secrets_in(inner, value)


def _ask_about(ports: Adapters, runbook: Runbook, labels: Mapping[str, str], timeout_s: float) -> Iterator[Question]:
    alert = _alert_of(runbook, labels)
    name, symptom = runbook.name, runbook.symptom
    yield Question(ports.config.runner.name, partial(_check_runner, ports, runbook, alert, timeout_s), name)
    yield Question(symptom.kind, partial(ports.symptoms[symptom.kind].check, symptom, alert, timeout_s=timeout_s), name)


def _alert_of(runbook: Runbook, labels: Mapping[str, str]) -> dict[str, str]:
    return {matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="} | dict(labels)


def run_evidence(ports: Adapters, book: Runbook, job: EvidenceJob, labels: Mapping[str, str]) -> list[Finding]:
    """Run the job and read it as an incident of this alert does, on the host of a consumer of its queue if it takes a host."""
    alert = _alert_of(book, labels)
    consumers = _list_consumer_hosts(ports, book, alert, CONSUMERS_S) if list_host_options(job) else ()
    host = next(iter(list_hosts(job, sorted(consumers))), "")
    what, evidence, now = "its job runs and writes something", render_evidence(job, alert), ports.now()
    if evidence.missing:
        refused = Finding(what, False, evidence.missing, "Compare the labels with evidence.allow.")
        return [find_missing(what, [value.replace(HOLDER_HOST, "") for value in job.options.values()], alert) or refused]
    incident = Incident(f"check-{now * 1000:.0f}", Phase.COLLECTING, now, book.name, (), ())
    tag, budget = make_tag(incident.id, "check", 0), Budget(ports, ports.monotonic() + job.within_s + READ_EVIDENCE_S)
    run = ports.runner.start_evidence(job.job, name_host(job, evidence.options, host), tag=tag, timeout_s=job.within_s)
    ordered = replace(evidence, asked_at=now, until=now + job.within_s, runs=(EvidenceRun(tag, host, run),))
    incident = replace(incident, evidence=ordered)
    readings = read_evidence(ports, incident, budget) or ()
    while any(reading.awaited for reading in readings):
        time.sleep(0.5)
        readings = read_evidence(ports, incident, budget) or ()
    evidence = with_readings(ordered, readings, ports.now())
    where = f"execution {run.id} on {host}" if host else f"execution {run.id}"
    detail = ": ".join((str(evidence.missing or where), *evidence.lines[-1:]))
    findings = [Finding(what, not evidence.missing, detail, f"{EVIDENCE_REMEDY} {run.url}".rstrip())]
    if job.opinion and not evidence.missing:
        opinions = read_opinions(evidence.runs[0], readings[0])
        told = [f"{each.host or 'it'} is {'healthy' if each.healthy else 'stuck'}: {each.reason}" for each in opinions]
        remedy = f"Where it is sure, its last line must be `unstick {tag} healthy REASON`, or `stuck` (docs/evidence.md)."
        findings.append(Finding("its opinion is understood", bool(told) or None, "; ".join(told) or "it has none", remedy))
    return findings


def ask_all(every: Sequence[Question], timeout_s: float, advance: Callable[[], None]) -> list[Line]:
    """Ask all at once. What runbooks share appears once, and no line shows a secret that a server echoed."""

    def ask(question: Question) -> list[Finding]:
        try:
            return question.ask()
        finally:
            advance()

    results = run_parallel([partial(ask, question) for question in every], timeout_s=timeout_s + GRACE_S)
    runbooks: dict[tuple[str, Finding], list[str]] = {}
    for question, result in zip(every, results, strict=True):
        for answered in [_unanswered(question, result)] if isinstance(result, Exception) else result:
            shown = redact(str(answered.detail))
            finding = answered if shown == str(answered.detail) else replace(answered, detail=shown)
            runbooks.setdefault((question.system, finding), []).append(question.runbook)
    several = len({question.runbook for question in every if question.runbook}) > 1
    order = {question.system: place for place, question in reversed(list(enumerate(every)))}
    lines = [
        Line(system, finding, tuple(name for name in dict.fromkeys(names) if name) if several else ())
        for (system, finding), names in runbooks.items()
    ]
    return sorted(lines, key=lambda line: order[line.system])


def _unanswered(question: Question, error: Exception) -> Finding:
    what = f"{question.system} {'can be asked' if isinstance(error, Denied) else 'answers'}"
    return finding_of(what, lambda: unwrap(error), UNREACHABLE)


def _check_configuration(ports: Adapters) -> Iterator[Finding]:
    rules, count = ports.rules, len(ports.rules.runbooks)
    yield Finding("the file has no mistakes", True, f"{count} runbook{'s' * (count != 1)}")
    for earlier, later in combinations(rules.runbooks.values(), 2):
        if set(earlier.match) <= set(later.match):
            detail = f"{earlier.name}, which comes before it, takes every alert that it matches"
            yield Finding(f"{later.name} gets its alerts", False, detail, f"Move it before {earlier.name}, or remove it.")
    if not rules.default_channels:
        yield Finding("people hear of what happens", False, "no channel is named", "Add `notify:` to the runbooks or at the top.")
    for name, runbook in rules.runbooks.items():
        if runbook.mode is Mode.AUTO and not rules.can_ask:
            detail = "nobody can be asked about what is only likely to hang, so that is held"
            yield Finding(f"{name}: people can be asked", None, detail, "Set `public_url`.")
    yield from _check_secrecy(ports)


def _check_secrecy(ports: Adapters) -> Iterator[Finding]:
    """Settings that let others read traffic or sign in our name."""
    urls = {f"{ports.config.runner.name}.url": ports.config.runner.adapter.url}
    for name, symptom in ports.symptoms.items():
        if any(place.startswith(f"{name}.") for place, _ in list_secrets(ports.config)):
            urls[f"{name}.url"] = getattr(symptom, "url", "")
    if _is_open_http(ports.rules.public_url):
        detail = "http: others reach its port without a proxy, where slow senders keep Grafana out and all is readable"
        remedy = "Listen on 127.0.0.1, behind a proxy with TLS (docs/deploy.md)."
        yield Finding("public_url leads to a proxy", None, detail, remedy)
    for place, url in urls.items():
        if _is_open_http(url):
            detail, remedy = "http sends everything unencrypted", "Use https, or keep the traffic inside a private network."
            yield Finding(f"{place} is private", None, detail, remedy)
    keys = {key.reference for key in ports.config.signing_keys}
    for place, secret in list_secrets(ports.config):
        if secret.reference in keys and not place.startswith("signing_keys"):
            detail = f"{secret.reference} is one of signing_keys: whoever has it can sign approvals and wake-ups"
            yield Finding(f"{place} is separate", None, detail, "Make another for signing_keys.")


def _is_open_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname)


def _check_secret(place: str, secret: SecretRef) -> list[Finding]:

    def look() -> Finding:
        value = secret.read()
        if len(value) < SHORT_SECRET and place.startswith(("grafana.auth", "signing_keys")):
            remedy = "Use a long random one: openssl rand -hex 32"
            return Finding(place, None, f"{secret.reference} is shorter than {SHORT_SECRET} bytes", remedy)
        return Finding(place, True, f"{secret.reference} can be read")

    return [finding_of(place, look, "Make sure that it can be read from here.")]


def _check_runner(ports: Adapters, runbook: Runbook, alert: Mapping[str, str], timeout_s: float) -> list[Finding]:
    ends, evidence = ports.monotonic() + timeout_s, runbook.evidence
    takes_host = runbook.restart.holder or (evidence and list_host_options(evidence))
    consumers = _list_consumer_hosts(ports, runbook, alert, timeout_s / 2) if takes_host else frozenset[str]()
    left_s = ends - ports.monotonic()
    return ports.runner.check(runbook.restart, evidence, consumers, auto=runbook.mode is Mode.AUTO, timeout_s=left_s)


def _list_consumer_hosts(ports: Adapters, runbook: Runbook, alert: Mapping[str, str], timeout_s: float) -> frozenset[str]:
    """The hosts of the queue's consumers; empty if they can't be seen, or if the queue comes with the alert."""
    adapter = ports.symptoms[runbook.symptom.kind]
    with suppress(NotRendered):
        (outcome,) = adapter.look_all([Query(adapter.name_queue(runbook.symptom, alert), 0.0)], timeout_s=timeout_s)
        ids = (outcome.consumer_ids or ()) if isinstance(outcome, QueueSnapshot) else ()
        return frozenset(host[1] for name in ids if (host := CONSUMERS_HOST.match(name)))
    return frozenset()


def check_chat(what: str, chat: Chat, timeout_s: float) -> list[Finding]:
    """The findings of the chat, or the error that it raises. One that doesn't answer now must not fail a deployment."""
    try:
        return [replace(finding, what=what) for finding in chat.check(timeout_s=timeout_s)]
    except (Denied, Unavailable) as error:
        return [replace(finding_of_error(what, error), ok=False if isinstance(error, Denied) else None)]


def _check_alerts(ports: Adapters, labels: Mapping[str, str], timeout_s: float) -> list[Finding]:
    try:
        documents = load_documents(ports, document_keys(ports, timeout_s=timeout_s), timeout_s=timeout_s).readable
    except (Denied, Unavailable) as error:
        return [finding_of_error("queues were watched", error)]
    return list(_check_watching(ports, documents, labels, timeout_s))


def _check_watching(
    ports: Adapters, documents: Sequence[Document], labels: Mapping[str, str], timeout_s: float
) -> Iterator[Finding]:
    """How long the queues of each runbook were watched, and what `mode: auto` needs. If the labels name a queue, of that one."""
    runbooks, queues = ports.rules.runbooks, dict[str, QueueRef]()
    for name, runbook in runbooks.items():
        with suppress(NotRendered):  # the queue comes with the alert
            queues[name] = ports.symptoms[runbook.symptom.kind].name_queue(runbook.symptom, _alert_of(runbook, labels))
    others: Queues = {
        queue.key: (queue, runbooks[name]) for name, queue in queues.items() if runbooks[name].mode is not Mode.AUTO
    }
    calls, sort = plan_queues(ports, others, timeout_s / 2)
    readings = sort(run_parallel(calls, timeout_s=timeout_s / 2))
    for name, runbook in runbooks.items():
        symptom, queue, is_auto = runbook.symptom, queues.get(name), runbook.mode is Mode.AUTO
        stalls = {key: learned for document in documents if name in document.matched for key, learned in document.stalls.items()}
        by_name = {key.split(":", 2)[2]: learned for key, learned in stalls.items() if key.startswith(f"{symptom.kind}:")}
        of_queue = stalls.get(queue.key) if queue else None
        told: Mapping[str, QueueStalls | None] = {queue.name: of_queue} if queue else by_name or {"its queue": None}
        for each, learned in told.items():
            if symptom.learns and (learned or is_auto):
                yield _say_watched(f"{name}: {each} was watched", symptom, learned, ports.now())
        needed = ports.symptoms[symptom.kind].Keys.NEEDED_BY_AUTO
        if needed and queue and not is_auto:
            yield _say_needed(name, needed, symptom, queue, readings[queue.key])


def _say_watched(what: str, symptom: Symptom, learned: QueueStalls | None, now: float) -> Finding:
    if learned is None:
        remedy = "Set `mode: observe` until it has stood still three times, or for some days."
        return Finding(what, None, "never, so how long it stands still while all is well is not known", remedy)
    return Finding(what, True, join((f"for {duration(now - learned.since)}", say_stalls(symptom, learned))))


def _say_needed(name: str, needed: Iterable[str], symptom: Symptom, queue: QueueRef, reading: object) -> Finding:
    """By who consumes now. What was learned is not written as `for`, which would hold it for good, and for all kinds."""
    users = list(reading.users) if isinstance(reading, QueueSnapshot) else []
    values = {**queue.keys, "users": users or ["..."], "for": f"{symptom.for_s:.0f}s"}
    line = ", ".join(f"{key}: {json.dumps(values[key], ensure_ascii=False)}" for key in needed)
    return Finding(f"{name}: what mode auto needs", True, f"symptom: {{{symptom.kind}: {{{line}}}}}")
