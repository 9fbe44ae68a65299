"""Blocks of the documentation that can be run are run; `make lint` checks links and names (tools/check_repository.py)."""

from pathlib import Path

import pytest
import yaml

from functions.adapters.stores import local
from tests.system.project.newcomer import RUN_S, Newcomer
from tools.docs.pages import PAGES, ROOT, blocks, named

RUNNABLE = [
    (page, number, info, body) for page in PAGES for number, (info, body) in enumerate(blocks(page)) if info.startswith("sh run")
]


@pytest.mark.parametrize(
    ("page", "number", "info", "body"), RUNNABLE, ids=[f"{named(page)}-{number}" for page, number, *_ in RUNNABLE]
)
def test_blocks_that_can_be_run_are_run(page: Path, number: int, info: str, body: str, tmp_path: Path):
    """```sh run ends with 0, ```sh run=1 with 1; in a folder that has all of the repository and a store, and is not kept."""
    newcomer = Newcomer(tmp_path)
    newcomer.env["UNSTICK_CONFIG"] = "examples/one-queue.yaml"
    local.LocalStore(str(tmp_path / "unstick.db")).load("pause", timeout_s=RUN_S)  # makes the file, as a first alert does
    newcomer.run(body, status=int(info.partition("=")[2] or 0))


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_readmes_configuration_is_the_tested_one(name: str) -> None:
    """Its yaml is examples/one-queue.yaml, which a test serves the whole way; only comments differ."""
    (shown,) = [body for info, body in blocks(ROOT / name) if info == "yaml"]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "examples" / "one-queue.yaml").read_text(encoding="utf-8"))
