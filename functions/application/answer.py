"""Takes every answer of a person, from the page, a chat's button or the command line; and turns the kill switch."""

from collections.abc import Mapping

from msgspec import Struct

from functions.application.documents import STORE_S, load
from functions.application.ports import Budget, Ports
from functions.application.reconcile import advance
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE
from functions.domain.model.events import Acknowledged, Approved, Declined, Event, Reply, WasHealthy
from functions.domain.model.incidents import Document
from functions.runtime.text import Text

NO_LONGER = Text("Nothing was done: the message is no longer current. The newest message of the incident shows the state.")
REPLACED = Text(
    "Nothing was done: a newer message replaced this one, since more stands still, or more speaks against a restart by now."
)
NOT_APPROVER = Text("Nothing was done: only the runbook's approvers may do this ({who}).")
DONE: Mapping[str, Text] = {
    APPROVE: Text("Approved by {by} at {at}"),
    DECLINE: Text("Declined by {by} at {at}"),
    ON_PURPOSE: Text("On purpose, says {by} at {at}"),
    ACKNOWLEDGE: Text("Taken by {by} at {at}"),
    HEALTHY: Text("It was healthy, says {by} at {at}"),
}


class Answer(Struct, frozen=True):
    """A person's answer to the message with this nonce. A proxy proves an `address`, a chat a `user`."""

    action: str
    key: str  # the document's
    nonce: str
    by: str  # the name that is recorded
    why: str = ""
    address: str = ""
    user: str = ""
    is_operator: bool = False  # at the command line, with access to the store and the keys

    @property
    def incident(self) -> str:
        return self.nonce.partition(".")[0]


class Result(Struct, frozen=True):
    before: Document
    after: Document
    reply: Reply | None = None
    refusal: Text | None = None
    approvers: tuple[str, ...] = ()  # who may, if this person may not


def answer(ports: Ports, given: Answer, budget: Budget) -> Result:
    """Act on the answer if its message is current and this person may give it. Raises Unavailable or Denied."""
    before = load(ports, given.key, budget.at_most(STORE_S))[0]
    runbook = find_runbook(before, given.action, given.nonce)
    if runbook is None:
        return Result(before, before, refusal=say_why_not(before, given.nonce))
    approvers = ports.rules.runbooks[runbook].approvers if runbook in ports.rules.runbooks else None
    if not _is_allowed(ports, given, approvers):
        return Result(before, before, refusal=NOT_APPROVER, approvers=approvers or ("-",))
    reply = advance(ports, given.key, _to_event(given, before), budget)
    after = load(ports, given.key, budget.at_most(STORE_S))[0]
    is_taken = given.action == ACKNOWLEDGE and after.escalation is not None and after.escalation.taken_by == given.by
    counts = reply is not None or given.action == HEALTHY or is_taken
    if counts:
        done = f"{given.action}: {reply.action.value}" if reply else given.action
        ports.log("NOTICE", f"answer accepted: {done}", incident=given.incident, by=given.by, document=given.key)
    return Result(before, after, reply, None if counts else NO_LONGER)


def find_runbook(document: Document, action: str, nonce: str) -> str | None:
    """The runbook of the incident that asks with this nonce; None if it no longer waits for this answer."""
    incident, escalation = document.incident, document.escalation
    if action == HEALTHY:
        doubted = document.find_doubtable(nonce)
        return doubted.runbook if doubted else None
    if incident is not None and incident.approval.nonce == nonce and action in (APPROVE, DECLINE, ON_PURPOSE):
        return incident.runbook
    if escalation is not None and escalation.nonce == nonce and action == ACKNOWLEDGE and not escalation.taken_by:
        return escalation.runbook
    return None


def say_why_not(document: Document, nonce: str) -> Text:
    """Why the message with this nonce takes no answer."""
    return REPLACED if document.incident is not None and nonce in document.incident.approval.replaced else NO_LONGER


def _is_allowed(ports: Ports, given: Answer, approvers: tuple[str, ...] | None) -> bool:
    """Whether the person may answer. `approvers`: None if their runbook was removed. Anybody may take an escalation.
    An operator could change the document itself, so `approvers` can't bind them."""
    if given.action == ACKNOWLEDGE or given.is_operator or approvers == ():
        return True
    if approvers and (("@" in given.address and given.address in approvers) or given.user in approvers):
        return True
    fields = {"incident": given.incident, "by": given.by, "document": given.key}
    ports.log("WARNING", f"approval rejected: not an approver ({given.action})", **fields)
    return False


def _to_event(given: Answer, document: Document) -> Event:
    if given.action == APPROVE:
        return Approved(given.nonce, given.by, given.why)
    if given.action in (DECLINE, ON_PURPOSE):
        return Declined(given.nonce, given.by, given.why, on_purpose=given.action == ON_PURPOSE)
    if given.action == HEALTHY:
        return WasHealthy(given.nonce)
    return Acknowledged(given.by, document.escalation.incident if document.escalation else "")
