"""Takes the docs' picture of the approval page: `python -m tools.docs.approval_picture docs/approval.png [--language ja]`."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from selenium.webdriver.support.ui import WebDriverWait

from testbed.broker import free_ports
from tests.support.worlds.stuck_mail import SECRETS, stuck_mail
from tests.system.browser.chromium import chromium, resize, served

WIDTH = 390
"""Pixels of a usual phone."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs.approval_picture")
    parser.add_argument("file", type=Path)
    parser.add_argument("--language", choices=("en", "ja"), default="en")
    given = parser.parse_args()
    os.environ.update(SECRETS)
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        stuck_mail(Path(folder), language=given.language, public_url=f"http://127.0.0.1:{port}") as mail,
        served(mail.app(), port),
        chromium(Path(folder) / "profile") as browser,
    ):
        now = time.time()
        mail.queue.history = [(now - 3600, 210, 20, 9000), *((now - 120 + 5 * n, 210 + 11 * n // 2, 20, 9000) for n in range(25))]
        mail.alert()
        browser.get(mail.ports.rules.public_url + mail.path())
        WebDriverWait(browser, 20).until(lambda here: here.find_elements("name", "act"))  # the link's page has posted its token
        resize(browser, WIDTH, browser.execute_script("return document.documentElement.scrollHeight"), scale=1.25)
        browser.save_screenshot(str(given.file))


if __name__ == "__main__":
    main()
