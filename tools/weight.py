"""Measure the project's size: `make weight`, or `make weight ARGS='--base REV'` for before and after.
`make lint` fails over a limit, or where a row is over it already, over what it weighed then.

How each row is counted:
- Code lines are lines with code on them: no blank lines, comments, docstrings (a string that stands alone as a statement) or
  imports.
- Reachable are the files that main.py's `webhook` and `verify` import, directly or through others, at the top or inside
  functions, but not under TYPE_CHECKING. Of the adapters only one deployment's count (DEPLOYMENT): the others aren't loaded
  there. main.py counts in full. LEFT_OUT says what isn't followed, and why.
- Lines of a folder are all lines of all its *.py files. Chats, runners and symptoms count apart from the rest of functions/.
- Packages are the pinned ones in requirements.txt, the function's own.
- Keys are the dotted names in unstick.schema.json that have a value and no further names below them; the same key of several
  chats counts once. NOT_COUNTED says what else is no key.
- Words are those of all *.md, as `wc -w` counts them. Of README.md those outside its code blocks.
- A function's lines go from `def` to its last one, docstring included. Functions of main.py, functions/ and unstick/ count,
  nested ones too.
- Arguments are counted without self and cls; * and ** are one each.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import subprocess
import tarfile
import tempfile
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENT = {
    "runners": "rundeck",
    "symptoms": "rabbitmq",
    "chats": "slack",
    "stores": "cloud_storage",
    "schedulers": "cloud_tasks",
}
"""Kind of adapter -> the one that counts. Files with a leading underscore are shared; they count if they are imported."""

LEFT_OUT = (
    "functions.entrypoints.report_request",  # the third entry point
    "functions.entrypoints.people.incidents",  # pages for reading: no alert, wake-up or answer loads them
    "functions.config.loader",  # the archive for the cloud contains the checked configuration instead
)
"""Modules that are not followed. The adapters' `checks` modules aren't either: only `report` and the command line call them."""

NOT_COUNTED = {"type", "days", "from", "to"}
"""A chat's `type` names its adapter, as `local` does a store. Days and times are one value: a freeze window."""

MOST_LINES = 40
MOST_FILE_LINES = 400
MOST_ARGUMENTS = 6
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}
SHIPPED = {
    "chats": {"_plain_text", "_shared", "_slack_answers", "apprise", "chatwork", "console", "google_chat", "slack", "__init__"},
    "runners": {"rundeck", "command", "__init__"},
    "symptoms": {"rabbitmq", "prometheus", "__init__"},
}
"""Kind of adapter -> what is shipped of it. An adapter more, of whoever writes one, has limits of its own and counts in no other
row."""
Row = tuple[str, int, int | None]

STANDS: dict[str, int] = {
    "code lines reachable from webhook and verify": 8_078,
    "code lines of functions/": 11_068,
    "lines of functions/ without chats, runners and symptoms": 13_859,
    "lines of the shipped chats, runners and symptoms": 3_896,
    "lines of tests/": 30_544,
    "lines of testbed/": 4_958,
}
"""Rows that are still over their limit, and what they may weigh until then. Amounts only go down."""


def code_lines(path: Path) -> int:
    """Lines with code on them."""
    text = path.read_bytes()
    lines: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def _is_docstring(node: ast.AST) -> TypeGuard[ast.Expr]:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def file_of(root: Path, module: str) -> Path | None:
    """The file of one of our modules; None if there is none."""
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere. `from a import b` gives both a and a.b."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        waiting += ast.iter_child_nodes(node)


def is_deployed(module: str) -> bool:
    """Whether a module belongs to the deployment: not an adapter of another system, nor `report`."""
    match module.split("."):
        case ["functions", "adapters", *_] if module.endswith("checks"):
            return False
        case ["functions", "adapters", kind, name, *_] if kind in DEPLOYMENT:
            return name.startswith("_") or name == DEPLOYMENT[kind]
    return not module.startswith(LEFT_OUT)


def reachable(root: Path) -> dict[str, Path]:
    """Module -> file of everything that the deployment's `webhook` and `verify` import."""
    found: dict[str, Path] = {}
    waiting = ["main", *(f"functions.adapters.{kind}.{name}" for kind, name in DEPLOYMENT.items())]
    while waiting:
        module = waiting.pop()
        path = file_of(root, module)
        if path is None or module in found or not is_deployed(module):
            continue
        found[module] = path
        package, _, _ = module.rpartition(".")
        waiting += [*imports(path), *([package] if package else ())]
    return found


def python_files(root: Path, *folders: str) -> list[Path]:
    """All *.py below these folders, sorted."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py") if "__pycache__" not in path.parts)


def count_lines(paths: Iterable[Path]) -> int:
    """Lines as counted by `wc -l`."""
    return sum(path.read_bytes().count(b"\n") for path in paths)


def functions_of(root: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(place, function) of each function in the deployed code and the operator's tool."""
    for path in [root / "main.py", *python_files(root, "functions", "unstick")]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(root)}:{node.lineno} {node.name}", node


def count_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Arguments that a caller sees."""
    its = function.args
    named = [argument.arg for argument in (*its.posonlyargs, *its.args)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + len(its.kwonlyargs) + bool(its.vararg) + bool(its.kwarg)


def too_long(root: Path) -> list[str]:
    """Functions over MOST_LINES, each with its length."""
    sizes = {place: (node.end_lineno or 0) - node.lineno + 1 for place, node in functions_of(root)}
    return [f"{place}: {lines} lines" for place, lines in sizes.items() if lines > MOST_LINES]


def too_wide(root: Path) -> list[str]:
    """Functions with more than MOST_ARGUMENTS, each with their number."""
    counts = {place: count_arguments(node) for place, node in functions_of(root)}
    return [f"{place}: {count} arguments" for place, count in counts.items() if count > MOST_ARGUMENTS]


def keys_of(schema: dict[str, Any], place: str = "") -> set[str]:
    """The keys that a part of unstick.schema.json has, as dotted names."""
    found: set[str] = set()
    for name, part in schema.get("properties", {}).items():
        if name not in NOT_COUNTED:
            found |= keys_of(part, f"{place}.{name}") or {f"{place}.{name}"}
    inside = [schema.get("items"), schema.get("additionalProperties"), schema.get("then"), *schema.get("allOf", ())]
    return found.union(*(keys_of(part, place) for part in inside if isinstance(part, dict)))


def count_words(root: Path, *folders: str) -> int:
    """Words of all *.md below these folders, as `wc -w` counts them."""
    pages = {path for folder in folders for path in (root / folder).rglob("*.md")}
    return sum(len(path.read_text(encoding="utf-8").split()) for path in pages)


def count_prose(page: Path) -> int:
    """Words of a page outside its code blocks."""
    return len(re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE).split())


def split_functions(root: Path) -> tuple[list[Path], list[Path], dict[str, list[Path]]]:
    """The files of functions/: those of the core, of the shipped adapters, and of each adapter more."""
    core: list[Path] = []
    shipped: list[Path] = []
    more: dict[str, list[Path]] = {}
    for path in python_files(root, "functions"):
        adapter = path.relative_to(root).with_suffix("").parts[2:4]
        if path.relative_to(root).parts[1] != "adapters" or adapter[0] not in SHIPPED:
            core.append(path)
        elif adapter[1] in SHIPPED[adapter[0]]:
            shipped.append(path)
        else:
            more.setdefault("/".join(adapter), []).append(path)
    return core, shipped, more


def rows(root: Path) -> list[Row]:
    """(what, amount, limit) of a tree. `make lint` fails over a limit; limits only go down."""
    deployed = set(reachable(root).values())
    pins = [line for line in (root / "requirements.txt").read_text().splitlines() if line[:1].isalnum()]
    core, shipped, more = split_functions(root)
    functions = [*core, *shipped]
    limits = {"unstick": 1_900, "tests": 30_000, "testbed": 4_900, "tools": 2_000, "demo": 1_100, "bench": 1_000, "infra": 420}
    return [
        ("code lines reachable from webhook and verify", sum(map(code_lines, deployed)), 7_700),
        ("code lines of functions/", sum(map(code_lines, functions)), 10_600),
        ("lines of functions/ without chats, runners and symptoms", count_lines(core), 13_000),
        ("lines of the shipped chats, runners and symptoms", count_lines(shipped), 3_850),
        *((f"lines of the adapter {name}", count_lines(paths), 400) for name, paths in sorted(more.items())),
        ("files of functions/", len(functions), 115),
        *((f"lines of {name}/", count_lines(python_files(root, name)), limit) for name, limit in limits.items()),
        ("packages in requirements.txt", len(pins), 43),
        ("words of docs/, infra/ and examples/", count_words(root, "docs", "infra", "examples"), 26_000),
        ("words of README.md outside its code", count_prose(root / "README.md"), 750),
        ("keys of unstick.yaml", len(keys_of(json.loads((root / "unstick.schema.json").read_text()))), 100),
        (f"functions over {MOST_LINES} lines", len(too_long(root)), 0),
        (f"functions with more than {MOST_ARGUMENTS} arguments", len(too_wide(root)), 0),
        (
            f"files of functions/ over {MOST_FILE_LINES} lines",
            sum(count_lines([path]) > MOST_FILE_LINES for path in functions),
            0,
        ),
    ]


def problems(root: Path) -> list[str]:
    """Rows that are heavier than they may be, and what STANDS no longer needs."""
    heavy = [
        f"{what}: {amount:,}, at most {max(limit, STANDS.get(what, 0)):,}"
        for what, amount, limit in rows(root)
        if limit is not None and amount > max(limit, STANDS.get(what, 0))
    ]
    within = {what for what, amount, limit in rows(root) if limit is not None and amount <= limit}
    return heavy + [f"{what}: within its limit, take it out of STANDS" for what in STANDS if what in within]


def rows_of(revision: str) -> list[Row]:
    """The rows of a commit."""
    files = subprocess.run(["git", "archive", "--format=tar", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="data")
        return rows(Path(folder))


def table(now: list[Row], before: list[Row] | None) -> str:
    """The rows as a table in Markdown."""
    head = ["", *(["before"] if before else []), "now", "at most", ""]
    lines = [head, ["---", *(["---:"] * (len(head) - 2)), "---"]]
    for at, (name, count, most) in enumerate(now):
        earlier = [f"{before[at][1]:,}"] if before else []
        over = most is not None and count > most
        lines.append([name, *earlier, f"{count:,}", "" if most is None else f"{most:,}", "over" if over else ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Print the table, and the functions that are too long or take too many arguments."""
    parser = argparse.ArgumentParser(description="Measure how heavy the project is.")
    parser.add_argument("--base", metavar="REV", help="a commit to compare with")
    parser.add_argument("--files", action="store_true", help="list the reachable files with their code lines")
    arguments = parser.parse_args()
    print(table(rows(ROOT), rows_of(arguments.base) if arguments.base else None))
    for title, places in ((f"Over {MOST_LINES} lines", too_long(ROOT)), (f"Over {MOST_ARGUMENTS} arguments", too_wide(ROOT))):
        if places:
            print(f"\n{title}:", *places, sep="\n  ")
    if arguments.files:
        print("\nReachable:")
        for path in sorted(set(reachable(ROOT).values())):
            print(f"{code_lines(path):6}  {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
