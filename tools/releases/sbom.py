"""Writes a release's software bill of materials: `python -m tools.releases.sbom FILE`. The same pins give the same bytes."""

import json
import re
import sys
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PIN = re.compile(r"(?m)^([a-z0-9._-]+)==([^ \\]+)((?:[^#\n]*\\\n)*[^#\n]*)")


def sbom(requirements: Path) -> bytes:
    """The pinned packages with their hashes, as CycloneDX JSON, without a time or a place of creation."""
    parts = Bom()
    for name, version, rest in PIN.findall(requirements.read_text(encoding="utf-8")):
        purl = PackageURL("pypi", None, name, version)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=one) for one in re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)]
        parts.components.add(Component(name=name, version=version, purl=purl, bom_ref=str(purl), hashes=hashes))
    content = json.loads(JsonV1Dot6(parts).output_as_string())
    del content["serialNumber"], content["metadata"]  # a random number and the time
    return json.dumps(content, indent=2, sort_keys=True).encode()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(sbom(Path("requirements.txt")))
