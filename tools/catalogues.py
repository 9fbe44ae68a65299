r"""Update the translation catalogues from the code: `python tools/catalogues.py`.

Each `Text("...")` in functions/ and unstick/ is a message. New messages are added to every
functions/locale/*/LC_MESSAGES/unstick.po, with the translation of the text that they correct, marked `fuzzy`, or none. Obsolete
ones are removed, and the .mo files, which Unstick reads at run time, are compiled again. To add a language, create an empty
folder (mkdir -p functions/locale/de/LC_MESSAGES) and run this.
"""

import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "functions" / "locale"
OWN = ROOT / "functions" / "runtime" / "text.py"
"""The only file that makes a Text from another one's template."""

PLACE = re.compile(r"\{\w+\}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Of all headers only these, so that the same code and translations give the same bytes."""


def messages() -> Iterator[tuple[str | tuple[str, str], str]]:
    """Each message of the code, with its plural if it has one, and the file that contains it."""
    for path in (one for top in ("functions", "unstick") for one in sorted((ROOT / top).rglob("*.py"))):
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text":
                texts = tuple(argument.value for argument in node.args if isinstance(argument, ast.Constant))
                if len(texts) == len(node.args) and texts:
                    yield (texts[0] if len(texts) == 1 else (texts[0], texts[1])), place
                elif path != OWN:
                    raise SystemExit(
                        f"{place}:{node.lineno}: a Text's template must be written out, so that it can be translated"
                    )


def updated(po: Path) -> Catalog:
    """The catalogue with the code's current messages, in the code's order. A corrected English text keeps its translation, as
    fuzzy, unless its values have other names; a new text gets none of those that are still said, and an old one keeps its own."""
    catalogue = read_po(io.BytesIO(po.read_bytes()), locale=po.parts[-3]) if po.exists() else Catalog(locale=po.parts[-3])
    current = Catalog(locale=po.parts[-3], project="Unstick", creation_date=EPOCH, revision_date=EPOCH, fuzzy=False)
    for message, place in messages():
        current.add(message, locations=[(place, 0)])
    gone = Catalog(locale=po.parts[-3])
    for message in catalogue:
        if message.id and message.id not in current:
            gone.add(message.id, message.string)
    gone.update(current)
    former = {message.id for message in catalogue}
    catalogue.update(current, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    for message in catalogue:
        corrected = gone.get(message.id) if message.id not in former else None
        if corrected and corrected.fuzzy and _has_same_values(corrected):
            message.string = corrected.string
            message.flags.add("fuzzy")
    catalogue.project, catalogue.revision_date, catalogue.fuzzy = "Unstick", EPOCH, False
    catalogue.header_comment = "# Translations of Unstick. Write here, then: python tools/catalogues.py"
    return catalogue


def _has_same_values(message: Message) -> bool:
    """Whether each translation has the same placeholders as the English text."""
    texts, translations = ((one,) if isinstance(one, str) else tuple(one) for one in (message.id, message.string))
    return all(set(PLACE.findall(one)) == set(PLACE.findall(texts[-1])) for one in translations)


def to_look_at() -> list[str]:
    """The translations whose English text has changed since. Remove `fuzzy` where they still fit."""
    catalogues = {po: read_po(io.BytesIO(po.read_bytes())) for po in sorted(LOCALES.glob("*/LC_MESSAGES/unstick.po"))}
    return [
        f"{po.relative_to(ROOT)}: {one.id!r}" for po, catalogue in catalogues.items() for one in catalogue if one.id and one.fuzzy
    ]


def written(catalogue: Catalog) -> tuple[bytes, bytes]:
    """The content of the .po and the .mo file."""
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalogue, width=130, include_lineno=False)
    write_mo(mo, catalogue, use_fuzzy=True)
    return po.getvalue(), mo.getvalue()


def main() -> int:
    """Update all catalogues, and print the untranslated messages."""
    missing = 0
    for folder in sorted(LOCALES.glob("*/LC_MESSAGES")):
        po = folder / "unstick.po"
        catalogue = updated(po)
        for path, content in zip((po, po.with_suffix(".mo")), written(catalogue), strict=True):
            path.write_bytes(content)
        for message in catalogue:
            if message.id and not (all(message.string) if isinstance(message.string, tuple) else message.string):
                print(f"{po.relative_to(ROOT)}: not translated: {message.id!r}")
                missing += 1
    for place in to_look_at():
        print(f"look at the translation, then remove `#, fuzzy`: {place}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
