r"""Build a release reproducibly: `make release` (CONTRIBUTING.md has the steps before it).

build/release/unstick-VERSION.tar: the files of the tagged commit. unstick-VERSION.sbom.json: the deployed packages, in CycloneDX.
SHA256SUMS: their checksums, for `sha256sum -c`.
"""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.catalogues import to_look_at
from tools.releases.sbom import sbom

ROOT = Path(__file__).resolve().parents[2]


def git(root: Path, *arguments: str) -> bytes:
    """The output of git."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout


def read_version(root: Path) -> str:
    """The function's version."""
    text = (root / "functions" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not found:
        raise SystemExit("release: functions/__init__.py has no __version__.")
    return found[1]


def problems(root: Path, version: str) -> list[str]:
    """What prevents this commit from being a release."""
    found = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        found.append(f"{version} in functions/__init__.py is not MAJOR.MINOR.PATCH.")
    if not re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        found.append(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)`.")
    if git(root, "status", "--porcelain"):
        found.append("There are changes that are not committed.")
    tags = git(root, "tag", "--points-at", "HEAD").decode().split()
    if f"v{version}" not in tags:
        found.append(f"This commit has no tag v{version}: git tag --sign v{version}")
    return found


def archive(root: Path, version: str) -> bytes:
    """The files of the commit, sorted, with the commit's time and no owner: nothing of this machine is in it."""
    made, when = io.BytesIO(), int(git(root, "log", "-1", "--format=%ct"))
    with (
        tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", "HEAD"))) as files,
        tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as out,
    ):
        for member in sorted(files.getmembers(), key=lambda one: one.name):
            if member.isdir():
                continue
            entry = tarfile.TarInfo(f"unstick-{version}/{member.name}")
            entry.mtime, entry.mode = when, 0o755 if member.mode & 0o100 else 0o644
            entry.type, entry.linkname, entry.size = member.type, member.linkname, member.size
            out.addfile(entry, files.extractfile(member) if member.isreg() else None)
    return made.getvalue()


def build(root: Path, to: Path) -> list[Path]:
    """Write all three files and return their paths."""
    version = read_version(root)
    contents = {f"unstick-{version}.tar": archive(root, version), f"unstick-{version}.sbom.json": sbom(root / "requirements.txt")}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    contents["SHA256SUMS"] = sums.encode()
    to.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (to / name).write_bytes(content)
    return [to / name for name in contents]


def main() -> int:
    """Build, unless something is missing."""
    version = read_version(ROOT)
    if missing := [*problems(ROOT, version), *(f"Look at the translation of {one}" for one in to_look_at())]:
        print(f"{version} can't be released yet:", *missing, sep="\n  ", file=sys.stderr)
        return 1
    for path in build(ROOT, ROOT / "build" / "release"):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
