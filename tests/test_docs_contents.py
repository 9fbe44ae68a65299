"""Nothing of the program is left out of its documentation, and what a page lists is there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from functions.model import Phase, Reason
from tests.pages import PAGES, ROOT, sections, text_of
from tests.simulation.broken import VARIANTS

OPERATIONS, ARCHITECTURE, GUARANTEES = (ROOT / "docs" / f"{name}.md" for name in ("operations", "architecture", "guarantees"))

# --- operations.md -------------------------------------------------------------------------------------------------------------


def test_every_reason_code_has_its_section():
    """In the model's order, none missing and none too many, and each says what it means, what comes next and what to do."""
    found = sections(OPERATIONS, 3, "Reason codes")
    found.pop("An escalation without a reason code")
    assert list(found) == [f"`{reason.value}`" for reason in Reason]
    lacking = [
        (code, word) for code, body in found.items() for word in ("**Means:**", "**Then:**", "**Do:**") if word not in body
    ]
    assert not lacking


def test_every_phase_is_in_the_table_of_what_is_stuck_open():
    """Whatever `status` shows as a phase has its row."""
    section = sections(OPERATIONS, 2)["Something is stuck `open`"]
    rows = set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE))
    assert rows == {phase.value for phase in Phase} | {"untold", "unarchived"}


def test_every_alert_about_unstick_has_its_section():
    """Those that Terraform makes, and no others."""
    text = text_of(ROOT / "infra" / "watch.tf")
    made = re.findall(r'^    "([a-z-]+)" = \{\n      title    = "([^"]+)"', text, re.MULTILINE)
    assert [f"`{key}`: {title}" for key, title in made] == list(sections(OPERATIONS, 3, "Alerts about Unstick itself"))


def logged() -> dict[str, str]:
    """The text of each warning and error that the program logs, with NUL where a value goes -> where that is."""
    found = {}
    for path in sorted((ROOT / "functions").rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            severity = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            if node.func.attr in ("log", "event") and severity in ("WARNING", "ERROR") and len(node.args) > 1:
                found[_template(node.args[1])] = f"{path.name}:{node.lineno}"
            elif node.func.attr in ("warning", "error", "exception") and getattr(node.func.value, "id", "") == "_log":
                found[_template(node.args[0])] = f"{path.name}:{node.lineno}"
    return found


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return "\0"


def test_every_warning_and_error_is_explained():
    """Each line of the log that asks for attention stands in the table, and the table has no line that is logged no more."""
    section = sections(OPERATIONS, 2)["What the log says"].partition("Warnings and errors.")[2]
    explained = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    texts = {text: place for text, place in logged().items() if text.strip("\0 ")}
    assert [place for text, place in texts.items() if not any(line in text for line in explained)] == []
    mains = text_of(ROOT / "main.py")
    assert [line for line in explained if not any(line in text for text in texts) and line not in mains] == []


# --- architecture.md -----------------------------------------------------------------------------------------------------------


def table_files(heading: str) -> list[str]:
    rows = sections(ARCHITECTURE, 2)["Core and shell"]
    part = rows.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE)


def test_the_core_imports_nothing_but_itself_the_standard_library_and_its_values():
    """Msgspec is what its values are made of. No file of its table reaches a clock's, network's or shell's module by import."""
    core = table_files("core")
    modules = {f"functions.{Path(name).stem}" for name in core}
    forbidden = {
        "os",
        "socket",
        "time",
        "subprocess",
        "logging",
        "threading",
        "urllib.request",
        "http.client",
        "random",
        "secrets",
    }
    wrong = []
    for name in core:
        for module in _imported(ast.parse(text_of(ROOT / name))):
            ours = module.startswith("functions")
            top = module.split(".")[0]
            outside = module not in modules if ours else top not in sys.stdlib_module_names and top != "msgspec"
            if outside or module in forbidden:
                wrong.append(f"{name} imports {module}")
    assert not wrong


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ([f"functions.{alias.name}" for alias in node.names] if node.module == "functions" else [node.module])


def test_every_file_of_the_program_has_its_place():
    """Each file in functions/ is named on the page, by itself or by its beginning; and what is named is there."""
    listed = table_files("core") + table_files("shell")
    assert [name for name in listed if not (ROOT / name).exists()] == []
    text = sections(ARCHITECTURE, 2)["Core and shell"]
    named_here = {Path(name).stem for name in re.findall(r"`([a-z_/]+\.py)`", text)}
    beginnings = tuple(re.findall(r"`([a-z]+_)\*\.py`", text))
    files = [path.stem for path in (ROOT / "functions").glob("*.py") if not path.stem.startswith("__")]
    assert [name for name in files if name not in named_here and not name.startswith(beginnings)] == []


FIGURES = re.findall(r"^\| `([a-z_]+)\.([A-Z_]+)` \| ([0-9.]+) \|", text_of(ARCHITECTURE), re.MULTILINE)


@pytest.mark.parametrize(("module", "name", "value"), FIGURES, ids=[f"{module}.{name}" for module, name, _ in FIGURES])
def test_figures_are_those_of_the_program(module: str, name: str, value: str):
    """The page's table has the constants' values."""
    assert getattr(import_module(f"functions.{module}"), name) == float(value)


# --- guarantees.md -------------------------------------------------------------------------------------------------------------


def test_every_invariant_has_its_section():
    """I1 to I9, each with what it rests on, how it is proved and where it ends."""
    found = sections(GUARANTEES, 3, "The invariants")
    assert [heading.split(" ")[0] for heading in found] == [f"I{number}" for number in range(1, 10)]
    lacking = [
        (name, word)
        for name, body in found.items()
        for word in ("**Rests on:**", "**Proved by:**", "**Ends with:**")
        if word not in body
    ]
    assert not lacking


def test_proofs_are_tests_that_exist():
    """Each test that a page names is a function of tests/."""
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", text_of(path), re.MULTILINE)
    }
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    said = {name for page in PAGES for name in re.findall(r"\b(test_[a-z0-9_]+)\b", text_of(page))}
    codes = {reason.value for reason in Reason}  # one of them begins like a test
    assert sorted(said - there - files - codes) == []


def test_every_broken_variant_is_listed():
    """The table has the simulation's variants, in their order."""
    rows = sections(GUARANTEES, 2)["The simulation"].partition("| broken variant |")[2]
    assert re.findall(r"^\| (?!---)([^|]+?) \|", rows, re.MULTILINE) == [variant.what for variant in VARIANTS]


def test_the_protocols_places_exist():
    """Where docs/decisions/protocol.md says that something is, it is."""
    missing = []
    for module, name in re.findall(r"`([a-z]+)\.([A-Za-z_.]+)`", text_of(ROOT / "docs" / "decisions" / "protocol.md")):
        if not (ROOT / "functions" / f"{module}.py").exists():
            continue
        found: Any = import_module(f"functions.{module}")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            missing.append(f"{module}.{name}")
    assert not missing


# --- the READMEs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_readmes_figures_are_those_of_the_benchmarks(name: str):
    """Each line of the table has a limit and a figure that docs/benchmarks.md has in one line; the English one its words too."""
    rows = re.findall(r"^\| (.+?) \| (?:at most )?([\d.]+)(?: 以下)? \| ([\d.]+) \|$", text_of(ROOT / name), re.MULTILINE)
    page = re.findall(
        r"^\| (.+?) \| at most ([\d.]+) \| ([\d.]+)(?: \(.*\))? \| yes \|$", text_of(ROOT / "docs/benchmarks.md"), re.MULTILINE
    )
    assert rows
    if name == "README.md":
        assert [row for row in rows if row not in page] == []
    assert [row for row in rows if row[1:] not in {one[1:] for one in page}] == []


@pytest.mark.parametrize(("name", "begins"), [("README.md", "**Not met**"), ("README.ja.md", "**満たしていない目標**")])
def test_the_readmes_say_what_is_not_met(name: str, begins: str):
    """Each promise that the last run did not show has its figure there, and no other figure is."""
    said = text_of(ROOT / name).partition(begins)[2].partition("docs/benchmarks.md")[0]
    missed = re.findall(
        r"\| ([\d.]+)(?: \(.*\))? \| \*\*no\*\* \|$",
        text_of(ROOT / "docs/benchmarks.md").partition("## All figures")[0],
        re.MULTILINE,
    )
    limits = re.findall(r"\| at (?:most|least) ([\d.]+) \|", text_of(ROOT / "docs/benchmarks.md"))
    assert sorted(found for found in re.findall(r"\d+\.\d+", said) if found not in limits) == sorted(missed)
