"""Build the source archive of the functions: the same bytes for the same sources, wherever and whenever it is built.

python infra/package.py --config unstick.production.yaml --to build/unstick.zip
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALONE = ("main.py", "requirements.txt")
BEGINNING_OF_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
READABLE_FILE = 0o100644 << 16


def contents(root: Path, config: Path) -> dict[str, Path]:
    """Name in the archive -> file. The configuration goes in as unstick.yaml, whatever it is called here."""
    found = {name: root / name for name in ALONE} | {"unstick.yaml": config}
    for path in (root / "functions").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            found[path.relative_to(root).as_posix()] = path
    return found


def build(root: Path, config: Path, to: Path) -> str:
    """Write the archive and return its SHA-256. Raises FileNotFoundError if something that belongs into it is missing."""
    files = contents(root, config)
    for name, path in files.items():
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing ({name} in the archive)")
    to.parent.mkdir(parents=True, exist_ok=True)
    # Stored, not deflated: what deflate makes differs between versions of zlib, and it is a few hundred KB.
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, BEGINNING_OF_ZIP_TIME)
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = READABLE_FILE
            archive.writestr(entry, files[name].read_bytes())
    return hashlib.sha256(to.read_bytes()).hexdigest()


def main() -> int:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser(description="Build the source archive of the functions.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, which becomes unstick.yaml")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "unstick.zip", help="where to write (build/unstick.zip)")
    arguments = parser.parse_args()
    try:
        digest = build(ROOT, arguments.config, arguments.to)
    except OSError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.to}: {arguments.to.stat().st_size} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
