"""One incident as pages and the command line show it: its card as it stands, its place in the list, all that happened, in order,
the curves of its queues, drawn as SVG, and the ticket for the application's developers."""

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import card, facts
from functions.domain.cards.content import SENTENCE, CardInput, clock, rendered, tidy
from functions.domain.cards.facts import HOLDERS_SHOWN, QUEUE_NAME, held, say_starter
from functions.domain.model.alerts import Target
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.codes import ASKED, Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import AlertRef, Escalation, Evidence, HistoryEntry, Incident, Outcome, QueueState
from functions.domain.model.observations import Execution, QueueSnapshot, Samples
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import ENDINGS, LINE, PHASES, REASONS, consumers, duration, messages, safe_url, worded
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

SUMMARY = 300

VERDICTS: Mapping[Verdict, Text] = {
    Verdict.RECOVERED: Text("recovered"),
    Verdict.DRAINING: Text("messages are being processed"),
    Verdict.STUCK: Text("still stuck"),
    Verdict.UNKNOWN: Text("unknown: the queue can't be read"),
}


KINDS: Mapping[str, Text] = {
    "alert": Text("alert"),
    "check": Text("check"),
    "decision": Text("decision"),
    "evidence": Text("evidence"),
    "restart": Text("restart"),
    "verdict": Text("verdict"),
    "outcome": Text("outcome"),
}


class Record(Struct, frozen=True):
    """An incident as people ask for it, open or ended."""

    target: Target | None
    incident: Incident
    outcome: Outcome | None = None  # None while it is open
    escalation: Escalation | None = None  # people were called for it, and as far as is known it is not healthy yet
    outcomes: tuple[Outcome, ...] = ()  # of its target's incidents before


class Entry(Struct, frozen=True):
    """One thing that happened. `kind`: one of KINDS."""

    at: float  # Unix seconds on our clock
    kind: str
    text: Phrase
    link: str = ""
    lines: tuple[str, ...] = ()  # log lines, shown literally


def tell(incident: Incident, outcome: Outcome | None = None) -> tuple[Entry, ...]:
    """The entries of an incident, oldest first."""
    entries = [
        *(entry for trigger in incident.triggers for entry in _alert(trigger)),
        *(entry for state in incident.queues for entry in _before(state)),
        *map(_decision, incident.history),
        *(_evidence(incident.evidence, incident.runner_ahead_s) if incident.evidence else ()),
        *(entry for run in {run.id: run for run in incident.executions}.values() for entry in _restart(run, incident)),
        *(entry for state in incident.queues for entry in _verdict(state, incident.runner_ahead_s)),
    ]
    if outcome is not None:
        why = REASONS[outcome.reason].short if outcome.reason else ""
        approved_by = tidy(incident.approval.approved_by)
        approved = Text("approved by {name}", name=approved_by) if approved_by else ""
        by = Text("by {name}", name=tidy(outcome.by)) if outcome.by else approved
        entries.append(Entry(outcome.at, "outcome", join((ENDINGS[outcome.ending], why, by))))
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.kind == "outcome")))


def _alert(trigger: AlertRef) -> Iterator[Entry]:
    name = tidy(trigger.name) or Text("an alert")
    link = safe_url(trigger.links.get("panel") or trigger.links.get("alert") or trigger.links.get("dashboard") or "")
    yield Entry(trigger.starts_at, "alert", named(Text("{alert} fires", alert=name), tidy(trigger.summary, SUMMARY)), link)
    if trigger.resolved_at is not None:
        yield Entry(trigger.resolved_at, "alert", Text("{alert} is resolved", alert=name))


def _before(state: QueueState) -> Iterator[Entry]:
    if state.before is not None:
        yield Entry(state.before.at, "check", named(tidy(state.queue.name, QUEUE_NAME), _describe(state.before)))


def _describe(reading: QueueSnapshot) -> Phrase:
    unacked = Text("{count} unacknowledged", count=reading.unacked) if reading.unacked is not None else ""
    connected = consumers(reading.consumers) if reading.consumers is not None else ""
    holders = (Text("held by {holder}", holder=held(holder, reading.at)) for holder in reading.holders[:HOLDERS_SHOWN])
    return join((join((messages(reading.depth), unacked, connected), COMMA), *holders))


def _decision(entry: HistoryEntry) -> Entry:
    reason = REASONS[entry.reason].short if entry.reason else ""
    return Entry(entry.at, "decision", named(PHASES[entry.phase].fill(attempt=entry.attempt), in_brackets(reason, entry.detail)))


def _evidence(evidence: Evidence, ahead_s: float) -> Iterator[Entry]:
    """The evidence run with the lines that cards show, or why there is none."""
    if evidence.asked_at is None:
        return
    at, run, link = evidence.asked_at, evidence.execution, ""
    said: Phrase = ""
    if run is not None:
        said, link = named(Text("execution {id}", id=tidy(run.id, 40)), worded(run.status)), safe_url(run.url)
        at = run.runner_ended_at - ahead_s if run.runner_ended_at is not None else at
    if evidence.missing:
        said = Text("none: {why}", why=evidence.missing)
    yield Entry(at, "evidence", said, link, evidence.lines)


def _restart(execution: Execution, incident: Incident) -> Iterator[Entry]:
    who = say_starter(execution)
    named_run = Text("execution {id}", id=tidy(execution.id, 40))
    ahead_s, link = incident.runner_ahead_s, safe_url(execution.url)
    started, ended = execution.runner_started_at, execution.runner_ended_at
    if started is not None:
        yield Entry(started - ahead_s, "restart", in_brackets(Text("{run} started", run=named_run), who), link)
    if ended is not None:
        took = Text("{status} after {took}", status=worded(execution.status), took=duration(ended - (started or ended)))
        lines = incident.run.tail if incident.execution is not None and incident.execution.id == execution.id else None
        yield Entry(ended - ahead_s, "restart", named(named_run, took), link, lines or ())


def _verdict(state: QueueState, ahead_s: float) -> Iterator[Entry]:
    after = state.after
    if after.verdict is None or after.looked_at is None:
        return
    left = messages(after.depth) if after.depth is not None else ""
    connected = consumers(state.consumers) if state.consumers is not None else ""
    said = in_brackets(VERDICTS[after.verdict], join((left, connected), COMMA))
    yield Entry(after.looked_at - ahead_s, "verdict", named(tidy(state.queue.name, QUEUE_NAME), said))


ENDED_AS: Mapping[Ending, CardKind] = {
    Ending.RECOVERED: CardKind.RECOVERED,
    Ending.ESCALATED: CardKind.ESCALATED,
    Ending.HELD: CardKind.HELD,
}


class Row(Struct, frozen=True):
    card: Card
    began_at: float
    restarts: int
    failed: int  # of these
    places: str  # where it hangs
    rank: int  # 0: it burns, 1: it is open, or a person still has to deal with it, 2: over


def to_row(record: Record, rules: Rules, now: float) -> Row:
    """Reduce an incident to its row in the list."""
    card_input = to_card_input(record, rules, now)
    shown = card.compose(card_input, rules)
    is_past = record.outcome is not None and (card_input.is_over or shown.urgency == "fine")
    bare = replace(shown, facts=(), text=(), evidence=(), curve=(), links=())
    runs = record.incident.executions
    failed = sum(run.failed for run in runs)
    places = ", ".join(dict.fromkeys(tidy(place.spot) for place in record.incident.places))
    return Row(bare, record.incident.first_alert_at, len(runs), failed, places, 2 if is_past else int(shown.urgency != "act"))


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """What burns first, then what goes on or waits for a person, then ended; the newest first of each. Of one that was just
    archived the later row counts."""
    distinct = {row.card.incident: row for row in rows}
    return sorted(distinct.values(), key=lambda row: (row.rank, -row.card.at, -row.began_at))


def to_card_input(record: Record, rules: Rules, now: float) -> CardInput:
    """What the card that tells how it ended, or where it stands, is made from."""
    incident, outcome = record.incident, record.outcome
    runbook = rules.runbooks.get(incident.runbook)
    card_input = CardInput(CardKind.STARTED, now, runbook, record.target, incident, incident.reason, incident.detail)
    card_input = replace(card_input, outcomes=record.outcomes)
    if outcome is None:
        nonce = incident.approval.nonce if incident.phase is Phase.ASKED else ""
        card_input = replace(card_input, approve_url=rules.link_to_answer(nonce))
        is_held = incident.phase in (Phase.ASKED, Phase.WAITING) and incident.reason is not None
        return replace(card_input, kind=CardKind.HELD, again=incident.phase is Phase.WAITING) if is_held else card_input
    kind, escalation, at = ENDED_AS[outcome.ending], record.escalation, outcome.at
    if escalation is not None and escalation.taken_by:
        kind, at = CardKind.ACKNOWLEDGED, escalation.taken_at or at
    elif outcome.reason is Reason.DECLINED:
        kind = CardKind.DECLINED
    elif outcome.reason in ASKED and incident.approval.nonce and kind != CardKind.RECOVERED:
        kind = CardKind.NOT_APPROVED
    elif outcome.reason is Reason.SYMPTOM_GONE and incident.told:
        kind = CardKind.RESOLVED
    most = runbook.recovered.max_messages if runbook else 0
    return replace(
        card_input,
        kind=kind,
        at=at,
        reason=outcome.reason,
        detail=incident.detail if outcome.reason else "",
        moving=any((state.after.depth or 0) > most for state in incident.queues),
        escalation=escalation,
        acknowledge_url=rules.link_to_answer(escalation.nonce) if escalation and not escalation.taken_by else "",
        healthy_url=rules.link_to_answer(outcome.nonce),
        is_over=escalation is None,
    )


SIZE = 560, 120
TOP = 0.93  # the share of the height that the maximum reaches, so that the end point fits in
DRAWING = (
    '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" fill="none" stroke="currentColor" overflow="visible" '
    'aria-hidden="true"><polygon class="area" fill="currentColor" stroke="none" opacity=".3" points="{area}"/>'
    '<path class="axis" stroke="#8a919c" d="M0 {height}H{width}"/>{marks}'
    '<polyline points="{line}" stroke-width="2" stroke-linejoin="round"/>'
    '<path stroke-width="8" stroke-linecap="round" d="M{end}h0"/></svg>'
)
MARK = '<path class="mark" stroke-width="2" stroke-dasharray="5 4" d="M{x} 0V{height}"/>'


class Curve(Struct, frozen=True):
    depths: Samples  # all messages
    starts: tuple[float, ...] = ()  # when restarts began, by our clock

    @property
    def span(self) -> tuple[float, float]:
        times = (self.depths[0][0], self.depths[-1][0], *self.starts)
        return min(times), max(times)


def find_starts(incident: Incident) -> tuple[float, ...]:
    """When its restarts began, by our clock."""
    began = (execution.runner_started_at for execution in incident.executions)
    return tuple(at - incident.runner_ahead_s for at in began if at is not None)


def draw_curve(curve: Curve, size: tuple[int, int] = SIZE) -> str:
    """The curve as SVG in the colour of the text around it, with a mark for each restart; empty with fewer than two samples."""
    if len(curve.depths) < 2:
        return ""
    (begins_at, ends_at), (width, height) = curve.span, size
    span_s = max(ends_at - begins_at, 1e-9)
    most = max(1, *(depth for _, depth in curve.depths))

    def x(at: float) -> str:
        return f"{min(max((at - begins_at) / span_s, 0.0), 1.0) * width:.1f}"

    def place(samples: Samples) -> str:
        return " ".join(f"{x(at)},{height - min(max(0, count), most) / most * height * TOP:.1f}" for at, count in samples)

    line, marks = place(curve.depths), "".join(MARK.format(x=x(at), height=height) for at in sorted(curve.starts))
    area = f"{x(curve.depths[0][0])},{height} {line} {x(curve.depths[-1][0])},{height}"
    return DRAWING.format(line=line, end=line.split()[-1], marks=marks, width=width, height=height, area=area)


# --- the ticket

TICKET_LINES = 15
MOVES = ("again and again", "moving")  # how a place ends where readings differed: limiting one call's time need not end that
TIME_LIMITS: Mapping[str, str] = {
    "smtplib.": "smtplib.SMTP(timeout=...)",
    "requests.": "timeout=...",
    "urllib.request.": "urlopen(timeout=...)",
    "http.client.": "HTTPConnection(timeout=...)",
    "redis.": "Redis(socket_timeout=...)",
    "psycopg": "connect(options='-c statement_timeout=...')",
    "subprocess.": "timeout=...",
    "queue.": "get(timeout=...)",
    "concurrent.futures.": "result(timeout=...)",
    "socket.": "settimeout(...)",
    "java.net.http.": "HttpRequest.Builder.timeout(...)",
    "java.net.Socket": "setSoTimeout(...)",
    "org.postgresql.": "socketTimeout=... in the URL",
}
"""What the name of a library's call begins with -> how to limit its time, by the library's own documentation."""


def write_ticket(record: Record, rules: Rules, now: float) -> str:
    """Markdown of at most 15 lines for the application's developers; empty if no place is known. What others wrote is code."""
    card_input, incident = to_card_input(record, rules, now), record.incident
    if not incident.places or incident.evidence is None:
        return ""
    place, (same, count) = incident.places[0], facts.find_same(incident.places[0], card_input)
    waits, call = (re.search(form, place.text) for form in (r", waits for [^,]+", r", in ([^,]+)"))
    target, spot = record.target.name if record.target else incident.runbook, place.spot + (waits[0] if waits else "")
    text = [Text("# {target} hangs at {place}", target=_code(target), place=_code(spot))]
    text += [Text("- On {host}: {place}", host=_code(each.host), place=_code(each.text)) for each in incident.places]
    known = (fact for part in (facts.list_queues, facts.proofs, facts.holders, facts.since) for fact in part(card_input))
    measured = rendered(rules, join(named(label, value) for label, value in known if value))
    text.append(Text("- Measured: {facts}", facts=_code(measured, SENTENCE)))
    since = clock(rules, min((incident.began_at, *(outcome.at for outcome in same))), "%Y-%m-%d")
    often = Text("- {same} of {count} incidents hung there, the first on {since}; this one is {incident}")
    text.append(often.fill(same=len(same) + 1, count=count + 1, since=since, incident=_code(incident.id)))
    limits = (how for name, how in TIME_LIMITS.items() if call and call[1].startswith(name))
    if (limit := next(limits, "")) and not place.text.endswith(MOVES):
        text.append(Text("- To do: give this call a time limit, {how}", how=_code(limit)))
    stack = [_code(line).strip("`") for line in incident.evidence.lines[: TICKET_LINES - 2 - len(text)]]
    return "\n".join([*(rendered(rules, line, 2 * SENTENCE) for line in text), "```", *stack, "```"])


def _code(text: str, limit: int = LINE) -> str:
    """One line as code, in which Markdown means nothing."""
    return "`" + tidy(text, limit).replace("`", "'") + "`"
