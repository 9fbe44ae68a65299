"""What is said as data: English by itself, other languages by their catalogue, and nothing of a value is ever a template."""

import msgspec
import pytest

from functions.domain.model.incidents import Document, Incident, Phase
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Phrase, Text, in_language, join


@pytest.mark.parametrize(
    ("phrase", "english"),
    [
        ("answered 502", "answered 502"),
        (Text("is not JSON"), "is not JSON"),
        (Text("in {hours} h: {count}, at most {limit}", hours=1, count=3, limit=3), "in 1 h: 3, at most 3"),
        (Text("{count} runbook", "{count} runbooks", count=1), "1 runbook"),
        (Text("{count} runbook", "{count} runbooks", count=0), "0 runbooks"),
        (Text("{count} runbook", "{count} runbooks", count=1200), "1,200 runbooks"),
        (Text("{size} bytes in {seconds} s", size=8388608, seconds=0.5), "8,388,608 bytes in 0.5 s"),
        (Text("{hours} h", hours=24.0), "24 h"),
        (Text("{hours} h", hours=float("nan")), "nan h"),
        (Text("can't be read: {why}", why=Text("answered {status}", status="502")), "can't be read: answered 502"),
        (join(["one"]), "one"),
        (join([Text("mail: depth {depth}", depth=3), "another"]), "mail: depth 3; another"),
        (join([]), ""),
    ],
)
def test_a_text_is_english_by_itself(phrase: Phrase, english: str) -> None:
    """With its values, one and many, and whatever stands in it."""
    assert str(phrase) == in_language("en", phrase) == in_language("none that exists", phrase) == english


@pytest.mark.parametrize("hostile", ["{why}", "{0.__class__}", "{why!r:>99999999}", "%s", "{{", "}", r"\1\g<0>", "depth {depth}"])
def test_a_value_is_never_a_template(hostile: str) -> None:
    """Whatever a stranger wrote comes out as it went in."""
    text = Text("can't be read: {why}, {other}", why=hostile, other=Text("said {said}", said=hostile))
    assert str(text) == f"can't be read: {hostile}, said {hostile}"


def test_a_document_keeps_template_and_values() -> None:
    """And a plain string of the former release; errors' own text is English; cards show keys without backticks."""
    detail = join([Text("{name}: depth {depth}", name="mail", depth=3), Text("{count} h", "{count} hs", count=2.5)])
    for kept in (detail, "depth 3"):
        document = Document("k", incident=Incident("i", Phase.WAITING, 0.0, "r", (), (), detail=kept))
        assert msgspec.json.decode(msgspec.json.encode(document), type=Document) == document
    assert b'{"template":"{name}: depth {depth}","values":{"name":"mail","depth":3}}' in msgspec.json.encode(detail)
    late = Unavailable("Rundeck", Text("answered {status}", status="502"))
    denied = Denied("Rundeck", Text("is not JSON"), remedy=Text("Check the URL."))
    assert (str(late), late.detail) == ("Rundeck: answered 502", Text("answered {status}", status="502"))
    assert (str(denied), denied.remedy) == ("Rundeck: is not JSON", Text("Check the URL."))
    phrase = Text("Set `room` to the number of {name}.", name="`ops`")
    assert str(phrase) == "Set `room` to the number of `ops`."
    assert in_language("en", phrase) == "Set room to the number of `ops`."
