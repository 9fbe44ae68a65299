"""What the deployer is said to need is what the module and the page take."""

import re
from pathlib import Path

import yaml

from tools.docs.pages import sections

ROOT = Path(__file__).resolve().parents[3]
MODULE, PAGE, ROLE = ROOT / "infra" / "module", ROOT / "docs" / "google-cloud.md", ROOT / "infra" / "deployer-role.yaml"
WITHOUT = {"google_project_iam_member"}
"""Only without build_account: the page says what it takes then."""
ELSEWHERE = {
    *("services enable", "storage buckets create", "storage buckets update", "projects describe"),
    *("secrets describe", "secrets create", "secrets versions add"),
    *("iam roles create", "iam service-accounts create", "projects add-iam-policy-binding"),
    *("storage rm", "tasks queues delete", "run services update"),
    *("storage cp", "storage ls"),
}
"""Commands that somebody with more rights types, for project, secrets and role; what the page offers beside, without the role for
it; and what google_storage_bucket_object needs anyway."""


def test_the_deployers_role_has_what_is_called_and_nothing_else() -> None:
    """Instead of Owner: each permission stands below the resources of the module or the command of the page that need it."""
    text = "".join(path.read_text(encoding="utf-8") for path in MODULE.glob("*.tf"))
    resources = set(re.findall(r'^(?:resource|data) "(google_\w+)"', text, re.MULTILINE))
    policies = sections(MODULE / "README.md", 2)["Policies of the organisation"]
    typed = re.findall(r"gcloud ((?:[a-z][a-z-]* )+)", PAGE.read_text(encoding="utf-8") + policies)
    # The commands of networks are for whoever has the network.
    commands = {one for one in typed if not one.startswith(("compute ", "auth "))}
    reasons = re.findall(r"^# (.*)\n-", ROLE.read_text(encoding="utf-8"), re.MULTILINE)
    needed = {one for reason in reasons for one in reason.split(", ")}
    called = {one.removeprefix("gcloud ") for one in needed if one.startswith("gcloud ")}
    assert (needed - {f"gcloud {one}" for one in called}) | WITHOUT == resources
    assert [one for one in commands if not any(one.startswith(f"{name} ") for name in called | ELSEWHERE)] == []
    assert [name for name in called if not any(one.startswith(f"{name} ") for one in commands)] == []
    role = permissions()
    assert len(role) == len(set(role))
    assert not [one for one in role if one.startswith("resourcemanager.")]


def test_the_page_enables_each_api() -> None:
    """Terraform doesn't: it needs them to read the project, and to find the secrets while it plans."""
    enabled = re.search(r"gcloud services enable \{([a-z,]+)\}\.googleapis\.com", PAGE.read_text(encoding="utf-8"))
    assert enabled
    apis = {permission.split(".")[0] for permission in permissions()} - {"compute"}
    assert set(enabled[1].split(",")) == apis | {"cloudbuild", "cloudresourcemanager"}


def permissions() -> list[str]:
    """Those of the role."""
    return list(yaml.safe_load(ROLE.read_text(encoding="utf-8"))["includedPermissions"])
