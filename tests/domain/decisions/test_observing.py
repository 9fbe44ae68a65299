"""What a runbook in mode observe would have restarted is followed in silence, and archived with how it went."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import MessagesDelivered, Start, Step
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.observations import Execution, Observation, Statement, Unknown
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
    result = moved(EMPTY, alerted(), with_rules=OBSERVES)
    assert (phase(result), kinds(result.document)) == (Phase.OBSERVING, ["held"])
    posted = MessagesDelivered(frozenset(message.id for message in result.document.to_tell))
    document = moved(result.document, posted, with_rules=OBSERVES).document
    return replace(document, incident=replace(document.incident, began_at=NOW - 500))


def look(document: Document, after_s: float, what: Observation | None = None) -> Step:
    """A check this long after the hold; without `what` the queue is as stuck as before."""
    return woken(document, NOW + after_s, what or seen(now=NOW + after_s), OBSERVES)


def healthy(after_s: float, *executions: Execution, **changes: object) -> Observation:
    """The queue is empty, and its consumers are there."""
    history = replace(history_of(*executions), runner_now=history_of().runner_now + after_s)
    return replace(seen(now=NOW + after_s, mail=well(NOW + after_s), history=history), **changes)


def ended(result: Step) -> Incident:
    """The archived incident, of which nobody is told."""
    assert (result.document.incident, result.document.to_tell) == (None, ())
    assert not any(isinstance(act, Start) for act in result.acts)
    record = result.document.to_archive[-1]
    assert (record.outcome.ending, record.outcome.reason, record.outcome.restarts) == (Ending.HELD, Reason.OBSERVE_ONLY, 0)
    return record.incident


def test_people_are_told_once_and_it_is_followed():
    """As before there is one message; now the incident stays open, and a wake-up looks after `verify.first`."""
    result = moved(EMPTY, alerted(), with_rules=OBSERVES)
    assert result.reply is not None
    assert (result.reply.action, result.reply.reason) == (Action.HELD, Reason.OBSERVE_ONLY)
    assert (channels(result.document), wakes(result), result.document.due) == ({"ops"}, [NOW + 20], NOW + 20)
    assert result.document.incident.observed.observed_at == NOW
    deferred = woken(document(incident(Phase.DEFERRED)), NOW, with_rules=OBSERVES).document
    assert (deferred.incident.phase, [one.bundle for one in deferred.to_tell]) == (Phase.OBSERVING, [""])


def test_a_queue_that_is_stuck_again_has_not_healed():
    """The count of healthy checks begins anew; purged, or by what was so before the hold, it has not recovered."""
    document = look(observed(), 300, healthy(300)).document
    document = look(document, 315).document
    assert (document.incident.observed.healed_at, document.due) == (None, NOW + 315 + 31.5)
    more = replace(healthy(300), queues={key: replace(well(NOW + 300), consumers=2) for key in seen().queues})
    assert look(observed(), 300, more).document.incident.observed.healed_at == NOW + 300
    purged = replace(healthy(300), queues={key: well(NOW + 300, ()) for key in seen().queues})
    assert look(observed(), 300, purged).document.incident.observed.healed_at is None
    for back_s, healed_at in ((300.0, None), (299.0, NOW + 300)):
        said = Statement(NOW + 300, back_s, recovered=True)
        stated = replace(healthy(300), queues=dict.fromkeys(seen().queues, said))
        assert look(observed(), 300, stated).document.incident.observed.healed_at == healed_at


def test_two_checks_that_see_the_same_work_prove_nothing():
    """A condition looks back for 60 s: two checks 15 s apart may see the same work, from before it hung again."""

    def check(document, after_s):
        said = Statement(NOW + after_s, 60.0, recovered=True)
        return look(document, after_s, healthy(after_s, queues=dict.fromkeys(seen().queues, said)))

    document = observed()
    for after_s in (300, 315, 330, 345):
        checked = check(document, after_s)
        assert phase(checked) is Phase.OBSERVING
        document = checked.document
    assert ended(check(document, 360)).observed.healed_at == NOW + 300


def test_what_has_not_healed_in_a_day_is_archived_as_it_is():
    """Looked at every half an hour at last; nobody is told."""
    document, day_s = observed(), 86400
    assert look(document, 120).document.due == NOW + 135
    assert look(document, 160).document.due == NOW + 176
    assert look(document, 18001).document.due == NOW + 19801
    last = look(document, day_s - 1)
    assert (phase(last), last.document.due) == (Phase.OBSERVING, NOW + day_s)
    assert ended(look(last.document, day_s)).observed.healed_at is None
    assert ended(look(document, day_s + 1)).observed.healed_at is None


def test_a_restart_by_hand_stands_in_the_record():
    """History shows that a person restarted it, and when; if it can't be read, nothing is concluded."""
    document = look(observed(), 620, seen(now=NOW + 620, history=history_of(BY_HAND))).document
    for after_s in (700, 715):
        result = look(document, after_s, healthy(after_s, BY_HAND))
        document = result.document
    incident = ended(result)
    assert (incident.execution, incident.run.adopted, incident.observed.healed_at) == (BY_HAND, True, NOW + 700)
    blind = {"history": Unknown("it is down")}
    document = look(observed(), 300, healthy(300)).document
    document = look(document, 315, healthy(315, **blind)).document
    assert (document.incident.phase, document.due) == (Phase.OBSERVING, NOW + 330)
    assert ended(look(document, 330, healthy(330))).observed.healed_at == NOW + 300


def test_repeats_are_told_once_an_hour_as_before():
    """A repeat joins, and reminds people as often as it did before anything was followed."""
    document = observed()
    soon = moved(document, alerted(case(), incident="inc-2"), at=NOW + 900, with_rules=OBSERVES)
    assert (soon.document.to_tell, soon.reply.incident, soon.reply.reason) == ((), "inc-1", Reason.OBSERVE_ONLY)
    what = seen(now=NOW + 3700)
    late = moved(document, alerted(case(), incident="inc-3"), what, NOW + 3700, OBSERVES)
    assert (phase(late), channels(late.document)) == (Phase.OBSERVING, {"ops"})
    other = moved(document, alerted(case(POST, fingerprint="fp-2")), seen(post=snapshot(9)), NOW + 5, OBSERVES)
    assert [watched.queue for watched in other.document.incident.queues][1:] == [POST]
    assert channels(other.document) == {"ops"}, "another alert"


def test_a_repeat_of_a_queue_that_is_well_again_tells_nothing():
    """Grafana is late; the look knows better."""
    result = moved(observed(), alerted(), healthy(3700), NOW + 3700, OBSERVES)
    assert (result.document.to_tell, result.reply.reason) == ((), Reason.SYMPTOM_GONE)
    frozen = rules(runbook(mode=Mode.OBSERVE, freeze=(Freeze(frozenset(range(7)), 0, 0, "always"),)))
    result = moved(observed(), alerted(), seen(now=NOW + 3700), NOW + 3700, frozen)
    assert (result.document.to_tell, result.reply.reason) == ((), Reason.FROZEN), "it would not have been restarted"


@pytest.mark.parametrize("changed", [rules(runbook(mode=Mode.AUTO)), rules(runbook(name="other", mode=Mode.AUTO))])
def test_what_was_only_observed_is_never_acted_on(changed):
    """The runbook restarts now, or is gone: the wake-up ends the following and starts nothing; the next alert decides anew."""
    ended(woken(observed(), NOW + 20, with_rules=changed))
    result = moved(observed(), alerted(case(book=next(iter(changed.runbooks.values()))), incident="inc-2"), with_rules=changed)
    assert [record.incident.id for record in result.document.to_archive] == ["inc-1"]
    assert [act.tag for act in result.acts if isinstance(act, Start)] == ["inc-2.1"]


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
    result = look(observed(), 300, seen(now=NOW + 300, history=history_of(run, older, now=NOW + 300)))
    assert (result.document.incident.execution, result.document.incident.run.adopted) == (run if counts else None, counts)
