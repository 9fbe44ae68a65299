"""What `make weight` counts."""

from pathlib import Path

from tools import weight


def test_reachable_is_what_the_deployment_imports(tmp_path: Path) -> None:
    """Lazily too, and its own adapters; neither what is for type checkers, nor `report`, nor another system's adapter."""
    files = {
        "main": "from functions import a\nfrom functions.entrypoints import report_request",
        "functions/a": "if TYPE_CHECKING:\n    import functions.types\ndef f():\n    import functions.b",
        "functions/b": "from functions.adapters.chats import chatwork, slack",
        **dict.fromkeys(("functions/types", "functions/entrypoints/report_request", "functions/unused"), ""),
        **dict.fromkeys((f"functions/adapters/{name}" for name in ("chats/slack", "chats/chatwork", "stores/cloud_storage")), ""),
        "functions/adapters/chats/checks": "",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    imported = {"main", "functions.a", "functions.b", "functions.adapters.chats.slack", "functions.adapters.stores.cloud_storage"}
    assert set(weight.reachable(tmp_path)) == imported
