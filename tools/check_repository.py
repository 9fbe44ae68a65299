r"""Part of `make lint`: checks that what pages name exists, and rules of the code that no linter has.

Each check returns one line for each problem.
"""

import ast
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from functions.domain.model.codes import Reason
from tools import catalogues, weight
from tools.docs import configuration_page, costs_page, gallery
from tools.docs.pages import PAGES, ROOT, anchors, blocks, links, named, prose, sections, text_of
from unstick.main import command_line

DOCS = ROOT / "docs"
MOST_ENTRIES = 12
REGISTRY = re.compile(
    rb"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org|static\.crates\.io|repo1?\.maven|--(?:extra-)?"
    rb"index-url |--find-links "
)
HTTP_CLIENTS = {"requests", "urllib3", "httpx"}
SAYS = {"Denied": 1, "Unavailable": 1, "Unknown": 0, "hold": 1, "escalate": 2, "Decision": 2}
"""Constructors of card parts -> the position of the text among the arguments; as keyword see SAYS_BY_NAME."""
SAYS_BY_NAME = {"detail", "remedy", "refusal", "why"}
ONLY_LOGGED = re.compile(
    r"^(adapters/(chats|grafana|schedulers)|cli|config)/|^(application/signing|bootstrap|entrypoints/verify)\.py$|"
    r"/(check|configuration_check)s\.py$|/(registry)\.py$"
)
"""Their errors appear in logs and on the command line, which are in English."""


def broken_links() -> list[str]:
    """Links inside the repository to a file or a heading that doesn't exist."""
    found = []
    for page, link in [(one, link) for one in PAGES for link in links(one)]:
        parts = urlsplit(link)
        if parts.scheme or link.startswith("//"):
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append(f"{named(page)}: {link}: no such file")
        elif parts.fragment and target.suffix == ".md" and unquote(parts.fragment) not in anchors(target):
            found.append(f"{named(page)}: {link}: no such heading")
    return found


def code(page: Path) -> str:
    """Everything that readers may type: shell blocks and inline code."""
    shell = [body for info, body in blocks(page) if info.split(" ")[0] in ("sh", "bash", "console")]
    return "\n".join([*shell, *re.findall(r"`([^`\n]+)`", prose(page))])


def unknown_targets() -> list[str]:
    """Unknown `make x`, and Makefile targets without a description."""
    makefile = text_of(ROOT / "Makefile")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    found = [f"Makefile: {name} has no help" for name in set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - targets]
    for page in PAGES:
        typed = code(page)
        found += [f"{named(page)}: make {name}" for name in re.findall(r"\bmake ([a-z-]+)\b", typed) if name not in targets]
    return found


def unknown_commands() -> list[str]:
    """Commands and options that the command line doesn't have."""
    found = []
    for page in PAGES:
        for line in re.findall(r"^(?:.*(?:&&|\||unstick))? *unstick +(?!unstick\b)([a-z][^\n|#;&>`]*)", code(page), re.MULTILINE):
            name, *rest = line.split()
            command: Any = command_line.commands.get(name)
            if not isinstance(command, click.Command):
                found.append(f"{named(page)}: no command {name}")
                continue
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            options = [word.partition("=")[0] for word in rest if word.startswith("--")]
            found += [f"{named(page)}: {name} has no {option}" for option in options if option not in known]
    return found


def reasons_left_out() -> list[str]:
    """Reason codes without their place in the API's description, or a section, which cards link to in their reader's
    language."""
    described = text_of(DOCS / "openapi.yaml").splitlines()
    found = [f"docs/openapi.yaml: no `{reason.value}`" for reason in Reason if f"        - {reason.value}" not in described]
    for name, heading in (("operations.md", "Reason codes"), ("operations.ja.md", "理由コード")):
        there = set(sections(DOCS / name, 3, heading))
        found += [f"docs/{name}: no section `{reason.value}`" for reason in Reason if f"`{reason.value}`" not in there]
    return found


def unlogged_lines() -> list[str]:
    """Lines that the page about the log describes, and that nothing logs."""
    texts = "\n".join(text_of(path) for path in [ROOT / "main.py", *sorted((ROOT / "functions").rglob("*.py"))])
    told = sections(DOCS / "operations" / "log.md", 2)["Lines that need you"]
    return [line for line in re.findall(r"^\| `([^`]+)` \|", told, re.MULTILINE) if line not in texts]


def stale_pages() -> list[str]:
    """Generated pages that `make docs` would change."""
    pages = (configuration_page, costs_page)
    found = [named(page.PAGE) for page in pages if page.PAGE.read_text(encoding="utf-8") != page.page()]
    schema = json.loads(configuration_page.SCHEMA.read_text(encoding="utf-8"))
    found += [named(configuration_page.SCHEMA)] * (schema != configuration_page.schema())
    return found + [named(path) for path in gallery.problems()]


def unknown_tests() -> list[str]:
    """Tests that a page names as proof and that don't exist."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {name for path in files for name in re.findall(r"^def (test_\w+)", text_of(path), re.MULTILINE)}
    there |= {path.stem for path in files} | {reason.value for reason in Reason}  # a reason code that begins like a test
    return [
        f"{named(page)}: {name}"
        for page in PAGES
        for name in re.findall(r"\b(test_[a-z0-9_]+)\b", text_of(page))
        if name not in there
    ]


def crowded_folders() -> list[str]:
    """Folders with too many entries to take in at a glance. Recordings don't count: only tests read them."""
    entries: dict[Path, set[str]] = {}
    for path in [path for top in ("functions", "unstick", "testbed", "tests") for path in (ROOT / top).rglob("*")]:
        inside = path.relative_to(ROOT)
        left_out = {"__pycache__", "recordings"} & set(inside.parts) or path.name in ("__init__.py", "conftest.py")
        if path.is_file() and not left_out:
            for folder, entry in pairwise(reversed([inside, *inside.parents][:-1])):
                entries.setdefault(folder, set()).add(entry.name)
    return [f"{folder}: {len(names)} entries" for folder, names in entries.items() if len(names) > MOST_ENTRIES]


def other_doors_to_http() -> list[str]:
    """HTTP clients outside http_client.py, which has the size limits and redaction for all, and exchange.py, its deadline."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "functions").rglob("*.py"))
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Import | ast.ImportFrom) and path.name not in ("http_client.py", "exchange.py")
        for name in (node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name,)
        if name.partition(".")[0] in HTTP_CLIENTS
    ]


def untranslated() -> list[str]:
    """Plain English strings that would reach a card untranslated: the arguments of SAYS must be a Text or data."""
    root = ROOT / "functions"
    files = [path for path in sorted(root.rglob("*.py")) if not ONLY_LOGGED.search(path.relative_to(root).as_posix())]
    found = []
    for path, node in [(file, node) for file in files for node in ast.walk(ast.parse(text_of(file)))]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYS:
            place = SAYS[node.func.id]
            said = [*node.args[place : place + 1], *(keyword.value for keyword in node.keywords if keyword.arg in SAYS_BY_NAME)]
            found += [
                f"{path.relative_to(ROOT)}:{one.lineno}"
                for one in said
                if isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and " " in str(one.value))
            ]
    return found


def addresses() -> list[str]:
    """Files that name a package registry or a folder of somebody's machine."""
    folders = [f"{folder}/".encode() for folder in (ROOT, Path.home()) if len(folder.parts) > 1]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    contents = {name: (ROOT / name).read_bytes() for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()}
    contents.pop("tools/check_repository.py", None)
    return [
        name for name, content in contents.items() if REGISTRY.search(content) or any(folder in content for folder in folders)
    ]


CHECKS = {
    "broken links": broken_links,
    "unknown targets": unknown_targets,
    "unknown commands": unknown_commands,
    "reason codes that are left out": reasons_left_out,
    "lines of docs/operations/log.md that are never logged": unlogged_lines,
    "generated pages that `make docs` would change": stale_pages,
    "unknown tests": unknown_tests,
    f"folders with more than {MOST_ENTRIES} entries": crowded_folders,
    "imports of an HTTP client outside functions/runtime/http_client.py and exchange.py": other_doors_to_http,
    "texts that have to be a Text": untranslated,
    "heavier than tools/weight.py allows": lambda: weight.problems(ROOT),
    "addresses of a package registry, or folders of this machine": addresses,
}


def main() -> int:
    """Print all problems."""
    problems = {title: found for title, check in CHECKS.items() if (found := check())}
    for title, found in problems.items():
        print(f"{title}:", *sorted(set(found)), sep="\n  ")
    if fuzzy := catalogues.to_look_at():
        title = "translations whose English text was corrected (before a release, look at each and remove `#, fuzzy`):"
        print(title, *fuzzy, sep="\n  ")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
