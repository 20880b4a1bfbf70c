"""Which text is an address of a node, and which addresses are never called for a tenant's sake."""

from __future__ import annotations

import pytest

from shared.catalog.addresses import (
    PrivateAddress,
    is_private,
    refuse_private,
    refuse_private_literal,
    require_web_address,
)
from shared.kernel.errors import InvalidInput

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"]
PRIVATE = [
    "127.0.0.1",
    "127.255.0.1",
    "0.0.0.0",  # noqa: S104 - as an address that is refused
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "not an address",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_hosts_of_the_public_internet_are_not_private(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_everything_else_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/v1",
        "http://LOCALHOST.:80/v1",
        "http://a.localhost/v1",
        "http://db.internal/v1",
        "http://printer.local/v1",
        "http://127.0.0.1/v1",
        "http://127.1/v1",
        "http://2130706433/v1",
        "http://0x7f000001/v1",
        "http://017700000001/v1",
        "http://[::1]:8000/v1",
        "http://[::ffff:10.0.0.1]/v1",
        "http://169.254.169.254/latest",
    ],
)
def test_a_text_that_says_itself_that_it_is_private_is_refused_without_a_look_up(url: str) -> None:
    with pytest.raises(PrivateAddress):
        refuse_private_literal(url, field="inference_url")


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "http://8.8.8.8:8000/v1", "https://internal.example.com/"]
)
def test_other_names_wait_for_their_look_up(url: str) -> None:
    refuse_private_literal(url, field="inference_url")


def test_a_name_is_refused_if_any_of_its_addresses_is_private_or_it_has_none() -> None:
    asked: list[tuple[str, int]] = []

    def answering(*addresses: str) -> None:
        def lookup(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return list(addresses)

        refuse_private("https://node.example.com/v1", lookup=lookup)

    answering("8.8.8.8", "2606:4700:4700::1111")
    assert asked == [("node.example.com", 443)]
    for addresses in (("8.8.8.8", "127.0.0.1"), ("::ffff:192.168.0.1",), ()):
        with pytest.raises(PrivateAddress):
            answering(*addresses)


def test_a_name_that_cannot_be_looked_up_is_refused() -> None:
    def lookup(_host: str, _port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(PrivateAddress):
        refuse_private("http://nowhere.example.com/v1", lookup=lookup)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1"])
def test_the_systems_own_look_up_finds_this_machine(url: str) -> None:
    with pytest.raises(PrivateAddress):
        refuse_private(url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://host/v1",
        "//host/v1",
        "http://",
        "http:///v1",
        "host/v1",
        "http://user@host/v1",
        "http://user:pass@host/v1",
        "http://host/v1#here",
        "http://host/v1?x=1",
        "http://host:port/v1",
        "http://host:70000/v1",
        "http://ho st/v1",
        "http://host\\@evil/v1",
        "http://host/\n",
        "http://[::1/v1",
        "http://" + "h" * 2048 + "/",
        "http://höst/v1",
    ],
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        require_web_address(text, field="inference_url", is_base=True)


def test_only_a_base_has_no_query() -> None:
    url = "https://host.example.com:8443/health?deep=1"
    assert require_web_address(url, field="health_url") == url
