"""What docs/benchmarks.md says where nothing was measured, and what stays on it when one part is written anew."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path

import yaml

from bench import imports, page, promises
from bench.contenders import write_configuration
from bench.imports import Imports
from bench.measures import LEFT_OUT, UNITS, left_out
from bench.parts import INSTRUCTIONS, LONG_RUN, READING, part_of, with_part
from bench.restart_time import LIMITS_S, Healthy, Measured, Trial
from bench.samples import Samples
from bench.soak_page import Promise, section
from bench.stage import ROOT


def measured() -> Samples:
    """Each figure that a run has."""
    samples = Samples()
    for measure, one in product(UNITS, page.COLUMNS):
        if not left_out(measure, one.name):
            samples.add(measure, one.name, 1.0)
    return samples


def written(samples: Samples, long_run: str = "") -> str:
    modules = dict.fromkeys(("yaml", "yaml.reader", "msgspec", "re2", "zoneinfo", "sqlite3", "main"), 2.0)
    found = Imports(30.0, modules, "  2.0 ms  main")
    about = page.Circumstances(1, 0.0, 0.0, 1.0, {}, found, found, f"{INSTRUCTIONS}\n\ncounted\n")
    return page.page(samples, about, long_run)


def cells(text: str) -> list[str]:
    rows = part_of(text, "## All figures").split("\n\n")[1].splitlines()[2:]
    return [cell.strip() for row in rows for cell in row.split("|")[1:-1]]


def test_every_empty_cell_has_its_reason() -> None:
    """Whoever misses a figure finds a letter in its place, and the letter below the table."""
    text = written(measured())

    keys = {found for cell in cells(text) for found in re.findall(r"^\((\w)\)$", cell)}
    assert keys == set(LEFT_OUT)
    assert all(f"({key}) {LEFT_OUT[key]}" in text for key in keys)
    assert "" not in cells(text)
    assert "not measured" not in cells(text)
    assert "not measured" in cells(written(Samples()))


def test_a_part_replaces_its_former_self_and_nothing_else() -> None:
    """`make soak` and the count of instructions leave the rest of the page alone, and can be said again and again."""
    before = written(measured())
    once = with_part(before, LONG_RUN, f"{LONG_RUN}\n\nRun 1")
    twice = with_part(once, LONG_RUN, f"{LONG_RUN}\n\nRun 2")

    assert part_of(before, LONG_RUN) == ""
    assert twice == once.replace("Run 1", "Run 2")
    assert once.replace(f"{LONG_RUN}\n\nRun 1\n\n", "") == before
    assert once.index(INSTRUCTIONS) < once.index(LONG_RUN) < once.index(READING)
    assert with_part(twice, INSTRUCTIONS, part_of(twice, INSTRUCTIONS)) == twice


def test_a_new_measurement_keeps_the_long_run() -> None:
    """Half an hour of soaking is not lost to `make bench`."""
    promise = Promise("memory", "+2 %", "50 → 52 MiB", holds=False)
    part = section([promise], 30.0, "1 request.")

    text = written(measured(), part)
    assert part_of(text, LONG_RUN) == part
    assert "| memory | +2 % | 50 → 52 MiB | **no** |" in text
    assert "at most 2 % over" in text


def test_what_the_page_says_of_a_start_is_so(tmp_path: Path) -> None:
    """The packages that it names are imported by the start of which it says so, and clients are left to the first alert."""
    config = tmp_path / "unstick.yaml"
    write_configuration(config, yaml.safe_load((ROOT / "infra" / "unstick.cloud.yaml").read_text()), checked=True)
    cold, machine = (set(imports.one_run(path).modules) for path in (config, ROOT / "unstick.yaml"))

    spared = {"yaml", "yaml.reader", "re2", "zoneinfo", "sqlite3"}
    assert spared <= machine
    assert not spared & cold
    assert "msgspec" in cold
    assert not [name for name in cold | machine if name.startswith(page.LATER)]
    assert all(name in page.ON_ONE_MACHINE for name in ("PyYAML", "reader", "RE2", "time zones", "SQLite"))
    assert all(name in page.IMPORTS for name in ("msgspec", "requests", "Google"))


# --- the page of promises ----------------------------------------------------------------------------------------------


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


def test_the_page_of_promises_fits_one_screen_and_says_each_leg() -> None:
    """What is promised comes first; every leg, and the healthy applications, below."""
    text = promises.page(restarts())
    assert text.index("| yes |") < 900
    assert len(text[: text.index("## Time to restart")].splitlines()) < 30
    assert all(f"| {name} |" in text for name in (*promises.LEGS, *promises.TOTALS))
    assert "| **gets stuck → restart** | 68.0 (68.0) | 38.0 (38.0) |" in text
    assert "| one message in 25 s | 60s | 7 | 0 |" in text


def test_the_chart_has_a_part_for_each_leg() -> None:
    """As wide as the leg was long, and it is valid XML."""
    drawn = ET.fromstring(promises.chart(restarts()))  # noqa: S314 - our own
    parts = [one for one in drawn.iter("{http://www.w3.org/2000/svg}rect") if one.get("height") == str(promises.BAR)]
    assert len(parts) == len(promises.LEGS) * len(LIMITS_S)
    assert max(float(one.get("x") or 0) + float(one.get("width") or 0) for one in parts) < promises.WIDTH
