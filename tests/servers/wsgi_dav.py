"""wsgidav on cheroot (wheels: wsgidav, cheroot): writes in place, and knows Basic and Digest."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager

from servers.dav import BASE, LOOPBACK, PASSWORD, USERNAME, DavServer, attempts
from servers.process import folder, listening, program, running

PACKAGE = "wsgidav"
READ_ONLY = "/readonly"
DIGEST = ("digester", "conveyor-digest-password")
"""User and password for Digest, where nobody agrees on what to do with other characters than ASCII."""


def available() -> bool:
    found = all(importlib.util.find_spec(name) is not None for name in ("wsgidav", "cheroot"))
    return found and program("wsgidav") is not None


@contextmanager
def start() -> Iterator[DavServer]:
    with attempts(_start) as server:
        yield server


@contextmanager
def _start(port: int) -> Iterator[DavServer]:
    with folder("wsgidav") as home:
        root = home / "data"
        root.mkdir()
        (home / "readonly").mkdir()
        config = home / "wsgidav.json"
        config.write_text(
            json.dumps(
                {
                    "host": LOOPBACK,
                    "port": port,
                    "provider_mapping": {
                        BASE: str(root),
                        READ_ONLY: {"root": str(home / "readonly"), "readonly": True},
                    },
                    "http_authenticator": {
                        "accept_basic": True,
                        "accept_digest": True,
                        "default_to_digest": True,
                    },
                    "simple_dc": {
                        "user_mapping": {
                            "*": {
                                USERNAME: {"password": PASSWORD},
                                DIGEST[0]: {"password": DIGEST[1]},
                            }
                        }
                    },
                    "hotfixes": {"re_encode_path_info": True},
                    "logging": {"enable": False},
                    "verbose": 1,
                }
            )
        )
        argv = ["wsgidav", "--config", str(config), "--server", "cheroot", "--no-config-banner"]
        with running(argv[:-1], log=home / "log", ready=listening(port)):
            yield DavServer("wsgidav", LOOPBACK, port, root, read_only=READ_ONLY)
