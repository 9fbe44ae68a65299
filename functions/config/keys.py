"""The keys of unstick.yaml that are not a room's own: what they are called, how each is written, and its default.

Those of a runbook are the fields of model.py; what their annotations don't tell (bounds, templates, patterns) is in `SPECIAL`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from functions.config.kinds import OPTIONAL_TEXT, Kind, choice, duration, listing, mapped, whole
from functions.config.reading import Special, read_fields, unknown
from functions.config.settings import Annotations, Auth, Hmac, Named, Report
from functions.config.values import FREEZE, HEADER, LINK, MATCHER, NAME, PATTERN, SIZE, TEMPLATE, WINDOWS, ZONE
from functions.config.yaml_nodes import FAILED, Node, Reading
from functions.domain.model.runbooks import Limits, Recovered, Restart, Runbook, Symptom, Verify
from functions.runtime import registry
from functions.runtime.secrets import SecretRef
from functions.runtime.text import languages


class Grafana(Struct, frozen=True):
    auth: Auth
    max_body: int = 8 * 1024 * 1024
    annotations: Annotations | None = None


class StormKeys(Struct, frozen=True):
    targets: int = 3
    within_s: float = 600.0


class SymptomKeys(Struct, frozen=True):
    """model.Symptom without its kind, which is the key that these stand under."""

    vhost: str = "${labels.vhost}"
    queue: str = "${labels.queue}"
    max_messages: int = 0
    for_s: float = 60.0


class File(Struct, frozen=True):
    """The top of the file, without the runner and the symptoms, whose keys are their rooms' names."""

    grafana: Grafana
    store: Named
    scheduler: Named
    signing_keys: tuple[SecretRef, ...]
    channels: Mapping[str, Named]
    runbooks: tuple[Runbook, ...] = ()
    public_url: str = ""
    storm: StormKeys = field(default_factory=StormKeys)
    budget_s: float = 8.0
    open_to_network: bool = False
    notify: tuple[str, ...] = ()
    language: str = "en"
    time_zone: str = "Asia/Tokyo"
    report: Report | None = None


# --- rooms ----------------------------------------------------------------------------------------------------------------


def read_room(kind: str, name: str, node: Node, reading: Reading, *, but: tuple[str, ...] = ()) -> Any:
    """The Named of a room that exists, or FAILED. This imports the room."""
    settings = read_fields(registry.load_adapter(kind, name).Settings, node, reading, but=but)
    return FAILED if settings is FAILED else Named(name, settings)


def _one_of(kind: str) -> Kind:
    """`{NAME: {...settings}}` with the name of one room."""
    names = registry.adapter_names(kind)
    words = f"one of {', '.join(names)} with its settings: {{{names[0] if names else 'NAME'}: {{...}}}}"

    def read(node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, dict) or len(node.value) != 1:
            return reading.wrong(node, f"is not {words}", "Name exactly one")
        ((name, child),) = node.value.items()
        if name not in names:
            unknown(child, name, names, reading)
            return FAILED
        return read_room(kind, name, child, reading)

    return Kind(words, read, {"rooms": kind})


def _read_channel(node: Node, reading: Reading) -> Any:
    names = registry.adapter_names("chats")
    chosen = node.under("type")
    if chosen is None:
        return reading.wrong(node, "lacks the key type", f"Add `type:`, one of {', '.join(names)}")
    if chosen.value not in names:
        return reading.wrong(chosen, f"is not one of {', '.join(names)}", "Write one of them")
    return read_room("chats", chosen.value, node, reading, but=("type",))


def _read_symptom(node: Node, reading: Reading) -> Any:
    names = registry.adapter_names("symptoms")
    if not isinstance(node.value, dict) or len(node.value) != 1:
        return reading.wrong(node, "is not exactly one symptom", f"Write {{{names[0]}: {{...}}}}")
    ((name, child),) = node.value.items()
    if name not in names:
        unknown(child, name, names, reading)
        return FAILED
    found = read_fields(SymptomKeys, child, reading, SPECIAL)
    return found if found is FAILED else Symptom(name, found.vhost, found.queue, found.max_messages, found.for_s)


SYMPTOM = Kind("one symptom: {rabbitmq: {...}}", _read_symptom, {"symptoms": SymptomKeys})
CHANNEL = Kind("{type: ..., and that chat's settings}", _read_channel, {"rooms": "chats"})

SPECIAL: Special = {
    (File, "store"): _one_of("stores"),
    (File, "scheduler"): _one_of("schedulers"),
    (File, "channels"): mapped(CHANNEL, "name", least=1),
    (File, "budget_s"): duration(1, 25),  # Grafana gives up after 30 s
    (File, "language"): choice(languages()),
    (File, "time_zone"): ZONE,
    (Grafana, "max_body"): SIZE,
    (Hmac, "header"): HEADER,
    (Hmac, "tolerance_s"): duration(1, 3600),
    (StormKeys, "targets"): whole(1, 1000),
    (StormKeys, "within_s"): duration(1),
    (Report, "channels"): listing(NAME, least=1),
    (Runbook, "name"): NAME,
    (Runbook, "match"): listing(MATCHER, least=1),
    (Runbook, "symptom"): SYMPTOM,
    (Runbook, "freeze"): listing(FREEZE),
    (Runbook, "mention"): listing(OPTIONAL_TEXT),
    (Runbook, "root_cause"): LINK,
    (Restart, "options"): mapped(TEMPLATE, "option"),
    (Restart, "allow"): mapped(PATTERN, "option"),
    (Restart, "start_within_s"): duration(5, 600),
    (Restart, "max_run_s"): duration(1),
    (SymptomKeys, "vhost"): TEMPLATE,
    (SymptomKeys, "queue"): TEMPLATE,
    (SymptomKeys, "for_s"): duration(1, 3600),  # as far back as RabbitMQ keeps samples
    (Recovered, "min_consumers"): whole(0, 10_000),
    (Verify, "first_s"): duration(1),
    (Verify, "every_s"): duration(1),
    (Verify, "patience_s"): duration(1),
    (Verify, "within_s"): duration(1),
    (Limits, "cooldown_s"): duration(0),
    (Limits, "attempts"): whole(1, 5),
    (Limits, "restarts"): WINDOWS,
    (Limits, "failing"): whole(1, 100),
    (Limits, "stale_s"): duration(1),
}
