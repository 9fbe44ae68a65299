"""What `make weight` counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import weight


def test_code_lines_are_no_blanks_comments_docstrings_or_imports(tmp_path: Path) -> None:
    """A string counts where it is a value, with each of its lines."""
    path = tmp_path / "a.py"
    path.write_text(
        '"""Doc.\n\nMore."""\n\nimport os\n\n# why\nX = """a\nb"""  # so\n\n\ndef f(\n    a,\n):\n    """Doc."""\n    return a\n'
    )
    assert weight.code_lines(path) == 6


@pytest.mark.parametrize(
    ("signature", "count"), [("a, b", 2), ("self, a", 1), ("cls, *, a", 1), ("a, /, b, *c, d, **e", 5), ("", 0)]
)
def test_arguments_are_those_that_a_caller_sees(tmp_path: Path, signature: str, count: int) -> None:
    """Without self and cls; * and ** are one each."""
    (tmp_path / "main.py").write_text(f"def f({signature}):\n    pass\n")
    ((_, function),) = weight.functions_of(tmp_path)
    assert weight.count_arguments(function) == count


def test_reachable_is_what_the_deployment_imports(tmp_path: Path) -> None:
    """Lazily too, and its own adapters; neither what is for type checkers, nor `report`, nor another system's adapter."""
    files = {
        "main": "from functions import a\nfrom functions.entrypoints import report_request",
        "functions/a": "if TYPE_CHECKING:\n    import functions.types\ndef f():\n    import functions.b",
        "functions/b": "from functions.adapters.chats import slack, teams",
        **dict.fromkeys(("functions/types", "functions/entrypoints/report_request", "functions/unused"), ""),
        **dict.fromkeys((f"functions/adapters/{name}" for name in ("chats/slack", "chats/teams", "stores/cloud_storage")), ""),
        "functions/adapters/chats/checks": "",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = {"main", "functions.a", "functions.b", "functions.adapters.chats.slack", "functions.adapters.stores.cloud_storage"}
    assert set(weight.reachable(tmp_path)) == found
