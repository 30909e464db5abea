"""Which addresses the network policy lets through, in every spelling that reaches them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.network import Network, NetworkRefused, Reach, classify

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
]
PRIVATE = [
    "10.1.2.3",
    "127.0.0.1",
    "127.8.8.8",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "::1",
    "fd12::1",
    "fec0::1",
    "2001:db8::1",
    "4000::1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::1",
    "2001:470:0:1::5efe:192.168.1.1",
]
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address: str) -> None:
    Network().check(address)
    assert classify(address) is Reach.PUBLIC


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_with_the_line_to_add(address: str) -> None:
    with pytest.raises(NetworkRefused) as caught:
        Network(["10.99.0.0/16"]).check(address, "files.example")
    assert caught.value.reach is Reach.PRIVATE
    assert "files.example" in caught.value.message
    assert caught.value.cure is not None
    line = caught.value.cure.partition("allow_private: [")[2].partition("]")[0]
    assert line.startswith("10.99.0.0/16, ")
    Network(line.split(", ")).check(address)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_link_local_stay_refused_even_when_listed(address: str) -> None:
    everything = Network(["0.0.0.0/0", "::/0"])
    with pytest.raises(NetworkRefused) as caught:
        everything.check(address)
    assert caught.value.reach is Reach.NEVER
    assert caught.value.cure is None


def test_a_listed_range_admits_all_spellings_of_its_addresses() -> None:
    network = Network(["127.0.0.0/8"])
    network.check("127.0.0.1")
    network.check("::ffff:127.0.0.1")
    with pytest.raises(NetworkRefused):
        network.check("::1")
    with pytest.raises(NetworkRefused):
        network.check("10.0.0.1")


def test_a_destination_adds_ranges_without_changing_the_global_ones() -> None:
    base = Network(["127.0.0.0/8"])
    wider = base.allowing(["10.0.0.5/8"])
    wider.check("10.9.9.9")
    wider.check("127.0.0.1")
    with pytest.raises(NetworkRefused):
        base.check("10.9.9.9")
    assert base.allowing([]) is base


def test_a_range_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="not-a-range"):
        Network(["not-a-range"])


@pytest.mark.parametrize(
    "spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "127.0.0.1"]
)
def test_a_literal_is_recognised_in_the_spellings_of_the_system(spelling: str) -> None:
    with pytest.raises(NetworkRefused):
        Network().check_literal(spelling)


def test_a_name_is_not_a_literal() -> None:
    Network().check_literal("localhost")
    Network().check_literal("x" * 300)


@given(st.integers(0, 2**32 - 1))
def test_no_translation_widens_what_an_ipv4_address_may_reach(bits: int) -> None:
    address = ipaddress.IPv4Address(bits)
    own = classify(address)
    for carrier in ("::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        carried = ipaddress.IPv6Address(int(ipaddress.IPv6Address(carrier)) + bits)
        assert classify(carried) is own
    for tunnel in (
        0x2002 << 112 | bits << 80,
        0x20010000 << 96 | bits << 64,
        0x2600 << 112 | 0x5EFE << 32 | bits,
    ):
        reach = classify(ipaddress.IPv6Address(tunnel))
        assert own is Reach.PUBLIC or reach is not Reach.PUBLIC
        assert own is not Reach.NEVER or reach is Reach.NEVER
