"""What each event does to a document: alerts, wake-ups, answers of people, and what was told; and what is observed before."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.decisions.step import step
from functions.domain.decisions.waiting import APPROVAL_S
from functions.domain.health.looks import before_restart
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import (
    Approved,
    Bundled,
    Claim,
    Declined,
    MessagesDelivered,
    Resumed,
    Start,
    StartResult,
    Waiting,
    Wake,
)
from functions.domain.model.incidents import Asked, Document, Outcome, PastAttempt, failed
from functions.domain.model.observations import Pause, Slot, Storm, Unknown
from functions.domain.model.runbooks import Matcher, Restart
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    POST,
    RUNNER_NOW,
    TARGET,
    alert,
    alerted,
    bare,
    case,
    document,
    escalation,
    execution,
    history_of,
    incident,
    kinds,
    moved,
    phase,
    reason,
    resolved,
    rules,
    runbook,
    seen,
    snapshot,
    starting,
    trigger,
    verifying,
    wakes,
    well,
    woken,
)

EMPTY = Document(TARGET.key)
PUBLIC = rules(public_url="https://unstick.example.com")
APPROVE = rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com")
MISSING = Unknown("it is down")
LATE = Unknown("no answer in time", late=True)


def outcome(ending: Ending = Ending.RECOVERED, **changes) -> Outcome:
    recovered = Outcome("inc-0", ending, None, NOW - 10, (trigger(),), channels=("ops",), queues=(MAIL,))
    return replace(recovered, **changes)


def without_target(code: Reason, **changes) -> MatchedAlert:
    book = runbook() if code in (Reason.INVALID_OPTION, Reason.MONITORING_FAILURE) else None
    return MatchedAlert(alert(**changes), book, reason=code, detail="why")


def test_a_stuck_queue_is_written_down_and_started():
    """I3: wake-up and claim first, then the start with its tag and the fence (`start_within`) on the runner's clock."""
    result = moved(EMPTY, alerted())
    assert result.acts == (Wake(NOW + 20.0), Claim(NOW, Storm()), Start("inc-1.1", RUNNER_NOW + 30.0, 30.0))
    for changes, seen_storm in (({"restarts": 1}, None), ({"approved": Asked(NOW, guards=("too_many_targets",))}, None)):
        start = woken(document(incident(**changes)), NOW, seen(storm=seen_storm))
        claims = [Claim] if "approved" in changes else []
        assert [type(act) for act in start.acts] == [Wake, *claims, Start], "a first restart takes a slot"
    written = result.document.incident
    assert (written.phase, written.attempt, written.run.runner_not_after) == (Phase.STARTING, 1, RUNNER_NOW + 30.0)
    assert written.queues[0].before == before_restart(snapshot())
    assert result.document.due == written.due == NOW + 20.0
    assert (result.reply.incident, result.reply.runbook, result.reply.target) == ("inc-1", "mail", "service=mail")
    assert (result.reply.action, result.reply.reason, result.reply.execution) == (Action.RESTARTED, None, None)
    result = moved(EMPTY, alerted(), with_rules=rules(runbook(restart=Restart("job-1", start_within_s=90.0))))
    assert Start("inc-1.1", RUNNER_NOW + 90.0, 90.0) in result.acts


RUNNING = execution(ended=None)
FROM_ALERT = [
    ("not_firing", False, {}, resolved(), EMPTY),
    ("no_runbook", True, {}, alerted(without_target(Reason.NO_RUNBOOK)), EMPTY),
    ("test_alert", True, {}, alerted(without_target(Reason.TEST_ALERT)), EMPTY),
    ("monitoring_failure", True, {}, alerted(without_target(Reason.MONITORING_FAILURE)), EMPTY),
    ("invalid_option", True, {}, alerted(without_target(Reason.INVALID_OPTION)), EMPTY),
    ("symptom_unknown", False, {"mail": snapshot(50, samples_s=30.0)}, alerted(case(labels={})), EMPTY),  # the first look
    ("duplicate", False, {}, alerted(), document(outcomes=(outcome(),))),
]


@pytest.mark.parametrize(("code", "is_told", "look", "event", "document"), FROM_ALERT)
def test_what_is_answered_and_told_of_each_reason(code, is_told, look, event, document):
    """I4: a held alert is answered with its reason code, starts nothing, and is reported where people should act."""
    result = moved(document, event, seen(**look))
    assert (result.reply.action, result.reply.reason) == (Action.HELD, Reason(code))
    assert bool(result.document.to_tell) == is_told
    assert not any(isinstance(act, Start) for act in result.acts)
    assert result.reply.runbook == ("" if code in ("no_runbook", "test_alert") else "mail")
    assert result.document.incident is None or result.document.due is not None


def test_a_first_look_that_came_too_late_leaves_the_decision_to_the_wake_up():
    """Which has time, and comes after the save: before, it would find nothing. What it can't see either is held."""
    result = moved(EMPTY, alerted(), seen(mail=LATE))
    assert (phase(result), result.reply.action, result.reply.reason) == (Phase.DEFERRED, Action.DEFERRED, None)
    assert (result.document.due, result.document.to_tell, wakes(result)) == (NOW + 1, (), [NOW + 1])
    assert phase(woken(result.document, NOW + 1, seen(now=NOW + 1, mail=LATE))) is Phase.WAITING
    assert phase(woken(result.document, NOW + 1)) is Phase.STARTING


@pytest.mark.parametrize(
    ("shift_s", "source", "duplicate"),
    [
        (0, "grafana#1", True),
        (60, "grafana#1", True),
        (-60, "grafana#1", True),
        (61, "grafana#1", False),
        (0, "grafana#2", False),
    ],
)
@pytest.mark.parametrize("ending", [Ending.RECOVERED, Ending.ESCALATED])
def test_a_duplicate_is_the_same_alert_within_a_minute_of_one_source(shift_s, source, duplicate, ending):
    """I1: an outcome that carries the alert has it for good; it is not told, and answered with that incident's id."""
    carrying = outcome(ending)
    before = document(outcomes=(carrying, replace(carrying, incident="held", ending=Ending.HELD)))
    result = moved(before, alerted(case(starts_at=NOW - 90 + shift_s, source=source)))
    assert (result.reply.reason is Reason.DUPLICATE) == duplicate
    assert (result.reply.incident == "inc-0") == duplicate
    assert (result.document.to_tell == ()) or not duplicate


def test_a_suspicion_with_a_wrong_label_calls_nobody():
    """The runbook's own channels are told, and nobody is called."""
    labels = {"alertname": "Stuck", "unstick": "suspicion"}
    result = moved(EMPTY, alerted(without_target(Reason.INVALID_OPTION, labels=labels)))
    assert [(one.channel, one.card.urgency) for one in result.document.to_tell] == [("ops", "plan")]


def test_an_alert_that_no_runbook_matches_is_told_once_an_hour_for_its_rule():
    """With the labels that the runbooks look at."""
    matchers = (Matcher("alertname", "=", "Stuck"), Matcher("service", "=~", "mail-.*"), Matcher("env", "!=", "test"))
    long = (*matchers, Matcher("team", "=", "x"))
    books = rules(runbook(name="long", match=long), runbook(match=matchers), runbook(name="other", match=long[3:]))

    def told(document: Document, at: float, **labels: str) -> Document:
        one = MatchedAlert(alert(fingerprint=f"fp-{at}", labels={"alertname": "Stuck", **labels}), None)
        return moved(document, alerted(one), at=at, with_rules=books).document

    first = told(EMPTY, NOW, service="web", queue="web")
    (message,) = first.to_tell
    assert 'Details: the runbooks look at alertname="Stuck", service="web", no env, no team' in message.card.text
    many = rules(runbook(match=tuple(Matcher(f"l{number}", "=", "x") for number in range(9))))
    (message,) = moved(EMPTY, alerted(MatchedAlert(alert(), None)), with_rules=many).document.to_tell
    assert any(text.endswith("no l6, no l7") for text in message.card.text), "the first eight"
    far = alerted(MatchedAlert(alert(labels={"alertname": "Other", "env": "test"}), None))
    (message,) = moved(EMPTY, far, with_rules=books).document.to_tell
    assert 'Details: the runbooks look at alertname="Other", no service, env="test", no team' in message.card.text
    again = told(replace(first, to_tell=()), NOW + 3599, queue="other")
    assert again.to_tell == ()
    assert told(again, NOW + 3600, queue="web").to_tell


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"starts_at": NOW - 150}, True, id="a minute before"),
        pytest.param({"starts_at": NOW - 151}, False, id="an earlier firing"),
        pytest.param({"starts_at": NOW - 5}, True, id="later"),
        pytest.param({"fingerprint": "fp-2"}, False, id="another alert"),
        pytest.param({"source": "grafana#2"}, False, id="another source"),
    ],
)
def test_what_is_resolved_is_the_alert_of_that_firing(changes, ends):
    """An open incident notes when it ended, or when Unstick heard of it."""
    before = document(incident(due=NOW + 100, triggers=(trigger(), trigger(fingerprint="fp-9"))))
    ended_at = NOW - 3
    result = moved(before, alerted(case(**{"firing": False, "ends_at": ended_at, **changes})))
    assert [one.resolved_at for one in result.document.incident.triggers] == [ended_at if ends else None, None]
    unsaid = moved(before, alerted(case(**{"firing": False, "ends_at": None, **changes})))
    assert unsaid.document.incident.triggers[0].resolved_at == (NOW if ends else None)
    twice = moved(result.document, alerted(case(**{"firing": False, "ends_at": NOW + 50, **changes})))
    assert twice.document.incident.triggers[0].resolved_at == (ended_at if ends else None)


def test_an_alert_whose_source_is_kept_as_its_hash_is_resolved_too():
    """Grafana's address may be as long as it likes."""
    long = f"https://grafana.example.com/{'x' * 200}#1"
    opened = moved(EMPTY, alerted(case(source=long))).document
    noted = moved(opened, resolved(source=long)).document
    assert [one.resolved_at for one in noted.incident.triggers] == [NOW]


def test_a_waiting_incident_whose_alerts_are_all_resolved_ends():
    """Nothing is restarted for an alert that is over, unless it fires again; one of two moves nothing."""
    before = document(incident(due=NOW + 100.0))
    noted = moved(before, resolved())
    assert phase(noted) is Phase.WAITING
    result = woken(noted.document, NOW + 100)
    assert (result.document.incident, result.document.outcomes[-1].reason) == (None, Reason.NOT_FIRING)
    assert kinds(result.document) == ["held"]
    before = document(incident(due=NOW, triggers=(trigger(), trigger(fingerprint="fp-2"))))
    result = moved(before, resolved())
    assert (phase(result), result.acts, reason(result)) == (Phase.WAITING, (), Reason.NOT_FIRING)
    over = moved(document(incident(due=NOW)), resolved())
    assert (over.document.incident, over.document.outcomes[-1].reason) == (None, Reason.NOT_FIRING)
    before = document(
        incident(due=NOW + 100, triggers=(trigger(resolved_at=NOW - 3), trigger(fingerprint="fp-2", resolved_at=NOW)))
    )
    result = moved(before, alerted())
    assert [one.resolved_at for one in result.document.incident.triggers] == [None, NOW]


DOCUMENTS = {
    "deferred": document(incident(Phase.DEFERRED)),
    "waiting": document(incident(Phase.WAITING)),
    "starting": starting(due=NOW),
    "running": document(incident(Phase.RUNNING, restarts=1, attempt=1, execution=RUNNING)),
    "verifying": verifying(),
    "asked": document(incident(Phase.ASKED, nonce="n", expires_at=NOW)),
    "closed": EMPTY,
    "untold": replace(moved(EMPTY, alerted(), seen(pause=Pause("x"))).document, due=NOW),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    "event",
    [
        Approved("forged", "x"), Declined("forged", "x"), Approved("z", "x"), Declined("z", "x"),
        StartResult("inc-9.1", refusal="no"), StartResult("inc-0.1", refusal="no"), MessagesDelivered(frozenset({"nothing"})),
    ],
)  # fmt: skip
def test_an_event_of_another_time_changes_nothing(name, event):
    """A wrong nonce, the answer to another attempt or to one that is known to run, a message that is gone."""
    assert moved(DOCUMENTS[name], event).document == DOCUMENTS[name]
    if name in ("running", "verifying"):
        assert moved(DOCUMENTS[name], StartResult("inc-1.1", refusal="no")).document == DOCUMENTS[name]


def asking() -> Document:
    return replace(moved(EMPTY, alerted(), with_rules=APPROVE).document, to_tell=())


def test_the_clock_of_the_process_that_took_the_answer_proves_no_recovery():
    """Its clock is behind by 20 s, so its check and the one that follows a second later are by the runner's clock."""
    ended = execution(started=2, ended=10, tag="inc-1.1", status="failed")
    ran = {"attempt": 1, "restarts": 1, "execution": ended, "tries": (PastAttempt("inc-1.1", ended, failed(ended)),)}
    asked = document(incident(Phase.ASKED, nonce="n", expires_at=NOW + 1800, **ran))
    behind = history_of(ended, now=NOW + 60, read_at=NOW + 40)
    approved = moved(asked, Approved("n", "anna"), seen(mail=well(NOW + 40), history=behind), NOW + 40, APPROVE)
    assert phase(approved) is Phase.VERIFYING
    for at, outcomes in ((NOW + 61, 0), (NOW + 76, 1)):
        result = woken(replace(approved.document, due=at), at, seen(ended, now=at, mail=well(at)), APPROVE)
        assert len(result.document.outcomes) == outcomes


def test_a_no_to_a_second_restart_is_no_escalation_and_a_late_no_no_answer():
    """It ends the incident; after the question has expired nobody declined anything."""

    def declined(document: Document, at: float) -> Document:
        no = Declined(document.incident.approval.nonce, "anna", "a rollout is under way")
        return moved(document, no, seen(now=at), at, APPROVE).document

    result = declined(document(incident(Phase.ASKED, restarts=1, attempt=1, nonce="n", expires_at=NOW + 600)), NOW + 60)
    assert (result.outcomes[-1].ending, result.escalation) == (Ending.HELD, None)
    assert kinds(declined(asking(), NOW + APPROVAL_S)) == ["declined"], "a later reminder may have renewed the link"


ESCALATED = document(outcomes=(outcome(Ending.ESCALATED),), escalation=escalation(NOW - 600))


SUSPECTED = alerted(case(labels={"alertname": "MaybeStuck", "unstick": "suspicion"}, fingerprint="fp-9"))
ILL = [None, snapshot(), snapshot(0, ids=()), MISSING, bare(0)]


@pytest.mark.parametrize(("post", "ends"), [*((each, False) for each in ILL), (well(), True)])
@pytest.mark.parametrize("event", [resolved(), SUSPECTED], ids=["resolved", "suspected"])
def test_an_escalation_ends_when_all_its_queues_are_well_whatever_was_held_since(event, post, ends):
    """Even one that this check doesn't show: what can't be seen is not well. Of a suspicion that clears nobody is told."""
    held = outcome(Ending.HELD, incident="inc-9", triggers=(), queues=())
    both = (*escalation().queues, *escalation(queue=POST).queues)
    before = document(outcomes=(outcome(Ending.ESCALATED), held), escalation=escalation(queues=both))
    first = moved(before, event, seen(mail=well(NOW), post=post), NOW + 20).document
    for at in (NOW + 40, NOW + 60):
        look = post and not isinstance(post, Unknown) and replace(post, at=at)
        first = woken(first, at, seen(now=at, mail=well(at), post=look or post)).document
    assert (first.escalation is None, set(kinds(first))) == (ends, {"resolved"})


def test_an_escalation_ends_by_a_person_and_by_a_day():
    """Resumed, it is reported where it was reported before, or to all, with who and why; after 24 hours it ends by itself."""
    result = moved(ESCALATED, Resumed("anna", "mended"))
    assert (result.document.escalation, kinds(result.document)) == (None, ["resumed"])
    assert moved(result.document, Resumed("anna")).document == result.document
    later = NOW - 600 + 86400
    assert phase(moved(ESCALATED, alerted(case(starts_at=later - 90)), seen(now=later), later)) is Phase.STARTING
    result = moved(replace(ESCALATED, outcomes=()), Resumed("anna", "mended"))
    assert [message.id for message in result.document.to_tell] == [f"inc-0-resumed-{NOW:.0f}@ops"]
    assert "mended (anna)" in str(result.document.to_tell[0].card)


def test_a_message_does_not_wait_for_the_incident():
    """I2: a message is tried each minute, whatever is due later; a record stays until it was written."""
    known = {f"ops/inc-{number}": "t" for number in range(20)}
    heard = moved(document(threads=known), MessagesDelivered(frozenset(), threads={"ops/new": "t"})).document
    assert list(heard.threads) == [*list(known)[1:], "ops/new"], "the last twenty threads"
    held = moved(EMPTY, alerted(), seen(pause=Pause("x"))).document
    assert (held.due, len(held.to_tell)) == (NOW + 60, 2)
    for queue, due_s in ((MAIL, 60), (POST, 25)):
        event = alerted(case(queue, fingerprint="fp-2"), incident="inc-2")
        more = step(held, event, seen(pause=Pause("y"), post=snapshot()), NOW + 5, rules(), NOW + 25)
        assert more.document.due == NOW + due_s, "a new message with the wake-up that comes next"
    asked = document(incident(Phase.ASKED, nonce="n", expires_at=NOW + 1800, due=NOW + 1800), escalation=escalation())
    new = moved(asked, Resumed("anna"), at=NOW)
    assert (kinds(new.document), new.document.due) == (["resumed"], NOW + 60)
    refused = woken(new.document, NOW + 60)
    assert (kinds(refused.document), refused.document.due) == (["resumed"], NOW + 120)
    result = woken(document(incident(Phase.ASKED, asked=Asked(NOW - 86400))), NOW)
    ids = frozenset(message.id for message in result.document.to_tell)
    kept = moved(result.document, MessagesDelivered(ids), at=NOW + 1)
    assert (kept.document.open, kept.document.due) == (True, NOW + 60)
    assert [record.incident.id for record in kept.document.to_archive] == ["inc-1"]
    assert not moved(kept.document, MessagesDelivered(frozenset(), archived=frozenset({"inc-1"})), at=NOW + 2).document.open


def test_many_targets_are_told_in_one_message():
    """The holds of a storm wait for each other, and go out once however often they are handed over."""
    storm = Storm(tuple(Slot(f"t{n}", NOW) for n in range(3)))
    assert phase(moved(EMPTY, alerted(), seen(storm=storm), with_rules=PUBLIC)) is None, "nobody is asked"
    result = moved(EMPTY, alerted(), seen(storm=storm))
    assert {message.channel: message.bundle for message in result.document.to_tell} == dict.fromkeys(
        ("duty", "ops"), "too_many_targets"
    )
    assert result.document.due == NOW + 20
    waiting = {f"{name}@ops": Waiting("ops", f"service={name}") for name in "ab"}
    event = Bundled(Reason.TOO_MANY_TARGETS, frozenset(waiting), waiting)
    bundle = step(Document("bundle-too-many-targets"), event, seen(), NOW, rules())
    assert kinds(bundle.document) == ["bundle"]
    for calls, urgency in ((True, "act"), (False, "plan")):
        calm = replace(waiting["a@ops"], calls=False), replace(waiting["b@ops"], calls=calls)
        told = step(Document("b"), replace(event, waiting=dict(zip(waiting, calm, strict=True))), seen(), NOW, rules()).document
        assert [message.card.urgency for message in told.to_tell] == [urgency], "as urgent as its most urgent"
    assert step(bundle.document, event, seen(), NOW + 9, rules()).document == bundle.document
    more = replace(event, ids=event.ids | {"c@ops"}, waiting={**waiting, "c@ops": Waiting("ops", "service=c")})
    later = step(bundle.document, more, seen(), NOW + 9, rules()).document
    assert step(later, event, seen(), NOW + 10, rules()).document == later
    saved = woken(document(incident()), NOW, seen(storm=storm)).document
    assert {message.bundle for message in saved.to_tell} == {"too_many_targets"}
    paused = woken(document(incident()), NOW, seen(pause=Pause("x"))).document
    assert {message.bundle for message in paused.to_tell} == {""}
    told = later.to_tell
    assert len(told) == 2
    assert "service=c" in str(told[1].card.facts)
    assert "service=a" not in str(told[1].card.facts), "another holder has told it"


def test_the_history_is_bounded():
    """However often a hold comes and goes, the newest entries are kept."""
    before = document(incident(Phase.WAITING))
    for number in range(200):
        run, at = execution(ended=None, tag="", started=15 * number - 5.0), NOW + 15 * number
        history = (history_of(run, now=at), MISSING)[number % 2]
        before = woken(before, at, seen(history=history)).document
        before = replace(before, incident=replace(before.incident, due=0.0, found={}))
    times = [entry.at for entry in before.incident.history]
    assert (len(times), times[0], times[-1]) == (40, NOW + 15 * 160, NOW + 15 * 199)
