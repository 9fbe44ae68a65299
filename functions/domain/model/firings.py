"""Finds the incident or outcome in a document that covers the same firing of an alert."""

import hashlib
from collections.abc import Iterable
from typing import Generic, TypeVar

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.incidents import AlertRef, Document, Incident, Outcome

SOURCE_KEPT = 200
SAME_START_S = 60.0  # Grafana's replicas give the same alert slightly different start times


def alert_key(source: str, fingerprint: str) -> str:
    """Identifies an alert across its firing periods. A fingerprint is unique only inside one source."""
    return f"{source}|{fingerprint}"


def short_source(source: str) -> str:
    """The source if it is short, otherwise its hash."""
    fits = len(source) <= SOURCE_KEPT and source.isascii() and source.isprintable()
    return source if fits else hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


T = TypeVar("T")


class Firings(Generic[T]):
    """A mapping from firing periods of alerts to values. Any report of the same period finds the first value that was added."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[float, T]]] = {}

    def add(self, trigger: AlertRef, value: T) -> None:
        self._kept.setdefault((trigger.source, trigger.fingerprint), []).append((trigger.starts_at, value))

    def find(self, case: MatchedAlert) -> T | None:
        alert = case.alert
        starts = self._kept.get((short_source(alert.source), alert.fingerprint), ())
        return next((value for starts_at, value in starts if abs(starts_at - alert.starts_at) <= SAME_START_S), None)


C = TypeVar("C", Incident, Outcome)


def by_alert(carriers: Iterable[C]) -> Firings[C]:
    """Alert -> the first of these that contains it."""
    firings = Firings[C]()
    for carrier in carriers:
        for trigger in carrier.triggers:
            firings.add(trigger, carrier)
    return firings


def alerts_of_outcomes(document: Document) -> Firings[Outcome]:
    """The settled alerts, each with its newest outcome."""
    return by_alert(outcome for outcome in reversed(document.outcomes) if outcome.settles)


def new_alerts(document: Document, cases: tuple[MatchedAlert, ...]) -> tuple[MatchedAlert, ...]:
    """The firing alerts that no outcome of the document contains."""
    carried = alerts_of_outcomes(document)
    return tuple(case for case in cases if case.alert.firing and carried.find(case) is None)
