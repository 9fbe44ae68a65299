"""The questions of `check`: which system answers each, and the lines of the answer; and those about the configuration itself."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from functions.application.observe import read_pause, unwrap
from functions.application.ports import Chat, Finding, Query, finding_of_error
from functions.application.serialization import decode
from functions.application.storm import is_shard
from functions.bootstrap import Adapters
from functions.config.matchers import overlaps
from functions.domain.decisions.matching import NotRendered, last_matches
from functions.domain.decisions.messages import channels_for
from functions.domain.model.alerts import MOVES, RETURNS
from functions.domain.model.codes import Mode
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Pause, QueueSnapshot
from functions.domain.model.runbooks import EvidenceJob, Remedy, Rules, Runbook
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
MOVER_SAYS = "only its node can tell, with the job's own account"
MOVER_CHECK = "Ask there, without a stop: unstick-move check VHOST QUEUE 1 check (docs/remedies.md)."


AT_ONCE = 16
NOT_MATCHED = ("bundle-", "check-")
HOLDER_HOSTS = "the consumers' hosts are nodes of the job"
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
    settings, runbooks = ports.config, ports.rules.runbooks.values()
    jobs: list[tuple[Callable[[], list[Finding]], str]] = [
        (partial(ports.runner.check, one.restart, auto=one.mode is Mode.AUTO, timeout_s=timeout_s), one.name) for one in runbooks
    ]
    jobs += [(partial(_check_holder, ports, one, labels, timeout_s), one.name) for one in runbooks if one.restart.holder]
    jobs += [(partial(_check_evidence, ports, one.evidence, timeout_s), one.name) for one in runbooks if one.evidence]
    jobs += [(partial(_check_remedy, ports, one, remedy, timeout_s), one.name) for one in runbooks for remedy in one.remedies]
    return [
        Question("Configuration", lambda: list(_check_configuration(ports))),
        *(Question("Secrets", partial(_check_secret, place, secret)) for place, secret in settings.secrets),
        *(Question(settings.runner.name, ask, name) for ask, name in jobs),
        *(Question(one.symptom.kind, partial(_check_queue, ports, one, labels, timeout_s), one.name) for one in runbooks),
        Question("Store", partial(ports.store.check, timeout_s=timeout_s)),
        Question("Scheduler", partial(ports.scheduler.check, creates=creates, timeout_s=timeout_s)),
        Question("Store", partial(_check_switch, ports, timeout_s)),
        Question("Alerts", partial(_check_matches, ports, timeout_s)),
        *(
            Question("Chats", partial(check_chat, f"{name} ({one.name})", one.adapter, timeout_s))
            for name, one in settings.channels.items()
        ),
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
    values = list(_values_of(secrets))
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


def _values_of(secrets: Iterable[SecretRef]) -> Iterator[str]:
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
    if isinstance(error, Denied):
        return finding_of_error(f"{question.system} can be asked", error)
    if isinstance(error, Unavailable):
        remedy = "Make sure that it is up and can be reached from here, or give --timeout more seconds."
        return finding_of_error(f"{question.system} answers", error, remedy)
    raise error


def _check_configuration(ports: Adapters) -> Iterator[Finding]:
    """Settings that are valid, but may not be intended."""
    rules, count = ports.rules, len(ports.rules.runbooks)
    yield Finding("the file has no mistakes", True, f"{count} runbook{'s' * (count != 1)}")
    if not rules.runbooks:
        yield Finding("runbooks", None, "there are none, so nothing is ever restarted", "Add one.")
    for one in overlaps(rules.runbooks):
        detail = f"an alert may match {one.earlier} too, which comes before it"
        finding = Finding(f"{one.later} gets its alerts", None, detail, "Add a matcher that keeps the two apart.")
        if one.always:
            detail = f"{one.earlier}, which comes before it, takes every alert that it matches"
            finding = Finding(finding.what, False, detail, f"Move it before {one.earlier}, or remove it.")
        yield finding
    for runbook in rules.runbooks.values():
        if not channels_for(rules, runbook):
            remedy = "Add `notify:` to the runbook or at the top."
            yield Finding(f"people hear of {runbook.name}", False, "no channel is named", remedy)
        yield from _check_likely(rules, runbook)
    if not rules.default_channels:
        detail, remedy = "nobody hears of alerts without a runbook", "Add `notify:` at the top."
        yield Finding("people hear of everything else", None, detail, remedy)
    if ports.config.identity_header:
        detail = f"whoever reaches this function past the proxy can set {ports.config.identity_header} and approve in any name"
        yield Finding("identity_header", None, detail, "Set it only if nothing gets here past that proxy, Grafana included.")
    yield from _check_secrecy(ports)


def _check_likely(rules: Rules, runbook: Runbook) -> Iterator[Finding]:
    """What becomes of a queue that is only likely to hang."""
    symptom = runbook.symptom
    if runbook.mode is Mode.AUTO and not rules.can_ask:
        detail = "nobody can be asked about what is only likely to hang, so that is held"
        yield Finding(f"{runbook.name}: people can be asked", None, detail, "Set `public_url`.")
    if runbook.restart.holder and not symptom.users:
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
    try:
        value = secret.read()
    except (Denied, Unavailable) as error:
        return [finding_of_error(place, error, "Make sure that it can be read from here.")]
    if around := _around(value):
        remedy = "If that is not part of it, set it again as docs/deploy.md says."
        return [Finding(place, None, f"{secret.reference} has a {around}", remedy)]
    if len(value) < SHORT_SECRET and place.startswith(("grafana.auth", "signing_keys")):
        remedy = "Use a long random one: openssl rand -hex 32"
        return [Finding(place, None, f"{secret.reference} is shorter than {SHORT_SECRET} bytes", remedy)]
    return [Finding(place, True, f"{secret.reference} can be read")]


def _around(value: bytes) -> str:
    """What surrounds a secret that was pasted or typed carelessly."""
    if value != value.strip():
        return "blank or line break at an end"
    quoted = len(value) > 1 and value[:1] == value[-1:] and value[:1] in (b'"', b"'")
    return "pair of quotes around it" if quoted else ""


def _check_remedy(ports: Adapters, runbook: Runbook, remedy: Remedy, timeout_s: float) -> list[Finding]:
    """The same for a remedy's job, which must always refuse a late start."""
    moving = dict.fromkeys((*MOVES, RETURNS), "$") if remedy.moves else {}
    restart = replace(
        runbook.restart, job=remedy.job, options={**runbook.restart.options, **remedy.options, **moving}, holder=None
    )
    findings = ports.runner.check(restart, auto=True, timeout_s=timeout_s)
    own = [Finding(MOVER, ok=None, detail=MOVER_SAYS, remedy=MOVER_CHECK)] if remedy.moves else []
    return [replace(finding, what=f"{remedy.name}: {finding.what}") for finding in (*findings, *own)]


def _check_evidence(ports: Adapters, evidence: EvidenceJob, timeout_s: float) -> list[Finding]:
    return ports.runner.check_evidence(evidence.job, tuple(evidence.options), within_s=evidence.within_s, timeout_s=timeout_s)


def _check_queue(ports: Adapters, runbook: Runbook, labels: Mapping[str, str], timeout_s: float) -> list[Finding]:
    """Check the runbook's symptom, for an alert with these labels and those that its matchers require."""
    fixed = {matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="}
    return ports.symptoms[runbook.symptom.kind].check(runbook.symptom, {**fixed, **labels}, timeout_s=timeout_s)


def _check_holder(ports: Adapters, runbook: Runbook, labels: Mapping[str, str], timeout_s: float) -> list[Finding]:
    """Compare the consumers' hosts, as `restart.holder` sends one, with the hosts of the runner's nodes and with `allow`: a
    start for a host that is no node's goes nowhere."""
    holder = runbook.restart.holder
    if holder is None:
        return []
    fixed = {matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="}
    hosts = ports.runner.list_hosts(runbook.restart, timeout_s=timeout_s)
    try:
        adapter = ports.symptoms[runbook.symptom.kind]
        queue = adapter.name_queue(runbook.symptom, {**fixed, **labels})
        (seen,) = adapter.look_all([Query(queue, 0.0)], timeout_s=timeout_s)
    except NotRendered:
        seen = None  # the queue comes with the alert
    consumers = _hosts_of(seen) if isinstance(seen, QueueSnapshot) else ()
    nodes = f"the nodes' `hostname` is {', '.join(sorted(hosts)) or 'not there'}"
    remedy = "Give each node the address that RabbitMQ sees as its `hostname`, or leave `holder` out (infra/rundeck/README.md)."
    if lost := sorted(set(consumers) - set(hosts)):
        return [Finding(HOLDER_HOSTS, False, f"consumers come from {', '.join(lost)}, {nodes}", remedy)]
    allowed = [host for host in consumers or hosts if full_match(holder.allow, host)]
    if not allowed:
        return [Finding(HOLDER_HOSTS, False, f"none matches restart.holder.allow: {nodes}", remedy)]
    detail = f"{len(allowed)} of {len(consumers or hosts)} match restart.holder.allow"
    return [Finding(HOLDER_HOSTS, True if consumers else None, detail, "" if consumers else COMPARED_WITH_QUEUE)]


def _hosts_of(seen: QueueSnapshot) -> tuple[str, ...]:
    """The hosts that the queue's consumers come from, by their channels or else by the names of these."""
    names = {one.host for one in seen.channels or () if one.host}
    found = (re.match(r"\[?([^\s\]]+?)\]?:\d+ -> ", one) for one in seen.consumer_ids or ())
    return tuple(sorted(names or {one[1] for one in found if one}))


def check_chat(what: str, chat: Chat, timeout_s: float) -> list[Finding]:
    """The findings of the chat, or the error that it raises. One that doesn't answer now must not fail a deployment."""
    try:
        return [replace(finding, what=what) for finding in chat.check(timeout_s=timeout_s)]
    except Denied as error:
        return [finding_of_error(what, error)]
    except Unavailable as error:
        return [Finding(what, ok=None, detail=error.detail, remedy=error.remedy)]


def _check_matches(ports: Adapters, timeout_s: float) -> list[Finding]:
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


def _check_switch(ports: Adapters, timeout_s: float) -> list[Finding]:
    what, unreadable = "kill switch", "it can't be read, and while it can't, nothing is restarted"
    try:
        pause = read_pause(ports, timeout_s)
    except (Denied, Unavailable) as error:
        remedy = error.remedy if isinstance(error, Denied) else "Make sure that the store is up."
        return [Finding(what, ok=False, detail=f"{unreadable}: {error.detail}", remedy=remedy)]
    if isinstance(pause, Pause):
        detail = f"on, so nothing is restarted: {pause.reason} ({pause.by})"
        return [Finding(what, ok=None, detail=detail, remedy="To turn it off: unstick resume")]
    return [Finding(what, ok=True, detail="off")]
