"""The pages behind links for answers over HTTP, against the real flow, a local store, and stand-ins of Rundeck and RabbitMQ."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from werkzeug.test import TestResponse

from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.incidents import Asked, Evidence, Outcome
from functions.domain.model.observations import StallKind, Subject
from functions.domain.texts.words import REASONS
from testbed.doubles.rundeck import Job
from tests.support.worlds.stuck_mail import PUBLIC_URL, SECRETS, StuckMail, stuck_mail, token_of, words

pytestmark = pytest.mark.usefixtures("patient_code")

SIGNED_IN = "X-Goog-Authenticated-User-Email"
BY_PROXY = f"identity_header: {SIGNED_IN}\nmachine_tokens: [env://T_MACHINE]"
OVER = "the message is no longer current"
PROXY = {"Authorization": f"Bearer {SECRETS['T_MACHINE']}"}


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[StuckMail]:
    """It asks for approval."""
    with stuck_mail(tmp_path) as stuck:
        assert stuck.alert().action is Action.ASKED
        yield stuck


def policy_of(page: TestResponse) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))


def hash_of(page: TestResponse, tag: str) -> str:
    """The only such element's content, as a Content-Security-Policy names it."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def test_the_page_is_the_card_of_now_and_changes_nothing(mail: StuckMail) -> None:
    """However often it is opened. What to do stands above the buttons, the card's facts and figures of this moment below."""
    path, before = mail.path(), mail.stored()
    mail.queue.set(ready=400, unacked=21)
    for _ in range(3):
        page = mail.show(path)
    seen, form = words(page), page.text.partition("<form")[2].partition("</form>")[0]
    assert page.status_code == 200
    places = [
        seen.index(text)
        for text in (
            "ACT NOW mail-delivery is stuck: approve a restart?", "What to do: Check the figures", "The link works once, until",
            "Restart", "Don't restart it",
            "Opening this page has changed nothing.", "Graph", "mail.outgoing: 421 messages, 1 consumer",
            "Proved", "Held by",
            mail.incident().id,
        )
    ]  # fmt: skip
    assert places == sorted(places)
    # Browsers send a form by its first button when somebody presses Enter in a field.
    assert re.findall(r"<button[^>]*>", form)[0] == "<button disabled hidden>"
    assert "https://grafana.example.com/d/abc?viewPanel=4" in page.text
    assert page.text.count(mail.incident().approval.nonce) == page.text.count("/incidents/") == 0
    assert (mail.stored(), mail.rundeck.posts()) == (before, [])


def test_the_button_restarts_once_and_the_link_is_used_up(mail: StuckMail) -> None:
    """POST restarts; a second POST and a later GET restart nothing."""
    path = mail.path()
    pressed = mail.press(path, headers={"Origin": PUBLIC_URL})
    assert (pressed.status_code, "Approved by whoever had the link at" in words(pressed)) == (200, True)
    for again in (mail.press(path), mail.show(path)):
        assert (again.status_code, OVER in words(again)) == (410, True)
    assert len(mail.rundeck.posts()) == len(mail.rundeck.state.carried_out) == 1


@pytest.mark.parametrize(
    ("more", "sent", "typed", "recorded"),
    [
        (BY_PROXY, "accounts.google.com:h.tanaka@example.com", "somebody else", "h.tanaka@example.com"),
        (BY_PROXY, "<b>x</b>" + "y" * 500, "", f"<b>x</b>{'y' * 111}…"),
        (BY_PROXY, "  ", "h.tanaka", "h.tanaka (not verified)"),
        ("", "boss@example.com", "", "whoever had the link"),
    ],
)
def test_the_name_comes_from_the_proxy_that_is_configured(
    tmp_path: Path, more: str, sent: str, typed: str, recorded: str
) -> None:
    """What was typed does not count then, and the page asks for no name. Other headers are anybody's."""
    with stuck_mail(tmp_path, more=more) as mail:
        mail.alert()
        headers = PROXY | dict.fromkeys((SIGNED_IN, "X-Forwarded-Email", "X-Forwarded-User"), sent)
        forged = mail.client().post("/approve/open", data={"token": token_of(mail.path())}, headers={SIGNED_IN: sent})
        assert "You are signed in" not in words(forged), "anybody can send the header"
        page = mail.client().post("/approve/open", data={"token": token_of(mail.path())}, headers=headers)
        signed_in = bool(more and sent.strip())
        assert (f"You are signed in as {recorded}." in words(page), 'name="who"' in page.text) == (signed_in, not signed_in)
        mail.press(headers=headers, who=typed)
        assert mail.incident().approval.approved_by == recorded


def test_a_person_declines_with_a_reason_and_the_alert_is_not_asked_about_again(mail: StuckMail) -> None:
    """The incident ends as declined, people are told who and why, and the same alert firing on starts nothing."""
    link = mail.path()
    page = mail.press(link, act="decline", who="h.tanaka", why="a deployment is under way")
    assert (page.status_code, "Declined by h.tanaka (not verified) at" in words(page)) == (200, True)
    document = mail.document()
    assert (document.incident, document.escalation) == (None, None)
    assert (document.outcomes[-1].reason, document.outcomes[-1].by) == (Reason.DECLINED, "h.tanaka (not verified)")
    (path,) = mail.ports.store.list_archive(since="2000-01-01", timeout_s=5)
    assert "a deployment is under way" in mail.ports.store.read_archived(path, timeout_s=5).decode()
    for late in (mail.press(link), mail.show(link)):
        assert (late.status_code, OVER in words(late)) == (410, True)
    assert mail.alert().reason is Reason.DUPLICATE
    assert (mail.document().incident, mail.rundeck.posts()) == (None, [])


@pytest.mark.parametrize(
    ("prepare", "status", "said"),
    [
        (lambda mail: "forged", 403, "This link is not valid"),
        (lambda mail: "", 403, "This link is not valid"),
        (lambda mail: "x" * 2_000, 403, "This link is not valid"),
        (lambda mail: "キュー", 403, "This link is not valid"),
        (lambda mail: mail.ports.sign_approval(mail.document().key, mail.incident().approval.nonce, 1.0), 410,
            "This link is not valid"),
        (lambda mail: mail.ports.sign_approval("nothing-here", "id.0.1", 9e9), 410, OVER),
        (lambda mail: mail.ports.sign_approval(mail.document().key, mail.incident().id + ".0.1", 9e9), 410, OVER),
    ],
)  # fmt: skip
def test_a_link_that_does_not_count_says_so_and_does_nothing(mail: StuckMail, prepare, status: int, said: str) -> None:
    """Forged, expired, superseded and forgotten links each have their page; nothing is restarted or saved."""
    link, before = f"/approve/#{prepare(mail)}/", mail.stored()
    for page in (mail.show(link), mail.press(link)):
        assert (page.status_code, said in words(page), "<form" in page.text) == (status, True, False)
    assert (mail.stored(), mail.rundeck.posts()) == (before, [])


def breaks(mail: StuckMail) -> None:
    mail.rabbit.broken["totals"] = mail.rabbit.broken["page"] = (500, "text/plain", b"down")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda mail: mail.pause("broker upgrade until 05:00"), Reason.PAUSED),
        (lambda mail: mail.queue.set(ready=0, unacked=0, acks=9400), Reason.SYMPTOM_GONE),
        (breaks, Reason.SYMPTOM_UNKNOWN),
    ],
    ids=["paused", "well (I3)", "unreadable (I4)"],
)  # fmt: skip
def test_what_no_person_may_overrule(mail: StuckMail, happens: Callable[[StuckMail], None], reason: Reason) -> None:
    """The button restarts nothing and says why."""
    path = mail.path()
    happens(mail)
    pressed = words(mail.press(path))
    assert "mail-delivery was not restarted" in pressed
    assert str(REASONS[reason].short) in pressed
    assert mail.rundeck.posts() == []


def test_a_guard_that_a_person_may_overrule_is_overruled(tmp_path: Path) -> None:
    """Mode auto, limits used up: the page advises against it, and the second button restarts."""
    with stuck_mail(tmp_path, mode="auto", job=Job()) as mail:
        for _ in range(3):
            mail.rundeck.run_by_hand({"service": "mail-delivery"})
        for run in mail.rundeck.state.runs.values():
            run.started -= 1800
            run.ended = run.started + 20
        reply = mail.alert()
        assert (reply.action, reply.reason) == (Action.HELD, Reason.TOO_MANY_RESTARTS)
        page = mail.show()
        assert "ACT NOW mail-delivery was not restarted: it was restarted too often" in words(page)
        assert "restarts within 1 h: 3, the limit is 3" in words(page)
        assert re.findall(r'name="act" value="(\w+)"( class="quiet")?', page.text) == [
            ("decline", ""),
            ("approve", ' class="quiet"'),
        ]
        assert "Approved by" in words(mail.press())
        assert len(mail.rundeck.posts()) == 1


FOREIGN = (
    *("https://evil.example.com", "null", "", "http://unstick.example.com", "https://unstick.example.com.evil.example.com"),
    "https://[",
)


@pytest.mark.parametrize("ours", [None, PUBLIC_URL, f"{PUBLIC_URL}:443"])
def test_only_our_own_page_and_its_buttons_may_press(mail: StuckMail, ours: str | None) -> None:
    """An Origin that is not public_url's is refused before anything is looked up, and so are other buttons."""
    assert {mail.press(headers={"Origin": origin}).status_code for origin in FOREIGN} == {403}
    assert {mail.press(act=act).status_code for act in ("delete", "acknowledge")} == {403}
    assert mail.rundeck.posts() == []
    assert mail.press(headers={} if ours is None else {"Origin": ours}).status_code == 200
    assert len(mail.rundeck.posts()) == 1


def test_a_store_that_is_down_is_a_page_too(mail: StuckMail, tmp_path: Path) -> None:
    """503 with what to do, and the story only in the log."""
    path = mail.path()
    for file in tmp_path.glob("unstick.db*"):
        file.unlink()
    (tmp_path / "unstick.db").mkdir()
    for page in (mail.show(path), mail.press(path)):
        assert (page.status_code, "Unstick can't do this right now" in words(page)) == (503, True)
        assert str(tmp_path) not in page.text
    assert mail.rundeck.posts() == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_headers_let_nothing_run_and_nothing_be_kept(tmp_path: Path, language: str) -> None:
    """A strict policy with the hash of the one style; no script, store, frame or other address; the language is said."""
    with stuck_mail(tmp_path, language=language) as mail:
        mail.alert()
        page = mail.show()
    assert policy_of(page) == {
        "default-src": "'none'", "style-src": hash_of(page, "style"), "form-action": "'self'",
        "frame-ancestors": "'none'", "base-uri": "'none'",
    }  # fmt: skip
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert " on" not in re.sub(r">[^<]*<", "><", page.text.split("</style>")[1])
    assert f'<html lang="{language}">' in page.text
    assert all('rel="noreferrer noopener"' in link for link in re.findall(r"<a [^>]*>", page.text))


def test_the_link_opens_a_page_that_posts_what_stands_behind_the_hash(mail: StuckMail) -> None:
    """No log of requests has the token; the page asks nobody, and a person without JavaScript pastes the link."""
    before = mail.stored()
    page = mail.client().get("/approve/")
    assert (page.status_code, policy_of(page)["script-src"]) == (200, hash_of(page, "script"))
    assert "location.hash" in page.text
    assert "paste it here" in words(page)
    pasted = mail.client().post("/approve/open", data={"token": f"  {PUBLIC_URL}{mail.path()} "})
    assert "approve a restart?" in words(pasted)
    assert mail.stored() == before
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS"):  # link previews by HEAD get nothing
        page = mail.client().open("/approve/", method=method)
        assert (page.status_code, page.headers["Allow"], page.data) == (405, "GET, POST", b"")


def test_evidence_and_other_peoples_text_are_shown_as_text(mail: StuckMail) -> None:
    """Alerts, names and log lines with markup are escaped everywhere; a link that is no web address is left out."""
    evil = "</p><img src=x onerror=alert(1)>\"'"
    hostile = {"panel": "javascript:alert(1)", "alert": 'https://x.example.com/?a="><b>'}
    trigger = replace(mail.incident().triggers[0], name=evil, summary=evil, links=hostile)
    evidence = Evidence(asked_at=1.0, lines=("read_reply (smtp.py:41)", evil))
    mail.change(triggers=(trigger,), detail=evil, approved_by=evil, evidence=evidence)
    page = mail.show()
    assert page.status_code == 200
    assert "Evidence before the restart read_reply (smtp.py:41)" in words(page)
    assert ("<img" in page.text, "javascript:" in page.text) == (False, False)
    assert page.text.count("&lt;img src=x onerror=alert(1)&gt;") >= 4


@pytest.mark.parametrize(("signed_in", "may"), [
    ("anna@example.com", True), ("h.tanaka@example.com", False), ("", False), ("U0123ABCD", False),
    ("anna@example.com\u200b", False),
])  # fmt: skip
@pytest.mark.parametrize("act", ["approve", "decline"])
def test_approvers_are_known_by_the_proxy_alone(tmp_path: Path, signed_in: str, may: bool, act: str) -> None:
    """What somebody types is no proof, and an id of Slack's is none here."""
    with stuck_mail(tmp_path, more=BY_PROXY, approvers="[anna@example.com, U0123ABCD]") as mail:
        mail.alert()
        page = mail.press(headers=PROXY | {SIGNED_IN: signed_in}, act=act, who="anna@example.com")
        assert page.status_code == (200 if may else 403)
        assert (mail.document().incident is not None and mail.incident().phase is Phase.ASKED) is not may
        assert ("only the runbook's approvers may do this" in words(page)) is not may


@pytest.fixture
def handed_over(mail: StuckMail) -> StuckMail:
    """A second attempt that nobody approved: people were called, and nobody has taken it."""
    mail.change(restarts=1, attempt=1, asked=Asked(1.0), due=1.0)
    mail.advance()
    return mail


def link_of(mail: StuckMail) -> str:
    """The link with which a person takes the escalation, as it is signed for the card."""
    document = mail.document()
    assert document.escalation is not None
    return f"/approve/#{mail.ports.sign_approval(document.key, document.escalation.nonce, 9e9)}/"


def test_a_person_takes_an_escalation_and_nobody_is_reminded(handed_over: StuckMail) -> None:
    """The page is its card, and changes nothing; the button takes it, once, by a name; no other button counts."""
    link, before = link_of(handed_over), handed_over.stored()
    page = handed_over.show(link)
    for said in ("Nobody has taken mail-delivery yet", "I'm on it"):
        assert said in words(page), said
    assert re.search(r'<input id="who"[^>]* required', page.text)
    assert {handed_over.press(link, act=act).status_code for act in ("approve", "decline")} == {403}
    assert handed_over.stored() == before
    taken = handed_over.press(link, act="acknowledge", who="h.tanaka")
    assert (taken.status_code, "Taken by h.tanaka (not verified) at" in words(taken)) == (200, True)
    escalation = handed_over.document().escalation
    assert escalation is not None
    assert (escalation.taken_by, escalation.asked.reminded) == ("h.tanaka (not verified)", 0)
    for late in (handed_over.press(link, act="acknowledge", who="somebody else"), handed_over.show(link)):
        assert (late.status_code, OVER in words(late)) == (410, True)
    assert handed_over.rundeck.posts() == []


def test_a_needless_restart_is_said_once_and_from_then_on_people_are_asked(mail: StuckMail) -> None:
    """The link on a recovered card; what its queue is learned to be is in the document."""
    queue = mail.incident().queues[0].queue
    nonce, at = "inc-1.healthy.n0nce", mail.ports.now()
    ended = Outcome("inc-1", Ending.RECOVERED, None, at, (), queues=(queue,), restarts=1, runbook="mail-delivery", nonce=nonce)
    mail.change_document(incident=None, due=None, outcomes=(replace(ended, subjects=(Subject(queue.key, StallKind.HELD),)),))
    link = f"/approve/#{mail.ports.sign_approval(mail.document().key, nonce, 9e9)}/"
    assert "It was healthy" in words(mail.show(link))
    assert {mail.press(link, act=act).status_code for act in ("approve", "decline", "acknowledge")} == {403}
    for _ in range(2):
        said = mail.press(link, act="healthy", who="h.tanaka")
        assert (said.status_code, "It was healthy, says h.tanaka" in words(said)) == (200, True)
    assert mail.document().stalls[queue.key].doubted == (StallKind.HELD,)
