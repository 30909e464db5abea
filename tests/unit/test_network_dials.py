"""No protocol dials what the policy forbids: all spellings of addresses, all that a name may resolve to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from servers import scripted_ftp
from servers.network_reach import ALL, FTP, HTTP, Reach, authority, deliver
from servers.s3_stub import Answer, answering

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import ConveyorError, SubmissionError
from conveyor.network import Network, NetworkRefused
from conveyor.oauth.http import NoAnswer
from conveyor.payloads.sources.web import open_url

PUBLIC, ELSEWHERE = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
NEVER = "169.254.169.254"

LOOPBACK_SPELLED = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1",
    "017700000001", "127.0.0.1.", "１２７.０.０.１", "127。0。0。1", "①②⑦.0.0.1", "127%2e0.0.1", "::1",
    "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:0:127.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100::", "2002:7f00:1::", "2001:0:7f00:1::",
]  # fmt: skip
PRIVATE_SPELLED = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "167772161", "0xa.1", "100.64.0.1", "198.18.0.1", "192.0.2.1",
    "fd00::1", "fc00::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:c0a8:101::1", "100::1",
    "5f00::1",
]  # fmt: skip
NEVER_SPELLED = [
    NEVER, "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.254.170.2", "0.0.0.0",
    "0", "0.1.2.3",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "::", "fe80::1", "fe80::1%lo", "fe80::a9fe:a9fe", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
    "fd00:42::42", "::ffff:169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0", "2002:a9fe:a9fe::", "2001:0:a9fe:a9fe::", "2001:0:808:808::5601:5601",
    "2600::5efe:169.254.169.254",
]  # fmt: skip


class Resolver:
    """Stands in for ``getaddrinfo``: the system's own reads numbers, names have the answers of a test."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        numbers_only = bool(more.get("flags", 0) & socket.AI_NUMERICHOST)
        more["flags"] = more.get("flags", 0) | socket.AI_NUMERICHOST
        with contextlib.suppress(socket.gaierror):
            return self._real(host, port, *args, **more)
        name = host.decode() if isinstance(host, bytes) else host
        if numbers_only:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.asked.append(name)
        left = self.answers.get(name, [[]])
        rows = left.pop(0) if len(left) > 1 else left[0]
        if not rows:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [row for one in rows for row in self._real(one, port, *args, **more)]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that any socket was told to connect to; nobody answers there."""
    dialled: list[str] = []

    def connect(_: socket.socket, address: Any) -> None:
        dialled.append(str(address[0]))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    return dialled


@pytest.fixture(params=ALL.values(), ids=ALL.keys())
def reach(request: pytest.FixtureRequest) -> Reach:
    made: Reach = request.param
    return made


def failure(reach: Reach, network: Network, host: str, port: int = 8080) -> Exception:
    """What reaching for the host ends in; it always fails here."""
    with pytest.raises((ConveyorError, DeliveryError, ValidationError, NoAnswer)) as caught:
        reach(network, host, port)
    return caught.value


def hint(error: Exception) -> str:
    """The cure that the error names."""
    return str(getattr(error, "cure", None) or getattr(error, "hint", None) or "")


@pytest.mark.parametrize(
    ("spelled", "network"),
    [
        (LOOPBACK_SPELLED, Network()),
        (PRIVATE_SPELLED, Network()),
        (LOOPBACK_SPELLED, Network(["10.0.0.0/8"])),
        (NEVER_SPELLED, Network(["0.0.0.0/0", "::/0"])),
    ],
    ids=["loopback", "private", "others are listed", "never"],
)
def test_no_spelling_gets_through(
    reach: Reach, spelled: Sequence[str], network: Network, resolver: Resolver, dialled: list[str]
) -> None:
    for host in spelled:
        error = failure(reach, network, host)
        assert dialled == [], host
        if isinstance(error, DeliveryError) and host == spelled[0]:
            assert error.kind is ErrorKind.CONFIG


def test_the_error_prints_the_line_to_add(reach: Reach, resolver: Resolver, dialled: list[str]) -> None:
    resolver.answers["files.example"] = [["10.1.2.3"]]
    for host in ("10.1.2.3", "files.example"):
        told = hint(failure(reach, Network(["192.168.0.0/16"]), host))
        assert "network: {allow_private: [192.168.0.0/16, 10.1.2.3/32]}" in told
    failure(reach, Network(["192.168.0.0/16", "10.1.2.3/32"]), "files.example")
    assert set(dialled) == {"10.1.2.3"}


def test_a_name_that_rebinds_is_dialled_as_it_was_checked(
    reach: Reach, resolver: Resolver, dialled: list[str]
) -> None:
    resolver.answers["rebinds.example"] = [[PUBLIC], ["127.0.0.1"]]
    failure(reach, Network(), "rebinds.example")
    assert dialled == [PUBLIC]
    assert len(resolver.asked) == 1
    failure(reach, Network(), "rebinds.example")
    assert dialled == [PUBLIC]


def test_a_name_that_was_refused_is_not_asked_again(
    reach: Reach, resolver: Resolver, dialled: list[str]
) -> None:
    resolver.answers["rebinds.example"] = [["127.0.0.1"], [PUBLIC]]
    assert "127.0.0.1/32" in hint(failure(reach, Network(), "rebinds.example"))
    assert dialled == []
    assert len(resolver.asked) == 1


def test_of_mixed_answers_only_the_allowed_are_dialled(
    reach: Reach, resolver: Resolver, dialled: list[str]
) -> None:
    mixed = [
        "127.0.0.1",
        NEVER,
        PUBLIC,
        "::1",
        "::ffff:10.0.0.1",
        ELSEWHERE,
        "64:ff9b::a9fe:a9fe",
        "fe80::1%lo",
    ]
    resolver.answers["mixed.example"] = [mixed]
    failure(reach, Network(), "mixed.example")
    assert dialled == [PUBLIC, ELSEWHERE]
    resolver.answers["inside.example"] = [["10.0.0.1", NEVER, "::1"]]
    failure(reach, Network(), "inside.example")
    assert dialled == [PUBLIC, ELSEWHERE]


@pytest.mark.parametrize("reach", HTTP.values(), ids=HTTP.keys())
def test_a_proxy_is_no_way_around(reach: Reach, resolver: Resolver, dialled: list[str]) -> None:
    network = Network(proxy="http://192.168.7.7:3128")
    for host in (
        *LOOPBACK_SPELLED,
        *PRIVATE_SPELLED,
        *NEVER_SPELLED,
        "localhost",
        "metadata.google.internal",
    ):
        failure(reach, network, host)
        assert dialled == [], host
    failure(reach, network, "files.example")
    assert dialled == ["192.168.7.7"]
    assert resolver.asked == [], "the proxy resolves names"


@pytest.mark.parametrize("proxy", [NEVER, "fe80::1", "metadata.example"])
def test_a_proxy_is_no_metadata_service(proxy: str, resolver: Resolver, dialled: list[str]) -> None:
    resolver.answers["metadata.example"] = [[PUBLIC, NEVER]]
    at = f"[{proxy}]" if ":" in proxy else proxy
    for reach in HTTP.values():
        failure(reach, Network(proxy=f"http://{at}:3128"), "files.example")
    assert dialled == []


def test_the_rule_for_a_destination_is_its_own(resolver: Resolver, dialled: list[str]) -> None:
    base = Network()
    for reach in ALL.values():
        failure(reach, base.allowing(["127.0.0.0/8"]), "127.0.0.1")
        dialled.clear()
        failure(reach, base, "127.0.0.1")
        assert dialled == []


@contextlib.contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses that are really connected to."""
    dialled: list[str] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        dialled.append(str(address[0]))
        real(sock, address)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield dialled


def _pasv(address: str) -> Callable[..., Any]:
    def ftp_PASV(self: Any, line: str) -> None:
        type(self).masquerade_address = address
        type(self).__mro__[1].ftp_PASV(self, line)

    return ftp_PASV


@pytest.mark.parametrize("address", [NEVER, "10.0.0.1", "127.0.0.2", "255.255.255.255", "0.0.0.0"])
def test_a_passive_answer_names_a_port_and_no_address(
    address: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_ftp.start(tmp_path, ftp_PASV=_pasv(address)) as server, recording(monkeypatch) as dialled:
        network = Network(["127.0.0.1/32"])
        options = {**server.options, "protocol": "ftp"}
        deliver(FTP, network, options)
    assert len(dialled) >= 2
    assert set(dialled) == {"127.0.0.1"}
    assert (tmp_path / "a" / "photo.jpg").exists()


@pytest.mark.parametrize("answer", ["229 Entering (|1|10.0.0.1|{port}|)", "229 Entering (|2|::1|{port}|)"])
def test_an_extended_passive_answer_names_a_port_and_no_address(
    answer: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(self: Any, text: str, *args: Any, **more: Any) -> Any:
        if text.startswith("229"):
            text = answer.format(port=text.split("|")[3])
        return type(self).__mro__[1].respond(self, text, *args, **more)

    with (
        scripted_ftp.start(tmp_path, without=("PASV",), respond=respond) as server,
        recording(monkeypatch) as dialled,
    ):
        deliver(FTP, Network(["127.0.0.1/32"]), {**server.options, "protocol": "ftp"})
    assert len(dialled) >= 2
    assert set(dialled) == {"127.0.0.1"}


def test_a_redirect_is_no_way_around(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source's server may send elsewhere, but nowhere that the policy would not dial itself."""
    resolver.answers["inside.example"] = [["10.0.0.1", NEVER]]
    spelled = [*PRIVATE_SPELLED, *NEVER_SPELLED, "::1", "127.0.0.2", "127.2", "0x7f000002", "inside.example"]
    for host in spelled:
        headers = {"Location": f"http://{authority(host, 8080)}/photo.jpg"}
        with answering(Answer(302, headers=headers)) as site, recording(monkeypatch) as dialled:
            with pytest.raises((NetworkRefused, SubmissionError)) as caught:
                open_url(f"{site.url}/photo.jpg", Network(["127.0.0.1/32"]))
        assert dialled == ["127.0.0.1"], host
        assert len(site.requests) == 1
        if host in ("10.0.0.1", "::1", "127.0.0.2", "inside.example"):
            assert isinstance(caught.value, NetworkRefused)


def test_refusals_are_no_network_errors() -> None:
    """Code that retries or swallows OSError must not swallow a refusal."""
    assert not issubclass(NetworkRefused, OSError)
