"""link, backup and restore: for the machine that Unstick runs on."""

import time
from pathlib import Path

import click
from msgspec.structs import replace

from functions.adapters import sqlite
from functions.adapters.stores.local import LocalStore
from functions.application import signing
from functions.application.announce import turn
from functions.bootstrap import Adapters
from functions.config.settings import LOCAL, Named
from functions.domain.model.observations import Pause
from functions.entrypoints.people.incidents import ALL, LINK, PATH
from unstick import output
from unstick.commands.switch import current_user

SIGNED_IN_S = 12 * 3600.0
COPY_S = 60.0
NOT_LOCAL = "the store is no file of this machine. A bucket keeps old versions by itself (docs/guarantees.md)."


@click.command()
@output.options
def link(*, config_path: str, as_json: bool) -> None:
    """Print a link that opens /incidents in a browser.

    Whoever has it may read all incidents and answer what waits, for twelve hours. It is signed with the signing key, so only
    those who can read that can make one.
    """
    ports = output.load_adapters(config_path)
    if not ports.rules.public_url:
        raise output.Unusable("public_url is not set, so there is no address to open. Write for example http://127.0.0.1:8080.")
    until = time.time() + SIGNED_IN_S
    token = signing.sign_reading(ports.config.signing_keys, ALL, until)
    url = f"{ports.rules.public_url}{PATH}?{LINK}={token}"
    if as_json:
        return output.print_json({"url": url, "until": until})
    click.echo(url)
    return output.print_text(f"It works until {output.local_time(until, ports.rules)} ({ports.rules.time_zone}).", err=True)


@click.command()
@output.options
@click.argument("file", type=click.Path(path_type=Path))
def backup(*, config_path: str, as_json: bool, file: Path) -> None:
    """Copy the local store to FILE, while Unstick runs. Only its owner can read the copy.

    The signing key is a file of its own, and so are other files that `scheduler` and `command` name.
    """
    path = _store_path(output.load_with_store(config_path))
    if file.exists():
        raise output.Unusable(f"{file} exists. Name a new file.")
    sqlite.copy(path, str(file), timeout_s=COPY_S)
    size = file.stat().st_size
    output.print_json({"file": str(file), "bytes": size}) if as_json else output.print_text(f"{file}: {size:,} bytes")


@click.command()
@output.options
@click.argument("file", type=click.Path(path_type=Path))
def restore(*, config_path: str, as_json: bool, file: Path) -> None:
    """Put the copy FILE in the store's place, and pause all restarts.

    Stop Unstick first, and wait for the end of commands that it started: the copy knows nothing of what came later.
    Incidents that have ended since are open again, and end by what is seen now; questions can be answered again until
    they expire; escalations that somebody took count as untaken. `unstick status` shows what is open, and
    `unstick resume` allows restarts again. Runs of `command` get higher numbers than any before.
    """
    ports = output.load_adapters(config_path)
    path = _store_path(ports)
    if not file.is_file():
        raise output.Unusable(f"{file}: there is no such file. Name a copy that `unstick backup` made.")
    draft = Path(f"{path}.restored")
    draft.unlink(missing_ok=True)
    try:
        sqlite.copy(str(file), str(draft), timeout_s=COPY_S)
        sqlite.number_runs_after(str(draft), path, timeout_s=COPY_S)
        copied_at = output.local_time(file.stat().st_mtime, ports.rules)
        switch = Pause(f"the store was restored from a copy of {copied_at}", current_user(), ports.now())
        turn(Adapters(replace(ports.config, store=Named(LOCAL, LocalStore(str(draft))))), switch)
        sqlite.copy(str(draft), path, timeout_s=COPY_S)
    finally:
        for ending in ("", "-wal", "-shm"):
            Path(f"{draft}{ending}").unlink(missing_ok=True)
    if as_json:
        return output.print_json({"restored": str(file), "paused": True})
    output.print_text(f"{path} is as it was at {copied_at}", output.mark("RESTORED, and PAUSED: ", "warn"))
    return output.print_text("see `unstick status`; then `unstick resume`", "  → ")


def _store_path(ports: Adapters) -> str:
    """The file of the local store. Raises Unusable if the store is none."""
    if not isinstance(ports.store, LocalStore):
        raise output.Unusable(NOT_LOCAL)
    return ports.store.path
