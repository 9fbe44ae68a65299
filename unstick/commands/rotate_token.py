"""rotate-token: a new token for Rundeck, tried and stored; the old one revoked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from functions.config.loader import load_config
from functions.runtime.errors import ConfigError
from functions.runtime.secrets import SecretRef
from unstick.output import Unusable, options, print_json, print_text, timeout_option

ADMIN = "env://RUNDECK_ADMIN_TOKEN"


@click.command("rotate-token")
@options
@click.option(
    "--admin", default=ADMIN, show_default=True, metavar="REFERENCE", help="Where the token of somebody who may make tokens is."
)
@click.option("--user", default="unstick", show_default=True, help="Whose tokens they are.")
@click.option("--role", default="unstick", show_default=True, help="The new token's only role.")
@click.option("--duration", default="30d", show_default=True, help="How long the new token lasts, as Rundeck writes it.")
@click.option("--show", is_flag=True, help="Print the new token instead of storing it; then revoke the old one by --revoke.")
@click.option("--revoke", "old", default="", metavar="ID", help="Only revoke the token with this id.")
@timeout_option(60.0, 600.0, "How long all of it may take.")
def rotate_token(*, config_path: str, as_json: bool, admin: str, old: str, timeout_s: float, **wanted: Any) -> None:
    """Replace Rundeck's token, every four weeks: issue a new one, try it, store it, revoke the old one.

    It stores the token where `rundeck.token` points: in the file, or as a new version in Secret Manager (with your own
    Google credentials). `rundeck.token_expires` identifies the old token; without it nothing is revoked, and the ids are
    listed. The new expiry date replaces the one in the configuration, if there is one, or is shown: deploy it. A new token
    that does not work is revoked, and nothing is changed.
    """
    from functions.adapters.runners.rundeck import tokens

    config = load_config(config_path)
    settings = config.runner.settings
    try:
        admin_token = SecretRef(admin)
    except ConfigError:
        raise Unusable("--admin is not env://NAME, file://PATH or sm://PROJECT/NAME. Never write a token there.") from None
    if old:
        tokens.revoke_token(settings, admin_token, old, timeout_s=timeout_s)
        print_json({"revoked": old}) if as_json else print_text("The token is revoked.")
        return
    jobs = tuple(dict.fromkeys(runbook.restart.job for runbook in config.rules.runbooks.values()))
    done = tokens.rotate(settings, jobs, admin_token, timeout_s=timeout_s, **wanted)
    written = write_expiry(Path(config_path), done.new.expires)
    if as_json:
        token = {"token": done.token} if done.token else {}
        ids = {"id": done.new.id, "revoked": done.revoked.id if done.revoked else None, "left": [one.id for one in done.left]}
        print_json({"expires": done.new.expires, "configuration_written": written, **ids, **token})
        return
    if done.token:
        click.echo(done.token)
    print_text(f"The new token works and expires {done.new.expires}.", err=bool(done.token))
    for line in _next_steps(done, config_path, written=written):
        print_text(f"→ {line}", "  ", "    ", err=bool(done.token))


def _next_steps(done: Any, config_path: str, *, written: bool) -> list[str]:
    steps = []
    if done.token:
        steps.append("Set it where `rundeck.token` points, and run `unstick check`.")
    if not written:
        steps.append(f"Write into {config_path} under `rundeck`: token_expires: '{done.new.expires}'")
    steps.append("Deploy the configuration, so that people are told before the token expires.")
    if done.revoked is None:
        listed = ", ".join(f"{one.id} (expires {one.expires})" for one in done.left) or "none"
        steps.append(f"Revoke the old token by --revoke ID. The user's other tokens: {listed}.")
    return steps


def write_expiry(path: Path, expires: str) -> bool:
    """Whether `token_expires` stood in the file, and now has this value."""
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(r"(\btoken_expires:\s*)(['\"]?)[0-9T:Z+.-]+\2", rf"\g<1>'{expires}'", text)
    if count == 1:
        path.write_text(changed, encoding="utf-8")
    return count == 1
