"""Puts a new value where a reference to a secret points. Only the command line does that.

No value stands in an error, a log or an argument.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from functions.runtime import secrets
from functions.runtime.errors import Denied, Unavailable

SYSTEM = "secrets"
_REMEDIES = {
    403: "Give yourself roles/secretmanager.secretVersionAdder on the secret (gcloud auth application-default login).",
    404: "Create the secret first; infra/ does.",
}
_VERSIONED = re.compile(r"sm://([^/]+)/([^/]+)(?:/latest)?")


def require_writable(reference: str) -> None:
    """Raises Denied, with a remedy, where `write` could not put a new value."""
    if reference.startswith("env://"):
        remedy = "Show the new value with --show and set it yourself, or keep the secret in a file or in Secret Manager."
        raise Denied(SYSTEM, f"{reference} can't be changed from here", code="env", remedy=remedy)
    if reference.startswith("sm://") and not _VERSIONED.fullmatch(reference):
        remedy = "Write sm://PROJECT/NAME into the configuration, so that new versions are read."
        raise Denied(SYSTEM, f"{reference} names one version", code="version", remedy=remedy)
    path = Path(reference.removeprefix("file://"))
    if reference.startswith("file://") and not os.access(path.parent, os.W_OK):
        remedy = "Run this as a user who may write there."
        raise Denied(SYSTEM, f"no right to write in {path.parent}", code="permission", remedy=remedy)


def write(reference: str, value: bytes) -> None:
    """Replace the file in one step, or add a version in Secret Manager. Raises Denied or Unavailable."""
    require_writable(reference)
    if found := _VERSIONED.fullmatch(reference):
        _add_version(reference, f"projects/{found[1]}/secrets/{found[2]}", value)
        return
    try:
        _replace(Path(reference.removeprefix("file://")), value)
    except OSError as error:
        raise Unavailable(SYSTEM, f"{reference} can't be written ({type(error).__name__})") from None


def _replace(path: Path, value: bytes) -> None:
    """With the mode and owner that the file had; readers see the old value or the new one, never half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(value + b"\n")
            if path.exists():
                before = path.stat()
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _add_version(reference: str, secret: str, value: bytes) -> None:
    from functions.runtime.google_cloud import translate_errors

    with translate_errors(f"Secret Manager ({reference})", _REMEDIES):
        request = {"parent": secret, "payload": {"data": value}}
        secrets.secret_manager_client().add_secret_version(request=request, timeout=30.0, retry=None)
