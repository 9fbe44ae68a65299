"""What an operator finds in Cloud Logging, and reads on a terminal."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.model.codes import Reason
from functions.runtime import logs
from testbed.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Returns the entries that were written since it was called last."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_line_with_cloud_loggings_fields(written):
    """Severity, message, time and the fields stand at the top; what metrics count by stands in the labels too."""
    logs.event(
        "NOTICE", "restart held", incident="a1b2", target="service=mail", reason=Reason.COOLDOWN, action="held", age_s=12.5
    )

    (entry,) = written()
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "severity": "NOTICE",
        "message": "restart held",
        "incident": "a1b2",
        "target": "service=mail",
        "reason": "cooldown",
        "action": "held",
        "age_s": 12.5,
        "logging.googleapis.com/labels": {
            "incident": "a1b2", "target": "service=mail", "reason": "cooldown", "action": "held",
        },
    }  # fmt: skip


def test_an_error_brings_its_traceback_for_error_reporting(written):
    """Error Reporting takes an ERROR entry with a Python traceback in stack_trace, and its type."""
    try:
        int("no number")
    except ValueError as error:
        logs.event("ERROR", "request failed", error=error)
        logs.event("WARNING", "will be tried again", error=error)

    failed, again = written()
    said = "ValueError: invalid literal for int() with base 10: 'no number'"
    assert failed["error"] == said
    assert failed["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert failed["stack_trace"].endswith(f"{said}\n")
    assert (failed["@type"], again.get("@type")) == (logs.REPORTED_ERROR, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("two\nlines\r\n", "two lines "), ("\x1b[2Jcleared", " [2Jcleared"), ("tab\there\x00\x7f\x9b", "tab here "),
        ("\u202egnp.exe", " gnp.exe"), ("a\u2028b\u2029c", "a b c"), ("\ud800alone", " alone"), ("注文キュー", "注文キュー"),
        ("👩‍💻", "👩‍💻"),
    ],
)  # fmt: skip
def test_control_characters_are_taken_out(written, given, expected):
    """A label from a stranger can't start a line of its own, steer a terminal or turn text around (I8)."""
    logs.event("INFO", given, value=given)
    (entry,) = written()
    assert entry["message"] == entry["value"] == expected


def test_a_long_text_is_shortened_to_10_kb(written):
    """An entry stays far below the 256 KiB that Cloud Logging takes, and a cut never splits a character."""
    for letter in "a注\n👩":
        logs.event("INFO", "long", value=letter * 100_000)
    for entry in written():
        assert len(entry["value"].encode()) <= logs.MAX_FIELD_BYTES
        assert "\ufffd" not in entry["value"]


class Secretive:
    def __repr__(self) -> str:
        return "hunter2"

    __str__ = __repr__


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Secretive(), "<Secretive>"),
        (b"hunter2", "<bytes>"),
        ({"a": [1, "a\nb", Secretive(), True]}, {"a": [1, "a b", "<Secretive>", True]}),
        (float("nan"), "nan"),
        (list(range(1000)), list(range(50))),
        (ValueError("a\nb"), "ValueError: a b"),
    ],
)
def test_only_plain_values_are_printed(written, given, expected):
    """Of an unknown type only its name is printed, so that no secret's repr gets into a log (I8)."""
    logs.event("INFO", "value", value=given)
    assert written()[0]["value"] == expected


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(message=st.text(st.characters()), value=PLAIN)
def test_whatever_is_logged_is_one_line_of_json(message, value):
    """No value of any field breaks the line, raises, or replaces the entry's own fields."""
    with pytest.MonkeyPatch.context() as patched:
        stream = io.StringIO()
        patched.setattr(sys, "stdout", stream)
        logs.event("INFO", message, value=value, stack_trace=value, time=value)

    text = stream.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    entry = json.loads(text, parse_constant=pytest.fail)
    assert entry["severity"] == "INFO"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["time"])


def test_logging_never_raises(monkeypatch):
    """A process without a stdout, or with a closed one, goes on."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        logs.event("INFO", "lost")


WRITER = """
import sys, threading
from functions.runtime import logs

def write(name):
    for number in range(200):
        logs.event("INFO", "m" * (number * int(sys.argv[2]) // 200), incident=name, number=number)

threads = [threading.Thread(target=write, args=(f"{sys.argv[1]}-{place}",)) for place in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.parametrize(("processes", "longest", "unbuffered"), [(3, 3_700, ""), (1, 10_000, "1")])
def test_lines_of_parallel_threads_and_processes_stay_whole(processes, longest, unbuffered):
    """Workers share one stdout: each line can be parsed, and none is lost."""
    reading, writing = os.pipe()
    command, environment = [sys.executable, "-c", WRITER], {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    writers = [
        subprocess.Popen([*command, str(place), str(longest)], stdout=writing, cwd=ROOT, env=environment)
        for place in range(processes)
    ]
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        entries = [json.loads(line) for line in stream]
    assert [writer.wait(PATIENCE_S) for writer in writers] == [0] * processes
    assert len({(entry["incident"], entry["number"]) for entry in entries}) == len(entries) == processes * 4 * 200


def test_on_a_terminal_it_is_readable_text(monkeypatch):
    """People see time, severity, message and fields, without what only machines want."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    with redirect_stdout(terminal):
        logs.event("WARNING", "restart held", incident="a1b2", detail="two words", count=3, empty="")

    assert terminal.getvalue()[8:] == ' WARNING  restart held incident="a1b2" detail="two words" count=3 empty=""\n'


TRACE_ID = "105445aa7843bc8bf206b12000100000"


@pytest.mark.parametrize(
    ("header", "project", "expected"),
    [
        (f"{TRACE_ID.upper()}/18446744073709551615;o=1", "shop", f"projects/shop/traces/{TRACE_ID}"),
        (f"{TRACE_ID}/1;o=1", "", None),
        ("../../other", "shop", None),
        ("", "shop", None),
    ],
)
def test_the_trace_comes_from_the_header_and_the_project(written, monkeypatch, header, project, expected):
    """Entries of one request are grouped under its trace; a header that is none is ignored."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", project)
    with Flask("unstick").test_request_context(headers={"X-Cloud-Trace-Context": header}):
        logs.event("INFO", "inside")
    logs.event("INFO", "outside")
    assert [entry.get("logging.googleapis.com/trace") for entry in written()] == [expected, None]
