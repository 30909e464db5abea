"""Azurite, Microsoft's own emulator of Azure Blob Storage (npm: azurite)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conveyor.testing.ports import LOOPBACK, free_port
from servers import npm
from servers.process import ATTEMPTS, NotReady, folder, listening, running
from servers.tls import Certificates, make_certificates

PACKAGE = "azurite (npm; scripts/npm.sh now)"

ACCOUNT = "conveyortest"
KEY = base64.b64encode(b"a key of the Conveyor test account").decode()
WRONG_KEY = base64.b64encode(b"another key, which nobody has given").decode()


@dataclass(frozen=True)
class Azurite:
    """A running Azurite with one account; ``certificates`` when it speaks TLS."""

    host: str
    port: int
    certificates: Certificates | None = None

    @property
    def url(self) -> str:
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """The account's endpoint behind another address, a proxy's."""
        return f"{'https' if self.certificates else 'http'}://{host}:{port}/{ACCOUNT}"

    def connection_string(self, url: str | None = None, key: str = KEY) -> str:
        return f"AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={url or self.url};"

    def client(self, container: str) -> Any:
        """A client of the test's own, for the second route."""
        from azure.storage.blob import ContainerClient

        return ContainerClient(
            self.url,
            container,
            credential={"account_name": ACCOUNT, "account_key": KEY},
            retry_total=0,
            connection_verify=str(self.certificates.ca) if self.certificates else True,
        )

    def sas(self, container: str, allowed: str) -> str:
        """A signature for the container with these permissions: ``"racwdl"``."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        return generate_container_sas(
            ACCOUNT,
            container,
            account_key=KEY,
            permission=ContainerSasPermissions.from_string(allowed),
            expiry=datetime.now(UTC) + timedelta(hours=2),
        )


def available() -> bool:
    return npm.available("azurite")


@contextmanager
def start(*, secure: bool = False) -> Iterator[Azurite]:
    """``secure``: over TLS only, and tokens are accepted (their signature is not checked)."""
    with folder("azurite") as home:
        certificates = make_certificates(home) if secure else None
        for attempt in range(ATTEMPTS):
            server = Azurite(LOOPBACK, free_port(), certificates)
            try:
                with running(
                    [npm.node() or "node", *_arguments(server, home)],
                    log=home / "log",
                    ready=listening(server.port),
                    env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
                ):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


def _arguments(server: Azurite, home: Path) -> list[str]:
    secure = server.certificates
    return [
        str(npm.MODULES / "azurite" / "dist" / "src" / "blob" / "main.js"),
        *("--blobHost", server.host, "--blobPort", str(server.port), "--location", str(home)),
        *("--silent", "--skipApiVersionCheck", "--disableProductStyleUrl", "--disableTelemetry"),
        *(
            ("--cert", str(secure.certificate), "--key", str(secure.key), "--oauth", "basic")
            if secure
            else ()
        ),
    ]
