"""A look into the demo's bucket by plain HTTP: another way than the connector's.

moto wants to see an Authorization header and does not check what it says.
"""

from __future__ import annotations

import urllib.request
from urllib.parse import quote
from xml.etree import ElementTree

_LOGIN = (
    "AWS4-HMAC-SHA256 Credential=look/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
_SPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is not for a proxy that the environment may name."""


class Look:
    """One bucket.

    Args:
        url: The server's.
        bucket: Its name.
    """

    def __init__(self, url: str, bucket: str) -> None:
        self._url = f"{url}/{bucket}"

    def create(self) -> None:
        """Make the bucket."""
        self._ask("PUT", self._url)

    def files(self) -> dict[str, bytes]:
        """Everything in the bucket, by key."""
        listing = ElementTree.fromstring(self._ask("GET", f"{self._url}?list-type=2"))
        keys = [key.text or "" for key in listing.iter(f"{_SPACE}Key")]
        return {key: self._ask("GET", f"{self._url}/{quote(key)}") for key in keys}

    def _ask(self, method: str, url: str) -> bytes:
        request = urllib.request.Request(url, method=method, headers={"Authorization": _LOGIN})
        with _DIRECT.open(request, timeout=10) as answer:
            body: bytes = answer.read()
        return body
