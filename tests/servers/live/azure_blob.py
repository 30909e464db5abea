"""A container of Azure Blob Storage."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.azure_blob.errors import classify
from conveyor_connectors.azure_blob.spec import SPEC
from servers.azure_bench import LARGE, ContainerObserver
from servers.azure_errors import sdk_exceptions
from servers.live import MIB, LiveObserver, expect_own, live, own

UNKNOWN = base64.b64encode(b"a key or signature of nobody's..").decode()
UNSEEN = "a shared access signature cannot look at the container itself, which check() tells as a step undone"


class OwnContainerObserver(ContainerObserver, LiveObserver):
    """A container that is the suite's own."""

    def __init__(self, given: Mapping[str, str]) -> None:
        from azure.storage.blob import ContainerClient

        expect_own("container", given["container"])
        way = "sas_token" if "sas_token" in given else "account_key"
        super().__init__(
            ContainerClient(
                given["account_url"],
                given["container"],
                credential=given[way],
                connection_verify=given.get("ca_bundle", True),
            )
        )
        self.wipe()

    def remove(self) -> None:
        """Empty the container, which stays."""
        self.wipe()
        self.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the container; ``given`` is what the environment names."""
    by_signature = "sas_token" in given
    wrong = {"sas_token": _forged(given["sas_token"])} if by_signature else {"account_key": UNKNOWN}
    fields: dict[str, Any] = {}
    if by_signature:
        # A signature for one container is a wrong one at another.
        fields["expected"] = {"missing_place": frozenset({"AUTH_REVOKED", "CONFIG"})}
        fields["exempt"] = {"test_check_is_content_and_leaves_nothing": UNSEEN}
    with live(
        SPEC,
        {**given, "single_put": MIB, "block_size": MIB},
        OwnContainerObserver(given),
        wrong_credentials=wrong,
        missing_place={"container": own()},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        large=LARGE,
        **fields,
    ) as bench:
        yield bench


def _forged(token: str) -> str:
    """The same rights, signed by nobody."""
    from urllib.parse import quote

    parts = [part for part in token.removeprefix("?").split("&") if not part.startswith("sig=")]
    return "&".join([*parts, "sig=" + quote(UNKNOWN, safe="")])
