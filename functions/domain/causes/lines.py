"""Which lines of evidence stand in most incidents, and whether they stand in samples from healthy times as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from functions.domain.causes import chance
from functions.domain.causes.model import LEAST, Kind, Pattern, ordered


def common_lines(incidents: Sequence[frozenset[str]], healthy: Sequence[frozenset[str]] = ()) -> tuple[Pattern, ...]:
    """The lines of more than half of the incidents; each set has the lines of one incident or sample, as templates.

    With samples from healthy times, lines that are no rarer there are left out, and the others have a figure against chance.
    """
    if len(incidents) < LEAST:
        return ()
    having = Counter(line for lines in incidents for line in lines)
    often = {line: count for line, count in having.items() if 2 * count > len(incidents)}
    if not healthy:
        return ordered(Pattern(Kind.LINE, line, count, len(incidents)) for line, count in sorted(often.items()))
    without = Counter(line for lines in healthy for line in lines)
    return ordered(
        Pattern(
            Kind.LINE,
            line,
            count,
            len(incidents),
            chance.corrected(chance.fisher(count, len(incidents), without[line], len(healthy)), len(often)),
            without[line],
            len(healthy),
        )
        for line, count in sorted(often.items())
        if without[line] * len(incidents) < count * len(healthy)
    )
