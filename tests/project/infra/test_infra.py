"""Terraform's files are checked by Terraform itself.

An excerpt of the provider's schema (terraform_schema beside this file) takes the provider's place, so this needs no cloud.
"""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.project.infra.run_terraform import DATA, attached, run

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"
MODULE = INFRA / "module"


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/ in whose module Terraform was initialised, once."""
    copy = tmp_path_factory.mktemp("terraform") / "infra"
    shutil.copytree(INFRA, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "docker", "grafana"))
    status, said = run(copy / "module", "init", "-backend=false", "-no-color")
    assert status == 0, said
    return copy


@pytest.fixture
def module(initialised: Path, tmp_path: Path) -> Path:
    """A copy for one test to change."""
    copy = tmp_path / "infra"
    shutil.copytree(initialised, copy, ignore=shutil.ignore_patterns(DATA))
    data = initialised / "module" / DATA
    if data.exists():
        (copy / "module" / DATA).symlink_to(data)
    return copy / "module"


def test_terraform_finds_its_files_formatted_valid_and_as_the_assertions_say(module: Path) -> None:
    """`terraform fmt -check` and `test`, which validates first, pass, as they do for a user."""
    status, said = run(module.parent, "fmt", "-check", "-diff", "-recursive")
    assert status == 0, said
    status, said = run(module, "test", "-no-color")
    assert status == 0, said
    assert "0 failed" in said
    assert "skipped" not in said


Edits = list[tuple[str, str, str, str]]
PLAN: Edits = [
    ("store.tf", '"ABANDON"', '"DELETE"', "keeps incidents and queue"),
    ("queue.tf", "max_attempts  = -1", "max_attempts  = 5", "A wake-up comes until it is taken"),
    ("functions.tf", 'available_cpu                    = "1"', 'available_cpu                    = "0.5"', "a whole CPU"),
    ("functions.tf", 'mount_path = "${local.secrets_dir}/${var.project}/', 'mount_path = "${local.secrets_dir}/',
        "What tells a forged request"),
    ("store.tf", 'type = "Delete"', 'type = "delete"', "The action is spelled Delete."),
    ("accounts.tf", "buckets/gcf-v2-sources-", "buckets/", "no incidents, nobody else's functions"),
    ("schedule.tf", "paused           = false", "paused           = true", "paused by hand shows"),
]  # fmt: skip
ACCESS: Edits = [
    ("accounts.tf", 'report  = "roles/storage.objectUser"', 'report  = "roles/storage.objectAdmin"', "read and write documents"),
    ("accounts.tf", 'each.key == "webhook" ? ["allUsers"]', 'each.key != "report" ? ["allUsers"]', "The webhook, and it alone"),
    ("accounts.tf", 'for_each = toset(["webhook", "verify"])', 'for_each = toset(["webhook", "report"])', "and nobody else"),
    ("secrets.tf", "fetch_secret_data = false", "fetch_secret_data = true", "a value in its state"),
    ("config.tf", 'grafana      = ["webhook", "report"]', 'grafana      = ["webhook", "verify", "report"]',
        "verify never that of"),
]  # fmt: skip
BACKOFF: Edits = [("queue.tf", 'max_backoff   = "60s"', 'max_backoff   = "1m"', "A wake-up comes until it is taken")]
"""(file, what stands there, a wrong edit that the provider takes, of the assertion that must find it)"""


@pytest.mark.long
@pytest.mark.parametrize(("asserted_in", "edits"), [("access", ACCESS), ("plan", PLAN), ("plan", BACKOFF)])
def test_wrong_edits_that_the_provider_takes_are_found_by_the_assertions(module: Path, asserted_in: str, edits: Edits) -> None:
    """The assertions are about what would fail or hurt only in the cloud, so each must be able to fail.

    Terraform takes seconds for a file of assertions, so all its edits are made at once.
    """
    for file, right, wrong, _ in edits:
        text = (module / file).read_text(encoding="utf-8")
        assert right in text
        (module / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    status, said = run(module, "test", "-no-color", f"-filter=tests/{asserted_in}.tftest.hcl")
    assert status != 0
    failed = " ".join(said.replace("│", " ").split()).split("Test assertion failed")[1:]
    for _, _, wrong, assertion in edits:
        assert [one for one in failed if assertion in one], f"nothing found {wrong}: {said}"
    assert len(failed) < 2 * len(edits)


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


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("queue.tf", 'http_method = "POST"', 'http_method = "SEND"', "http_method: 'SEND' is not one of"),
        ("store.tf", "google_storage_bucket", "google_storage_bukket", "does not support resource type"),
        ("accounts.tf", "account_id   =", "id           =", "account_id"),
    ],
)
def test_what_the_provider_would_refuse_is_refused(module: Path, file: str, right: str, wrong: str, said: str) -> None:
    """The excerpt of the schema stands in for the provider's own check of values, resources and attributes."""
    text = (module / file).read_text(encoding="utf-8")
    assert right in text
    (module / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    status, shown = run(module, "validate", "-no-color")
    assert status != 0
    assert said in " ".join(shown.replace("│", " ").split())


def test_the_root_is_valid(module: Path) -> None:
    """The one that docs/google-cloud.md deploys with; test_deployment.py plans and applies it."""
    for arguments in (["init", "-backend=false", "-no-color"], ["validate", "-no-color"]):
        status, said = run(module.parent, *arguments)
        assert status == 0, said


@pytest.mark.parametrize("name", [path.parent.name for path in INFRA.glob("examples/*/main.tf")])
def test_the_examples_plan(module: Path, tmp_path: Path, name: str) -> None:
    """They call the module as other roots do: with for_each, which a provider block inside would forbid."""
    root, secrets = module.parent / "examples" / name, tmp_path / "secrets"
    config = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8").replace("example-project", "my-project")
    for file, prefix in (("unstick", "unstick"), ("unstick.production", "unstick"), ("unstick.staging", "unstick-staging")):
        own = re.sub(r"unstick(?=-(?:store|tasks|webhook)|\n)", prefix, config)
        (root / f"{file}.yaml").write_text(own, encoding="utf-8")
        (root / f"{file}.zip").write_text(own, encoding="utf-8")
    secrets.write_text("\n".join(re.findall(r"sm://my-project/([\w-]+)", config)), encoding="utf-8")
    with attached(UNSTICK_FAKE_SECRETS=str(secrets)) as provider:
        for arguments in (["init", "-no-color"], ["plan", "-no-color"]):
            status, said = run(root, *arguments, provider=provider)
            assert status == 0, said
    assert " 0 to change, 0 to destroy." in said


SECRET = r"a'b \"c\" $HOME `d` \e * é"


def test_the_commands_for_the_secrets_store_what_was_typed(tmp_path: Path) -> None:
    """Each printed line, pasted into a shell as it is, hands gcloud the value without quotes, line break or anything else."""
    outputs = (MODULE / "outputs.tf").read_text(encoding="utf-8")
    output = re.search(r'^output "secrets" \{.*?^\}\n', outputs, re.MULTILINE | re.DOTALL)
    assert output
    named = 'variable "project" { default = "my-project" }\nlocals { secrets = toset(["first", "second"]) }\n'
    (tmp_path / "main.tf").write_text(named + output[0], encoding="utf-8")
    for arguments in (["init"], ["apply", "-auto-approve"]):
        status, said = run(tmp_path, *arguments, "-no-color")
        assert status == 0, said
    (tmp_path / "gcloud").write_text('#!/bin/sh\necho "$*" >>calls\ncat >>values\necho "|" >>values\n', encoding="utf-8")
    (tmp_path / "gcloud").chmod(stat.S_IRWXU)
    status, printed = run(tmp_path, "output", "-no-color", "-raw", "secrets")
    assert status == 0, printed
    for line in printed.splitlines():
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, input=f"{SECRET}\n", text=True, check=True)
    assert (tmp_path / "calls").read_text(encoding="utf-8").splitlines() == [
        f"secrets versions add {name} --project=my-project --data-file=-" for name in ("first", "second")
    ]
    assert (tmp_path / "values").read_text(encoding="utf-8") == f"{SECRET}|\n" * 2
