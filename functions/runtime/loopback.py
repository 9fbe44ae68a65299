"""Whether an address is this machine's own: what goes there may be plain http, and needs no proxy."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether the host of a URL, or the address of a peer, is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
