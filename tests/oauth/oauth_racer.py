"""One process of the race for a login: threads that take tokens, use them, and say when a login is lost.

``python oauth_racer.py LEDGER KEYFILE SERVER ROTATION|box THREADS``; prints ``used`` or ``lost MESSAGE``.
"""

from __future__ import annotations

import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conveyor.clock import SystemClock
from conveyor.contract import (
    AccountQuestion,
    ConnectorSpec,
    DeliveryError,
    ErrorKind,
    OAuthOptions,
    OAuthProvider,
    Rotation,
)
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.oauth.connections import Connections
from conveyor.registry import Registry
from conveyor.testing.harness import LogRecorder
from conveyor.testing.simulation import destination


def use(account: str, value: str) -> int:
    where = urlsplit(account)
    connection = HTTPConnection(where.netloc, timeout=20)
    try:
        connection.request("GET", where.path, headers={"Authorization": f"Bearer {value}"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def work(source: Any, account: str) -> None:
    while True:
        try:
            token = source.token()
            if use(account, token.value) == 401:
                token = source.rejected(token)
                use(account, token.value)
            print("used", flush=True)
        except DeliveryError as error:
            if error.kind is not ErrorKind.TRANSIENT:
                print("lost", error.message, flush=True)
                return
        time.sleep(0.05)


def generic(server: str, rotation: str) -> tuple[ConnectorSpec, OAuthProvider, OAuthOptions, str]:
    provider = OAuthProvider(
        name="acme",
        title="Acme",
        authorize_url=f"{server}/authorize",
        token_url=f"{server}/token",
        account=AccountQuestion(f"{server}/me"),
        rotation=Rotation(rotation),
    )
    spec = ConnectorSpec("acme", "A test.", "none:none", "none:none", oauth="acme")
    options = OAuthOptions(client_id="app-1", client_secret="app-secret-7f3a")
    return spec, provider, options, f"{server}/me"


def box(server: str) -> tuple[ConnectorSpec, OAuthProvider, OAuthOptions, str]:
    from conveyor_connectors.box.options import BoxOptions
    from conveyor_connectors.box.provider import PROVIDER
    from conveyor_connectors.box.spec import SPEC

    options = BoxOptions(
        client_id="app-1", client_secret="app-secret-7f3a", token_url=f"{server}/oauth2/token"
    )
    return SPEC, PROVIDER, options, f"{server}/2.0/users/me"


def main(ledger: str, key: str, server: str, kind: str, threads: str) -> None:
    spec, provider, options, account = box(server) if kind == "box" else generic(server, kind)
    clock = SystemClock()
    opened = open_ledger(ledger, clock=clock, keyring=Keyring.load(file=Path(key)))
    connections = Connections(opened, Registry([spec], providers=[provider]), clock, LogRecorder())
    source = connections.tokens(destination("d", spec=spec, options=options))
    workers = [threading.Thread(target=work, args=(source, account)) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
