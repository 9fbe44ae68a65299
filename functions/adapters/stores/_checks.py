"""`check` of every store: it is writable, and a second writer is turned away."""

import contextlib
import secrets
from collections.abc import Callable

from functions.application.ports import Finding, Store, finding_of_error
from functions.runtime.errors import Conflict, Denied, Unavailable


def check(store: Store, what: str, delete: Callable[[str], None], remedies: tuple[str, str], timeout_s: float) -> list[Finding]:
    """Save a document of its own twice, list all, delete it. Two remedies: if the second save succeeds, if nothing answers."""
    key = f"check-{secrets.token_hex(8)}"
    try:
        store.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(delete, key)
            store.list_documents(timeout_s=timeout_s)
            with contextlib.suppress(Conflict):
                store.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
                return [Finding(what, ok=False, detail="it let a second writer through", remedy=remedies[0])]
    except (Denied, Unavailable) as error:
        return [finding_of_error(what, error, remedies[1])]
    return [Finding(what, ok=True, detail="writable, and a second writer is turned away")]
