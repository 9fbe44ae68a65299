"""Replace Unstick's token for Rundeck, every four weeks: issue a new one, try it, store it, revoke the old one.

RUNDECK_ADMIN_TOKEN=... .venv/bin/python infra/rundeck/rotate_token.py --config unstick.yaml

Needs the token of somebody who may create tokens for the user, since a token can't read or renew itself. The new token goes
where `rundeck.token` points: into the file, or as a new version into Secret Manager (with gcloud). If that is an environment
variable, the token is printed on stdout instead, and you revoke the old one later with --revoke ID. `rundeck.token_expires`
identifies the old token; without it nothing is revoked, and the ids are listed. A new token that doesn't work is revoked.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers, checks
from functions.config.loader import load_config
from functions.domain.model.runbooks import Restart
from functions.runtime.errors import ConfigError, Denied, DeniedCode, Unavailable
from functions.runtime.secrets import SecretRef

ADMIN, NEW = "RUNDECK_ADMIN_TOKEN", "UNSTICK_NEW_RUNDECK_TOKEN"
TIMEOUT_S = 60.0
TRIED = frozenset({checks.ANSWERS, checks.JOB, checks.MAY_RUN, checks.HISTORY})
"""What a token must be able to do."""

SECRET = re.compile(r"sm://([^/]+)/([^/]+)(?:/latest)?")


def list_tokens(to: answers.Connection, user: str) -> list[Mapping[str, Any]]:
    """The user's valid tokens. `GET tokens/USER` would list those that this user created for others."""
    rows = answers.ask(to, "GET", "tokens").json()
    tokens = [answers.mapping(row) for row in rows] if isinstance(rows, list) else []
    return [token for token in tokens if token.get("user") == user and token.get("expired") is not True]


def create_token(to: answers.Connection, user: str, role: str, duration: str) -> Mapping[str, Any]:
    """Create a token. Its secret is in `token`."""
    wanted = {"user": user, "roles": [role], "duration": duration}
    return answers.mapping(answers.ask(to, "POST", f"tokens/{quote(user, safe='')}", json=wanted).json())


def revoke_token(to: answers.Connection, number: str) -> None:
    """Revoke the token with this id."""
    answers.ask(to, "DELETE", f"token/{quote(number, safe='')}")


def try_token(to: answers.Connection, secret: str, jobs: Sequence[str]) -> None:
    """Raises Denied if the token can't do everything that Unstick needs."""
    os.environ[NEW] = secret
    tried = replace(to.settings, token=SecretRef(f"env://{NEW}"))
    for job in jobs:
        restart = Restart(job, max_run_s=float("inf"))
        for finding in checks.check(tried, restart, None, frozenset(), auto=False, timeout_s=to.left_s):
            if finding.what in TRIED and finding.ok is False:
                raise Denied(
                    answers.SYSTEM, f"the new token does not work: {finding.what}: no. {finding.detail}", remedy=finding.remedy
                )


def store(reference: str, secret: str) -> None:
    """Write the secret to where the reference points. Raises OSError or CalledProcessError."""
    if found := SECRET.fullmatch(reference):
        command = ["gcloud", "secrets", "versions", "add", found[2], f"--project={found[1]}", "--data-file=-"]
        subprocess.run(command, input=secret.encode(), check=True, stdout=sys.stderr)
        return
    path = Path(reference.removeprefix("file://"))
    before = path.stat()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # atomic for readers
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{secret}\n")
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def rotate(to: answers.Connection, reference: str, jobs: Sequence[str], expires: str, wanted: argparse.Namespace) -> None:
    """Issue, try, store, revoke. Raises Denied, Unavailable, OSError or CalledProcessError; then the old token still works."""
    before = list_tokens(to, wanted.user)
    new = create_token(to, wanted.user, wanted.role, wanted.duration)
    secret = str(new["token"])
    try:
        try_token(to, secret, jobs)
        if reference.startswith("env://"):
            print(secret)
        else:
            store(reference, secret)
    except (Denied, Unavailable, OSError):  # not if gcloud failed: the new token may be stored, and must then work
        with suppress(Denied, Unavailable):  # it expires by itself, and the first error says more
            revoke_token(to, str(new["id"]))
        raise
    ends = new.get("expiration")
    say(
        f"The new token works. Write into the configuration, and deploy it: token_expires: '{ends}'"
        if ends
        else "The new token works. Rundeck named no end: see it on the user's page, and write it into rundeck.token_expires."
    )
    old = [token for token in before if token.get("expiration") == expires]
    if len(old) == 1 and not reference.startswith("env://"):
        revoke_token(to, str(old[0]["id"]))
        say("The old token is revoked.")
    else:
        listed = ", ".join(f"{token['id']} (expires {token['expiration']})" for token in before) or "none"
        say(f"Revoke the old token by --revoke ID, once the new one is in use. {wanted.user}'s other tokens: {listed}.")


def explain(error: Denied, revoked: str) -> str:
    """What went wrong, for the token that asked: the administrator's, unless the new one was tried."""
    if error.code is DeniedCode.TOKEN:
        return f"Rundeck does not accept the token in {ADMIN}. Put one there that is valid; Unstick's own is not the cause."
    if error.code is DeniedCode.JOB and revoked:
        return f"There is no token {revoked}: it was revoked, or has expired. Nothing is left to do."
    return f"{error}. {error.remedy}"


def say(text: str) -> None:
    """Print to stderr: stdout is for the token."""
    print(text, file=sys.stderr)


def main() -> int:
    """Rotate the token, or revoke one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="unstick.yaml", help="the configuration (unstick.yaml)")
    parser.add_argument("--user", default="unstick", help="whose tokens they are (unstick)")
    parser.add_argument("--role", default="unstick", help="the new token's only role (unstick)")
    parser.add_argument("--duration", default="30d", help="how long the new token lasts, as Rundeck writes it (30d)")
    parser.add_argument("--revoke", metavar="ID", help="only revoke the token with this id")
    wanted = parser.parse_args()
    try:
        config = load_config(wanted.config)
        settings: Any = config.runner.adapter
        reference = settings.token.reference
        if reference.startswith("sm://") and not SECRET.fullmatch(reference):
            say(f"{reference} names one version. Write sm://PROJECT/NAME, so that new versions are read.")
            return 2
        if not os.environ.get(ADMIN):
            say(f"{ADMIN} is not set. Put the token of somebody there who may create tokens for {wanted.user}.")
            return 2
        to = answers.connect(replace(settings, token=SecretRef(f"env://{ADMIN}")), TIMEOUT_S)
        if wanted.revoke:
            revoke_token(to, wanted.revoke)
            say("The token is revoked.")
        else:
            jobs = list(dict.fromkeys(runbook.restart.job for runbook in config.rules.runbooks.values()))
            rotate(to, reference, jobs, settings.token_expires, wanted)
    except ConfigError as error:
        say("\n".join(error.problems))
        return 2
    except Denied as error:
        say(explain(error, wanted.revoke or ""))
        return 1
    except (Unavailable, OSError) as error:
        say(f"{error}. The old token still works.")
        return 1
    except subprocess.CalledProcessError:
        say("gcloud failed. Both tokens are valid: see whether the secret has a new version, and revoke the other one.")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
