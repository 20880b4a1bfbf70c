"""Addresses of nodes: which text is one, and which must never be called for a stranger's sake.

A name is looked up when it is called, not only when it is registered: what it leads to may change in between. Who connects
may besides hold the address that answered against `is_private`, since a name can change between two look-ups, too.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, urlsplit

from shared.kernel.errors import InvalidInput

LONGEST = 2048
PRIVATE_ADDRESS = "PRIVATE_ADDRESS"
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without a backslash, which some readers take for a slash."""
_OF_THIS_HOST = ("localhost", "local", "internal", "lan", "home.arpa")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Lookup = Callable[[str, int], Iterable[str]]


class PrivateAddress(InvalidInput):
    """The address leads into a private network, or back to this machine."""

    code = PRIVATE_ADDRESS


def require_web_address(url: str, *, field: str, is_base: bool = False) -> str:
    """Return `url` where it is an http or https address without credentials. Raises `InvalidInput`.

    `is_base`: paths are appended to it, so it has no query.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{field} must be an http or https address", field=field)
    if "@" in parts.netloc:
        raise InvalidInput(f"{field} must not hold credentials: it can be read by others", field=field)
    if parts.fragment or (is_base and parts.query):
        raise InvalidInput(f"{field} must end with its path", field=field)
    return url


def refuse_private_literal(url: str, *, field: str) -> None:
    """Raise `PrivateAddress` where the text itself says so: an address of a private range, a name of this host."""
    host = _host(url)
    literal = _literal(host)
    own = any(host == name or host.endswith(f".{name}") for name in _OF_THIS_HOST)
    if own or (literal is not None and is_private(literal)):
        raise PrivateAddress(f"{field} leads into a private network", field=field)


def refuse_private(url: str, *, lookup: Lookup | None = None) -> None:
    """Look `url`'s host up now. Raises `PrivateAddress` if any answer is private, or if there is none.

    For nodes of tenants, right before each call; the operator's own upstreams may be where he likes.
    """
    parts = _split(url)
    host = _host(url)
    if parts is None or not host:
        raise PrivateAddress("the node's address is malformed")
    try:
        found = list((lookup or _looked_up)(host, parts.port or (443 if parts.scheme == "https" else 80)))
    except OSError:
        found = []
    if not found or any(is_private(address) for address in found):
        raise PrivateAddress("the node's address leads into a private network, or nowhere")


def is_private(address: str) -> bool:
    """Tell whether an IP address is anything but a host of the public internet; what is no address is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not found.is_global or found.is_multicast


def _split(url: str) -> SplitResult | None:
    if len(url) > LONGEST or not _PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
    except ValueError:
        return None
    return parts


def _host(url: str) -> str:
    parts = _split(url)
    return ((parts.hostname if parts else None) or "").rstrip(".").lower()


def _literal(host: str) -> str | None:
    """Return the IP address that a host states, in whatever form the system's resolver takes (`127.1`, `0x7f000001`)."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _looked_up(host: str, port: int) -> Iterable[str]:
    return {str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
