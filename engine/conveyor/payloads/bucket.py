"""Buckets through obstore: from a URL and options to a client, from its errors to ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from conveyor.errors import PayloadError
from conveyor.version import requirement

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CLIENT = frozenset({"allow_http", "connect_timeout", "read_timeout", "proxy_url", "user_agent"})
"""Options of the HTTP client rather than of the service."""

_ENDPOINTS = ("endpoint", "base_url", "aws_endpoint", "azure_endpoint")

_PATIENCE: dict[str, Any] = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "7d"}
"""The time a whole transfer may take is limited by the attempt, not here."""

_RETRIES: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}
"""More is for the delivery's own schedule."""

_CURE = "check bucket, login and network of `payloads:`; work goes on when the store answers again"


def open_bucket(
    url: str, options: Mapping[str, str], *, ca_bundle: Path | None = None, proxy: str | None = None
) -> tuple[ObjectStore, str]:
    """A client for the bucket of a URL, below the URL's path; nothing is dialled.

    Args:
        url: ``s3://bucket/prefix?option=value``.
        options: Those of obstore: ``access_key_id``, ``secret_access_key``, ``region``, ``endpoint``;
            ``account_name``, ``account_key``, ``sas_token``; ``service_account_key`` … What is missing comes
            from the environment (``AWS_…``, ``AZURE_…``, ``GOOGLE_…``) or the machine's own identity.
        ca_bundle: Certificate authorities to trust.
        proxy: HTTP proxy.

    Returns:
        The client, and the bucket's name for people, without any option.

    Raises:
        PayloadError: obstore is missing, or an option means nothing.
    """
    parts = urlsplit(url)
    name = f"{parts.scheme}://{parts.netloc}{parts.path}"
    given = {**dict(parse_qsl(parts.query)), **options}
    client: dict[str, Any] = {**_PATIENCE, **{key: given.pop(key) for key in _CLIENT & set(given)}}
    if parts.scheme == "s3" and not {"checksum_algorithm", "aws_checksum_algorithm"} & set(given):
        given["checksum_algorithm"] = "sha256"  # the service refuses a part that arrives damaged
    if any(given.get(key, "").startswith("http://") for key in _ENDPOINTS):
        client.setdefault("allow_http", True)
    if proxy is not None:
        client.setdefault("proxy_url", proxy)
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ModuleNotFoundError as error:
        raise PayloadError(
            f"payloads in {name} need obstore", cure=f"pip install '{requirement('stores')}'"
        ) from error
    try:
        if ca_bundle is not None:
            client["root_certificate"] = ca_bundle.read_bytes()
        from_url: Any = store.from_url  # its overloads want to know which service it is
        bucket = from_url(name, config=given, client_options=client, retry_config=_RETRIES)
    except (BaseError, OSError, ValueError) as error:
        raise PayloadError(
            f"payloads in {name}: {said(error)}", cure="check `payloads:` and `payload_options:`"
        ) from None
    return bucket, name


def said(error: Exception) -> str:
    """What a service said, in one line; without queries, which may hold signatures."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", line)[:300]


def bucket_error(error: Exception, name: str, doing: str) -> PayloadError:
    """What the store could not do, and what helps."""
    return PayloadError(f"the payload store {name} could not {doing}: {said(error)}", cure=_CURE)


@contextlib.contextmanager
def bucket_errors(name: str, doing: str) -> Iterator[None]:
    """Turn what obstore raises into a PayloadError; an object that is not there stays FileNotFoundError."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(said(error)) from None
    except (BaseError, OSError) as error:
        raise bucket_error(error, name, doing) from None
