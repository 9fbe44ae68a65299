"""docs/google-cloud.md as somebody types it: its blocks are run as they stand, in a copy of the repository.

Terraform is Terraform itself, with a provider that changes only its state; gcloud is a script that keeps files.
"""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.infra.run_terraform import COMMAND, QUICK, attached
from tools.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "google-cloud.md"
STATE = "my-project-unstick-state.production.tfstate"
NAMES = ("chat-ops", "grafana-hmac", "rabbitmq-password", "rundeck-token", "signing-key")

GCLOUD = r"""#!/bin/bash
echo "$*" >>"$CLOUD/calls"
case "$*" in
  "projects describe "*) echo 123456789012 ;;
  "secrets describe "*) [ -e "$CLOUD/made/$3" ] ;;
  "secrets create "*) mkdir -p "$CLOUD/made" && touch "$CLOUD/made/$3" ;;
  "secrets versions add "*) cat >"$CLOUD/made/$4" && echo "$4" >>"$CLOUD/secrets" ;;
  "storage cp "*) cp "$CLOUD/former.zip" "$4" ;;
  "scheduler jobs run "*) echo new >"$CLOUD/entry" ;;
  "logging read "*insertId*) cat "$CLOUD/entry" ;;
  "logging read "*) echo "the findings of the $(cat "$CLOUD/entry") entry" ;;
esac
"""

# A file for each bucket and prefix in place of Google's bucket, and yes to each question.
TERRAFORM = r"""#!/bin/bash
folder=${1#-chdir=}
name=$(sed -nE 's/^    (bucket|prefix) = "(.*)"/\2/p' "$folder/main.tf" | paste -sd.)
printf 'terraform {\n  backend "local" {\n    path = "%s"\n  }\n}\n' "$CLOUD/$name.tfstate" >"$folder/backend_override.tf"
case "$2" in apply | destroy) set -- "$@" -auto-approve ;; esac
exec @COMMAND@ "$@"
"""


def block(beginning: str, page: Path = PAGE) -> str:
    """The one block of the page that has this text."""
    (text,) = [body for info, body in blocks(page) if info in ("sh", "hcl") and beginning in body]
    return text


def standing(applied: list[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """(type, name) of what was made and not deleted."""
    last = {(kind, name): did for did, kind, name in applied}
    return {what for what, did in last.items() if did != "delete"}


class Project:
    def __init__(self, folder: Path, provider: str, project_id: str, region: str) -> None:
        self.own = {"my-project": project_id, "asia-northeast1": region}
        self.folder, self.cloud, self.provider = folder / "repository", folder / "cloud", provider
        self.programs = folder / "programs"
        for path in (self.folder / "infra", self.folder / ".venv" / "bin", self.cloud, self.programs):
            path.mkdir(parents=True)
        for name in ("main.py", "requirements.txt", "requirements-apprise.txt"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "functions").symlink_to(ROOT / "functions")
        for name in ("package.py", "unstick.cloud.yaml"):
            shutil.copy(ROOT / "infra" / name, self.folder / "infra")
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests")
        for name in ("module", "examples"):
            shutil.copytree(ROOT / "infra" / name, self.folder / "infra" / name, ignore=ignored)
        self.program(self.programs / "gcloud", GCLOUD)
        command = " ".join(f"'{word}'" for word in COMMAND)
        self.program(self.programs / "terraform", TERRAFORM.replace("@COMMAND@", command))
        self.program(self.folder / ".venv" / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} -X utf8 "$@"\n')
        (self.cloud / "entry").write_text("old\n", encoding="utf-8")
        (self.cloud / "calls").touch()

    def program(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(stat.S_IRWXU)

    def try_typing(self, script: str, typed: str = "") -> tuple[int, str]:
        """Run it in the repository, and return its exit status and all that it said."""
        for example, value in self.own.items():
            script = script.replace(example, value)
        env = {"PATH": f"{self.programs}:/usr/bin:/bin", "CLOUD": str(self.cloud), "LANG": "C.UTF-8", "HOME": str(self.folder)}
        env |= QUICK | {"TF_REATTACH_PROVIDERS": self.provider, "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
        env |= {"PYTHONDONTWRITEBYTECODE": "1"}
        bash = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            bash, cwd=self.folder, env=env, input=typed, capture_output=True, text=True, check=False, timeout=300
        )
        return done.returncode, " ".join((done.stdout + done.stderr).replace("│", " ").split())

    def type(self, script: str, typed: str = "") -> str:
        """Run it; it must succeed."""
        status, said = self.try_typing(script, typed)
        assert status == 0, said
        return said

    def prepare(self) -> None:
        """Steps 2 and 3 of the page."""
        self.type(block('sed "s/example-project'))
        for example, value in self.own.items():
            self.change("main.tf", example, value)
        self.type(block("for name in $(grep"), typed="".join(f"value-of-{name}\n" for name in NAMES))

    def deploy(self, environment: str = "production") -> tuple[int, str]:
        """Step 4."""
        return self.try_typing(block("infra/package.py").replace("production", environment))

    def change(self, file: str, before: str, after: str, environment: str = "production") -> None:
        """Replace this in a file of the environment."""
        path = self.folder / "infra" / "environments" / environment / file
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")

    @property
    def called(self) -> list[str]:
        return (self.cloud / "calls").read_text(encoding="utf-8").splitlines()

    @property
    def applied(self) -> list[tuple[str, str, str]]:
        """(create, update or delete; type; name) of what Terraform changed."""
        file = self.cloud / "applied"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [(one["did"], one["type"], one["name"]) for one in map(json.loads, lines)]

    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.cloud / STATE).read_text(encoding="utf-8"))
        return content

    def save_state(self, state: dict[str, Any]) -> None:
        (self.cloud / STATE).write_text(json.dumps(state | {"serial": state["serial"] + 1}), encoding="utf-8")


@contextmanager
def project_in(folder: Path, project_id: str = "my-project", region: str = "asia-northeast1") -> Iterator[Project]:
    """A copy of the repository, and a provider for it. What is typed has this project and region in place of the page's."""
    cloud = folder / "cloud"
    files = {"CLOUD": "applied", "SECRETS": "secrets", "FAILS": "fails"}
    with attached(**{f"UNSTICK_FAKE_{name}": str(cloud / file) for name, file in files.items()}) as provider:
        yield Project(folder, provider, project_id, region)
