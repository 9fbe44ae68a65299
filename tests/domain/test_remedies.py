"""What follows where the restart did not help: the next remedy, by a person, once, in order, and only for its condition."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.cards.approval_page import View, ask
from functions.domain.cards.card import compose
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.identity import name_message
from functions.domain.decisions.queries import what_to_observe
from functions.domain.decisions.remedies import next_remedy
from functions.domain.model.codes import Ending, Mode, Phase, Reason, Verdict
from functions.domain.model.events import Approved, Declined, Start, StartResult, Step, TimerFired
from functions.domain.model.incidents import STUCK, AfterRestart, Document, PastAttempt, QueueState
from functions.domain.model.moves import Moved, read_moved
from functions.domain.model.observations import Channel, Execution, Holder, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Condition, Limits, Remedy, Rules
from tests.support.worlds.scenes import (
    MAIL,
    NEW,
    NOW,
    POST,
    RUNNER_NOW,
    change,
    execution,
    history_of,
    holding,
    incident,
    moved,
    phase,
    rules,
    runbook,
    seen,
    starting,
    verifying,
    well,
    woken,
)

BACK = "https://rundeck.example.com/project/ops/job/show/return"
PARK = Remedy("park", "job-park", Condition.SAME_MESSAGE, undo=BACK)
HARDER = Remedy("harder", "job-harder", Condition.STUCK, Mode.AUTO)
ENDED_S = -150.0
WORKERS = (Holder("10.0.3.7", "worker-1"), Holder("10.0.3.8", "worker-2"), Holder("10.0.3.9", "worker-3"))


def ladder(*remedies: Remedy, attempts: int = 2, **changes: Any) -> Rules:
    book = runbook(remedies=remedies or (PARK,), limits=Limits(attempts=attempts), **changes)
    return rules(book, public_url="https://unstick.example.com")


def again(at: float = NOW, hosts: int = 1, of: int = 3, *, held: int = 1, redelivered: bool = True) -> QueueSnapshot:
    """So many consumers hold messages again, for two minutes; others are there."""
    seen = holding(*WORKERS[:hosts], at=at)
    grid = [at - 5.0 * n for n in range(25, -1, -1)]
    times = tuple((when, int(redelivered)) for when in grid)
    channels = tuple(replace(one, held=held, counted=held, redeliveries=times) for one in seen.channels or ())
    idle = tuple(Channel(f"idle {n}") for n in range(of - hosts))
    ids = tuple(f"{name} {n}" for name in NEW for n in range(of))
    return replace(seen, channels=(*channels, *idle), consumers=of, consumer_ids=ids)


def looked(mail: QueueSnapshot, before: Document | None = None, at: float = NOW, with_rules: Rules | None = None) -> Step:
    document = before or verifying(ENDED_S)
    run = document.incident.execution if document.incident else None
    return woken(document, at, seen(*((run,) if run else ()), now=at, mail=mail), with_rules or ladder())


def asked(with_rules: Rules | None = None) -> Document:
    result = looked(again(), with_rules=with_rules)
    assert phase(result) is Phase.ASKED
    return result.document


def pressed(mail: QueueSnapshot, at: float = NOW + 60.0, before: Document | None = None, *executions: Execution) -> Step:
    document = before or asked()
    assert document.incident is not None
    approved = Approved(document.incident.approval.nonce, "anna")
    runs = executions or ((document.incident.execution,) if document.incident.execution else ())
    return moved(document, approved, seen(*runs, now=at, mail=mail), at, ladder())


def start_of(result: Step) -> Start | None:
    return next((act for act in result.acts if isinstance(act, Start)), None)


def parked(
    mail: QueueSnapshot, *, run: str = "succeeded", at: float = NOW + 300.0, log: tuple[str, ...] | None = None, by: str = ""
) -> Step:
    """The park was approved, ran, and its queue is looked at again."""
    document = pressed(again(at=NOW + 60.0)).document
    began = Execution("8", "http://rundeck/execution/8", "running", RUNNER_NOW + 61.0, tag="inc-1.2-park")
    document = moved(document, StartResult("inc-1.2-park", began), seen(now=NOW + 61.0), NOW + 61.0, ladder()).document
    ended = replace(began, status=run, runner_ended_at=RUNNER_NOW + 70.0, aborted_by=by)
    history = history_of(ended, now=NOW + 100.0, tail=log)
    document = woken(document, NOW + 100.0, seen(now=NOW + 100.0, mail=mail, history=history), ladder()).document
    if document.incident is None:
        return Step(document)
    history = history_of(ended, now=at)
    result = woken(document, at, seen(now=at, mail=replace(mail, at=at), history=history), ladder())
    if result.document.incident is None:
        return result
    later = at + 20.0
    return woken(
        result.document, later, seen(now=later, mail=replace(mail, at=later), history=history_of(ended, now=later)), ladder()
    )


def text_of(document: Document) -> str:
    return "\n".join((document.to_tell[-1].card.headline, *document.to_tell[-1].card.text))


def test_the_same_message_again_asks_for_the_remedy_and_says_what_it_does_and_costs():
    """Instead of an escalation: what is moved, how many, from where to where, and what that may cost."""
    assert phase(looked(again(), verifying(ENDED_S, overruled=True))) is Phase.ASKED, "a restart was approved, no remedy"
    assert phase(looked(again(of=1))) is Phase.ASKED, "its only consumer"
    assert looked(again(hosts=2)).document.incident.approval.to_move == 2, "two of three consumers"
    document = asked()
    assert document.incident is not None
    assert (document.incident.reason, document.incident.approval.to_move) == (Reason.AWAITING_APPROVAL, 1)
    card = document.to_tell[-1].card
    assert (card.urgency, card.actions[0]) == ("act", "approve")
    for words in (
        "same message again",
        "moves the message that is held from mail.delivery to mail.delivery.parked",
        "a duplicate",
    ):
        assert words in text_of(document)
    page = ask(View(CardInput("held", NOW, None, None, document.incident, Reason.AWAITING_APPROVAL), ()), ladder())
    assert "mail.delivery.parked" in str(page.why[1].text)
    assert "park" in str(page.buttons[0].label)


def test_approved_it_runs_its_own_job_with_its_own_tag_and_what_to_move():
    """The fence and the guards are those of a restart."""
    result = pressed(again(at=NOW + 60.0))
    start = start_of(result)
    assert start is not None
    options = {"unstick_vhost": "/", "unstick_queue": "mail.delivery", "unstick_messages": "1"}
    assert (start.tag, start.job, start.options) == ("inc-1.2-park", "job-park", options)
    assert start.runner_not_after == RUNNER_NOW + 90.0
    assert [past.tag for past in result.document.incident.tries] == ["inc-1.1"], "once, though it was decided twice"
    document = asked()
    assert document.target is not None
    changed = replace(document, target=replace(document.target, own={"job-park": {"keep": "3d"}, "job-harder": {"how": "hard"}}))
    with_own = start_of(pressed(again(at=NOW + 60.0), before=changed))
    assert with_own is not None
    assert with_own.options == {**options, "keep": "3d"}


@pytest.mark.parametrize(
    ("mail", "why"),
    [
        (again(held=11), "11 messages are held, and park moves at most 10"),
        (again(hosts=3), "each consumer hangs"),
        (again(hosts=2, of=2), "each consumer hangs"),
        (again(redelivered=False), "still stuck"),
    ],
    ids=["too many", "all of several", "both", "another message"],
)
def test_without_its_condition_people_get_it_as_without_a_remedy(mail, why):
    """What can't be counted or is too much is not offered."""
    result = looked(mail, with_rules=ladder(attempts=1))
    assert result.document.outcomes[-1].ending is Ending.ESCALATED
    assert why in text_of(result.document)


@pytest.mark.parametrize(
    ("other", "then"), [(again(), Phase.VERIFYING), (Unknown("down"), Phase.ASKED), (well(), Phase.ASKED)],
    ids=["hangs too", "can't be read", "is well"],
)  # fmt: skip
def test_messages_are_moved_where_one_queue_alone_hangs(other, then):
    """Of two."""
    document = verifying(ENDED_S)
    queues = (*document.incident.queues, replace(document.incident.queues[0], queue=POST))
    document = replace(document, incident=replace(document.incident, queues=queues))
    for order in (1, -1):
        both = replace(document, incident=replace(document.incident, queues=queues[::order]))
        result = woken(both, NOW, seen(document.incident.execution, mail=again(), post=other), ladder(attempts=1))
        assert phase(result) is (then if then is Phase.ASKED else None)
        assert ("several queues hang" in text_of(result.document)) is (then is not Phase.ASKED)


@pytest.mark.parametrize(
    ("mail", "then"),
    [
        (again(at=NOW + 60.0, redelivered=False), Phase.STARTING),
        (well(at=NOW + 60.0), Phase.VERIFYING),
        (again(at=NOW + 60.0, held=2), Phase.ASKED),
    ],
    ids=["another message", "well", "another number"],
)
def test_a_press_holds_only_for_what_was_asked(mail, then):
    """The condition is checked once more, and another number of messages is another question."""
    result = pressed(mail, at=NOW + 60.0)
    assert getattr(start_of(result), "job", "") == ""  # a restart by itself at most, as another attempt
    assert result.document.incident is not None
    assert (result.document.incident.phase, result.document.incident.approval.overruled) == (then, False)
    fewer = pressed(again(at=NOW + 60.0), NOW + 60.0, looked(again(hosts=2)).document)
    assert (start_of(fewer), phase(fewer), fewer.document.incident.approval.to_move) == (None, Phase.ASKED, 1)


def test_a_restart_by_hand_since_the_question_gets_its_time_to_help():
    """It may have healed what was asked about: nothing is moved before it is verified."""
    ours, at = verifying(ENDED_S).incident.execution, NOW + 60.0
    theirs = Execution("9", "u", "succeeded", RUNNER_NOW + 50.0, RUNNER_NOW + 55.0, user="bert")
    result = pressed(again(at=at), at, None, theirs, ours)
    assert (start_of(result), phase(result)) == (None, Phase.VERIFYING)
    assert result.document.incident.execution.id == "9"


def test_nothing_follows_a_remedy_whose_own_retry_came_too_late():
    """The job refused Rundeck's retry, but its first run may have done anything."""
    times = {"started": -140.0, "ended": ENDED_S + 20.0, "runner_not_after": RUNNER_NOW - 145.0}
    retry = execution(9, status="failed", tag="inc-1.2-park", retry_of_restart=True, **times)
    document = verifying(ENDED_S, execution=retry, attempt=2, restarts=2)
    result = looked(again(redelivered=False), document, with_rules=ladder(attempts=3))
    assert start_of(result) is None
    assert result.document.outcomes[-1].ending is Ending.ESCALATED


def test_a_no_is_an_escalation_with_its_button():
    """The restart did not help, so people take over."""
    document = asked()
    assert document.incident is not None
    result = moved(document, Declined(document.incident.approval.nonce, "anna"), seen(now=NOW + 9), NOW + 9, ladder())
    assert (result.document.outcomes[-1].ending, result.document.outcomes[-1].by) == (Ending.ESCALATED, "anna")
    assert result.document.escalated_at == NOW + 9


@pytest.mark.parametrize("ended", [None, RUNNER_NOW + 90.0])
def test_a_remedy_that_nothing_runs_any_more_may_have_left_the_application_stopped(ended):
    """Its Rundeck died with it. "A restart has been running for too long" says nothing of that."""
    document = pressed(again(at=NOW + 60.0)).document
    began = Execution("8", "http://rundeck/execution/8", "running", RUNNER_NOW + 61.0, tag="inc-1.2-park")
    document = moved(document, StartResult("inc-1.2-park", began), seen(now=NOW + 61.0), NOW + 61.0, ladder()).document
    lost = replace(began, abandoned=True, runner_ended_at=ended)
    document = woken(document, NOW + 100.0, seen(lost, now=NOW + 100.0), ladder()).document
    assert document.outcomes[-1].reason is Reason.REMEDY_UNCLEAR
    assert "the application may be stopped" in document.to_tell[-1].card.headline


UNTOUCHED = "refused, the application was not touched: mail.parked has a consumer"
ENDS = [
    ("exit 2: " + UNTOUCHED, "", Reason.REMEDY_REFUSED, "the remedy was refused, and the application was not touched"),
    ("exit 4: nothing moved: STOP failed", "", Reason.NOTHING_MOVED, "nothing was moved aside"),
    ("exit 5: 1 of 2 moved", "", Reason.PARTLY_MOVED, "one may be in both queues"),
    ("exit 6: moved 1 from a to b, and START failed", "", Reason.NOT_STARTED, "the application is stopped"),
    ("exit 143: stopped: everything goes back", "anna", Reason.REMEDY_STOPPED, "the remedy was aborted"),
    ("exit 6: stopped, and START failed", "anna", Reason.NOT_STARTED, "the application is stopped"),
    ("exit 1: outcome unknown", "", Reason.REMEDY_UNCLEAR, "the application may be stopped"),
    ("Killed", "", Reason.REMEDY_UNCLEAR, "the application may be stopped"),
    ("Killed", "anna", Reason.REMEDY_STOPPED, "the remedy was aborted"),
]


@pytest.mark.parametrize(("last", "by", "reason", "headline"), ENDS)
def test_each_way_a_remedy_fails_has_a_sentence_of_its_own(last: str, by: str, reason: Reason, headline: str):
    """Not "the restart job keeps failing", nor "a person aborted the restart"; the job's own sentence is quoted."""
    result = parked(again(at=NOW + 100.0), run="aborted" if by else "failed", log=("stop: done", last, "Result: 1"), by=by)
    outcome, card = result.document.outcomes[-1], result.document.to_tell[-1].card
    assert (outcome.ending, outcome.reason) == (Ending.ESCALATED, reason)
    assert headline in card.headline
    quoted = last.partition(": ")[2]
    assert quoted in text_of(result.document)
    assert by in text_of(result.document)
    assert "restart job" not in text_of(result.document)


MOVED = (
    'message 1 of 1: {"sha256": "1a2b3c4d5e6f", "size": 1234, "age_s": 7200, "returns": 2, "exchange": "orders", '
    '"routing_key": "mail.eu", "message_id": "*4711*", "type": "order", "headers": "trace, tenant"}'
)


def test_the_card_says_which_message_it_was():
    """By what its publisher wrote, cleaned, and never by its body."""
    result = parked(well(at=NOW + 300.0), log=(MOVED, "exit 0: moved 1 from mail to mail.parked"))
    card = result.document.to_tell[-1].card
    assert card.kind == "recovered"
    said = (
        "message id *4711*, type order, exchange orders, routing key mail.eu, 1,234 bytes, 2 h 0 min old, returned 2 times, "
        "headers trace, tenant, SHA-256 1a2b3c4d5e6f"
    )
    assert dict(card.facts)["Moved aside"] == said


def test_what_names_a_message_is_cut_and_three_of_them_are_shown():
    """The job's log has the others."""
    shown = Moved(message_id="\u200b", type="x" * 81, app_id="y" * 80, age_s=0, sha256="ab" * 32)
    assert str(name_message(shown)) == f"type {'x' * 79}…, app id {'y' * 80}, 0 s old, SHA-256 abababababa…"
    for count, rows in ((3, ["Moved aside", "", ""]), (8, ["Moved aside", "", "", ""])):
        card = parked(well(at=NOW + 300.0), log=(*[MOVED] * count, "exit 0: moved")).document.to_tell[-1].card
        place = [label for label, _ in card.facts].index("Moved aside")
        assert [label for label, _ in card.facts[place:] if label in ("Moved aside", "")] == rows
        assert ("and 5 more" in dict(card.facts).values()) is (count == 8)


QUEUE = QueueState(to_queue("/", "q" * 300), "mail", NOW, after=AfterRestart(verdict=Verdict.STUCK, held_again=1))


@pytest.mark.parametrize(("remedy", "moves"), [("park", True), ("a", False), ("z", False), ("", False)])
def test_cards_tell_only_what_the_last_run_moved(remedy: str, moves: bool):
    """Not what another remedy would have moved."""
    incident = verifying(ENDED_S, execution=execution(8, tag="inc-1.2-park"), remedy=remedy, to_move=2, queues=(QUEUE,)).incident
    kinds = ("started", "recovered", "escalated", "draining")
    cards = [compose(CardInput(kind, NOW, runbook(remedies=(PARK,)), None, incident), ladder()) for kind in kinds]
    said = ("It moves 2 messages from qqq", "without the 2 messages that were", "Without the moved messages", "no such")
    assert [words in " ".join(card.text) for words, card in zip(said, cards, strict=True)] == [moves, moves, moves, False]
    assert [BACK in dict(card.links).values() for card in cards] == [False, moves, moves, False]
    assert (f"from {'q' * 189}… to {'q' * 189}….parked" in cards[0].text[0]) is moves
    well = replace(incident, queues=(replace(QUEUE, after=AfterRestart()),))
    assert "moved" not in " ".join(compose(CardInput("escalated", NOW, None, None, well), ladder()).text)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (MOVED, {"*4711*"}),
        ('message 1 of 1: {"message_id": "password=*** "size": 3}', {"password=*** "}),
        ('message 1 of 1: {"message_id": "a\\" \\u0000", "size": 3}', {'a" \\x00'}),
        ('stop: message 1 of 1: {"message_id": "forged"}', set()),
        ('message 1 of 1: {"size": "large"}', set()),
        ("exit 0: moved 1", set()),
    ],
)
def test_a_line_of_a_moved_message_is_read_whatever_is_in_it(line: str, names: set[str]):
    """Masking may cut it; what another command printed is none."""
    assert {message.message_id.encode("unicode_escape").decode() for message in read_moved((line,))} == names


def test_the_link_says_which_job_it_approves():
    """It is not the restart."""
    card = asked().to_tell[-1].card
    assert card.links[0][0] == "Approve the job park"


def test_the_queue_that_flows_without_it_names_the_message():
    """A conclusion from one experiment, with where the message lies; where the next one hangs, it was not that."""
    result = parked(well(at=NOW + 290.0))
    assert dict(result.document.to_tell[-1].card.links)["Bring the messages back"] == BACK
    assert result.document.outcomes[-1].ending is Ending.RECOVERED
    assert "without the message that was moved to mail.delivery.parked. So that message probably hangs" in text_of(
        result.document
    )
    result = parked(again(at=NOW + 290.0, redelivered=False))
    assert dict(result.document.to_tell[-1].card.links)["Bring the messages back"] == BACK
    assert BACK not in dict(asked().to_tell[-1].card.links).values()
    assert result.document.outcomes[-1].ending is Ending.ESCALATED
    assert "the next one hangs as well" in text_of(result.document)
    assert "with the job return" in text_of(result.document)


@pytest.mark.parametrize("mail", [again(at=NOW + 290.0), again(at=NOW + 290.0, redelivered=False)])
@pytest.mark.parametrize("run", ["succeeded", "failed"])
def test_nothing_follows_a_remedy_twice_or_backwards(mail, run):
    """Neither the same remedy again nor another restart, though `attempts` has one left."""
    result = parked(mail, run=run)
    assert start_of(result) is None
    assert result.document.outcomes[-1].ending is Ending.ESCALATED
    assert ("Details: park: the job ended as failed" in text_of(result.document)) == (run == "failed")


def test_a_remedy_for_what_is_still_stuck_may_run_by_itself():
    """When the restarts are used up; its job gets nothing but the target's options."""
    stuck = AfterRestart(verdict=Verdict.STUCK)
    document = verifying(-400.0)
    assert document.incident is not None
    document = replace(document, incident=change(document.incident, queues=(replace(document.incident.queues[0], after=stuck),)))
    result = looked(replace(again(redelivered=False)), document, with_rules=ladder(HARDER, PARK, attempts=1))
    start = start_of(result)
    assert start is not None
    assert (start.tag, start.job, start.options) == ("inc-1.2-harder", "job-harder", {})
    assert result.document.incident.approval.to_move == 0
    approved = replace(document, incident=change(document.incident, overruled=True))
    asks = ladder(replace(HARDER, mode=Mode.APPROVE), attempts=1)
    assert phase(looked(again(redelivered=False), approved, with_rules=asks)) is Phase.ASKED, "a restart was approved"


def test_a_run_that_rundeck_itself_tried_again_is_verified_once():
    """Both have the tag of the attempt. The second was adopted again and again, and no remedy ever came."""
    at = NOW + 900.0
    ran = [
        Execution(str(n), "u", status, RUNNER_NOW + n, RUNNER_NOW + 9 + n, "inc-1.1")
        for n, status in enumerate(("failed", "succeeded"))
    ]
    with_rules = ladder(replace(HARDER, mode=Mode.AUTO), attempts=2)
    result = woken(starting(), at, seen(*ran, now=at, mail=again(at=at, redelivered=False)), with_rules)
    assert getattr(start_of(result), "tag", "") == "inc-1.2-harder"


@pytest.mark.parametrize(
    ("ran", "when", "name"),
    [
        pytest.param((), Condition.STUCK, "first", id="the first"),
        pytest.param((), Condition.SAME_MESSAGE, "second", id="the first of its condition"),
        pytest.param(("first",), Condition.SAME_MESSAGE, "second", id="the next"),
        pytest.param(("first",), Condition.STUCK, "fourth", id="the next that doesn't only observe"),
        pytest.param(("second",), Condition.STUCK, "fourth", id="never back"),
        pytest.param(("fourth", "first"), Condition.SAME_MESSAGE, None, id="never back, whatever the order is now"),
        pytest.param(("fourth",), Condition.STUCK, None, id="the last"),
        pytest.param(("former",), Condition.STUCK, "first", id="one that is no longer configured"),
    ],
)
def test_each_remedy_has_its_turn_once_in_the_order_of_the_runbook(ran, when, name):
    """Where its condition holds."""
    ladder = (
        Remedy("first", "job-1", Condition.STUCK, Mode.AUTO),
        Remedy("second", "job-2", Condition.SAME_MESSAGE),
        Remedy("third", "job-3", Condition.STUCK, Mode.OBSERVE),
        Remedy("fourth", "job-4", Condition.STUCK),
    )
    runs = [execution(number, tag=f"inc-1.{number}-{one}", status="failed") for number, one in enumerate(ran)]
    late = [replace(run, runner_not_after=RUNNER_NOW - 61.0) for run in runs]
    for executions, asked, following in ((runs, when, name), (late, Condition.STUCK, "first")):
        after = incident(tries=tuple(PastAttempt(run.tag, run, STUCK) for run in executions))
        remedy = next_remedy(after, runbook(remedies=ladder), asked)
        assert getattr(remedy, "name", None) == following, "what came too late does not count"


def test_an_unclear_start_is_decided_anew_with_its_condition():
    """Not found a minute after its fence: the press still counts, if the same message still hangs."""
    document = pressed(again(at=NOW + 60.0)).document
    at = NOW + 200.0
    run = verifying(ENDED_S).incident.execution
    result = woken(document, at, seen(run, now=at, mail=again(at=at)), ladder())
    assert getattr(start_of(result), "tag", "") == "inc-1.3-park"
    healed = woken(document, at, seen(run, now=at, mail=well(at=at)), ladder())
    assert (start_of(healed), phase(healed)) == (None, Phase.VERIFYING)


def test_a_remedy_that_is_gone_from_the_configuration_is_not_started():
    """What was approved then is escalated; a restart's tag stays INCIDENT.ATTEMPT."""
    document = asked()
    assert document.incident is not None
    approved = Approved(document.incident.approval.nonce, "anna")
    result = moved(
        document, approved, seen(document.incident.execution, now=NOW + 60, mail=again(at=NOW + 60)), NOW + 60, rules()
    )
    assert start_of(result) is None
    assert result.document.outcomes[-1].ending is Ending.ESCALATED
    before = starting()
    result = moved(before, StartResult("inc-1.1", Execution("7", "u", "running", RUNNER_NOW)), seen(), NOW, ladder())
    assert phase(result) is Phase.RUNNING
    assert MAIL.key in result.document.incident.queues[0].queue.key


def test_the_history_of_a_remedys_job_is_read_whichever_is_older():
    """An incident from before the configuration named the remedy must not run it unseen, nor one from after it lose it."""
    document = verifying(ENDED_S)
    assert document.target is not None
    known = replace(document, target=replace(document.target, remedies=("job-former",)))
    wanted = what_to_observe(known, TimerFired(), ladder()).target
    assert wanted is not None
    assert wanted.remedies == ("job-former", "job-park")
