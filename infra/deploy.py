"""The work of deploy.sh: one project and one environment at a time, each with a state of its own in a bucket of that project."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

INFRA = Path(__file__).resolve().parent
ROOT = INFRA.parent
sys.path[:0] = [str(ROOT)]

import gcloud  # noqa: E402 - beside this file
from names import ENVIRONMENT, Deployed, Names, read_names, read_state  # noqa: E402

SERVICES = [
    f"{name}.googleapis.com"
    for name in (
        "artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "cloudtasks",
        "iam", "logging", "monitoring", "run", "secretmanager", "storage",
    )
]  # fmt: skip
"""Enabled before Terraform is asked: it reads the project by one of them, and imports by others."""

BLOCKED_NAME = """A queue's name is blocked for seven days after it was deleted. Put another name into
`scheduler.cloud_tasks.queue`, such as unstick-2, and deploy again."""
BUILDER = """The account that builds needs roles/logging.logWriter, roles/artifactregistry.writer and
roles/storage.objectViewer. Without build_account Unstick makes one with them. New rights take a minute or two: deploy again."""
PUBLIC = "A policy of the organisation forbids allUsers: set public_webhook = false and see infra/README.md."

REMEDIES = {
    r"existed too recently": BLOCKED_NAME,
    r"build service account|Could not build the function|Build failed": BUILDER,
    r"Error 409|alreadyExists|already exists": "Deploy again: what exists already is looked for and taken over.",
    r"do not belong to a permitted customer|allowedPolicyMemberDomains": PUBLIC,
    r"constraints/gcp\.resourceLocations": "A policy restricts locations: set REGION, and secret_locations to the same region.",
    r"could not find default credentials|invalid_grant": "Log in: gcloud auth application-default login",
}
"""What Google says -> what to do."""


def die(message: str) -> NoReturn:
    """End, with one message."""
    print(f"deploy: {message}", file=sys.stderr)
    raise SystemExit(2)


@dataclass(frozen=True)
class Place:
    """What is asked for: a project, an environment, and what belongs to it."""

    project: str
    region: str
    environment: str
    name: str
    config: Path

    @property
    def title(self) -> str:
        return f"{self.project}/{self.environment}"

    @property
    def build(self) -> Path:
        return ROOT / "build" / "deploy" / self.project / self.environment

    @property
    def archive(self) -> Path:
        return self.build / "unstick.zip"

    @property
    def state_bucket(self) -> str:
        return f"{self.project}-unstick-state"


def read_place() -> Place:
    """From the environment's variables."""
    project, environment = os.environ.get("PROJECT", ""), os.environ.get("ENV", "") or "production"
    if not project:
        die("PROJECT is not set. Write PROJECT=my-project, the project's id.")
    if not ENVIRONMENT.fullmatch(environment):
        die(f"ENV={environment} must have 2 to 12 characters out of a-z, 0-9 and -, and begin with a letter.")
    name = os.environ.get("NAME", "") or ("unstick" if environment == "production" else f"unstick-{environment}")
    config = Path(os.environ.get("CONFIG", "") or f"unstick.{environment}.yaml").absolute()
    return Place(project, os.environ.get("REGION", "") or "asia-northeast1", environment, name, config)


# --- Terraform ------------------------------------------------------------------------------------------------------------


def terraform(place: Place, *arguments: str, root: str = "infra", adopt: Any = None, capture: bool = False) -> tuple[int, str]:
    """Run it and return its exit status, and what it printed where that is captured. Each environment has its own data."""
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
    """Point Terraform to the state of this project and environment, and to no other."""
    backend = [f"-backend-config=bucket={place.state_bucket}", f"-backend-config=prefix={place.environment}"]
    status, output = terraform(place, "init", "-input=false", "-no-color", *backend, root=root, capture=True)
    if status:
        print(output, file=sys.stderr)
        die("terraform init failed.")


def pull_state(place: Place) -> Deployed:
    """What the state has. Ends where it is of something else than what was asked for."""
    status, output = terraform(place, "state", "pull", capture=True)
    if status:
        die("the state can't be read.")
    deployed = read_state(json.loads(output) if output.strip() else {})
    compare(place, deployed, f"gs://{place.state_bucket}/{place.environment}")
    return deployed


def compare(place: Place, deployed: Deployed, where: str) -> None:
    """Nothing is planned, changed or deleted in a state of another project, region or name."""
    for what, asked in (("project", place.project), ("region", place.region), ("name", place.name)):
        there = getattr(deployed, what)
        if there and there != asked:
            die(f"the state in {where} is of {what} {there}, and {what} {asked} was asked for. Nothing was changed.")


def take_over_local_state(place: Place) -> None:
    """Before there were environments the state was a file in infra/. It goes into the bucket if it is of this place."""
    file = INFRA / "terraform.tfstate"
    content = json.loads(file.read_text(encoding="utf-8") or "{}") if file.exists() else {}
    if not content.get("resources"):
        init(place)
        return
    compare(place, read_state(content), str(file.relative_to(ROOT)))
    moved = file.with_suffix(".tfstate.moved")
    file.rename(moved)  # else `init` asks what to do with it
    init(place)
    status, _ = terraform(place, "state", "push", str(moved))
    if status:
        moved.rename(file)
        die(f"{file.relative_to(ROOT)} could not be put into gs://{place.state_bucket}/{place.environment}.")
    print(f"Moved the state from {file.relative_to(ROOT)} to gs://{place.state_bucket}/{place.environment}.")


def plan(place: Place, adopt: Any, more: list[str]) -> bool:
    """Show what would change, and keep it. False where nothing would."""
    variables = ROOT / f"unstick.{place.environment}.tfvars"
    given = [f"-var-file={variables}"] if variables.exists() else []
    out = f"-out={place.build / 'plan'}"
    status, _ = terraform(place, "plan", "-input=false", "-detailed-exitcode", out, *given, *more, adopt=adopt)
    if status not in (0, 2):
        raise SystemExit(status)
    return status == 2


def apply(place: Place, root: str = "infra", adopt: Any = None) -> None:
    """Apply what was planned. What is known to go wrong gets its remedy behind Google's message."""
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
                continue  # Terraform got it too: it ends what it is at and saves its state
    if running.returncode:
        text = " ".join(" ".join(lines).replace("│", " ").split())
        for pattern, remedy in REMEDIES.items():
            if re.search(pattern, text, re.IGNORECASE):
                print(f"deploy: {remedy}", file=sys.stderr)
        raise SystemExit(running.returncode)


# --- before and after Terraform --------------------------------------------------------------------------------------------


def prepare(place: Place) -> None:
    """Enable the APIs and make the bucket for the state, where that has not been done."""
    number = gcloud.run("projects", "describe", place.project, "--format=value(projectNumber)")
    enabled = set(
        gcloud.run("services", "list", "--enabled", f"--project={place.project}", "--format=value(config.name)").split()
    )
    if missing := [service for service in SERVICES if service not in enabled]:
        print(f"Enabling {len(missing)} APIs in {place.project}: {', '.join(missing)}", flush=True)
        gcloud.run("services", "enable", *missing, f"--project={place.project}")
    bucket = f"gs://{place.state_bucket}"
    owner = gcloud.find("storage", "buckets", "describe", bucket, "--raw", "--format=value(projectNumber)")
    if owner is None:
        print(f"Making {bucket} for Terraform's state.", flush=True)
        gcloud.run(
            "storage", "buckets", "create", bucket, f"--project={place.project}", f"--location={place.region}",
            "--uniform-bucket-level-access", "--public-access-prevention",
        )  # fmt: skip
        gcloud.run("storage", "buckets", "update", bucket, "--versioning")
    elif owner != number:
        die(f"{bucket} is in project {owner}, not in {place.project} ({number}): a state must not be put there.")


def find_existing(place: Place, names: Names, deployed: Deployed) -> dict[str, dict[str, str]]:
    """What exists and is not in the state: by kind, the key in Terraform and the id to import."""
    project, region = f"--project={place.project}", f"--location={place.region}"
    path = f"projects/{place.project}/locations/{place.region}"
    found: dict[str, dict[str, str]] = {}
    if "google_storage_bucket.store" not in deployed.addresses and _has_bucket(names.bucket):
        found["store"] = {"store": f"{place.project}/{names.bucket}"}
    if "google_cloud_tasks_queue.wakeups" not in deployed.addresses and _queue_state(place, names.queue):
        found["queue"] = {"queue": f"{path}/queues/{names.queue}"}
    there = _listed("secrets", "list", project, "--format=value(name)")
    found["secrets"] = {
        name: f"projects/{place.project}/secrets/{name}"
        for name in names.secrets
        if name in there and f"google_secret_manager_secret.{name}" not in deployed.addresses
    }
    if not deployed.addresses:  # a first deployment, or a state that was lost
        source = f"{place.project}-{place.name}-source"
        if _has_bucket(source):
            found["source"] = {"source": f"{place.project}/{source}"}
        domain = f"{place.project}.iam.gserviceaccount.com"
        emails = _listed("iam", "service-accounts", "list", project, "--format=value(email)")
        found["accounts"] = {
            role: f"projects/{place.project}/serviceAccounts/{place.name}-{role}@{domain}"
            for role in ("webhook", "verify", "report", "tasks", "scheduler", "builder")
            if f"{place.name}-{role}@{domain}" in emails
        }
        functions = _listed("functions", "list", "--v2", f"--regions={place.region}", project, "--format=value(name)")
        found["functions"] = _named(place, ("webhook", "verify", "report"), functions, f"{path}/functions/")
        jobs = _listed("scheduler", "jobs", "list", region, project, "--format=value(name)")
        found["jobs"] = _named(place, ("sweep", "report", "drill", "check"), jobs, f"{path}/jobs/")
        metrics = gcloud.find("logging", "metrics", "list", project, "--format=value(name)") or ""
        found["metrics"] = {
            key: f"{place.project} {place.name}/{key}"
            for key in ("decisions", "outcomes", "errors")
            if f"{place.name}/{key}" in metrics.split()
        }
    found = {kind: of for kind, of in found.items() if of}
    for kind, of in found.items():
        print(f"Taking over what exists already: {kind}: {', '.join(of.values())}")
    return found


def _listed(*arguments: str) -> set[str]:
    """The last parts of the names that gcloud lists."""
    return {name.rsplit("/", 1)[-1] for name in (gcloud.find(*arguments) or "").split()}


def _named(place: Place, keys: tuple[str, ...], there: set[str], path: str) -> dict[str, str]:
    return {key: f"{path}{place.name}-{key}" for key in keys if f"{place.name}-{key}" in there}


def _has_bucket(name: str) -> bool:
    return bool(name) and gcloud.find("storage", "buckets", "describe", f"gs://{name}", "--format=value(name)") is not None


def _queue_state(place: Place, queue: str) -> str:
    """RUNNING or PAUSED; empty where there is none."""
    if not queue:
        return ""
    where = (f"--project={place.project}", f"--location={place.region}")
    return gcloud.find("tasks", "queues", "describe", queue, *where, "--format=value(state)") or ""


def check_renames(place: Place, names: Names, deployed: Deployed) -> None:
    """Said before Terraform says only that an instance cannot be destroyed."""
    for what, key, before, now in (
        ("bucket", "store.cloud_storage.bucket", deployed.bucket, names.bucket),
        ("queue", "scheduler.cloud_tasks.queue", deployed.queue, names.queue),
    ):
        if before and now and before != now:
            die(
                f"{key} in {place.config.name} is {now}, and the {what} of this deployment is {before}. Incidents and wake-ups "
                f"are there, so it is never replaced. Write {before} again; or run `infra/deploy.sh destroy` first, which leaves "
                f"it standing, and then deploy with the new name."
            )


def find_empty_secrets(place: Place, names: Names) -> list[str]:
    """Those without a value. Cloud Run refuses a function that has one of them mounted."""
    project = f"--project={place.project}"
    there = _listed("secrets", "list", project, "--format=value(name)")
    enabled = ("--filter=state:ENABLED", "--limit=1", "--format=value(name)")
    return [
        name
        for name in names.secrets
        if name not in there or not gcloud.run("secrets", "versions", "list", name, project, *enabled)
    ]


def fill_secrets(place: Place, empty: list[str]) -> None:
    """Make each as it is planned, and ask for its value: from the terminal to gcloud, past Terraform, its state and every log."""
    status, output = terraform(place, "show", "-json", str(place.build / "plan"), capture=True)
    if status:
        raise SystemExit(status)
    planned = {
        change["change"]["after"]["secret_id"]: change["change"]
        for change in json.loads(output).get("resource_changes", [])
        if change["type"] == "google_secret_manager_secret" and change["change"]["after"]
    }
    print(f"These secrets have no value yet: {', '.join(empty)}. Type or paste each; it is not shown.", flush=True)
    for name in empty:
        value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        if not value:
            die(f"{name} was left without a value. The same command again goes on from here.")
        if planned[name]["before"] is None:
            _make_secret(place, name, planned[name]["after"]["replication"][0])
        gcloud.run("secrets", "versions", "add", name, f"--project={place.project}", "--data-file=-", stdin=value)
        print(f"{name}: stored", flush=True)


def _make_secret(place: Place, name: str, replication: dict[str, Any]) -> None:
    def key(of: dict[str, Any]) -> dict[str, Any]:
        encrypted = of.get("customer_managed_encryption") or []
        return {"customerManagedEncryption": {"kmsKeyName": encrypted[0]["kms_key_name"]}} if encrypted else {}

    if replication.get("user_managed"):
        replicas = replication["user_managed"][0]["replicas"]
        policy = {"userManaged": {"replicas": [{"location": one["location"], **key(one)} for one in replicas]}}
    else:
        policy = {"automatic": {}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        gcloud.run("secrets", "create", name, f"--project={place.project}", f"--replication-policy-file={file.name}")


def confirm(place: Place, question: str, more: list[str]) -> None:
    """Go on only if the person at the terminal names project and environment."""
    if "-auto-approve" in more:
        return
    sys.stdout.write(f"{question} Type {place.title} to go on: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != place.title:
        die("nothing was changed.")


def build_archive(place: Place) -> None:
    """The archive of this checkout with this configuration."""
    if not place.config.is_file():
        die(f"{place.config.name} is not there. `infra/deploy.sh config` writes one.")
    command = [sys.executable, str(INFRA / "package.py"), "--config", str(place.config), "--to", str(place.archive)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(1)


# --- commands -------------------------------------------------------------------------------------------------------------


def write_config(place: Place) -> None:
    """The example, with project, region and names put in."""
    if place.config.exists():
        die(f"{place.config.name} is there already.")
    number = gcloud.run("projects", "describe", place.project, "--format=value(projectNumber)")
    text = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8").split("\n", 2)[2]
    text = re.sub(r"(?<=[/-])unstick(?=-(?:store|tasks|webhook|grafana|rundeck|rabbitmq|signing|chat)|\n)", place.name, text)
    text = text.replace("service_account: unstick-", f"service_account: {place.name}-")
    for example, own in (("example-project", place.project), ("123456789012", number), ("asia-northeast1", place.region)):
        text = text.replace(example, own)
    place.config.write_text(text, encoding="utf-8")
    print(f"Wrote {place.config.name}. Put your systems, channels and runbooks in; then: {_call(place, 'apply')}")


def _call(place: Place, command: str) -> str:
    environment = "" if place.environment == "production" else f" ENV={place.environment}"
    return f"PROJECT={place.project}{environment} REGION={place.region} infra/deploy.sh {command}"


def deploy(place: Place, more: list[str], *, only_plan: bool = False) -> None:
    """Plan, ask for secrets without a value, and apply."""
    names = read_names(place.config)
    prepare(place)
    take_over_local_state(place)
    deployed = pull_state(place)
    check_renames(place, names, deployed)
    existing = find_existing(place, names, deployed)
    given = [one for one in more if one != "-auto-approve"]
    changes = plan(place, existing, given)
    if only_plan:
        return
    if empty := find_empty_secrets(place, names):
        fill_secrets(place, empty)
        existing = find_existing(place, names, deployed)
        changes = plan(place, existing, given)
    if changes:
        confirm(place, f"Deploy this to {place.project}, environment {place.environment}?", more)
        apply(place, adopt=existing)
    if _queue_state(place, names.queue) == "PAUSED":  # as `destroy` leaves it; not before there is somebody to take what it holds
        gcloud.run("tasks", "queues", "resume", names.queue, f"--project={place.project}", f"--location={place.region}")
        print(f"The queue {names.queue} was paused and runs again.")
    print("Deployed. Now every system is asked from inside.", flush=True)
    check(place)


def check(place: Place) -> bool:
    """Have `report` ask every system, read its lines from the log, and print them. False where one failed or none came.

    Nobody outside of the project can call that function, so Cloud Scheduler does.
    """
    project, job = f"--project={place.project}", f"{place.name}-check"
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    gcloud.run("scheduler", "jobs", "run", job, f"--location={place.region}", project)
    wanted = (
        f'resource.type="cloud_run_revision" AND resource.labels.service_name="{place.name}-report" AND '
        f'jsonPayload.message=~"^a check from inside found" AND timestamp>="{began}"'
    )
    ends = time.monotonic() + float(os.environ.get("WAIT") or 180)
    while not (lines := json.loads(gcloud.run("logging", "read", wanted, project, "--limit=1", "--format=json") or "[]")):
        if time.monotonic() >= ends:
            print(f"deploy: no answer. See the job {job} in Cloud Scheduler and the log of {place.name}-report.", file=sys.stderr)
            return False
        time.sleep(3)
    findings = lines[0]["jsonPayload"]["findings"]
    for finding in findings:
        word = {True: "ok", False: "FAILED"}.get(finding.get("ok"), "?")
        detail = f": {finding['detail']}" if finding["detail"] else ""
        runbooks = f" [{', '.join(finding['runbooks'])}]" if finding["runbooks"] else ""
        print(f"{word:<6}  {finding['system']:<13}  {finding['what']}{runbooks}{detail}")
        if finding["remedy"]:
            print(f"{'':<23}  -> {finding['remedy']}")
    failed = sum(finding.get("ok") is False for finding in findings)
    print(f"{sum(finding.get('ok') is True for finding in findings)} ok, {failed} failed, of {len(findings)}.")
    return not failed


def show_output(place: Place, more: list[str]) -> None:
    """`terraform output` of this environment's state."""
    init(place)
    pull_state(place)
    status, _ = terraform(place, "output", *more)
    raise SystemExit(status)


def destroy(place: Place, more: list[str]) -> None:
    """Delete all that the state has, but bucket and queue; the state says which those are, and no configuration is read."""
    prepare(place)
    take_over_local_state(place)
    deployed = pull_state(place)
    if not deployed.addresses:
        die(f"nothing is deployed as {place.title}.")
    init(place, "removal")
    status, _ = terraform(place, "plan", "-input=false", f"-out={place.build / 'plan'}", root="removal")
    if status:
        raise SystemExit(status)
    question = f"Delete Unstick from {place.project}, environment {place.environment}, secrets and their values included?"
    confirm(place, question, more)
    where = (f"--project={place.project}", f"--location={place.region}")
    if _queue_state(place, deployed.queue) == "RUNNING":
        gcloud.run("tasks", "queues", "pause", deployed.queue, *where)
    apply(place, "removal")
    print(f"Left standing: gs://{deployed.bucket} (incidents) and the queue {deployed.queue} (paused). To delete them as well:")
    print(f"  gcloud storage rm -r gs://{deployed.bucket}")
    print(f"  gcloud tasks queues delete {deployed.queue} {' '.join(where)}")


def rollback(place: Place, more: list[str]) -> None:
    """Deploy an archive that ran before, with the configuration that is in it."""
    prepare(place)
    take_over_local_state(place)
    deployed = pull_state(place)
    if not deployed.archive:
        die(f"nothing is deployed as {place.title}.")
    wanted = os.environ.get("TO", "")
    prefix = f"{place.name}-"
    listed = gcloud.run("storage", "ls", "--all-versions", f"gs://{deployed.source_bucket}/").split()
    archives = sorted((url for url in listed if "#" in url), key=lambda url: int(url.rpartition("#")[2]), reverse=True)
    for url in archives:
        name = url.rpartition("#")[0].rpartition("/")[2]
        digest = name.removeprefix(prefix).removesuffix(".zip")
        if name.startswith(prefix) and name != deployed.archive and digest.startswith(wanted):
            break
    else:
        die(f"gs://{deployed.source_bucket} has no former archive{f' that begins with {wanted}' if wanted else ''}.")
    place.build.mkdir(parents=True, exist_ok=True)
    gcloud.run("storage", "cp", url, str(place.archive))
    if hashlib.sha256(place.archive.read_bytes()).hexdigest() != digest:
        die(f"{url} is not what its name says.")
    config = place.build / "rollback.yaml"
    with zipfile.ZipFile(place.archive) as archive:
        config.write_bytes(archive.read("unstick.yaml"))
        version = re.search(r'__version__ = "([^"]+)"', archive.read("functions/__init__.py").decode())
    print(
        f"Going back to {name}, Unstick {version[1] if version else 'without a version'}, with the configuration of then.",
        flush=True,
    )
    deploy(Place(place.project, place.region, place.environment, place.name, config), more)


def main() -> None:
    """One command."""
    command, *more = sys.argv[1:]
    place = read_place()
    if not shutil.which("gcloud"):
        die("gcloud is not on the PATH. See https://cloud.google.com/sdk/docs/install")
    if command != "config" and not shutil.which("terraform"):
        die("terraform is not on the PATH. See https://developer.hashicorp.com/terraform/install")
    try:
        if command == "config":
            write_config(place)
        elif command == "check":
            raise SystemExit(0 if check(place) else 1)
        elif command == "output":
            show_output(place, more)
        elif command == "destroy":
            destroy(place, more)
        elif command == "rollback":
            rollback(place, more)
        else:
            build_archive(place)
            deploy(place, more, only_plan=command == "plan")
    except gcloud.GcloudError as error:
        die(str(error))
    except KeyboardInterrupt:
        die("stopped. The same command again goes on from here.")


if __name__ == "__main__":
    main()
