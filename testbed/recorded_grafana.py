"""The recorded requests of Grafana and Alertmanager, as the door's tests need them."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.datastructures import EnvironHeaders

from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import Denied, Unavailable

FOLDER = Path(__file__).parents[1] / "tests" / "recordings" / "grafana"


@dataclass(frozen=True)
class Known:
    """A secret as an adapter sees it, without a store behind it."""

    secret: bytes

    def read(self) -> bytes:
        return self.secret


@dataclass(frozen=True)
class Unreadable:
    """A secret that the store does not hand out."""

    error: Unavailable | Denied

    def read(self) -> bytes:
        raise self.error


@dataclass(frozen=True)
class Recording:
    name: str
    description: str
    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    secrets: Mapping[str, str | None]
    expect: Mapping[str, Any]

    @property
    def hmac(self) -> Hmac | None:
        if "hmac_secret" not in self.secrets:
            return None
        return Hmac((known(self.secrets["hmac_secret"]),), self.secrets["hmac_header"], self.secrets["hmac_timestamp_header"])

    @property
    def basic(self) -> Basic | None:
        if "basic_password" not in self.secrets:
            return None
        return Basic(self.secrets["basic_username"], (known(self.secrets["basic_password"]),))

    @property
    def bearer(self) -> Bearer | None:
        if "authorization_credentials" not in self.secrets:
            return None
        return Bearer((known(self.secrets["authorization_credentials"]),), self.secrets["authorization_scheme"])

    @property
    def auth(self) -> Auth:
        return Auth(self.hmac, self.basic, self.bearer)


def known(secret: str | bytes) -> Any:
    return Known(secret.encode() if isinstance(secret, str) else secret)


def unreadable(error: Unavailable | Denied) -> Any:
    return Unreadable(error)


def as_wsgi(headers: Mapping[str, str]) -> EnvironHeaders:
    """The headers as a WSGI server hands them on: names in upper case, the sent bytes shown as Latin-1."""
    return EnvironHeaders(
        {"HTTP_" + name.upper().replace("-", "_"): value.encode().decode("latin-1") for name, value in headers.items()}
    )


def _read(path: Path) -> Recording:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    case = json.loads(content)
    sent = case["request"]
    return Recording(
        case["case"],
        case["description"],
        case["recorded_at_unix"],
        sent["method"],
        sent["path"],
        dict(sent["headers"]),
        sent["body"].encode(),
        case["secrets_used"],
        case["expect"],
    )


RECORDINGS = {recording.name: recording for recording in map(_read, sorted(FOLDER.glob("*.json*")))}
