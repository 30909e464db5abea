"""Which addresses the network policy lets through, in every spelling that reaches them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.network import Network, NetworkRefused, Policy, Reach, classify
from conveyor.network.dial import resolve

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
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    # RFC 6052 §2.2: the local translator's range with prefixes of 48, 56 and 64 bits
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
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


@pytest.mark.parametrize(
    ("name", "reach"),
    [
        ("localhost", Reach.PRIVATE),
        ("LocalHost.", Reach.PRIVATE),
        ("db.localhost", Reach.PRIVATE),
        ("metadata.google.internal", Reach.NEVER),
        ("metadata.google.internal.", Reach.NEVER),
        ("127.0.0.1.", Reach.PRIVATE),
        ("127%2e0.0.1", Reach.PRIVATE),
        ("１２７.０.０.１", Reach.PRIVATE),
        ("169。254。169。254", Reach.NEVER),
    ],
)
def test_what_a_proxy_would_understand_is_a_literal_too(name: str, reach: Reach) -> None:
    with pytest.raises(NetworkRefused) as caught:
        Network().check_literal(name)
    assert caught.value.reach is reach
    if reach is Reach.PRIVATE:
        Network(["127.0.0.0/8"]).check_literal(name)


def test_a_name_is_not_a_literal() -> None:
    for name in ("files.example", "localhost.example", "x" * 300):
        Network().check_literal(name)


def test_a_network_of_its_own_reaches_its_hosts_and_nothing_else() -> None:
    network = Network(["0.0.0.0/0", "::/0"], proxy="http://proxy.example:3128")
    narrow = network.only(["169.254.169.254", "Host.Example", "[fd00:ec2::254]"])
    narrow.policy.check("169.254.169.254")
    narrow.policy.check("10.0.0.1", "host.example")
    narrow.policy.check("fd00:ec2::254", "[fd00:ec2::254]")
    for address, host in (
        ("169.254.169.254", "other.example"),
        ("8.8.8.8", None),
        ("127.0.0.1", "localhost"),
    ):
        with pytest.raises(NetworkRefused, match="not the service that hands out"):
            narrow.policy.check(address, host)
    assert narrow.proxy is None


@given(st.integers(0, 2**32 - 1), st.sampled_from([48, 56, 64, 96]))
def test_no_prefix_of_the_local_translators_reaches_metadata(bits: int, length: int) -> None:
    """Where every range is listed, what such an address carries still decides."""
    if bits >> 24 == 0:
        return
    head = bits << 96 - length if length == 96 else (bits << 128 - length - 32)
    if length < 96:  # bits 64 to 71 stay free
        left = 64 - length
        high, low = bits >> 32 - left if left else 0, bits & (1 << 32 - left) - 1
        head = high << 64 | low << 56 - (32 - left)
    address = ipaddress.IPv6Address(0x0064FF9B0001 << 80 | head)
    own = ipaddress.IPv4Address(bits)
    if classify(own) is Reach.NEVER:
        assert classify(address) is Reach.NEVER
    assert classify(address) is not Reach.PUBLIC


@given(
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 2**128 - 1), min_size=1, max_size=6), st.booleans()
)
def test_of_any_answer_exactly_the_allowed_addresses_are_left(numbers: list[int], listed: bool) -> None:
    answer = [str(ipaddress.ip_address(number)) for number in numbers]
    policy = Policy(["0.0.0.0/0", "::/0"] if listed else [])
    rows = [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 1))
        for one in answer
    ]
    with mock.patch.object(socket, "getaddrinfo", return_value=rows):
        try:
            left = {address[0] for _, address in resolve(policy, "some.example", 1)}
        except NetworkRefused:
            left = set()
    wanted = {Reach.PUBLIC, Reach.PRIVATE} if listed else {Reach.PUBLIC}
    assert left == {one for one in answer if classify(one) in wanted}


SPELLINGS = [
    lambda n: str(ipaddress.IPv4Address(n)),
    str,
    hex,
    lambda n: "0" + oct(n)[2:],
    lambda n: ".".join(hex(part) for part in ipaddress.IPv4Address(n).packed),
    lambda n: ".".join("0" + oct(part)[2:] for part in ipaddress.IPv4Address(n).packed),
    lambda n: f"{n >> 24}.{n & 0xFFFFFF}",
    lambda n: f"{n >> 24}.{n >> 16 & 255}.{n & 0xFFFF}",
    lambda n: f"{ipaddress.IPv4Address(n)}.",
    lambda n: str(ipaddress.IPv4Address(n)).translate({48 + d: 0xFF10 + d for d in range(10)}),
    lambda n: str(ipaddress.IPv4Address(n)).replace(".", "\u3002"),
    lambda n: f"[::ffff:{ipaddress.IPv4Address(n)}]",
    lambda n: f"[64:ff9b::{n >> 16:x}:{n & 0xFFFF:x}]",
]


@given(st.integers(0, 2**32 - 1), st.sampled_from(SPELLINGS))
def test_every_spelling_of_an_address_is_judged_alike(number: int, spell: Callable[[int], str]) -> None:
    own = classify(ipaddress.IPv4Address(number))
    said = Reach.PUBLIC
    try:
        Network().check_literal(spell(number))
    except NetworkRefused as refused:
        said = refused.reach
    assert said is own
