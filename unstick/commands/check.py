"""check: checks configuration, secrets, and every system with the permissions that Unstick needs there. Changes nothing."""

from functools import partial

import click
from msgspec.structs import asdict

from functions.application.observe import READ_EVIDENCE_S
from functions.application.ports import Finding
from functions.domain.model.runbooks import Rules
from functions.entrypoints import checks
from unstick import output

MARKS = {True: ("ok", "ok"), None: ("?", "warn"), False: ("FAILED", "wrong")}
LABEL_HELP = "A label that alerts have, to check the queue that it names. May be repeated."


@click.command()
@output.options
@output.timeout_option(15.0, 120, "How long each system may take; all are asked at once.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help=LABEL_HELP)
@click.option("--run", "is_run", is_flag=True, help="Run the evidence jobs, too, which change nothing, and read what they write.")
@click.option("--only-wrong", is_flag=True, help="Leave out what is right.")
def check(*, config_path: str, as_json: bool, timeout_s: float, labels: tuple[str, ...], is_run: bool, only_wrong: bool) -> None:
    """Say what is right, what is wrong, and how to fix it.

    First the configuration, all its mistakes at once. Then every secret, without showing any. Then every system, with
    exactly the permissions that Unstick needs there: the runner's token and each runbook's jobs (their options, and the
    guard against late starts, which `mode: auto` requires of the restart), RabbitMQ's queues, the store, the scheduler and
    the chats. Nothing is posted or changed, and only --run starts a job; what the test of the store writes is removed again.
    """
    ports, values = output.load_adapters(config_path), output.named_values("--label", labels)
    questions = checks.questions(ports, values, timeout_s)
    runs = [(book, job) for book in ports.rules.runbooks.values() if (job := book.evidence) and is_run]
    with output.progress("asking every system", len(questions) + len(runs)) as advance, output.logs_to_stderr():
        lines = _find_double_signs(ports.rules) + checks.ask_all(questions, timeout_s, advance)
        for book, job in runs:  # one after the other: they may share a job that runs once at a time
            ask = partial(checks.run_evidence, ports, book, job, values)
            lines += checks.ask_all([checks.Question(f"Evidence of {book.name}", ask)], job.within_s + READ_EVIDENCE_S, advance)
    failed = sum(line.finding.ok is False for line in lines)
    if as_json:
        findings = [{"system": line.system, "runbooks": line.runbooks, **asdict(line.finding)} for line in lines]
        output.print_json({"ok": not failed, "findings": findings})
    else:
        _print(lines, only_wrong=only_wrong)
        unknown = sum(line.finding.ok is None for line in lines)
        click.echo(f"\n{len(lines) - failed - unknown} ok, {unknown} to look at, {failed} failed")
    if failed:
        raise SystemExit(output.WRONG)


def _find_double_signs(rules: Rules) -> list[checks.Line]:
    """Matchers such as `service==mail`, which look for a value that begins with the sign."""
    found = [(name, each.value) for name, book in rules.runbooks.items() for each in book.match if each.value.startswith("=")]
    said = "looks for the value `{}`".format
    return [checks.Line(name, Finding("match", None, said(value), "Write one `=`."), (name,)) for name, value in found]


def _print(lines: list[checks.Line], *, only_wrong: bool) -> None:
    system = ""
    every = {runbook for line in lines for runbook in line.runbooks}
    for line in lines:
        if only_wrong and line.finding.ok:
            continue
        if line.system != system:
            system = line.system
            click.echo(click.style(output.printable(system), bold=True))
        word, kind = MARKS[line.finding.ok]
        runbooks = f" [{', '.join(line.runbooks)}]" if set(line.runbooks) < every and line.runbooks else ""
        detail = f": {line.finding.detail}" if line.finding.detail else ""
        output.print_text(f"{line.finding.what}{runbooks}{detail}", f"  {output.mark(f'{word:<6}', kind)}  ")
        if line.finding.remedy:
            output.print_text(line.finding.remedy, " " * 10 + "→ ")
