"""look: shows what stands still on a RabbitMQ, since when, and who holds it. It needs no configuration and changes nothing."""

import json
import os
import re
import time
from collections import Counter
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import SYSTEM, RabbitMQ, Symptom, client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import Total, Totals, live
from functions.application.ports import Query, QueueOutcome
from functions.domain.health.looks import judge_health
from functions.domain.health.rows import Terms
from functions.domain.health.samples import rise_of
from functions.domain.health.stalls import add_stall
from functions.domain.model.alerts import QueueRef
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import MARGIN, Channel, QueueSnapshot, QueueStalls, Stall, StallKind
from functions.runtime.http_client import Answer, shaped
from functions.runtime.secrets import SecretRef
from unstick import output

PASSWORD, DEFAULT_URL = "RABBITMQ_PASSWORD", "http://127.0.0.1:15672"
SYMPTOM = Symptom().to_symptom()
CLOSELY = 128  # queues whose own pages are read
REACH_S, STALL_S, AGAIN_S, LOOK_S = 540.0, 30.0, 5.0, 30.0
STANDS, ROUND, UNUSED, UNREAD = "stands still", "goes round", "holds messages that nobody takes", "can't be read"
EMPTY, LEFT_OUT = "is empty", "was not looked at closely"
STATES = {Health.ILL: STANDS, Health.LIKELY: STANDS, Health.GOING_ROUND: ROUND, Health.UNKNOWN: UNREAD}
STATES |= {Health.UNSURE: "did nothing just now", Health.WELL: "moves", Health.NEVER_CONSUMED: UNUSED}
ORDER = (*dict.fromkeys(STATES.values()), EMPTY, LEFT_OUT)


class Seen(Struct, frozen=True):
    """What was seen of a queue. `stalls_s`: for how long it stood still and went on by itself, in the samples of ten minutes."""

    queue: QueueRef
    state: str
    why: str
    snapshot: QueueSnapshot = QueueSnapshot(0.0, 0)
    held_by: tuple[Channel, ...] = ()
    stalls_s: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        held_by = [{name: getattr(one, name) for name in ("user", "host", "name", "held", "window")} for one in self.held_by]
        figures = {name: getattr(self.snapshot, name) for name in ("ready", "unacked", "consumers", "users")}
        return {**self.queue.keys, "state": self.state, "why": self.why, **figures, "held_by": held_by, "stalls_s": self.stalls_s}


@click.command()
@click.argument("url", default=DEFAULT_URL, metavar="[URL]")
@click.option("--user", help="RabbitMQ's user, else guest. The password is RABBITMQ_PASSWORD, or is asked for.")
@click.option("--vhost", help="Only the queues of this vhost.")
@click.option("--queue", "name", metavar="QUEUE", help="Only this queue, of the vhost / if none is named.")
@click.option("--runbook", metavar="QUEUE", help="Print a runbook for this queue.")
@click.option("--watch", is_flag=True, help="Look again every 5 s.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def look(*, url: str, user: str | None, vhost: str | None, name: str | None, **how: Any) -> None:
    """Show what stands still on a RabbitMQ, since when, and who holds it.

    URL is its management API. No configuration is needed, and nothing is changed. One look can't tell a hang from a long job: it
    says what is seen. What stood still in the last ten minutes and went on by itself counts as learned.

    Exit code 1: something stands still.
    """
    settings = _connect(url, user)
    while True:
        began = time.monotonic()
        seen, counts = look_at(settings, vhost, how["runbook"] or name)
        if how["runbook"]:
            return click.echo(_to_runbook(seen[0]))
        if how["watch"]:
            click.clear()
        if how["as_json"]:
            output.print_json({"queues": [one.to_json() for one in seen], "counts": counts})
        else:
            _print(seen, counts, time.monotonic() - began)
        if not how["watch"]:
            raise SystemExit(output.WRONG if counts[STANDS] or counts[ROUND] else 0)
        time.sleep(AGAIN_S)


def _connect(url: str, user: str | None) -> RabbitMQ:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise output.Unusable(f"the URL is not the address of RabbitMQ's management API. Write for example {DEFAULT_URL}.")
    if parts.password:
        output.print_text(f"A password in the URL shows in the list of processes: set {PASSWORD} instead.", err=True)
        os.environ[PASSWORD] = unquote(parts.password)
    elif PASSWORD not in os.environ:
        os.environ[PASSWORD] = click.prompt("RabbitMQ's password", hide_input=True, err=True)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return RabbitMQ(address, user or unquote(parts.username or "guest"), SecretRef(f"env://{PASSWORD}"))


def look_at(settings: RabbitMQ, vhost: str | None, name: str | None) -> tuple[list[Seen], Counter[str]]:
    """What was seen of this queue, or of those that hold messages, and how many queues are how. Raises Denied or Unavailable."""
    more, listed = Counter[str](), {}
    queues = [to_queue(vhost or "/", name or "")]
    if name is None:
        answer, totals = _list(settings, vhost)
        filled = [(queue, total) for queue, total in totals if total.messages and total.type != "stream"]
        first = sorted(filled, key=lambda one: (not one[1].messages_unacknowledged, -(one[1].messages or 0)))[:CLOSELY]
        queues = [queue for queue, _ in first]
        listed = {queue.key: replace(answer, body=msgspec.json.encode(Totals([total]))) for queue, total in first}
        more = Counter({EMPTY: len(totals) - len(filled), LEFT_OUT: len(filled) - len(first)})
    queries = [Query(queue, SYMPTOM.for_s, reach_s=REACH_S) for queue in queues]
    outcomes = client.look_all(settings, queries, timeout_s=LOOK_S, listed=listed)
    if name is not None and isinstance(outcomes[0], Exception):
        raise outcomes[0]
    looked = sorted(map(_judge, queues, outcomes), key=lambda one: ORDER.index(one.state))
    return looked, Counter(one.state for one in looked) + more


def _list(settings: RabbitMQ, vhost: str | None) -> tuple[Answer, list[tuple[QueueRef, Total]]]:
    """The live totals of all queues. Of 10,000 the list takes 0.7 s and 1.3 MB; by page each page takes as long, and with
    statistics it costs the broker up to 1 GB (measured on 3.10)."""
    columns = ",".join(("vhost", *Total.__struct_fields__))
    query = urlencode({"disable_stats": "true", "enable_queue_totals": "true", "columns": columns}, safe=",")
    path = f"/api/queues{'' if vhost is None else '/' + quote(vhost, safe='')}?{query}"
    answer = live(client.ask(settings, {path: LOOK_S}, timeout_s=LOOK_S)[path])
    items = answer.json()
    totals = shaped(SYSTEM, items, list[Total])
    return answer, [(to_queue(item["vhost"], total.name), total) for item, total in zip(items, totals, strict=True)]


def _judge(queue: QueueRef, outcome: QueueOutcome) -> Seen:
    if not isinstance(outcome, QueueSnapshot):
        return Seen(queue, UNREAD, str(getattr(outcome, "detail", outcome)))
    learned = _find_stalls(outcome)
    judged, _ = judge_health(SYMPTOM, outcome, QueueState(queue, "", outcome.at), outcome.at, Terms(learned=learned))
    is_unused = not outcome.consumers and not outcome.unacked and not rise_of(outcome.history.deliveries)
    state = EMPTY if not outcome.depth else UNUSED if is_unused else STATES[judged.health]
    return Seen(queue, state, str(judged.why), outcome, judged.held_by, tuple(stall.lasted_s for stall in learned.stalls))


def _find_stalls(snapshot: QueueSnapshot) -> QueueStalls:
    """What a channel held for half a minute or longer without doing anything, and then acknowledged, in the samples."""
    learned = QueueStalls(snapshot.at)
    for channel in snapshot.channels or ():
        acks, moved_at = dict(channel.acks), None
        for (before, work), (at, later) in pairwise(channel.work):
            held, done = work > 2 * acks.get(before, 0), acks.get(at, 0) > acks.get(before, 0)  # work counts both of what is done
            if held and done and moved_at is not None and at - moved_at >= STALL_S:
                learned = add_stall(learned, Stall(StallKind.HELD, at, at - moved_at))
            moved_at = moved_at if later == work else at
    return learned


def _to_runbook(seen: Seen) -> str:
    """For `runbooks:`; its job is an example's."""
    for_s = max(SYMPTOM.for_s, MARGIN * max(seen.stalls_s, default=0))
    users = list(dict.fromkeys(channel.user for channel in seen.held_by)) or list(seen.snapshot.users)
    keys = {**seen.queue.keys, **({"users": users} if users else {}), "for": f"{round(for_s)}s"}
    matches = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in seen.queue.keys.items()]
    name = re.sub(r"[^a-z0-9]+", "-", seen.queue.keys["queue"].lower()).strip("-") or "queue"
    symptom, match = (json.dumps(value, ensure_ascii=False) for value in ({"rabbitmq": keys}, matches))
    job = "{job: 11111111-1111-4111-8111-111111111111}   # name yours"
    lines = (f"  - name: {name}", f"match: {match}", "mode: observe", f"restart: {job}", f"symptom: {symptom}")
    return "\n    ".join((*lines, "notify: [console]"))


def _print(seen: list[Seen], counts: Counter[str], took_s: float) -> None:
    told = ", ".join(f"{state}: {counts[state]}" for state in ORDER if counts[state])
    output.print_text(f"{told or 'no queues'} ({took_s:.1f} s)")
    if any(one.snapshot.consumers and one.snapshot.channels is None and one.snapshot.unseen is None for one in seen):
        output.print_text("Without the tag `monitoring` RabbitMQ shows no channels: one of several that hangs is not seen.")
    for one in (one for one in seen if one.state in ORDER[:4] or len(seen) == 1):
        mark = output.mark(one.state, "wrong" if one.state == STANDS else "warn")
        output.print_text(one.why, f"\n{output.printable(one.queue.name)} {mark}: ", "    ")
        output.print_text(f"{one.snapshot.ready} wait, {one.snapshot.unacked} held, consumers: {one.snapshot.consumers}", "    ")
        for held in one.held_by:
            most = {None: "", 0: ", any number"}.get(held.window, f" of {held.window}")
            output.print_text(f"{held.user}, {held.name} at {held.host}, holds {held.held}{most}", "    held by ")
        if one.stalls_s:
            lasted = f"{len(one.stalls_s)} times in ten minutes, for up to {max(one.stalls_s):.0f} s"
            output.print_text(f"it stood still {lasted}, and went on by itself", "    ")
