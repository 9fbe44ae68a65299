"""Terraform's files are checked by Terraform itself.

An excerpt of the provider's schema (terraform_schema beside this file) takes the provider's place, so this needs no cloud.
"""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.system.infra.run_terraform import attached, run

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module in a copy of infra/, initialised once."""
    copy = tmp_path_factory.mktemp("terraform") / "infra"
    shutil.copytree(INFRA, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "docker", "grafana"))
    status, said = run(copy / "module", "init", "-backend=false", "-no-color")
    assert status == 0, said
    return copy / "module"


def test_terraform_finds_its_files_formatted_valid_and_as_the_assertions_say(module: Path) -> None:
    """`terraform fmt -check` and `test`, which validates first, pass, as they do for a user."""
    status, said = run(module.parent, "fmt", "-check", "-diff", "-recursive")
    assert status == 0, said
    status, said = run(module, "test", "-no-color")
    assert status == 0, said
    assert "0 failed" in said
    assert "skipped" not in said


def test_what_needs_something_comes_after_it(module: Path) -> None:
    """Cloud Run refuses a function whose account may not read what it mounts; a job that is refused raises an alarm."""
    status, said = run(module, "graph")
    assert status == 0, said
    arrows = set(re.findall(r'"([^"]+)" -> "([^"]+)"', said))
    for later, *earlier in (
        (
            "google_cloudfunctions2_function.entry",
            "google_secret_manager_secret_iam_member.accessor",
            "google_artifact_registry_repository_iam_member.builder",
        ),
        ("google_cloud_scheduler_job.job", "google_cloud_run_v2_service_iam_binding.invoker"),
    ):
        reached = {later}
        for _ in arrows:
            reached |= {other for one, other in arrows if one in reached}
        assert reached >= set(earlier), said


@pytest.mark.parametrize("name", [path.parent.name for path in INFRA.glob("examples/*/main.tf")])
def test_the_examples_plan(module: Path, tmp_path: Path, name: str) -> None:
    """As they stand, with Terraform's own kind of backend: there is no bucket here."""
    root, secrets = module.parent / "examples" / name, tmp_path / "secrets"
    config = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8").replace("example-project", "my-project")
    for file in ("unstick.zip", "unstick.zip.yaml"):
        (root / file).write_text(config, encoding="utf-8")
    secrets.write_text("\n".join(re.findall(r"sm://my-project/([\w-]+)", config)), encoding="utf-8")
    (root / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
    with attached(UNSTICK_FAKE_SECRETS=str(secrets)) as provider:
        for arguments in (["init", "-no-color"], ["plan", "-no-color"]):
            status, said = run(root, *arguments, provider=provider)
            assert status == 0, said
    assert " 0 to change, 0 to destroy." in said


def test_the_page_enables_each_api() -> None:
    """Terraform doesn't: it needs them to read the project, and to find the secrets while it plans."""
    page = (ROOT / "docs" / "google-cloud.md").read_text(encoding="utf-8")
    enabled = re.search(r"gcloud services enable \{([a-z,]+)\}\.googleapis\.com", page)
    assert enabled
    permissions = yaml.safe_load((INFRA / "deployer-role.yaml").read_text(encoding="utf-8"))["includedPermissions"]
    assert not [one for one in permissions if one.startswith("resourcemanager.")]
    apis = {permission.split(".")[0] for permission in permissions} - {"compute"}
    assert set(enabled[1].split(",")) == apis | {"cloudbuild", "cloudresourcemanager"}
