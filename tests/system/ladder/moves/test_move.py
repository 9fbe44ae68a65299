"""What infra/rundeck/move.py moves, and what it leaves alone: by content, for each kind of queue."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pika
import pytest
import yaml

from functions.domain.model.alerts import MOVES, RETURNS
from testbed.broker import HOST, VERSIONS, Broker, broker
from testbed.patience import wait_until
from tests.support.needs import need_broker
from tests.system.ladder.moves.place import FOLDER, KINDS, VHOST, Place, configure, step_of

EACH_KIND = [pytest.param(kind, marks=[] if kind == "classic" else [pytest.mark.long]) for kind in KINDS]
HUNG = [f"message {number}" for number in range(6)]


@pytest.fixture
def names(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "-").replace("]", "").replace(" ", "_")[-60:]


@pytest.fixture(params=EACH_KIND)
def place(request: pytest.FixtureRequest, rabbitmq_server: Broker, tmp_path: Path, names: str) -> Place:
    """Six messages, of which the application held the first."""
    filled = Place(rabbitmq_server, tmp_path, request.param, f"mail.{names}")
    filled.publish(*HUNG)
    return filled


def test_what_hung_is_moved_aside_and_brought_back(place: Place) -> None:
    """Exactly this one, all others keep their order, and the way back ends at the queue's end."""
    place.hang(1)
    status, sentence, said = place.run("park")
    assert (status, sentence) == (0, f"moved 1 from {place.queue} to {place.parked}"), said
    assert (place.bodies(place.parked), place.bodies()) == (HUNG[:1], HUNG[1:])
    assert (place.stopped.exists(), place.started.exists()) == (True, True)
    place.started.unlink()
    place.stopped.unlink()
    status, sentence, said = place.run("return", "")
    assert (status, sentence) == (0, f"moved 1 from {place.parked} to {place.queue}"), said
    assert (place.bodies(place.parked), place.bodies()) == ([], [*HUNG[1:], HUNG[0]])
    assert place.untouched


@pytest.mark.long
def test_several_are_moved_in_their_order(place: Place) -> None:
    place.hang(3)
    status, _, said = place.run("park", "3")
    assert (status, place.bodies(place.parked), place.bodies()) == (0, HUNG[:3], HUNG[3:]), said


@pytest.mark.long
def test_only_the_same_named_queue_of_its_own_vhost_is_touched(place: Place) -> None:
    """A shovel's `amqp://` was the vhost `/`, whatever queue was named."""
    elsewhere = Place(place.broker, place.folder, "classic", place.queue, vhost="/")
    elsewhere.publish("another application's")
    place.hang(1)
    assert place.run("park")[0] == 0
    assert (elsewhere.bodies(), elsewhere.bodies(elsewhere.parked)) == (["another application's"], [])
    assert place.bodies(place.parked) == HUNG[:1]


def test_a_message_that_nobody_was_given_is_never_moved(place: Place) -> None:
    """What hung has expired, or lies behind a new one of a higher priority: an innocent message is not parked in its place."""
    status, sentence, said = place.run("park")
    assert (status, sentence) == (4, "nothing moved: only 0 of 1 found that had been delivered before"), said
    assert (place.bodies(place.parked), place.bodies(), place.started.exists()) == ([], HUNG, True)


@pytest.mark.long
@pytest.mark.parametrize("given", ["own expiration", "queue's ttl"])
def test_what_expired_meanwhile_is_not_replaced_by_the_next(
    rabbitmq_server: Broker, tmp_path: Path, names: str, given: str
) -> None:
    more = {"x-message-ttl": 1500} if given == "queue's ttl" else {}
    place = Place(rabbitmq_server, tmp_path, "classic", f"mail.{names}", **more)
    place.publish(HUNG[0], **({} if more else {"expiration": "1500"}))
    stop = threading.Thread(target=place.hang, args=(1,))
    stop.start()
    stop.join()
    time.sleep(1.6)
    place.publish(*HUNG[1:])
    status, sentence, said = place.run("park")
    assert (status, "only 0 of 1 found" in sentence) == (4, True), said
    assert place.bodies(place.parked) == []


def test_a_new_message_of_a_higher_priority_is_not_taken_for_the_one_that_hung(
    rabbitmq_server: Broker, tmp_path: Path, names: str
) -> None:
    """It lies before it in a classic queue, so the program looks further; where two may be meant, nothing is moved."""
    place = Place(rabbitmq_server, tmp_path, "priorities", f"mail.{names}")
    place.publish(*HUNG, priority=1)
    place.hang(1)
    place.publish("urgent", priority=5)
    status, _, said = place.run("park")
    assert (status, place.bodies(place.parked)) == (0, HUNG[:1]), said
    assert place.bodies() == ["urgent", *HUNG[1:]]
    status, sentence, said = place.run("park")
    assert (status, "it is not known which 1 of them hang the application" in sentence) == (4, True), said


@pytest.mark.long
def test_of_what_several_workers_held_the_one_that_hung_twice_is_moved(
    rabbitmq_server: Broker, tmp_path: Path, names: str
) -> None:
    """In a quorum queue what returned comes first in any order. Counts tell it: the restart returned it as well."""
    place = Place(rabbitmq_server, tmp_path, "quorum", f"mail.{names}")
    place.publish(*HUNG)
    place.hang(1)
    place.hang(1, 1, 1)
    status, _, said = place.run("park")
    assert (status, place.bodies(place.parked)) == (0, HUNG[:1]), said
    assert sorted(place.bodies()) == HUNG[1:]


def test_nothing_is_moved_while_a_consumer_is_there(place: Place) -> None:
    """STOP did not stop all of them. The application is started all the same."""
    with place.broker.channel(VHOST) as channel:
        place.hold(channel)
        status, sentence, said = place.run("park", wait_s=3)
    expected = f"nothing moved: {place.queue} still has a consumer: does STOP stop all of them?"
    assert (status, sentence, place.started.exists()) == (4, expected, True), said
    assert place.bodies() == HUNG


@pytest.mark.long
def test_a_message_that_somebody_got_holds_the_move(rabbitmq_server: Broker, tmp_path: Path, names: str) -> None:
    """`basic.get` needs no consumer."""
    place = Place(rabbitmq_server, tmp_path, "classic", f"mail.{names}")
    place.publish(*HUNG)
    with place.broker.channel(VHOST) as channel:
        channel.basic_get(place.queue)
        assert place.run("park", wait_s=3)[0] == 4
    assert place.bodies() == HUNG


@pytest.mark.long
def test_more_than_were_held_moves_nothing(place: Place) -> None:
    place.hang(2)
    status, sentence, said = place.run("park", "3")
    assert (status, sentence) == (4, "nothing moved: only 2 of 3 found that had been delivered before"), said
    assert (place.bodies(place.parked), place.bodies()) == ([], HUNG)


@pytest.mark.long
def test_queues_whose_names_differ_by_case_only_are_told_apart(rabbitmq_server: Broker, tmp_path: Path, names: str) -> None:
    place = Place(rabbitmq_server, tmp_path, "classic", f"mail.{names}")
    place.publish(*HUNG)
    place.hang(1)
    with place.broker.channel(VHOST) as channel:
        channel.queue_declare(f"{place.queue}.PARKED", durable=True)
    place.publish("of somebody else", queue=f"{place.queue}.PARKED")
    assert place.run("park")[0] == 0
    assert (place.bodies(place.parked), place.bodies(f"{place.queue}.PARKED")) == (HUNG[:1], ["of somebody else"])


@pytest.mark.long
def test_headers_that_copy_messages_have_no_effect(place: Place) -> None:
    """CC would publish it to these queues again, on the way there and on the way back; it is kept as a text."""
    spread = f"{place.queue}.spread"
    with place.broker.channel(VHOST) as channel:
        channel.queue_declare(spread, durable=True)
        channel.queue_purge(place.queue)
    place.publish("copied", headers={"CC": [spread]}, expiration="900000")
    place.hang(1)
    assert place.run("park")[0] == 0
    assert place.run("return", "")[0] == 0
    ((_, properties, _),) = place.messages()
    assert (properties.expiration, properties.headers["x-unstick"]["CC"]) == ("900000", [spread])
    assert place.bodies(spread) == ["copied"]
    with place.broker.channel(VHOST) as channel:
        channel.queue_delete(spread)


def raw_headers(count: int) -> bytes:
    """Of every type that RabbitMQ knows: pika changes several of them when it sends them again."""
    kinds = [
        b"t\x01", b"b\xff", b"B\xff", b"s\xff\xfe", b"u\xff\xfe", b"I" + struct.pack(">i", -5), b"i" + struct.pack(">I", 2**31),
        b"l" + struct.pack(">q", 2**40), b"f" + struct.pack(">f", 1.5), b"d" + struct.pack(">d", 1.5), b"D\x02\x00\x00\x00\x7b",
        b"S\x00\x00\x00\x02\xff\xfe", b"T" + struct.pack(">Q", 1_700_000_000), b"V", b"x\x00\x00\x00\x02\x00\x01",
        b"A\x00\x00\x00\x02t\x01", b"F\x00\x00\x00\x04\x01at\x00",
    ]  # fmt: skip
    rows = [(f"header {number}".encode(), kinds[number % len(kinds)]) for number in range(count)]
    return b"".join(bytes([len(name)]) + name + value for name, value in rows)


@pytest.mark.long
def test_there_and_back_a_message_stays_as_it_was(place: Place) -> None:
    """A large body, a hundred headers of every type, and texts that are no UTF-8. 4.3 itself changes the headers' order."""
    with place.broker.channel(VHOST) as channel:
        channel.queue_purge(place.queue)
    folder = str(Path(__file__).parents[4] / "infra" / "rundeck")
    script = f"""
import sys; sys.path.insert(0, {folder!r}); import move, pika, hashlib
from tests.system.ladder.moves.test_move import raw_headers
connection = pika.BlockingConnection(pika.URLParameters({place.broker.amqp_url(VHOST)!r})); channel = connection.channel()
if sys.argv[1] == "send":
    table = move.Table(); table.raw = raw_headers(100)
    properties = pika.BasicProperties(headers=table, message_id=b"\\xff\\xfe", priority=3, reply_to="me", delivery_mode=1)
    channel.confirm_delivery(); channel.basic_publish("", {place.queue!r}, bytes(range(256)) * 40_000, properties)
else:
    method, properties, body = channel.basic_get({place.queue!r}, auto_ack=True)
    kept = {{name: value for name, value in move.fields_of(properties.headers.raw).items() if not name.startswith(b"x-")}}
    same = (kept == move.fields_of(raw_headers(100)), properties.message_id == b"\\xff\\xfe", properties.delivery_mode == 1)
    print(*same, properties.priority, properties.reply_to, body == bytes(range(256)) * 40_000)
connection.close()
"""
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", script, "send"], cwd=root, check=True)
    place.hang(1)
    status, _, said = place.run("park")
    assert status == 0, said
    status, _, said = place.run("return", "1")
    assert status == 0, said
    done = subprocess.run([sys.executable, "-c", script, "get"], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout == "True True True 3 me True\n"


def test_the_output_says_which_message_it_was_and_never_its_body(rabbitmq_server: Broker, tmp_path: Path, names: str) -> None:
    """What publishers wrote is cut, cleaned and quoted, so that it can't pass for a line of the program."""
    place = Place(rabbitmq_server, tmp_path, "classic", f"mail.{names}")
    place.publish(
        "the secret body", message_id="order-4711", correlation_id="é" * 120, type="\nexit 0: moved 1", app_id="shop",
        timestamp=int(time.time()) - 60, headers={"trace": "value of it", "tenant": 7},
    )  # fmt: skip
    place.hang(1)
    status, _, said = place.run("park")
    assert status == 0, said
    first, last = said.splitlines()
    assert first.startswith('message 1 of 1: {"sha256": "')
    assert '"message_id": "order-4711"' in first
    assert '"headers": "trace, tenant"' in first or '"headers": "tenant, trace"' in first  # 4.3 sorts them
    assert '"type": " exit 0: moved 1"' in first
    assert first.count("\\u00e9") == 79
    assert not {"secret", "value of it"} & set(said.split())
    assert last.startswith("exit 0: ")


def test_unstick_sends_what_park_declares() -> None:
    """Names are written in two places, and Rundeck keeps an option that its job does not declare, unseen."""
    declared = [one["name"] for one in yaml.safe_load((FOLDER / "park.yaml").read_text())[0]["options"]]
    assert {*MOVES, RETURNS} <= set(declared)


@pytest.mark.parametrize(("status", "starts"), [("2", False), ("", True), ("137", True), ("4", True)])
def test_the_error_handler_starts_what_a_killed_program_left_stopped(tmp_path: Path, status: str, starts: bool) -> None:
    """Not where the application was not touched. Rundeck fills in the step's exit status, if it knows one."""
    (step,) = [
        one for one in yaml.safe_load((FOLDER / "park.yaml").read_text())[0]["sequence"]["commands"] if "errorhandler" in one
    ]
    script = step["errorhandler"]["script"].replace("@result.resultCode@", status)
    script = script.replace("sudo -n /usr/bin/systemctl start", f"touch {tmp_path}/started; echo")
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)
    assert ((tmp_path / "started").exists(), step["errorhandler"]["keepgoingOnSuccess"]) == (starts, False)


@pytest.mark.long
def test_the_jobs_run_the_program(place: Place) -> None:
    """Both, as a Rundeck fills in their options; one that has no value stays as it is."""
    place.hang(1)
    file = configure(place.broker, place.folder, stop=["touch", str(place.stopped)], start=["touch", str(place.started)])
    given = {"service": "mail", "unstick_vhost": VHOST, "unstick_queue": place.queue, "unstick_messages": "1"}
    for job, options in (("park", {**given, "unstick_returns": "20"}), ("return", given)):
        done = subprocess.run(["sh", "-c", step_of(job, file, options)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert place.bodies() == [*HUNG[1:], HUNG[0]]


@pytest.mark.long
def test_into_a_full_queue_nothing_is_brought_back(rabbitmq_server: Broker, tmp_path: Path, names: str) -> None:
    """One that drops its oldest messages would lose one for each; one that rejects keeps what it has."""
    for overflow, said in (("drop-head", "drops its oldest messages"), ("reject-publish", "refuses: is it full, or gone?")):
        place = Place(
            rabbitmq_server, tmp_path, "classic", f"mail.{names}.{overflow}", **{"x-max-length": 6, "x-overflow": overflow}
        )
        place.publish(*HUNG)
        place.hang(1)
        assert place.run("park")[0] == 0
        place.publish("new")
        status, sentence, all_of_it = place.run("return", "")
        assert (status, said in sentence) == (2 if overflow == "drop-head" else 4, True), all_of_it
        assert (place.bodies(), place.bodies(place.parked)) == ([*HUNG[1:], "new"], HUNG[:1])


@pytest.mark.long
def test_a_full_parking_queue_refuses_and_nothing_is_lost(place: Place) -> None:
    kind = {**({} if place.kind != "quorum" else KINDS["quorum"]), "x-max-length": 1, "x-overflow": "reject-publish"}
    with place.broker.channel(VHOST) as channel:
        channel.queue_declare(place.parked, durable=True, arguments=kind)
    with suppress(pika.exceptions.NackError):  # a quorum queue takes some more than its limit
        place.publish(*HUNG, queue=place.parked)
    full = place.bodies(place.parked)
    place.hang(1)
    status, sentence, said = place.run("park")
    assert (status, sentence) == (4, f"nothing moved: {place.parked} refuses: is it full, or gone?"), said
    assert (place.left(), place.bodies(place.parked), place.started.exists()) == (HUNG, full, True)


def test_a_failed_stop_or_start_is_told_and_both_outputs_are_their_own(place: Place) -> None:
    """Nothing is moved without STOP; START is tried after whatever happened."""
    place.hang(1)
    failing = ["sh", "-c", "echo no such unit; exit 5"]
    status, sentence, said = place.run("park", stop=failing)
    assert (status, sentence, place.started.exists()) == (4, "nothing moved: STOP failed: it ended with 5", True), said
    assert "stop: no such unit" in said
    status, sentence, said = place.run("park", start=failing)
    moved = f"moved 1 from {place.queue} to {place.parked}"
    assert (status, sentence) == (6, f"{moved}, and START failed: start it by hand: it ended with 5"), said


@pytest.mark.long
def test_who_reads_its_output_may_die(place: Place) -> None:
    """Rundeck's death closes the pipe: a START that prints would die of it, and the application would stay stopped."""
    place.hang(1)
    start = ["sh", "-c", f"echo starting; echo starting; touch {place.started}"]
    stop = ["sh", "-c", "echo stopping; sleep 1; echo stopped"]
    running = subprocess.Popen(place.command("park"), env=place.environment(start=start, stop=stop), stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.close()
    assert running.wait(60) == 0
    assert (place.started.exists(), place.bodies(place.parked)) == (True, HUNG[:1])


def test_sigterm_gives_everything_back_and_starts_the_application(place: Place) -> None:
    """An abort in Rundeck, while it waits for consumers to go."""
    place.hang(1)
    with place.broker.channel(VHOST) as channel:
        place.hold(channel)
        running = subprocess.Popen(place.command("park"), env=place.environment(wait_s=30), stdout=subprocess.PIPE, text=True)
        wait_until(place.stopped.exists)
        time.sleep(0.5)
        running.terminate()
        said, _ = running.communicate(timeout=60)
    assert (running.returncode, said) == (143, "exit 143: stopped: everything unacknowledged goes back\n")
    assert (place.started.exists(), place.bodies()) == (True, HUNG)


@pytest.mark.long
@pytest.mark.parametrize("version", [HOST, *VERSIONS])
@pytest.mark.parametrize("when", ["before", "held"])
def test_an_alarm_of_the_broker_is_no_move(tmp_path: Path, version: str, when: str) -> None:
    """Before STOP it is refused; afterwards nothing is published that the broker would take once the alarm is over."""
    need_broker(version)
    with broker(tmp_path / "broker", version=version) as node:
        assert_no_move_in_an_alarm(Place(node, tmp_path, "classic", "mail.alarm"), when)


def assert_no_move_in_an_alarm(place: Place, when: str) -> None:
    place.publish(*HUNG)
    place.hang(1)
    alarm = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})"
    clear = "rabbit_alarm:clear_alarm({resource_limit, memory, node()})"
    try:
        if when == "before":
            place.broker.evaluate(f"{alarm}.")
            status, sentence, said = place.run("park")
            assert (status, "the broker takes nothing (alarm)" in sentence, place.untouched) == (2, True, True), said
        else:
            alarmed = place.folder / "alarmed"

            def raise_alarm() -> None:
                wait_until(place.stopped.exists)
                place.broker.evaluate(f"{alarm}.")
                alarmed.touch()

            stop = threading.Thread(target=raise_alarm)
            stop.start()
            waits = f"touch {place.stopped}; until [ -e {alarmed} ]; do sleep 0.1; done"
            status, sentence, said = place.run("park", stop=["sh", "-c", waits])
            stop.join()
            assert (status, sentence) == (4, "nothing moved: the broker takes nothing (alarm)"), said
            assert place.started.exists()
    finally:
        place.broker.evaluate(f"{clear}.")
    time.sleep(1)
    assert (place.bodies(place.parked), place.bodies()) == ([], HUNG)
