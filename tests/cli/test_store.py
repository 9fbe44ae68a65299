"""`backup` and `restore` of the local store, with others that use it meanwhile; `link`, which signs a browser in."""

import sqlite3
import stat
import time
from contextlib import closing

from functions.adapters.runners.command import runs
from functions.domain.model.alerts import Target
from functions.domain.model.incidents import Document
from tests.cli.conftest import FIRING, Line


def alerted(here: Line) -> Document:
    """An alert came in, and its target was restarted."""
    here.alerted("mail-delivery")
    (document,) = here.documents()
    return document


def test_a_restored_store_is_as_the_copy_was_and_paused(here: Line) -> None:
    """Though the store is open elsewhere with an unfinished journal: that is neither lost before nor replayed after. The copy is
    its owner's alone, and stays as it was."""
    before, copy = alerted(here), here.folder / "copy.db"
    with closing(sqlite3.connect(here.database)) as open_elsewhere:
        open_elsewhere.execute("SELECT 1 FROM documents").fetchone()
        assert here.json("backup", str(copy))["bytes"] == copy.stat().st_size
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        here.write("later", b"{}")
        here.write(before.key, b"{}")
        here.run("restore", str(copy), code=0)
        assert here.documents() == [before]
    assert here.documents() == [before]
    shown = here.run("status", code=1).stdout
    assert "PAUSED" in shown
    assert "restored from a copy of" in shown
    here.json("simulate", FIRING, "--restamp", code=1)
    assert [file.name for file in here.folder.glob("copy.db*")] == ["copy.db"], "one file is the whole copy"
    assert not list(here.folder.glob("*.restored*"))
    here.run("restore", str(copy), code=0)


def test_restored_runs_get_numbers_that_none_had(here: Line) -> None:
    """The journal of a run that the copy doesn't know may still be written."""
    database, copy = str(here.database), here.folder / "copy.db"
    mail, other, third = (Target(key, "", "restart", {}) for key in ("mail", "other", "third"))
    runs.claim(database, mail, tag="a.1", not_after=None, timeout_s=5)
    here.run("backup", str(copy), code=0)
    later = runs.claim(database, other, tag="b.1", not_after=None, timeout_s=5)
    runs.create_order(runs.folder_of(database), later, ["true"], None, 5.0)
    here.run("restore", str(copy), code=0)
    assert runs.claim(database, third, tag="c.1", not_after=None, timeout_s=5) > later


def test_no_copy_overwrites_a_file_and_no_other_file_is_restored(here: Line) -> None:
    document = alerted(here)
    other = here.folder / "other.db"
    with closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE notes (text TEXT)")
    damaged = here.folder / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    for arguments, code, said in (
        (("backup", str(other)), 2, "exists"),
        (("restore", str(here.folder / "nothing.db")), 2, "no such file"),
        (("restore", str(other)), 1, "unstick backup"),
        (("restore", str(damaged)), 1, "unstick backup"),
    ):
        assert said in here.run(*arguments, code=code).stderr, arguments
    assert here.documents() == [document]
    assert not list(here.folder.glob("*.restored*"))


def test_a_link_opens_the_incidents_in_a_browser_and_answers_what_waits(here: Line) -> None:
    """The address keeps nothing of it. Without it the page names the command; a forged or expired one opens nothing."""
    here.configured(public_url="https://unstick.example.com")
    document = alerted(here)
    browser = here.entry("webhook", token="")
    refused = browser.get("/incidents")
    assert refused.status_code == 403
    assert "unstick link" in refused.text
    assert browser.get("/incidents?link=forged").status_code == 403
    printed = here.json("link")
    assert printed["until"] > time.time() + 3600
    path = printed["url"].removeprefix("https://unstick.example.com")
    opened = browser.get(path, base_url="https://unstick.example.com")
    assert (opened.status_code, opened.headers["Location"]) == (303, "incidents")
    assert {"HttpOnly", "SameSite=Lax", "Secure"} <= set(opened.headers["Set-Cookie"].split("; "))
    page = browser.get("/incidents", base_url="https://unstick.example.com")
    assert page.status_code == 200
    assert "mail-delivery" in page.text
    assert document.key not in page.text
    assert here.run("link", code=0).stdout.startswith("https://unstick.example.com/incidents?link=")


def test_without_an_address_there_is_no_link(here: Line) -> None:
    assert "public_url" in here.run("link", code=2).stderr
