"""Tells loopback addresses from others: plain http is fine there, and no proxy is used."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host or a peer's address is loopback."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
