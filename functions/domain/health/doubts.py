"""What speaks against a verdict, so that it is likely and not proved, and the line of configuration that settles it."""

from collections.abc import Iterable

from functions.domain.model.observations import Channel
from functions.domain.model.runbooks import Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

KEEPS = "symptom: {rabbitmq: {keeps: never}} # or the longest time that one keeps a message, such as 30m"
MIN_CONSUMERS = "recovered: {min_consumers: 1}"
HISTORY = "unstick_consumers_1d"

LOCK = Text("no message of this queue is known to have been acknowledged, ever: locks and leases look like this")
NOTHING_WAITS = Text("nothing else waits, and it can't be seen whether the consumers could take more")
ALWAYS = Text("the runbook says that consumers keep messages (`keeps: always`)")
SWALLOWED = Text("the prefetch is unlimited: large batches, and consumers that acknowledge many at once, look like this")
ELSEWHERE = Text("its consumers hold messages of other queues, and their prefetch may be one for all of them (global QoS)")
SCALED = Text("the runbook allows no consumer at all (`min_consumers: 0`): scaled to zero, and nightly workers, look like this")
NO_USERS = Text("without `users` whoever may consume the queue decides which host is restarted")


def say_open_window(symptom: Symptom, channel: Channel) -> Phrase:
    """That the application could take more."""
    window = symptom.window if symptom.window is not None else channel.window
    if window is None:
        holds = Text("it holds {held}, and how many it may hold is not known", held=channel.sure)
    elif window == 0:
        holds = Text("it holds {held}, and could take any number", held=channel.sure)
    else:
        holds = Text("it holds {held} of {window}, and could take more", held=channel.sure, window=window)
    return join((holds, Text("Celery's countdowns, batches and delays look like this")))


def say_young(up_s: float) -> Phrase:
    """That the counters say nothing about the time before the broker began."""
    text = Text("RabbitMQ began {age} ago, and nothing says that the queue had a consumer: dead-letter queues look like this")
    return text.fill(age=duration(up_s))


def say_other_users(users: Iterable[str]) -> Phrase:
    """That somebody else holds the messages."""
    return Text("held as {users}, who is none of the application's `users`", users=join(list(users), COMMA))


def line_of_users(users: tuple[str, ...]) -> str:
    """The line that names the application's users: those that consume now."""
    return f"symptom: {{rabbitmq: {{users: [{', '.join(users)}]}}}}"
