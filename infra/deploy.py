"""The commands of deploy.sh. Each works on one project and one environment, with a Terraform state of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime

import cloud
import gcloud
import terraform
from names import Deployed, Names, read_names
from place import INFRA, Place, die, read_place


def check_renames(place: Place, names: Names, deployed: Deployed) -> None:
    """Explain a rename, before Terraform says only that an instance can't be destroyed."""
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


def confirm(place: Place, question: str, more: list[str]) -> None:
    """Go on only if the person at the terminal types project and environment."""
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
    """Write the example, with project, region and names filled in."""
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
    cloud.prepare(place)
    terraform.take_over_local_state(place)
    deployed = terraform.pull_state(place)
    check_renames(place, names, deployed)
    existing = cloud.find_existing(place, names, deployed)
    given = [one for one in more if one != "-auto-approve"]
    changes = terraform.plan(place, existing, given)
    planned = terraform.read_planned(place) if changes else []
    cloud.refuse_lost_values(place, planned)
    if only_plan:
        return
    if empty := cloud.find_empty_secrets(place, names):
        cloud.fill_secrets(place, empty, planned or terraform.read_planned(place))
        existing = cloud.find_existing(place, names, deployed)
        changes = terraform.plan(place, existing, given)
    if changes:
        confirm(place, f"Deploy this to {place.project}, environment {place.environment}?", more)
        terraform.apply(place, adopt=existing)
    if (
        cloud.queue_state(place, names.queue) == "PAUSED"
    ):  # paused by `destroy`; resumed only now, since before the deployment nothing handles its tasks
        gcloud.run("tasks", "queues", "resume", names.queue, f"--project={place.project}", f"--location={place.region}")
        print(f"The queue {names.queue} was paused and runs again.")
    print("Deployed. Now every system is asked from inside.", flush=True)
    if not check(place):
        raise SystemExit(1)


def check(place: Place) -> bool:
    r"""Have `report` check every system, read the lines from the log, and print them. False if one failed or none came.

    Nobody outside the project can call that function, so Cloud Scheduler does.
    """
    project, job = f"--project={place.project}", f"{place.name}-check"
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    gcloud.run("scheduler", "jobs", "run", job, f"--location={place.region}", project)
    wanted = (
        f'resource.type="cloud_run_revision" AND resource.labels.service_name="{place.name}-report" AND '
        f'jsonPayload.message=~"^check from inside: " AND timestamp>="{began}"'
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
    terraform.init(place)
    terraform.pull_state(place)
    status, _ = terraform.run(place, "output", *more)
    raise SystemExit(status)


def destroy(place: Place, more: list[str]) -> None:
    """Delete everything in the state except bucket and queue. Their names come from the state; no configuration is read."""
    cloud.prepare(place, must_exist=not terraform.has_local_state())
    terraform.take_over_local_state(place)
    deployed = terraform.pull_state(place)
    if not deployed.addresses:
        if running := cloud.find_running(place):
            die(
                f"the state of {place.title} is empty, but there are {', '.join(running)}. Take them over with "
                f"`{_call(place, 'apply')}`, then destroy."
            )
        die(f"nothing is deployed as {place.title}.")
    terraform.init(place, "removal")
    status, _ = terraform.run(place, "plan", "-input=false", f"-out={place.build / 'plan'}", root="removal")
    if status:
        raise SystemExit(status)
    question = f"Delete Unstick from {place.project}, environment {place.environment}, secrets and their values included?"
    confirm(place, question, more)
    where = (f"--project={place.project}", f"--location={place.region}")
    if cloud.queue_state(place, deployed.queue) == "RUNNING":
        gcloud.run("tasks", "queues", "pause", deployed.queue, *where)
    terraform.apply(place, "removal")
    print(f"Left standing: gs://{deployed.bucket} (incidents) and the queue {deployed.queue} (paused). To delete them as well:")
    print(f"  gcloud storage rm -r gs://{deployed.bucket}")
    print(f"  gcloud tasks queues delete {deployed.queue} {' '.join(where)}")


def rollback(place: Place, more: list[str]) -> None:
    """Deploy an archive that ran before, with the configuration inside it."""
    cloud.prepare(place, must_exist=not terraform.has_local_state())
    terraform.take_over_local_state(place)
    deployed = terraform.pull_state(place)
    if not deployed.archive:
        die(f"nothing is deployed as {place.title}.")
    url, name = _find_archive(place, deployed, os.environ.get("TO", ""))
    digest = name.removeprefix(f"{place.name}-").removesuffix(".zip")
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


def _find_archive(place: Place, deployed: Deployed, wanted: str) -> tuple[str, str]:
    """(URL, name) of the newest archive that begins with `wanted`, or that is older than the deployed one.

    Older than its first generation: a second rollback does not return to the archive that the first one left.
    """
    listed = gcloud.run("storage", "ls", "--all-versions", f"gs://{deployed.source_bucket}/").split()
    archives = []
    for url in listed:
        path, _, generation = url.rpartition("#")
        name = path.rpartition("/")[2]
        if path and name.startswith(f"{place.name}-"):
            archives.append((int(generation), url, name))
    first = min((generation for generation, _, name in archives if name == deployed.archive), default=None)
    others = sorted((one for one in archives if one[2] != deployed.archive), reverse=True)
    for generation, url, name in others:
        if name.startswith(f"{place.name}-{wanted}") and (wanted or first is None or generation < first):
            return url, name
    if not wanted and others:
        later = others[0][2].removeprefix(f"{place.name}-")[:12]
        die(f"gs://{deployed.source_bucket} has no archive from before {deployed.archive}. Name a later one, such as TO={later}.")
    return die(f"gs://{deployed.source_bucket} has no former archive{f' that begins with {wanted}' if wanted else ''}.")


def unlock(place: Place, more: list[str]) -> None:
    """Remove the lock that a killed run left."""
    if len(more) != 1:
        die("say which lock: infra/deploy.sh unlock ID, with the ID that Terraform printed.")
    terraform.init(place)
    status, _ = terraform.run(place, "force-unlock", "-force", more[0])
    raise SystemExit(status)


def main() -> None:
    """Run one command."""
    command, *more = sys.argv[1:]
    place = read_place()
    if not shutil.which("gcloud"):
        die("gcloud is not on the PATH. See https://cloud.google.com/sdk/docs/install")
    if command != "config" and not shutil.which("terraform"):
        die("terraform is not on the PATH. See https://developer.hashicorp.com/terraform/install")
    try:
        if command in ("plan", "apply"):
            build_archive(place)
            deploy(place, more, only_plan=command == "plan")
        elif command == "config":
            write_config(place)
        elif command == "check":
            raise SystemExit(0 if check(place) else 1)
        else:
            {"output": show_output, "destroy": destroy, "rollback": rollback, "unlock": unlock}[command](place, more)
    except gcloud.GcloudError as error:
        die(str(error))
    except KeyboardInterrupt:
        die("stopped. The same command again goes on from here.")


if __name__ == "__main__":
    main()
