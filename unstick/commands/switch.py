"""pause, resume, ack and approve: the kill switch, and people's answers about one target."""

import getpass
from typing import Any

import click

from functions.application.announce import turn_and_tell
from functions.application.answer import Answer, Result, answer
from functions.application.documents import load
from functions.application.history import document_keys, load_documents, name_of
from functions.application.ports import Budget
from functions.application.reconcile import advance
from functions.bootstrap import Adapters
from functions.config.formats import read_duration
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, ON_PURPOSE
from functions.domain.model.codes import Phase
from functions.domain.model.events import Resumed
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Pause
from functions.runtime.text import Text, in_language
from unstick import output

BUDGET_S = 60.0
by_option = click.option("--by", default="", metavar="NAME", help="Who; else the user of this machine.")


@click.command()
@output.options
@click.option("--reason", required=True, metavar="TEXT", help="Why, for those who read it at night.")
@click.option("--for", "lasts", default="", metavar="1h", help="Resume by itself after this time.")
@by_option
def pause(*, config_path: str, as_json: bool, reason: str, lasts: str, by: str) -> None:
    """Stop all restarts until `resume`, or for a time. Alerts are still accepted, and reported as held.

    Every instance reads the switch right before it acts. A restart that has already started is still verified. The
    channels of the top-level `notify` are notified.

    Exit code 1: it was not paused, or a channel could not be notified.
    """
    if not reason.strip():
        raise click.BadParameter("it is empty. Say why, for those who read it at night.", param_hint="--reason")
    ports = output.load_with_store(config_path)
    switch = Pause(reason, by or current_user(), ports.now(), until=_ends(lasts, ports.now()))
    with output.logs_to_stderr():
        before, problems = turn_and_tell(ports, switch)
    if as_json:
        said = {"paused": True, "reason": reason, "by": switch.by, "until": switch.until}
        output.print_json(said | {"was_paused": before is not None, "told": problems})
    else:
        replaced = f" It was already paused: {before.reason} ({before.by})." if before else ""
        until = f"{output.local_time(switch.until, ports.rules)} (in {lasts}), or " if switch.until else ""
        ends = f"nothing is restarted until {until}`unstick resume`.{replaced}"
        output.print_text(ends, output.mark("PAUSED: ", "warn"))
        output.print_posted(problems)
    if any(problems.values()):
        raise SystemExit(output.WRONG)


@click.command()
@output.options
@by_option
@click.option("--target", default="", metavar="NAME_OR_KEY", help="Release this escalated target, as `status` names it, instead.")
@click.option("--reason", default="", metavar="TEXT", help="What was done about it.")
def resume(*, config_path: str, as_json: bool, by: str, target: str, reason: str) -> None:
    """Allow restarts again: all after `pause`, or of one target.

    A target whose incident was escalated is not restarted until it is healthy again, 24 hours have passed, or a person
    resumes it here. The next alert is then decided as usual. An alert that was part of the escalation and still fires
    stays a duplicate until it has resolved and fires anew. People are notified.

    If nothing was paused, nothing is changed: exit code 0. Exit code 1: it was not done, or a channel could not be notified.
    """
    ports = output.load_with_store(config_path)
    if target:
        _release(ports, target, by or current_user(), reason, as_json=as_json)
    else:
        _unpause(ports, Pause(reason, by or current_user(), ports.now(), on=False), as_json=as_json)


@click.command()
@output.options
@click.argument("target")
@by_option
def ack(*, config_path: str, as_json: bool, target: str, by: str) -> None:
    """Take an escalation, so that nobody is reminded of it.

    TARGET is a name or a key, as `status` shows it.

    It restarts nothing and releases nothing: that is `resume --target`. People are notified of who has it.

    Exit code 1: somebody else has taken it, or a channel could not be notified.
    """
    ports = output.load_with_store(config_path)
    document = _find(ports, target)
    name = name_of(document)
    if document.escalation is None:
        raise output.Unusable(f"{name} ({document.key}) has no escalation to take. `status` shows the targets that have.")
    result = _answer(ports, ACKNOWLEDGE, document.key, document.escalation.nonce, by)
    taken_by = result.after.escalation.taken_by if result.after.escalation else ""
    shown = {"taken_by": taken_by, "target": name, "document": document.key, "untold": _untold(result.after)}
    is_done = result.refusal is None
    done = ("ACKNOWLEDGED: ", f"{name} is yours; nobody is reminded of it") if is_done else None
    why_not = f"{taken_by} has taken it" if taken_by else "it is over in the meantime; see `status`"
    _conclude(shown, done, why_not, as_json=as_json)


@click.command()
@output.options
@click.argument("target")
@click.option("--decline", "action", flag_value=DECLINE, help="Decline the restart instead.")
@click.option("--on-purpose", "action", flag_value=ON_PURPOSE, help="Say of what only may hang that it works on purpose.")
@click.option("--reason", default="", metavar="TEXT", help="Why; the card shows it.")
@by_option
def approve(*, config_path: str, as_json: bool, target: str, action: str | None, reason: str, by: str) -> None:
    """Approve or decline the restart that waits for it.

    TARGET is a name or a key, as `status` shows it. It does what the buttons do, for those who can't reach them.
    `approvers` don't limit it: whoever can run it can change the store. The card names the user of this machine.

    Exit code 1: somebody was faster, or it is over.
    """
    ports = output.load_with_store(config_path)
    document = _find(ports, target)
    asked, name = document.incident, name_of(document)
    if asked is None or asked.phase is not Phase.ASKED:
        raise output.Unusable(f"{name} ({document.key}) asks for no approval. `status` shows what waits for one.")
    action = action or APPROVE
    result = _answer(ports, action, document.key, asked.approval.nonce, by, reason)
    done, after = result.refusal is None, result.after
    phase = after.incident.phase.value if after.incident else "ended"
    shown = {"done": done, "target": name, "document": document.key, "phase": phase}
    text = f"{name}: {phase}"
    _conclude(shown, ("APPROVED: " if action == APPROVE else "DECLINED: ", text) if done else None, text, as_json=as_json)


def _ends(lasts: str, now: float) -> float | None:
    """When the pause ends by itself. Raises click.BadParameter for an invalid duration."""
    if not lasts:
        return None
    try:
        seconds = read_duration(lasts)
    except ValueError as mistake:
        raise click.BadParameter(f"it {mistake}.", param_hint="--for") from None
    if seconds <= 0:
        raise click.BadParameter("it is no time at all.", param_hint="--for")
    return now + seconds


def current_user() -> str:
    """The name of the user of this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"


def _answer(ports: Adapters, action: str, key: str, nonce: str, by: str, why: str = "") -> Result:
    """Answer as the machine's user. The name of `--by` proves nothing, so both are recorded."""
    user = current_user()
    who = Text("{who} (command line, user {user})", who=by, user=user) if by else Text("{user} (command line)", user=user)
    given = Answer(action, key, nonce, in_language(ports.rules.language, who), why, is_operator=True)
    with output.logs_to_stderr():
        return answer(ports, given, Budget(ports, ports.monotonic() + BUDGET_S))


def _unpause(ports: Adapters, switch: Pause, *, as_json: bool) -> None:
    with output.logs_to_stderr():
        before, problems = turn_and_tell(ports, switch)
    paused_here = ports.is_paused_by_environment()
    if as_json:
        output.print_json({"paused": paused_here, "was_paused": before is not None, "by": switch.by, "told": problems})
    elif before is None:
        output.print_text("It was not paused; nothing was changed.")
    else:
        output.print_text(f"it was paused for: {before.reason} ({before.by})", output.mark("RESUMED: ", "ok"))
        output.print_posted(problems)
    if paused_here:
        output.print_text(
            "UNSTICK_PAUSED is set here. A function that has it stays paused until it is deployed without it.", err=True
        )
    if any(problems.values()):
        raise SystemExit(output.WRONG)


def _release(ports: Adapters, wanted: str, by: str, reason: str, *, as_json: bool) -> None:
    document = _find(ports, wanted)
    name = name_of(document)
    if document.escalation is None:
        raise output.Unusable(f"{name} ({document.key}) is not escalated. `status` shows the targets that are.")
    with output.logs_to_stderr():
        advance(ports, document.key, Resumed(by, reason), Budget(ports, ports.monotonic() + BUDGET_S))
        after = load(ports, document.key)[0]
    released = after.escalation is None
    answer = {"resumed": released, "target": name, "document": document.key, "by": by, "untold": _untold(after)}
    done = ("RESUMED: ", f"{name} can be restarted again") if released else None
    _conclude(answer, done, "it was escalated again in the meantime; see `status`", as_json=as_json)


def _untold(after: Document) -> list[str]:
    return sorted({message.channel for message in after.to_tell})


def _conclude(answer: dict[str, Any], done: tuple[str, str] | None, why_not: str, *, as_json: bool) -> None:
    """Print the answer. `done`: a word and a sentence; None if it was not done. Exits if it was not, or was not sent to all."""
    if as_json:
        output.print_json(answer)
    elif done:
        output.print_text(done[1], output.mark(done[0], "ok"))
    untold = answer.get("untold")
    if untold:
        output.print_text(f"not sent yet to {', '.join(untold)}; the next wake-up tries again", err=True)
    if not done:
        output.print_text(why_not, output.mark("WRONG: ", "wrong"), err=True)
    if untold or not done:
        raise SystemExit(output.WRONG)


def _find(ports: Adapters, wanted: str) -> Document:
    """The document of this key, target or option value. Raises output.Unusable if there are none or several."""
    with output.logs_to_stderr():
        keys = document_keys(ports)
        documents = load_documents(ports, [wanted] if wanted in keys else keys)
    for key, denied in documents.unreadable:
        if key == wanted:
            raise denied
    matching = [document for document in documents.readable if wanted in (document.key, name_of(document))]
    matching = matching or [
        document for document in documents.readable if document.target and wanted in document.target.options.values()
    ]
    candidates = [document for document in matching if document.escalation is not None] or matching
    if len(candidates) == 1:
        return candidates[0]
    if not matching:
        raise output.Unusable(f"there is no target or document {wanted}. `status` names those that are escalated.")
    names = ", ".join(f"{document.key} ({name_of(document)})" for document in candidates)
    raise output.Unusable(f"{wanted} means more than one: {names}. Name one by its key.")
