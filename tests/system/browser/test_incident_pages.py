"""The pages of incidents as a person on a phone meets them, in a real Chromium."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from functions.application.deliver import archive_path
from functions.application.serialization import encode
from functions.domain.incidents.timeline import PHASES
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Archive, Document, Incident, Outcome
from functions.runtime.text import Text, in_language
from testbed.patience import PATIENCE_S
from tests.support.worlds.example_stories import EVIDENCE, EXAMPLES, NOW, TARGET
from tests.support.worlds.scenes import change
from tests.support.worlds.stuck_mail import SECRETS, StuckMail, stuck_mail
from tests.system.browser.chromium import BROAD, SMALL, complaints, resize, served, violations

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

DAY_S = 86400.0
STORIES = {
    "recovered": (Ending.RECOVERED, None),
    "escalated": (Ending.ESCALATED, None),
    "held-observe-only": (Ending.HELD, Reason.PAUSED),
}


@pytest.fixture
def mail(tmp_path: Path, language: str, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckMail]:
    """Its archive has half a year of incidents, a fix among them; one is open. A header names the reader."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    port = free_port()
    url, more = f"http://127.0.0.1:{port}", "identity_header: X-Reader"
    with stuck_mail(tmp_path, language=language, public_url=url, more=more) as stuck, served(stuck.app(), port):
        for number in range(40):
            name = list(STORIES)[number % 3]
            archive(stuck, name, 60.0 + 3 * number if number else 2.0)
        opened = incident("held-awaiting-approval", "open-1", time.time() - NOW, phase=Phase.ASKED)
        document = Document("t-1", TARGET, opened, due=time.time() + 600)
        stuck.ports.store.save("t-1", encode(document), generation=None, due=document.due, timeout_s=5)
        yield stuck


def incident(name: str, identifier: str, later_s: float, **changes: object) -> Incident:
    """The incident of a card_input of the gallery, so much later than there."""
    shown = EXAMPLES[name].incident
    assert shown is not None
    queues = []
    for one in shown.queues:
        curve = tuple((at + later_s, count) for at, count in one.curve)
        queues.append(replace(one, curve=curve, held_curve=tuple((at, 20) for at, _ in curve)))
    triggers = tuple(replace(one, starts_at=one.starts_at + later_s) for one in shown.triggers)
    run = shown.execution
    if run is not None and run.runner_started_at is not None and run.runner_ended_at is not None:
        started_at, ended_at = run.runner_started_at + later_s, run.runner_ended_at + later_s
        run = replace(run, tag=f"{identifier}.1", runner_started_at=started_at, runner_ended_at=ended_at)
    evidence = EVIDENCE if run else None
    return change(shown, id=identifier, queues=tuple(queues), triggers=triggers, execution=run, evidence=evidence, **changes)


def archive(mail: StuckMail, name: str, days_ago: float) -> None:
    at, identifier = time.time() - days_ago * DAY_S, f"{name}-{days_ago:.0f}"
    ended = incident(name, identifier, at - NOW)
    record = Archive(TARGET, ended, Outcome(identifier, *STORIES[name], at, ended.triggers))
    mail.ports.store.archive(archive_path(record), encode(record), timeout_s=5)


def read(browser: Chrome, mail: StuckMail, path: str) -> None:
    """As somebody whom the proxy names."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"X-Reader": "h.tanaka@example.com"}})
    browser.get(mail.ports.rules.public_url + path)


def arrives(browser: Chrome, address: str) -> None:
    """Wait for the page whose address ends or begins so: a pressed link is answered a moment later."""
    from selenium.webdriver.support.expected_conditions import url_matches
    from selenium.webdriver.support.ui import WebDriverWait

    pattern = f"{re.escape(address)}[^/]*$"
    WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05).until(url_matches(pattern))


ENDED = ("recovered-2", "escalated-63", "held-observe-only-66")
FIGURES = "return [...document.querySelectorAll('figure')].map(e => getComputedStyle(e).backgroundColor.match(/\\d+/)[0])"
PAGES = ("/incidents", "/incidents/open-1", *(f"/incidents/{name}" for name in ENDED))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_page(browser: Chrome, mail: StuckMail, scheme: str) -> None:
    """Contrast, names, landmarks, order; on a phone and on a desk, with the table of weeks open, and where it refuses."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    problems_of = {}
    try:
        for width, path in product((390, 1280), (*PAGES, "/incidents/nothing-here")):
            resize(browser, width, 844)
            read(browser, mail, path)
            browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
            problems_of[width, path] = violations(browser)
            for red in browser.execute_script(FIGURES):
                assert (int(red) < 128) is (scheme == "dark"), "a white box at night"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert {page: problems for page, problems in problems_of.items() if problems} == {}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_they_fit_every_screen(browser: Chrome, mail: StuckMail, width: int) -> None:
    """No sideways scrolling; nothing to press is under 44 px; nothing is loaded, and the policy is not broken."""
    for path in PAGES:
        resize(browser, width, 640)
        read(browser, mail, path)
        browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        assert browser.execute_script("return window.innerWidth") == width
        assert browser.execute_script(BROAD) == [], path
        assert browser.execute_script(SMALL) == [], path
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0, path
    assert complaints(browser) == []


def test_without_a_script_a_person_filters_and_opens_one(browser: Chrome, mail: StuckMail, language: str) -> None:
    """From the list to an escalated one, whose curve has both restarts marked, and back."""
    from selenium.webdriver.common.by import By

    resize(browser, 390, 844)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        read(browser, mail, "/incidents")
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
        rows = browser.find_elements(By.CSS_SELECTOR, ".rows li")
        assert (len(rows), rows[0].text.splitlines()[1].startswith(in_language(language, PHASES[Phase.ASKED]))) == (41, True)
        browser.find_element(By.CSS_SELECTOR, "option[value=escalated]").click()
        browser.find_element(By.CSS_SELECTOR, ".filter button").click()
        arrives(browser, "state=escalated")
        links = browser.find_elements(By.CSS_SELECTOR, ".rows a")
        assert len(links) == 13
        links[0].click()
        arrives(browser, "/incidents/escalated-")
        assert browser.find_element(By.TAG_NAME, "h1").text.startswith("mail-delivery")
        assert len(browser.find_elements(By.CSS_SELECTOR, "svg path[stroke-dasharray]")) == 2
        all_incidents = in_language(language, Text("All incidents"))
        browser.find_element(By.LINK_TEXT, all_incidents).click()
        arrives(browser, "/incidents")
        assert browser.find_element(By.TAG_NAME, "h1").text == in_language(language, Text("Incidents"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_picture_of_the_weeks_has_the_fix_marked(browser: Chrome, mail: StuckMail) -> None:
    """Bars before it, one after it, and the same in a table."""
    from selenium.webdriver.common.by import By

    resize(browser, 390, 844)
    read(browser, mail, "/incidents")
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure svg path[stroke-dasharray]")) == 2  # of restarts, and of minutes
    line = browser.find_element(By.CSS_SELECTOR, "figure svg path[stroke-dasharray]").rect["x"]
    bars = [one.rect["x"] for one in browser.find_elements(By.CSS_SELECTOR, "figure svg:first-of-type rect")]
    assert (sum(x > line for x in bars) >= 1, sum(x < line for x in bars) >= 10) == (True, True)
    browser.find_element(By.TAG_NAME, "summary").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 26
