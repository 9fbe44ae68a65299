"""A table of jobs in a SQLite file, with the times (Unix seconds) when each was added and done; `done_at` is empty before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Struct

from functions.adapters.checks import finding_of_error
from functions.application.ports import Finding, Query, QueueOutcome, SymptomAdapter, SymptomKeys
from functions.domain.decisions.matching import NotRendered, fill_template, refuse_control_characters
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Statement, figures_of
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.structs import duration, key, written
from functions.runtime.text import Text

SYSTEM = "jobs_table"
RANGE_S = 60.0  # a queue works if a job was done in this time
QUERY = """SELECT count(*), count(done_at), max(done_at), min(CASE WHEN done_at IS NULL THEN added_at END)
    FROM jobs WHERE queue = ?"""


class Symptom(Struct, frozen=True, rename=key):
    """The keys of `symptom: {jobs_table: ...}` in a runbook."""

    NEEDED_BY_AUTO: ClassVar[Mapping[str, str]] = {}

    queue: Annotated[str, written("template")] = "${labels.queue}"
    """The value in the column `queue`."""
    for_s: Annotated[float, duration(1, 3600)] = 60.0
    """A queue is stuck only if jobs waited, and none was done, for all of this time."""

    def to_symptom(self) -> runbooks.Symptom:
        """Convert to the domain's Symptom."""
        return runbooks.Symptom(SYSTEM, {"queue": self.queue}, for_s=self.for_s)

    def find_mistakes(self) -> Iterable[tuple[str, str, str]]:
        """None: the types catch all of them."""
        return ()


class JobsTable(Struct, frozen=True):
    """`jobs_table` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom

    path: str
    """The SQLite file."""

    def name_queue(self, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
        """The queue for an alert with these labels. Raises NotRendered."""
        queue = fill_template(symptom.keys["queue"], labels, "queue")
        refuse_control_characters(queue, "queue")
        return QueueRef(SYSTEM, f"{SYSTEM}::{queue}", queue, {"queue": queue})

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        """Each queue as it is now, or why it can't be read."""
        ends = time.monotonic() + timeout_s
        return [self._look(query.queue.keys["queue"], ends) for query in queries]

    def _look(self, queue: str, ends: float) -> Statement | Unavailable | Denied:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            return Unavailable(SYSTEM, Text("no time left to ask"), late=True)
        try:
            address = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=left_s)) as base:
                count, done, done_at, waits_from = base.execute(QUERY, [queue]).fetchone()
        except sqlite3.Error as error:
            return Unavailable(SYSTEM, Text("can't be read: {error}", error=str(error)))
        if count == 0:  # a table that keeps no job of an idle queue can't be told from a wrong name
            remedy = Text("Compare the alert's label with the column `queue`.")
            return Denied(SYSTEM, Text("there is no job of the queue {queue}", queue=queue), remedy=remedy)
        now, waiting = time.time(), count - done
        recovered = not waiting or now - (done_at or 0.0) < RANGE_S
        stuck_s = None if recovered else now - max(waits_from, done_at or 0.0)
        return Statement(now, RANGE_S, stuck_s, recovered, figures=QueueSnapshot(now, waiting))

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        """The jobs of the queue that the labels name."""
        try:
            queue = self.name_queue(symptom, labels)
        except NotRendered as refusal:
            return [Finding("the queue", None, f"its name comes with the alert: {refusal.text}", "Add --label queue=...")]
        what = f"jobs of the queue {queue.name}"
        (seen,) = self.look_all([Query(queue, symptom.for_s)], timeout_s=timeout_s)
        if isinstance(seen, Exception):
            return [finding_of_error(what, seen, "Check `path`, and that this user may read the file.")]
        figures = figures_of(seen)
        return [Finding(what, ok=True, detail=f"{figures.depth if figures else '?'} not done")]


ADAPTER: type[SymptomAdapter] = JobsTable
