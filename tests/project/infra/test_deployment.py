"""deploy.sh with Terraform itself, which plans and applies against the provider's schema: what happens, and in which order."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.infra.project_copy import INFRA, Project
from tests.project.infra.run_terraform import attached

VERIFY = "google_cloudfunctions2_function:unstick-verify"
# Terraform starts twenty times and more. By day test_deploy_script.py has the same commands, and `terraform test` the module.
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
KEPT = [("google_storage_bucket", "my-project-unstick-store"), ("google_cloud_tasks_queue", "unstick")]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with attached(UNSTICK_FAKE_CLOUD=str(tmp_path / "applied")) as provider, Project(tmp_path, provider=provider) as found:
        found.give_all_secrets_a_value()
        yield found


def deployed(project: Project, command: str = "apply", **variables: str) -> str:
    done = project.deploy(command, "-auto-approve", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_destroyed_and_deployed_again_has_its_incidents_and_its_queue(project: Project) -> None:
    """All goes but those two, which the next deployment takes up; the other environment is not touched by any of it."""
    shutil.copy(INFRA / "package.py", project.repository / "infra")
    deployed(project)
    secrets = project.deploy("output", "-raw", "secrets").stdout
    assert secrets.count("gcloud secrets versions add unstick-") == 5
    states = project.folder / "states" / "my-project-unstick-state"
    shutil.copy(states / "production.tfstate", states / "staging.tfstate")
    assert "is of name unstick, and name unstick-staging was asked for" in project.deploy("destroy", ENV="staging").stderr
    before = project.saved_state("staging")
    project.forget_applied()
    deployed(project, "destroy")
    deleted = {(kind, name) for did, kind, name in project.applied if did == "delete"}
    assert not deleted & set(KEPT)
    assert ("google_cloudfunctions2_function", "unstick-webhook") in deleted
    assert project.saved_state()["resources"] == []
    project.change(buckets={"my-project-unstick-store": "555"}, queues={"unstick": "PAUSED"})
    # A dashboard and a policy that a lost state left; and a policy and a channel that the configuration has no more.
    labels = ("unstick_logged_errors", "unstick_watched_costs")
    left = {
        "monitoring dashboards list": [{"displayName": "Unstick (unstick)"}],
        "alpha monitoring policies list": [{"userLabels": {"unstick": label}} for label in labels],
        "beta monitoring channels list": [
            {"labels": {"email_address": "left@example.com"}, "userLabels": {"unstick": "unstick"}}
        ],
    }
    for call, found in left.items():
        listed = [{"name": f"projects/555/these/{number}"} | one for number, one in enumerate(found)]
        project.change(listed={call: [json.dumps(listed)]})
    project.forget_applied()
    output = deployed(project)
    created = [kind for did, kind, _ in project.applied if did == "create"]
    assert created.count("google_monitoring_alert_policy") == 5
    assert "google_monitoring_dashboard" not in created
    assert "Taking over what exists already: store: my-project/my-project-unstick-store" in output
    assert not {(kind, name) for did, kind, name in project.applied if did == "create"} & set(KEPT)
    assert project.cloud["queues"] == {"unstick": "RUNNING"}
    assert project.saved_state("staging") == before


def test_a_deployment_that_stopped_half_way_goes_on_or_is_taken_off(project: Project) -> None:
    """Where `verify` failed there is no address for the queue, and no output of it; neither stops the next command."""
    command = ("apply", "-auto-approve")
    broken = {"UNSTICK_FAKE_FAILS": VERIFY, "UNSTICK_FAKE_ERROR": "Build failed"}
    failed = project.deploy(*command, **broken)
    assert failed.returncode == 1
    assert "roles/logging.logWriter" in failed.stderr
    assert "google_cloud_tasks_queue" not in {kind for did, kind, _ in project.applied if did == "create"}
    state = project.folder / "states" / "my-project-unstick-state" / "production.tfstate"
    half = state.read_bytes()
    deployed(project, "destroy")
    assert project.saved_state()["resources"] == []
    state.write_bytes(half)
    deployed(project)
    queue = next(one for one in project.saved_state()["resources"] if one["type"] == "google_cloud_tasks_queue")
    address = queue["instances"][0]["attributes"]["http_target"][0]["uri_override"][0]["host"]
    assert address == "unstick-verify.run.app"


def test_the_same_from_another_folder_changes_nothing(project: Project) -> None:
    """A colleague or CI deploys it: the archive that the functions name would be made anew under its name, and then deleted."""
    deployed(project)
    state = project.saved_state()
    (archive,) = [one for one in state["resources"] if one["type"] == "google_storage_bucket_object"]
    archive["instances"][0]["attributes"]["source"] = "/home/colleague/unstick/build/unstick.zip"
    (secret,) = [one for one in state["resources"] if one["type"] == "google_secret_manager_secret"]
    for instance in secret["instances"]:  # made by hand, in regions of one's own
        instance["attributes"]["replication"] = [
            {"auto": [], "user_managed": [{"replicas": [{"location": "europe-west4", "customer_managed_encryption": []}]}]}
        ]
    file = project.folder / "states" / "my-project-unstick-state" / "production.tfstate"
    file.write_text(json.dumps(state | {"serial": state["serial"] + 1}), encoding="utf-8")
    project.forget_applied()
    deployed(project)
    assert project.applied == []


def test_an_address_of_the_alerts_can_be_changed(project: Project) -> None:
    """Monitoring refuses to delete a channel that a policy uses, so the policies come first."""
    variables = project.repository / "unstick.production.tfvars"
    variables.write_text('alert_emails = ["before@example.com"]\n', encoding="utf-8")
    deployed(project)
    project.forget_applied()
    variables.write_text('alert_emails = ["after@example.com"]\n', encoding="utf-8")
    deployed(project)
    did = [(what, kind) for what, kind, _ in project.applied if kind.startswith("google_monitoring")]
    deleted = did.index(("delete", "google_monitoring_notification_channel"))
    assert did[0] == ("create", "google_monitoring_notification_channel")
    assert did[1:deleted] == [("update", "google_monitoring_alert_policy")] * 6


def test_a_state_of_the_released_version_is_moved_and_nothing_is_made_anew(project: Project) -> None:
    """There the resources stood at the top, and the state was a file beside them."""
    deployed(project)
    state = project.saved_state()
    moved = re.findall(r"from = (\S+)", (INFRA / "moved.tf").read_text(encoding="utf-8"))
    state["resources"] = [
        {name: part for name, part in resource.items() if name != "module"}
        for resource in state["resources"]
        if f"{resource['type']}.{resource['name']}" in moved
    ]
    (project.folder / "states" / "my-project-unstick-state" / "production.tfstate").unlink()
    (project.repository / "infra" / "terraform.tfstate").write_text(json.dumps(state | {"outputs": {}}), encoding="utf-8")
    project.forget_applied()
    assert "Moved the state" in deployed(project)
    new = {"google_project_iam_member", "google_cloud_tasks_queue_iam_member"}  # the builder's rights, and the check's
    assert {(did, kind) for did, kind, _ in project.applied} == {("create", kind) for kind in new}
