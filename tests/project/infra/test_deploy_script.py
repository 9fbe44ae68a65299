"""deploy.sh against a gcloud whose cloud is a file. Terraform is a stand-in that only writes down what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.patience import PATIENCE_S
from tests.project.infra.project_copy import INFRA, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project(tmp_path) as found:
        found.give_all_secrets_a_value()
        yield found


def state_of(
    project: str = "my-project", region: str = "asia-northeast1", name: str = "unstick", **values: str
) -> dict[str, Any]:
    """A recorded state, as far as the script reads it."""
    deployment = {"project": project, "region": region, "name": name, "bucket": f"{project}-{name}-store", "queue": name}
    deployment |= {"source_bucket": f"{project}-{name}-source", "archive": f"{name}-0.zip"} | values
    account = {"project": project, "account_id": f"{name}-webhook"}
    queue = {"project": project, "location": region, "name": deployment["queue"]}
    kept = [("google_service_account", "role", "webhook", account), ("google_cloud_tasks_queue", "wakeups", None, queue)]
    resources = [
        {
            "mode": "managed", "module": "module.unstick", "type": kind, "name": resource,
            "instances": [({} if key is None else {"index_key": key}) | {"attributes": attributes}],
        }
        for kind, resource, key, attributes in kept
    ]  # fmt: skip
    return {"version": 4, "outputs": {"deployment": {"value": deployment}}, "resources": resources}


# --- what is asked for ----------------------------------------------------------------------------------------------------


def test_deploy_says_what_is_missing(project: Project) -> None:
    """Without a project, a command, a configuration or Terraform there is one line that says so, and nothing is called."""
    assert "PROJECT is not set" in project.deploy("apply", PROJECT="").stderr
    assert "infra/deploy.sh apply" in project.deploy().stderr
    assert "nothing.yaml is not there" in project.deploy("apply", CONFIG="nothing.yaml").stderr
    assert "ENV=Staging must have" in project.deploy("apply", ENV="Staging").stderr
    (project.programs / "terraform").unlink()
    only = project.folder / "only"
    only.mkdir()
    for name in ("bash", "dirname"):
        (only / name).symlink_to(str(shutil.which(name)))
    found = project.deploy("apply", PATH=f"{project.programs}:{only}")
    assert "terraform is not on the PATH" in found.stderr
    assert found.returncode == 2
    assert project.called == []


def test_config_puts_project_number_region_and_names_into_the_example(project: Project) -> None:
    """The file can be deployed once the systems are in it; an existing one is never overwritten; environments share nothing."""
    done = project.deploy("config", ENV="staging", REGION="europe-west4")
    assert done.returncode == 0, done.stderr
    text = (project.repository / "unstick.staging.yaml").read_text(encoding="utf-8")
    assert "queue: projects/my-project/locations/europe-west4/queues/unstick-staging\n" in text
    assert "public_url: https://unstick-staging-webhook-555.europe-west4.run.app" in text
    assert "service_account: unstick-staging-tasks@my-project.iam" in text
    assert "bucket: my-project-unstick-staging-store" in text
    assert text.count("sm://my-project/unstick-staging-") == text.count("sm://")
    assert "user: unstick\n" in text
    assert "example-project" not in text
    assert "is there already" in project.deploy("config", ENV="staging").stderr
    (project.repository / "unstick.production.yaml").unlink()
    project.deploy("config")
    text = (project.repository / "unstick.production.yaml").read_text(encoding="utf-8")
    assert "queue: projects/my-project/locations/asia-northeast1/queues/unstick\n" in text


def test_environments_share_neither_state_nor_names_nor_variables(project: Project) -> None:
    """Each has its prefix in the project's own bucket, its own data of Terraform, name, configuration and variables."""
    project.write_config("staging")
    (project.repository / "unstick.staging.tfvars").write_text("paused = true\n", encoding="utf-8")
    variables = []
    for environment in ("production", "staging"):
        done = project.deploy("plan", ENV=environment)
        assert done.returncode == 0, done.stderr
        variables.append(dict(line.split("=", 1) for line in Path(f"{project.calls}.variables").read_text().splitlines()))
    backends = [call.split("-backend-config=prefix=")[1] for call in project.calls_with("terraform", " init ")]
    assert backends == ["production", "staging"]
    assert len(project.calls_with(" init ", "-backend-config=bucket=my-project-unstick-state")) == 2
    assert [of["TF_VAR_name"] for of in variables] == ["unstick", "unstick-staging"]
    for name in ("TF_DATA_DIR", "TF_VAR_config_file", "TF_VAR_source_zip"):
        assert variables[0][name] != variables[1][name]
    assert [("-var-file" in call) for call in project.calls_with(" plan ")] == [False, True]


# --- the state is the one that was meant ---------------------------------------------------------------------------------


DANGEROUS = ("apply", "destroy")
SOMETHING_ELSE = [
    ({"project": "project-a"}, "is of project project-a, and project my-project was asked for"),
    ({"region": "europe-west4"}, "is of region europe-west4, and region asia-northeast1 was asked for"),
    ({"name": "second"}, "is of name second, and name unstick was asked for"),
]


@pytest.mark.parametrize(
    ("command", "there", "says"),
    [
        # Every command, and everything that can differ; all of both together takes long, and the check is the same for all.
        pytest.param(command, there, says, marks=[] if "project" in there and command in DANGEROUS else pytest.mark.long)
        for command in ("plan", "apply", "destroy", "rollback")
        for there, says in SOMETHING_ELSE
    ],
)
def test_a_state_of_something_else_is_never_touched(project: Project, command: str, there: dict[str, str], says: str) -> None:
    """With A in the state, a command for B once deleted 67 resources of A, secrets with their values included."""
    project.change(buckets={"my-project-unstick-state": "555"})
    for state in (state_of(**there), state_of(**there) | {"outputs": {}}):  # a deployment that stopped half-way has no outputs
        project.state.write_text(json.dumps(state), encoding="utf-8")
        found = project.deploy(command, "-auto-approve")
        assert (found.returncode, says in found.stderr) == (2, True), found.stderr
    assert not [call for call in project.called if " plan " in call or " apply " in call or "pause" in call or " add " in call]


def test_a_bucket_of_strangers_takes_no_state(project: Project) -> None:
    """Names of buckets are the whole world's, and a state has more in it than strangers should read or write."""
    project.change(buckets={"my-project-unstick-state": "666"})
    found = project.deploy("apply", "-auto-approve")
    assert "is in project 666, not in my-project (555)" in found.stderr
    assert not project.calls_with("terraform")


# --- a new project -------------------------------------------------------------------------------------------------------


def test_the_first_call_enables_apis_and_makes_the_bucket_without_a_question(project: Project) -> None:
    """Gcloud asks whether to enable an API; where nobody sees the question, it waits forever."""
    done = project.deploy("apply", "-auto-approve")
    assert done.returncode == 0, done.stderr
    assert {"cloudresourcemanager.googleapis.com", "cloudtasks.googleapis.com"} <= set(project.cloud["services"])
    assert project.called.index(project.calls_with("services enable")[0]) < project.called.index(
        project.calls_with("terraform")[0]
    )
    (made,) = project.calls_with("buckets create")
    assert "--public-access-prevention" in made
    assert project.calls_with("buckets update", "--versioning")
    project.calls.write_text("", encoding="utf-8")
    project.deploy("apply", "-auto-approve")
    assert not project.calls_with("services enable") + project.calls_with("buckets create")


NO_ANSWERS = [
    ("ERROR: (gcloud) There was a problem refreshing your current auth tokens: Reauthentication required.", "gcloud auth login"),
    ("ERROR: HTTPError 403: me@example.com does not have storage.buckets.get access (or it may not exist).", "lacks a role"),
    ("ERROR: HTTPError 401: Request had invalid authentication credentials.", "gcloud auth login"),
    ("ERROR: gcloud crashed (ConnectionError): Name or service not known", "gcloud crashed (ConnectionError)"),
]
ASKED = ("buckets describe gs://my-project-unstick-store", "tasks queues describe", "versions list")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        pytest.param(call, *answer, marks=[] if number == place else pytest.mark.long)
        for place, call in enumerate(ASKED)
        for number, answer in enumerate(NO_ANSWERS)
    ],
)
def test_what_gcloud_can_not_say_is_not_taken_for_missing(project: Project, call: str, error: str, says: str) -> None:
    """An expired login must not end in a new bucket, or in a new value for a secret that has one."""
    project.change(errors={call: error})
    found = project.deploy("apply", "-auto-approve", typed="new\n")
    assert found.returncode == 2
    assert error in found.stderr
    assert says in found.stderr
    assert not project.calls_with(" add ") + project.calls_with("terraform", " apply ")


ACCOUNTS = "my-project.iam.gserviceaccount.com"

# --- what exists already --------------------------------------------------------------------------------------------------


def adopted(project: Project) -> Any:
    variables = dict(line.split("=", 1) for line in Path(f"{project.calls}.variables.plan").read_text().splitlines())
    return json.loads(variables["TF_VAR_adopt"])


def test_what_destroy_left_and_secrets_made_before_are_imported(project: Project) -> None:
    """Each would end in 409 on every try."""
    project.change(
        buckets={"my-project-unstick-store": "555"}, queues={"unstick": "PAUSED"}, services=["cloudtasks.googleapis.com"]
    )
    done = project.deploy("apply", "-auto-approve")
    assert done.returncode == 0, done.stderr
    found = adopted(project)
    assert found["store"] == {"store": "my-project/my-project-unstick-store"}
    assert found["queue"] == {"queue": "projects/my-project/locations/asia-northeast1/queues/unstick"}
    assert found["secrets"]["unstick-signing-key"] == "projects/my-project/secrets/unstick-signing-key"
    assert len(found["secrets"]) == 5


def test_a_lost_state_is_found_again(project: Project) -> None:
    """By fixed names; dashboard, policies and channels, which Google names, by title and label. Another environment's stay. Of an
    apply that was cut off, which leaves things that exist and are not in the state, the other half is found.
    """
    path, titles = "projects/my-project/locations/asia-northeast1", ("Unstick (unstick)", "Unstick (unstick-staging)")
    labels = ("unstick_watched_no-sweep", "unstick_logged_errors", "unstick-staging_watched_no-sweep")
    monitored = {
        "monitoring dashboards list": [{"displayName": title} for title in titles],
        "alpha monitoring policies list": [{"userLabels": {"unstick": label}} for label in labels] + [{}],
        "beta monitoring channels list": [
            {"labels": {"email_address": "me@example.com"}, "userLabels": {"unstick": name}}
            for name in ("unstick", "unstick-staging")
        ] + [{"labels": {}}],
    }  # fmt: skip
    for call, found in monitored.items():
        kind = call.split()[-2]
        listed = [{"name": f"projects/555/{kind}/{number}"} | one for number, one in enumerate(found)]
        project.change(listed={call: [json.dumps(listed)]})
    project.change(
        listed={
            "iam service-accounts list": [*(f"unstick-{role}@{ACCOUNTS}" for role in ("webhook", "verify")), "other@example.com"],
            "functions list": [f"{path}/functions/unstick-webhook", f"{path}/functions/others"],
            "scheduler jobs list": [f"{path}/jobs/unstick-sweep"],
            "logging metrics list": ["unstick/decisions", "others"],
        },
        buckets={"my-project-unstick-source": "555"},
    )  # fmt: skip
    assert project.deploy("plan").returncode == 0
    found = adopted(project)
    accounts = {role: f"projects/my-project/serviceAccounts/unstick-{role}@{ACCOUNTS}" for role in ("verify", "webhook")}
    assert found["accounts"] == accounts
    assert found["functions"] == {"webhook": f"{path}/functions/unstick-webhook"}
    assert found["jobs"] == {"sweep": f"{path}/jobs/unstick-sweep"}
    assert found["metrics"] == {"decisions": "my-project unstick/decisions"}
    assert found["source"] == {"source": "my-project/my-project-unstick-source"}
    assert {kind: found[kind] for kind in ("dashboard", "watched", "logged", "channels")} == {
        "dashboard": {"overview": "projects/my-project/dashboards/0"},
        "watched": {"no-sweep": "projects/my-project/policies/0"},
        "logged": {"errors": "projects/my-project/policies/1"},
        "channels": {"me@example.com": "projects/my-project/channels/0"},
    }
    project.state.write_text(json.dumps(state_of()), encoding="utf-8")
    assert project.deploy("plan").returncode == 0
    half = adopted(project)
    assert list(half["accounts"]) == ["verify"], "webhook is in the state"
    assert (half["functions"], half["source"]) == (found["functions"], found["source"])


# --- secrets ---------------------------------------------------------------------------------------------------------------


def test_a_secret_without_a_value_is_asked_for_and_whoever_stops_goes_on_from_there(project: Project) -> None:
    """Before the functions are made, since those would be refused without."""
    project.change(secrets={"unstick-signing-key": [], "unstick-chat-ops": []})
    left = project.deploy("apply", "-auto-approve", typed="one  two \n\n")
    assert left.returncode == 2
    assert "unstick-chat-ops was left without a value" in left.stderr
    assert not project.calls_with("terraform", " apply ")
    assert project.cloud["secrets"]["unstick-signing-key"] == ["one  two "]


def test_what_is_typed_shows_nowhere(project: Project) -> None:
    """Neither on the terminal nor in what a program is called with, nor in what Terraform is given."""
    cloud = project.cloud
    del cloud["secrets"]["unstick-chat-ops"]
    project.cloud = cloud
    near, far = pty.openpty()
    with os.fdopen(near, "r+b", buffering=0) as terminal:
        with os.fdopen(far, "r+b", buffering=0) as theirs:
            asked = subprocess.Popen(
                project.command("apply", "-auto-approve"), env=project.environment(), stdin=theirs, stdout=theirs, stderr=theirs,
                start_new_session=True,
            )  # fmt: skip
        shown = b""
        while b"unstick-chat-ops: " not in shown:
            shown += terminal.read(4096)
        terminal.write(b"hunter2\n")
        with contextlib.suppress(OSError):  # so a terminal ends on Linux
            while more := terminal.read(4096):
                shown += more
        assert asked.wait(PATIENCE_S) == 0, shown
    assert project.cloud["secrets"]["unstick-chat-ops"] == ["hunter2"]
    assert project.cloud["replication"] == {"userManaged": {"replicas": [{"location": "asia-northeast1"}]}}
    written = Path(f"{project.calls}.variables").read_bytes() + project.calls.read_bytes()
    assert b"hunter2" not in shown + written


@pytest.mark.parametrize(("command", "actions"), [("plan", ["delete", "create"]), ("apply", ["delete"])])
def test_a_plan_that_deletes_a_secret_with_values_is_refused(project: Project, command: str, actions: list[str]) -> None:
    """A value is typed by people and is nowhere else. Without one a secret may go, and be made again."""
    change = {"actions": actions, "before": {"secret_id": "unstick-rundeck-token"}, "after": None}
    planned = {"resource_changes": [{"type": "google_secret_manager_secret", "change": change}]}
    project.planned.write_text(json.dumps(planned), encoding="utf-8")
    found = project.deploy(command, "-auto-approve")
    assert found.returncode == 2
    assert "would delete the secret unstick-rundeck-token and its values" in found.stderr
    assert "gcloud secrets delete unstick-rundeck-token --project=my-project" in found.stderr
    assert not project.calls_with("terraform", " apply ")
    project.planned.write_text(json.dumps(planned).replace("rundeck-token", "of-before"), encoding="utf-8")
    assert project.deploy(command, "-auto-approve").returncode == 0


BUCKET, CURRENT = "gs://my-project-unstick-source", f"unstick-{'c' * 64}.zip"

# --- destroy and rollback ---------------------------------------------------------------------------------------------------


def test_destroy_and_apply_ask_for_project_and_environment(project: Project) -> None:
    """A yes is typed by habit; a name is not. And a mistake in the file keeps nobody from taking it off."""
    project.change(buckets={"my-project-unstick-state": "555"})
    project.state.write_text(json.dumps(state_of()), encoding="utf-8")
    project.change(queues={"unstick": "RUNNING"}, services=["cloudtasks.googleapis.com"])
    for command, typed in (("apply", "yes\n"), ("destroy", "my-project\n"), ("destroy", "my-project/staging\n"), ("destroy", "")):
        found = project.deploy(command, typed=typed)
        assert "nothing was changed" in found.stderr
        assert "Type my-project/production to go on" in found.stdout
    assert not project.calls_with("terraform", " apply ") + project.calls_with("pause")
    project.write_config(**{"mode: observe": "mode: watch"})
    shutil.copy(INFRA / "package.py", project.repository / "infra")
    assert "mode is not one of" in project.deploy("apply", typed="my-project/production\n").stderr
    done = project.deploy("destroy", typed="my-project/production\n")
    assert done.returncode == 0, done.stderr
    assert project.cloud["queues"] == {"unstick": "PAUSED"}
    assert project.calls_with("terraform -chdir=infra/removal apply")
    assert "Left standing: gs://my-project-unstick-store" in done.stdout


@pytest.fixture
def former(project: Project, tmp_path: Path) -> tuple[str, Path]:
    """Digest and path of an archive from before CURRENT, which the state has."""
    path = tmp_path / "former.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("unstick.yaml", project.write_config().read_bytes())
        file.writestr("functions/__init__.py", '__version__ = "0.0.9"\n')
    project.change(buckets={"my-project-unstick-state": "555"})
    project.state.write_text(json.dumps(state_of(archive=CURRENT)), encoding="utf-8")
    return hashlib.sha256(path.read_bytes()).hexdigest(), path


def test_rollback_twice_goes_back_twice(project: Project, former: tuple[str, Path]) -> None:
    """Not forward to the archive that the first one left: it was bad."""
    digest, path = former
    names = (f"{CURRENT}#400", f"unstick-{'b' * 64}.zip#300", f"{CURRENT}#200")
    project.change(objects={f"{BUCKET}/{name}": str(path) for name in names})
    alone = project.deploy("rollback", "-auto-approve")
    assert "has no archive from before" in alone.stderr
    assert f"TO={'b' * 12}" in alone.stderr
    project.change(objects={f"{BUCKET}/unstick-{digest}.zip#100": str(path)})
    done = project.deploy("rollback", "-auto-approve")
    assert f"Going back to unstick-{digest}.zip" in done.stdout, done.stderr


def test_rollback_deploys_the_former_archive_with_its_configuration(project: Project, former: tuple[str, Path]) -> None:
    """In one command, without the sources of then: from the bucket, and only if it is what its name says."""
    digest, path = former
    project.write_config(**{"mode: observe": "mode: auto"})
    names = (f"{CURRENT}#300", f"unstick-{digest}.zip#200", f"unstick-{'a' * 64}.zip#100")
    project.change(objects={f"{BUCKET}/{name}": str(path) for name in names})
    done = project.deploy("rollback", typed="my-project/production\n")
    assert done.returncode == 0, done.stderr
    assert f"Going back to unstick-{digest}.zip, Unstick 0.0.9, with the configuration of then." in done.stdout
    variables = dict(line.split("=", 1) for line in Path(f"{project.calls}.variables.plan").read_text().splitlines())
    assert Path(variables["TF_VAR_source_zip"]).read_bytes() == path.read_bytes()
    assert "mode: observe" in Path(variables["TF_VAR_config_file"]).read_text(encoding="utf-8")
    project.calls.write_text("", encoding="utf-8")
    assert "is not what its name says" in project.deploy("rollback", TO="aaaa").stderr
    assert "no former archive that begins with ff" in project.deploy("rollback", TO="ff").stderr
    assert not project.calls_with("terraform", " plan ")


# --- the check from inside ---------------------------------------------------------------------------------------------------


def test_a_deployment_ends_with_a_check_from_inside(project: Project) -> None:
    """By the function's own network and identity; what fails is said with its remedy, and a CI sees it by the exit status."""
    remedy = "Check the firewall for tcp/15671 from the subnetwork of the functions."
    broken = {
        "system": "rabbitmq", "runbooks": ["mail"], "what": "RabbitMQ answers", "ok": False, "detail": "timed out",
        "remedy": remedy,
    }  # fmt: skip
    cloud = project.cloud
    cloud["logged"][0]["jsonPayload"]["findings"].append(broken)
    project.cloud = cloud
    done = project.deploy("apply", "-auto-approve")
    assert (done.returncode, len(project.calls_with("terraform", " apply "))) == (1, 1), done.stderr
    for text in ("ok      Store", "FAILED  rabbitmq       RabbitMQ answers [mail]: timed out", remedy, "1 ok, 1 failed, of 2."):
        assert text in done.stdout
    assert project.calls_with("scheduler jobs run unstick-check", "--location=asia-northeast1")
    (read,) = project.calls_with("logging read")
    assert 'service_name="unstick-report"' in read
    assert project.deploy("check").returncode == 1
