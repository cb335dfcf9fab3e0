"""Which addresses may be connected to, however they are written."""

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.http_client import ANYWHERE, PUBLIC_ONLY, ForbiddenAddress, OutboundRules

addresses = st.ip_addresses()


def allows(rules: OutboundRules, address: object) -> bool:
    try:
        rules.check(str(address))
    except ForbiddenAddress:
        return False
    return True


@given(addresses)
def test_without_private_networks_only_public_addresses_are_allowed(address):
    if allows(PUBLIC_ONLY, address):
        assert address.is_global


@given(addresses)
def test_naming_networks_allows_more_and_never_less(address):
    if allows(PUBLIC_ONLY, address):
        assert allows(OutboundRules.parse(["10.0.0.0/8", "fc00::/7"]), address)
        assert allows(ANYWHERE, address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_itself(address):
    wrapped = [f"::ffff:{address}", str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address)))]
    for rules in (PUBLIC_ONLY, OutboundRules.parse(["10.0.0.0/8"]), ANYWHERE):
        assert {allows(rules, text) for text in wrapped} == {allows(rules, address)}


never = st.one_of(
    *(st.ip_addresses(network=name) for name in ("169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8")),
    st.sampled_from(["0.0.0.0", "::"]).map(ipaddress.ip_address),  # nobody listens there
)


@given(never)
def test_link_local_and_multicast_addresses_are_never_allowed(address):
    assert not allows(ANYWHERE, address)


@given(st.text(max_size=20))
def test_what_is_no_address_is_never_allowed(text):
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        assert not allows(ANYWHERE, text)


@given(addresses)
def test_what_is_not_encrypted_goes_to_no_public_address(address):
    in_clear = dataclasses.replace(ANYWHERE, allows_public=False)
    assert allows(in_clear, address) == (allows(ANYWHERE, address) and not allows(PUBLIC_ONLY, address))


def test_networks_are_written_as_blocks_or_words():
    assert OutboundRules.parse(["none"]) == PUBLIC_ONLY
    assert OutboundRules.parse(["all"]) == ANYWHERE
    assert allows(OutboundRules.parse(["10.0.0.0/8"]), "10.1.2.3")
    assert not allows(OutboundRules.parse(["10.0.0.0/8"]), "192.168.0.1")
    with pytest.raises(InvalidInput, match=r"10\.0\.0\.1/8"):
        OutboundRules.parse(["10.0.0.1/8"])
