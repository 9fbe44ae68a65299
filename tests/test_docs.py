"""The documentation says what is true: links lead somewhere, commands exist, blocks run, and nothing of the program is left out."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import pytest

from functions.cli.commands import command_line
from functions.model import Phase, Reason
from functions.stores import local
from tests.simulation.broken import VARIANTS

ROOT = Path(__file__).parent.parent
LEFT_OUT = {".venv", ".git", "build", "node_modules", "recordings", ".pytest_cache", ".hypothesis"}
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not LEFT_OUT & set(path.relative_to(ROOT).parts) and not path.parts[-1].startswith(".")
)
OPERATIONS, ARCHITECTURE, GUARANTEES = (ROOT / "docs" / f"{name}.md" for name in ("operations", "architecture", "guarantees"))
FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
IMAGE_OR_ANCHOR = re.compile(r'<(?:img|a)\s[^>]*?(?:src|href)="([^"]+)"')
RUN_S = 60.0


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(what stands behind the fence, the block) of each fenced block, without its indentation."""
    for found in FENCE.finditer(text_of(path)):
        indent, _, info, body = found.groups()
        yield info.strip(), "\n".join(line.removeprefix(indent) for line in body.splitlines())


def prose(path: Path) -> str:
    return FENCE.sub("", text_of(path))


# --- links -----------------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading: lower case, punctuation dropped, blanks to hyphens."""
    plain = LINK.sub(lambda found: found[0].partition("[")[2].partition("]")[0], heading).replace("`", "")
    return "".join(
        sign if sign.isalnum() or sign in "-_" else "-" for sign in plain.strip().lower() if sign.isalnum() or sign in "-_ "
    )


def anchors(path: Path) -> set[str]:
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path), re.MULTILINE):
        name = slug(heading)
        made.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return made


def links(path: Path) -> list[str]:
    without_code = re.sub(r"`[^`\n]*`", "", prose(path))
    return [*LINK.findall(without_code), *IMAGE_OR_ANCHOR.findall(without_code)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_inside_the_repository_leads_somewhere(page: Path):
    """A file or folder that is there, and a heading that is there."""
    broken = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme or link.startswith("//"):
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{link}: there is no such file")
        elif parts.fragment and target.suffix == ".md" and unquote(parts.fragment) not in anchors(target):
            broken.append(f"{link}: there is no such heading")
    assert not broken


def test_the_link_check_can_fail(tmp_path: Path):
    """Headings get the anchors that GitHub gives them, and links in code are none."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `code`, and: more (x)\n## Twice\n## Twice\n`[no](nowhere)` [yes](#twice-1) ![p](a.svg)\n", encoding="utf-8"
    )
    assert anchors(page) == {"a-code-and-more-x", "twice", "twice-1"}
    assert links(page) == ["#twice-1", "a.svg"]


def test_the_japanese_readme_has_the_same_parts():
    """As many headings and blocks as the English one, with the same commands and configuration, and the same links."""
    english, japanese = ROOT / "README.md", ROOT / "README.ja.md"
    levels = [re.findall(r"^(#+) ", prose(page), re.MULTILINE) for page in (english, japanese)]
    assert levels[0] == levels[1]

    def stripped(page: Path) -> list[str]:
        return [re.sub(r" +#.*$", "", body, flags=re.MULTILINE) for info, body in blocks(page) if info != "text"]

    assert stripped(english) == stripped(japanese)
    assert {link for link in links(english) if link.endswith(".md")} - {"README.ja.md"} <= set(links(japanese))


# --- commands ----------------------------------------------------------------------------------------------------------------


def code(path: Path) -> str:
    """Everything that is meant to be typed: blocks of a shell, and code between the lines."""
    shell = [body for info, body in blocks(path) if info.split(" ")[0] in ("sh", "bash", "console")]
    return "\n".join([*shell, *re.findall(r"`([^`\n]+)`", prose(path))])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_exists(page: Path):
    """`make x` of a page is a target of the Makefile."""
    said = set(re.findall(r"\bmake ([a-z]+)\b", code(page)))
    assert said <= make_targets()


def test_every_make_target_says_what_it_is():
    """`make` lists them all."""
    shown = set(re.findall(r"^([a-z]+):.*## ", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert shown == make_targets()


def typed(page: Path) -> list[str]:
    """The commands of `python -m functions`, each up to the end of its line, comments and pipes."""
    return [found.strip() for found in re.findall(r"python -m functions +([a-z][^\n|#;&>`]*)", code(page))]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_and_option_exists(page: Path):
    """What a page says of `python -m functions` is known to the command line."""
    for line in typed(page):
        name, *rest = line.split()
        command: Any = command_line.commands.get(name)
        assert isinstance(command, click.Command), f"there is no command {name}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_way_to_deploy_exists(page: Path):
    """`infra/deploy.sh x` is one of its commands."""
    known = set(re.findall(r"infra/deploy\.sh ([a-z]+) ", text_of(ROOT / "infra" / "deploy.sh")))
    assert set(re.findall(r"infra/deploy\.sh ([a-z]+)", code(page))) <= known


RUNNABLE = [
    (page, number, info, body) for page in PAGES for number, (info, body) in enumerate(blocks(page)) if info.startswith("sh run")
]


@pytest.mark.parametrize(
    ("page", "number", "info", "body"), RUNNABLE, ids=[f"{named(page)}-{number}" for page, number, *_ in RUNNABLE]
)
def test_blocks_that_can_be_run_are_run(page: Path, number: int, info: str, body: str, tmp_path: Path):
    """```sh run ends with 0, ```sh run=1 with 1; in a folder that has all of the repository and a store, and is not kept."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name not in LEFT_OUT and not entry.name.endswith(".db"):
            (tmp_path / entry.name).symlink_to(entry)
    local.load(local.Settings(str(tmp_path / "unstick.db")), "pause", timeout_s=RUN_S)  # makes the file, as a first alert does
    expected = int(info.partition("=")[2] or 0)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", body],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == expected, f"block {number} of {page.name}: {done.stdout}\n{done.stderr}"


def test_some_blocks_are_run():
    """The convention is in use."""
    assert RUNNABLE


# --- operations.md -------------------------------------------------------------------------------------------------------------


def sections(path: Path, level: int, within: str = "") -> dict[str, str]:
    """Heading -> text up to the next heading of this level or above; `within`: only those under this heading."""
    text = text_of(path)
    if within:
        text = text.split(f"\n{'#' * (level - 1)} {within}\n", 1)[1]
        text = re.split(rf"^#{{1,{level - 1}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(rf"^#{{{level}}} (.+)$", text, flags=re.MULTILINE)
    return {
        heading: re.split(rf"^#{{1,{level}}} ", body, maxsplit=1, flags=re.MULTILINE)[0]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_reason_code_has_its_section():
    """In the model's order, none missing and none that is no more, and each says what it means, what comes next and what to do."""
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
    """The text of each warning and error that the program logs, with \\0 where a value goes -> where that is."""
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


def test_the_core_imports_nothing_but_itself_and_the_standard_library():
    """No file of the core's table reaches a clock's, network's or shell's module by an import."""
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
            outside = module not in modules if ours else module.split(".")[0] not in sys.stdlib_module_names
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
