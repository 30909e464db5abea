"""Signing in as the machine with the real azure-identity: who is asked, and under which policy."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor.network import Network, NetworkRefused
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor.testing.ports import LOOPBACK
from conveyor_connectors.azure_blob.connector import AzureBlobConnector
from conveyor_connectors.azure_blob.identity import machine_identity
from conveyor_connectors.azure_blob.options import AzureBlobOptions

SCOPE = "https://storage.azure.com/.default"


class Host:
    """What App Service lends a program: https://learn.microsoft.com/azure/app-service/overview-managed-identity."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                said = {"access_token": "tok", "expires_on": str(int(time.time()) + 3600), "resource": SCOPE}
                body = json.dumps({**said, "token_type": "Bearer"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self.server.server_port}/msi/token"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def token(network: Network) -> Any:
    credential = machine_identity(network, None)
    try:
        return credential.get_token(SCOPE).token
    finally:
        credential.close()


def test_a_managed_identity_is_asked_where_the_environment_says(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is loopback, which the destination's policy does not allow."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", host.url)
    monkeypatch.setenv("IDENTITY_HEADER", "header-secret")
    assert token(Network()) == "tok"
    path, headers = host.asked[0]
    assert path.startswith("/msi/token?")
    assert headers["x-identity-header"] == "header-secret"


def test_a_workload_identity_obeys_the_policy(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("header.claims.signature")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    monkeypatch.setenv("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000000")
    monkeypatch.setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000001")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", host.url.replace("http:", "https:").replace("/msi/token", ""))
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
    with pytest.raises(NetworkRefused) as refused:
        token(Network())
    assert f"{LOOPBACK}/32" in str(refused.value.cure)
    options = {"container": "photos", "account_url": "https://acct.blob.core.windows.net", "identity": True}
    made = AzureBlobConnector(AzureBlobOptions.model_validate(options), make_env(network=Network()))
    try:
        with pytest.raises(DeliveryError) as told:
            made.deliver(make_parcel(10), Target("a.jpg", ConflictPolicy.OVERWRITE), HarnessContext())
    finally:
        made.close()
    assert (told.value.kind, f"{LOOPBACK}/32" in str(told.value.hint)) == (ErrorKind.CONFIG, True)
    assert host.asked == []
