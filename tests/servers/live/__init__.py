"""Real accounts, named by the environment, for the suites that are marked ``live``: docs/live-accounts.md.

A variable is an option of the destination type: ``CONVEYOR_LIVE_S3_BUCKET`` is the ``bucket`` of ``s3``.
Types with a sign-in take ``TOKEN`` besides, an access token. Each type's module makes a bench of what is
given, with an observer that goes a way of its own, in a folder of its own that is removed at the end. S3 and
Azure Blob have no folders: there it is a bucket or container whose name says that it may be emptied.
"""

from __future__ import annotations

import os
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from conveyor.contract import ConnectorSpec
from conveyor.testing import Bench, Observer
from conveyor.testing.plugin import UNSET

NAME = "conveyor-live-test"
"""How all begins that a live suite may empty or remove."""
TOKEN = "token"
MIB = 1 << 20
NO_PROXY = "the account is reached over TLS, which the suite's proxy cannot stand in for"
NO_TROUBLE = "a real account cannot be brought into this state"
ABILITIES = ("wrong_credentials", "missing_place", "forbidden", "full", "throttle")


@dataclass(frozen=True)
class Account:
    """What the environment says of a type's account.

    Attributes:
        type: The destination type.
        needed: Options without which there is no account; ``a|b`` is one of the two.
        optional: Further ones.
    """

    type: str
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()

    def variable(self, option: str) -> str:
        """The variable's name."""
        return f"CONVEYOR_LIVE_{self.type}_{option}".upper()

    def variables(self) -> dict[str, str]:
        """Every variable, and the option it is."""
        options = [option for each in (*self.needed, *self.optional) for option in each.split("|")]
        return {self.variable(option): option for option in options}

    def given(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The options that are set.

        Skips the test when none is; fails it, naming what is missing, when only some of the needed are.
        """
        found = {o: environment[v] for v, o in self.variables().items() if environment.get(v)}
        missing = [each for each in self.needed if not any(option in found for option in each.split("|"))]
        told = ", ".join(" or ".join(map(self.variable, each.split("|"))) for each in missing)
        if not found:
            pytest.skip(UNSET + told)
        if missing:
            pytest.fail(f"the account of {self.type} is named by halves; missing: {told}", pytrace=False)
        return found


ACCOUNTS = {
    account.type: account
    for account in (
        Account("azure_blob", ("account_url", "container", "sas_token|account_key"), ("ca_bundle",)),
        Account("box", (TOKEN,), ("folder_id", "api_url", "upload_url")),
        Account("dropbox", (TOKEN,), ("api_url", "content_url")),
        Account("ftp", ("host", "username", "password"), ("port", "remote_path")),
        Account(
            "ftps", ("host", "username", "password"), ("port", "remote_path", "implicit", "ca_file")
        ),
        Account("google_drive", (TOKEN,), ("folder_id", "api_url")),
        Account("onedrive", (TOKEN,), ("drive_id", "graph_url")),
        Account(
            "s3",
            ("bucket", "access_key", "secret_key"),
            ("endpoint", "region", "session_token", "addressing", "ca_bundle"),
        ),
        Account(
            "sftp",
            ("host", "username", "host_key", "private_key|password"),
            ("port", "remote_path", "passphrase"),
        ),
        Account("webdav", ("url", "username", "password"), ("remote_path", "auth", "ca_bundle")),
    )
}  # fmt: skip


class LiveObserver(Observer):
    """Looks at a place that is the suite's own."""

    @abstractmethod
    def remove(self) -> None:
        """Leave nothing behind at the account, and close what is open."""


def own() -> str:
    """A name for a folder that nobody else has."""
    return f"{NAME}-{uuid.uuid4().hex[:12]}"


def expect_own(what: str, name: str) -> None:
    """Refuse to work in a bucket or container that may hold somebody's files.

    Raises:
        LookupError: Its name does not begin with :data:`NAME`.
    """
    if not name.startswith(NAME):
        raise LookupError(f"the {what} is called {name}; it will only be emptied if that begins with {NAME}")


@contextmanager
def live(
    spec: ConnectorSpec, options: Mapping[str, Any], observer: LiveObserver, **fields: Any
) -> Iterator[Bench]:
    """A bench of a real account: what it cannot bring about is declared with the reason.

    Args:
        spec: The connector's.
        options: Where to, and as whom.
        observer: The second route; its place is removed at the end.
        fields: What else the bench can do.
    """
    lacking = {"address": NO_PROXY, "through": NO_PROXY} | dict.fromkeys(ABILITIES, NO_TROUBLE)
    made: dict[str, Any] = {
        "big": 40 * MIB,
        "memory_limit": 32 * MIB,
        "quiet": 2.0,
        "stall_deadline": 10.0,
        "release_time": 30.0,
        **fields,
        "unavailable": {**lacking, **fields.get("unavailable", {})},
    }
    try:
        yield Bench(spec=spec, options=options, observer=observer, **made)
    finally:
        observer.remove()
