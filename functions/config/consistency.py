"""Finds contradictions between the keys of unstick.yaml, where each value is right by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from functions.config.settings import LOCAL, Auth, File, adapter_names, load_adapter
from functions.config.validation import Path, adapter_schema, describe, file_schema, read
from functions.domain.decisions.matching import HOLDER_HOST, template_labels
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import OWN_OPTIONS, EvidenceJob, Restart, Runbook
from functions.domain.texts.patterns import full_match, mask
from functions.runtime.structs import convert

Mistakes = Iterator[tuple[Path, str, str]]  # (place, what is wrong there, how to fix it)


def find_inconsistencies(top: Mapping[str, Any], file: File, *, on_cloud_run: bool) -> Mistakes:
    """Find contradictions between the keys of the file. `top`: as written."""
    yield from _check_systems(top, file, on_cloud_run=on_cloud_run)
    yield from _check_places(file, on_cloud_run=on_cloud_run)
    yield from _check_channels(file)
    restarting, names = {runbook.restart.job.lower() for runbook in file.runbooks}, dict[str, int]()
    for n, runbook in enumerate(file.runbooks):
        here: Path = ("runbooks", n)
        if (first := names.setdefault(runbook.name, n)) != n:
            yield (*here, "name"), "is the name of another runbook too", f"Rename it; the first is runbooks[{first}]"
        written = top["runbooks"][n]["symptom"]
        for place, what, remedy in (*_check_symptom(written, runbook), *_check_runbook(runbook, top, restarting)):
            yield (*here, *place), what, remedy


def _check_systems(top: Mapping[str, Any], file: File, *, on_cloud_run: bool) -> Mistakes:
    runners, symptoms = adapter_names("runners"), adapter_names("symptoms")
    if sum(name in top for name in runners) != 1:
        yield (), "names no runner or several", f"Add exactly one of {', '.join(runners)}"
    if not any(name in top for name in symptoms):
        yield (), "names no symptom", f"Add one of {', '.join(symptoms)}"
    if file.identity_header and not file.machine_tokens:
        remedy = "Add `machine_tokens:`, and have the proxy send one of them beside the header: anybody can send the header alone"
        yield ("identity_header",), "is anybody's", remedy
    if file.grafana.auth == Auth():
        yield ("grafana", "auth"), "names no authentication method", "Add at least one of hmac, basic and bearer"
    for symptom in symptoms:
        for name, value in top.get(symptom, {}).get("headers", {}).items():
            if mask(line := f"{name}: {value}") != line:
                what, remedy = "looks like a secret, and is written out", "Use `token` or `password`, or a proxy"
                yield (symptom, "headers", name), what, remedy
    for name in runners if on_cloud_run else ():
        if name in top and load_adapter("runners", name).needs_machine:
            remedy = "Use another runner, or run Unstick on a machine of its own"
            yield (name,), "starts processes here, and Cloud Run keeps none", remedy


def _check_places(file: File, *, on_cloud_run: bool) -> Mistakes:
    properties = file_schema()["properties"]
    for key in ("scheduler", "signing_keys"):
        if not getattr(file, key) and file.store.name != LOCAL:
            yield (), f"lacks the key {key}", f"Add `{key}:`, {describe(properties[key])}; only a local store needs none"
    for key, named in (("store", file.store), ("scheduler", file.scheduler)):
        if on_cloud_run and named and named.name == LOCAL:
            remedy = "Use cloud_storage for the store, cloud_tasks for the scheduler"
            yield (key,), "is local, and Cloud Run keeps no files", remedy


def _check_channels(file: File) -> Mistakes:
    lists: dict[Path, tuple[str, ...]] = {("notify",): file.notify}
    if file.report:
        lists["report", "channels"] = file.report.channels
    for n, runbook in enumerate(file.runbooks):
        lists |= {("runbooks", n, "notify"): runbook.notify, ("runbooks", n, "escalate"): runbook.escalate}
    for place, names in lists.items():
        for n, name in enumerate(names):
            if name not in file.channels:
                remedy = f"Known: {', '.join(file.channels)}; add it to `channels:` or fix the name"
                yield (*place, n), "names no channel", remedy


def _check_symptom(written: Mapping[str, Any], runbook: Runbook) -> Mistakes:
    for kind, keys in written.items():
        shape = load_adapter("symptoms", kind).Keys
        settings = convert(read(keys, adapter_schema("runbook/symptoms", kind)), shape)
        for key, what, remedy in settings.find_mistakes():
            yield ("symptom", kind, key), what, remedy
        if "for_at_most" in keys and runbook.symptom.for_at_most_s < runbook.symptom.for_s:
            yield ("symptom", kind, "for_at_most"), "is shorter than `for`", "Lengthen it; as long as `for`, nothing is learned"
        for key, remedy in shape.NEEDED_BY_AUTO.items() if runbook.mode is Mode.AUTO else ():
            if not keys.get(key) or template_labels(str(keys[key])):
                yield ("symptom", kind, key), "must be written out for `mode: auto`", remedy


def _check_runbook(runbook: Runbook, top: Mapping[str, Any], restarting: set[str]) -> Mistakes:
    symptom = runbook.symptom
    if runbook.mode is Mode.APPROVE and not top.get("public_url"):
        yield ("mode",), "is approve, and approval links have no address", "Add `public_url:`"
    if symptom.kind not in top:
        yield ("symptom",), "can't be observed", f"Add `{symptom.kind}:` with its address at the top of the file"
    yield from _check_options("restart", runbook.restart)
    yield from _check_holder(runbook.restart)
    if runbook.evidence is not None:
        yield from _check_options("evidence", runbook.evidence)
        if runbook.evidence.job.lower() in restarting:
            remedy = "Name a job that only reads (docs/evidence.md): its runs would be taken for restarts"
            yield ("evidence", "job"), "is a job that restarts something", remedy
    if "recovered" not in symptom.keys and runbook.recovered.max_messages > symptom.max_messages:
        remedy = "Lower it: what counts as stuck must not count as recovered"
        yield ("recovered", "max_messages"), "is more than the symptom's max_messages", remedy


def _check_options(key: str, job: Restart | EvidenceJob) -> Mistakes:
    for name, template in job.options.items():
        here = (key, "options", name)
        if name in OWN_OPTIONS:
            yield here, "is an option that Unstick sets by itself", "Remove it here; the job must have it"
        taken = "a host" if template == HOLDER_HOST else "a label's value" if template_labels(template) else ""
        if taken and name not in job.allow:
            remedy = f"Add `allow: {{{name}: '[a-z0-9][a-z0-9-]{{0,39}}'}}` with what the job can take"
            yield here, f"takes {taken} that no pattern limits", remedy


NO_HOSTS = ("--help", "-h", "-", ".*", "*", "a b", "a,b", "a;b", "$(a)")
"""What a command line, a shell or a node filter would take for something other than one host."""


def _check_holder(restart: Restart) -> Mistakes:
    if restart.holder is None:
        return
    name, pattern, here = restart.holder.option, restart.holder.allow, ("restart", "holder")
    if name in OWN_OPTIONS:
        yield (*here, "option"), "is an option that Unstick sets by itself", "Name another option of the job"
    if name in restart.options or name in restart.allow:
        remedy = "Remove it there: it is sent only where a single host hangs, so it can't be part of the target"
        yield (*here, "option"), "is one of the target's options, too", remedy
    if any(full_match(pattern, text) for text in NO_HOSTS):
        remedy = r"Name your hosts, such as '10\.0\.3\.[0-9]{1,3}' or 'mail-[0-9]{1,2}'"
        yield (*here, "allow"), "also takes what is no host, such as --help, .* or several words", remedy
