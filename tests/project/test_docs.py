"""Blocks of the documentation that can be run are run; `make lint` checks links and names (tools/check_repository.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from functions.adapters.stores import local
from tools.docs.pages import LEFT_OUT, PAGES, ROOT, blocks, named

RUN_S = 150.0
READMES = [ROOT / name for name in ("README.md", "README.ja.md")]
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
    local.LocalStore(str(tmp_path / "unstick.db")).load("pause", timeout_s=RUN_S)  # makes the file, as a first alert does
    expected = int(info.partition("=")[2] or 0)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
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


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readmes_configuration_is_the_tested_one(page: Path) -> None:
    """Its yaml is examples/one-queue.yaml, which a test serves the whole way; only comments differ."""
    (shown,) = [body for info, body in blocks(page) if info == "yaml"]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "examples" / "one-queue.yaml").read_text(encoding="utf-8"))
