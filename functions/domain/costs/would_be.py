"""Follows up would-be restarts of runbooks in mode `observe`: would they have been right?"""

from collections import Counter
from collections.abc import Iterable
from statistics import median

from functions.domain.cards.rendering import tidy
from functions.domain.costs.model import NAME, Became, Counts, RunbookCost, WouldBe
from functions.domain.model.incidents import Archive
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

AT_ONCE_S = 60.0  # about the duration of a restart: a queue that is healthy by then needed none
FOLLOWED_S = 86400.0  # an incident that is not healthy by then is not followed any longer
ENOUGH = 5  # the minimum number of would-be restarts for advice
RIGHT = 0.8  # the minimum share of needed would-be restarts for advising mode `approve`


def what_became(record: Archive) -> Became | None:
    """What became of one incident; None unless it was only observed."""
    observed = record.incident.observed
    if observed.observed_at is None:
        return None
    if observed.healed_at is None:
        return Became.STILL_ILL if record.outcome.at - observed.observed_at >= FOLLOWED_S else Became.UNKNOWN
    if restarted_after_s(record) is not None:
        return Became.HEALED_BY_PERSON
    return Became.NOT_ILL if observed.healed_at - observed.observed_at <= AT_ONCE_S else Became.HEALED_BY_ITSELF


def restarted_after_s(record: Archive) -> float | None:
    """Seconds from the would-be restart to the person's restart that helped."""
    observed, execution = record.incident.observed, record.incident.execution
    runner_started_at = execution.runner_started_at if execution else None
    if observed.observed_at is None or observed.healed_at is None or runner_started_at is None:
        return None
    started_at = runner_started_at - record.incident.runner_ahead_s
    return max(0.0, started_at - observed.observed_at) if started_at <= observed.healed_at else None


def count(records: Iterable[Archive]) -> WouldBe:
    """Count what became of the incidents that were only observed."""
    observed = [record for record in records if record.incident.observed.observed_at is not None]
    became = Counter(what_became(record) for record in observed)
    after_s = [after for record in observed if (after := restarted_after_s(record)) is not None]
    return WouldBe(**{one.value: became[one] for one in Became}, median_after_s=median(after_s) if after_s else None)


def sentence(spent: RunbookCost, counts: Counts) -> Phrase:
    """What became of a runbook's would-be restarts, and whether to go on to `approve`. Empty without any."""
    would_be = counts.would_be
    if not would_be.total:
        return ""
    observes = Text(
        "{runbook} observes: {count} would-be restart in {days} days",
        "{runbook} observes: {count} would-be restarts in {days} days",
    )
    head = observes.fill(runbook=tidy(spent.runbook, NAME), count=would_be.total, days=counts.days)
    return Text("{counted}. {advice}", counted=named(head, join(_parts(would_be), COMMA)), advice=_advice(would_be))


def _parts(would_be: WouldBe) -> list[Phrase]:
    took = duration(would_be.median_after_s or 0.0)
    by_person = Text("{count} healed only after a person restarted", count=would_be.healed_by_person)
    by_itself = Text("{count} healed by itself", "{count} healed by themselves", count=would_be.healed_by_itself)
    parts = {
        in_brackets(by_person, Text("median {took} later", took=took)): would_be.healed_by_person,
        Text("{count} did not heal within a day", count=would_be.still_ill): would_be.still_ill,
        by_itself: would_be.healed_by_itself,
        Text("{count} was no longer ill", "{count} were no longer ill", count=would_be.not_ill): would_be.not_ill,
        Text("{count} was not followed", "{count} were not followed", count=would_be.unknown): would_be.unknown,
    }
    return [phrase for phrase, number in parts.items() if number]


def _advice(would_be: WouldBe) -> Text:
    """Whether to trust the runbook with more than observing."""
    followed = would_be.total - would_be.unknown
    needed = would_be.healed_by_person + would_be.still_ill
    if followed < ENOUGH:
        return Text("Stay in mode observe: fewer than {enough} say nothing yet.", enough=ENOUGH)
    if needed >= RIGHT * followed:
        return Text("Go on to mode approve: {needed} of {followed} needed a restart.", needed=needed, followed=followed)
    return Text(
        "Stay in mode observe, and raise `symptom.for` or slow the alert rule down: {needless} of {followed} needed no restart.",
        needless=followed - needed,
        followed=followed,
    )
