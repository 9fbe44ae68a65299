"""One incident as an HTML page of its own: the curves, the timeline and the evidence. It has no scripts and loads nothing.

Everything from outside goes through `html.escape` where it is inserted.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from functions.domain.cards.queue_facts import QUEUE_NAME
from functions.domain.cards.rendering import clock, html, tidy
from functions.domain.cards.svg import STRONG, curve_svg
from functions.domain.cards.timeline import Entry
from functions.domain.model.incidents import Incident
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import CURVE, curve_words
from functions.runtime.text import Phrase, Text, named

CURVE_WIDTH = 560
OUTPUT = 300_000
"""Characters of evidence; more than is kept."""
STYLE = """
:root{color-scheme:light}
body{margin:0;background:#fff;color:#1c1e21;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK JP","Hiragino Sans",sans-serif;overflow-wrap:anywhere}
main{max-width:60rem;margin:0 auto;padding:24px}
h1{margin:0 0 4px;font-size:1.4rem}
h2{margin:28px 0 6px;font-size:1.05rem}
p{margin:4px 0}
.note{color:#555b66}
table{width:100%;border-collapse:collapse}
td{padding:5px 12px 5px 0;border-top:1px solid #d9dce1;vertical-align:top}
td:first-child{color:#555b66;white-space:nowrap}
td:nth-child(2){font-weight:600;white-space:nowrap}
.alert td:nth-child(2){color:#b3261e}
.restart td:nth-child(2){color:#8a5a00}
.decision td:nth-child(2),.evidence td:nth-child(2){color:#1f4e8c}
.verdict td:nth-child(2),.outcome td:nth-child(2){color:#1b6e3c}
pre{margin:6px 0;padding:10px;background:#f2f4f7;border-radius:6px;font:12.5px/1.45 ui-monospace,"SF Mono",Menlo,Consolas,monospace;white-space:pre-wrap}
figure{margin:8px 0}
figcaption{color:#555b66;font-size:.85rem}
"""  # noqa: E501 - a rule stays on its line
KINDS = {
    "alert": Text("Alert"),
    "check": Text("Check"),
    "decision": Text("Decision"),
    "evidence": Text("Evidence"),
    "restart": Text("Restart"),
    "verdict": Text("Verdict"),
    "outcome": Text("Outcome"),
}


def page(title: Phrase, incident: Incident, entries: Sequence[Entry], rules: Rules, *, evidence: str = "") -> str:
    """The whole page. `evidence`: the kept output."""
    rows = [_row(entry, rules) for entry in entries]
    parts = [
        "<!doctype html>",
        f'<html lang="{escape(rules.language)}"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html(rules, title)}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{html(rules, title)}</h1>",
        f'<p class="note">{html(rules, named(Text("Incident"), tidy(incident.id, 80)))}</p>',
        *_curves(incident, rules),
        f"<h2>{html(rules, Text('What happened'))}</h2><table>{''.join(rows)}</table>",
    ]
    if evidence:
        parts.append(f"<h2>{html(rules, Text('Evidence'))}</h2><pre>{escape(clean(evidence, OUTPUT, '…', lines=True))}</pre>")
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _curves(incident: Incident, rules: Rules) -> list[str]:
    """The depth of each queue over time, in a picture and in words."""
    figures = []
    for watched in incident.queues:
        drawn = curve_svg(watched.curve, STRONG["plan"], width=CURVE_WIDTH)
        if drawn:
            words = named(tidy(watched.queue.name, QUEUE_NAME), named(CURVE, curve_words(watched.curve, rules.language)))
            figures.append(f"<figure>{drawn}<figcaption>{html(rules, words)}</figcaption></figure>")
    return figures


def _row(entry: Entry, rules: Rules) -> str:
    text = html(rules, entry.text)
    if entry.link:
        text = f'<a href="{escape(entry.link)}">{text}</a>'
    lines = escape("\n".join(clean(line, 400, "…") for line in entry.lines))
    shown = f"<pre>{lines}</pre>" if lines else ""
    kind = html(rules, KINDS[entry.kind])
    return f'<tr class="{entry.kind}"><td>{escape(clock(rules, entry.at))}</td><td>{kind}</td><td>{text}{shown}</td></tr>'
