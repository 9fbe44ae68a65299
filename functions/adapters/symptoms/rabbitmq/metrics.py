"""RabbitMQ's metrics as Prometheus keeps them (infra/prometheus/README.md): a queue's past, beyond the broker's own hour."""

from __future__ import annotations

from functions.domain.model.alerts import QueueRef

OVERLAP_S = 10.0
"""Of the windows of two steps: what was acknowledged between two scrapes is in one of them. Scrapes may be 20 s apart."""


def past_queries(queue: QueueRef, step_s: float) -> tuple[str, str]:
    """The depth, ready and unacknowledged, and what is above zero where something moved in the last `step_s`.

    That is an acknowledgement, a delivery that needs none, or a depth that fell, since a consumer that opens a channel for each
    message shows in one scrape only.
    """
    selector = _selector(queue)
    window = f"{selector}[{step_s + OVERLAP_S:g}s]"
    moved = (
        f"sum(increase(rabbitmq_detailed_channel_messages_acked_total{window}))",
        f"sum(increase(rabbitmq_detailed_channel_messages_delivered_total{window}))",
        f"max(resets(rabbitmq_detailed_queue_messages{window}))",
    )
    return f"max(rabbitmq_detailed_queue_messages{selector})", " + ".join(f"({part} or vector(0))" for part in moved)


def _selector(queue: QueueRef) -> str:
    return f"{{vhost={_quoted(queue.keys['vhost'])},queue={_quoted(queue.keys['queue'])}}}"


def _quoted(value: str) -> str:
    """As a string of PromQL, in which a name can't end the string."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
