"""incident: shows everything that is known about one, in order."""

import re
import time
from calendar import timegm

import click
import msgspec
from msgspec import Struct

from functions.application.collect import evidence_path
from functions.application.report import read_archive
from functions.application.serialization import decode, to_stored
from functions.bootstrap import Adapters
from functions.domain.cards.rendering import rendered, tidy
from functions.domain.model.alerts import Target
from functions.domain.model.incidents import Archive, Incident, Outcome, change
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.runtime.text import Phrase, Text, named
from unstick import output
from unstick.commands import completion
from unstick.documents import document_keys, load_documents
from unstick.timeline import ENDINGS, Entry, tell

ARCHIVE_S, EVIDENCE_S = 60.0, 30.0
FORMER_DAYS = 400  # how far back to search for an id that does not begin with its day
DAYS_LONG = 3  # days within which nearly every incident ends; its record is then found by its path, without listing the archive
DAY_S = 86400.0
OUTPUT = 300_000  # characters of evidence; more than is ever kept


class Known(Struct, frozen=True):
    target: Target | None
    incident: Incident
    outcome: Outcome | None  # none while the incident is open


@click.command()
@output.options
@click.argument("incident_id", metavar="ID", shell_complete=completion.incidents)
@click.option("--evidence", "with_evidence", is_flag=True, help="Print the whole output of the evidence job as well.")
def incident(*, config_path: str, as_json: bool, incident_id: str, with_evidence: bool) -> None:
    """Show everything about one incident, in order.

    That is alerts, checks, decisions, evidence, restarts, verdict and outcome.

    ID is in every card, in the log and in `status`. The incident may be open or archived. Times are in the
    configuration's time zone.

    Exit code 1: there is no such incident, or --evidence and none was kept.
    """
    ports = output.load_with_store(config_path)
    with output.logs_to_stderr():
        record = _find(ports, incident_id)
        body = ports.store.read_archived(evidence_path(record.incident.id), timeout_s=EVIDENCE_S) if with_evidence else None
    evidence = body.decode(errors="replace") if body else ""
    entries = tell(record.incident, record.outcome)
    if as_json:
        output.print_json(_as_json(record, entries, ports.rules, evidence if with_evidence else None))
    else:
        _print(record, entries, ports.rules)
        if with_evidence and evidence:
            click.echo("\n" + click.style("evidence", bold=True))
            click.echo(clean(evidence, OUTPUT, "…", lines=True))
    if with_evidence and not evidence:
        raise output.Wrong("no evidence was kept of this incident.")


def _find(ports: Adapters, incident_id: str) -> Known:
    """The archived or open incident. Raises Wrong if there is none."""
    record = _archived(ports, incident_id)
    if record is not None:
        return Known(record.target, record.incident, record.outcome)
    documents = load_documents(ports, document_keys(ports))
    for document in documents.readable:
        if document.incident is not None and document.incident.id == incident_id:
            return Known(document.target, document.incident, None)
        for waiting in document.to_archive:
            if waiting.incident.id == incident_id:
                return Known(waiting.target, waiting.incident, waiting.outcome)
    unreadable = f" {len(documents.unreadable)} documents can't be read; `status` says why." if documents.unreadable else ""
    raise output.Wrong(f"there is no incident {incident_id}.{unreadable} `status --days 30 --last 100` lists the ended ones.")


def _archived(ports: Adapters, incident_id: str) -> Archive | None:
    """The record: by its path on one of the days after the incident began, else by a search from that day on."""
    begun = re.match(r"(\d{4})(\d\d)(\d\d)-\d{6}-", incident_id)
    try:
        first_at = timegm(time.strptime("".join(begun.groups()), "%Y%m%d")) if begun else ports.now() - FORMER_DAYS * DAY_S
    except ValueError:
        first_at = ports.now() - FORMER_DAYS * DAY_S
    days = [time.strftime("%Y-%m-%d", time.gmtime(first_at + day * DAY_S)) for day in range(DAYS_LONG + 1)]
    for day in days if begun else ():
        path = f"incidents/{day}/{incident_id}.json"
        body = ports.store.read_archived(path, timeout_s=ARCHIVE_S)
        if body is not None:
            return decode(Archive, body, path)
    for path, body in read_archive(ports, days[0], ARCHIVE_S):
        if path.endswith(f"/{incident_id}.json"):
            return decode(Archive, body, path)
    return None


def _title(record: Known) -> Phrase:
    name = record.target.name if record.target else record.incident.runbook or "-"
    opened = Text("open, {phase}", phase=record.incident.phase.value)
    return named(tidy(name), ENDINGS[record.outcome.ending] if record.outcome else opened)


def _print(record: Known, entries: tuple[Entry, ...], rules: Rules) -> None:
    output.print_text(rendered(rules, _title(record)), click.style(f"{record.incident.id}  ", bold=True))
    parts = [f"runbook {record.incident.runbook}", f"restarts: {record.incident.restarts}", f"times are in {rules.time_zone}"]
    output.print_text(", ".join(parts))
    day = ""
    for entry in entries:
        at = output.local_time(entry.at, rules)
        if at[:10] != day:
            day = at[:10]
            click.echo("\n" + click.style(day, bold=True))
        output.print_text(rendered(rules, entry.text), f"  {at[11:]}  {output.padded(entry.kind, 8)}  ")
        if entry.link:
            output.print_text(entry.link, " " * 22)
        for line in entry.lines:
            output.print_text(line, " " * 22 + "| ")


def _as_json(record: Known, entries: tuple[Entry, ...], rules: Rules, evidence: str | None) -> dict[str, object]:
    """All of it, without the nonce of the approval link."""
    timeline = [
        {"at": entry.at, "kind": entry.kind, "text": rendered(rules, entry.text), "link": entry.link, "lines": entry.lines}
        for entry in entries
    ]
    content: dict[str, object] = {
        "incident": to_stored(change(record.incident, nonce="")),
        "target": msgspec.to_builtins(record.target),
        "outcome": msgspec.to_builtins(record.outcome),
        "timeline": timeline,
    }
    return content if evidence is None else content | {"evidence": evidence}
