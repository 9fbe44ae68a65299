"""`check` for RabbitMQ, from the answers that it gave."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from functions.adapters.symptoms._checks import find_missing
from functions.adapters.symptoms._http import OK
from functions.adapters.symptoms.rabbitmq import client
from functions.adapters.symptoms.rabbitmq.answers import Page, good, json_or_none, live, named, shaped, shaped_or_none, tags_of
from functions.adapters.symptoms.rabbitmq.channels import MOST_OF_QUEUE, own_channels
from functions.adapters.symptoms.rabbitmq.holders import ALARM_STATUS, ALARMS, NODES, Node, sees_all
from functions.adapters.symptoms.rabbitmq.settings import DEFAULT_VHOST, Settings, fill, name_queue, to_queue
from functions.adapters.symptoms.rabbitmq.snapshot import Answers, read_snapshot
from functions.application.ports import Finding, finding_of
from functions.domain.decisions.matching import NotRendered
from functions.domain.model.alerts import QueueRef
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Phrase

PATHS = ("/api/overview", "/api/whoami", ALARMS, NODES, "/api/deprecated-features")
AGENT, STATS = "management_agent.disable_metrics_collector = false", "management.disable_stats = false"
COLLECTION = "management_metrics_collection"
PERMIT = f"deprecated_features.permit.{COLLECTION} = true"
"""The switches that turn statistics off; what the management API shows then is the same (measured on 3.10, 4.0 and 4.3)."""
PROBE = "unstick-check-looks-for-no-queue"  # placeholder for a queue whose name comes with the alert
MORE_THAN_NEEDED = frozenset({"administrator", "policymaker"})
MOST_ATTEMPTS = 5  # the most that `limits.attempts` takes
KEEPS = (
    "`keeps` is not set: a person is asked about a consumer that holds a message and could take more. `never` restarts it "
    "after `for`, a time such as `30m` waits that long first, and `always` asks about any message that is held"
)
UNREACHABLE = "See that the broker is up with its management plugin, and `url` right."

Outcome = Answer | Exception


class Asked(Struct, frozen=True):
    overview: Outcome
    whoami: Outcome
    alarms: Outcome
    nodes: Outcome
    features: Outcome
    totals: Outcome
    page: Outcome


def check(settings: Settings, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """Every right and setting that is needed, and the broker's alarms; without the queue if the labels don't name it."""
    unnamed: Finding | None = None
    try:
        queue = name_queue(symptom, labels)
    except NotRendered as refusal:
        queue, unnamed = _probe(symptom, labels, refusal.text)
    paths = [*PATHS, *client.list_queues([queue]), client.page_path(queue, client.CURVE_S)]
    asked = Asked(*client.ask(settings, dict.fromkeys(paths, timeout_s), timeout_s=timeout_s).values())
    keeps = [] if symptom.keeps is not None else [Finding("messages that consumers keep", True, KEEPS)]
    return [*keeps, *findings(settings.user, queue, asked, unnamed), *find_users(queue, asked.page, symptom.users)]


def findings(user: str, queue: QueueRef, asked: Asked, unnamed: Finding | None = None) -> list[Finding]:
    """One line for each thing that `look_all` needs, and for what could mislead it. `unnamed`: why there is no queue to see."""
    login = finding_of(f"RabbitMQ answers and knows {user}", lambda: _version(asked.overview), UNREACHABLE)
    if not login.ok:
        return [login]
    broker = [login, *_rights(asked.whoami), _channels(asked.whoami, asked.page), *_nodes(asked.nodes), _alarms(asked.alarms)]
    if queue.keys["queue"] == PROBE:
        what = f"queues in vhost {queue.keys['vhost']}"
        return [*broker, unnamed or finding_of(what, lambda: _vhost(queue, asked.totals), UNREACHABLE)]
    readable = finding_of(f"RabbitMQ queue {named(queue)}", lambda: _figures(queue, asked), UNREACHABLE)
    return [*broker, readable, _statistics(queue, asked), *find_losses(queue, asked.page)]


def _probe(symptom: Symptom, labels: Mapping[str, str], refusal: Phrase) -> tuple[QueueRef, Finding | None]:
    """If the labels name no queue, as `refusal` says: a queue that doesn't exist, in its vhost, and what is missing or wrong;
    None if the vhost can be checked."""
    try:
        vhost = fill("vhost", symptom, labels)
    except NotRendered:
        vhost = ""
    probe, (missing, given) = to_queue(vhost or DEFAULT_VHOST, PROBE), find_missing(symptom, labels)
    if not missing:
        remedy = "An alert with these labels restarts nothing: fix the label in the alert, or `symptom` in the runbook."
        return probe, Finding("the queue", False, refusal, remedy)
    detail = f"its name comes with the alert; missing here: the label{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    return probe, None if vhost else Finding("the queue", None, detail, f"To check one, add: {given}")


def _vhost(probe: QueueRef, totals: Outcome) -> str:
    live(totals, probe)
    return "can be seen; the queue's name comes with the alert"


def _version(overview: Outcome) -> str:
    return f"version {shaped(good(overview).json(), dict[str, Any]).get('rabbitmq_version', 'not told')}"


def _figures(queue: QueueRef, asked: Asked) -> str:
    seen = read_snapshot(queue, Answers(live(asked.totals, queue).json(), json_or_none(asked.page)), at=0.0)
    present = "not known" if seen.consumers is None else seen.consumers
    return f"{seen.ready} ready, {seen.unacked} unacknowledged, consumers: {present}"


def _rights(whoami: Outcome) -> list[Finding]:
    """Nothing if the user has exactly the needed rights; otherwise a note that it has more."""
    try:
        more = sorted(MORE_THAN_NEEDED & tags_of(whoami))
    except (Denied, Unavailable):
        return []
    remedy = "Give it the tag `monitoring` alone and the permissions ^$ ^$ ^$, as infra/rabbitmq does."
    return [Finding("RabbitMQ rights", None, f"the user is {tag}: more than it needs", remedy) for tag in more]


def _channels(whoami: Outcome, page: Outcome) -> Finding:
    """What the tag `monitoring` adds, and whether one check reads all channels."""
    what, shown = "RabbitMQ channels", shaped_or_none(page, Page)
    if not sees_all(whoami):
        detail = "one consumer of several that hangs is not seen, and a stuck queue is told 10 s later"
        return Finding(what, None, detail, "Give the user the tag `monitoring`, as infra/rabbitmq does.")
    if shown is None or (count := len(own_channels(shown))) <= MOST_OF_QUEUE:
        return Finding(what, True, "each consumer's work is seen")
    detail = f"{count} consumers, of which one check reads {MOST_OF_QUEUE}: one of several that hangs is seen later"
    remedy = "Add `oldest` to the symptom, which needs no channels, or spread the consumers over more queues."
    return Finding(what, None, detail, remedy)


def find_users(queue: QueueRef, page: Outcome, users: tuple[str, ...]) -> list[Finding]:
    """Who consumes the queue, compared with `users` of the symptom; nothing if nobody does, or it can't be read."""
    shown, what = shaped_or_none(page, Page), f"users of {named(queue)}"
    consuming = sorted({one.channel.user for one in shown.present if one.channel.user}) if shown is not None else []
    everybody, others = ", ".join(consuming), ", ".join(user for user in consuming if users and user not in users)
    if not consuming:
        return []
    if not others:
        return [Finding(what, True, everybody if users else f"{everybody}; `users: [{everybody}]` names them")]
    detail = f"{others} consumes it too: what such a channel holds proves nothing"
    return [Finding(what, None, detail, "If it belongs to the application, add it to `users` of the symptom.")]


def _statistics(queue: QueueRef, asked: Asked) -> Finding:
    what = "RabbitMQ statistics"
    try:
        if shaped(good(asked.page).json(), Page).consumer_details is not None:
            return Finding(what, True, "on")
    except (Denied, Unavailable) as error:
        return Finding(what, None, f"the page of {named(queue)} can't be read: {error.detail}")
    switches = _switches(asked.features)
    several = "one of these is not so: " if len(switches) > 1 else ""
    remedy = f"Without them nothing can be proved. In the nodes' configuration, {several}{', '.join(switches)}."
    return Finding(what, False, "off", remedy)


def _switches(features: Outcome) -> list[str]:
    """The switches that may have turned off statistics. 4.3 reports the state of one, 4.0 doesn't; before 4.0 there is none."""
    listed = json_or_none(features)
    if not isinstance(listed, list):
        return [AGENT, STATS]
    state = next((one.get("state") for one in listed if isinstance(one, dict) and one.get("name") == COLLECTION), "permitted")
    return {"denied": [PERMIT], "permitted": [AGENT, STATS]}.get(str(state), [AGENT, STATS, PERMIT])


def _nodes(nodes: Outcome) -> list[Finding]:
    """Nodes without statistics. Empty if nodes can't be listed, or no node sends statistics."""
    what, listed = "RabbitMQ nodes", shaped_or_none(nodes, list[Node])
    up = [node for node in listed or () if node.running]
    silent = ", ".join(node.name for node in up if node.uptime is None)
    down = ", ".join(node.name for node in listed or () if not node.running)
    if listed is None or (silent and all(node.uptime is None for node in up)):
        return []
    if silent:
        remedy = "Enable rabbitmq_management_agent there: what is connected to them is not seen, so nothing can be proved."
        return [Finding(what, False, f"without statistics: {silent}", remedy)]
    return [Finding(what, None, f"not running: {down}") if down else Finding(what, True, "all send statistics")]


def find_losses(queue: QueueRef, page: Outcome) -> Iterator[Finding]:
    """The properties of the queue because of which a restart can lose messages."""
    shown, what = shaped_or_none(page, Page), f"messages of {named(queue)} survive a restart"
    if shown is None:
        return
    limit = shown.limit_of_returns
    if shown.auto_delete or shown.exclusive:
        kind = "auto-delete" if shown.auto_delete else "exclusive"
        detail = f"the queue is {kind}: it goes with its consumer, and all messages with it"
        yield Finding(what, None, detail, "Declare it durable and neither auto-delete nor exclusive.")
    if shown.type == "quorum" and shown.setting("dead-letter-exchange") is None and limit not in (None, "unlimited"):
        detail = f"after {limit} returns RabbitMQ drops a message; every consumer that ends returns what it holds"
        yield Finding(what, None, detail, "Add a dead-letter exchange by a policy, with a queue behind it.")
    if isinstance(limit, int) and 0 <= limit <= MOST_ATTEMPTS:
        detail = f"its delivery limit is {limit}, as few as the restarts of one incident may be (limits.attempts)"
        yield Finding(what, None, detail, "Raise delivery-limit by a policy.")


def _alarms(alarms: Outcome) -> Finding:
    ok, detail = {OK: (True, "none"), ALARM_STATUS: (False, "in force")}.get(
        alarms.status if isinstance(alarms, Answer) else 0, (None, "not readable with these rights, which does no harm")
    )
    remedy = "Free memory or disk: publishers are blocked, which no restart of a consumer fixes." if ok is False else ""
    return Finding("RabbitMQ alarms", ok, detail, remedy)
