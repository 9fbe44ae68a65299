"""A release: the same bytes each time, from the commit alone, and only when everything says the same version.

And the audit before it."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from testbed.patience import PATIENCE_S
from tests.system.infra.test_package import ROOT
from tools.releases import release


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "functions").mkdir(parents=True)
    (root / "functions" / "__init__.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-26)\n\n- First.\n", encoding="utf-8")
    (root / "requirements.txt").write_text("requests==2.32.0 --hash=sha256:" + "0" * 64 + "\n", encoding="utf-8")
    (root / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (root / "run").chmod(0o755)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "First")
    git(root, "tag", "v1.2.3")
    return root


def test_a_release_has_the_same_bytes_each_time_and_its_checksums_are_right(repository: Path, tmp_path: Path) -> None:
    """Whoever has the tag can build it and compare; what lies beside it in the folder does not matter."""
    assert release.problems(repository, "1.2.3") == []
    first = release.build(repository, tmp_path / "first")
    (repository / "run").touch()
    (repository / "left-over").write_text("not committed", encoding="utf-8")
    second = release.build(repository, tmp_path / "second")
    assert [path.name for path in first] == ["unstick-1.2.3.tar", "unstick-1.2.3.sbom.json", "SHA256SUMS"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "first", check=True)
    with tarfile.open(first[0]) as file:
        modes = {member.name: (member.mode, member.uid, member.uname) for member in file.getmembers()}
    assert modes["unstick-1.2.3/run"] == (0o755, 0, "")
    assert modes["unstick-1.2.3/functions/__init__.py"] == (0o644, 0, "")
    assert "unstick-1.2.3/left-over" not in modes
    assert b"requests" in first[1].read_bytes()


def test_what_is_missing_for_a_release_is_said_all_at_once(repository: Path) -> None:
    """A version without a section, a tag or a clean tree is nobody's to compare with."""
    (repository / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n", encoding="utf-8")
    git(repository, "tag", "-d", "v1.2.3")
    assert release.problems(repository, "1.2.3") == [
        "CHANGELOG.md has no section `## 1.2.3 (YYYY-MM-DD)`.",
        "There are changes that are not committed.",
        "This commit has no tag v1.2.3: git tag --sign v1.2.3",
    ]
    assert "is not MAJOR.MINOR.PATCH" in release.problems(repository, "1.2")[0]


def test_pip_installs_no_package_named_functions_beside_others(tmp_path: Path) -> None:
    """`pip install .` is refused, and says what to do instead."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    refused = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert refused.returncode != 0
    assert "make setup" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_the_audit_finds_a_secret(tmp_path):
    """It names the file, and ends with 1; a reference to a secret is none."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements.txt").write_text("idna==3.10 --hash=sha256:00\n")
    (tmp_path / "reference.yaml").write_text("password: env://RABBITMQ_PASSWORD\n")
    command, environment = ["tools/releases/audit", "--offline"], {**os.environ, "VENV": sys.prefix}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for text, ends in (("env://ADMIN_PASSWORD", 0), ("hunter2-correct-horse", 1)):
        (tmp_path / "literal.yaml").write_text(f"password: {text}\n")
        subprocess.run(["git", "add", "reference.yaml", "literal.yaml"], cwd=tmp_path, check=True)
        audit = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert audit.returncode == ends, audit.stdout + audit.stderr
        assert ("literal.yaml:1" in audit.stdout) is bool(ends)
