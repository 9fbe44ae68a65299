"""Takes the pictures of the chats for docs/chat.md: `python -m tools.docs.chat_screens`.

They have no renderer to run: chat_screens.js draws the blocks that Unstick sends. The JSON beside the pictures is what is
posted (tools/docs/gallery.py).
"""

import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from functions.domain.decisions.messages import call_people
from testbed import debian
from tests.support.worlds.example_stories import EXAMPLES, RUNBOOK, answerable, rules
from tests.system.browser.chromium import chromium, resize

SCREENS = Path(__file__).parents[2] / "docs" / "screens"
CHATS = ("slack", "google_chat")
STORY = "escalated"
WIDTH = 390
PAGE = "<!doctype html><meta name=viewport content='width=device-width'><body style='margin:0;background:white'></body>"


def message(chat: str) -> Any:
    """What this chat gets of the gallery's escalation, with the mentions of its runbook."""
    card, _ = call_people(rules(), RUNBOOK, answerable(EXAMPLES[STORY], rules()), ())
    return import_module(f"functions.adapters.chats.{chat}").render(card, "en")


def as_text(chat: str) -> str:
    """The JSON beside the picture."""
    return json.dumps(message(chat), ensure_ascii=False, indent=2) + "\n"


def main() -> None:
    """Write the JSON and draw the pictures."""
    debian.ensure("fonts-noto-color-emoji")
    drawing = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile", width=WIDTH) as browser:
        for chat in CHATS:
            (SCREENS / f"{chat}.json").write_text(as_text(chat), encoding="utf-8")
            browser.get(f"data:text/html;charset=utf-8,{PAGE}")
            browser.execute_script(f"{drawing}\ndocument.body.append({chat}(arguments[0]))", message(chat))
            resize(browser, WIDTH, browser.execute_script("return document.body.firstElementChild.offsetHeight"), scale=1.5)
            browser.save_screenshot(str(SCREENS / f"{chat}.png"))


if __name__ == "__main__":
    main()
