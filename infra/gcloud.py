"""Calls gcloud without prompts, and classifies its failures."""

from __future__ import annotations

import os
import re
import subprocess

NO_QUESTIONS = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
"""Otherwise gcloud asks whether to enable an API, and waits forever for an answer."""

LOGIN = re.compile(
    r"gcloud auth login|reauth|invalid_grant|\b401\b|UNAUTHENTICATED|not currently have an active account", re.IGNORECASE
)
DENIED = re.compile(r"PERMISSION_DENIED|\b403\b|not have (?:\S+ )*(?:permission|access)", re.IGNORECASE)
DISABLED = re.compile(r"SERVICE_DISABLED|has not been used in project|API .{0,60}not enabled|is not enabled", re.IGNORECASE)
ABSENT = re.compile(r"NOT_FOUND|\b404\b|not found|does not exist", re.IGNORECASE)


class GcloudError(Exception):
    """gcloud failed, and not because something doesn't exist. The text is for the person at the terminal."""


def run(*arguments: str, stdin: str = "") -> str:
    """The output of gcloud. Raises GcloudError with its own message and what to do."""
    output, error = _call(arguments, stdin)
    if error:
        raise GcloudError(_explained(arguments, error))
    return output


def find(*arguments: str) -> str | None:
    """The output of gcloud, or None if the object doesn't exist or its API is disabled."""
    output, error = _call(arguments, "")
    if not error:
        return output
    if DISABLED.search(error):
        return None
    if not LOGIN.search(error) and not DENIED.search(error) and ABSENT.search(error):
        return None
    raise GcloudError(_explained(arguments, error))


def _call(arguments: tuple[str, ...], stdin: str) -> tuple[str, str]:
    done = subprocess.run(
        ["gcloud", *arguments], input=stdin, capture_output=True, text=True, check=False, env=os.environ | NO_QUESTIONS
    )
    return done.stdout.strip(), "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _explained(arguments: tuple[str, ...], error: str) -> str:
    command = " ".join(["gcloud", *arguments])
    remedy = ""
    if LOGIN.search(error):
        remedy = "\nLog in: gcloud auth login, and for Terraform: gcloud auth application-default login"
    elif DENIED.search(error):
        remedy = "\nThe account that gcloud uses lacks a role; infra/README.md lists those of whoever deploys."
    return f"`{command}` failed:\n{error}{remedy}"
