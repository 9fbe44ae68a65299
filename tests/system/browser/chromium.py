"""A real Chromium, driven over WebDriver; its profile is a folder of the test, and it talks to loopback only."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe_core_python
from flask import Flask
from werkzeug.serving import make_server

from testbed.patience import PATIENCE_S
from tests.support.needs import need

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    # Whatever it would still like to look up, it finds nobody but us.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

BROAD = """
const broad = e => e.getBoundingClientRect().right > window.innerWidth + 0.5 && !e.closest('svg');
return [...document.querySelectorAll('body *')].filter(broad)
    .map(e => e.tagName + ' ' + e.textContent.slice(0, 40))
"""
"""What reaches beyond the screen."""

SMALL = """
const pressed = [...document.querySelectorAll('a, button:not([hidden])')];
return pressed.map(e => [e.textContent, e.getBoundingClientRect()])
    .filter(([, box]) => box.height < 44 || box.width < 44).map(([text]) => text)
"""
"""What is hard to press with a finger."""

FONT = "fonts-ipafont-gothic"
"""Without one of Japanese its letters are narrow boxes, and a page looks shorter than on a phone."""

AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
AXE_RUN = "axe.run().then(found => arguments[0](found.violations.map(one => [one.id, one.nodes.map(node => node.html)])))"


@contextmanager
def chromium(profile: Path, *, width: int = 390, height: int = 844) -> Iterator[Chrome]:
    """A browser with a phone's viewport."""
    need("chromium", "chromium-driver", FONT)
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    surroundings = {**os.environ, "HOME": str(profile), "SE_AVOID_STATS": "true"}  # Debian's wrapper writes below HOME
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver", env=surroundings))
    try:
        driver.set_script_timeout(PATIENCE_S)
        resize(driver, width, height)
        yield driver
    finally:
        driver.quit()


def resize(driver: Chrome, width: int, height: int, *, scale: float = 2) -> None:
    """Make the viewport exactly this large, as on a phone; a window would not become so narrow."""
    screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def complaints(driver: Chrome) -> list[str]:
    """What the console has to say; the icon that every browser asks for by itself is none of the page's doing."""
    return [entry["message"] for entry in driver.get_log("browser") if "favicon.ico" not in entry["message"]]


def violations(driver: Chrome) -> list[Any]:
    """What axe-core finds wrong with the page as it is shown: contrast, names, landmarks, order."""
    driver.execute_script(AXE.read_text(encoding="utf-8"))
    problems: list[Any] = driver.execute_async_script(AXE_RUN)
    return problems


@contextmanager
def served(app: Flask, port: int) -> Iterator[None]:
    """The app on 127.0.0.1."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
