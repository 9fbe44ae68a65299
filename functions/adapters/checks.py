"""What checks of several adapters say alike: of refusals and silence, consumers' hosts, and a store's compare-and-set."""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from functions.application.ports import Finding, Store
from functions.domain.decisions.matching import NotRendered, template_labels
from functions.domain.model.runbooks import HolderOption, Symptom
from functions.domain.texts.patterns import full_match
from functions.runtime.errors import Conflict, Denied, Unavailable
from functions.runtime.text import Phrase

HOLDER_HOSTS = "the job can be limited to the consumers' hosts"


def finding_of_error(what: str, error: Unavailable | Denied, remedy: Phrase = "") -> Finding:
    """The line of `check` for a system that refused, with its own remedy, or that did not answer, with this one."""
    own = error.remedy if isinstance(error, Denied) else error.remedy or remedy
    return Finding(what, ok=False, detail=error.detail, remedy=own)


def finding_of(what: str, ask: Callable[[], Finding | Phrase | None], remedy: Phrase = "") -> Finding:
    """The line of `check` for an answer: a finding, details of what is right, or an error; this remedy if nothing answers."""
    try:
        answer = ask()
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, remedy)
    return answer if isinstance(answer, Finding) else Finding(what, True, answer or "")


def name_evidence(findings: Iterable[Finding], restart: Sequence[Finding]) -> list[Finding]:
    """The lines about the evidence job by its name, without what is right of the restart's job in the same words."""
    return [replace(line, what=f"evidence: {line.what}") for line in findings if not (line.ok and line in restart)]


def compare_hosts(
    holder: HolderOption, consumers: frozenset[str], hosts: Collection[str] | None, where: str, remedy: str
) -> Finding:
    """Compare the hosts of a queue's consumers, one of which is sent, with those that the runner knows (None: it knows none) and
    with the option's `allow`: a start for another host goes nowhere. `where`: what says so, as in "the nodes' `hostname` is"."""
    listed = holder.allow if hosts is None else ", ".join(sorted(hosts)) or "not there"
    compared = consumers or hosts or ()
    allowed = [host for host in compared if full_match(holder.allow, host)]
    if lost := sorted(consumers.difference(allowed if hosts is None else hosts)):
        return Finding(HOLDER_HOSTS, False, f"consumers come from {', '.join(lost)}, {where} {listed}", remedy)
    if hosts is not None and not allowed:
        return Finding(HOLDER_HOSTS, False, f"none matches `allow` of {holder.option}: {where} {listed}", remedy)
    detail = f"{len(allowed)} of {len(compared)} match `allow` of {holder.option}" if compared else f"{where} {listed}"
    hint = "To compare them with a queue's consumers, add: --label vhost=... --label queue=..."
    return Finding(HOLDER_HOSTS, bool(consumers) or None, detail, hint)


def explain_refusal(what: str, symptom: Symptom, labels: Mapping[str, str], refusal: NotRendered) -> Finding:
    """The line for what these labels don't name: unknown as long as one is missing, which an alert has."""
    remedy = "An alert with these labels restarts nothing: fix the label in the alert, or `symptom` in the runbook."
    return find_missing(what, symptom.keys.values(), labels) or Finding(what, False, refusal.text, remedy)


def find_missing(what: str, templates: Iterable[str], labels: Mapping[str, str]) -> Finding | None:
    """The line for templates of which some labels are missing."""
    names = dict.fromkeys(name for template in templates for name in template_labels(template))
    missing = [name for name in names if not labels.get(name)]
    detail = f"it comes with the alert; missing here: the label{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    remedy = "To check one, add: " + " ".join(f"--label {name}=..." for name in missing)
    return Finding(what, None, detail, remedy) if missing else None


def check_store(
    store: Store, what: str, delete: Callable[[str], None], remedies: tuple[str, str], timeout_s: float
) -> list[Finding]:
    """Save a document of its own twice, list all, delete it. Two remedies: if the second save succeeds, if nothing answers."""
    key = f"check-{secrets.token_hex(8)}"

    def save_twice() -> Finding | Phrase:
        store.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
        try:
            store.list_documents(timeout_s=timeout_s)
            store.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
        except Conflict:
            return "writable, and a second writer is turned away"
        finally:
            delete(key)
        return Finding(what, ok=False, detail="it let a second writer through", remedy=remedies[0])

    return [finding_of(what, save_twice, remedies[1])]
