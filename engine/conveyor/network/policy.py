"""Which addresses may be dialled."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Iterator

from conveyor.errors import ConveyorError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(enum.Enum):
    """How far an address reaches."""

    PUBLIC = "public"
    PRIVATE = "private"
    """Private, loopback, or reserved for documentation, tests and the like: by ``allow_private`` only."""
    NEVER = "never"
    """Link-local, cloud metadata, multicast, unspecified: not dialled whatever the settings say."""


def _ranges(text: str) -> tuple[Range, ...]:
    return tuple(ipaddress.ip_network(part) for part in text.split())


# The tables stand here rather than in ``ipaddress.is_global``, whose answers differ between Python's patch
# releases. Source: IANA special-purpose address registries (RFC 6890 and its updates).
_NEVER = _ranges(
    # "this network", link-local (with the metadata of AWS, GCP, Azure, OpenStack …), multicast, reserved
    "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::/128 fe80::/10 ff00::/8 "
    # metadata services elsewhere: Alibaba, Azure's host agent, Oracle classic
    "100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 "
    # and over IPv6: AWS, GCP, Scaleway, Akamai
    "fd00:ec2::/32 fd20:ce::254/128 fd00:42::42/128 fd00:a9fe:a9fe::/48"
)
_PRIVATE = _ranges(
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 "
    "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "2001::/23 2001:db8::/32 3fff::/20"
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_CARRIERS = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # NAT64 for local use, RFC 8215
)
_LOCAL_NAT64 = _CARRIERS[4]
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOW32 = 0xFFFF_FFFF


def parse(address: str) -> Address:
    """The address that the operating system's ``address`` means, without an IPv6 zone."""
    return ipaddress.ip_address(address.partition("%")[0])


def _carried(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to through a translator or a tunnel."""
    bits = int(address)
    if address.ipv4_mapped is not None or (bits > 1 and any(address in carrier for carrier in _CARRIERS)):
        yield ipaddress.IPv4Address(bits & _LOW32)
    if address in _LOCAL_NAT64:
        yield from _by_shorter_prefixes(bits)
    if address in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & _LOW32)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(bits >> 64 & _LOW32)
        yield ipaddress.IPv4Address(~bits & _LOW32)
    if bits >> 32 & _LOW32 in _ISATAP:
        yield ipaddress.IPv4Address(bits & _LOW32)


def _by_shorter_prefixes(bits: int) -> Iterator[ipaddress.IPv4Address]:
    """What a translator that uses /48, /56 or /64 of the local range would dial (RFC 6052 §2.2).

    Bits 64 to 71 are skipped there. What begins with a zero byte is another length's prefix, read wrongly.
    """
    joined = bits >> 64 << 56 | bits & ((1 << 56) - 1)
    for length in (48, 56, 64):
        found = ipaddress.IPv4Address(joined >> 120 - length - 32 & _LOW32)
        if int(found) >> 24:
            yield found


def _own_reach(address: Address) -> Reach:
    if any(address in network for network in _NEVER):
        return Reach.NEVER
    if any(address in network for network in _PRIVATE):
        return Reach.PRIVATE
    if address.version == 6 and address not in _GLOBAL_V6:
        return Reach.PRIVATE
    return Reach.PUBLIC


def meanings(address: Address) -> tuple[Address, ...]:
    """Every address that dialling ``address`` may reach: itself, or the IPv4 addresses it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    carried = tuple(_carried(address))
    if any(address in carrier for carrier in _CARRIERS[:4]) and carried:
        return carried
    return (address, *carried)


def classify(address: str | Address) -> Reach:
    """How far ``address`` reaches, judged by the strictest of its meanings."""
    reaches = {_own_reach(one) for one in meanings(parse(address) if isinstance(address, str) else address)}
    for reach in (Reach.NEVER, Reach.PRIVATE):
        if reach in reaches:
            return reach
    return Reach.PUBLIC


def is_never(given: Range) -> bool:
    """Whether no address of ``given`` is ever dialled, so that listing it cannot help."""
    return any(
        given.version == network.version and given.subnet_of(network)  # type: ignore[arg-type]
        for network in _NEVER
    )


class NetworkRefused(ConveyorError):
    """The policy forbids an address. ``cure`` prints the line to add, where one can help.

    Attributes:
        host: The name that was asked for.
        address: What it resolved to.
        reach: Why it is refused.
    """

    def __init__(self, message: str, *, host: str, address: str, reach: Reach, cure: str | None) -> None:
        super().__init__(message, cure=cure)
        self.host = host
        self.address = address
        self.reach = reach


class Policy:
    """Public addresses, and those private ones that are listed.

    Args:
        allow_private: CIDR ranges (``10.1.0.0/16``, ``127.0.0.1``); host bits may be set.

    Raises:
        ValueError: a range is not one.
    """

    def __init__(self, allow_private: Iterable[str] = ()) -> None:
        self.allow_private = tuple(allow_private)
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in self.allow_private)

    def check(self, address: str, host: str | None = None) -> None:
        """Refuse ``address`` unless it may be dialled.

        Args:
            address: Numeric, as ``getaddrinfo`` returns it.
            host: The name it was resolved from, for the message.

        Raises:
            NetworkRefused: it may not.
        """
        parsed = parse(address)
        for meaning in meanings(parsed):
            reach = _own_reach(meaning)
            if reach is Reach.NEVER:
                raise self._never(address, host or address)
            if reach is Reach.PRIVATE and not self._listed(meaning) and not self._listed(parsed):
                raise self._private(address, host or address, meaning)

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._allowed if network.version == address.version)

    def _never(self, address: str, host: str) -> NetworkRefused:
        return NetworkRefused(
            f"{_named(host, address)} is a link-local, metadata or otherwise special address, "
            "which is never dialled",
            host=host,
            address=address,
            reach=Reach.NEVER,
            cure=None,
        )

    def _private(self, address: str, host: str, meaning: Address) -> NetworkRefused:
        ranges = ", ".join((*self.allow_private, f"{meaning}/{meaning.max_prefixlen}"))
        return NetworkRefused(
            f"{_named(host, address)} is a private address, and network.allow_private does not list it",
            host=host,
            address=address,
            reach=Reach.PRIVATE,
            cure=f"if it is meant, add to the configuration: network: {{allow_private: [{ranges}]}}",
        )


class OnlyHosts(Policy):
    """Nothing but these hosts, whatever their addresses.

    Args:
        hosts: Names or addresses, as they will be asked for.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        super().__init__()
        self._hosts = frozenset(host.strip("[]").lower() for host in hosts)

    def check(self, address: str, host: str | None = None) -> None:
        """Refuse every host but those named.

        Raises:
            NetworkRefused: it is another one.
        """
        asked = (host or address).strip("[]")
        if asked.lower() not in self._hosts:
            raise NetworkRefused(
                f"{_named(asked, address)} is not the service that hands out this machine's credentials",
                host=asked,
                address=address,
                reach=Reach.NEVER,
                cure=None,
            )


def _named(host: str, address: str) -> str:
    return host if host == address else f"{host} ({address})"
