"""What a runbook in mode observe would have restarted is followed in silence, and archived with how it went."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import MessagesDelivered, Start, Step
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.observations import Execution, Observation, Unknown
from functions.domain.model.runbooks import Freeze
from tests.support.worlds.scenes import (
    NOW,
    POST,
    TARGET,
    alerted,
    case,
    channels,
    document,
    execution,
    history_of,
    incident,
    kinds,
    moved,
    phase,
    rules,
    runbook,
    seen,
    snapshot,
    wakes,
    well,
    woken,
)

OBSERVES = rules(runbook(mode=Mode.OBSERVE))
EMPTY = Document(TARGET.key)
BY_HAND = execution(31, started=600, ended=640)


def observed() -> Document:
    """It is stuck, people were told, and Unstick follows it."""
    made = moved(EMPTY, alerted(), with_rules=OBSERVES)
    assert (phase(made), kinds(made.document)) == (Phase.OBSERVING, ["held"])
    posted = MessagesDelivered(frozenset(message.id for message in made.document.to_tell))
    found = moved(made.document, posted, with_rules=OBSERVES).document
    return replace(found, incident=replace(found.incident, began_at=NOW - 500))


def look(found: Document, after_s: float, what: Observation | None = None) -> Step:
    """A check this long after the hold; without `what` the queue is as stuck as before."""
    return woken(found, NOW + after_s, what or seen(now=NOW + after_s), OBSERVES)


def healthy(after_s: float, *executions: Execution, **changes: object) -> Observation:
    """The queue is empty, and its consumers are there."""
    history = replace(history_of(*executions), runner_now=history_of().runner_now + after_s)
    return replace(seen(now=NOW + after_s, mail=well(NOW + after_s), history=history), **changes)


def ended(made: Step) -> Incident:
    """The archived incident, of which nobody is told."""
    assert (made.document.incident, made.document.to_tell) == (None, ())
    assert not any(isinstance(act, Start) for act in made.acts)
    record = made.document.to_archive[-1]
    assert (record.outcome.ending, record.outcome.reason, record.outcome.restarts) == (Ending.HELD, Reason.OBSERVE_ONLY, 0)
    return record.incident


def test_people_are_told_once_and_it_is_followed():
    """As before there is one message; now the incident stays open, and a wake-up looks after `verify.first`."""
    made = moved(EMPTY, alerted(), with_rules=OBSERVES)
    assert made.reply is not None
    assert (made.reply.action, made.reply.reason) == (Action.HELD, Reason.OBSERVE_ONLY)
    assert (channels(made.document), wakes(made), made.document.due) == ({"ops"}, [NOW + 20], NOW + 20)
    assert made.document.incident.observed.observed_at == NOW
    deferred = woken(document(incident(Phase.DEFERRED)), NOW, with_rules=OBSERVES).document
    assert (deferred.incident.phase, [one.bundle for one in deferred.to_tell]) == (Phase.OBSERVING, [""])


def test_a_queue_that_is_stuck_again_has_not_healed():
    """The count of healthy checks begins anew; purged, or by older figures, it has not recovered."""
    found = look(observed(), 300, healthy(300)).document
    found = look(found, 315).document
    assert (found.incident.observed.healed_at, found.due) == (None, NOW + 315 + 31.5)
    more = replace(healthy(300), queues={key: replace(well(NOW + 300), consumers=2) for key in seen().queues})
    assert look(observed(), 300, more).document.incident.observed.healed_at == NOW + 300
    purged = replace(healthy(300), queues={key: well(NOW + 300, ()) for key in seen().queues})
    assert look(observed(), 300, purged).document.incident.observed.healed_at is None
    late = replace(healthy(300), queues={key: replace(well(NOW + 300), behind_s=300.0) for key in seen().queues})
    assert look(observed(), 300, late).document.incident.observed.healed_at is None


def test_two_checks_that_see_the_same_work_prove_nothing():
    """Prometheus has a sample every 30 s: two checks 15 s apart may see the same two, from before it hung again."""
    document = observed()
    for after_s in (300, 315, 330, 345):
        samples = tuple((NOW + after_s - ago_s, 900 + after_s - ago_s) for ago_s in (90, 60, 30))
        working = {key: replace(well(NOW + after_s), ack_samples=samples) for key in seen().queues}
        checked = look(document, after_s, healthy(after_s, queues=working))
        assert phase(checked) is Phase.OBSERVING
        document = checked.document
    working = {key: replace(well(NOW + 360), ack_samples=samples) for key in seen().queues}
    assert ended(look(document, 360, healthy(360, queues=working))).observed.healed_at == NOW + 300


def test_what_has_not_healed_in_a_day_is_archived_as_it_is():
    """Looked at every half an hour at last; nobody is told."""
    found, day_s = observed(), 86400
    assert look(found, 120).document.due == NOW + 135
    assert look(found, 160).document.due == NOW + 176
    assert look(found, 18001).document.due == NOW + 19801
    last = look(found, day_s - 1)
    assert (phase(last), last.document.due) == (Phase.OBSERVING, NOW + day_s)
    assert ended(look(last.document, day_s)).observed.healed_at is None
    assert ended(look(found, day_s + 1)).observed.healed_at is None


def test_a_restart_by_hand_stands_in_the_record():
    """History shows that a person restarted it, and when; if it can't be read, nothing is concluded."""
    found = look(observed(), 620, seen(now=NOW + 620, history=history_of(BY_HAND))).document
    for after_s in (700, 715):
        made = look(found, after_s, healthy(after_s, BY_HAND))
        found = made.document
    incident = ended(made)
    assert (incident.execution, incident.run.adopted, incident.observed.healed_at) == (BY_HAND, True, NOW + 700)
    blind = {"history": Unknown("it is down")}
    found = look(observed(), 300, healthy(300)).document
    found = look(found, 315, healthy(315, **blind)).document
    assert (found.incident.phase, found.due) == (Phase.OBSERVING, NOW + 330)
    assert ended(look(found, 330, healthy(330))).observed.healed_at == NOW + 300


def test_repeats_are_told_once_an_hour_as_before():
    """A repeat joins, and reminds people as often as it did before anything was followed."""
    found = observed()
    soon = moved(found, alerted(case(), incident="inc-2"), at=NOW + 900, with_rules=OBSERVES)
    assert (soon.document.to_tell, soon.reply.incident, soon.reply.reason) == ((), "inc-1", Reason.OBSERVE_ONLY)
    what = seen(now=NOW + 3700)
    late = moved(found, alerted(case(), incident="inc-3"), what, NOW + 3700, OBSERVES)
    assert (phase(late), channels(late.document)) == (Phase.OBSERVING, {"ops"})
    other = moved(found, alerted(case(POST, fingerprint="fp-2")), seen(post=snapshot(9)), NOW + 5, OBSERVES)
    assert [watched.queue for watched in other.document.incident.queues][1:] == [POST]
    assert channels(other.document) == {"ops"}, "another alert"


def test_a_repeat_of_a_queue_that_is_well_again_tells_nothing():
    """Grafana is late; the look knows better."""
    made = moved(observed(), alerted(), healthy(3700), NOW + 3700, OBSERVES)
    assert (made.document.to_tell, made.reply.reason) == ((), Reason.SYMPTOM_GONE)
    frozen = rules(runbook(mode=Mode.OBSERVE, freeze=(Freeze(frozenset(range(7)), 0, 0, "always"),)))
    made = moved(observed(), alerted(), seen(now=NOW + 3700), NOW + 3700, frozen)
    assert (made.document.to_tell, made.reply.reason) == ((), Reason.FROZEN), "it would not have been restarted"


@pytest.mark.parametrize("changed", [rules(runbook(mode=Mode.AUTO)), rules(runbook(name="other", mode=Mode.AUTO))])
def test_what_was_only_observed_is_never_acted_on(changed):
    """The runbook restarts now, or is gone: the wake-up ends the following and starts nothing; the next alert decides anew."""
    ended(woken(observed(), NOW + 20, with_rules=changed))
    found = moved(observed(), alerted(case(book=next(iter(changed.runbooks.values()))), incident="inc-2"), with_rules=changed)
    assert [record.incident.id for record in found.document.to_archive] == ["inc-1"]
    assert [act.tag for act in found.acts if isinstance(act, Start)] == ["inc-2.1"]


@pytest.mark.parametrize(
    ("started", "changes", "counts"),
    [
        (-59.0, {}, True),
        (-60.0, {}, False),
        (100.0, {}, True),
        (100.0, {"runner_not_after": history_of().runner_now + 99, "status": "failed"}, False),
        (100.0, {"scheduled": True, "ended": None}, False),
        (100.0, {"runner_started_at": None}, False),
    ],
)
def test_only_a_restart_since_the_hold_was_by_hand(started, changes, counts):
    """A minute is allowed for its alert; what was refused or is only planned restarted nothing."""
    given = {"ended": started + 5, **changes}
    run = execution(12, started=started, **given)
    older = execution(11, started=-3000, ended=-2990)
    made = look(observed(), 300, seen(now=NOW + 300, history=history_of(run, older, now=NOW + 300)))
    assert (made.document.incident.execution, made.document.incident.run.adopted) == (run if counts else None, counts)
