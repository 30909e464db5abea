"""An http(s) URL as a source, streamed in under the network policy.

Redirects are followed by hand, five at most: each new address is resolved and checked by the policy like the
first, credentials stay with the host they were given for, and https never becomes http.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from conveyor.errors import SubmissionError
from conveyor.network.lifeline import within
from conveyor.payloads.sources.media import DEFAULT_TYPE, base_name, guess, valid
from conveyor.payloads.sources.source import Source, nothing
from conveyor.payloads.watched import Watched

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from conveyor.network import Network

_REDIRECTS: Final = 5
_REDIRECT_CODES: Final = frozenset({301, 302, 303, 307, 308})
_EXTENDED_NAME: Final = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
_CONNECT: Final = 10.0
_IDLE: Final = 60.0
_ANSWER: Final = 90.0
"""Seconds until the file begins, redirects included."""
_MIN_RATE: Final = 32 * 1024
"""Bytes per second that a download must keep up after its first minute, or it would never end."""


def open_url(url: str, network: Network, *, monotonic: Callable[[], float] = time.monotonic) -> Source:
    """Open a URL; the body is streamed when the source is read.

    Args:
        url: http or https. Credentials in it are sent as Basic authentication, and to that host alone.
        network: The policy that every address, also a redirect's, must pass.
        monotonic: For the download's minimum speed.

    Raises:
        SubmissionError: The server refuses, is unreachable, or redirects to where it must not.
        NetworkRefused: The policy forbids the address.
    """
    from urllib3.exceptions import HTTPError, ProtocolError

    try:
        label = shown(url)
    except ValueError as error:  # its text tells a host or port at most
        raise SubmissionError(f"this is no URL: {error}", cure="check how it is written") from None
    pool = network.pool(connections=1, connect_timeout=_CONNECT, read_timeout=_IDLE)
    try:
        with within(_ANSWER) as lifeline:
            response, url = _follow(pool, url, label)
        if lifeline.over:  # what was cut within the headers looks like their end
            raise ProtocolError
        size = _length(response, label)
    except HTTPError as error:
        pool.clear()
        why = f"no answer within {_ANSWER:.0f} s" if lifeline.over else _reason(error)
        raise SubmissionError(f"{label} cannot be fetched: {why}") from None
    except ValueError as error:
        pool.clear()
        raise SubmissionError(f"{label} leads to what is no URL: {error}") from None
    except BaseException:
        pool.clear()
        raise

    def release() -> None:
        response.close()
        pool.clear()

    name = _name(response.headers.get("Content-Disposition"), url)
    media_type = valid(response.headers.get("Content-Type"))
    if media_type in (None, DEFAULT_TYPE):
        media_type = guess(name or "")
    stream = Watched(_Download(response, label, monotonic), size, nothing, label)
    return Source(name, media_type or DEFAULT_TYPE, size, stream, nothing, release, label)


class _Download:
    """``readinto`` of an answer, with an eye on its speed."""

    def __init__(self, response: BaseHTTPResponse, label: str, monotonic: Callable[[], float]) -> None:
        self._response = response
        self._label = label
        self._monotonic = monotonic
        self._started = monotonic()
        self._count = 0

    def __call__(self, buffer: memoryview) -> int:
        from urllib3.exceptions import HTTPError

        try:
            data = self._response.read1(len(buffer))  # whatever has come, so that dribbling is noticed
        except (HTTPError, OSError) as error:
            raise SubmissionError(
                f"{self._label} broke off after {self._count} bytes: {_reason(error)}", cure="submit it again"
            ) from None
        self._count += len(data)
        elapsed = self._monotonic() - self._started
        if data and self._count < (elapsed - _IDLE) * _MIN_RATE:
            raise SubmissionError(f"{self._label} comes too slowly: {self._count} bytes in {elapsed:.0f} s")
        buffer[: len(data)] = data
        return len(data)


def shown(url: str) -> str:
    """The URL for messages and the record: no credentials, no query (it may be a signed link)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _follow(pool: Any, url: str, label: str) -> tuple[BaseHTTPResponse, str]:
    """GET, following redirects; returns the answer and the URL it came from."""
    for _ in range(_REDIRECTS + 1):
        bare, headers = _without_credentials(url)
        response: BaseHTTPResponse = pool.request(
            "GET", bare, headers=headers, preload_content=False, decode_content=False
        )
        if response.status == 200:
            return response, bare
        location = response.headers.get("Location")
        response.close()
        if response.status not in _REDIRECT_CODES or not location:
            raise SubmissionError(f"{label} answers {response.status}", cure="check the URL in a browser")
        target = urljoin(bare, location)
        if not target.startswith(("https://", "http://")) or (
            bare.startswith("https://") and not target.startswith("https://")
        ):
            raise SubmissionError(f"{label} redirects to where it must not: {shown(target)}")
        url = _with_credentials(target, url)
    raise SubmissionError(f"{label} redirects more than {_REDIRECTS} times")


def _with_credentials(target: str, origin: str) -> str:
    """The redirect's target, with the origin's credentials when it is the same scheme, host and port."""
    old, new = urlsplit(origin), urlsplit(target)
    userinfo, at, host = old.netloc.rpartition("@")
    if at and (new.scheme, new.netloc) == (old.scheme, host):
        return urlunsplit((new.scheme, f"{userinfo}@{host}", new.path, new.query, ""))
    return target


def _without_credentials(url: str) -> tuple[str, dict[str, str]]:
    from urllib3.util import make_headers

    parts = urlsplit(url)
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "conveyor"}
    userinfo, at, host = parts.netloc.rpartition("@")
    if at:
        headers |= make_headers(basic_auth=unquote(userinfo))
    return urlunsplit((parts.scheme, host, parts.path, parts.query, "")), headers


def _length(response: BaseHTTPResponse, label: str) -> int | None:
    """What Content-Length announces; a compressed answer would have another length than the file."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        response.close()
        raise SubmissionError(f"{label} answers compressed ({encoding}) although asked not to")
    text = response.headers.get("Content-Length", "")
    if re.fullmatch(r"\d{1,18}", text):
        return int(text)
    if response.headers.get("Transfer-Encoding", "").lower() != "chunked":
        # It would end with the connection: half a file, or half the headers, could not be told from a whole.
        response.close()
        raise SubmissionError(
            f"{label} does not say how long the file is", cure="download it, and submit the file"
        )
    return None


def _name(disposition: str | None, url: str) -> str | None:
    """The file name of Content-Disposition (RFC 6266, also ``filename*``), else of the URL's path."""
    if disposition and (extended := _EXTENDED_NAME.search(disposition)):
        if name := base_name(unquote(extended[2], encoding=extended[1].lower(), errors="replace")):
            return name
    elif disposition:
        message = Message()
        message["Content-Disposition"] = disposition.encode("latin-1", "replace").decode("ascii", "replace")
        given = message.get_filename()
        if given and (name := base_name(given)):
            return name
    return base_name(unquote(urlsplit(url).path))


def _reason(error: BaseException) -> str:
    """The cause in a few words, without urllib3's object addresses."""
    text = re.sub(r"<[^>]*>:? ?|\(?Caused by.*", "", str(error)).strip(" :'\"")
    return text.rpartition("object at")[2][:200] or type(error).__name__
