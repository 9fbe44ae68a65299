"""One browser for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.system.browser.chromium import chromium, complaints

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def browser(started: Chrome) -> Chrome:
    """The browser without the page, the complaints and the cookies of the test before."""
    started.execute_cdp_cmd("Network.clearBrowserCookies", {})
    started.get("about:blank")
    complaints(started)
    return started


@pytest.fixture(params=["en", pytest.param("ja", marks=pytest.mark.long)])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)
