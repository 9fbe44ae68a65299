"""The HTML of the approval page. It has no scripts or pictures, and loads nothing.

Everything from outside goes through `html.escape` where it is inserted. Colours meet WCAG AA in light and dark.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape

from msgspec import Struct

from functions.domain.cards import facts, svg
from functions.domain.cards.card_input import CardInput
from functions.domain.model.codes import Health, Reason
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.approval_words import say
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.words import duration
from functions.domain.texts.words import say as say_card

QUEUES_SHOWN = 5
CURVE_WIDTH = 264
"""Pixels: the width between the margins on a screen of 320."""

STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--grey:#555b66;--page:#fff;--soft:#f2f4f7;--line:#8a919c;--act:#b3261e;--warn:#fff3cd;--warn-ink:#4d3800;--link:#0b57d0}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--grey:#b3b9c2;--page:#17191c;--soft:#24272c;--line:#7d8590;--act:#b3261e;--warn:#4a3900;--warn-ink:#ffe9a8;--link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK JP","Hiragino Sans",sans-serif;overflow-wrap:anywhere}
main{max-width:36rem;margin:0 auto;padding:16px 16px 40px}
.brand{margin:0;color:var(--grey);font-size:.875rem}
h1{margin:.2rem 0 .6rem;font-size:1.5rem;line-height:1.25}
h2{margin:1.6rem 0 .4rem;font-size:1.0625rem}
h3{margin:.8rem 0 .2rem;font-size:1rem}
p{margin:.5rem 0}
.note{color:var(--grey);font-size:.9375rem}
.warn{padding:10px 12px;border-left:4px solid currentColor;background:var(--warn);color:var(--warn-ink)}
dl{display:grid;grid-template-columns:minmax(6.5rem,auto) 1fr;gap:.25rem .75rem;margin:.3rem 0}
dt{color:var(--grey)}
dd{margin:0}
figure{margin:.5rem 0;padding:8px;width:max-content;max-width:100%;background:#fff;border:1px solid var(--line);border-radius:8px;overflow:hidden}
figcaption{max-width:264px;color:#555b66;font-size:.875rem}
svg{display:block}
pre{margin:.3rem 0;padding:10px;background:var(--soft);border-radius:8px;font:.8125rem/1.45 ui-monospace,"SF Mono",Menlo,Consolas,monospace;white-space:pre-wrap}
form{margin:1.2rem 0 .4rem}
button{width:100%;min-height:56px;padding:12px 16px;border:2px solid transparent;border-radius:12px;background:var(--act);color:#fff;font:inherit;font-size:1.125rem;font-weight:700;cursor:pointer}
a{color:var(--link)}
nav a{display:inline-flex;align-items:center;min-width:44px;min-height:44px;padding:0 4px;margin:0 12px 0 -4px}
button:focus-visible,a:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
"""  # noqa: E501 - a rule stays on its line

_HASH = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers would send `Origin: null` with the button, as a stranger's page does.
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – Unstick</title>
<style>{style}</style>
</head>
<body>
<main>
<p class="brand">Unstick</p>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


class Row(Struct, frozen=True):
    """One queue as it is right now."""

    name: str
    vhost: str
    seen: QueueSnapshot | Unknown
    health: Health


class View(Struct, frozen=True):
    """Everything that the page with the button shows. `warnings`: what would keep the button from restarting anything."""

    story: CardInput
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()


def page(language: str, title: str, *parts: str) -> str:
    """A complete page. The parts are HTML, the title is plain text."""
    body = "\n".join(part for part in parts if part)
    return _PAGE.format(language="ja" if language == "ja" else "en", title=escape(title), style=STYLE, body=body)


def text(sentence: str, kind: str = "") -> str:
    """A paragraph of plain text; `note` is less visible, `warn` stands out."""
    if not sentence:
        return ""
    return f'<p class="{kind}">{escape(sentence)}</p>' if kind else f"<p>{escape(sentence)}</p>"


def links(pairs: tuple[tuple[str, str], ...]) -> str:
    """Links that do not reveal this page's address. They are known to be http or https."""
    made = "".join(f'<a href="{escape(url)}" rel="noreferrer noopener">{escape(label)}</a>' for label, url in pairs)
    return f"<nav>{made}</nav>" if made else ""


def asking(view: View, rules: Rules) -> str:
    """The page with the button. What a person must know stands above it, what helps to judge below."""
    language, story = rules.language, view.story
    subject = facts.subject(story, rules)
    about = facts.gathered(story, rules, facts.since, facts.restart, facts.tried, facts.about)
    return page(
        language,
        say(language, "ask", subject=subject),
        *_why(story, rules),
        *(text(warning, "warn") for warning in view.warnings),
        _now(view, rules),
        f'<form method="post"><button type="submit">{escape(say(language, "button", subject=subject))}</button></form>',
        _until(story, rules),
        text(say(language, "still_held"), "note"),
        _heading(say(language, "what")),
        _listed(about),
        _log(story, rules),
        _links(story, rules),
    )


def _why(story: CardInput, rules: Rules) -> list[str]:
    language, reason = rules.language, story.reason
    if reason is None:
        return []
    detail = facts.exactly(rules, story.detail)
    parts = [text(REASONS[reason].words(language).why)]
    if reason is not Reason.AWAITING_APPROVAL:
        parts.append(text(say(language, "overrule"), "warn"))
    if detail:
        parts.append(text(say_card(language, "detail", detail=detail)))
    return parts


def _until(story: CardInput, rules: Rules) -> str:
    expires_at = story.incident.expires_at if story.incident else None
    nothing = say(rules.language, "changes_nothing")
    if expires_at is None:
        return text(nothing)
    left = duration(rules.language, expires_at - story.at)
    return text(f"{say(rules.language, 'until', until=facts.clock(rules, expires_at), left=left)} {nothing}")


def _heading(title: str) -> str:
    return f"<h2>{escape(title)}</h2>"


def _listed(pairs: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(f"<dt>{escape(label)}</dt><dd>{escape(said)}</dd>" for label, said in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def _now(view: View, rules: Rules) -> str:
    """The live figures of each queue."""
    language = rules.language
    parts = [_heading(say(language, "now"))]
    if view.rows and all(row.health is Health.WELL for row in view.rows):
        parts.append(text(say(language, "all_well"), "warn"))
    parts += [_queue(row, rules, view.story.at) for row in view.rows[:QUEUES_SHOWN]]
    if len(view.rows) > QUEUES_SHOWN:
        parts.append(text(say(language, "more_queues", count=len(view.rows) - QUEUES_SHOWN)))
    parts.append(text(say(language, "seen_at", at=facts.clock(rules, view.story.at)), "note"))
    return "\n".join(parts)


def _queue(row: Row, rules: Rules, now: float) -> str:
    language, seen = rules.language, row.seen
    name, vhost = facts.tidy(rules, row.name), facts.tidy(rules, row.vhost, 60)
    title = say_card(language, "vhost", queue=name, vhost=vhost) if vhost not in ("", "/") else name
    heading = f"<h3>{escape(title)}</h3>"
    if isinstance(seen, Unknown):
        return heading + text(say(language, "unread", why=facts.exactly(rules, seen.why, 300)), "warn")
    depths = {"depth": facts.number(seen.depth), "ready": facts.number(seen.ready), "unacked": facts.number(seen.unacked)}
    shown = [(say(language, "messages"), say(language, "of_them", **depths))]
    if row.health is not Health.UNKNOWN:
        shown.insert(0, (say(language, "state"), say(language, row.health.value)))
    if seen.consumers is not None:
        shown.append((say(language, "consumers"), facts.number(seen.consumers)))
    if len(seen.ack_samples) > 1:
        (first_at, first), (last_at, last) = seen.ack_samples[0], seen.ack_samples[-1]
        count, span = facts.number(max(0, last - first)), duration(language, last_at - first_at)
        shown.append((say(language, "acked"), say(language, "acked_within", count=count, span=span)))
    if seen.head_at is not None:
        shown.append((say(language, "oldest"), say_card(language, "old", age=duration(language, now - seen.head_at))))
    return heading + _listed(tuple(shown)) + _curve(seen, language)


def _curve(seen: QueueSnapshot, language: str) -> str:
    """The depth over the broker's last samples; the caption says the same in words."""
    points = seen.depth_samples
    drawn = svg.curve_svg(points, svg.STRONG["act"], width=CURVE_WIDTH)
    if not drawn:
        return ""
    span = duration(language, points[-1][0] - points[0][0])
    first, last = facts.number(points[0][1]), facts.number(points[-1][1])
    caption = escape(say(language, "curve", span=span, first=first, last=last))
    silent = drawn.replace("<svg ", '<svg aria-hidden="true" ', 1)
    return f"<figure>{silent}<figcaption>{caption}</figcaption></figure>"


def _log(story: CardInput, rules: Rules) -> str:
    tail = story.incident.tail if story.incident else None
    if not tail:
        return ""
    lines = "\n".join(escape(facts.tidy(rules, line, 240)) for line in tail[-15:])
    return f"{_heading(say(rules.language, 'log'))}<pre>{lines}</pre>"


def _links(story: CardInput, rules: Rules) -> str:
    made = links(facts.links(story, rules))
    return _heading(say(rules.language, "links")) + made if made else ""
