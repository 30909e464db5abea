"""A strict provider, a ledger, and destinations that sign in there; time is a fake clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import oauth_server
from servers.oauth_rules import CLIENT, SECRET, Rules
from servers.oauth_server import OAuthServer

from conveyor.clock import SECOND, micros
from conveyor.config import Destination
from conveyor.contract import (
    ConnectorSpec,
    DeliveryError,
    ErrorKind,
    OAuthOptions,
    OAuthProvider,
    Token,
)
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.connections import Tokens
from conveyor.oauth.connections import Connections
from conveyor.oauth.contract import TokenForm
from conveyor.oauth.login import LEASE
from conveyor.registry import Registry
from conveyor.testing import FakeClock
from conveyor.testing.harness import LogRecorder
from conveyor.testing.simulation import destination

SPEC = ConnectorSpec(
    type="acme",
    summary="A test.",
    factory="none:none",
    options="conveyor.contract:OAuthOptions",
    oauth="acme",
)


class ServiceOptions(OAuthOptions):
    """Options with an unattended sign-in."""

    unattended: str = ""
    skew: float = 0.0


def _broken() -> dict[str, str]:
    raise DeliveryError(ErrorKind.CONFIG, "the key cannot be used")


def unattended(options: Any, now: float, token_url: str) -> TokenForm | None:
    """What a plugin's ``OAuthProvider.unattended`` does."""
    if getattr(options, "unattended", "") == "client":
        secret = options.client_secret.get_secret_value()
        return {"grant_type": "client_credentials", "client_id": options.client_id, "client_secret": secret}
    if getattr(options, "unattended", "") == "assertion":
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return lambda: {"grant_type": grant, "assertion": f"signed@{now + options.skew}"}
    if getattr(options, "unattended", "") == "broken":
        return _broken
    return None


class OAuthKit:
    """What the tests do again and again."""

    def __init__(self, folder: Path, server: OAuthServer, clock: FakeClock) -> None:
        self.server, self.rules, self.clock = server, server.rules, clock
        self.path = folder / "ledger.db"
        keyring = Keyring.load(file=folder / "key", create=True)
        self.ledger = open_ledger(f"sqlite:///{self.path}", clock=clock, keyring=keyring)
        self.log = LogRecorder()
        self.reset()

    def reset(self, **provider: Any) -> None:
        """Announce the provider anew, with changes."""
        self.provider: OAuthProvider = self.server.provider(
            **{"unattended": f"{unattended.__module__}:unattended", **provider}
        )
        self.registry = Registry([SPEC], providers=[self.provider])
        self.connections = self.process()

    def process(self, lease: float = LEASE) -> Connections:
        """The logins of another process."""
        return Connections(self.ledger, self.registry, self.clock, self.log, lease=lease)

    def destination(self, name: str = "d", **options: Any) -> Destination:
        return destination(name, spec=SPEC, options=self.options(**options))

    def options(self, **options: Any) -> ServiceOptions:
        return ServiceOptions(**{"client_id": CLIENT, "client_secret": SECRET, **options})

    def tokens(self, connections: Connections | None = None, name: str = "d", **options: Any) -> Any:
        """The source of a destination."""
        return (connections or self.connections).tokens(self.destination(name, **options))

    def connect(self, name: str = "d", life: float | None = None) -> Token:
        """Sign in by the back door."""
        access, refresh = self.server.sign_in()
        now = self.clock.now()
        self.ledger.connections.put(
            name,
            "acme",
            Tokens(access, refresh),
            expires_at=now + micros(self.rules.life if life is None else life),
            scopes=("files.write",),
            account=("id-ann", "ann@example.org"),
            now=now,
        )
        return Token(access, 1, now / SECOND + self.rules.life)

    def secrets(self, name: str = "d") -> Tokens:
        record = self.ledger.connections.get(name)
        assert record is not None
        return self.ledger.connections.open(record)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kit(tmp_path: Path, clock: FakeClock) -> Iterator[OAuthKit]:
    with oauth_server.start(Rules(clock=clock.time)) as server:
        made = OAuthKit(tmp_path, server, clock)
        with made.ledger:
            yield made
