"""What a card is made from, as data, and how its content becomes texts: translated, clean and within their limits."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from functions.domain.model.alerts import Target
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.codes import Mode, Phase, Reason
from functions.domain.model.incidents import AlertRef, Escalation, Incident, Outcome, Place, QueueState
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules, Runbook
from functions.domain.texts.words import URGENCIES, clean
from functions.runtime.text import Phrase, Text, in_language, named

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
    healthy_url: str = ""
    escalation: Escalation | None = None
    bundled: tuple[str, ...] = ()  # the names of the targets or alerts in a bundled message
    is_calm: bool = False  # for a bundled message: none of its messages is urgent
    moving: bool = False  # it counts as recovered at the end of `within` because it moves again, with messages left
    again: bool = False  # it goes on: the hold ends by itself, or other queues are not well yet
    is_over: bool = False  # for a page: what it says to do was to be done when it ended
    outcomes: tuple[Outcome, ...] = ()  # of the target's last incidents

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
    def attempts(self) -> int:
        return self.runbook.limits.attempts if self.runbook else 0

    @property
    def queues(self) -> tuple[QueueState, ...]:
        return self.escalation.queues if self.escalation and not self.incident else self.shown.queues

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it hangs; of an escalation, as its incident left it."""
        if self.incident or not self.escalation:
            return self.shown.places
        return next((outcome.places for outcome in self.outcomes if outcome.incident == self.escalation.incident), ())


Fact = tuple[Phrase, Phrase]

NAME = 120
SENTENCE = 700
CUT = "…"
HEADLINE = 140  # Slack's header accepts 150 characters; a phone's notification shows about 100


def tidy(text: object, limit: int = NAME) -> str:
    """One line of untrusted text within `limit`."""
    return clean(text, limit, CUT)


def rendered(rules: Rules, phrase: Phrase, limit: int = SENTENCE, shared: Mapping[str, str] = {}) -> str:
    """One clean line in the configured language, within `limit`. `shared`: what a template may name without having it."""
    return tidy(in_language(rules.language, phrase, runner=rules.runner, **shared), limit)


class Content(Struct, frozen=True):
    """A card's content. The headline comes without its first words: `words`, or else those of the urgency."""

    urgency: str
    headline: Phrase
    text: Iterable[Phrase] = ()
    facts: Iterable[Fact] = ()
    links: Iterable[tuple[Phrase, str]] = ()
    words: Phrase = ""


def render(rules: Rules, kind: CardKind, content: Content, at: float, shared: Mapping[str, str] = {}) -> Card:
    """Render the card. `shared`: what headline and text may name without having it."""
    headline = named(content.words or URGENCIES.get(content.urgency, ""), content.headline)
    return Card(
        kind=kind,
        urgency=content.urgency,
        headline=rendered(rules, headline, HEADLINE, shared),
        facts=tuple((rendered(rules, label), rendered(rules, value)) for label, value in content.facts),
        text=tuple(rendered(rules, phrase, shared=shared) for phrase in content.text if phrase),
        links=tuple((rendered(rules, label), url) for label, url in content.links),
        at=at,
    )


def to_do(todo: Phrase) -> Text:
    """The sentence that says what to do."""
    return Text("What to do: {todo}", todo=todo)


def details(detail: Phrase) -> Text:
    """The exact detail, possibly quoted from elsewhere."""
    return Text("Details: {detail}", detail=detail)


def split_headline(card: Card) -> tuple[str, str]:
    """The headline's first words, which say how urgent it is, and the rest. The words are empty if the urgency has none."""
    words, *rest = re.split(": |：", card.headline, maxsplit=1)
    return (words, rest[0]) if rest and card.urgency in URGENCIES else ("", card.headline)


def clock(rules: Rules, at: float, form: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    """A time in the configured time zone, for people."""
    try:
        return datetime.fromtimestamp(at, rules.zone).strftime(form)
    except (OverflowError, ValueError, OSError):
        return "?"
