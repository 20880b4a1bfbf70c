"""Who calls: the address that limits count, as far as the operator's own proxies vouch for it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import Request

_SITE_BITS = 64


def client_address(request: Request, *, trusted_proxies: int) -> str:
    """Return the caller's address, or the /64 network of an IPv6 caller (one site, one limit).

    Each trusted proxy appends the address it saw to X-Forwarded-For, so the n-th entry from the right is the last that a
    proxy of ours wrote; what stands left of it is the caller's own invention. A header too short, or with text that is no
    address there, did not come through those proxies: then the peer itself counts.
    """
    forwarded = _forwarded(request)
    entry = forwarded[-trusted_proxies] if 0 < trusted_proxies <= len(forwarded) else ""
    address = _parsed(entry) or _parsed(request.remote_addr or "")
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SITE_BITS), strict=False))
    return str(address)


def _forwarded(request: Request) -> list[str]:
    return [entry.strip() for header in request.headers.getlist("X-Forwarded-For") for entry in header.split(",")]


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
