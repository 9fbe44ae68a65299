"""Reads the documentation's pages: their blocks, prose, headings and links."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {".venv", ".git", "build", "node_modules", "recordings", ".pytest_cache", ".hypothesis"}
PAGES = sorted(path for path in ROOT.rglob("*.md") if not LEFT_OUT & set(path.relative_to(ROOT).parts))
FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
IMAGE_OR_ANCHOR = re.compile(r'<(?:img|a)\s[^>]*?(?:src|href)="([^"]+)"')


def named(path: Path) -> str:
    """The path relative to the repository."""
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    """The file's text, read once."""
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(text after the fence, block) of each fenced block, without its indentation."""
    for found in FENCE.finditer(text_of(path)):
        indent, _, info, body = found.groups()
        yield info.strip(), "\n".join(line.removeprefix(indent) for line in body.splitlines())


def prose(path: Path) -> str:
    """The page without its blocks."""
    return FENCE.sub("", text_of(path))


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: lower case, without punctuation, hyphens for spaces."""
    plain = LINK.sub(lambda found: found[0].partition("[")[2].partition("]")[0], heading).replace("`", "")
    return "".join(
        sign if sign.isalnum() or sign in "-_" else "-" for sign in plain.strip().lower() if sign.isalnum() or sign in "-_ "
    )


def anchors(path: Path) -> set[str]:
    """The anchors of the page's headings, numbered if they repeat."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path), re.MULTILINE):
        name = slug(heading)
        made.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return made


def links(path: Path) -> list[str]:
    """The targets of the page's links and pictures, except in code."""
    without_code = re.sub(r"`[^`\n]*`", "", prose(path))
    return [*LINK.findall(without_code), *IMAGE_OR_ANCHOR.findall(without_code)]


def sections(path: Path, level: int, within: str = "") -> dict[str, str]:
    """Heading -> text up to the next heading of this level or above; `within`: only those under this heading."""
    text = text_of(path)
    if within:
        text = text.split(f"\n{'#' * (level - 1)} {within}\n", 1)[1]
        text = re.split(rf"^#{{1,{level - 1}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(rf"^#{{{level}}} (.+)$", text, flags=re.MULTILINE)
    return {
        heading: re.split(rf"^#{{1,{level}}} ", body, maxsplit=1, flags=re.MULTILINE)[0]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }
