"""`report` with {"check": true}: every system is asked from where the function runs, and people hear of what failed."""

import json
from typing import Any

import jsonschema
import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.entrypoints import report_request
from tests.cli.conftest import Line
from tests.cli.conftest import here as here  # noqa: PLC0414 - the systems around the command line
from tests.entrypoints.test_openapi import described


def asked(here: Line, body: object) -> tuple[int, dict[str, Any]]:
    request: Any = Request(EnvironBuilder(method="POST", data=json.dumps(body)).get_environ())
    answer, status, _ = report_request.respond(request, here.ports)
    return status, json.loads(answer)


def test_where_all_is_well_every_line_is_answered_and_logged_and_nobody_is_bothered(
    here: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines are those of the command line, and the log has them for whoever can't call the function."""
    status, answer = asked(here, {"check": True})
    assert (status, answer["check"]["ok"], answer["check"]["posted"]) == (200, True, {})
    schema = described()["components"]["schemas"]["Checked"]
    jsonschema.validate(answer["check"], schema)
    assert [one["what"] for one in answer["check"]["findings"]] == [one["what"] for one in here.json("check")["findings"]]
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (line,) = [one for one in logged if one.get("message") == "check from inside: no problems"]
    assert line["findings"] == answer["check"]["findings"]
    assert line["severity"] == "INFO"


@pytest.mark.parametrize(("language", "headline"), [("en", "The check failed at Secrets, rundeck"), ("ja", "点検に失敗しました")])
def test_what_failed_is_posted_with_its_remedy(
    here: Line, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, language: str, headline: str
) -> None:
    """A token that nobody renewed is heard of before the alert that would have needed it."""
    here.configured(language=language, notify=["console"])
    monkeypatch.delenv("RUNDECK_TOKEN")
    status, answer = asked(here, {"check": True})
    assert (status, answer["check"]["ok"], answer["check"]["posted"]) == (200, False, {"console": ""})
    output = capsys.readouterr().out
    assert headline in output
    assert "RUNDECK_TOKEN" in output
    card = " ".join(word for line in output.splitlines() if not line.startswith("{") for word in line.split())
    assert card.count("Put the secret where the reference says") == (language == "en"), "each remedy is said once"
    assert any(one["ok"] is False and one["remedy"] for one in answer["check"]["findings"])


@pytest.mark.parametrize("body", [{"check": "all"}, {"check": False}, {"check": True, "what": "report"}])
def test_what_is_no_check_is_refused(here: Line, body: dict[str, Any]) -> None:
    """A job with a typing mistake must not post the report instead."""
    assert asked(here, body)[0] == 400
