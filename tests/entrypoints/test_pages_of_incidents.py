"""`/incidents` and `/incidents/ID` over HTTP, against the real flow and a local store: who may read, and what they get."""

import hashlib
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from werkzeug.test import TestResponse

from functions.application.documents import archive_path, encode
from functions.domain.model.codes import Action, Ending
from functions.domain.model.events import Acknowledged, Resumed
from functions.domain.model.incidents import Archive, Asked, Evidence, Outcome, Place
from tests.support.worlds.scenes import change
from tests.support.worlds.stuck_mail import PUBLIC_URL, SECRETS, StuckMail, stuck_mail, words

pytestmark = pytest.mark.usefixtures("patient_code")

HEADER = "X-Goog-Authenticated-User-Email"
MORE = f"identity_header: {HEADER}\nmachine_tokens: [env://T_MACHINE]"
TOKEN = {"Authorization": f"Bearer {SECRETS['T_MACHINE']}"}
FORGED = {HEADER: "accounts.google.com:h.tanaka@example.com"}
PERSON = TOKEN | FORGED
MONTH_S = 30 * 86400.0


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[StuckMail]:
    """It asks for approval."""
    with stuck_mail(tmp_path, more=MORE) as stuck:
        assert stuck.alert().action is Action.ASKED
        yield stuck


def read(mail: StuckMail, path: str, **headers: str) -> TestResponse:
    return mail.client().get(path, headers=headers)


def link(mail: StuckMail, incident: str = "", expires_in_s: float = MONTH_S) -> str:
    incident = incident or mail.incident().id
    return f"/incidents/{incident}?link={mail.ports.sign_reading(incident, time.time() + expires_in_s)}"


def archived(mail: StuckMail, ending: Ending = Ending.RECOVERED, **changes: object) -> str:
    """An incident like the open one, ended and in the archive."""
    own = mail.incident().id
    name = own[:-1] + ("1" if own.endswith("0") else "0")
    incident = change(mail.incident(), id=name, **changes)
    record = Archive(mail.document().target, incident, Outcome(name, ending, None, time.time(), incident.triggers))
    mail.ports.store.archive(archive_path(record), encode(record), timeout_s=5)
    return name


def test_a_token_opens_every_page_and_no_name_or_address_does(mail: StuckMail, monkeypatch: pytest.MonkeyPatch):
    """Cloud Run in front lets nobody read: there, the webhook answers everybody."""
    monkeypatch.setenv("K_SERVICE", "webhook")
    strangers: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer " + "x" * 32},
        {"Authorization": "Basic " + SECRETS["T_MACHINE"]},
        {HEADER: "  "},
        FORGED,
        {"X-Forwarded-Email": "boss@example.com"},
        {"Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    )
    for headers, status in (*((headers, 403) for headers in strangers), (TOKEN, 200), (PERSON, 200)):
        for path in ("/incidents", "/incidents/", f"/incidents/{mail.incident().id}"):
            page = read(mail, path, **headers)
            assert (page.status_code, "mail-delivery" in page.text) == (status, status == 200), (path, headers)


def test_a_cards_link_shows_its_incident_for_thirty_days_and_no_other(mail: StuckMail):
    """It is read-only, and opens neither the list nor another incident; an old one is no obstacle to whom the proxy names."""
    page = mail.client().get(link(mail))
    assert page.status_code == 200
    assert "All incidents" not in page.text
    other = archived(mail)
    token = link(mail).partition("?")[2]
    for path, status in (
        (f"/incidents/{other}?{token}", 403),
        (f"/incidents?{token}", 403),
        (f"/incidents/{mail.incident().id}?link=forged", 403),
        (f"/incidents/{mail.incident().id}?link=%00%ff", 403),
        (f"/incidents/{mail.incident().id}?link={mail.path().partition('#')[2].strip('/')}", 403),  # an approval's token
        (link(mail, expires_in_s=-1.0), 410),
    ):
        assert mail.client().get(path).status_code == status, path
    assert mail.client().post("/approve/open", data={"token": token.removeprefix("link=")}).status_code == 403
    assert mail.client().post(link(mail)).status_code == 405
    assert mail.client().get(link(mail, expires_in_s=-1.0), headers=PERSON).status_code == 200
    gone = mail.client().get(link(mail, "20261123-181205-00000000"))
    assert (gone.status_code, "All incidents" in gone.text) == (404, False)
    assert mail.rundeck.posts() == []


def test_every_card_has_the_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As it was posted it opens the page; without `public_url` there is none."""
    with stuck_mail(tmp_path, more=MORE) as mail:
        mail.alert()
        link = re.search(rf"Details: *\n? *{PUBLIC_URL}(/incidents/\S+)", capsys.readouterr().out)
        assert link
        assert mail.client().get(link[1]).status_code == 200
        assert mail.client().get(link[1].partition("?")[0]).status_code == 403


def test_the_page_changes_nothing_and_says_nothing_secret(mail: StuckMail):
    """No nonce and no token of an approval; configured secrets are masked wherever they got in; nothing loads or runs."""
    lines = (f"password={SECRETS['T_RUNDECK']} <b>",)
    mail.change(evidence=Evidence(asked_at=1.0, lines=lines))
    nonce, before = mail.incident().approval.nonce, mail.document()
    page = read(mail, f"/incidents/{mail.incident().id}", **TOKEN)
    assert mail.document() == before
    assert nonce not in page.text
    assert "/approve/" not in page.text
    assert SECRETS["T_RUNDECK"] not in page.text
    assert "password=*** &lt;b&gt;" in page.text
    assert "<script" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert (page.headers["Cache-Control"], page.headers["X-Robots-Tag"]) == ("no-store", "noindex")
    assert page.headers["Referrer-Policy"] == "same-origin"


def test_an_open_one_an_ended_one_and_one_that_was_held_at_once_are_found(mail: StuckMail):
    """The list links to them; the last was posted while Unstick was paused, and is in no document."""
    opened, ended = mail.incident().id, archived(mail)
    mail.pause("a broker upgrade")
    held = mail.alert("f9", service="post-delivery", queue="post.outgoing").incident
    listed = read(mail, "/incidents", **TOKEN)
    for incident, shown in ((opened, "asks for approval"), (ended, "recovered"), (held, "a broker upgrade")):
        assert f'href="incidents/{incident}"' in listed.text
        assert shown in words(read(mail, f"/incidents/{incident}", **TOKEN)), incident
    assert f'href="{held}"' in read(mail, "/incidents/", **TOKEN).text


def test_who_is_signed_in_answers_on_the_page(mail: StuckMail):
    """The proxy's people and browsers signed in by `unstick link` have the buttons; a bare token and a card's link have none."""
    name = f"/incidents/{mail.incident().id}"
    browser = mail.client()
    signed_in = f"/incidents?link={mail.ports.sign_reading('', time.time() + 60.0)}"
    assert browser.get(signed_in, base_url=PUBLIC_URL).status_code == 303
    for page, has_buttons in (
        (browser.get(name, base_url=PUBLIC_URL), True),
        (read(mail, name, **PERSON), True),
        (read(mail, name, **TOKEN), False),
        (mail.client().get(link(mail)), False),
    ):
        assert ('value="approve"' in page.text) is has_buttons
    token = re.search('name="token" value="([^"]+)"', browser.get(name, base_url=PUBLIC_URL).text)
    action = re.search('<form method="post" action="([^"]+)"', browser.get(name, base_url=PUBLIC_URL).text)
    assert token
    assert action
    place = urljoin(f"{PUBLIC_URL}{name}", action[1])
    done = browser.post(place, data={"token": token[1], "act": "approve", "who": "anna"}, headers={"Origin": PUBLIC_URL})
    assert "Approved by anna" in done.text
    assert 'value="approve"' not in browser.get(name, base_url=PUBLIC_URL).text


def test_an_escalation_burns_until_it_is_over(mail: StuckMail):
    """It stands above what ended, on the list and on its page, until somebody resumes the target; who has taken it is said."""
    recovered, escalated = archived(mail), mail.incident().id
    mail.change(restarts=1, attempt=1, asked=Asked(1.0), due=1.0)
    mail.advance()

    def states() -> list[tuple[str, str]]:
        listed = read(mail, "/incidents", **TOKEN).text
        return re.findall(r'href="incidents/([^"]+)"><span class="state (\w+)">', listed)

    assert states() == [(escalated, "act"), (recovered, "fine")]
    mail.advance(Acknowledged("h.tanaka", escalated))
    assert states() == [(escalated, "watch"), (recovered, "fine")]
    assert "Taken h.tanaka is working on mail-delivery" in words(read(mail, f"/incidents/{escalated}", **TOKEN))
    mail.advance(Resumed("anna"))
    assert sorted(states()) == sorted([(escalated, "over"), (recovered, "fine")])
    assert "Ended mail-delivery was" in words(read(mail, f"/incidents/{escalated}", **TOKEN))


def test_the_place_is_on_the_list_and_its_page_copies_the_ticket(mail: StuckMail):
    """Masked, and by a script that the policy allows by its hash; whatever the place is called, nothing else runs."""
    places = (Place("w-1", f"mail.py, <b>, line 3, in smtplib.SMTP.getreply, waits for {SECRETS['T_RUNDECK']}"),)
    mail.change(evidence=Evidence(asked_at=1.0, places=places))
    listed = read(mail, "/incidents", **TOKEN)
    assert re.search("<th>Hangs at</th>.*<td class=.place.>mail.py &lt;b&gt;</td>", listed.text, re.DOTALL)
    page = read(mail, f"/incidents/{mail.incident().id}", **TOKEN)
    assert "Hangs at mail.py, <b>, line 3, in smtplib.SMTP.getreply, waits for ***" in words(page)
    (ticket,) = re.findall('<pre id="ticket">(.*?)</pre>', page.text, re.DOTALL)
    assert ticket.startswith("# `service=mail-delivery` hangs at `mail.py &lt;b&gt;, waits for ***`\n")
    assert SECRETS["T_RUNDECK"] not in page.text
    (script,) = re.findall("<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.headers["Content-Security-Policy"].endswith(f"; script-src 'sha256-{digest}'")
    assert "Runbook mail-delivery, reason code awaiting_approval." in words(page)
