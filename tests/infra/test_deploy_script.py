"""The scripts around Terraform, run: the archive of the functions, and deploy.sh."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"

# --- the archive -------------------------------------------------------------------------------------------------------


def package(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(INFRA / "package.py"), *arguments], capture_output=True, text=True, check=False)


def test_the_archive_has_the_same_bytes_each_time_and_only_what_the_function_needs(tmp_path: Path) -> None:
    """A plan without a change of the program is empty; tests and infrastructure are not deployed."""
    config = tmp_path / "mine.yaml"
    config.write_bytes((INFRA / "unstick.cloud.yaml").read_bytes())
    made = []
    for number in (1, 2):
        os.utime(config, (number * 1e9, number * 1e9))
        to = tmp_path / f"{number}.zip"
        done = package("--config", str(config), "--to", str(to))
        assert done.returncode == 0, done.stderr
        made.append(to.read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        names = archive.namelist()
        assert archive.read("unstick.yaml") == config.read_bytes()
    assert {"main.py", "requirements.txt", "functions/model.py", "functions/adapters/stores/cloud_storage.py"} <= set(names)
    assert {name.split("/")[0] for name in names} == {
        "main.py", "requirements.txt", "unstick.yaml", "unstick.checked.json", "functions",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name]


def test_an_archive_without_a_configuration_is_not_built(tmp_path: Path) -> None:
    """The mistake is said in one line, and nothing is left that could be deployed."""
    done = package("--config", str(tmp_path / "none.yaml"), "--to", str(tmp_path / "a.zip"))
    assert done.returncode == 1
    assert "none.yaml is missing" in done.stderr
    assert not (tmp_path / "a.zip").exists()


def test_a_faulty_configuration_is_not_built(tmp_path: Path) -> None:
    """All its mistakes are told in seconds, not by a deployment that fails after minutes; a local store is one, too."""
    config, to = tmp_path / "mine.yaml", tmp_path / "a.zip"
    written = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8")
    for wrong, says in (
        (written.replace("mode: observe", "mode: watch").replace("tolerance: 5m", "tolerance: 5 minutes"), "mode is not one of"),
        (
            written.replace("cloud_storage:\n    bucket: example-project-unstick-store", "local: {path: unstick.db}"),
            "store is local",
        ),
        ("", "is empty"),
        (written.replace("time_zone: Asia/Tokyo", "time_zone: posix/Asia/Tokyo"), "time_zone is"),
    ):
        config.write_text(wrong, encoding="utf-8")
        done = package("--config", str(config), "--to", str(to))
        assert done.returncode == 1
        assert "nothing was built" in done.stderr
        assert says in done.stderr
        assert "\nmine.yaml:" in done.stderr
        assert "Traceback" not in done.stderr
        assert not to.exists()
    config.write_bytes(written.encode("utf-16"))
    assert "not UTF-8" in package("--config", str(config), "--to", str(to)).stderr


def test_a_python_without_the_packages_is_told_which_has_them(tmp_path: Path) -> None:
    """The archive is built by what `make setup` made; a bare Python says so."""
    command = [sys.executable, "-I", "-S", str(INFRA / "package.py"), "--config", str(INFRA / "unstick.cloud.yaml"), "--to"]
    done = subprocess.run([*command, str(tmp_path / "a.zip")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No module named 'msgspec'" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


# --- deploy.sh, against programs that only write down what they were asked ------------------------------------------------

TERRAFORM = """#!/bin/sh
echo "terraform $*" >>"$CALLS"
env | grep '^TF_VAR_' | sort >"$CALLS.variables"
case "$*" in
  *console*)
    read -r what
    case "$what" in join*) echo '"first-secret second-secret"' ;; *) echo "\\"the-${what#local.}\\"" ;; esac ;;
  *"state list"*) cat "$STATE" ;;
esac
"""
GCLOUD = """#!/bin/sh
echo "gcloud $*" >>"$CALLS"
case "$*" in
  *"projects describe"*) echo 555 ;;
  *"versions list"*)
    if [ -e "$VALUES/denied" ]; then echo "You do not have permission" >&2; exit 1; fi
    if [ -e "$VALUES/$4" ]; then cat "$VALUES/$4"; fi ;;
  *"versions add"*) cat >"$VALUES/$4.added"; echo ENABLED >"$VALUES/$4" ;;
  *" describe "*) exit "$MISSING" ;;
esac
"""


SECRETS = 'google_secret_manager_secret.named["first-secret"]\ngoogle_secret_manager_secret.named["second-secret"]\n'


class Deployment:
    def __init__(self, folder: Path) -> None:
        self.repository, self.calls, self.state = folder / "repository", folder / "calls", folder / "state"
        (self.repository / "infra").mkdir(parents=True)
        for name in ("main.py", "requirements.txt"):
            shutil.copy(ROOT / name, self.repository)
        shutil.copytree(ROOT / "functions", self.repository / "functions", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("deploy.sh", "package.py", "unstick.cloud.yaml"):
            shutil.copy(INFRA / name, self.repository / "infra")
        self.programs = folder / "programs"
        self.programs.mkdir()
        for name, text in (("terraform", TERRAFORM), ("gcloud", GCLOUD)):
            (self.programs / name).write_text(text, encoding="utf-8")
            (self.programs / name).chmod(stat.S_IRWXU)
        self.values = folder / "values"
        self.values.mkdir()
        for name in ("first-secret", "second-secret"):
            (self.values / name).write_text("ENABLED\n", encoding="utf-8")
        self.state.write_text(SECRETS, encoding="utf-8")
        self.calls.write_text("", encoding="utf-8")

    def environment(self, missing: str = "1", **variables: str) -> dict[str, str]:
        env = {"PATH": f"{self.programs}:/usr/bin:/bin", "CALLS": str(self.calls), "STATE": str(self.state), "MISSING": missing}
        return env | {"VALUES": str(self.values), "PYTHON": sys.executable, "PROJECT": "my-project"} | variables

    def command(self, *arguments: str) -> list[str]:
        return ["bash", str(self.repository / "infra" / "deploy.sh"), *arguments]

    def deploy(self, *arguments: str, typed: str = "", missing: str = "1", **variables: str) -> subprocess.CompletedProcess[str]:
        env = self.environment(missing, **variables)
        return subprocess.run(self.command(*arguments), env=env, input=typed, capture_output=True, text=True, check=False)

    @property
    def called(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment(tmp_path)
    shutil.copy(INFRA / "unstick.cloud.yaml", made.repository / "unstick.production.yaml")
    return made


def test_deploy_says_what_is_missing(deployment: Deployment) -> None:
    """Without a project, a command, a configuration or Terraform there is one line that says so, and nothing is called."""
    assert "PROJECT is not set" in deployment.deploy("apply", PROJECT="").stderr
    assert "infra/deploy.sh apply" in deployment.deploy().stderr
    assert "nothing.yaml is not there" in deployment.deploy("apply", CONFIG="nothing.yaml").stderr
    (deployment.programs / "terraform").unlink()
    found = deployment.deploy("apply", PATH=str(deployment.programs) + ":" + str(_only(deployment, "bash", "dirname")))
    assert "terraform is not on the PATH" in found.stderr
    assert found.returncode == 2
    assert deployment.called == []


def test_the_python_that_setup_made_is_taken(deployment: Deployment) -> None:
    """Whoever names none gets that of .venv; without it the system's, which says what it lacks."""
    bare = deployment.programs / "python3"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n', encoding="utf-8")
    bare.chmod(stat.S_IRWXU)
    found = deployment.deploy("plan", PYTHON="")
    assert found.returncode == 1
    assert "make setup" in found.stderr
    (deployment.repository / ".venv" / "bin").mkdir(parents=True)
    taken = deployment.repository / ".venv" / "bin" / "python"
    taken.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    taken.chmod(stat.S_IRWXU)
    found = deployment.deploy("plan", PYTHON="")
    assert found.returncode == 0, found.stderr
    assert "terraform -chdir=infra plan" in deployment.called


def test_a_mistake_in_the_file_keeps_nobody_from_taking_it_off(deployment: Deployment) -> None:
    """`apply` refuses it before Terraform is asked; `destroy` goes on."""
    file = deployment.repository / "unstick.production.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("mode: observe", "mode: watch"), encoding="utf-8")
    found = deployment.deploy("apply")
    assert (found.returncode, deployment.called) == (1, [])
    assert "mode is not one of" in found.stderr
    found = deployment.deploy("destroy", "-auto-approve")
    assert found.returncode == 0, found.stderr
    assert "terraform -chdir=infra destroy -auto-approve -auto-approve" in deployment.called


def _only(deployment: Deployment, *names: str) -> Path:
    """A folder with these programs alone, so that a terraform of this machine is not found."""
    folder = deployment.programs.parent / "only"
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def test_config_puts_project_number_and_region_into_the_example(deployment: Deployment) -> None:
    """The file can be deployed after the systems were put in, and an existing one is never overwritten."""
    done = deployment.deploy("config", CONFIG="new.yaml", REGION="europe-west4")
    assert done.returncode == 0, done.stderr
    text = (deployment.repository / "new.yaml").read_text(encoding="utf-8")
    assert "queue: projects/my-project/locations/europe-west4/queues/unstick" in text
    assert "public_url: https://unstick-webhook-555.europe-west4.run.app" in text
    assert "example-project" not in text
    assert "is there already" in deployment.deploy("config", CONFIG="new.yaml").stderr


def test_apply_builds_the_archive_and_hands_terraform_what_it_needs(deployment: Deployment) -> None:
    """A first deployment imports nothing: neither bucket nor queue is there yet."""
    done = deployment.deploy("apply", "-auto-approve")
    assert done.returncode == 0, done.stderr
    archive = deployment.repository / "build" / "unstick.zip"
    assert archive.is_file()
    assert deployment.called[-1] == "terraform -chdir=infra apply -auto-approve"
    assert not [call for call in deployment.called if " import " in call]
    variables = Path(f"{deployment.calls}.variables").read_text(encoding="utf-8")
    assert "TF_VAR_project=my-project\nTF_VAR_region=asia-northeast1\n" in variables
    assert f"TF_VAR_source_zip={archive}" in variables
    assert f"TF_VAR_config_file={deployment.repository}/unstick.production.yaml" in variables


def test_apply_asks_for_the_secrets_that_have_no_value(deployment: Deployment) -> None:
    """Before the functions are made, since those would be refused without; whoever stops is asked for the rest the next time."""
    deployment.state.write_text("", encoding="utf-8")
    for path in deployment.values.iterdir():
        path.unlink()
    left = deployment.deploy("apply", "-auto-approve", typed="one  two \n\n")
    assert left.returncode == 2
    assert "second-secret was left without a value" in left.stderr
    assert not [call for call in deployment.called if call.endswith("infra apply -auto-approve")]
    deployment.state.write_text(SECRETS, encoding="utf-8")
    (deployment.values / "second-secret").write_text("DISABLED\nDESTROYED\n", encoding="utf-8")
    done = deployment.deploy("apply", "-auto-approve", typed="three\n")
    assert done.returncode == 0, done.stderr
    added = {path.name: path.read_text(encoding="utf-8") for path in deployment.values.glob("*.added")}
    assert added == {"first-secret.added": "one  two ", "second-secret.added": "three"}
    first, second = (f'-target=google_secret_manager_secret.named["{name}-secret"]' for name in ("first", "second"))
    assert [call.removeprefix("terraform -chdir=infra ") for call in deployment.called if " apply " in call] == [
        f"apply {first} {second} -auto-approve",
        f"apply {second} -auto-approve",
        "apply -auto-approve",
    ]


def test_what_is_typed_shows_nowhere(deployment: Deployment) -> None:
    """Neither on the terminal nor in what a program is called with."""
    (deployment.values / "second-secret").unlink()
    near, far = pty.openpty()
    with os.fdopen(near, "r+b", buffering=0) as terminal:
        with os.fdopen(far, "r+b", buffering=0) as theirs:
            asked = subprocess.Popen(
                deployment.command("apply", "-auto-approve"), env=deployment.environment(), stdin=theirs, stdout=theirs,
                stderr=theirs, start_new_session=True,
            )  # fmt: skip
        shown = b""
        while b"second-secret: " not in shown:
            shown += terminal.read(4096)
        terminal.write(b"hunter2\n")
        with contextlib.suppress(OSError):  # so a terminal ends on Linux
            while more := terminal.read(4096):
                shown += more
        assert asked.wait(30) == 0, shown
    assert (deployment.values / "second-secret.added").read_bytes() == b"hunter2"
    assert b"hunter2" not in shown + deployment.calls.read_bytes()


def test_a_gcloud_that_can_not_say_is_no_secret_without_a_value(deployment: Deployment) -> None:
    """An expired login must not end in a new value for a secret that has one."""
    (deployment.values / "denied").touch()
    found = deployment.deploy("apply", "-auto-approve", typed="new\n")
    assert found.returncode == 2
    assert "You do not have permission" in found.stderr
    assert "can't see the values of the secret first-secret" in found.stderr
    assert not [call for call in deployment.called if " add " in call or " apply" in call]


def test_a_saved_plan_is_not_applied_while_secrets_are_missing(deployment: Deployment) -> None:
    """Terraform would apply all of it, whatever target is named beside it."""
    (deployment.values / "second-secret").unlink()
    found = deployment.deploy("apply", "saved.plan")
    assert found.returncode == 2
    assert "these secrets have no value: second-secret" in found.stderr
    assert not [call for call in deployment.called if " apply" in call]


def test_apply_takes_up_what_destroy_left_standing(deployment: Deployment) -> None:
    """The archive of incidents and the queue's name survive a destroy and a new deployment."""
    assert deployment.deploy("apply", "-auto-approve", missing="0").returncode == 0
    imported = [call.split(" import -input=false ")[1] for call in deployment.called if " import " in call]
    assert imported == [
        "google_storage_bucket.store my-project/the-bucket",
        "google_cloud_tasks_queue.wakeups projects/my-project/locations/asia-northeast1/queues/the-queue",
    ]


def test_destroy_asks_first_and_keeps_the_incidents(deployment: Deployment) -> None:
    """Bucket and queue are let go of before anything is destroyed; without the project's name nothing happens."""
    deployment.state.write_text("google_storage_bucket.store\ngoogle_cloud_tasks_queue.wakeups\n", encoding="utf-8")
    assert "nothing was changed" in deployment.deploy("destroy", typed="no\n").stderr
    assert not [call for call in deployment.called if "destroy" in call or "state rm" in call or "pause" in call]
    done = deployment.deploy("destroy", typed="my-project\n")
    assert done.returncode == 0, done.stderr
    changed = [call for call in deployment.called if any(word in call for word in ("pause", "state rm", "destroy"))]
    assert changed == [
        "gcloud tasks queues pause the-queue --project=my-project --location=asia-northeast1",
        "terraform -chdir=infra state rm google_cloud_tasks_queue.wakeups",
        "terraform -chdir=infra state rm google_storage_bucket.store",
        "terraform -chdir=infra destroy -auto-approve",
    ]
    assert "Left standing: gs://the-bucket" in done.stdout
