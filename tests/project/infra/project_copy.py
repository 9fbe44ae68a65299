"""A copy of the repository, a gcloud whose cloud is a JSON file, and Terraform: a stand-in, or itself without a cloud."""

from __future__ import annotations

import json
import shutil
import socketserver
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, Self

from testbed.doubles.server import Serving
from tests.project.infra.run_terraform import PROVIDER, QUICK, terraform

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"

WITHOUT_SITE = f"{sys.executable} -SE"
"""A Python for small programs that are started often: in half of the time."""

GCLOUD = r"""#!/bin/bash
exec 3<>"/dev/tcp/127.0.0.1/$GCLOUD_PORT"
[[ $* == *--data-file=-* ]] && IFS= read -r -d '' typed
printf '%s\0' "${CLOUDSDK_CORE_DISABLE_PROMPTS-}" "${typed-}" "$#" "$@" >&3
for name in status output error; do IFS= read -r -d '' "$name" <&3; done
printf '%s' "$output"
printf '%s' "$error" >&2
exit "$status"
"""
"""Asks the test's own process, since a Python for each of twenty calls is most of what a deployment takes."""

STAND_IN = """#!/bin/sh
echo "terraform $*" >>"$CALLS"
env | grep '^TF_' | sort >"$CALLS.variables"
case "$*" in
  *"state pull"*) cat "$STATE" ;;
  *"show -json"*) cat "$PLANNED" ;;
  *-detailed-exitcode*) env | grep '^TF_' | sort >"$CALLS.variables.plan"; exit 2 ;;
  *" apply "*) echo "$APPLY_SAYS"; exit "$APPLY_EXIT" ;;
esac
"""

PACKAGE = """
import sys
from pathlib import Path
to = Path(sys.argv[4])
to.parent.mkdir(parents=True, exist_ok=True)
to.write_bytes(Path(sys.argv[2]).read_bytes())
"""
"""In package.py's place, which takes half of a command's time to read the configuration: test_package.py is about that."""

# Terraform's own local backend in place of Google's bucket: one file for each bucket and prefix.
ITSELF = """
import os, sys
words, backend = [], {}
for word in sys.argv[1:]:
    if word.startswith("-backend-config="):
        name, _, value = word.removeprefix("-backend-config=").partition("=")
        backend[name] = value
    else:
        words.append(word)
if backend:
    words.append(f"-backend-config=path={os.environ['STATES']}/{backend['bucket']}/{backend['prefix']}.tfstate")
with open(os.environ["CALLS"], "a") as calls:
    calls.write("terraform " + " ".join(sys.argv[1:]) + "\\n")
# A provider that is to fail is one of its own, and has it in its environment.
command = [*PROVIDER, *COMMAND, *words] if "UNSTICK_FAKE_FAILS" in os.environ else [*COMMAND, *words]
os.execv(command[0], command)
"""


class Refused(Exception):
    """What gcloud says on stderr, and ends with 1."""


class Gcloud(Serving):
    """Answers the program GCLOUD for as long as the block takes."""

    def __init__(self, cloud: Path, calls: Path) -> None:
        self._cloud, self._calls = cloud, calls
        double = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                no_questions, typed, count = (_word(self.rfile) for _ in range(3))
                words = [_word(self.rfile) for _ in range(int(count))]
                try:
                    answer = ("0", double.answer(words, typed, asks=no_questions != "1"), "")
                except Refused as refused:
                    answer = ("1", "", f"{refused}\n")
                self.wfile.write("".join(f"{part}\0" for part in answer).encode())

        super().__init__(Handler)

    def answer(self, words: list[str], typed: str, *, asks: bool) -> str:
        """What it prints. Raises Refused."""
        flags = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
        plain = [word for word in words if not word.startswith("--")]
        cloud = json.loads(self._cloud.read_text(encoding="utf-8"))
        with self._calls.open("a", encoding="utf-8") as calls:
            calls.write(f"gcloud {' '.join(words)}\n")
        if asks:
            raise Refused("API [cloudtasks.googleapis.com] not enabled on project. Would you like to enable and retry (y/N)?")
        for part, error in cloud["errors"].items():
            if part in " ".join(words):
                raise Refused(error)
        lines = _carried_out(cloud, plain, flags, typed)
        self._cloud.write_text(json.dumps(cloud), encoding="utf-8")
        return "".join(f"{line}\n" for line in lines)


def _word(stream: BinaryIO) -> str:
    """Up to the next NUL."""
    read = bytearray()
    while (byte := stream.read(1)) not in (b"\0", b""):
        read += byte
    return read.decode()


def _carried_out(cloud: dict[str, Any], plain: list[str], flags: dict[str, str], typed: str) -> list[str]:  # noqa: C901, PLR0911, PLR0912
    """The lines that gcloud prints; the cloud has changed. One case for each command that the script knows."""
    match plain:
        case ["projects", "describe", _]:
            return ["555"]
        case ["services", "list"]:
            return list(cloud["services"])
        case ["services", "enable", *names]:
            cloud["services"] += names
        case ["storage", "buckets", "describe", url]:
            if not (bucket := cloud["buckets"].get(url.removeprefix("gs://"))):
                raise Refused(f"ERROR: {url} not found: 404.")
            return [bucket]
        case ["storage", "buckets", "create", url]:
            cloud["buckets"][url.removeprefix("gs://")] = "555"
        case ["storage", "ls", _]:
            return list(cloud["objects"])
        case ["storage", "cp", url, to]:
            shutil.copyfile(cloud["objects"][url], to)
        case ["tasks", "queues", "describe", name]:
            if "cloudtasks.googleapis.com" not in cloud["services"]:
                raise Refused(
                    "ERROR: PERMISSION_DENIED: Cloud Tasks API has not been used in project 555 before. SERVICE_DISABLED"
                )
            return [_there(cloud["queues"], name)]
        case ["tasks", "queues", ("pause" | "resume") as what, name]:
            cloud["queues"][name] = "PAUSED" if what == "pause" else "RUNNING"
        case ["secrets", "list"]:
            return list(cloud["secrets"])
        case ["secrets", "create", name]:
            cloud["secrets"][name] = []
            cloud["replication"] = json.loads(Path(flags["--replication-policy-file"]).read_text(encoding="utf-8"))
        case ["secrets", "versions", "list", name]:
            return ["1" if _there(cloud["secrets"], name) else ""]
        case ["secrets", "versions", "add", name]:
            cloud["secrets"][name].append(typed)
        case ["logging", "read", _]:
            return [json.dumps(cloud["logged"])]
        case _:
            return list(cloud["listed"].get(" ".join(plain), []))
    return []


def _there(things: dict[str, Any], name: str) -> Any:
    if name not in things:
        raise Refused(f"ERROR: (gcloud) NOT_FOUND: {name} not found")
    return things[name]


class Project:
    def __init__(self, folder: Path, *, provider: str = "") -> None:
        """`provider`: the TF_REATTACH_PROVIDERS of a provider that runs; Terraform itself is taken then."""
        self.provider = provider
        self.folder, self.repository, self.calls = folder, folder / "repository", folder / "calls"
        self.programs, self.cloud_file = folder / "programs", folder / "cloud.json"
        (self.repository / "infra").mkdir(parents=True)
        self.programs.mkdir()
        for name in ("main.py", "requirements.txt", "requirements-apprise.txt"):
            shutil.copy(ROOT / name, self.repository)
        (self.repository / "functions").symlink_to(ROOT / "functions")
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "__pycache__", "tests")
        for path in INFRA.iterdir():
            if path.suffix in (".py", ".sh", ".tf", ".yaml"):
                shutil.copy(path, self.repository / "infra")
        for name in ("module", "removal"):
            shutil.copytree(INFRA / name, self.repository / "infra" / name, ignore=ignored)
        (self.repository / "infra" / "package.py").write_text(PACKAGE, encoding="utf-8")
        self.program("gcloud", GCLOUD)
        self.gcloud = Gcloud(self.cloud_file, self.calls)
        if provider:
            for file in (self.repository / "infra" / "main.tf", self.repository / "infra" / "removal" / "main.tf"):
                text = file.read_text(encoding="utf-8")
                assert 'backend "gcs" {}' in text
                file.write_text(text.replace('backend "gcs" {}', 'backend "local" {}'), encoding="utf-8")
            self.program("terraform", f"#!{WITHOUT_SITE}\nPROVIDER, COMMAND = {PROVIDER!r}, {terraform()!r}\n{ITSELF}")
        else:
            self.program("terraform", STAND_IN)
        kinds = ("buckets", "queues", "secrets", "objects", "listed", "errors")
        well = {"system": "Store", "runbooks": [], "what": "writable", "ok": True, "detail": "", "remedy": ""}
        logged = [{"jsonPayload": {"message": "check from inside: no problems", "findings": [well]}}]
        self.cloud = {"services": ["storage.googleapis.com"], "logged": logged} | {kind: {} for kind in kinds}
        self.state = folder / "state"
        self.state.write_text("", encoding="utf-8")
        self.calls.write_text("", encoding="utf-8")
        self.planned = folder / "planned"
        self.write_planned()
        self.write_config()

    def __enter__(self) -> Self:
        self.gcloud.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.gcloud.__exit__(*error)

    def write_planned(self) -> None:
        """A plan that makes the chat's secret in one region."""
        replication = [{"auto": [], "user_managed": [{"replicas": [{"location": "asia-northeast1"}]}]}]
        kept = [("signing-key", {}), ("grafana-hmac", {}), ("rundeck-token", {}), ("rabbitmq-password", {}), ("chat-ops", None)]
        changes = [
            {
                "type": "google_secret_manager_secret",
                "change": {"before": before, "after": {"secret_id": f"unstick-{name}", "replication": replication}},
            }
            for name, before in kept
        ]
        self.planned.write_text(json.dumps({"resource_changes": changes}), encoding="utf-8")

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text, encoding="utf-8")
        (self.programs / name).chmod(stat.S_IRWXU)

    def write_config(self, environment: str = "production", **changes: str) -> Path:
        """The example, with `my-project` for its project, and these texts replaced."""
        file = self.repository / f"unstick.{environment}.yaml"
        text = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8").replace("example-project", "my-project")
        for before, after in changes.items():
            text = text.replace(before.replace("_", " "), after)
        file.write_text(text, encoding="utf-8")
        return file

    @property
    def cloud(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.cloud_file.read_text(encoding="utf-8"))
        return content

    @cloud.setter
    def cloud(self, content: dict[str, Any]) -> None:
        self.cloud_file.write_text(json.dumps(content), encoding="utf-8")

    def change(self, **parts: Any) -> None:
        """Merge these into parts of the cloud."""
        cloud = self.cloud
        for name, content in parts.items():
            cloud[name] = cloud[name] | content if isinstance(content, dict) else cloud[name] + content
        self.cloud = cloud

    def give_all_secrets_a_value(self) -> None:
        names = ("grafana-hmac", "rundeck-token", "rabbitmq-password", "signing-key", "chat-ops")
        self.change(secrets={f"unstick-{name}": ["a-value"] for name in names})

    def environment(self, **variables: str) -> dict[str, str]:
        files = {"CALLS": self.calls, "STATE": self.state, "PLANNED": self.planned}
        files |= {"STATES": self.folder / "states", "UNSTICK_FAKE_CLOUD": self.folder / "applied"}
        env = {name: str(path) for name, path in files.items()} | {"APPLY_SAYS": "", "APPLY_EXIT": "0", "PROJECT": "my-project"}
        env |= {"PATH": f"{self.programs}:/usr/bin:/bin", "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
        return env | QUICK | {"TF_REATTACH_PROVIDERS": self.provider, "GCLOUD_PORT": str(self.gcloud.port)} | variables

    def command(self, *arguments: str) -> list[str]:
        return ["bash", str(self.repository / "infra" / "deploy.sh"), *arguments]

    def deploy(self, *arguments: str, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        env = self.environment(**variables)
        return subprocess.run(
            self.command(*arguments), env=env, input=typed, capture_output=True, text=True, check=False, timeout=120
        )

    @property
    def called(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines()

    def calls_with(self, *words: str) -> list[str]:
        return [call for call in self.called if all(word in call for word in words)]

    @property
    def applied(self) -> list[tuple[str, str, str]]:
        """(create, update or delete; type; name) of what Terraform changed."""
        file = self.folder / "applied"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [(one["did"], one["type"], one["name"]) for one in map(json.loads, lines)]

    def forget_applied(self) -> None:
        (self.folder / "applied").unlink(missing_ok=True)

    def saved_state(self, environment: str = "production", project: str = "my-project") -> dict[str, Any]:
        file = self.folder / "states" / f"{project}-unstick-state" / f"{environment}.tfstate"
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return content
