"""unstick.yaml to a Config. All mistakes are told at once, each with its place, line and remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from functions.config.keys import SPECIAL, File, read_room
from functions.config.reading import read_fields
from functions.config.settings import Auth, Config, Named, own_options
from functions.config.yaml_nodes import FAILED, Node, Reading, parse
from functions.domain.decisions.matching import full_match, template_labels
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import Rules
from functions.runtime import registry
from functions.runtime.errors import ConfigError


def load_config(path: str | Path, *, on_cloud_run: bool | None = None) -> Config:
    """Read a file. `on_cloud_run`: where it is for; None: where this process runs. Raises ConfigError with all that is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "Create it (docs/configuration.md has an example), or name another by UNSTICK_CONFIG."
        raise ConfigError((f"{path}: there is no such file. {remedy}",)) from None
    except UnicodeDecodeError:
        raise ConfigError((f"{path}: the file is not UTF-8. Save it as UTF-8.",)) from None
    except OSError as error:
        problem = f"{path}: the file can't be read ({type(error).__name__}). Mend its permissions or the path."
        raise ConfigError((problem,)) from None
    here = "K_SERVICE" in os.environ
    return parse_config(text, name=Path(path).name, on_cloud_run=here if on_cloud_run is None else on_cloud_run)


def parse_config(text: str, *, name: str = "unstick.yaml", on_cloud_run: bool = False) -> Config:
    """Read the text of a file. `name` is said in mistakes. Raises ConfigError with all that is wrong."""
    reading = Reading(name)
    top = parse(text, reading)
    if top is None or not isinstance(top.value, dict):
        if top is not None:
            reading.wrong(top, "is not a mapping", "Begin with the example in docs/configuration.md")
        raise ConfigError(reading.problems())
    runners, symptoms = registry.adapter_names("runners"), registry.adapter_names("symptoms")
    file = read_fields(File, top, reading, SPECIAL, but=(*runners, *symptoms))
    runner = _runner(top, runners, reading)
    seen_by = {name: _room("symptoms", name, top, reading) for name in symptoms if top.under(name)}
    if not seen_by:
        reading.wrong(top, "names no symptom", f"Add one of {', '.join(symptoms)}")
    if file is not FAILED:
        _check(file, top, runner, tuple(seen_by), reading, on_cloud_run=on_cloud_run)
    if reading.found:
        raise ConfigError(reading.problems())
    return _config(file, runner, {name: room.settings for name, room in seen_by.items()})


def _runner(top: Node, names: tuple[str, ...], reading: Reading) -> Any:
    present = [name for name in names if top.under(name)]
    if len(present) != 1:
        return reading.wrong(top, "names no runner or several", f"Add exactly one of {', '.join(names)}")
    return _room("runners", present[0], top, reading)


def _room(kind: str, name: str, top: Node, reading: Reading) -> Any:
    node = top.under(name)
    return FAILED if node is None else read_room(kind, name, node, reading)


def _config(file: File, runner: Named, symptoms: Mapping[str, Any]) -> Config:
    own = own_options(runner.settings)
    rules = Rules(
        runbooks={runbook.name: runbook for runbook in file.runbooks},
        notify=file.notify,
        storm_targets=file.storm.targets,
        storm_within_s=file.storm.within_s,
        public_url=file.public_url,
        language=file.language,
        time_zone=file.time_zone,
        incident_option=own[0] if own else "",
        token_expires_at=getattr(runner.settings, "token_expires_at", None),
    )
    return Config(
        auth=file.grafana.auth,
        max_body=file.grafana.max_body,
        runner=runner,
        symptoms=symptoms,
        store=file.store,
        scheduler=file.scheduler,
        signing_keys=file.signing_keys,
        channels=file.channels,
        budget_s=file.budget_s,
        open_to_network=file.open_to_network,
        report=file.report,
        annotations=file.grafana.annotations,
        rules=rules,
    )


# --- what only several keys together tell ---------------------------------------------------------------------------------
# What failed to be read is None here, whatever its type says, so these take Any.


def _check(file: Any, top: Node, runner: Any, symptoms: tuple[str, ...], reading: Reading, *, on_cloud_run: bool) -> None:
    auth = file.grafana.auth if file.grafana else None
    if auth == Auth():
        at = top.under("grafana") or top
        reading.wrong(at.under("auth") or at, "lets nobody in", "Add at least one of hmac, basic and bearer")
    for key in ("store", "scheduler"):
        chosen = top.under(key)
        if on_cloud_run and chosen is not None and chosen.under("local"):
            remedy = "Use cloud_storage for the store and cloud_tasks for the scheduler"
            reading.wrong(chosen, "is local, and Cloud Run keeps no files", remedy)
    channels = top.under("channels")
    known = tuple(channels.value) if channels and isinstance(channels.value, dict) else ()
    _check_channels(top.under("notify"), known, reading)
    _check_channels((top.under("report") or top).under("channels") if top.under("report") else None, known, reading)
    nodes = top.under("runbooks")
    items = [node for node in nodes.value if isinstance(node.value, dict)] if nodes and isinstance(nodes.value, list) else []
    own = own_options(runner.settings) if runner is not FAILED else ()
    names: dict[str, int] = {}
    for runbook, node in zip(file.runbooks, items, strict=False):
        if runbook.name in names:
            remedy = f"Rename it; the first is in line {names[runbook.name]}"
            reading.wrong(node.under("name") or node, "is the name of another runbook too", remedy)
        elif runbook.name:
            names[runbook.name] = node.line
        if runbook.mode is Mode.APPROVE and not file.public_url:
            reading.wrong(node.under("mode") or node, "is approve, and approval links have no address", "Add `public_url:`")
        for key in ("notify", "escalate"):
            _check_channels(node.under(key), known, reading)
        for check in (_check_options(own), _check_symptom(symptoms), _check_recovered, _check_times):
            check(runbook, node, reading)


def _check_channels(names: Node | None, known: tuple[str, ...], reading: Reading) -> None:
    for item in names.value if names and isinstance(names.value, list) else ():
        if isinstance(item.value, str) and item.value not in known:
            remedy = f"Known: {', '.join(known) or 'none'}; add it to `channels:` or fix the name"
            reading.wrong(item, "names no channel", remedy)


Check = Callable[[Any, Node, Reading], None]


def _check_options(own: tuple[str, ...]) -> Check:
    def check(runbook: Any, node: Node, reading: Reading) -> None:
        restart, at = runbook.restart, node.under("restart")
        if restart is None or at is None:  # it failed, and that was said
            return
        options, allow = at.under("options") or at, at.under("allow") or at
        for name, template in restart.options.items():
            here = options.under(name) or options
            if name in own:
                reading.wrong(here, "is an option that Unstick sets by itself", "Remove it here; the job must have it")
            if template_labels(template) and not allow.under(name):
                remedy = f"Add `allow: {{{name}: '[a-z0-9-]{{1,40}}'}}` with what the job can take"
                reading.wrong(here, "takes a label's value that no pattern limits", remedy)
            if name in restart.allow and not template_labels(template) and not full_match(restart.allow[name], template):
                reading.wrong(here, "is not what its own pattern in `allow` takes", "Mend the value or the pattern")
        for name in restart.allow:
            if name not in restart.options and not options.under(name):
                _not_an_option(allow.under(name) or allow, tuple(restart.options), reading)

    return check


def _not_an_option(at: Node, options: Iterable[str], reading: Reading) -> None:
    reading.wrong(at, "limits an option that this runbook does not set", f"Options: {', '.join(options) or 'none'}")


def _check_symptom(symptoms: tuple[str, ...]) -> Check:
    def check(runbook: Any, node: Node, reading: Reading) -> None:
        if runbook.symptom is not None and runbook.symptom.kind not in symptoms:
            remedy = f"Add `{runbook.symptom.kind}:` with its address at the top of the file"
            reading.wrong(node.under("symptom") or node, "can't be looked at", remedy)

    return check


def _check_recovered(runbook: Any, node: Node, reading: Reading) -> None:
    symptom, recovered, at = runbook.symptom, runbook.recovered, node.under("recovered")
    if symptom is not None and at is not None and recovered.max_messages > symptom.max_messages:
        here, remedy = at.under("max_messages") or at, "Lower it: what counts as stuck must not count as recovered"
        reading.wrong(here, "is more than the symptom's max_messages", remedy)


def _check_times(runbook: Any, node: Node, reading: Reading) -> None:
    verify, at = runbook.verify, node.under("verify")
    if at is None:
        return
    for name, value_s in (("first", verify.first_s), ("every", verify.every_s), ("patience", verify.patience_s)):
        if value_s > verify.within_s:
            reading.wrong(at.under(name) or at, f"has {name} longer than within", "Raise `within`, or shorten it")
