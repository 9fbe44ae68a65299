"""The approval page as a person on a phone meets it, in a real Chromium."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from msgspec.structs import replace

from functions.domain.cards import approval_page
from functions.domain.cards.approval_page import Notice, Person, Question, Row, View
from functions.domain.cards.card_input import CardInput
from functions.domain.model.codes import Health
from functions.domain.model.observations import Unknown
from functions.entrypoints.people.approval import NOT_APPROVER
from functions.entrypoints.people.page import REFUSALS
from functions.entrypoints.people.rendering import show_notice, show_opening, show_question
from functions.runtime.text import Text, in_language
from testbed.patience import PATIENCE_S, wait_until
from tests.support.worlds import scenes
from tests.support.worlds.example_stories import EXAMPLES, rules
from tests.support.worlds.scenes import change
from tests.support.worlds.stuck_mail import SECRETS, StuckMail, stuck_mail, token_of
from tests.system.browser.chromium import BROAD, SMALL, complaints, resize, served, violations

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture
def mail(tmp_path: Path, language: str, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckMail]:
    """A stuck queue that waits for an approval, its links served at public_url."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    port = free_port()
    with stuck_mail(tmp_path, language=language, public_url=f"http://127.0.0.1:{port}") as stuck, served(stuck.app(), port):
        stuck.alert()
        yield stuck


def url(mail: StuckMail) -> str:
    return mail.ports.rules.public_url + mail.path()


def shows(browser: Chrome, title: str) -> None:
    """Wait for the page with this title: a form that was sent is answered a moment later."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(
        browser, PATIENCE_S, poll_frequency=0.05, ignored_exceptions=[WebDriverException]
    )  # while one page goes
    waiting.until(text_to_be_present_in_element(("tag name", "h1"), title))


def open_link(browser: Chrome, mail: StuckMail) -> None:
    """Open the link, and wait until its page has posted the token."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(url(mail))
    WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05).until(lambda here: here.find_elements("name", "act"))


def press(browser: Chrome) -> None:
    """Reach the button by the keyboard alone, past name and reason, and press it."""
    from selenium.webdriver import ActionChains, Keys

    for field in ("who", "why"):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        assert browser.switch_to.active_element.get_attribute("name") == field
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.tag_name == "button"
    ActionChains(browser).send_keys(Keys.ENTER).perform()


def test_it_asks_and_restarts_by_keyboard_alone(browser: Chrome, mail: StuckMail, language: str) -> None:
    """Opening changes nothing; Tab reaches the button, Enter restarts and says so; nothing complains."""
    resize(browser, 390, 844)
    open_link(browser, mail)
    shows(browser, in_language(language, Text("Restart {subject}?", subject="mail-delivery")))
    assert browser.find_element("tag name", "html").get_attribute("lang") == language
    assert browser.switch_to.active_element.tag_name == "body"
    assert mail.rundeck.posts() == []
    press(browser)
    shows(browser, in_language(language, Text("{subject} is being restarted", subject="mail-delivery")))
    assert len(mail.rundeck.posts()) == 1
    assert mail.incident().approval.approved_by == in_language(language, Text("whoever had the link"))
    assert complaints(browser) == []


def test_a_name_is_typed_once_and_enter_in_its_field_restarts_nothing(browser: Chrome, mail: StuckMail, language: str) -> None:
    """The browser keeps the name for the next link; a person declines, and the next page knows who it is."""
    from selenium.webdriver import Keys
    from selenium.webdriver.common.by import By

    open_link(browser, mail)
    who = browser.find_element(By.NAME, "who")
    who.clear()
    who.send_keys("田中", Keys.ENTER)
    assert mail.rundeck.posts() == []
    browser.find_element(By.CSS_SELECTOR, "button[value=decline]").click()
    shows(browser, in_language(language, Text("{subject} is not restarted", subject="mail-delivery")))
    assert mail.document().outcomes[-1].by == in_language(language, Text("{who} (not verified)", who="田中"))
    mail.alert("f2")
    open_link(browser, mail)
    assert browser.find_element(By.NAME, "who").get_attribute("value") == "田中"
    assert complaints(browser) == []


def test_no_log_of_requests_has_the_token(
    browser: Chrome, mail: StuckMail, language: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands behind the `#`, which a browser keeps to itself; the page's script posts it."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", False)
    token = token_of(mail.path())
    with caplog.at_level(logging.INFO, logger="werkzeug"):
        open_link(browser, mail)
        press(browser)
        shows(browser, in_language(language, Text("{subject} is being restarted", subject="mail-delivery")))
    requests = [line for line in (record.getMessage() for record in caplog.records) if "/approve/" in line]
    assert len(requests) == 3
    assert not [line for line in requests if token[:20] in line]
    assert token[:20] not in browser.current_url


def test_without_javascript_a_person_pastes_the_link(browser: Chrome, mail: StuckMail, language: str) -> None:
    """The page says so, and its form does what the script does."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(url(mail))
        shows(browser, in_language(language, Text("Opening the approval page")))
        browser.find_element("name", "token").send_keys(url(mail))
        browser.find_element("tag name", "button").click()
        shows(browser, in_language(language, Text("Restart {subject}?", subject="mail-delivery")))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert mail.rundeck.posts() == []


@pytest.mark.parametrize("width", [320, pytest.param(390, marks=pytest.mark.long), 1280])
def test_it_fits_every_screen(browser: Chrome, mail: StuckMail, width: int) -> None:
    """No sideways scrolling from 320 px on, with long names too; nothing to press is under 44 px; the focus can be seen."""
    incident = mail.incident()
    mail.change(triggers=(replace(incident.triggers[0], summary="x" * 290), *incident.triggers[1:]), tail=("y" * 400,))
    resize(browser, width, 640)
    open_link(browser, mail)
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script(BROAD) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(SMALL) == []
    from selenium.webdriver import ActionChains, Keys

    ActionChains(browser).send_keys(Keys.TAB).perform()
    outline = browser.execute_script(
        "const s = getComputedStyle(document.activeElement); return s.outlineStyle + ' ' + s.outlineWidth"
    )
    assert outline == "solid 3px"
    assert complaints(browser) == []


def test_the_buttons_are_on_a_phones_first_screen(browser: Chrome, mail: StuckMail) -> None:
    """390 pixels wide, below the browser's own bars: the state of the queue and both buttons show without scrolling."""
    resize(browser, 390, 664)
    open_link(browser, mail)
    shown = browser.find_element("tag name", "main").text
    assert shown.index("mail.outgoing") < shown.index(browser.find_element("name", "act").text)
    bottoms = [one.rect["y"] + one.rect["height"] for one in browser.find_elements("name", "act")]
    assert (len(bottoms), max(bottoms) <= 664) == (2, True), bottoms


def ask(name: str, **changes: object) -> Question:
    """The question that the page of a card_input of the gallery asks, with each kind of row."""
    card_input = answered(name, **changes)
    rows = (Row("mail.outgoing", scenes.snapshot(362), Health.ILL), Row("bounces", Unknown(Text("HTTP 503")), Health.UNSURE))
    page = approval_page.ask_to_take if card_input.escalation else approval_page.ask
    return page(View(card_input, rows, (Text("Unstick is paused."),)), rules())


def answered(name: str, **changes: object) -> CardInput:
    card_input = EXAMPLES[name]
    return replace(card_input, incident=change(card_input.incident, **changes)) if changes and card_input.incident else card_input


LINK = ((Text("Rundeck execution"), "https://rundeck.example.com/project/ops/execution/show/1847"),)
QUESTIONS = {
    "restart": lambda: ask("held-awaiting-approval"),
    "second restart": lambda: ask("held-second-approval", tail=("03:09:51 WARN smtp relay timed out",)),
    "overrule": lambda: ask("held-overrule"),
    "acknowledge": lambda: ask("escalated-again"),
}
NOTICES = {
    **{str(status): refusal for status, refusal in REFUSALS.items()},
    "not an approver": NOT_APPROVER,
    "restarted": Notice(
        Text("{subject} is being restarted", subject="x"), (Text("waiting"),), LINK, Text("approved by: {by}", by="x")
    ),
    "used": Notice(Text("This link was already used"), (Text("waiting"), Text("restarting")), LINK),
}


def rendered(page: str, language: str) -> str:
    """The HTML of one state of the page."""
    if page == "opening":
        return str(show_opening(rules(language))[0])
    if page in QUESTIONS:
        return str(show_question(rules(language), QUESTIONS[page](), "token", Person("h.tanaka", verified=page == "overrule"))[0])
    return str(show_notice(rules(language), NOTICES[page])[0])


@pytest.mark.parametrize(
    ("scheme", "width", "other"), [("light", 390, "ja"), pytest.param("dark", 1280, "en", marks=pytest.mark.long)]
)
def test_axe_finds_no_violation_on_any_state_of_the_page(
    browser: Chrome, free_port: Callable[[], int], scheme: str, width: int, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contrast, names, landmarks, order; on a light phone and on a dark desk. Questions in both languages, the others in one."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    app, port = Flask("pages"), free_port()
    app.add_url_rule("/<language>/<page>", view_func=rendered)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    resize(browser, width, 844)
    problems_of = {}
    try:
        with served(app, port):
            for page, language in [*product(QUESTIONS, ("en", "ja")), *product(("opening", *NOTICES), (other,))]:
                browser.get(f"http://127.0.0.1:{port}/{language}/{page}")
                title = browser.find_element("tag name", "h1").text
                problems_of[title, page] = violations(browser)
                background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
                assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 3 * 128) is (scheme == "dark")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert {state: problems for state, problems in problems_of.items() if problems} == {}
    assert {("Restart mail-delivery?", "restart"), ("Acknowledge mail-delivery?", "acknowledge")} <= set(problems_of)
    assert len(problems_of) == 2 * len(QUESTIONS) + len(NOTICES) + 1


def test_nothing_injected_runs(browser: Chrome, mail: StuckMail) -> None:
    """Even a script that got into the page would not run: the policy forbids it (and the browser says so)."""
    open_link(browser, mail)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='; document.body.append(i);"
    )
    assert browser.execute_script("return window.ran") is None
    said: list[str] = []

    def refused() -> list[str]:
        said.extend(complaints(browser))
        return [one for one in said if "Content Security Policy" in one]

    assert len(wait_until(refused, lambda complained: len(complained) >= 2)) == 2


def test_another_sites_page_can_not_press(
    browser: Chrome, mail: StuckMail, language: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """A form of a stranger's page that knows the link is turned away: its Origin is not ours."""
    other, port = Flask("other"), free_port()

    @other.route("/")
    def page() -> str:
        hidden = (
            f'<input type="hidden" name="token" value="{token_of(mail.path())}"><input type="hidden" name="act" value="restart">'
        )
        action = f"{mail.ports.rules.public_url}/approve/open"
        return f'<form method="post" action="{action}">{hidden}<button>win a prize</button></form>'

    with served(other, port):
        browser.get(f"http://127.0.0.1:{port}/")
        browser.find_element("tag name", "button").click()
    shows(browser, in_language(language, Text("The button was pressed on another site's page")))
    assert mail.rundeck.posts() == []
