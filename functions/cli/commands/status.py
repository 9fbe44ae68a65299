"""status: what is under way, what happened lately, and whether anything is paused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from functions.cli.showing import WRONG, adapters_of, ago, aside, mark, options, progress, put_json, require_store, shown, table
from functions.domain.decisions.guards import ESCALATION_HOLDS_S
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Pause, Unknown
from functions.runtime.errors import Denied

if TYPE_CHECKING:
    from functions.bootstrap import Adapters

OVERDUE_S = 120.0
"""By then the sweep has stepped what the scheduler lost."""

ARCHIVE_S = 60.0
DAY_S = 86400.0


class Found(Struct, frozen=True):
    at: float
    pause: Pause | Unknown | None
    open: tuple[Document, ...]
    escalated: tuple[Document, ...]
    unreadable: tuple[tuple[str, Denied], ...]
    recent: tuple[Archive, ...]
    left_out: tuple[str, ...]
    """Archive records that can't be read."""

    def overdue(self, document: Document) -> bool:
        """Nobody stepped it though it was time."""
        return document.due is not None and self.at - document.due > OVERDUE_S

    @property
    def wrong(self) -> bool:
        return bool(self.pause or self.escalated or self.unreadable or self.left_out or any(map(self.overdue, self.open)))


@click.command()
@options
@click.option("--days", type=click.IntRange(1, 400), default=7, show_default=True, help="How far back to show ended incidents.")
@click.option("--last", type=click.IntRange(0, 1000), default=20, show_default=True, help="How many of them to show.")
def status(*, config_path: str, as_json: bool, days: int, last: int) -> None:
    """Show open incidents with phase and due, escalated targets, recent incidents, and the kill switch.

    Documents of a newer release are named instead of shown. Exit code 1: it is paused, a target is escalated, a
    document is overdue by two minutes, or something can't be read.
    """
    ports = adapters_of(config_path)
    require_store(ports)
    found = _found(ports, days, last)
    if as_json:
        put_json(_as_json(found))
    else:
        _print(found)
    if found.wrong:
        raise SystemExit(WRONG)


def _found(ports: Adapters, days: int, last: int) -> Found:
    from functions.application.observe import or_unknown, read_pause
    from functions.cli import kept
    from functions.runtime.registry import load_adapter

    now = ports.now()
    with aside():
        pause = or_unknown(ports.run_parallel([lambda: read_pause(ports, kept.LOAD_S)], kept.LOAD_S)[0])
        wanted = kept.keys(ports)
        with progress("reading documents", len(wanted)) as done:
            documents = kept.documents(ports, wanted, done)
        since = time.strftime("%Y-%m-%d", time.gmtime(now - days * DAY_S))
        store, records, left_out = ports.config.store, [], []
        for path, body in load_adapter("stores", store.name).read_archive(store.settings, since=since, timeout_s=ARCHIVE_S):
            try:
                records.append(_record(path, body))
            except Denied as denied:
                left_out.append(f"{denied.detail}. {denied.remedy}")
    recent = sorted((one for one in records if one.outcome.at >= now - days * DAY_S), key=lambda one: -one.outcome.at)[:last]
    opened = sorted((one for one in documents.documents if one.open), key=lambda one: one.due or 0.0)
    escalated = tuple(one for one in documents.documents if _holds(one, now))
    return Found(now, pause, tuple(opened), escalated, documents.unreadable, tuple(recent), tuple(left_out))


def _holds(document: Document, now: float) -> bool:
    """Whether an escalation keeps it from being restarted."""
    at = document.escalated_at
    return at is not None and document.incident is None and now - at < ESCALATION_HOLDS_S


def _record(path: str, body: bytes) -> Archive:
    from functions.application.serialization import decode

    return decode(Archive, body, path)


def _named(document: Document) -> str:
    return document.target.name if document.target else document.key


def _phase(document: Document) -> str:
    if document.incident:
        return document.incident.phase.value
    return "untold" if document.to_tell else "unarchived"


def _print(found: Found) -> None:
    if isinstance(found.pause, Pause):
        since = f", {ago(found.pause.at - found.at)}" if found.pause.at else ""
        click.echo(f"{mark('PAUSED', 'wrong')}: {shown(found.pause.reason)} ({shown(found.pause.by)}{since})")
        click.echo("  → to let it go on: python -m functions resume")
    elif isinstance(found.pause, Unknown):
        click.echo(f"{mark('kill switch not known', 'wrong')}, which holds every restart: {shown(found.pause.why)}")
        click.echo(f"  → {shown(found.pause.remedy or 'see that the store can be read')}")
    else:
        click.echo(f"{mark('not paused', 'ok')}")
    _print_open(found)
    if found.escalated:
        rows = [(_named(one), one.key, ago((one.escalated_at or 0.0) - found.at)) for one in found.escalated]
        click.echo("\n" + table(("escalated, held until well or resumed", "document", "when"), rows))
        click.echo("  → look at it; then: python -m functions resume --target NAME")
    for key, denied in found.unreadable:
        click.echo(f"\n{mark('WRONG', 'wrong')} document {key}: {shown(denied.detail)}\n  → {shown(denied.remedy)}")
    for text in found.left_out:
        click.echo(f"\n{mark('WRONG', 'wrong')} archive: {shown(text)}")
    _print_recent(found)


def _print_open(found: Found) -> None:
    if not found.open:
        click.echo("\nno open incidents")
        return
    rows = []
    for one in found.open:
        incident = one.incident
        due = ago(one.due - found.at) if one.due is not None else "-"
        late = " OVERDUE" if found.overdue(one) else ""
        reason = incident.reason.value if incident and incident.reason else "-"
        rows.append(
            (
                _named(one),
                incident.runbook if incident else "-",
                _phase(one),
                due + late,
                incident.restarts if incident else 0,
                reason,
                len(one.to_tell),
                incident.id if incident else one.key,
            )
        )
    click.echo("\n" + table(("open", "runbook", "phase", "due", "restarts", "reason", "to tell", "incident"), rows))
    if any(map(found.overdue, found.open)):
        click.echo("  → the scheduler does not deliver, or `verify` fails: see its log, and `check`")


def _print_recent(found: Found) -> None:
    if not found.recent:
        click.echo("\nno incident ended lately")
        return
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.outcome.at)),
            one.target.name if one.target else "-",
            one.incident.runbook,
            one.outcome.ending.value,
            one.outcome.restarts,
            one.outcome.reason.value if one.outcome.reason else "-",
            one.incident.id,
        )
        for one in found.recent
    ]
    click.echo("\n" + table(("ended", "target", "runbook", "outcome", "restarts", "reason", "incident"), rows))


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "at": found.at,
        "paused": msgspec.to_builtins(found.pause) if found.pause else None,
        "open": [
            {
                "document": one.key,
                "target": one.target.name if one.target else None,
                "phase": _phase(one),
                "due": one.due,
                "overdue": found.overdue(one),
                "to_tell": len(one.to_tell),
                "to_archive": len(one.to_archive),
                "incident": one.incident.id if one.incident else None,
                "runbook": one.incident.runbook if one.incident else None,
                "restarts": one.incident.restarts if one.incident else 0,
                "reason": one.incident.reason.value if one.incident and one.incident.reason else None,
            }
            for one in found.open
        ],
        "escalated": [{"document": one.key, "target": _named(one), "at": one.escalated_at} for one in found.escalated],
        "unreadable": [{"document": key, "detail": why.detail, "remedy": why.remedy} for key, why in found.unreadable],
        "archive_unreadable": found.left_out,
        "recent": [
            {
                "incident": one.incident.id,
                "target": one.target.name if one.target else None,
                "runbook": one.incident.runbook,
                "outcome": one.outcome.ending.value,
                "reason": one.outcome.reason.value if one.outcome.reason else None,
                "at": one.outcome.at,
                "restarts": one.outcome.restarts,
            }
            for one in found.recent
        ],
    }
