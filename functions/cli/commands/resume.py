"""resume: the kill switch off, or one escalated target free again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from functions.cli.commands.pause import say_told
from functions.cli.showing import WRONG, Unusable, adapters_of, aside, mark, options, progress, put_json, require_store, shown

if TYPE_CHECKING:
    from functions.bootstrap import Adapters
    from functions.domain.model.incidents import Document

BUDGET_S = 60.0


@click.command()
@options
@click.option("--by", default="", metavar="NAME", help="Who; else the user of this machine.")
@click.option("--target", default="", metavar="NAME_OR_KEY", help="Free this escalated target, as `status` names it, instead.")
@click.option("--reason", default="", metavar="TEXT", help="What was done about it.")
def resume(*, config_path: str, as_json: bool, by: str, target: str, reason: str) -> None:
    """Allow restarts again after `pause`; or, with --target, those of one escalated target.

    A target whose incident was escalated is not restarted until it is seen well, 24 hours have passed, or a person
    resumes it here. The next alert is then decided as usual; one that the escalation told of, and that goes on firing,
    stays a duplicate until it has resolved and fires anew. People are told.

    Where nothing was paused, nothing is changed: exit code 0. Exit code 1: it was not done, or somebody could not be told.
    """
    from functions.cli import switch

    ports = adapters_of(config_path)
    require_store(ports)
    who = by or switch.whoami()
    if target:
        _free(ports, target, who, reason, as_json=as_json)
    else:
        _unpause(ports, who, reason, as_json=as_json)


def _unpause(ports: Adapters, who: str, reason: str, *, as_json: bool) -> None:
    from functions.cli import switch
    from functions.domain.cards.card_input import CardInput
    from functions.domain.model.observations import Pause

    now = ports.now()
    told: dict[str, str] = {}
    with aside():
        before = switch.turn(ports, Pause(reason, who, now, on=False))
        if before is not None:
            told = switch.tell(ports, CardInput("resumed", now, detail=f"{reason} ({who})".strip()))
    here = ports.is_paused_by_environment()
    if as_json:
        put_json({"paused": here, "was_paused": before is not None, "by": who, "told": told})
    elif before is None:
        click.echo("It was not paused; nothing was changed.")
    else:
        click.echo(f"{mark('RESUMED', 'ok')}: it was paused for: {shown(before.reason)} ({shown(before.by)})")
        say_told(told)
    if here:
        click.echo("UNSTICK_PAUSED is set here; a function that has it stays paused until it is deployed without.", err=True)
    if any(told.values()):
        raise SystemExit(WRONG)


def _free(ports: Adapters, wanted: str, who: str, reason: str, *, as_json: bool) -> None:
    from functions.application.ports import Budget
    from functions.application.reconcile import STORE_S, advance, load_document
    from functions.domain.model.events import Resumed

    document = _named(ports, wanted)
    if document.escalated_at is None:
        raise Unusable(f"{shown(_name(document))} ({document.key}) is not escalated. `status` shows the targets that are.")
    with aside():
        advance(ports, document.key, Resumed(who, reason), Budget(ports, ports.monotonic() + BUDGET_S))
        after = load_document(document.key, ports.load(document.key, STORE_S))
    untold = sorted({message.channel for message in after.to_tell})
    done = after.escalated_at is None
    if as_json:
        put_json({"resumed": done, "target": _name(document), "document": document.key, "by": who, "untold": untold})
    elif done:
        click.echo(f"{mark('RESUMED', 'ok')}: {shown(_name(document))} may be restarted again")
    if untold:
        click.echo(f"not told yet on {', '.join(untold)}; the next wake-up tries again", err=True)
    if not done:
        click.echo(f"{mark('WRONG', 'wrong')}: it was escalated again meanwhile; see `status`", err=True)
    if untold or not done:
        raise SystemExit(WRONG)


def _name(document: Document) -> str:
    return document.target.name if document.target else document.key


def _named(ports: Adapters, wanted: str) -> Document:
    """The document of this key, target or option value. Raises Unusable if it is none or several."""
    from functions.cli import kept

    with aside():
        keys = [wanted] if (everything := kept.keys(ports)) and wanted in everything else everything
        with progress("looking for it", len(keys)) as done:
            found = kept.documents(ports, keys, done)
    for key, denied in found.unreadable:
        if key == wanted:
            raise denied
    fits = [one for one in found.documents if one.key == wanted or _name(one) == wanted]
    fits = fits or [one for one in found.documents if one.target and wanted in one.target.options.values()]
    escalated = [one for one in fits if one.escalated_at is not None] or fits
    if len(escalated) == 1:
        return escalated[0]
    if not fits:
        raise Unusable(f"there is no target or document {shown(wanted)}. `status` names those that are escalated.")
    names = ", ".join(f"{one.key} ({shown(_name(one))})" for one in escalated)
    raise Unusable(f"{shown(wanted)} is more than one: {names}. Name one by its key.")
