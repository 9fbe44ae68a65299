"""Shell: post what a document has to tell, and write its ended incidents into the archive."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.contracts import Budget, Outside
from functions.documents import encoded
from functions.endings import APPROVAL_S
from functions.errors import Denied, Unavailable
from functions.looking import raised
from functions.model import Archive, Card, Document, Message, Told

POST_S = 10.0
STORE_S = 5.0


class Posted(Struct, frozen=True):
    ids: set[str]
    threads: dict[str, str]


def archive_path(record: Archive) -> str:
    """incidents/DATE/ID.json, by the day on which the incident ended, in UTC."""
    return f"incidents/{time.strftime('%Y-%m-%d', time.gmtime(record.outcome.at))}/{record.incident.id}.json"


def _archived(outside: Outside, record: Archive, budget: Budget) -> str | None:
    """The incident's id once its record is in the archive."""
    try:
        outside.archive(archive_path(record), encoded(record), budget.at_most(STORE_S))
    except (Unavailable, Denied) as error:
        outside.log("ERROR", f"not archived: {error}", incident=record.incident.id)
        return None
    return record.incident.id


def _post_all(outside: Outside, document: Document, messages: list[Message], budget: Budget) -> Posted:
    """Post one channel's messages in their order; stop at the first that fails."""
    ids: set[str] = set()
    threads: dict[str, str] = {}
    for message in messages:
        place = f"{message.channel}/{message.card.incident}"
        card = _approvable(outside, document, message.card)
        try:
            handle = outside.post(
                message.channel, card, threads.get(place) or document.threads.get(place), budget.at_most(POST_S)
            )
        except (Unavailable, Denied) as error:
            outside.log(
                "ERROR", f"not told on {message.channel}: {error}", incident=message.card.incident, channel=message.channel
            )
            break
        ids.add(message.id)
        if handle:
            threads[place] = handle
    return Posted(ids, threads)


def _approvable(outside: Outside, document: Document, card: Card) -> Card:
    """The card with the approval link signed; the core has no keys.

    It ends in `/`: a chat that makes links of plain text leaves a `_` or `-` at their end out, and tokens may end so.
    """
    begin = f"{outside.rules.public_url}/approve/"
    if not outside.rules.public_url or not any(url.startswith(begin) for _, url in card.links):
        return card
    expires_at = (document.incident.expires_at if document.incident else None) or card.at + APPROVAL_S
    links = tuple(
        (
            label,
            f"{begin}{outside.approval(document.key, url.removeprefix(begin), expires_at)}/" if url.startswith(begin) else url,
        )
        for label, url in card.links
    )
    return replace(card, links=links)


def delivered(outside: Outside, document: Document, budget: Budget) -> Told:
    """Post what is to be told by itself, all channels at once, and archive. Whatever fails stays for the wake-up."""
    direct = [message for message in document.to_tell if not message.bundle]
    channels = list(dict.fromkeys(message.channel for message in direct))
    calls: list[Callable[[], Any]] = [
        partial(_post_all, outside, document, [m for m in direct if m.channel == name], budget) for name in channels
    ]
    calls += [partial(_archived, outside, record, budget) for record in document.to_archive]
    ids: set[str] = set()
    threads: dict[str, str] = {}
    archived: set[str] = set()
    for result in outside.together(calls, budget.at_most(POST_S)) if calls else ():
        if isinstance(result, Posted):
            ids |= result.ids
            threads |= result.threads
        elif isinstance(result, str):
            archived.add(result)
        elif result is not None and not isinstance(result, Unavailable):
            raised(result)
    return Told(frozenset(ids), threads, frozenset(archived))
