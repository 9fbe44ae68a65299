"""`make audit` finds what must not be committed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_audit_finds_a_secret(tmp_path):
    """It names the file, and ends with 1; a reference to a secret is none."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements.txt").write_text("idna==3.10 --hash=sha256:00\n")
    (tmp_path / "reference.yaml").write_text("password: env://RABBITMQ_PASSWORD\n")
    command, environment = ["tools/audit", "--offline"], {**os.environ, "VENV": sys.prefix}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for text, ends in (("env://ADMIN_PASSWORD", 0), ("hunter2-correct-horse", 1)):
        (tmp_path / "literal.yaml").write_text(f"password: {text}\n")
        subprocess.run(["git", "add", "reference.yaml", "literal.yaml"], cwd=tmp_path, check=True)
        audit = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert audit.returncode == ends, audit.stdout + audit.stderr
        assert ("literal.yaml:1" in audit.stdout) is bool(ends)
