"""Writes the pictures and the page of docs/cards, and the posts that docs/screens shows: `python -m tools.docs.gallery`."""

from pathlib import Path

from tests.support.worlds.example_stories import EXAMPLES, answerable, rules
from tools.docs import chat_screens
from tools.docs.card_picture import card_svg

DOCS = Path(__file__).resolve().parents[2] / "docs"
CARDS = DOCS / "cards"
IN_JAPANESE = (
    "started", "held-awaiting-approval", "recovered", "recovered-one", "escalated", "held-restart-refused", "held-overrule",
)  # fmt: skip
PICTURES = {f"{name}.svg": (name, "en") for name in EXAMPLES} | {f"{name}-ja.svg": (name, "ja") for name in IN_JAPANESE}


PAGE = """# What people see

The same escalation in two chats on a phone, drawn by
[a script](../../tools/docs/chat_screens.js) that doesn't copy the apps' look. What was sent: [Slack](../screens/slack.json),
[Google Chat](../screens/google_chat.json).

![The escalation in Slack](../screens/slack.png)
![The escalation in Google Chat](../screens/google_chat.png)

## All cards

Each card at the width of a phone, drawn from the same data that the chats get. `make docs` writes this page.

"""


def files() -> dict[Path, str]:
    """Each file and its content."""
    drawn = {
        CARDS / picture: card_svg(answerable(EXAMPLES[name], rules(language)), language)
        for picture, (name, language) in PICTURES.items()
    }
    page = PAGE + "".join(f"![{picture.removesuffix('.svg')}]({picture})\n" for picture in PICTURES)
    return (
        drawn
        | {CARDS / "README.md": page}
        | {chat_screens.SCREENS / f"{chat}.json": chat_screens.as_text(chat) for chat in chat_screens.CHATS}
    )


def problems() -> list[Path]:
    """Files that are outdated or left over."""
    current = files()
    stale = [path for path, text in current.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return stale + [path for path in CARDS.iterdir() if path not in current]


def main() -> None:
    """Write them. `python -m tools.docs.chat_screens` takes the pictures of screens."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
