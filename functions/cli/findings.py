"""What `check` asks, of whom, and the lines that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from functions.application.observe import read_pause
from functions.application.ports import Finding
from functions.cli import findings_file
from functions.cli.showing import Unusable
from functions.config import secret_refs
from functions.domain.decisions import matching
from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef
from functions.domain.model.codes import Mode
from functions.domain.model.observations import Pause
from functions.domain.model.runbooks import Runbook
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_parallel
from functions.runtime.registry import load_adapter

if TYPE_CHECKING:
    from functions.bootstrap import Adapters
    from functions.config.settings import Named

PROBE = "unstick-check-looks-for-no-queue"
"""Stands for a queue whose name only an alert tells."""

LATE_S = 1.0
"""How much longer than each system's own time-out all together may take."""


class Line(Struct, frozen=True):
    """One line of the table. `runbooks`: whom it concerns; empty: all."""

    system: str
    finding: Finding
    runbooks: tuple[str, ...] = ()


class Question(Struct, frozen=True):
    system: str
    ask: Callable[[], list[Finding]]
    runbook: str = ""


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, as --label has them."""
    for one in given:
        if "=" not in one:
            raise Unusable(f"--label {one}: that is no NAME=VALUE. Write for example --label queue=mail.outgoing.")
    return {name: value for name, _, value in (one.partition("=") for one in given)}


def questions(ports: Adapters, labels: Mapping[str, str], timeout_s: float) -> list[Question]:
    """All that is to be asked, in the order of the table."""
    settings = ports.config
    found = [Question("Configuration", partial(findings_file.configured, ports))]
    secrets = secret_refs.secrets(settings)
    found += [Question("Secrets", partial(findings_file.readable, place, secret)) for place, secret in secrets]
    runner = settings.runner
    found += [
        Question(runner.name, partial(_job, ports, runbook, timeout_s), runbook.name) for runbook in ports.rules.runbooks.values()
    ]
    found += [
        Question(runbook.symptom.kind, partial(_queue, ports, runbook, labels, timeout_s), runbook.name)
        for runbook in ports.rules.runbooks.values()
    ]
    for kind, system, named in (("stores", "Store", settings.store), ("schedulers", "Scheduler", settings.scheduler)):
        found.append(Question(system, partial(_room, kind, named, timeout_s)))
    found.append(Question("Store", partial(_switch, ports, timeout_s)))
    for name, channel in settings.channels.items():
        found.append(Question("Chats", partial(_channel, name, channel, timeout_s)))
    return found


def asked(every: Sequence[Question], timeout_s: float, done: Callable[[], None]) -> list[Line]:
    """Ask everybody at once. A line that several runbooks share stands once."""

    def answer(question: Question) -> list[Finding]:
        try:
            return question.ask()
        finally:
            done()

    results = run_parallel([partial(answer, question) for question in every], timeout_s=timeout_s + LATE_S)
    merged: dict[tuple[str, Finding], list[str]] = {}
    for question, result in zip(every, results, strict=True):
        for finding in _failed(question, result) if isinstance(result, Exception) else result:
            merged.setdefault((question.system, finding), []).append(question.runbook)
    several = len({question.runbook for question in every if question.runbook}) > 1
    order = {question.system: place for place, question in reversed(list(enumerate(every)))}
    lines = [
        Line(system, finding, tuple(name for name in dict.fromkeys(names) if name) if several else ())
        for (system, finding), names in merged.items()
    ]
    return sorted(lines, key=lambda line: order[line.system])


def _failed(question: Question, error: Exception) -> list[Finding]:
    if isinstance(error, Denied):
        return [Finding(f"{question.system} can be asked", ok=False, detail=error.detail, remedy=error.remedy)]
    if isinstance(error, Unavailable):
        remedy = "See that it is up and can be reached from here, or give --timeout more seconds."
        return [Finding(f"{question.system} answers", ok=False, detail=error.detail, remedy=remedy)]
    raise error


def _job(ports: Adapters, runbook: Runbook, timeout_s: float) -> list[Finding]:
    runner, restart = ports.config.runner, runbook.restart
    auto = runbook.mode is Mode.AUTO
    found: list[Finding] = load_adapter("runners", runner.name).check(
        runner.settings, restart.job, tuple(restart.options), auto=auto, timeout_s=timeout_s
    )
    return found


def _queue(ports: Adapters, runbook: Runbook, labels: Mapping[str, str], timeout_s: float) -> list[Finding]:
    """The runbook's queue where its name is known, else what can be known without it."""
    symptom = runbook.symptom
    settings, looked_at = ports.config.symptoms[symptom.kind], load_adapter("symptoms", symptom.kind)
    case = _sampled(ports, runbook, labels)
    if case.queue is not None:
        found: list[Finding] = looked_at.check(settings, case.queue, timeout_s=timeout_s)
        return found
    vhost = _filled(symptom.vhost, labels, runbook)
    probe = QueueRef(vhost or "/", PROBE, symptom.kind)
    found = [one for one in looked_at.check(settings, probe, timeout_s=timeout_s) if PROBE not in f"{one.what} {one.detail}"]
    if all(one.ok is not False for one in found):
        found.append(_vhost(looked_at, settings, probe, timeout_s) if vhost else _unnamed(runbook, labels))
    return found


def _sampled(ports: Adapters, runbook: Runbook, labels: Mapping[str, str]) -> MatchedAlert:
    """What an alert would ask for that has these labels and those that the runbook's matchers name."""
    alert = Alert("check", "check", firing=True, labels={**_matched(runbook), **labels}, annotations={}, starts_at=ports.now())
    options = replace(runbook.restart, options={}, allow={})
    any_alert = replace(ports.rules, runbooks={runbook.name: replace(runbook, match=(), restart=options)})
    return matching.match_alerts(any_alert, ports.config.runner_url, [alert])[0]


def _matched(runbook: Runbook) -> dict[str, str]:
    return {matcher.label: matcher.value for matcher in runbook.match if matcher.op == "="}


def _filled(template: str, labels: Mapping[str, str], runbook: Runbook) -> str:
    """The template with the labels that are known; empty where one is missing."""
    known = {**_matched(runbook), **labels}
    names = matching.template_labels(template)
    if any(name not in known for name in names):
        return ""
    for name in names:
        template = template.replace(f"${{labels.{name}}}", known[name])
    return template


def _unnamed(runbook: Runbook, labels: Mapping[str, str]) -> Finding:
    """Neither vhost nor queue is known before an alert comes, or not all labels were given that name them."""
    known = {**_matched(runbook), **labels}
    names = dict.fromkeys([*matching.template_labels(runbook.symptom.vhost), *matching.template_labels(runbook.symptom.queue)])
    missing = [name for name in names if not known.get(name)]
    detail = f"its name comes with the alert; missing here: the label{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    remedy = "To look at one, add: " + " ".join(f"--label {name}=..." for name in missing)
    return Finding("the queue", ok=None, detail=detail, remedy=remedy)


def _vhost(looked_at: Any, settings: Any, probe: QueueRef, timeout_s: float) -> Finding:
    """Whether queues of this vhost can be seen: that the probe is not there must be all that is wrong."""
    what = f"queues in vhost {probe.vhost}"
    try:
        looked_at.look(settings, probe, for_s=60.0, timeout_s=timeout_s)
    except Denied as denied:
        if denied.code == "no_queue":
            return Finding(what, ok=True, detail="can be seen; the queue's name comes with the alert")
        return Finding(what, ok=False, detail=denied.detail, remedy=denied.remedy)
    except Unavailable as error:
        return Finding(what, ok=False, detail=error.detail, remedy="See that the broker is up, and `url` right.")
    return Finding(what, ok=True, detail="can be seen")


def _room(kind: str, named: Named, timeout_s: float) -> list[Finding]:
    found: list[Finding] = load_adapter(kind, named.name).check(named.settings, timeout_s=timeout_s)
    return found


def _channel(name: str, channel: Named, timeout_s: float) -> list[Finding]:
    return [replace(one, what=f"{name} ({channel.name})") for one in _room("chats", channel, timeout_s)]


def _switch(ports: Adapters, timeout_s: float) -> list[Finding]:
    what = "the kill switch is off"
    try:
        pause = read_pause(ports, timeout_s)
    except Denied as denied:
        return [Finding(what, ok=False, detail=denied.detail, remedy=denied.remedy)]
    except Unavailable as error:
        return [Finding(what, ok=False, detail=f"it can't be read, which holds every restart: {error.detail}")]
    if isinstance(pause, Pause):
        detail, remedy = f"nothing is restarted: {pause.reason} ({pause.by})", "python -m functions resume"
        return [Finding(what, ok=None, detail=detail, remedy=remedy)]
    return [Finding(what, ok=True)]
