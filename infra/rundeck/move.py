#!/usr/bin/env python3
"""Moves messages aside, and back: park.yaml and return.yaml call it (docs/remedies.md). Needs pika (Debian: python3-pika).

move.py park|return|check VHOST QUEUE NUMBER TAG [RETURNS]

park: stop the application, move NUMBER messages that it held from QUEUE to QUEUE.parked, start it again. return: the way
back, without a stop; NUMBER may be empty, for all. check: what park checks before it stops anything, and no more. RETURNS: how
often what is held may still return to QUEUE. UNSTICK_MOVE_CONFIG names a JSON file, by default /etc/unstick-park.json: api,
user, password, amqp (host:port; 127.0.0.1:5672 by default), stop and start (lists of arguments; empty for none).

The last line is `exit STATUS: SENTENCE`. A message is acknowledged only after the broker has confirmed its copy in the same
attempt, so nothing is lost. Where it can't be known whether the broker has a copy already, another is sent, marked `copy`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pika
import pika.data
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, NackError, UnroutableError

WAIT_S = 60  # for consumers to go, and for a broker to come back
SETTLED_S = 15
IDLE_S = 10  # nothing came for so long
ALARM_S = 10
STAY_S = 5  # a killed broker forgot acknowledgements of its last 1.8 s
COMMAND_S = 150
EXPIRES_MS = 600_000  # a queue that lives shorter without a consumer may not survive the stop
LOOK = 100  # so many messages are looked at, where others may lie before those that the application held
ATTEMPTS = 5  # after a lost connection
BATCH = 100  # so many are on the way back at once
NEEDED = 2  # returns: by the stop, and by a move that fails
OURS = b"x-unstick"
COUNTS = (b"x-delivery-count", b"x-acquired-count")
COPIES = (b"CC", b"BCC")
SIZES = {b"t": 1, b"b": 1, b"B": 1, b"U": 2, b"u": 2, b"s": 2, b"I": 4, b"i": 4, b"f": 4, b"D": 5, b"L": 8, b"l": 8, b"d": 8}
SIZES.update({b"T": 8, b"V": 0})
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
AWAY = (AMQPConnectionError, pika.exceptions.AMQPChannelError, pika.exceptions.ChannelWrongStateError, OSError)


class Stopped(BaseException):
    """A signal came. Nothing that handles failures may handle it."""


class End(Exception):
    """Ends the program with this exit status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def refuse(reason: str) -> End:
    """Before the stop."""
    return End(2, f"refused, the application was not touched: {reason}")


def say(text: str) -> None:
    """Whoever read this may be dead, which must not end the move."""
    with suppress(OSError):
        os.write(1, (text + "\n").encode("ascii", "backslashreplace"))


# --- headers: their bytes are passed on as they came, since pika changes types (1.5 becomes 1)


class Table(dict):
    raw = b""


def decode_table(encoded: bytes, offset: int, decode: Any = pika.data.decode_table) -> tuple[Table, int]:
    """As pika does, with the bytes."""
    end = offset + 4 + struct.unpack_from(">I", encoded, offset)[0]
    try:
        table = Table(decode(encoded, offset)[0])
    except Exception:  # noqa: BLE001 - a type that pika does not know: its bytes do
        table = Table()
    table.raw = bytes(encoded[offset + 4 : end])
    return table, end


def encode_table(pieces: list[bytes], table: Any, encode: Any = pika.data.encode_table) -> int:
    """As pika does, or the bytes as they came."""
    if not isinstance(table, Table):
        return encode(pieces, table)
    pieces.append(struct.pack(">I", len(table.raw)) + table.raw)
    return 4 + len(table.raw)


pika.data.decode_table, pika.data.encode_table = decode_table, encode_table


def fields_of(raw: bytes) -> dict[bytes, bytes]:
    """Name -> the bytes of its value, with its type."""
    fields, at = {}, 0
    while at < len(raw):
        begin = at + 1 + raw[at]
        name, kind = raw[at + 1 : begin], raw[begin : begin + 1]
        size = SIZES[kind] if kind in SIZES else 4 + struct.unpack_from(">I", raw, begin + 1)[0]
        at = begin + 1 + size
        fields[name] = raw[begin:at]
    return fields


def pack(fields: dict[bytes, bytes]) -> bytes:
    """The bytes of a table with these fields."""
    return b"".join(bytes([len(name)]) + name + value for name, value in fields.items())


def text_field(value: object) -> bytes:
    """The bytes of a text, with its type."""
    encoded = value if isinstance(value, bytes) else str(value).encode()
    return b"S" + struct.pack(">I", len(encoded)) + encoded


def table_field(fields: dict[bytes, bytes]) -> bytes:
    """The same of a table."""
    return b"F" + struct.pack(">I", len(pack(fields))) + pack(fields)


def inside(field: bytes) -> Any:
    """The text, or the fields, of such a value."""
    return fields_of(field[5:]) if field[:1] == b"F" else field[5:]


class Message:
    """One that was taken, and how far its move has come."""

    def __init__(self, method: Any, properties: Any, body: bytes) -> None:
        self.tag, self.redelivered, self.body, self.properties = method.delivery_tag, method.redelivered, body, properties
        headers = properties.headers
        self.fields = fields_of(headers.raw) if isinstance(headers, Table) else {}
        self.count = int.from_bytes(self.fields.get(COUNTS[0], b"")[1:], "big")
        ours = self.fields.get(OURS, b"")
        self.kept = inside(ours) if ours[:1] == b"F" else {}
        self.exchange, self.routing_key = (
            inside(self.kept[name.encode()]).decode(errors="replace") if name.encode() in self.kept else getattr(method, name)
            for name in ("exchange", "routing_key")
        )
        self.digest = hashlib.sha256(body).hexdigest()
        own = {name: value for name, value in self.fields.items() if name not in (*COUNTS, *COPIES, OURS)}
        self.key = (self.digest, self.exchange, self.routing_key, repr(properties.message_id), pack(own))
        self.published = self.confirmed = self.acknowledged = False

    def aside(self, tag: str, *, copy: bool) -> Any:
        """How it is published to the parking queue: nothing there may expire, spread or refuse it."""
        was, kept = self.properties, {**self.kept, b"tag": text_field(tag), b"digest": text_field(self.digest)}
        kept.update({b"exchange": text_field(self.exchange), b"routing_key": text_field(self.routing_key)})
        kept.update({name.encode(): text_field(v) for name in ("expiration", "user_id") if (v := getattr(was, name)) is not None})
        if was.delivery_mode != 2:
            kept[b"delivery_mode"] = text_field(was.delivery_mode or "")
        kept.update({name: self.fields[name] for name in COPIES if name in self.fields})
        return self._with(kept, copy=copy, expiration=None, delivery_mode=2)

    def back(self, *, copy: bool) -> Any:
        expiration, mode = (inside(self.kept[name]) if name in self.kept else None for name in (b"expiration", b"delivery_mode"))
        kept = {name: value for name, value in self.kept.items() if name not in (b"expiration", b"delivery_mode")}
        mode = 2 if mode is None else int(mode) if mode else None
        return self._with(kept, copy=copy, expiration=expiration, delivery_mode=mode)

    def _with(self, kept: dict[bytes, bytes], *, copy: bool, **changed: Any) -> Any:
        if copy:
            kept[b"copy"] = b"t\x01"
        headers = {name: value for name, value in self.fields.items() if name not in (*COUNTS, *COPIES, OURS)}
        table = Table()
        table.raw = pack({**headers, OURS: table_field(kept)})
        names = ("content_type", "content_encoding", "priority", "correlation_id", "reply_to", "message_id", "timestamp", "type")
        same = {name: getattr(self.properties, name) for name in (*names, "app_id", "cluster_id")}
        return pika.BasicProperties(headers=table, **same, **changed)

    def __str__(self) -> str:
        """What tells people which message it was; never its body. The values come from publishers."""
        was, names = self.properties, b", ".join(name for name in self.fields if name not in (*COUNTS, OURS))
        age = None if was.timestamp is None else max(0, int(time.time()) - was.timestamp)
        values = {"sha256": self.digest[:12], "size": len(self.body), "age_s": age, "returns": self.count or None}
        values.update({"exchange": self.exchange, "routing_key": self.routing_key})
        values.update({name: getattr(was, name) for name in ("message_id", "correlation_id", "type", "app_id")})
        values["headers"] = names
        return json.dumps({name: shown(value) for name, value in values.items() if value not in (None, "", b"")})


def shown(value: Any) -> Any:
    """A text cut and without control characters; a number as it is."""
    if isinstance(value, int):
        return value
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = "".join(char if char.isprintable() else " " for char in text[:81])
    return text if len(text) <= 80 else text[:79] + "…"


# --- the move


class Move:
    def __init__(self, way: str, vhost: str, queue: str, number: str, *more: str) -> None:
        self.parks, self.vhost, self.queue, self.parked = way != "return", vhost, queue, queue + ".parked"
        self.source, self.target = (queue, self.parked) if self.parks else (self.parked, queue)
        tag, returns = (*more, "", "")[:2]
        self.tag = "" if tag.startswith("@") else tag  # so Rundeck leaves an option without a value
        self.number = int(number) if number and not number.startswith("@") else 0
        self.returns = int(returns) if returns.isascii() and returns.isdigit() else None
        file = os.environ.get("UNSTICK_MOVE_CONFIG") or "/etc/unstick-park.json"
        try:
            self.config = json.loads(Path(file).read_text(encoding="utf-8"))
            self.user, self.password = self.config["user"], self.config["password"]
            self.config["api"].rstrip("/")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise refuse(f"{file} can't be used: {error!r}. It needs api, user and password.") from None
        self.connection, self.blocked, self.batch, self.moved, self.again = None, False, [], 0, 0
        self.consumed = f"{self.source} still has a consumer: does STOP stop all of them?"
        self.attempts, self.most = 0, ATTEMPTS
        self.page, self.exclusive, self.deep, self.busy, self.stopped = {}, False, False, False, False

    # --- the broker

    def api(self, path: str) -> Any:
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = Request(  # noqa: S310 - the address is of the configuration
            f"{self.config['api'].rstrip('/')}/api/{path}", headers={"Authorization": "Basic " + login}
        )
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPException as error:  # it died in the middle of its answer
            raise ConnectionError(repr(error)) from None

    def read_page(self, queue: str) -> Any:
        try:
            return self.api(f"queues/{quote(self.vhost, safe='')}/{quote(queue, safe='')}")
        except HTTPError as error:
            if error.code == 404:
                hint = "Does it exist, and has the account permissions on the vhost?"
                raise refuse(f"{queue} in the vhost {self.vhost} is not found. {hint}") from None
            hint = "Compare user and password; it needs the tag management, and permissions on the vhost."
            raise refuse(f"the management API answers {error.code} to {self.user}. {hint}") from None
        except (OSError, ValueError) as error:
            raise refuse(f"the management API can't be reached at {self.config['api']}: {error}") from None

    def read_settled(self, queue: str) -> Any:
        """The page once it shows the policies: those of a new queue come 1.4 to 6.8 s after it."""
        ends = time.monotonic() + SETTLED_S
        while "effective_policy_definition" not in (page := self.read_page(queue)):
            if time.monotonic() > ends:
                raise refuse(f"the management API does not show which policies {queue} has. Are its statistics on?")
            self.sleep(0.5)
        return page

    def connect(self) -> None:
        host, _, port = self.config.get("amqp", "127.0.0.1:5672").rpartition(":")
        parameters = pika.ConnectionParameters(
            host=host, port=int(port), virtual_host=self.vhost, credentials=pika.PlainCredentials(self.user, self.password),
            heartbeat=10, blocked_connection_timeout=ALARM_S, socket_timeout=10, stack_timeout=15,
        )  # fmt: skip
        self.disconnect()
        self.connection, self.blocked = pika.BlockingConnection(parameters), False
        self.connection.add_on_connection_blocked_callback(lambda *_: setattr(self, "blocked", True))
        self.connection.add_on_connection_unblocked_callback(lambda *_: setattr(self, "blocked", False))
        self.channel, self.out, self.probe = (self.connection.channel() for _ in range(3))
        self.out.confirm_delivery()

    def disconnect(self) -> None:
        """Whatever is not acknowledged goes back: consumers are cancelled before, so that it keeps its place."""
        with suppress(Exception):
            self.channel.close()
        with suppress(Exception):
            self.connection.close()
        self.connection = None

    def declare(self, queue: str) -> Any:
        """What the broker itself says at once, where the management API is seconds late."""
        return self.channel.queue_declare(queue, passive=True).method

    def takes_more(self) -> bool:
        """Whether it has no alarm: it tells only those who publish, and takes what they sent meanwhile once the alarm is over."""
        ends = time.monotonic() + ALARM_S
        self.probe.basic_publish("", f"{self.queue}.unstick-probe-{os.getpid()}", b"", mandatory=True)
        self.connection.sleep(0.3)
        while self.blocked and time.monotonic() < ends - 1:
            self.connection.sleep(0.3)
        return not self.blocked

    # --- what can be checked while the application runs

    def check(self) -> None:
        try:
            self.open()
            if not self.takes_more():
                raise refuse("the broker takes nothing (alarm). Free its memory or disk.")
            self.page = self.read_settled(self.source)
            self.check_source()
            self.check_rights()
            self.check_target()
        except AMQPError as error:
            raise refuse(f"the broker at {self.config.get('amqp', '127.0.0.1:5672')}: {error!r}") from None
        finally:
            self.disconnect()

    def open(self) -> None:
        try:
            self.connect()
        except pika.exceptions.ProbableAuthenticationError:
            raise refuse(f"the broker does not accept the password of {self.user}") from None
        except (AMQPError, OSError) as error:
            where, hint = self.config.get("amqp", "127.0.0.1:5672"), "Compare amqp (host:port), and the account's permissions."
            raise refuse(f"no AMQP connection to {where}, vhost {self.vhost}: {error!r}. {hint}") from None

    def check_source(self) -> None:
        kind, arguments = self.page.get("type", "classic"), self.page.get("arguments") or {}
        if kind not in ("classic", "quorum"):
            raise refuse(f"{self.source} is a {kind}, from which nothing can be taken. Handle the message by hand.")
        for flag, said in (("auto_delete", "is deleted with its last consumer"), ("exclusive", "belongs to one connection")):
            if self.page.get(flag):
                raise refuse(f"{self.source} {said}, so a stop deletes it with all messages")
        if not self.page.get("durable"):
            raise refuse(f"{self.source} is not durable")
        rules, alone = limits_of(self.page), arguments.get("x-single-active-consumer")
        if (rules.get("expires") or EXPIRES_MS) < EXPIRES_MS:
            raise refuse(f"{self.source} expires after {rules['expires']} ms without a consumer: a stop may delete it")
        self.exclusive, self.deep = kind == "classic" and not alone, kind == "classic" and "x-max-priority" in arguments
        limit = self.delivery_limit(self.page) if self.parks else None
        if limit is not None and (self.returns is None or self.returns < NEEDED):
            known = "it is not known how often" if self.returns is None else f"only {self.returns} times"
            hint = "Read it from a message's x-delivery-count, or raise the limit; then give RETURNS."
            raise refuse(f"{self.source} drops a message after {limit} returns, and {known} what is held may return. {hint}")
        self.most = ATTEMPTS if limit is None else min(ATTEMPTS, self.returns - 1)

    def delivery_limit(self, page: Any) -> int | None:
        """The return after so many drops a message; None: none does. Before 4.0, -1 is a limit as well."""
        if page.get("type") != "quorum":
            return None
        argument = (page.get("arguments") or {}).get("x-delivery-limit")
        given = [argument, (page.get("effective_policy_definition") or {}).get("delivery-limit")]
        new, limits = self.is_new(), [limit for limit in given if limit is not None]
        if new and (len(limits) == 2 or limits == [-1]):
            limits = [limit for limit in limits if limit >= 0]  # a policy wins over -1
            return min(limits, default=None)
        return min(limits, default=20 if new else None)

    def is_new(self) -> bool:
        """Whether it is RabbitMQ 4.0 or newer."""
        try:
            return int(self.api("overview")["rabbitmq_version"].partition(".")[0]) >= 4
        except (OSError, ValueError, KeyError) as error:
            raise refuse(f"the management API does not tell its version: {error!r}") from None

    def check_rights(self) -> None:
        """By two probes that change nothing: a consumer that is refused for its argument, and a message to nobody."""
        for queue in (self.source, self.target) if self.parks else (self.source,):
            probe = self.connection.channel()
            try:
                if queue == self.parked:
                    self.declare_parked()
                probe.basic_consume(queue, lambda *_: None, arguments={"x-priority": "text"})
            except ChannelClosedByBroker as closed:
                if closed.reply_code == 406:
                    continue
                raise refuse(f"the account may not read {queue}: {closed.reply_text}") from None
        try:
            self.out.basic_publish("", f"{self.queue}.unstick-probe-{os.getpid()}", b"", mandatory=True)
        except UnroutableError:
            return
        except ChannelClosedByBroker as closed:
            raise refuse(f"the account may not write amq.default: {closed.reply_text}") from None

    def declare_parked(self) -> None:
        try:
            self.connection.channel().queue_declare(self.parked, passive=True)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != 404:
                raise refuse(f"{self.parked} can't be used: {closed.reply_text}") from None
            if not self.parks:
                raise refuse(f"there is no {self.parked} in the vhost {self.vhost}") from None
            kind = self.page.get("type", "classic")
            arguments = {"x-queue-type": kind}
            if kind == "quorum" and self.is_new():
                arguments["x-delivery-limit"] = -1  # or looking at its messages 20 times would drop them
            try:
                self.connection.channel().queue_declare(self.parked, durable=True, arguments=arguments)
            except ChannelClosedByBroker as refused:
                raise refuse(f"{self.parked} can't be declared: {refused.reply_text}") from None

    def check_target(self) -> None:
        page, parked = self.read_settled(self.target), self.declare(self.parked)
        if parked.consumer_count:
            raise refuse(f"{self.parked} has a consumer, which would take what is moved. Stop it.")
        rules = limits_of(page)
        bounded = {name: rules[name] for name in ("max-length", "max-length-bytes") if name in rules}
        drops = bounded if str(rules.get("overflow", "drop-head")).startswith("drop") else {}
        if self.parks:
            if page.get("type", "classic") != self.page.get("type", "classic"):
                raise refuse(f"{self.parked} is of another type than {self.queue}. Empty and delete it.")
            if not page.get("durable") or page.get("auto_delete") or page.get("exclusive"):
                raise refuse(f"{self.parked} does not last: it must be durable, neither auto-delete nor exclusive")
            wrong = {**{name: rules[name] for name in ("message-ttl", "expires") if name in rules}, **drops}
            limit = self.delivery_limit(page)
            wrong.update({"delivery-limit": limit} if limit is not None and "delivery-limit" in rules else {})
            if wrong:
                what = ", ".join(f"{name} {value}" for name, value in wrong.items())
                hint = "Except \\.parked$ from that policy, or set overflow to reject-publish."
                raise refuse(f"{self.parked} would lose what is moved there, by a policy or an argument: {what}. {hint}")
            self.peeks = limit is None and (page.get("message_bytes") or 0) < 100_000_000
            return
        self.number = self.number or parked.message_count
        if not 0 < self.number <= parked.message_count:
            raise refuse(f"{self.number or 1} can't be brought back: messages in {self.parked}: {parked.message_count}")
        self.peeks = False
        size = sum(one.get("message_bytes") or 0 for one in (page, self.page))
        used = {"max-length": self.declare(self.target).message_count + self.number, "max-length-bytes": size}
        if any(2 * used[name] > limit for name, limit in drops.items()):
            raise refuse(f"{self.target} drops its oldest messages when it is full, and would be over half full. Empty it first.")

    # --- stop, and wait

    def run(self, name: str) -> str:
        """STOP or START, with output of its own: whoever reads ours may die, and what prints would die of it."""
        command = self.config.get(name)
        if not command:
            return ""
        with tempfile.TemporaryFile() as out:
            try:
                status = subprocess.run(
                    command,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    timeout=COMMAND_S,
                    start_new_session=True,
                ).returncode
                problem = f"it ended with {status}" if status else ""
            except (OSError, subprocess.SubprocessError) as error:
                problem = str(error)
            out.seek(0, 2)
            out.seek(max(0, out.tell() - 2000))
            for line in out.read().decode(errors="replace").splitlines()[-10:] if problem else ():
                say(f"{name}: {shown(line)}")
        return problem

    def stop(self) -> None:
        """STOP, and wait until nobody consumes it, by the broker and by the API, and nothing of it is held."""
        if problem := self.run("stop"):
            raise End(4, f"nothing moved: STOP failed: {problem}")
        ends, idle = time.monotonic() + (self.config.get("wait_s") or WAIT_S), 0
        asked = "?page=1&page_size=100&use_regex=true&disable_stats=true&enable_queue_totals=true&name="
        path = f"queues/{quote(self.vhost, safe='')}{asked}{quote('^' + re.escape(self.source) + '$', safe='')}"
        why = ""
        while idle < 2:
            try:
                if self.connection is None or not self.channel.is_open:
                    self.connect()
                rows = [one for one in self.api(path)["items"] if one["name"] == self.source]
                page = self.api(f"queues/{quote(self.vhost, safe='')}/{quote(self.source, safe='')}")
                consumers = page.get("consumer_details", page.get("consumers"))  # the count is later than the details
                busy = self.declare(self.source).consumer_count or consumers or rows[0].get("messages_unacknowledged")
                idle, why = (0 if busy else idle + 1), ""
            except (*AWAY, ValueError, LookupError) as error:
                idle, why = 0, f": the broker is away ({error!r})"
            if time.monotonic() > ends:
                raise End(4, f"nothing moved: {self.consumed}{why}")
            self.sleep(0.5 if not why else 1)

    def sleep(self, seconds: float) -> None:
        try:
            self.connection.sleep(seconds)
        except (*AWAY, AttributeError):
            self.disconnect()
            time.sleep(seconds)

    # --- take

    def take(self, count: int) -> list[Message]:
        """Up to so many from the head on, held until the channel closes. Cancelled before anything is acknowledged."""
        taken, ready = [], self.declare(self.source).message_count
        self.channel.basic_qos(prefetch_count=count)
        consumer = self.channel.basic_consume(
            self.source, lambda _, *parts: taken.append(Message(*parts)), exclusive=self.exclusive
        )
        ends = time.monotonic() + IDLE_S
        while len(taken) < min(count, ready) and time.monotonic() < ends:
            seen = len(taken)
            self.connection.process_data_events(time_limit=0.2)
            if len(taken) > seen:
                ends = time.monotonic() + IDLE_S
        self.channel.basic_cancel(consumer)
        return taken

    def choose(self) -> list[Message]:
        """What the application held. In a quorum queue what returned comes first, in any order, counted; in a classic one it
        keeps its place, so that a later message with a higher priority can lie before it."""
        taken = self.take(self.number)
        if self.deep:
            taken += self.take(LOOK)
        elif not self.exclusive and all(one.redelivered for one in taken):
            taken += self.take(1)
            taken += self.take(LOOK) if taken[-1].redelivered and len(taken) > self.number else []
        known = [one for one in taken if one.redelivered]
        if len(known) < self.number:
            raise End(4, f"nothing moved: only {len(known)} of {self.number} found that had been delivered before")
        if len(known) > self.number:
            known.sort(key=lambda one: -one.count)
            if known[self.number - 1].count == known[self.number].count:
                many = f"{len(known)} of the first {len(taken)} had been delivered before"
                raise End(4, f"nothing moved: {many}, and it is not known which {self.number} of them hang the application")
        chosen = known[: self.number]
        return [one for one in taken if one in chosen]

    def find_again(self) -> list[Message]:
        """After a lost connection: those of the batch that are back, with what is known of them."""
        taken, wanted, left = self.take(max(LOOK, len(self.batch))), {}, []
        for one in self.batch:
            wanted.setdefault(one.key, []).append(one)
        for one in taken:
            if wanted.get(one.key):
                former = wanted[one.key].pop(0)
                former.tag, former.acknowledged = one.tag, False
                left.append(former)
        return left

    def look_for_copies(self) -> Counter[Any]:
        """Whether an earlier run that was killed has left copies: what lies in the parking queue is looked at, and returned."""
        if not self.peeks or not 0 < self.declare(self.target).message_count <= LOOK:
            return Counter()
        peek, seen = self.connection.channel(), Counter()
        while (got := peek.basic_get(self.target))[0] is not None:
            seen[Message(*got).key] += 1
        peek.close()
        return seen

    # --- move

    def move(self) -> None:
        lost_at = None
        while True:
            try:
                if self.connection is None or not self.connection.is_open:
                    self.connect()
                self.move_batch()
                self.attempts, lost_at = 0, None
                if self.moved >= self.number:
                    return
                self.batch = []
            except AWAY as error:
                lost_at, self.busy = lost_at or time.monotonic(), False
                self.disconnect()
                if self.stopped:
                    raise Stopped from None
                if time.monotonic() > lost_at + 2 * WAIT_S or self.attempts >= self.most:
                    consumed = self.consumed in str(error) or getattr(error, "reply_code", 0) in (403, 405)
                    raise self.partly(self.consumed if consumed else f"the broker is away ({error!r})") from None
                say(f"the broker is away, once more: {error!r}")
                self.sleep(1)

    def move_batch(self) -> None:
        if self.declare(self.source).consumer_count:  # one that has just come, or our own of a connection that was lost
            raise ConnectionError(self.consumed)
        self.attempts += 1  # each is a return of what it takes
        if self.batch:
            left = self.find_again()
            missing = [one for one in self.batch if one not in left and not one.confirmed]
            if missing:
                raise self.partly(f"{len(missing)} that had been found are gone from {self.source}")
        else:
            left = self.batch = self.choose() if self.parks else self.take(min(BATCH, self.number - self.moved))
            if not left:
                raise self.partly(f"{self.source} has no more")
        lying = self.look_for_copies()
        for one in left:
            if not self.takes_more():
                raise self.partly("the broker takes nothing (alarm)")
            self.carry(one, copy=one.published or lying[one.key] > 0)
        self.declare(self.source)  # so that the broker has taken the acknowledgements
        self.connection.sleep(STAY_S)
        self.channel.close()
        self.channel = self.connection.channel()
        self.moved += len(self.batch)

    def carry(self, one: Message, *, copy: bool) -> None:
        """Publish with a confirm, then acknowledge; a signal waits until both are done."""
        properties = one.aside(self.tag, copy=copy) if self.parks else one.back(copy=copy)
        self.busy = True
        self.again += one.confirmed
        earlier, one.published = one.published, True
        try:
            self.out.basic_publish("", self.target, one.body, properties, mandatory=True)
        except (NackError, UnroutableError):
            one.published = earlier
            raise self.partly(f"{self.target} refuses: is it full, or gone?") from None
        one.confirmed = True
        self.channel.basic_ack(one.tag)
        one.acknowledged, self.busy = True, False
        say(f"message {sum(other.confirmed for other in self.batch) + self.moved} of {self.number}: {one}")
        if self.stopped:
            raise Stopped

    def partly(self, reason: str) -> End:
        """The end of a move that is not complete."""
        done = self.moved + sum(one.acknowledged for one in self.batch)
        doubtful = [one for one in self.batch if one.published and not one.acknowledged]
        if not done and not doubtful:
            if self.stopped:
                return End(143, "stopped: everything unacknowledged goes back")
            return End(4, f"nothing moved: {reason}")
        if self.stopped and not doubtful:
            return End(143, f"stopped: everything unacknowledged goes back; {done} of {self.number} moved")
        return End(5, f"{done} of {self.number} moved, and one may be in both queues: compare them: {reason}")

    def on_signal(self, *_: object) -> None:
        first, self.stopped = not self.stopped, True
        if first and not self.busy:
            raise Stopped

    def __call__(self) -> End:
        """STOP, move, START. The application is started whatever happened, and no signal ends that."""
        try:
            end = self.stop_and_move()
            self.busy = True  # from here on a signal changes nothing
        except Stopped:
            end = self.partly("stopped")
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.disconnect()
        problem = self.run("start") if self.parks else ""
        for _ in range(2):
            time.sleep(2 if problem else 0)
            problem = problem and self.run("start")
        if problem:
            end = End(6, f"{end.sentence}, and START failed: start it by hand: {problem}")
        return end

    def stop_and_move(self) -> End:
        """How it ended."""
        try:
            if self.parks:
                self.stop()
            self.move()
            more = f", and {self.again} more before the broker was away: some of them are copies" if self.again else ""
            return End(0, f"moved {self.number} from {self.source} to {self.target}{more}")
        except End as end:
            return end
        except Exception as error:  # noqa: BLE001 - whatever it was, the application is started
            return End(1, f"outcome unknown: compare the queues, and look whether the application runs: {error!r}")


def limits_of(page: Any) -> dict[str, Any]:
    """What a queue's policies and arguments limit: the smaller number, and of texts the argument."""
    arguments = {name[2:]: value for name, value in (page.get("arguments") or {}).items() if name.startswith("x-")}
    policy = page.get("effective_policy_definition") or {}
    smaller = {name: min(value, policy[name]) for name, value in arguments.items() if isinstance(policy.get(name), int)}
    return {**policy, **arguments, **smaller}


def prepare(arguments: list[str]) -> Move:
    """The move that these ask for. Raises End where they or the configuration are wrong."""
    if len(arguments) not in (5, 6) or arguments[0] not in ("park", "return", "check"):
        raise refuse("usage: move.py park|return|check VHOST QUEUE NUMBER TAG [RETURNS]")
    move = Move(*arguments)
    if move.parks and move.number < 1:
        raise refuse("NUMBER must be at least 1")
    return move


def main(arguments: list[str]) -> int:
    """The exit status."""
    try:
        move = prepare(arguments)
        for number in SIGNALS:
            signal.signal(number, move.on_signal)
        move.check()
        end = End(0, "nothing speaks against it") if arguments[0] == "check" else move()
    except End as error:
        end = error
    except Stopped:
        end = End(143, "stopped: the application was not touched")
    except Exception as error:  # noqa: BLE001 - nothing was stopped yet
        end = refuse(f"an unexpected failure: {error!r}")
    say(f"exit {end.status}: {end.sentence}")
    return end.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
