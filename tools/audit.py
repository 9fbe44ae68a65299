r"""Audit the project's packages, licences, secrets and vulnerabilities: `make audit`.

Exit code 0: all is well; 1: something is wrong; 3: known vulnerabilities could not be looked up (`make audit ARGS=--offline`
skips them).

The checks that need no network are functions that return one line for each problem; tests/project/test_supply_chain.py runs them
too.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
UNSEEN = 3
"""Exit code if the database of vulnerabilities can't be reached: unknown is not safe."""

ALLOWED_LICENCES = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",  # its copyleft covers its own files only, which we don't change
    "PSF-2.0",
}
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Other names of licences -> the SPDX names of the allow-list."""

REGISTRY = re.compile(
    r"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org|static\.crates\.io|repo1?\.maven"
    r"|--(?:extra-)?index-url|--find-links"
)
PINNED = re.compile(r"[a-z0-9._-]+==\S+(?: ; [^\\]+)?(?: --hash=sha256:[0-9a-f]{64})+")
REFERENCE = re.compile(r"(?:env|file|sm)://|\$\{|REPLACE_WITH_")  # a reference to a secret, or a placeholder


def tracked() -> list[Path]:
    """The repository's files, including new ones that git would not ignore."""
    return _listed("ls-files", "--cached", "--others", "--exclude-standard")


def changed() -> list[Path]:
    """New files, and those that differ from the last commit."""
    return _listed("ls-files", "--others", "--exclude-standard") + _listed("diff", "--name-only", "HEAD")


def _listed(*arguments: str) -> list[Path]:
    names = subprocess.run(["git", *arguments, "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def requirement_files() -> list[Path]:
    """The requirements files that pip installs from."""
    return sorted(ROOT.glob("requirements*.txt"))


def pins(path: Path) -> list[str]:
    """Each requirement of the file on one line, without comments."""
    without_comments = re.sub(r"(?m)^\s*#.*\n?|\s+#.*$", "", path.read_text(encoding="utf-8"))
    return [re.sub(r"\s+", " ", line).strip() for line in without_comments.replace("\\\n", " ").splitlines() if line.strip()]


def unpinned(lines: list[str]) -> list[str]:
    """Requirements that lack an exact version or hashes."""
    return [f"not pinned with hashes: {line[:80]}" for line in lines if not PINNED.fullmatch(line)]


def differing() -> list[str]:
    """Packages whose tested version differs from the deployed one."""
    versions: dict[str, str] = {}
    problems = []
    for path in requirement_files():
        for line in pins(path):
            name, version = line.split(" ", 1)[0].split("==")
            if versions.setdefault(name, version) != version:
                problems.append(f"{name} is {versions[name]} in one file and {version} in {path.name}")
    return problems


def addresses(paths: list[Path]) -> list[str]:
    """Files that contain a registry's address or a folder of this machine."""
    folders = [f"{folder}/".encode() for folder in (ROOT, Path.home()) if len(folder.parts) > 1]
    problems = []
    for path in paths:
        content = path.read_bytes()
        if REGISTRY.search(content.decode(errors="replace")) and path != Path(__file__).resolve():
            problems.append(f"{path.relative_to(ROOT)} names a package registry's address")
        if any(folder in content for folder in folders):
            problems.append(f"{path.relative_to(ROOT)} names a folder of this machine")
    return problems


def licences() -> list[dict[str, str]]:
    """Name, version and licence of every installed package that the function is deployed with."""
    names = [line.split("==")[0] for line in pins(ROOT / "requirements.txt")]
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--packages", *names]
    listed: list[dict[str, str]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return listed


def unwanted_licences(listed: list[dict[str, str]]) -> list[str]:
    """Packages with no allowed licence among their alternatives."""

    def allowed(licence: str) -> bool:
        return any(SPDX.get(part, part) in ALLOWED_LICENCES for part in licence.split(" OR "))

    return [f"{package['Name']} has the licence {package['License']}" for package in listed if not allowed(package["License"])]


def secrets(paths: list[Path]) -> list[str]:
    """Possible secrets, except in tests/ and testbed/ (which have made-up ones) and requirements files (which have hashes)."""
    from detect_secrets.core.secrets_collection import SecretsCollection
    from detect_secrets.settings import default_settings

    made_up = {"tests", "testbed"}
    searched = [path for path in paths if made_up.isdisjoint(path.relative_to(ROOT).parts) and path not in requirement_files()]
    found = SecretsCollection()
    with default_settings():
        for path in searched:
            found.scan_file(str(path))
    problems = []
    for name, secret in found:
        line = Path(name).read_text(encoding="utf-8", errors="replace").splitlines()[secret.line_number - 1]
        # In YAML the line may be off by one, so check the value too.
        if not REFERENCE.search(line) and not REFERENCE.search(secret.secret_value or ""):
            problems.append(f"{Path(name).relative_to(ROOT)}:{secret.line_number} looks like a secret ({secret.type})")
    return problems


def vulnerabilities() -> tuple[list[str], int]:
    """Known vulnerabilities of the deployed packages, and how many packages could not be looked up."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    asked = subprocess.run([*command, "-r", ROOT / "requirements.txt"], capture_output=True, check=False, timeout=300)
    try:
        packages = json.loads(asked.stdout)["dependencies"]
    except ValueError:  # no connection at all; the message is on stderr
        return [], len(pins(ROOT / "requirements.txt"))
    return read_audit(packages)


def read_audit(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Read pip-audit's `dependencies`. A skipped package counts as not looked up."""
    problems = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    return problems, sum("skip_reason" in package for package in packages)


def insecure_code() -> list[str]:
    """What ruff's security rules find in the deployed code."""
    command = [sys.executable, "-m", "ruff", "check", "--select=S", "--output-format=concise", "--quiet", "functions", "main.py"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()


def sbom(requirements: Path) -> bytes:
    """The pinned packages with their hashes, as CycloneDX JSON, without a time or a place of creation."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    listed = Bom()
    for line in pins(requirements):
        (requirement, *hashes) = line.split(" --hash=")
        (name, version) = requirement.split(" ", 1)[0].split("==")
        purl = PackageURL("pypi", None, name, version)
        listed.components.add(
            Component(
                name=name,
                version=version,
                purl=purl,
                bom_ref=str(purl),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.removeprefix("sha256:")) for one in hashes],
            )
        )
    content = json.loads(JsonV1Dot6(listed).output_as_string())
    del content["serialNumber"], content["metadata"]  # a random number and the time
    return json.dumps(content, indent=2, sort_keys=True).encode()


def write_sbom() -> Path:
    """Write the CycloneDX list of the deployed packages."""
    path = BUILD / "sbom.json"
    path.write_bytes(sbom(ROOT / "requirements.txt"))
    return path


def report(parts: dict[str, list[str]], unseen: int | None) -> int:
    """Print the result of each part. Returns the exit code. `unseen`: packages that were not looked up; None if skipped."""
    for name, problems in parts.items():
        print(f"{name:<22} {'WRONG' if problems else 'ok'}", *problems, sep="\n    ")
    if unseen is None:
        print(f"{'known vulnerabilities':<22} left out")
    elif unseen:
        print(
            f"{'known vulnerabilities':<22} UNKNOWN for {unseen} packages: the database can't be reached, or does not know them."
        )
        print("    Audit again from where it can be reached, or say --offline to leave this out.")
    return 1 if any(parts.values()) else UNSEEN if unseen else 0


def main() -> int:
    """Run every part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offline", action="store_true", help="don't look for known vulnerabilities")
    asked = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    files, packages = tracked(), licences()
    (BUILD / "licences.txt").write_text("".join(f"{one['Name']} {one['Version']}: {one['License']}\n" for one in packages))
    parts = {
        "pins and hashes": [problem for path in requirement_files() for problem in unpinned(pins(path))] + differing(),
        "addresses": addresses(files),
        "licences": unwanted_licences(packages),
        "secrets": secrets(files),
        "code": insecure_code(),
    }
    known, unseen = ([], None) if asked.offline else vulnerabilities()
    if known or unseen == 0:
        parts["known vulnerabilities"] = known
    ended = report(parts, unseen)
    print(f"{'list of parts':<22} {write_sbom().relative_to(ROOT)}, {(BUILD / 'licences.txt').relative_to(ROOT)}")
    return ended


if __name__ == "__main__":
    sys.exit(main())
