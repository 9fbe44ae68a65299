"""The pages for people as a person on a phone meets them, in a real Chromium."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from functions.application.documents import archive_path, encode
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Archive, Document, Outcome
from functions.entrypoints.people.pages import BY_LINK
from functions.runtime.text import Text, in_language
from testbed.patience import PATIENCE_S
from tests.support.worlds.example_stories import EVIDENCE, EXAMPLES, HANDED_OVER, TARGET
from tests.support.worlds.stuck_mail import SECRETS, StuckMail, stuck_mail, token_of
from tests.system.browser.chromium import BROAD, SMALL, complaints, resize, served, violations

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

DAY_S = 86400.0
PHONE = 390, 664
"""Pixels below the browser's own bars."""
STORIES = {
    "recovered": (Ending.RECOVERED, None),
    "escalated": (Ending.ESCALATED, None),
    "held-overrule": (Ending.HELD, Reason.TOO_MANY_RESTARTS),
}
BACKGROUNDS = "return [...document.querySelectorAll('body, figure')].map(e => getComputedStyle(e).backgroundColor)"
STARTED_AT = time.time()


def name_incident(name: str, ended_at: float) -> str:
    """Its id, which begins with its day, as all do."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(ended_at))}-{name}"


ENDED = [(name, STARTED_AT - (number + 2) * DAY_S) for number, name in enumerate(islice(cycle(STORIES), 8))]
BURNS = name_incident("burns", STARTED_AT - 600)
LISTED = ("/incidents", f"/incidents/{BURNS}", *(f"/incidents/{name_incident(name, at)}" for name, at in ENDED[:3]))
READER = {"X-Reader": "h.tanaka@example.com", "Authorization": f"Bearer {SECRETS['T_MACHINE']}"}


@pytest.fixture
def mail(tmp_path: Path, language: str, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckMail]:
    """A stuck queue that waits for an approval, an escalation that still stands, and eight that ended."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    port = free_port()
    url, more = f"http://127.0.0.1:{port}", "identity_header: X-Reader\nmachine_tokens: [env://T_MACHINE]"
    with stuck_mail(tmp_path, language=language, public_url=url, more=more) as stuck, served(stuck.app(), port):
        stuck.alert()
        for name, at in ENDED:
            archive(stuck, name, name_incident(name, at), at)
        archive(stuck, "escalated", BURNS, STARTED_AT - 600)
        escalation = replace(HANDED_OVER, incident=BURNS, at=STARTED_AT - 600)
        document = Document("t-1", TARGET, escalation=escalation)
        stuck.ports.store.save("t-1", encode(document), generation=None, due=None, timeout_s=5)
        yield stuck


def archive(mail: StuckMail, name: str, identifier: str, at: float) -> None:
    """An incident of the gallery that ended then."""
    shown = EXAMPLES[name].incident
    assert shown is not None
    ended = replace(shown, id=identifier, evidence=EVIDENCE)
    record = Archive(TARGET, ended, Outcome(identifier, *STORIES[name], at, ended.triggers))
    mail.ports.store.archive(archive_path(record), encode(record), timeout_s=5)


def open_link(browser: Chrome, mail: StuckMail) -> None:
    """Open the approval link, and wait until its page has posted the token."""
    browser.get("about:blank")
    browser.get(mail.ports.rules.public_url + mail.path())
    WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05).until(lambda here: here.find_elements("name", "act"))


def read(browser: Chrome, mail: StuckMail, path: str) -> None:
    """As somebody whom the proxy names."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": READER})
    browser.get(mail.ports.rules.public_url + path)
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def visit(browser: Chrome, mail: StuckMail, path: str) -> None:
    if path == "question":
        open_link(browser, mail)
    else:
        read(browser, mail, path)


def shows(browser: Chrome, title: str) -> None:
    """Wait for the page with this title: a form that was sent is answered a moment later."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element

    waiting = WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05, ignored_exceptions=[WebDriverException])
    waiting.until(text_to_be_present_in_element(("tag name", "h1"), title))


def test_a_person_declines(
    browser: Chrome, mail: StuckMail, language: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening and Enter in a field change nothing. No log of requests has the link's token."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", False)
    token = token_of(mail.path())
    with caplog.at_level(logging.INFO, logger="werkzeug"):
        open_link(browser, mail)
        assert browser.find_element("tag name", "html").get_attribute("lang") == language
        assert browser.switch_to.active_element.tag_name == "body"
        browser.find_element(By.NAME, "who").send_keys("田中", Keys.ENTER)
        browser.find_element(By.CSS_SELECTOR, "button[value=decline]").click()
        shows(browser, "田中")
    assert mail.document().outcomes[-1].by == in_language(language, Text("{who} (not verified)", who="田中"))
    assert mail.rundeck.posts() == []
    requests = [line for line in (record.getMessage() for record in caplog.records) if "/approve/" in line]
    assert len(requests) == 3
    assert not [line for line in (*requests, browser.current_url) if token[:20] in line]
    assert complaints(browser) == []


def test_a_person_restarts_by_keyboard_alone(browser: Chrome, mail: StuckMail, language: str) -> None:
    open_link(browser, mail)
    for field in ("who", "why", "act"):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        assert browser.switch_to.active_element.get_attribute("name") == field
        outline = browser.execute_script("return getComputedStyle(document.activeElement).outline")
        assert ("solid" in outline, "3px" in outline) == (True, True), "the focus can be seen"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    shows(browser, in_language(language, BY_LINK))
    assert len(mail.rundeck.posts()) == 1
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [320, pytest.param(390, marks=pytest.mark.long), 1280])
def test_they_fit_every_screen(browser: Chrome, mail: StuckMail, width: int) -> None:
    """No sideways scrolling, with long names too; nothing to press is under 44 px; nothing is loaded, no policy is broken."""
    trigger = replace(mail.incident().triggers[0], summary="x" * 290)
    mail.change(triggers=(trigger, *mail.incident().triggers[1:]), detail="y" * 400)
    resize(browser, width, 640)
    for path in ("question", *LISTED):
        visit(browser, mail, path)
        assert browser.execute_script("return window.innerWidth") == width, path
        assert browser.execute_script(BROAD) == [], path
        assert browser.execute_script(SMALL) == [], path
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0, path
    assert complaints(browser) == []


def test_what_matters_is_on_a_phones_first_screen(browser: Chrome, mail: StuckMail) -> None:
    """Without scrolling: both buttons; of the list what burns, with nothing above it but the title."""
    resize(browser, *PHONE)
    open_link(browser, mail)
    buttons = browser.find_elements("name", "act")
    assert [one.rect["y"] + one.rect["height"] <= PHONE[1] for one in buttons] == [True, True]
    read(browser, mail, "/incidents")
    rows = browser.find_elements(By.CSS_SELECTOR, "tbody tr")
    states = [one.get_attribute("class") for one in browser.find_elements(By.CSS_SELECTOR, "tbody .state")]
    assert states == ["state act", "state act", *["state fine", "state over", "state over"] * 2, "state fine", "state over"]
    assert [row.rect["y"] + row.rect["height"] <= PHONE[1] for row in rows[:3]] == [True] * 3
    assert rows[0].rect["y"] < PHONE[1] / 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_page(browser: Chrome, mail: StuckMail, scheme: str) -> None:
    """Contrast, names, landmarks, order; on a phone and on a desk; what opens, asks, lists, shows and refuses."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    problems_of = {}
    try:
        for width, path in product((390, 1280), ("question", "/approve/", *LISTED, "/incidents/nothing-here")):
            resize(browser, width, 844)
            visit(browser, mail, path)
            problems_of[width, path] = violations(browser)
            for box in browser.execute_script(BACKGROUNDS):
                assert (int(re.findall(r"\d+", box)[0]) < 128) is (scheme == "dark"), "a white box at night"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert {page: problems for page, problems in problems_of.items() if problems} == {}
