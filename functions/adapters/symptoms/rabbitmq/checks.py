"""`check` for RabbitMQ, from the answers that it gave."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from functions.adapters.symptoms._http import OK
from functions.adapters.symptoms.rabbitmq import client
from functions.adapters.symptoms.rabbitmq.answers import Page, good, json_or_none, live, named, shaped, shaped_or_none, tags_of
from functions.adapters.symptoms.rabbitmq.channels import MOST_OF_QUEUE, own_channels
from functions.adapters.symptoms.rabbitmq.holders import ALARM_STATUS, ALARMS, NODES, Node, sees_all
from functions.adapters.symptoms.rabbitmq.settings import DEFAULT_VHOST, Settings, fill, name_queue, to_queue
from functions.adapters.symptoms.rabbitmq.snapshot import Answers, read_snapshot
from functions.application.ports import Finding, finding_of_error
from functions.domain.decisions.matching import NotRendered, template_labels
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
        queue, unnamed = _find_missing(symptom, labels, refusal.text)
    paths = [*PATHS, *client.list_queues([queue]), client.page_path(queue, client.CURVE_S)]
    outcomes = client.ask(settings, dict.fromkeys(paths, timeout_s), timeout_s=timeout_s)
    asked = Asked(*outcomes.values())
    return [*_say_keeps(symptom), *findings(settings.user, queue, asked, unnamed), *find_users(queue, asked.page, symptom.users)]


def findings(user: str, queue: QueueRef, asked: Asked, unnamed: Finding | None = None) -> list[Finding]:
    """One line for each thing that `look_all` needs, and for what could mislead it. `unnamed`: why there is no queue to see."""
    login = _login(user, asked.overview)
    if not login.ok:
        return [login]
    seen = [_readable(queue, asked.totals, asked.page), _statistics(queue, asked), *find_losses(queue, asked.page)]
    if queue.keys["queue"] == PROBE:
        seen = [unnamed or _vhost_readable(queue, asked.totals)]
    return [
        login,
        *_rights(asked.whoami),
        _channels(asked.whoami, asked.page),
        *_nodes(asked.nodes),
        _alarms(asked.alarms),
        *seen,
    ]


def _find_missing(symptom: Symptom, labels: Mapping[str, str], refusal: Phrase) -> tuple[QueueRef, Finding | None]:
    """If the labels name no queue, as `refusal` says: a queue that doesn't exist, in its vhost, and what is missing or wrong;
    None if the vhost can be checked."""
    try:
        vhost = fill("vhost", symptom, labels)
    except NotRendered:
        vhost = ""
    probe = to_queue(vhost or DEFAULT_VHOST, PROBE)
    names = dict.fromkeys(name for template in symptom.keys.values() for name in template_labels(template))
    missing = [name for name in names if not labels.get(name)]
    if not missing:
        remedy = "An alert with these labels restarts nothing: fix the label in the alert, or `symptom` in the runbook."
        return probe, Finding("the queue", ok=False, detail=refusal, remedy=remedy)
    if vhost:
        return probe, None
    detail = f"its name comes with the alert; missing here: the label{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    remedy = "To check one, add: " + " ".join(f"--label {name}=..." for name in missing)
    return probe, Finding("the queue", ok=None, detail=detail, remedy=remedy)


def _vhost_readable(probe: QueueRef, totals: Outcome) -> Finding:
    what = f"queues in vhost {probe.keys['vhost']}"
    try:
        live(totals, probe)
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, UNREACHABLE)
    return Finding(what, ok=True, detail="can be seen; the queue's name comes with the alert")


def _login(user: str, overview: Outcome) -> Finding:
    what = f"RabbitMQ answers and knows {user}"
    try:
        version = shaped(good(overview).json(), dict[str, Any]).get("rabbitmq_version", "not told")
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, UNREACHABLE)
    return Finding(what, ok=True, detail=f"version {version}")


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
    count = len(own_channels(shown)) if shown is not None else 0
    if sees_all(whoami) and count > MOST_OF_QUEUE:
        detail = f"{count} consumers, of which one check reads {MOST_OF_QUEUE}: one of several that hangs is seen later"
        remedy = "Add `oldest` to the symptom, which needs no channels, or spread the consumers over more queues."
        return Finding(what, None, detail, remedy)
    if sees_all(whoami):
        return Finding(what, ok=True, detail="each consumer's work is seen")
    detail = "one consumer of several that hangs is not seen, and a stuck queue is told 10 s later"
    return Finding(what, None, detail, "Give the user the tag `monitoring`, as infra/rabbitmq does.")


def _say_keeps(symptom: Symptom) -> list[Finding]:
    """What `keeps` would change."""
    detail = (
        "`keeps` is not set: a person is asked about a consumer that holds a message and could take more. `never` restarts it "
        "after `for`, a time such as `30m` waits that long first, and `always` asks about any message that is held"
    )
    return [Finding("messages that consumers keep", ok=True, detail=detail)] if symptom.keeps is None else []


def find_users(queue: QueueRef, page: Outcome, users: tuple[str, ...]) -> list[Finding]:
    """Who consumes the queue, compared with `users` of the symptom; nothing if nobody does, or it can't be read."""
    shown = shaped_or_none(page, Page)
    consuming = sorted({one.channel.user for one in shown.present if one.channel.user}) if shown is not None else []
    what = f"users of {named(queue)}"
    if not consuming:
        return []
    if others := [user for user in consuming if users and user not in users]:
        detail = f"{', '.join(others)} consumes it too: what such a channel holds proves nothing"
        return [Finding(what, None, detail, "If it belongs to the application, add it to `users` of the symptom.")]
    return [
        Finding(what, ok=True, detail=", ".join(consuming) + ("" if users else f"; `users: [{', '.join(consuming)}]` names them"))
    ]


def _readable(queue: QueueRef, totals: Outcome, page: Outcome) -> Finding:
    what = f"RabbitMQ queue {named(queue)}"
    try:
        seen = read_snapshot(queue, Answers(live(totals, queue).json(), json_or_none(page)), at=0.0)
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, UNREACHABLE)
    present = "not known" if seen.consumers is None else str(seen.consumers)
    return Finding(what, ok=True, detail=f"{seen.ready} ready, {seen.unacked} unacknowledged, consumers: {present}")


def _statistics(queue: QueueRef, asked: Asked) -> Finding:
    what = "RabbitMQ statistics"
    try:
        on = shaped(good(asked.page).json(), Page).consumer_details is not None
    except (Denied, Unavailable) as error:
        return Finding(what, None, f"the page of {named(queue)} can't be read: {error.detail}")
    if on:
        return Finding(what, ok=True, detail="on")
    switches = _switches(asked)
    several = "one of these is not so: " if len(switches) > 1 else ""
    remedy = f"Without them nothing can be proved. In the nodes' configuration, {several}{', '.join(switches)}."
    return Finding(what, ok=False, detail="off", remedy=remedy)


def _switches(asked: Asked) -> list[str]:
    """The switches that may have turned off statistics. 4.3 reports the state of one, 4.0 doesn't; before 4.0 there is none."""
    features = json_or_none(asked.features)
    if not isinstance(features, list):
        return [AGENT, STATS]
    state = next((one.get("state") for one in features if isinstance(one, dict) and one.get("name") == COLLECTION), "permitted")
    return [PERMIT] if state == "denied" else [AGENT, STATS] if state == "permitted" else [AGENT, STATS, PERMIT]


def _nodes(nodes: Outcome) -> list[Finding]:
    """Nodes without statistics. Empty if nodes can't be listed, or no node sends statistics."""
    what = "RabbitMQ nodes"
    listed = shaped_or_none(nodes, list[Node])
    if listed is None:
        return []
    up = [node for node in listed if node.running]
    silent = [node.name for node in up if node.uptime is None]
    if silent and len(silent) == len(up):
        return []
    if silent:
        remedy = "Enable rabbitmq_management_agent there: what is connected to them is not seen, so nothing can be proved."
        return [Finding(what, ok=False, detail=f"without statistics: {', '.join(silent)}", remedy=remedy)]
    if down := [node.name for node in listed if not node.running]:
        return [Finding(what, None, f"not running: {', '.join(down)}")]
    return [Finding(what, ok=True, detail="all send statistics")]


def find_losses(queue: QueueRef, page: Outcome) -> list[Finding]:
    """The properties of the queue because of which a restart can lose messages."""
    shown = shaped_or_none(page, Page)
    if shown is None:
        return []
    what, limit = f"messages of {named(queue)} survive a restart", shown.limit_of_returns
    findings = []
    if shown.auto_delete or shown.exclusive:
        kind = "auto-delete" if shown.auto_delete else "exclusive"
        remedy = "Declare it durable and neither auto-delete nor exclusive."
        findings.append(Finding(what, None, f"the queue is {kind}: it goes with its consumer, and all messages with it", remedy))
    if shown.type == "quorum" and shown.setting("dead-letter-exchange") is None and limit not in (None, "unlimited"):
        detail = f"after {limit} returns RabbitMQ drops a message; every consumer that ends returns what it holds"
        remedy = "Add a dead-letter exchange by a policy, with a queue behind it."
        findings.append(Finding(what, None, detail, remedy))
    if isinstance(limit, int) and 0 <= limit <= MOST_ATTEMPTS:
        detail = f"its delivery limit is {limit}, as few as the restarts of one incident may be (limits.attempts)"
        findings.append(Finding(what, None, detail, "Raise delivery-limit by a policy."))
    return findings


def _alarms(alarms: Outcome) -> Finding:
    what = "RabbitMQ alarms"
    if isinstance(alarms, Answer) and alarms.status == ALARM_STATUS:
        remedy = "Free memory or disk: publishers are blocked, which no restart of a consumer fixes."
        return Finding(what, ok=False, detail="in force", remedy=remedy)
    if isinstance(alarms, Answer) and alarms.status == OK:
        return Finding(what, ok=True, detail="none")
    return Finding(what, None, "not readable with these rights, which does no harm")
