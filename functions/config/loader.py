"""unstick.yaml to a Config. All mistakes are reported at once, each with its place, line and remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from functions.config.schema import Schema, adapter_schema, file_schema
from functions.config.settings import Config, File, Named, own_options
from functions.config.validation import convert, find_mistakes
from functions.config.yaml_tree import Path as Place
from functions.config.yaml_tree import Tree, parse_yaml, show_path
from functions.domain.decisions.matching import HOLDER_HOST, template_labels
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import EvidenceJob, Restart, Rules, Runbook
from functions.domain.texts.patterns import full_match
from functions.runtime import registry
from functions.runtime.errors import ConfigError

T = TypeVar("T")
Found = Iterator[tuple[Place, str, str]]
"""(place, what is wrong there, how to fix it)."""
BEGIN = "Begin with the example in docs/configuration.md"


def load_config(path: str | Path, *, on_cloud_run: bool | None = None) -> Config:
    """Read a file. `on_cloud_run`: where it is for; None: where this process runs. Raises ConfigError with all that is wrong."""
    here = "K_SERVICE" in os.environ
    return parse_config(_read(path), name=Path(path).name, on_cloud_run=here if on_cloud_run is None else on_cloud_run)


def find_new_defaults(path: str | Path) -> list[tuple[str, str]]:
    """(place, what is new) of each key that the file leaves out and whose default has changed."""
    top = parse_yaml(_read(path)).value
    runbooks = top.get("runbooks") if isinstance(top, dict) else None
    changed = [
        (f"runbooks[{n}].mode", "is left out, so it is observe (before: auto)")
        for n, runbook in enumerate(runbooks or ())
        if isinstance(runbook, dict) and "mode" not in runbook
    ]
    if isinstance(top, dict) and "time_zone" not in top and top.get("language", "en") == "en":
        changed.append(("time_zone", "is left out, so it is UTC (before: Asia/Tokyo)"))
    return changed


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "Create it (docs/configuration.md has an example), or name another by UNSTICK_CONFIG."
        raise ConfigError((f"{path}: there is no such file. {remedy}",)) from None
    except UnicodeDecodeError:
        raise ConfigError((f"{path}: the file is not UTF-8. Save it as UTF-8.",)) from None
    except OSError as error:
        problem = f"{path}: the file can't be read ({type(error).__name__}). Fix its permissions or the path."
        raise ConfigError((problem,)) from None


def parse_config(text: str, *, name: str = "unstick.yaml", on_cloud_run: bool = False) -> Config:
    """Read the text of a file. `name` is said in mistakes. Raises ConfigError with all that is wrong."""
    tree = parse_yaml(text)
    top = tree.value
    if not isinstance(top, dict):
        if not tree.mistakes:
            tree.report((), "is not a mapping", BEGIN)
    elif not top.keys() & file_schema()["properties"].keys():  # another file: nothing of it is repeated
        tree.report((), "is not a configuration of Unstick", BEGIN)
    else:
        _report_mistakes(tree, on_cloud_run=on_cloud_run)
    if tree.mistakes:
        mistakes = sorted(tree.mistakes, key=lambda mistake: mistake.line)
        raise ConfigError(tuple(f"{name}:{one.line}: {show_path(one.path)} {one.what}. {_end(one.remedy)}" for one in mistakes))
    return _config(top)


def _end(remedy: str) -> str:
    return remedy if remedy.endswith("?") else f"{remedy}."


def _config(top: Mapping[str, Any]) -> Config:
    settings = {
        kind: {name: _settings(kind, name, top[name]) for name in registry.adapter_names(kind) if name in top}
        for kind in ("runners", "symptoms")
    }
    own = {name for names in settings.values() for name in names}
    file = convert({key: value for key, value in top.items() if key not in own}, file_schema(), File)
    ((runner, runner_settings),) = settings["runners"].items()
    options = own_options(runner_settings)
    rules = Rules(
        runbooks={runbook.name: runbook for runbook in file.runbooks},
        notify=file.notify,
        storm_targets=file.storm.targets,
        storm_within_s=file.storm.within_s,
        public_url=file.public_url,
        docs_url=file.docs_url,
        language=file.language,
        time_zone=file.time_zone or ("Asia/Tokyo" if file.language == "ja" else "UTC"),
        incident_option=options[0] if options else "",
        mask=file.mask,
        token_expires_at=getattr(runner_settings, "token_expires_at", None),
    )
    return Config(
        auth=file.grafana.auth,
        max_body=file.grafana.max_body,
        runner=Named(runner, runner_settings),
        symptoms=settings["symptoms"],
        store=file.store,
        scheduler=file.scheduler,
        signing_keys=file.signing_keys,
        channels=file.channels,
        budget_s=file.budget_s,
        identity_header=file.identity_header,
        open_to_network=file.open_to_network,
        report=file.report,
        annotations=file.grafana.annotations,
        rules=rules,
    )


def _settings(kind: str, name: str, value: Any) -> Any:
    return convert(value, adapter_schema(kind, name), registry.load_adapter(kind, name).Settings)


def _report_mistakes(tree: Tree, *, on_cloud_run: bool) -> None:
    """What the schema finds, and what only several keys together tell: the latter where the former found nothing."""
    top, known = tree.value, {mistake.path for mistake in tree.mistakes}
    by_schema = [one for one in find_mistakes(top, file_schema()) if one[0] not in known]
    wrong = known | {place for place, _, _ in by_schema}
    for place, what, remedy in (*by_schema, *_check_top(top, wrong, on_cloud_run=on_cloud_run), *_check_runbooks(top, wrong)):
        tree.report(place, what, remedy)


# --- what only several keys together tell ---------------------------------------------------------------------------------


def _check_top(top: Mapping[str, Any], wrong: set[Place], *, on_cloud_run: bool) -> Found:
    runners, symptoms = registry.adapter_names("runners"), registry.adapter_names("symptoms")
    if sum(name in top for name in runners) != 1:
        yield (), "names no runner or several", f"Add exactly one of {', '.join(runners)}"
    if not any(name in top for name in symptoms):
        yield (), "names no symptom", f"Add one of {', '.join(symptoms)}"
    auth = _at(top, "grafana", "auth")
    if isinstance(auth, dict) and not any(auth.values()) and not any(place[:2] == ("grafana", "auth") for place in wrong):
        yield ("grafana", "auth"), "lets nobody in", "Add at least one of hmac, basic and bearer"
    for key in ("store", "scheduler"):
        if on_cloud_run and _at(top, key, "local") is not None:
            yield (
                (key,),
                "is local, and Cloud Run keeps no files",
                "Use cloud_storage for the store, cloud_tasks for the scheduler",
            )
    yield from _check_channels(top, ("notify",))
    yield from _check_channels(top, ("report", "channels"))


def _at(value: Any, *place: str | int) -> Any:
    """What stands at a place; None where nothing does."""
    for part in place:
        in_list = isinstance(part, int) and isinstance(value, list)
        value = value[part] if in_list else value.get(part) if isinstance(value, dict) else None
    return value


def _check_channels(top: Mapping[str, Any], place: Place) -> Found:
    channels, names = _at(top, "channels"), _at(top, *place)
    known = channels if isinstance(channels, dict) else {}
    for n, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name not in known:
            remedy = f"Known: {', '.join(known) or 'none'}; add it to `channels:` or fix the name"
            yield (*place, n), "names no channel", remedy


def _check_runbooks(top: Mapping[str, Any], wrong: set[Place]) -> Found:
    runbooks, own = _at(top, "runbooks"), _own_options(top, wrong)
    schema: Schema = file_schema()["properties"]["runbooks"]["items"]
    names: dict[str, int] = {}
    restarting = _restarting_jobs(runbooks)
    for n, raw in enumerate(runbooks if isinstance(runbooks, list) else ()):
        here: Place = ("runbooks", n)
        for key in ("notify", "escalate", "escalate_further"):
            yield from _check_channels(top, (*here, key))
        runbook = _convert_rest(raw, here, wrong, schema, Runbook)
        if runbook is None:
            continue
        if runbook.name in names:
            yield (
                (*here, "name"),
                "is the name of another runbook too",
                f"Rename it; the first is runbooks[{names[runbook.name]}]",
            )
        names.setdefault(runbook.name, n)
        if runbook.mode is Mode.APPROVE and not _at(top, "public_url"):
            yield (*here, "mode"), "is approve, and approval links have no address", "Add `public_url:`"
        if runbook.symptom.kind not in top:
            remedy = f"Add `{runbook.symptom.kind}:` with its address at the top of the file"
            yield (*here, "symptom"), "can't be observed", remedy
        mistakes = [*_check_symptom(runbook), *_check_options("restart", runbook.restart, own), *_check_times(runbook)]
        if runbook.evidence is not None:
            mistakes += [*_check_options("evidence", runbook.evidence, own), *_check_evidence(runbook.evidence, restarting)]
        for place, what, remedy in mistakes:
            yield (*here, *place), what, remedy


def _own_options(top: Mapping[str, Any], wrong: set[Place]) -> tuple[str, ...]:
    runners = {name: top[name] for name in registry.adapter_names("runners") if name in top}
    for name, raw in runners.items():
        settings = registry.load_adapter("runners", name).Settings
        return own_options(_convert_rest(raw, (name,), wrong, adapter_schema("runners", name), settings))
    return ()


def _convert_rest(raw: Any, here: Place, wrong: set[Place], schema: Schema, kind: type[T]) -> T | None:
    """What stands there without what is wrong in it; None where too little is left."""

    def keep(value: Any, place: Place) -> Any:
        if isinstance(value, dict):
            return {key: keep(one, (*place, key)) for key, one in value.items() if (*place, key) not in wrong}
        if isinstance(value, list):
            return [keep(one, (*place, n)) for n, one in enumerate(value) if (*place, n) not in wrong]
        return value

    try:
        return None if here in wrong else convert(keep(raw, here), schema, kind)
    except (ValueError, KeyError):  # of msgspec; a freeze window that lost a key
        return None


def _check_options(key: str, job: Restart | EvidenceJob, own: tuple[str, ...]) -> Found:
    for name, template in job.options.items():
        here = (key, "options", name)
        if name in own:
            yield here, "is an option that Unstick sets by itself", "Remove it here; the job must have it"
        holder = template == HOLDER_HOST
        taken = holder or bool(template_labels(template))
        if taken and name not in job.allow:
            remedy = f"Add `allow: {{{name}: '[a-z0-9-]{{1,40}}'}}` with what the job can take"
            yield (
                here,
                "takes a host that no pattern limits" if holder else "takes a label's value that no pattern limits",
                remedy,
            )
        if name in job.allow and not taken and not full_match(job.allow[name], template):
            yield here, "is not what its own pattern in `allow` takes", "Fix the value or the pattern"
    for name in job.allow.keys() - job.options.keys():
        options = ", ".join(job.options) or "none"
        yield (key, "allow", name), "limits an option that this runbook does not set", f"Options: {options}"


def _restarting_jobs(runbooks: Any) -> set[str]:
    """The jobs that any runbook restarts something with, in small letters."""
    restarts = [_at(runbook, "restart") for runbook in (runbooks if isinstance(runbooks, list) else ())]
    return {str(job).lower() for restart in restarts if (job := _at(restart, "job")) is not None}


def _check_evidence(job: EvidenceJob, restarting: set[str]) -> Found:
    if job.job.lower() in restarting:
        remedy = "Name a job that only reads (docs/evidence.md): its runs would be taken for restarts"
        yield ("evidence", "job"), "is a job that restarts something", remedy


def _check_symptom(runbook: Runbook) -> Found:
    """What the symptom itself says of its keys, if anything."""
    kind = runbook.symptom.kind
    for key, what, remedy in getattr(registry.load_adapter("symptoms", kind), "find_mistakes", _no_mistakes)(runbook.symptom):
        yield ("symptom", kind, key), what, remedy


def _no_mistakes(_: object) -> tuple[tuple[str, str, str], ...]:
    return ()


def _check_times(runbook: Runbook) -> Found:
    if runbook.recovered.max_messages > runbook.symptom.max_messages:
        remedy = "Lower it: what counts as stuck must not count as recovered"
        yield ("recovered", "max_messages"), "is more than the symptom's max_messages", remedy
    verify = runbook.verify
    for name, value_s in (("first", verify.first_s), ("every", verify.every_s), ("patience", verify.patience_s)):
        if value_s > verify.within_s:
            yield ("verify", name), f"has {name} longer than within", "Raise `within`, or shorten it"
