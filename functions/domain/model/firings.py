"""Finds what an alert belongs to: the incident or outcome of a document that carries the same firing of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Generic, TypeVar

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.incidents import AlertRef, Document, Incident, Outcome

SOURCE_KEPT = 200
SAME_START_S = 60.0
"""Grafana's replicas give the same alert slightly different start times."""


def alert_key(source: str, fingerprint: str) -> str:
    """The name of an alert across its firing periods. A fingerprint alone is unique only inside one source."""
    return f"{source}|{fingerprint}"


def short_source(source: str) -> str:
    """The source if it is short, otherwise its hash."""
    fits = len(source) <= SOURCE_KEPT and source.isascii() and source.isprintable()
    return source if fits else hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


T = TypeVar("T")


class Firings(Generic[T]):
    """A value for each firing period of an alert, found by any report of the same period in constant time."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, int], tuple[float, T]] = {}

    def add(self, trigger: AlertRef, value: T) -> None:
        """Add a value; the first of a period stays. Two starts in the same minute are one period."""
        place = (trigger.fingerprint, trigger.source, int(trigger.starts_at // SAME_START_S))
        self._kept.setdefault(place, (trigger.starts_at, value))

    def find(self, case: MatchedAlert) -> T | None:
        minute = int(case.alert.starts_at // SAME_START_S)
        source = short_source(case.alert.source)
        for near in (minute, minute - 1, minute + 1):
            kept = self._kept.get((case.alert.fingerprint, source, near))
            if kept is not None and abs(kept[0] - case.alert.starts_at) <= SAME_START_S:
                return kept[1]
        return None


C = TypeVar("C", Incident, Outcome)


def by_alert(carriers: Iterable[C]) -> Firings[C]:
    """The first of these for each alert that one of them carries."""
    firings = Firings[C]()
    for carrier in carriers:
        for trigger in carrier.triggers:
            firings.add(trigger, carrier)
    return firings


def alerts_of_outcomes(document: Document) -> Firings[Outcome]:
    """The alerts that are settled, each with its newest outcome."""
    return by_alert(outcome for outcome in reversed(document.outcomes) if outcome.settles)


def settled_by(document: Document, case: MatchedAlert) -> Outcome | None:
    """The outcome that settled this alert, if any."""
    return alerts_of_outcomes(document).find(case)


def new_alerts(document: Document, cases: tuple[MatchedAlert, ...]) -> tuple[MatchedAlert, ...]:
    """The firing alerts that no outcome of the document carries."""
    carried = alerts_of_outcomes(document)
    return tuple(case for case in cases if case.alert.firing and carried.find(case) is None)
