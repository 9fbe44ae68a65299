"""The documentation says what is true: links lead somewhere, commands exist, and blocks that can be run are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import pytest

from functions.adapters.stores import local
from functions.cli.main import command_line
from tests.project.pages import LEFT_OUT, PAGES, ROOT, anchors, blocks, links, named, prose, text_of

RUN_S = 150.0

# --- links -----------------------------------------------------------------------------------------------------------------


def test_every_link_inside_the_repository_leads_somewhere():
    """A file or folder that is there, and a heading that is there."""
    broken = []
    for page, link in [(one, link) for one in PAGES for link in links(one)]:
        parts = urlsplit(link)
        if parts.scheme or link.startswith("//"):
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{named(page)}: {link}: there is no such file")
        elif parts.fragment and target.suffix == ".md" and unquote(parts.fragment) not in anchors(target):
            broken.append(f"{named(page)}: {link}: there is no such heading")
    assert not broken


def test_the_link_check_can_fail(tmp_path: Path):
    """Headings get the anchors that GitHub gives them, and links in code are none."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `code`, and: more (x)\n## Twice\n## Twice\n`[no](nowhere)` [yes](#twice-1) ![p](a.svg)\n", encoding="utf-8"
    )
    assert anchors(page) == {"a-code-and-more-x", "twice", "twice-1"}
    assert links(page) == ["#twice-1", "a.svg"]


# --- commands ----------------------------------------------------------------------------------------------------------------


def code(path: Path) -> str:
    """Everything that is meant to be typed: blocks of a shell, and code between the lines."""
    shell = [body for info, body in blocks(path) if info.split(" ")[0] in ("sh", "bash", "console")]
    return "\n".join([*shell, *re.findall(r"`([^`\n]+)`", prose(path))])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))


def test_every_make_target_exists():
    """`make x` of a page is a target of the Makefile."""
    said = {(name, named(page)) for page in PAGES for name in re.findall(r"\bmake ([a-z]+)\b", code(page))}
    assert {(name, page) for name, page in said if name not in make_targets()} == set()


def test_every_make_target_says_what_it_is():
    """`make` lists them all."""
    shown = set(re.findall(r"^([a-z]+):.*## ", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert shown == make_targets()


def typed(page: Path) -> list[str]:
    """The commands of `python -m functions`, each up to the end of its line, comments and pipes."""
    return [found.strip() for found in re.findall(r"python -m functions +([a-z][^\n|#;&>`]*)", code(page))]


def test_every_command_and_option_exists():
    """What a page says of `python -m functions` is known to the command line."""
    for page, line in [(one, line) for one in PAGES for line in typed(one)]:
        name, *rest = line.split()
        command: Any = command_line.commands.get(name)
        assert isinstance(command, click.Command), f"{named(page)}: there is no command {name}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, f"{named(page)}: {line}"


def test_every_way_to_deploy_exists():
    """`infra/deploy.sh x` is one of its commands."""
    known = set(re.findall(r"infra/deploy\.sh ([a-z]+) ", text_of(ROOT / "infra" / "deploy.sh")))
    said = {(name, named(page)) for page in PAGES for name in re.findall(r"infra/deploy\.sh ([a-z]+)", code(page))}
    assert {(name, page) for name, page in said if name not in known} == set()


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
