"""incident: shows everything that is known about one, in order."""

import click
import msgspec
from msgspec.structs import replace

from functions.application.documents import evidence_path
from functions.application.history import find
from functions.bootstrap import Adapters
from functions.domain.cards.content import rendered, tidy
from functions.domain.cards.facts import places
from functions.domain.cards.incident import Entry, Record, tell, to_card_input, write_ticket
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import ENDINGS, clean
from functions.runtime.secrets import redact
from functions.runtime.text import Phrase, Text, named
from unstick import output

ARCHIVE_S, EVIDENCE_S = 60.0, 30.0
OUTPUT = 300_000  # characters of evidence that are shown at most: more than the archive keeps


@click.command()
@output.options
@click.argument("incident_id", metavar="ID")
@click.option("--evidence", "with_evidence", is_flag=True, help="Print the whole output of the evidence job as well.")
@click.option("--ticket", "as_ticket", is_flag=True, help="Print Markdown for the application's developers instead.")
def incident(*, config_path: str, as_json: bool, incident_id: str, with_evidence: bool, as_ticket: bool) -> None:
    """Show everything about one incident, in order.

    That is alerts, checks, decisions, evidence, restarts, verdict and outcome.

    ID is in every card, in the log and in `status`. The incident may be open or archived. Times are in the
    configuration's time zone.

    Exit code 1: there is no such incident, --evidence and none was kept, or --ticket and no place is known.
    """
    ports = output.load_with_store(config_path)
    with output.logs_to_stderr():
        record = _find(ports, incident_id)
        body = ports.store.read_archived(evidence_path(record.incident.id), timeout_s=EVIDENCE_S) if with_evidence else None
    if as_ticket:
        ticket = write_ticket(record, ports.rules, ports.now())
        if not ticket:
            raise output.Wrong("no place where it hangs is known of this incident: docs/evidence.md says how to find it.")
        click.echo(clean(redact(ticket), OUTPUT, "…", lines=True))
        return
    evidence = body.decode(errors="replace") if body else ""
    entries = tell(record.incident, record.outcome)
    if as_json:
        output.print_json(_as_json(record, entries, ports.rules, evidence if with_evidence else None))
    else:
        _print(record, entries, ports)
        if with_evidence and evidence:
            click.echo("\n" + click.style("evidence", bold=True))
            click.echo(clean(evidence, OUTPUT, "…", lines=True))
    if with_evidence and not evidence:
        raise output.Wrong("no evidence was kept of this incident.")


def _find(ports: Adapters, incident_id: str) -> Record:
    """The archived or open incident. Raises Wrong if there is none."""
    found = find(ports, incident_id, ARCHIVE_S)
    if found is not None:
        return found
    raise output.Wrong(f"there is no incident {incident_id}. `status --days 30 --last 100` lists the ended ones.")


def _title(record: Record) -> Phrase:
    name = record.target.name if record.target else record.incident.runbook or "-"
    opened = Text("open, {phase}", phase=record.incident.phase.value)
    return named(tidy(name), ENDINGS[record.outcome.ending] if record.outcome else opened)


def _print(record: Record, entries: tuple[Entry, ...], ports: Adapters) -> None:
    rules = ports.rules
    output.print_text(rendered(rules, _title(record)), click.style(f"{record.incident.id}  ", bold=True))
    reason = (record.outcome or record.incident).reason
    parts = [
        f"runbook {record.incident.runbook}",
        *([f"reason code {reason}"] if reason else []),
        f"restarts: {record.incident.restarts}",
        f"times are in {rules.time_zone}",
    ]
    output.print_text(", ".join(parts))
    for label, where in places(to_card_input(record, rules, ports.now())):
        output.print_text(rendered(rules, named(label, where)))
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


def _as_json(record: Record, entries: tuple[Entry, ...], rules: Rules, evidence: str | None) -> dict[str, object]:
    """All of it, without the nonce of the approval link."""
    timeline = [
        {"at": entry.at, "kind": entry.kind, "text": rendered(rules, entry.text), "link": entry.link, "lines": entry.lines}
        for entry in entries
    ]
    content: dict[str, object] = {
        "incident": msgspec.to_builtins(replace(record.incident, approval=replace(record.incident.approval, nonce=""))),
        "target": msgspec.to_builtins(record.target),
        "outcome": msgspec.to_builtins(record.outcome),
        "timeline": timeline,
    }
    return content if evidence is None else content | {"evidence": evidence}
