"""What Unstick signs for itself: payloads of wake-ups and tokens of approval links."""

import string

import pytest
from itsdangerous import URLSafeSerializer

from functions.application import signing
from functions.domain.model.codes import VERSION
from functions.runtime.errors import BadRequest, ConfigError, Denied, Unavailable
from functions.runtime.secrets import SecretRef

NEW, FORMER, STRANGE = (SecretRef(f"env://KEY_{name}") for name in ("NEW", "FORMER", "STRANGE"))
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("NEW", "FORMER", "STRANGE"):
        monkeypatch.setenv(f"KEY_{name}", f"the {name} key for tests".ljust(32, "."))


def refused(call) -> tuple[int, str]:
    with pytest.raises(BadRequest) as caught:
        call()
    return caught.value.status, caught.value.sentence


def test_equal_contents_make_equal_payloads():
    """The local scheduler merges equal wake-ups, so a signature may hold no time and no chance; former keys still count."""
    content = {"v": VERSION, "target": "t-0123"}
    assert signing.sign((NEW,), content) == signing.sign((NEW,), content)
    former = signing.sign((FORMER,), {"v": VERSION, "target": "a"})
    assert signing.verify_payload((NEW, FORMER), former)["target"] == "a"
    assert signing.verify_payload((NEW,), signing.sign((NEW, FORMER), {"v": VERSION, "target": "b"}))["target"] == "b"


def test_what_no_key_has_signed():
    """A payload of somebody else starts nothing, SHA-1 is not accepted, and a newer version is left alone."""
    payload = signing.sign((STRANGE,), {"v": VERSION, "target": "a"})
    assert refused(lambda: signing.verify_payload((NEW, FORMER), payload)) == (
        401, "This wake-up is not signed with any of signing_keys."
    )  # fmt: skip
    payload = signing.sign((NEW,), {"v": VERSION + 1, "target": "a"})
    status, sentence = refused(lambda: signing.verify_payload((NEW,), payload))
    assert status == 400
    assert "made by another release" in sentence
    payload = URLSafeSerializer(NEW.read(), salt="unstick.wake-up").dumps({"v": VERSION, "target": "a"})
    assert refused(lambda: signing.verify_payload((NEW,), payload))[0] == 401


@pytest.mark.parametrize(
    "payload", ["", ".", "..", "a", "a.b", ".a.b", "\ud800", "配送.x", "\x00" * 9, "=" * 40, "." + "A" * 4000 + ".B"]
)
def test_hostile_payloads_are_401(payload):
    """Whatever is sent, the answer is 401 and never a crash; approval links likewise, with 403."""
    assert refused(lambda: signing.verify_payload((NEW, FORMER), payload))[0] == 401
    assert refused(lambda: signing.read_approval((NEW, FORMER), payload, NOW))[0] == 403


@pytest.mark.parametrize("content", [{}, {"target": "a"}, {"v": "1", "target": "a"}])
def test_signed_but_no_wake_up_is_400(content):
    """Something else that was signed with the key is refused with a sentence of its own."""
    payload = signing.sign((NEW,), content)
    assert refused(lambda: signing.verify_payload((NEW,), payload)) == (
        400,
        f"This wake-up was made by another release; this one knows version {VERSION}.",
    )


def test_an_approval_is_no_wake_up_and_the_other_way_round():
    """The two are signed apart; a token says which document and which question it answers, until it expires."""
    token = signing.sign_approval((NEW,), "a", "n", NOW + 60)
    payload = signing.sign((NEW,), {"v": VERSION, "target": "a"})
    assert refused(lambda: signing.verify_payload((NEW,), token))[0] == 401
    assert refused(lambda: signing.read_approval((NEW,), payload, NOW))[0] == 403
    token = signing.sign_approval((NEW,), "t-1", "nonce", NOW)
    assert signing.read_approval((NEW, FORMER), token, NOW - 0.1) == ("t-1", "nonce")
    status, sentence = refused(lambda: signing.read_approval((NEW,), token, NOW))
    assert status == 410
    assert "expired" in sentence
    assert all(c in string.ascii_letters + string.digits + "-_." for c in token)


def test_an_empty_key_signs_nothing(monkeypatch):
    """An empty secret would let anybody sign."""
    monkeypatch.setenv("KEY_NEW", "")
    with pytest.raises((Denied, ConfigError)):
        signing.sign((NEW,), {"v": VERSION, "target": "a"})


def test_a_former_key_that_cannot_be_read_matters_only_if_it_is_needed(monkeypatch):
    """A missing former key neither stops what the newest signed, nor turns what it may have signed into a lie."""
    newest, former = (signing.sign((key,), {"v": VERSION, "target": "a"}) for key in (NEW, FORMER))
    monkeypatch.delenv("KEY_FORMER")
    missing = SecretRef("env://KEY_MISSING")
    assert signing.verify_payload((NEW, missing), newest)["target"] == "a"
    with pytest.raises((Denied, Unavailable)):
        signing.verify_payload((NEW, missing), former)
