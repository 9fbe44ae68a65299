"""Runs Terraform for one place: with its own data and state, and remedies for known errors of Google."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from names import Deployed, read_state
from place import INFRA, ROOT, Place, die

BLOCKED_NAME = """A queue's name is blocked for seven days after it was deleted. Put another name into
`scheduler.cloud_tasks.queue`, such as unstick-2, and deploy again."""
BUILDER = """The account that builds needs roles/logging.logWriter, roles/artifactregistry.writer and
roles/storage.objectViewer. Without build_account Unstick makes one with them. New rights take a minute or two: deploy again."""
PUBLIC = "A policy of the organisation forbids allUsers: set public_webhook = false and see infra/README.md."
LOCKED = "If no other run is at work, one that was killed left its lock. With the ID above: infra/deploy.sh unlock ID"

REMEDIES = {
    r"existed too recently": BLOCKED_NAME,
    r"build service account|Could not build the function|Build failed": BUILDER,
    r"Error 409|alreadyExists|already exists": "Deploy again: what exists already is looked for and taken over.",
    r"do not belong to a permitted customer|allowedPolicyMemberDomains": PUBLIC,
    r"constraints/gcp\.resourceLocations": "A policy restricts locations: set REGION, and secret_locations to the same region.",
    r"Error acquiring the state lock": LOCKED,
    r"could not find default credentials|invalid_grant": "Log in: gcloud auth application-default login",
}
"""Google's message -> what to do."""


def run(place: Place, *arguments: str, root: str = "infra", adopt: Any = None, capture: bool = False) -> tuple[int, str]:
    """Run Terraform. Returns its exit status, and its output if captured. Each environment has its own data."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_VAR_")}
    env |= {"TF_DATA_DIR": str(place.build / root), "TF_IN_AUTOMATION": "1"}
    env |= {"TF_VAR_project": place.project, "TF_VAR_region": place.region}
    if root == "infra":
        env |= {"TF_VAR_name": place.name, "TF_VAR_config_file": str(place.config), "TF_VAR_source_zip": str(place.archive)}
        env["TF_VAR_adopt"] = json.dumps(adopt or {})
    command = ["terraform", f"-chdir={root if root == 'infra' else f'infra/{root}'}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    return done.returncode, done.stdout or ""


def init(place: Place, root: str = "infra") -> None:
    """Point Terraform to the state of this project and environment."""
    backend = [f"-backend-config=bucket={place.state_bucket}", f"-backend-config=prefix={place.environment}"]
    status, output = run(place, "init", "-input=false", "-no-color", *backend, root=root, capture=True)
    if status:
        print(output, file=sys.stderr)
        die("terraform init failed.")


def pull_state(place: Place) -> Deployed:
    """Read the state. Exits if it belongs to another deployment than the requested one."""
    status, output = run(place, "state", "pull", capture=True)
    if status:
        die("the state can't be read.")
    deployed = read_state(json.loads(output) if output.strip() else {})
    compare(place, deployed, f"gs://{place.state_bucket}/{place.environment}")
    return deployed


def compare(place: Place, deployed: Deployed, where: str) -> None:
    """Exit if the state belongs to another project, region or name, before anything is planned, changed or deleted."""
    for what, asked in (("project", place.project), ("region", place.region), ("name", place.name)):
        there = getattr(deployed, what)
        if there and there != asked:
            die(f"the state in {where} is of {what} {there}, and {what} {asked} was asked for. Nothing was changed.")


def _local_state() -> Path:
    left = INFRA / "errored.tfstate"
    return left if left.exists() else INFRA / "terraform.tfstate"


def has_local_state() -> bool:
    """Whether there is a state that is not in the bucket."""
    return _local_state().exists()


def take_over_local_state(place: Place) -> None:
    """Move a local state (a file in infra/) into the bucket, if it belongs to this place: an older release's, or one that
    Terraform could not save."""
    file = _local_state()
    content = json.loads(file.read_text(encoding="utf-8") or "{}") if file.exists() else {}
    if not content.get("resources"):
        init(place)
        return
    compare(place, read_state(content), str(file.relative_to(ROOT)))
    moved = file.with_suffix(".tfstate.moved")
    file.rename(moved)  # otherwise `init` asks what to do with it
    init(place)
    status, _ = run(place, "state", "push", str(moved))
    if status:
        moved.rename(file)
        die(f"{file.relative_to(ROOT)} could not be put into gs://{place.state_bucket}/{place.environment}.")
    print(f"Moved the state from {file.relative_to(ROOT)} to gs://{place.state_bucket}/{place.environment}.")


def plan(place: Place, adopt: Any, more: list[str]) -> bool:
    """Show what would change, and keep the plan. False if nothing would."""
    variables = ROOT / f"unstick.{place.environment}.tfvars"
    given = [f"-var-file={variables}"] if variables.exists() else []
    out = f"-out={place.build / 'plan'}"
    status, _ = run(place, "plan", "-input=false", "-detailed-exitcode", out, *given, *more, adopt=adopt)
    if status not in (0, 2):
        raise SystemExit(status)
    return status == 2


def read_planned(place: Place) -> list[dict[str, Any]]:
    """The changes that were planned."""
    status, output = run(place, "show", "-json", str(place.build / "plan"), capture=True)
    if status:
        raise SystemExit(status)
    changes: list[dict[str, Any]] = json.loads(output).get("resource_changes", [])
    return changes


def apply(place: Place, root: str = "infra", adopt: Any = None) -> None:
    """Apply the plan. For known errors, prints the remedy after Google's message."""
    env = os.environ | {"TF_DATA_DIR": str(place.build / root), "TF_IN_AUTOMATION": "1", "TF_VAR_adopt": json.dumps(adopt or {})}
    folder = root if root == "infra" else f"infra/{root}"
    command = ["terraform", f"-chdir={folder}", "apply", "-input=false", str(place.build / "plan")]
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        while True:
            try:
                for line in running.stdout or ():
                    sys.stdout.write(line)
                    sys.stdout.flush()
                    lines.append(line)
                break
            except KeyboardInterrupt:
                continue  # Terraform got the signal too: it finishes its current step and saves its state
    if running.returncode:
        text = " ".join(" ".join(lines).replace("│", " ").split())
        for pattern, remedy in REMEDIES.items():
            if re.search(pattern, text, re.IGNORECASE):
                print(f"deploy: {remedy}", file=sys.stderr)
        raise SystemExit(running.returncode)
