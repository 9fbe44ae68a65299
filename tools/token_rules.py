"""Writes functions/runtime/token_rules.json from the rules of gitleaks: `python -m tools.token_rules [gitleaks.toml]`.

Without a file, Go's module proxy gives the pinned version, and Go checks its hash. See docs/decisions.md."""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import re2

ROOT = Path(__file__).parents[1]
Rule = tuple[tuple[str, ...], str, int]
DATA = ROOT / "functions" / "runtime" / "token_rules.json"
MODULE, VERSION = "github.com/zricethezav/gitleaks/v8", "v8.30.1"
SUM = "h1:PmEvCfVI7ti9dV3s5aMZUY7sS2GxRvG3yzih7E+cS3w="
LEFT_OUT = {
    "generic-api-key": "any name with any value; it needs gitleaks' entropy, and masking.py has such names",
    "curl-auth-header": "masking.py masks whole headers",
    "curl-auth-user": "masking.py has curl's options",
    "kubernetes-secret-yaml": "the whole manifest; masking.py has its keys",
    "private-key": "masking.py masks half a key too",
    "jwt": "masking.py has them",
    "jwt-base64": "a word that begins like one is enough",
}
"""Rules that aren't taken, and why."""

KNOWN_FORMS = {
    *("anthropic-admin-api-key", "anthropic-api-key", "artifactory-api-key", "aws-access-token", "gcp-api-key"),
    *("github-app-token", "github-fine-grained-pat", "github-oauth", "github-pat", "github-refresh-token"),
    *("gitlab-cicd-job-token", "gitlab-deploy-token", "gitlab-feed-token", "gitlab-incoming-mail-token"),
    *("gitlab-kubernetes-agent-token", "gitlab-oauth-app-secret", "gitlab-pat", "gitlab-ptt", "gitlab-rrt"),
    *("gitlab-runner-authentication-token", "gitlab-scim-token", "microsoft-teams-webhook", "openai-api-key"),
    *("pypi-upload-token", "sendgrid-api-token", "slack-bot-token", "slack-legacy-bot-token", "slack-user-token"),
    "vault-batch-token",
}
"""Rules whose tokens a form of masking.py, which is wider, masks entirely."""

NAMED = re.compile(r"(?P<before>.*?\[\\w\.-\]\{0,50\}\?\(\?:)(?P<names>.*)(?P<after>\)\(\?:\[ \\t\\w\.-\]\{0,20\}\).*)")
"""The pattern of a rule for a token that only a name before it gives away."""

EXTRA_WORDS = {"atlassian-api-token": ("atatt3",)}
"""Words that a rule's tokens contain and that it lacks."""


def _download() -> Path:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "go.mod").write_text("module rules\ngo 1.22\n", encoding="utf-8")
        command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["Sum"] != SUM:
        raise SystemExit(f"{MODULE} {VERSION} has the hash {found['Sum']}, expected {SUM}: check the release, then change SUM.")
    return Path(found["Dir"]) / "config" / "gitleaks.toml"


def read_rules(text: str) -> list[Rule]:
    """(keywords, of which one must be in the text in lower case; pattern; group that is the secret) of each rule."""
    rules = []
    for rule in tomllib.loads(text)["rules"]:
        if "regex" not in rule or rule["id"] in LEFT_OUT or rule["id"] in KNOWN_FORMS or "path" in rule:
            continue
        pattern = rule["regex"]
        groups = re2.compile(pattern).groups
        group = rule.get("secretGroup", 1 if groups else 0)
        rules.append(((*(word.lower() for word in rule.get("keywords", ())), *EXTRA_WORDS.get(rule["id"], ())), pattern, group))
    return sorted(join_names(rules))


def join_names(rules: list[Rule]) -> Iterator[Rule]:
    """The rules, one for all names of services whose tokens look alike."""
    alike: dict[tuple[str, str, int], list[tuple[tuple[str, ...], str]]] = {}
    for words, pattern, group in rules:
        parts = NAMED.fullmatch(pattern)
        before, names, after = parts.group("before", "names", "after") if parts else (pattern, "", "")
        alike.setdefault((before, after, group), []).append((words, names))
    for (before, after, group), some in alike.items():
        either = sorted({word for words, _ in some for word in words})
        yield tuple(either), before + "|".join(dict.fromkeys(names for _, names in some)) + after, group


def write(file: Path) -> None:
    """Write the data from a gitleaks.toml, beside whose folder the licence lies. Each rule has its line."""
    licence = (file.parents[1] / "LICENSE").read_text(encoding="utf-8")
    head = {"source": f"gitleaks {VERSION}, config/gitleaks.toml, by tools/token_rules.py", "licence": " ".join(licence.split())}
    lines = ",\n".join(json.dumps(rule, ensure_ascii=False) for rule in read_rules(file.read_text(encoding="utf-8")))
    DATA.write_text(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "rules": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else _download())
