"""RabbitMQ's keys in unstick.yaml, at the top and in a runbook, and the queue built from them for an alert.
A forged request needs no more, so what calls RabbitMQ is imported when it is first called."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from functions.application.ports import Finding, Query, QueueOutcome, SymptomAdapter, SymptomKeys
from functions.domain.decisions.matching import NotRendered, fill_template, refuse_control_characters, shown
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import duration, key, written
from functions.runtime.text import Text, named

SYSTEM = "rabbitmq"
MAX_BYTES = 255  # names of queues and vhosts are AMQP short strings
DEFAULT_VHOST = "/"
NEEDED_BY_AUTO = {
    "vhost": "Name it, as in `vhost: /`: by a label, whoever has any vhost can declare the queue there and have yours restarted",
    "users": "Name the application's own, as in `users: [mail]`: others would have it restarted by holding one message",
    "for": "Write how long the application may stand still, as in `for: 60s`: while a job takes longer, it is restarted",
}
UNNAMEABLE = frozenset({"", ".", ".."})  # `.` and `..` mean other paths to every HTTP library, however they are encoded


class Symptom(Struct, frozen=True, rename=key):
    """The keys of `symptom: {rabbitmq: ...}` in a runbook."""

    NEEDED_BY_AUTO: ClassVar[Mapping[str, str]] = NEEDED_BY_AUTO

    vhost: Annotated[str, written("template")] = "${labels.vhost}"
    """The virtual host."""
    queue: Annotated[str, written("template")] = "${labels.queue}"
    """The queue's name."""
    max_messages: int = 0
    """Messages that may wait. One that a consumer holds counts whatever the depth."""
    for_s: Annotated[float, duration(1, 3600)] = 60.0  # as far back as RabbitMQ keeps samples
    """How long a queue must stand still to be stuck; what is learned can lengthen it."""
    for_at_most_s: Annotated[float, duration(1, 540)] = 540.0  # RabbitMQ keeps fine samples for 600 s, and shows them 15 s late
    """The most that `for` becomes by what is learned. With a `for` as long, nothing is learned."""
    oldest_s: Annotated[float, duration(60)] | None = None
    """A person is asked if the oldest message is older. Publishers must set timestamps, and the queue be a classic one."""
    keeps: Annotated[str, written("never")] = ""
    """`never`: whoever holds a message for all of `for` is stuck. Default: a person is asked about one that could take more."""
    users: tuple[Annotated[str, written("name")], ...] = ()
    """The application's RabbitMQ users: what others hold proves nothing. `mode: auto` needs this, `vhost` and `for`."""

    def to_symptom(self) -> runbooks.Symptom:
        keys = {"vhost": self.vhost, "queue": self.queue}
        return runbooks.Symptom(
            SYSTEM,
            keys,
            self.max_messages,
            self.for_s,
            oldest_s=self.oldest_s,
            keeps_nothing=bool(self.keeps),
            users=self.users,
            for_at_most_s=self.for_at_most_s,
        )

    def find_mistakes(self) -> Iterable[tuple[str, str, str]]:
        """None: the types catch all of them."""
        return ()


class RabbitMQ(Struct, frozen=True):
    """`rabbitmq` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom

    url: Annotated[str, written("base-url")]
    """Of the management API, without `/api`."""
    user: str
    """The user."""
    password: SecretRef
    """The password."""
    ca: str = ""
    """PEM file or folder of a private CA."""

    def name_queue(self, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
        queue = name_queue(symptom, labels)
        place = "/".join(quote(queue.keys[key], safe="") for key in ("vhost", "queue"))
        return replace(queue, page=f"{self.url.rstrip('/')}/#/queues/{place}")

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        from functions.adapters.symptoms.rabbitmq import client  # no start needs it

        return client.look_all(self, queries, timeout_s=timeout_s)

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        from functions.adapters.symptoms.rabbitmq import checks  # no start and no alert needs it

        return checks.check(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = RabbitMQ


def name_queue(symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
    """The queue for an alert with these labels. Raises NotRendered."""
    return to_queue(fill("vhost", symptom, labels), fill("queue", symptom, labels))


def to_queue(vhost: str, queue: str) -> QueueRef:
    """A queue. Its name includes the vhost, unless that is the default one."""
    name = queue if vhost == DEFAULT_VHOST else f"{queue} (vhost {vhost})"
    return QueueRef(SYSTEM, f"{SYSTEM}:{vhost}:{queue}", name, {"vhost": vhost, "queue": queue})


def fill(own_key: str, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> str:
    """The vhost's or the queue's name for an alert with these labels. Raises NotRendered."""
    value = fill_template(symptom.keys[own_key], labels, own_key)
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        too_long = Text("{count} bytes, the limit is {limit}: {value}", count=size, limit=MAX_BYTES, value=shown(value))
        raise NotRendered(named(own_key, too_long))
    refuse_control_characters(value, own_key)
    if value in UNNAMEABLE:
        raise NotRendered(named(own_key, Text("no URL can name a vhost or queue '{name}'", name=value)))
    return value
