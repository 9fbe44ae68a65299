"""What decides whether docs/benchmarks.md calls a promise kept."""

from __future__ import annotations

from bench import promises
from bench.parts import DETAILS, with_details, with_promises
from bench.restart_time import LIMITS_S, Healthy, Measured, Trial


def restarts(late_s: float = 0.0, unlucky: int = 0) -> Measured:
    """Two applications for each `for`, the second one's restart `late_s` later."""
    trials = [
        Trial(for_s, 0.0, 15.0, 20.0, 20.1, for_s + 8.0 + late, for_s + 9.0 + late, for_s + 40.0 + late)
        for for_s in LIMITS_S
        for late in (0.0, late_s)
    ]
    return Measured(trials, [Healthy("one message in 25 s", 60, 7, unlucky)], "RabbitMQ 3.10.8", 0.0)


def held(measured: Measured) -> list[bool]:
    return [promise.holds for promise in promises.promises(measured)]


def test_the_slowest_restart_decides_whether_a_promise_holds() -> None:
    """A median would hide the one night on which it took long."""
    assert all(held(restarts()))
    assert held(restarts(late_s=30.0))[:2] == [False, False]
    assert held(restarts(unlucky=1)).count(False) == 1
    assert "| **no** |" in promises.page(restarts(late_s=30.0))


def test_each_half_of_the_page_keeps_the_other() -> None:
    """`make bench` may write one half alone."""
    whole = with_details(with_promises("", "# Promises\n"), f"{DETAILS}\n\nold\n")
    assert with_promises(whole, "# New\n") == f"# New\n\n{DETAILS}\n\nold\n"
    assert with_details(whole, f"{DETAILS}\n\nnew\n") == f"# Promises\n\n{DETAILS}\n\nnew\n"
