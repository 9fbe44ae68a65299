"""The input of a card, as data."""

from collections.abc import Mapping

from msgspec import Struct, field

from functions.domain.model.alerts import Target, UnmatchedAlert
from functions.domain.model.codes import Mode, Phase, Reason
from functions.domain.model.incidents import AlertRef, Escalation, Incident, QueueState
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

NO_INCIDENT = Incident("", Phase.DEFERRED, 0.0, "", (), ())


class CardInput(Struct, frozen=True):
    """All that the text of a card depends on."""

    kind: CardKind
    at: float
    runbook: Runbook | None = None
    target: Target | None = None
    incident: Incident | None = None
    reason: Reason | None = None
    detail: Phrase = ""
    remedy: Phrase = ""
    about: Execution | None = None  # the execution to open, if it is not the incident's own
    trigger: AlertRef | None = None
    approve_url: str = ""
    acknowledge_url: str = ""
    escalation: Escalation | None = None
    bundled: tuple[str, ...] = ()  # the names of the targets or alerts in a bundled message
    bundled_links: Mapping[str, str] = field(default_factory=dict)  # name -> where people restart the target by hand
    is_calm: bool = False  # for a bundled message: none of its messages is urgent
    late_s: float = 0.0
    may_be_gone: bool = False  # for a card without an incident: whether messages may be gone,
    restarts: int = 0  # and how many restarts there were
    moving: bool = False  # it counts as recovered at the end of `within` because it moves again, with messages left
    unmatched: tuple[UnmatchedAlert, ...] = ()  # for the daily card about suspicions without a runbook
    again: bool = False  # the hold ends by itself: Unstick decides again on its own
    told_at: float | None = None  # when this hold was posted, if within the hour: the card brings that one up to date
    is_over: bool = False  # for a page: what it says to do was to be done when it ended
    next_at: float | None = None  # before this time the same hold is not posted again

    @property
    def calls_nobody(self) -> bool:
        """Whether it can always wait for working hours: the runbook only observes, or a rule only suspects (no incident yet)."""
        observes = self.runbook is not None and self.runbook.mode is Mode.OBSERVE
        suspects = not (self.incident or self.escalation) and self.trigger is not None and self.trigger.suspicion
        return observes or suspects or self.is_calm

    @property
    def shown(self) -> Incident:
        """The incident, or an empty one."""
        return self.incident or NO_INCIDENT

    @property
    def has_ages(self) -> bool:
        """Whether its times can be compared: no step came so late that the clock may have been set forward."""
        return not (self.late_s or self.shown.late_s)

    @property
    def attempts(self) -> int:
        return self.runbook.limits.attempts if self.runbook else 0

    @property
    def queues(self) -> tuple[QueueState, ...]:
        return self.escalation.queues if self.escalation and not self.incident else self.shown.queues
