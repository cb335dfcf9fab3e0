"""Addresses: what a client's requests are counted under, and whom X-Forwarded-For is believed of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.interfaces.http.addresses import Addresses

PROXIES = Addresses.parse(["10.0.0.0/8", "fd00::/8", "::1"])


def of(addresses: Addresses, peer: str | None, *said: str) -> str | None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in said]
    return addresses.of({"client": None if peer is None else (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "said", "expected"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("203.0.113.9",), "192.0.2.1"),  # no proxy of ours: it may say what it likes
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("198.51.100.1, 203.0.113.9",), "203.0.113.9"),  # what the client itself wrote stands left
        ("10.0.0.1", ("198.51.100.1", "203.0.113.9, 10.2.3.4"), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9:4711",), "203.0.113.9"),
        ("10.0.0.1", ("[2001:db8:1:2:3::4]:4711",), "2001:db8:1:2::/64"),
        ("10.0.0.1", ("203.0.113.9, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9, unknown, 10.9.9.9",), "10.9.9.9"),
        ("10.0.0.1", ("10.1.1.1, 10.2.2.2",), "10.1.1.1"),
        ("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", (), "2001:db8:1:2::/64"),
        (None, ("203.0.113.9",), None),
    ],
)
def test_an_address_is_the_nearest_that_no_trusted_proxy_has(
    peer: str | None, said: tuple[str, ...], expected: str | None
) -> None:
    assert of(PROXIES, peer, *said) == expected


def test_an_address_is_the_connections_own_where_no_proxy_is_trusted() -> None:
    assert of(Addresses(), "10.0.0.1", "203.0.113.9") == "10.0.0.1"


def test_addresses_of_one_ipv6_subscriber_are_one() -> None:
    assert (
        of(Addresses(), "2001:db8:1:2::1") == of(Addresses(), "2001:db8:1:2:ffff::9") != of(Addresses(), "2001:db8::1")
    )


def test_a_trusted_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(InvalidInput, match="TRUSTED_PROXIES"):
        Addresses.parse(["nginx"])


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=60), max_size=4))
def test_whatever_a_client_writes_before_the_proxys_word_changes_nothing(forged: list[str]) -> None:
    assert of(PROXIES, "10.0.0.1", *forged, "203.0.113.9") == "203.0.113.9"
