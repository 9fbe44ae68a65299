"""docs/google-cloud.md from the first deployment to the last, by Terraform itself: what happens to whose things."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.infra.page_as_typed import NAMES, Project, block, project_in, standing

KEPT = {("google_storage_bucket", "my-project-unstick-store"), ("google_cloud_tasks_queue", "unstick")}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with project_in(tmp_path) as new_project:
        new_project.prepare()
        yield new_project


@pytest.fixture
def deployed(project: Project) -> Project:
    status, said = project.deploy()
    assert status == 0, said
    return project


def test_the_steps_deploy(deployed: Project) -> None:
    """As they stand on the page. The state has no value of a secret, and the same again changes nothing. From another folder, as
    a colleague's or CI's, the archive that the functions name would be made anew under its name, and then deleted."""
    assert set(deployed.called) >= {
        f"secrets create unstick-{name} --project=my-project --replication-policy=automatic" for name in NAMES
    }
    assert [(deployed.cloud / "made" / f"unstick-{name}").read_text() for name in NAMES] == [f"value-of-{name}" for name in NAMES]
    state = deployed.state()
    assert "value-of" not in json.dumps(state)
    assert standing(deployed.applied) > KEPT
    assert not [kind for kind, _ in standing(deployed.applied) if kind.startswith("google_secret_manager_secret_version")]
    before = deployed.applied
    (archive,) = [one for one in state["resources"] if one["type"] == "google_storage_bucket_object"]
    archive["instances"][0]["attributes"]["source"] = "/home/colleague/unstick/build/unstick.zip"
    deployed.save_state(state)
    assert "No changes" in deployed.deploy()[1]
    assert deployed.applied == before


def test_the_printed_commands_store_what_was_typed(deployed: Project) -> None:
    """Each line, pasted into a shell as it is, hands gcloud the value without quotes, line break or anything else."""
    typed = r"a'b \"c\" $HOME `d` \e * é"
    deployed.type("terraform -chdir=infra/environments/production output -raw secrets >commands")
    for command in (deployed.folder / "commands").read_text(encoding="utf-8").splitlines():
        deployed.type(command, typed=f"{typed}\n")
    assert {(deployed.cloud / "made" / f"unstick-{name}").read_text(encoding="utf-8") for name in NAMES} == {typed}


def test_two_environments_in_one_project_share_nothing(deployed: Project) -> None:
    """With production's names in the copied file, staging took over its running bucket and queue, and blocked its incidents."""
    before, state = deployed.applied, deployed.state()
    deployed.type(block("mkdir infra/environments/staging"))
    file = deployed.folder / "infra/environments/staging/unstick.yaml"
    right = file.read_text(encoding="utf-8")
    assert right.count("unstick-staging") == 8
    deployed.type(block("for name in $(grep").replace("production", "staging"), typed="value\n" * len(NAMES))
    copied = right.replace("unstick-staging-store", "unstick-store").replace("queues/unstick-staging", "queues/unstick")
    file.write_text(copied, encoding="utf-8")
    status, said = deployed.deploy("staging")
    assert status != 0
    for kind, name in KEPT:
        assert f"Error 409: {kind} {name} already exists" in said
    created = deployed.applied[len(before) :]
    assert {did for did, _, _ in created} == {"create"}
    assert not KEPT & {(kind, name) for _, kind, name in created}
    file.write_text(right, encoding="utf-8")
    status, said = deployed.deploy("staging")
    assert status == 0, said
    deployed.type(block("production destroy").replace("production", "staging"))
    assert {what for what in standing(before) if "unstick" in what[1]} <= standing(deployed.applied)
    assert deployed.state() == state
    assert not [call for call in deployed.called if "delete" in call]


def test_a_region_and_a_project_of_any_name_are_deployed(tmp_path: Path) -> None:
    """Production kept Tokyo's address, and staging got secrets of a project that doesn't exist."""
    with project_in(tmp_path, "my-unstick-production", "europe-west4") as project:
        project.prepare()
        project.type(block("mkdir infra/environments/staging"))
        project.type(block("for name in $(grep").replace("/production/", "/staging/"), typed="value\n" * len(NAMES))
        for environment in ("production", "staging"):
            status, said = project.deploy(environment)
            assert status == 0, said
        assert ("google_storage_bucket", "my-unstick-production-unstick-staging-store") in standing(project.applied)
        right = (project.folder / "infra/environments/staging/unstick.yaml").read_text(encoding="utf-8")
    assert "https://unstick-staging-webhook-123456789012.europe-west4.run.app" in right
    assert "queue: projects/my-unstick-production/locations/europe-west4/queues/unstick-staging\n" in right
    assert right.count("sm://my-unstick-production/unstick-staging-") == len(NAMES)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("unstick.yaml", "    queue:", "    service_account: unstick-tasks@my-project.iam\n    queue:",
            "Leave scheduler.cloud_tasks.service_account out"),
        ("unstick.yaml", "asia-northeast1.run.app", "europe-west4.run.app",
            "public_url in the configuration is an address of another region than asia-northeast1."),
        *(
            ("main.tf", "  alert_emails = local", f"  {typo} }}\n  alert_emails = local", f"{typo.split(maxsplit=1)[0]} has ")
            for typo in ("functions = { webhook = { max_instance = 2 }", "functions = { web = {}", "schedule = { chek = null")
        ),
        ("../../module/queue.tf", 'http_method = "POST"', 'http_method = "SEND"', "http_method: 'SEND' is not one of"),
    ],
)  # fmt: skip
def test_a_mistake_fails_the_plan(project: Project, file: str, right: str, wrong: str, said: str) -> None:
    """Nobody may act as an account for the tasks, so each wake-up would be refused; Grafana and approval links would go to the
    other region; Terraform itself drops what a type doesn't have, and a limit was not set; the provider checks values."""
    project.change(file, right, wrong)
    assert said in project.deploy()[1]
    assert project.applied == []


def test_the_values_of_one_with_the_state_of_the_other_are_refused(deployed: Project) -> None:
    """Whoever forgets the prefix of a copied folder would rename production, and lose its bucket and queue."""
    before = deployed.applied
    deployed.type(block("mkdir infra/environments/staging"))
    deployed.type(block("for name in $(grep").replace("production", "staging"), typed="value\n" * len(NAMES))
    deployed.change("main.tf", '"staging"', '"production"', "staging")
    status, said = deployed.deploy("staging")
    assert status != 0
    assert said.count("Instance cannot be destroyed") == 2
    assert deployed.applied == before


def test_what_is_removed_leaves_incidents_queue_and_secrets_and_comes_back(deployed: Project) -> None:
    """`destroy` alone is refused; by the page's lines all goes but those; the next deployment imports them."""
    before = deployed.applied
    status, said = deployed.try_typing(block("production destroy").splitlines()[-1])
    assert (status != 0, said.count("Instance cannot be destroyed")) == (True, 2)
    assert deployed.applied == before
    deployed.type(block("production destroy"))
    assert "tasks queues pause unstick --project=my-project --location=asia-northeast1" in deployed.called
    assert deployed.state()["resources"] == []
    assert {what for what in standing(deployed.applied) if "google_monitoring" not in what[0]} == KEPT
    assert len((deployed.cloud / "secrets").read_text().splitlines()) == len(NAMES)
    assert "already exists" in deployed.deploy()[1]
    deployed.type(block("production import"))
    status, said = deployed.deploy()
    assert status == 0, said
    assert not [one for one in deployed.applied if one[1:] in KEPT and one[0] == "delete"]


def test_a_first_deployment_whose_state_was_lost_goes_on(deployed: Project) -> None:
    """Killed before Terraform wrote down what it had made, which it does every 20 seconds."""
    made = len(deployed.applied)
    deployed.save_state(deployed.state() | {"resources": []})
    assert "already exists" in deployed.deploy()[1]
    assert "not imported" not in deployed.type(block("production import"))
    status, said = deployed.deploy()
    assert status == 0, said
    assert not [one for one in deployed.applied[made:] if one[0] == "delete"]
    assert "No changes" in deployed.deploy()[1]


def test_a_secret_less_or_more_deletes_none(deployed: Project) -> None:
    """What is not there fails the plan, since Cloud Run would refuse the function after minutes. A rollback was refused where the
    bad release had added a secret, and a removed channel's value was deleted."""
    before = deployed.applied
    channel = "  extra: {type: google_chat, url: sm://my-project/unstick-chat-extra}\n"
    deployed.change("unstick.yaml", "channels:\n  ops:", f"channels:\n{channel}  ops:")
    status, said = deployed.deploy()
    assert (status != 0, "secrets/unstick-chat-extra] not found or has no versions" in said) == (True, True)
    assert deployed.applied == before
    deployed.type(block("for name in $(grep"), typed="extra\n\n\n\n\n\n")
    assert deployed.deploy()[0] == 0
    deployed.change("unstick.yaml", channel, "")
    assert deployed.deploy()[0] == 0
    gone = [(kind, name) for did, kind, name in deployed.applied if did == "delete"]
    assert {kind for kind, _ in gone} == {"google_secret_manager_secret_iam_member", "google_storage_bucket_object"}
    assert (deployed.cloud / "made" / "unstick-chat-extra").read_text() == "extra"
    assert (deployed.cloud / "made" / "unstick-rundeck-token").read_text() == "value-of-rundeck-token", "Return leaves a value"


def test_a_former_archive_is_deployed_with_its_configuration(deployed: Project) -> None:
    """By the page's lines: program and configuration of then, whatever lies in the repository now."""
    former = deployed.state()["outputs"]["deployment"]["value"]["archive"]
    environment = deployed.folder / "infra/environments/production"
    shutil.copy(environment / "unstick.zip", deployed.cloud / "former.zip")
    deployed.change("unstick.yaml", "mode: observe", "mode: approve")
    assert deployed.deploy()[0] == 0
    assert deployed.state()["outputs"]["deployment"]["value"]["archive"] != former
    deployed.type(block("gcloud storage cp"))
    assert deployed.state()["outputs"]["deployment"]["value"]["archive"] == former
    with zipfile.ZipFile(environment / "unstick.zip") as archive:
        assert archive.read("unstick.yaml") == (environment / "unstick.zip.yaml").read_bytes()
    assert "mode: observe" in (environment / "unstick.zip.yaml").read_text(encoding="utf-8")


def test_a_deployment_that_stopped_half_way_goes_on_or_is_removed(project: Project) -> None:
    """Where `verify` failed there is no address for the queue; neither the next apply nor the removal stops at that."""
    fails = project.cloud / "fails"
    fails.write_text("google_cloudfunctions2_function:unstick-verify\n", encoding="utf-8")
    status, said = project.deploy()
    assert (status != 0, "Build failed" in said) == (True, True)
    assert ("google_cloud_tasks_queue", "unstick") not in standing(project.applied)
    fails.unlink()
    half = project.state()
    done = len(project.applied)
    status, said = project.deploy()
    assert status == 0, said
    queue = next(one for one in project.state()["resources"] if one["type"] == "google_cloud_tasks_queue")
    assert queue["instances"][0]["attributes"]["http_target"][0]["uri_override"][0]["host"] == "unstick-verify.run.app"
    assert {did for did, _, _ in project.applied[done:]} <= {"create", "update"}
    project.save_state(half | {"serial": project.state()["serial"]})
    project.type(block("production destroy"))
    assert project.state()["resources"] == []


def test_what_was_changed_by_hand_shows_in_the_plan(deployed: Project) -> None:
    """A public caller of `verify`, and a paused sweep: Terraform asks Google for both before it plans."""
    state = deployed.state()
    for resource in state["resources"]:
        for instance in resource["instances"]:
            if (resource["type"], instance.get("index_key")) == ("google_cloud_run_v2_service_iam_binding", "verify"):
                instance["attributes"]["members"].append("allUsers")
            if (resource["type"], instance.get("index_key")) == ("google_cloud_scheduler_job", "sweep"):
                instance["attributes"]["paused"] = True
    deployed.save_state(state)
    said = deployed.type(block("infra/package.py").replace(" apply", " plan"))
    assert '- "allUsers"' in said
    assert "paused = true -> false" in said
    assert "Plan: 0 to add, 2 to change, 0 to destroy." in said


def test_an_address_of_the_alerts_can_be_changed(deployed: Project) -> None:
    """Monitoring refuses to delete a channel that a policy uses, so the policies come first."""
    done = len(deployed.applied)
    deployed.change("main.tf", "oncall@example.com", "other@example.com")
    assert deployed.deploy()[0] == 0
    did = [(what, kind) for what, kind, _ in deployed.applied[done:]]
    assert did[0] == ("create", "google_monitoring_notification_channel")
    assert did[1:] == [("update", "google_monitoring_alert_policy")] * 6 + [("delete", "google_monitoring_notification_channel")]


def test_the_check_shows_the_answer_that_came_after_it(project: Project) -> None:
    """By the entry's own id: on a machine whose clock is behind, the former check's "ok" was shown."""
    assert project.type(block("answer()")) == "the findings of the new entry"
    first, run, *_ = project.called[-4:]
    assert (first.startswith("logging read "), run.startswith("scheduler jobs run unstick-check ")) == (True, True)
