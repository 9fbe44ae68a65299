"""What `make audit` finds; it runs every night."""

from __future__ import annotations

import pytest

from tools import audit

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "line",
    ["requests", "requests==2.0", f"requests>=2.0 {HASH}", f"requests {HASH}", "requests==2.0 --hash=md5:00", "-r other.txt"],
)
def test_a_requirement_without_version_or_hash_is_found(line):
    """`make audit` sees each way in which a pin can be missing."""
    assert audit.unpinned([line]) != []
    assert audit.unpinned([f"requests==2.0 ; sys_platform == 'win32' {HASH} {HASH}"]) == []


def test_an_address_and_a_secret_are_found(monkeypatch, tmp_path):
    """An index option, a path of this checkout and a literal token; not what the configuration says instead."""
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    option, path = tmp_path / "option.txt", tmp_path / "path.txt"
    option.write_text("--extra-" + "index-url https://example.com\n")
    path.write_text(f"cd {tmp_path}/functions\n")

    assert len(audit.addresses([option, path])) == 2
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    literal, reference = tmp_path / "literal.yaml", tmp_path / "reference.yaml"
    literal.write_text("password: hunter2-correct-horse\n")
    reference.write_text("password: env://RABBITMQ_PASSWORD\n")

    assert [problem.split(":")[0] for problem in audit.secrets([literal, reference])] == ["literal.yaml"]


@pytest.mark.parametrize(("licence", "count"), [("GPL-3.0-only", 1), ("UNKNOWN", 1), ("GPL-2.0 OR MIT", 0), ("MIT License", 0)])
def test_a_licence_that_is_not_on_the_list_is_found(licence, count):
    """A new package with another licence has to be decided on."""
    assert len(audit.unwanted_licences([{"Name": "new", "License": licence}])) == count


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
