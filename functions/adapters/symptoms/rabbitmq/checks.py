"""`check` for RabbitMQ, from the answers that it gave."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from functions.adapters.checks import explain_refusal, finding_of
from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, fill, name_queue, to_queue
from functions.adapters.symptoms.rabbitmq.answers import SEES_ALL, Page, User, live, named, read, read_or_none
from functions.adapters.symptoms.rabbitmq.client import WHOAMI
from functions.application.ports import Finding
from functions.domain.decisions.matching import NotRendered
from functions.domain.model.alerts import QueueRef
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer

OVERVIEW = "/api/overview"
PROBE = "unstick-check-looks-for-no-queue"  # placeholder for a queue whose name comes with the alert
MOST_ATTEMPTS = 5  # the most that `limits.attempts` takes
UNREACHABLE = "See that the broker is up with its management plugin, and `url` right."
SWITCHES = (  # that turn statistics off; what the management API shows then is the same (measured on 3.10, 4.0 and 4.3)
    "Without them nothing can be proved. In the nodes' configuration, one of these is not so: "
    "management_agent.disable_metrics_collector = false, management.disable_stats = false, and from 4.0 on "
    "deprecated_features.permit.management_metrics_collection = true."
)
TAG = "Give it the tag `monitoring` alone and the permissions ^$ ^$ ^$, as infra/rabbitmq does."

Outcome = Answer | Exception


def check(settings: RabbitMQ, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """Every right and setting that is needed, and what could mislead; without the queue if the labels don't name it."""
    queue, unnamed = _probe(symptom, labels), []
    try:
        queue = name_queue(symptom, labels)
    except NotRendered as refusal:
        line = explain_refusal("the queue", symptom, labels, refusal)
        unnamed = [line] if queue is None or line.ok is False else []
    paths = [OVERVIEW, WHOAMI]
    paths += [client.totals_path(queue), client.page_path(queue, client.CURVE_S)] if queue else []
    overview, whoami, *of_queue = client.ask(settings, dict.fromkeys(paths, timeout_s), timeout_s=timeout_s).values()
    lines = [finding_of(f"RabbitMQ answers and knows {settings.user}", lambda: _version(overview), UNREACHABLE)]
    if lines[-1].ok:
        lines += [_rights(whoami), *(_judge_queue(queue, symptom.users, *of_queue) if queue else ())]
    return [*lines, *unnamed]


def _probe(symptom: Symptom, labels: Mapping[str, str]) -> QueueRef | None:
    """A queue that doesn't exist, to check its vhost; None if the labels don't name that either."""
    try:
        return to_queue(fill("vhost", symptom, labels), PROBE)
    except NotRendered:
        return None


def _judge_queue(queue: QueueRef, users: Sequence[str], totals: Outcome, page: Outcome) -> Iterator[Finding]:
    if queue.keys["queue"] == PROBE:
        yield finding_of(f"queues in vhost {queue.keys['vhost']}", lambda: _vhost(totals), UNREACHABLE)
        return
    yield finding_of(f"RabbitMQ queue {named(queue)}", lambda: _figures(queue, totals, page), UNREACHABLE)
    yield from _judge_page(queue, page, users)


def _vhost(totals: Outcome) -> str:
    live(totals)
    return "can be seen; the queue's name comes with the alert"


def _version(overview: Outcome) -> str:
    return f"version {read(overview, dict[str, Any]).get('rabbitmq_version', 'not told')}"


def _figures(queue: QueueRef, totals: Outcome, page: Outcome) -> str:
    snapshot = client.to_snapshot(queue, totals, client.read_page(page))
    present = "not known" if snapshot.consumers is None else snapshot.consumers
    return f"{snapshot.ready} ready, {snapshot.unacked} unacknowledged, consumers: {present}"


def _rights(whoami: Outcome) -> Finding:
    """Whether the user has the tag that is needed. Permissions are shown to administrators only."""
    if SEES_ALL.isdisjoint((read_or_none(whoami, User) or User()).tags):
        missing = "one consumer of several that hangs is not seen, and of what consumers hold nothing is proved: people are asked"
        return Finding("RabbitMQ rights", None, missing, TAG)
    return Finding("RabbitMQ rights", True, "each consumer's work is seen")


def _judge_page(queue: QueueRef, outcome: Outcome, users: Sequence[str]) -> Iterator[Finding]:
    """Whether the queue's page has statistics, because of what a restart can lose messages, and who consumes the queue."""
    try:
        page = read(outcome, Page)
    except (Denied, Unavailable) as error:
        yield Finding("RabbitMQ statistics", None, f"the page of {named(queue)} can't be read: {error.detail}")
        return
    is_on = page.consumer_details is not None
    yield Finding("RabbitMQ statistics", is_on, "on" if is_on else "off", SWITCHES)
    what, limit = f"messages of {named(queue)} survive a restart", page.limit_of_returns
    if page.auto_delete or page.exclusive:
        kind = "auto-delete" if page.auto_delete else "exclusive"
        detail = f"the queue is {kind}: it goes with its consumer, and all messages with it"
        yield Finding(what, None, detail, "Declare it durable and neither auto-delete nor exclusive.")
    if page.type == "quorum" and not page.settings("dead-letter-exchange") and limit not in (None, "unlimited"):
        detail = f"after {limit} returns RabbitMQ drops a message; every consumer that ends returns what it holds"
        yield Finding(what, None, detail, "Add a dead-letter exchange by a policy, with a queue behind it.")
    if isinstance(limit, int) and 0 <= limit <= MOST_ATTEMPTS:
        detail = f"its delivery limit is {limit}, as few as the restarts of one incident may be (limits.attempts)"
        yield Finding(what, None, detail, "Raise delivery-limit by a policy.")
    consuming = sorted({consumer.channel.user for consumer in page.present if consumer.channel.user})
    everybody, others = ", ".join(consuming), ", ".join(user for user in consuming if users and user not in users)
    if consuming:
        detail = f"{others} consumes it too: what such a channel holds proves nothing" if others else everybody
        remedy = "If it belongs to the application, add it to `users` of the symptom."
        yield Finding(f"users of {named(queue)}", None if others else True, detail, remedy)
