"""The picture above the list: each runbook's restarts and saved minutes by week, with the last fix marked."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise

from msgspec import Struct

from functions.domain.incidents.overview import RestartAt, Summary
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Phrase, Text, join

WEEKS, WEEK = 26, 7
QUIET_S = 30 * 86400.0  # after this long without an incident, the next one begins a new run: the bug before it was fixed
SHOWN = 6  # how many runbooks the picture shows
BAR, GAP = 16, 5
HEIGHT = 56


class Bar(Struct, frozen=True):
    x: int
    y: float
    height: float


class Week(Struct, frozen=True):
    begins: str  # YYYY-MM-DD
    restarts: int
    minutes: int


class Course(Struct, frozen=True):
    """The weeks of one runbook. `minutes`: the second row of bars, empty if the runbook doesn't say what a restart takes."""

    runbook: str
    caption: Phrase
    weeks: tuple[Week, ...]
    restarts: tuple[Bar, ...]
    minutes: tuple[Bar, ...]
    fix_x: int | None  # the x coordinate after the last incident before a quiet month
    width: int
    height: int = HEIGHT
    bar: int = BAR


def plot(rows: tuple[Summary, ...], rules: Rules, now: float, *, is_all: bool) -> tuple[Course, ...]:
    """The courses of the runbooks that had restarts, most restarts first. They begin with the week of the oldest row; if the
    archive has older ones, with the week after it, the first complete one."""
    if not rows:
        return ()
    today = local_day(now, rules)
    oldest = min(row.ended_at or row.at for row in rows)
    count = min(WEEKS, (today - local_day(oldest, rules)).days // WEEK + (1 if is_all else 0))
    first = today - timedelta(days=WEEK * count - 1)
    by_runbook: dict[str, list[Summary]] = {}
    for row in rows:
        by_runbook.setdefault(row.runbook, []).append(row)
    courses = [_course(name, its, rules, first, (count, now)) for name, its in by_runbook.items() if name and count > 0]
    courses = [course for course in courses if any(week.restarts for week in course.weeks)]
    return tuple(sorted(courses, key=lambda course: -sum(week.restarts for week in course.weeks))[:SHOWN])


def _course(name: str, rows: list[Summary], rules: Rules, first: date, span: tuple[int, float]) -> Course:
    count, now = span
    known: dict[str, RestartAt] = {}
    for row in rows:
        known.update(row.restarts)
    restarts, minutes = [0] * count, [0.0] * count
    for place in _places((restart.at for restart in known.values()), rules, first, count):
        restarts[place] += 1
    for row in rows:
        for place in _places([row.ended_at or row.at], rules, first, count):
            minutes[place] += row.saved_minutes or 0.0
    weeks = tuple(
        Week((first + timedelta(days=WEEK * place)).isoformat(), restarts[place], round(minutes[place])) for place in range(count)
    )
    fixed_at = find_fix([row.at for row in rows], now)
    places = list(_places([fixed_at], rules, first, count)) if fixed_at is not None else []
    behind = places[0] + 1 if places else None
    has_minutes = any(row.saved_minutes is not None for row in rows)
    return Course(
        name,
        _caption(weeks, behind, has_minutes=has_minutes),
        weeks,
        _bars(restarts),
        _bars(minutes) if has_minutes else (),
        behind * (BAR + GAP) - GAP // 2 if behind is not None else None,
        count * (BAR + GAP),
    )


def find_fix(began: list[float], now: float) -> float | None:
    """When the last incident before the latest quiet month began. As in the report, such a month means that the bug was fixed."""
    times = [*sorted(began), now]
    quiet = [before for before, after in pairwise(times) if after - before > QUIET_S]
    return quiet[-1] if quiet else None


def local_day(at: float, rules: Rules) -> date:
    """The day of this time, in the configured time zone."""
    return datetime.fromtimestamp(at, rules.zone).date()


def _places(times: Iterable[float], rules: Rules, first: date, count: int) -> Iterator[int]:
    for at in times:
        days = (local_day(at, rules) - first).days
        if 0 <= days < count * WEEK:
            yield days // WEEK


def _bars(values: list[int] | list[float]) -> tuple[Bar, ...]:
    most = max(values)
    heights = [(n, value / most * (HEIGHT - 4)) for n, value in enumerate(values) if value]
    return tuple(Bar(n * (BAR + GAP), round(HEIGHT - high, 1), round(high, 1)) for n, high in heights)


def _caption(weeks: tuple[Week, ...], behind: int | None, *, has_minutes: bool) -> Phrase:
    """Say in words what the picture shows, for those who can't see it."""
    restarts, minutes = sum(week.restarts for week in weeks), sum(week.minutes for week in weeks)
    counted = Text("{count} restart since {date}", "{count} restarts since {date}", count=restarts, date=weeks[0].begins)
    saved = Text("saved {minutes} min", minutes=minutes) if has_minutes else ""
    if behind is None:
        return join((counted, saved))
    before, after = (sum(week.restarts for week in part) for part in (weeks[:behind], weeks[behind:]))
    fixed = Text(
        "before the line {before} a week, after it {after}",
        before=round(before / behind, 1),
        after=round(after / max(1, len(weeks) - behind), 1),
    )
    return join((counted, saved, fixed))
