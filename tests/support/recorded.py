"""Reads the recorded answers of real brokers."""

import json
from pathlib import Path
from typing import Any

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.adapters.symptoms.rabbitmq.answers import ChannelPage, Page, Totals
from functions.adapters.symptoms.rabbitmq.snapshot import add_channels, read_snapshot
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.runtime.structs import convert

RABBITMQ = Path(__file__).parents[1] / "recordings" / "rabbitmq"


def read_looks(path: Path, *, channels: bool = True) -> list[tuple[str, QueueSnapshot]]:
    """(note, snapshot) of each look of a recording, with its consumers' channels if they were recorded, or without."""
    case = json.loads(path.read_text())
    return [(look["note"], _read(case, look, channels=channels)) for look in case["looks"]]


def to_snapshot(queue: QueueRef, totals: Any, page: Any, *, at: float) -> QueueSnapshot:
    """The queue by these answers as parsed JSON; without a page if that is None."""
    shown = Unknown("its page was not recorded") if page is None else convert(page, Page)
    return read_snapshot(queue, convert(totals, Totals), shown, at=at)


def _read(case: dict[str, Any], look: dict[str, Any], *, channels: bool) -> QueueSnapshot:
    queue = to_queue(case["vhost"], case.get("queue", case.get("case")))
    seen = to_snapshot(queue, look["totals"], look["page"], at=look["at"])
    if not channels or look.get("channels") is None or seen.consumers is None:
        return seen
    return add_channels(seen, queue, convert(look["page"], Page).own_channels, convert(look["channels"], list[ChannelPage]))
