"""What is deployed is exactly what was tested, from anywhere, with nothing in it that must not be."""

from __future__ import annotations

import pytest

from tools import audit

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize("path", audit.requirement_files(), ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes(path):
    """With --require-hashes pip takes nothing that was exchanged on the way."""
    lines = audit.pins(path)

    assert len(lines) >= {"requirements-fuzz.txt": 1}.get(path.name, 20)
    assert audit.unpinned(lines) == []


@pytest.mark.parametrize(
    "line",
    ["requests", "requests==2.0", f"requests>=2.0 {HASH}", f"requests {HASH}", "requests==2.0 --hash=md5:00", "-r other.txt"],
)
def test_a_requirement_without_version_or_hash_is_found(line):
    """The check above sees each way in which a pin can be missing."""
    assert audit.unpinned([line]) != []
    assert audit.unpinned([f"requests==2.0 ; sys_platform == 'win32' {HASH} {HASH}"]) == []


def test_tests_run_with_the_deployed_versions():
    """requirements-dev.txt contains requirements.txt, with the same versions."""
    # Without the markers, which say less where more packages are resolved together.
    deployed, tested = (
        {line.split(" ", 1)[0] for line in audit.pins(audit.ROOT / name)} for name in ("requirements.txt", "requirements-dev.txt")
    )

    assert audit.differing() == []
    assert deployed <= tested


def test_no_registry_and_no_folder_of_a_machine_is_named():
    """Whoever clones it installs from the registries that are set up there."""
    assert audit.addresses(audit.tracked()) == []


def test_an_address_is_found(monkeypatch, tmp_path):
    """The check above sees an index option and a path of this checkout."""
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    option, path = tmp_path / "option.txt", tmp_path / "path.txt"
    option.write_text("--extra-" + "index-url https://example.com\n")
    path.write_text(f"cd {tmp_path}/functions\n")

    assert len(audit.addresses([option, path])) == 2


def test_every_deployed_package_has_an_allowed_licence():
    """Nobody who deploys it owes more than a notice."""
    listed = audit.licences()

    assert len(listed) > 20
    assert audit.unwanted_licences(listed) == []


@pytest.mark.parametrize(("licence", "count"), [("GPL-3.0-only", 1), ("UNKNOWN", 1), ("GPL-2.0 OR MIT", 0), ("MIT License", 0)])
def test_a_licence_that_is_not_on_the_list_is_found(licence, count):
    """A new package with another licence has to be decided on."""
    assert len(audit.unwanted_licences([{"Name": "new", "License": licence}])) == count


def test_nothing_that_is_not_committed_looks_like_a_secret():
    """A token that slipped in is found before it is committed."""
    assert audit.secrets(audit.changed()) == []


def test_a_secret_is_found_and_a_reference_is_none(monkeypatch, tmp_path):
    """The check above sees a literal token, and takes what the configuration says instead."""
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    literal, reference = tmp_path / "literal.yaml", tmp_path / "reference.yaml"
    literal.write_text("password: hunter2-correct-horse\n")
    reference.write_text("password: env://RABBITMQ_PASSWORD\n")

    assert [problem.split(":")[0] for problem in audit.secrets([literal, reference])] == ["literal.yaml"]


def test_a_package_that_was_not_looked_up_is_not_called_safe():
    """Where the database can't be reached, the audit says so instead of "ok"."""
    packages = [
        {"name": "old", "version": "1", "vulns": [{"id": "CVE-2020-1", "fix_versions": ["2"]}]},
        {"name": "good", "version": "1", "vulns": []},
        {"name": "unseen", "skip_reason": "Dependency not found on PyPI"},
    ]

    assert audit.read_audit(packages) == (["old 1: CVE-2020-1, mended in 2"], 1)


@pytest.mark.parametrize(
    ("known", "unseen", "ends", "says"),
    [
        pytest.param([], 0, 0, "known vulnerabilities  ok", id="all of them were looked up"),
        pytest.param(["old 1: CVE-2020-1"], 0, 1, "CVE-2020-1", id="one is known"),
        pytest.param([], 24, 3, "UNKNOWN for 24 packages", id="the database is out of reach"),
        pytest.param(["old 1: CVE-2020-1"], 2, 1, "UNKNOWN for 2 packages", id="one is known, and others are not"),
        pytest.param([], None, 0, "left out", id="it was said to leave it out"),
    ],
)
def test_an_audit_that_could_not_look_does_not_end_like_one_that_found_nothing(known, unseen, ends, says, capsys):
    """Whoever runs it sees the difference in its end, in a script too."""
    parts = {"code": []} | ({"known vulnerabilities": known} if known or unseen == 0 else {})

    assert audit.report(parts, unseen) == ends
    assert says in capsys.readouterr().out
