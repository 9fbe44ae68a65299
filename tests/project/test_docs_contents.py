"""Nothing of the program is left out of its documentation, and what a page lists is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from functions.domain.model.codes import Phase, Reason
from functions.runtime.text import LOCALES
from tests.project.pages import PAGES, ROOT, anchors, sections, text_of

OPERATIONS, GUARANTEES = (ROOT / "docs" / f"{name}.md" for name in ("operations", "guarantees"))
OPERATIONS_JA = OPERATIONS.with_name("operations.ja.md")
LOG = ROOT / "docs" / "operations" / "log.md"

# --- operations.md and operations/log.md ---------------------------------------------------------------------------------------


def test_every_reason_code_has_its_section():
    """In the model's order, none missing and none too many, and each says what it means, what comes next and what to do."""
    found = sections(OPERATIONS, 3, "Reason codes")
    found.pop("An escalation without a reason code")
    assert list(found) == [f"`{reason.value}`" for reason in Reason]
    lacking = [
        (code, word) for code, body in found.items() for word in ("**Means:**", "**Then:**", "**Do:**") if word not in body
    ]
    assert not lacking


def test_the_japanese_page_has_the_same_sections():
    """Cards link there by the reason code; headings, codes, outcomes and phases are those of the English page."""
    english, japanese = text_of(OPERATIONS), text_of(OPERATIONS_JA)
    levels = [
        re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE) for text in (english, japanese)
    ]
    assert levels[0] == levels[1]
    found = sections(OPERATIONS_JA, 3, "理由コード")
    found.pop("理由コードのないエスカレーション")
    assert list(found) == [f"`{reason.value}`" for reason in Reason]
    assert {code.strip("`") for code in found} <= anchors(OPERATIONS_JA)
    lacking = [
        (code, word) for code, body in found.items() for word in ("**意味:**", "**この後:**", "**対応:**") if word not in body
    ]
    assert not lacking
    first_cells = [re.findall(r"^\| (`[a-z]+`) \|", text, re.MULTILINE) for text in (english, japanese)]
    assert first_cells[0] == first_cells[1]


@pytest.mark.parametrize(
    ("page", "heading", "ids"), [(OPERATIONS, "the detail says", True), (OPERATIONS_JA, "詳細の表示", False)]
)
def test_details_are_quoted_as_the_program_says_them(page: Path, heading: str, ids: bool):
    """Somebody at night compares a message with the page, so each quotation is part of a message, numbers aside."""
    with (LOCALES / "ja" / "LC_MESSAGES" / "unstick.po").open("rb") as file:
        messages = [message.id if ids else message.string for message in read_po(file, locale="ja") if message.id]
    said = [re.sub(r"{\w+}", "#", one) for message in messages for one in ([message] if isinstance(message, str) else message)]
    tables = re.findall(rf"^\| {heading} \|.*\n.*\n((?:\|.*\n)+)", text_of(page), re.MULTILINE)
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()]
    quoted = [re.sub(r"\d+(xx)?", "#", one.strip()) for cell in cells for one in re.split("[,;、]", cell)]
    assert len(quoted) >= 20
    assert [quotation for quotation in quoted if not any(quotation in message for message in said)] == []


def test_every_phase_is_in_the_table_of_what_is_stuck_open():
    """Whatever `status` shows as a phase has its row."""
    section = sections(OPERATIONS, 2)["Something is stuck `open`"]
    rows = set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE))
    assert rows == {phase.value for phase in Phase} | {"untold", "unarchived", "escalated"}


def test_every_alert_about_unstick_has_its_section():
    """Those that Terraform makes, and no others."""
    text = text_of(ROOT / "infra" / "module" / "watch.tf")
    made = re.findall(r'^    "([a-z-]+)" = \{\n      title    = "([^"]+)"', text, re.MULTILINE)
    assert [f"`{key}`: {title}" for key, title in made] == list(sections(LOG, 3, "Alerts about Unstick itself"))


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
    return found


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return "\0"


def test_every_line_of_the_page_is_logged():
    """Somebody searches the page for a line of the log: each one that stands there is what the program logs."""
    section = sections(LOG, 2)["What the log says"].partition("Warnings and errors")[2]
    explained = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    texts = "\n".join([*logged(), text_of(ROOT / "main.py")])
    assert len(explained) >= 20
    assert [line for line in explained if line not in texts] == []


# --- guarantees.md -------------------------------------------------------------------------------------------------------------


def test_every_invariant_has_its_section():
    """I1 to I10, each with what it rests on, how it is proved and where it ends."""
    found = sections(GUARANTEES, 3, "The invariants")
    assert [heading.split(" ")[0] for heading in found] == [f"I{number}" for number in range(1, 11)]
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


# --- the READMEs ---------------------------------------------------------------------------------------------------------------


PROMISES = "docs/benchmarks.md"


def figures(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


@pytest.mark.parametrize(("name", "heading"), [("README.md", "Numbers"), ("README.ja.md", "数値")])
def test_the_readmes_promises_are_those_of_the_benchmarks(name: str, heading: str):
    """Every line with its limit and its figure, in the page's order; the English one with its words too."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*\d[^|]*) \| ([^|]+) \|$", sections(ROOT / name, 2)[heading], re.MULTILINE)
    page = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| yes \|$", text_of(ROOT / PROMISES), re.MULTILINE)
    assert rows
    assert [(figures(limit), figures(measured)) for _, limit, measured in rows] == [
        (figures(limit), figures(measured)) for _, limit, measured in page
    ]
    if name == "README.md":
        assert rows == page
