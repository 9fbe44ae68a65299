"""What is fuzzed: each target takes any bytes, and raises only what is a defect.

The errors that a function promises are its answer; anything else, and a promise that does not hold, is found.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from functions.adapters.grafana.request import authenticate, parse
from functions.config.formats import parse_matcher
from functions.config.loader import parse_config
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.domain.decisions import matching
from functions.runtime.errors import BadRequest, ConfigError
from functions.runtime.secrets import SecretRef
from testbed.recorded_grafana import RECORDINGS as GRAFANA

ROOT = Path(__file__).parents[3]
SECRET = "UNSTICK_FUZZ_SECRET"
SEED_BYTES = 20_000
NOW = 1_795_561_678.0


def notification(content: bytes) -> None:
    """A body that was let in: a notification, or 400 with a sentence that Grafana can show."""
    outcome = _outcome(partial(parse, content), BadRequest)
    if isinstance(outcome, BadRequest):
        assert outcome.status == 400
        assert len(outcome.sentence.encode()) <= 2048
    else:
        assert outcome


def door(content: bytes) -> None:
    """Lines of headers, an empty line, a body: nobody without the secret is let in, and the refusal has no more than it may."""
    os.environ.setdefault(SECRET, "known to nobody who guesses: 3f9a51c07be24d68")
    known = (SecretRef(f"env://{SECRET}"),)
    head, _, body = content.partition(b"\n\n")
    lines = [line.partition(b":") for line in head.split(b"\n")]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, _, value in lines}
    for way in (Auth(hmac=Hmac(known)), Auth(Hmac(known, timestamp_header=None), Basic("grafana", known), Bearer(known))):
        refusal = _outcome(partial(authenticate, way, headers, body, NOW), BadRequest)
        assert refusal is not None, "somebody was let in"
        assert refusal.status == 401
        assert len(refusal.sentence.encode()) <= 1024


def matchers(content: bytes) -> None:
    """A matcher in the first line, a label's value in the rest: what is taken can be asked, quickly."""
    line, _, value = content.decode(errors="surrogateescape").partition("\n")
    try:
        matcher = parse_matcher(line)
    except ValueError:
        return
    began = time.thread_time()
    assert isinstance(matching.matches(matcher, {matcher.label: value}), bool)
    assert time.thread_time() - began < 2.0


def configuration(content: bytes) -> None:
    """A file: settings, or all its mistakes, each with a place."""
    text = _outcome(content.decode, UnicodeDecodeError)
    outcome = _outcome(partial(parse_config, text), ConfigError) if isinstance(text, str) else None
    if isinstance(outcome, ConfigError):
        assert outcome.problems
        assert all(problem.startswith("unstick.yaml") for problem in outcome.problems)


def _outcome(call: Callable[[], Any], promised: type[Exception]) -> Any:
    """What the call returned, or the error that it promises."""
    try:
        return call()
    except promised as error:
        return error


TARGETS: dict[str, Callable[[bytes], None]] = {
    "notification": notification, "door": door, "matchers": matchers, "configuration": configuration,
}  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """What the fuzzer begins with: real input, so that it need not invent the format first."""
    if name in ("notification", "door"):
        small = [recorded.body for recorded in GRAFANA.values() if len(recorded.body) < SEED_BYTES]
        head = (
            b"X-Grafana-Alerting-Signature:"
            + b"0" * 64
            + b"\nX-Grafana-Alerting-Timestamp:1795561678\nAuthorization:Basic Zg==\n\n"
        )
        yield from small if name == "notification" else [head + body for body in small[:5]]
    elif name == "matchers":
        yield from (b'service="mail"\nmail', b'queue=~"mail-.*"\nmail-1', b'"a b"!~"(x+)+y"\nxxxx', rb'a="\n\"\\"' + b"\n")
    else:
        yield (ROOT / "unstick.yaml").read_bytes()
