"""The HTML of the approval page. It has no scripts or pictures, and loads nothing.

Everything from outside goes through `html.escape` where it is inserted. Colours meet WCAG AA in light and dark.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import card, facts, svg
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.queue_facts import QUEUE_NAME
from functions.domain.cards.rendering import Fact, clock, html, tidy
from functions.domain.model.codes import Health, Reason
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.evidence_lines import LINE, LINES
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.words import LOG_END, duration
from functions.runtime.text import Phrase, Text

QUEUES_SHOWN = 5
NAME, WHY = 80, 200
"""Characters of a person's name and reason."""
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
input{box-sizing:border-box;width:100%;min-height:48px;margin:.3rem 0 .8rem;padding:8px 12px;border:1px solid var(--grey);border-radius:12px;background:var(--soft);color:var(--ink);font:inherit}
button{width:100%;min-height:56px;padding:12px 16px;border:2px solid transparent;border-radius:12px;background:var(--act);color:#fff;font:inherit;font-size:1.125rem;font-weight:700;cursor:pointer}
a{color:var(--link)}
nav a{display:inline-flex;align-items:center;min-width:44px;min-height:44px;padding:0 4px;margin:0 12px 0 -4px}
button.quiet{margin-top:12px;border-color:var(--grey);background:var(--page);color:var(--ink)}
button:focus-visible,input:focus-visible,a:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
"""  # noqa: E501 - a rule stays on its line

SCRIPT = """const token = location.hash.slice(1), form = document.forms[0];
if (token) { form.elements.token.value = token; form.submit(); }"""
"""Posts what stands behind the link's `#`."""


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


_POLICY = f"default-src 'none'; style-src {_hash(STYLE)}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` with the button, which no check can tell from a stranger's page.
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
OPENING_HEADERS = {**HEADERS, "Content-Security-Policy": f"{_POLICY}; script-src {_hash(SCRIPT)}"}

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
    seen: QueueSnapshot | Unknown
    health: Health


class View(Struct, frozen=True):
    """Everything that the page with the button shows. `warnings`: what would keep the button from restarting anything."""

    story: CardInput
    rows: tuple[Row, ...]
    warnings: tuple[Phrase, ...] = ()


class Person(Struct, frozen=True):
    """Who looks at the page, as far as is known. `verified`: a proxy signed them in; otherwise their browser kept the name."""

    name: str = ""
    verified: bool = False


RESTART, DECLINE, ACKNOWLEDGE = "restart", "decline", "acknowledge"
"""What the buttons send as `act`."""
DONT = Text("Don't restart it")
NOTHING_CHANGED = Text("Opening this page has changed nothing.")
HEALTH = {Health.ILL: Text("Stuck"), Health.WELL: Text("Not stuck"), Health.UNSURE: Text("Not yet clear whether it is stuck")}


def page(rules: Rules, title: Phrase, *parts: str) -> str:
    """A complete page. The parts are HTML."""
    body = "\n".join(part for part in parts if part)
    return _PAGE.format(language=rules.language, title=html(rules, title), style=STYLE, body=body)


def text(rules: Rules, phrase: Phrase, kind: str = "") -> str:
    """A paragraph; `note` is less visible, `warn` stands out."""
    return f'<p class="{kind}">{html(rules, phrase)}</p>' if kind else f"<p>{html(rules, phrase)}</p>"


def links(rules: Rules, pairs: Iterable[tuple[Phrase, str]]) -> str:
    """Links that do not reveal this page's address. They are known to be http or https."""
    anchors = (f'<a href="{escape(url)}" rel="noreferrer noopener">{html(rules, label)}</a>' for label, url in pairs if url)
    row = "".join(anchors)
    return f"<nav>{row}</nav>" if row else ""


def opening(rules: Rules) -> str:
    """The page that a link opens. Without JavaScript a person pastes the link into it."""
    pasting = Text(
        "If nothing happens, this browser does not run JavaScript. Copy the whole link from the message and paste it here."
    )
    return page(
        rules,
        Text("Opening the approval page"),
        text(rules, pasting),
        f'<form method="post" action="open"><label for="token">{html(rules, Text("Link from the message"))}</label>'
        '<input id="token" name="token" required autocomplete="off" spellcheck="false">'
        f'<button type="submit">{html(rules, Text("Open"))}</button></form>',
        f"<script>{SCRIPT}</script>",
    )


def asking(view: View, rules: Rules, token: str, person: Person) -> str:
    """The page with the buttons. What a person must know stands above it, what helps to judge below."""
    card_input = view.story
    subject = facts.subject(card_input)
    button = html(rules, Text("Restart {subject} now", subject=subject))
    condition = Text(
        "Nothing is restarted if the kill switch is on by then, the queue has recovered, or its figures or Rundeck can't be read."
    )
    declining = Text("If you decline, Unstick doesn't ask again for this alert. A new alert is decided anew.")
    return page(
        rules,
        Text("Restart {subject}?", subject=subject),
        *_why(card_input, rules),
        *(text(rules, warning, "warn") for warning in view.warnings),
        _now(view, rules),
        _form(
            rules,
            token,
            person,
            f'<label for="why">{html(rules, Text("Reason (optional)"))}</label>'
            f'<input id="why" name="why" maxlength="{WHY}" autocomplete="off">'
            f'<button type="submit" name="act" value="{RESTART}">{button}</button>'
            f'<button type="submit" name="act" value="{DECLINE}" class="quiet">{html(rules, DONT)}</button>',
        ),
        _until(card_input, rules),
        text(rules, condition, "note"),
        text(rules, declining, "note"),
        _heading(rules, Text("What it is about")),
        _listed(rules, facts.gathered(card_input, rules, facts.since, facts.restart, facts.tried)),
        _log(card_input, rules),
        _links(card_input, rules),
    )


def taking(view: View, rules: Rules, token: str, person: Person) -> str:
    """The page on which a person takes an escalation."""
    card_input = view.story
    subject = facts.subject(card_input)
    button = html(rules, Text("I take {subject}", subject=subject))
    meaning = Text("Nobody is reminded any more once somebody has taken it. It restarts nothing.")
    return page(
        rules,
        Text("Take {subject}?", subject=subject),
        *_why(replace(card_input, detail=""), rules),
        _now(view, rules),
        _form(rules, token, person, f'<button type="submit" name="act" value="{ACKNOWLEDGE}">{button}</button>'),
        text(rules, meaning, "note"),
        _heading(rules, Text("What it is about")),
        _listed(rules, facts.gathered(card_input, rules, facts.taken, facts.since)),
        _links(card_input, rules),
    )


def _form(rules: Rules, token: str, person: Person, fields: str) -> str:
    """What a person sends: who they are, then these fields and buttons."""
    return (
        f'<form method="post"><input type="hidden" name="token" value="{escape(token)}">'
        # Enter in a field presses the first button of a form: this one, which does nothing.
        f"<button disabled hidden></button>{_who(person, rules)}{fields}</form>"
    )


def _who(person: Person, rules: Rules) -> str:
    """The field for the name; a person whom a proxy signed in needs none."""
    if person.verified:
        return text(rules, Text("You are signed in as {name}.", name=person.name), "note")
    return (
        f'<label for="who">{html(rules, Text("Your name"))}</label>'
        f'<input id="who" name="who" maxlength="{NAME}" autocomplete="name" value="{escape(person.name)}">'
    )


def _why(card_input: CardInput, rules: Rules) -> list[str]:
    if card_input.reason is None:
        return []
    parts = [text(rules, REASONS[card_input.reason].why)]
    if card_input.reason is not Reason.AWAITING_APPROVAL and card_input.escalation is None:
        overrules = Text("Approving overrules Unstick, which does not restart this by itself.")
        parts.append(text(rules, overrules, "warn"))
    if card_input.detail:
        parts.append(text(rules, card.details(card_input.detail)))
    return parts


def _until(card_input: CardInput, rules: Rules) -> str:
    expires_at = card_input.incident.expires_at if card_input.incident else None
    if expires_at is None:
        return text(rules, NOTHING_CHANGED)
    once = Text(
        "The buttons work once, until {until} (another {left}). {nothing_changed}",
        until=clock(rules, expires_at),
        left=duration(expires_at - card_input.at),
        nothing_changed=NOTHING_CHANGED,
    )
    return text(rules, once)


def _heading(rules: Rules, title: Phrase, level: str = "h2") -> str:
    return f"<{level}>{html(rules, title)}</{level}>"


def _listed(rules: Rules, pairs: Iterable[Fact]) -> str:
    rows = "".join(f"<dt>{html(rules, label)}</dt><dd>{html(rules, value)}</dd>" for label, value in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def _now(view: View, rules: Rules) -> str:
    """The live figures of each queue."""
    parts = [_heading(rules, Text("Current state"))]
    if view.story.escalation is None and view.rows and all(row.health is Health.WELL for row in view.rows):
        parts.append(text(rules, Text("No queue is stuck: the button would restart nothing."), "warn"))
    parts += [_queue(row, rules, view.story.at) for row in view.rows[:QUEUES_SHOWN]]
    if len(view.rows) > QUEUES_SHOWN:
        more = Text("and {count} more queue", "and {count} more queues", count=len(view.rows) - QUEUES_SHOWN)
        parts.append(text(rules, more))
    read_at = Text("Read at {at}. Reload the page for newer figures.", at=clock(rules, view.story.at))
    return "\n".join((*parts, text(rules, read_at, "note")))


def _queue(row: Row, rules: Rules, now: float) -> str:
    heading, seen = _heading(rules, tidy(row.name, QUEUE_NAME), "h3"), row.seen
    if isinstance(seen, Unknown):
        return heading + text(rules, Text("It can't be read: {why}", why=seen.why), "warn")
    depths: Phrase = f"{seen.depth:,}"
    if seen.ready is not None and seen.unacked is not None:
        parts = {"depth": seen.depth, "ready": seen.ready, "unacked": seen.unacked}
        depths = Text("{depth} ({ready} ready, {unacked} unacknowledged)", **parts)
    facts_shown: list[Fact] = [(Text("Messages"), depths)]
    if row.health in HEALTH:
        facts_shown.insert(0, (Text("State"), HEALTH[row.health]))
    if seen.consumers is not None:
        facts_shown.append((Text("Consumers"), f"{seen.consumers:,}"))
    if len(seen.ack_samples) > 1:
        (first_at, first), (last_at, last) = seen.ack_samples[0], seen.ack_samples[-1]
        processed = Text("{number} in the last {span}", number=max(0, last - first), span=duration(last_at - first_at))
        facts_shown.append((Text("Processed"), processed))
    if seen.head_at is not None:
        facts_shown.append((Text("Oldest message"), Text("{age} old", age=duration(now - seen.head_at))))
    return heading + _listed(rules, facts_shown) + _curve(seen, rules)


def _curve(seen: QueueSnapshot, rules: Rules) -> str:
    """The depth over the broker's last samples; the caption says the same in words."""
    points = seen.depth_samples
    picture = svg.curve_svg(points, svg.STRONG["act"], width=CURVE_WIDTH)
    if not picture:
        return ""
    span = duration(points[-1][0] - points[0][0])
    caption = Text("Depth over the last {span}: {first} → {last}", span=span, first=points[0][1], last=points[-1][1])
    silent = picture.replace("<svg ", '<svg aria-hidden="true" ', 1)
    return f"<figure>{silent}<figcaption>{html(rules, caption)}</figcaption></figure>"


def _log(card_input: CardInput, rules: Rules) -> str:
    incident = card_input.incident
    title, shown = (LOG_END, incident.tail) if incident and incident.tail else facts.shown_lines(card_input)
    if not shown:
        return ""
    lines = "\n".join(escape(tidy(line, LINE)) for line in shown[-LINES:])
    return f"{_heading(rules, title)}<pre>{lines}</pre>"


def _links(card_input: CardInput, rules: Rules) -> str:
    row = links(rules, facts.links(card_input, rules))
    return _heading(rules, Text("Where to look")) + row if row else ""
