"""Where the container is and how to sign in, read from the forms in which Azure hands it out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

_PARTS = {
    "defaultendpointsprotocol", "accountname", "accountkey", "sharedaccesssignature", "endpointsuffix",
    "blobendpoint", "blobsecondaryendpoint", "queueendpoint", "queuesecondaryendpoint", "fileendpoint",
    "filesecondaryendpoint", "tableendpoint", "tablesecondaryendpoint", "dfsendpoint", "webendpoint",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """One storage account as a destination names it.

    Attributes:
        url: The blob endpoint, without a query and without a slash at its end.
        name: The account's name, which a key's signature needs.
        key: Account key, base64.
        sas: Shared access signature, without ``?``.
        container: The container, where the form names one.
    """

    url: str
    name: str | None = None
    key: str | None = field(default=None, repr=False)
    sas: str | None = field(default=None, repr=False)
    container: str | None = None


def from_connection_string(text: str) -> Account:
    """The account of a connection string, as the portal shows it.

    Raises:
        ValueError: it is not one. The message quotes no value.
    """
    parts = _pairs(text)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        raise ValueError("UseDevelopmentStorage is short for the emulator: write out its BlobEndpoint")
    if unknown := sorted(parts.keys() - _PARTS - {"usedevelopmentstorage"}):
        raise ValueError(f"is no connection string: {unknown[0][:40]!r} does not belong there")
    name, key = parts.get("accountname"), parts.get("accountkey")
    sas = parts.get("sharedaccesssignature", "").lstrip("?") or None
    url = parts.get("blobendpoint")
    if url is None:
        if not name:
            raise ValueError("is no connection string: it has neither BlobEndpoint nor AccountName")
        scheme = parts.get("defaultendpointsprotocol", "https")
        url = f"{scheme}://{name}.blob.{parts.get('endpointsuffix', 'core.windows.net')}"
    if key is None and sas is None:
        raise ValueError("has neither AccountKey nor SharedAccessSignature; copy all of it")
    url = endpoint(url)
    if key is not None:
        check_key(key)
        name = name or name_in(url)
    return Account(url, name, key, None if key else sas)


def from_sas_url(text: str) -> Account:
    """The account of a SAS URL, of the account or of a container.

    Raises:
        ValueError: it is not one. The message quotes no value.
    """
    parts = urlsplit(text)
    query = parse_qs(parts.query)
    if "sig" not in query:
        raise ValueError("has no signature (sig=…): copy the whole SAS URL")
    if query.get("sr") == ["b"]:
        raise ValueError("is signed for one blob; create one for the container")
    url = endpoint(f"{parts.scheme}://{parts.netloc}{parts.path}")
    segments = [unquote(segment) for segment in urlsplit(url).path.split("/") if segment]
    first = 1 if name_in(url) in segments[:1] else 0  # path style, as emulators have it
    if len(segments) > first + 1:
        raise ValueError("names more than a container; path_template says where in it files go")
    container = segments[first] if len(segments) > first else None
    if container is not None:
        url = url[: url.rindex("/")]
    return Account(url, None, None, parts.query, container)


def endpoint(url: str) -> str:
    """The URL of a blob endpoint, checked.

    Raises:
        ValueError: it is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://myaccount.blob.core.windows.net")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment; a SAS URL goes into sas_url")
    return url.rstrip("/")


def check_key(key: str) -> None:
    """Refuse what cannot be an account key.

    Raises:
        ValueError: it is not base64. The message does not quote it.
    """
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ValueError("the account key must be base64: copy all of it") from None


def name_in(url: str) -> str | None:
    """The account's name as its endpoint tells it: first label of the host, else first level of the path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ".blob." in host:
        return host.partition(".")[0]
    if host == "localhost" or host.replace(".", "").isdigit() or ":" in host:
        return parts.path.strip("/").split("/")[0] or None
    return None


def _pairs(text: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.strip().split(";") if part.strip()]
    if not pairs or any(not sign for _, sign, _ in pairs):
        raise ValueError("is no connection string: it consists of Name=value, separated by ;")
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
