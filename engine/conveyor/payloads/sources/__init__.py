"""What can be submitted: a file, bytes, a stream, or the URL of a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from conveyor.errors import SubmissionError
from conveyor.payloads.sources.local import open_bytes, open_file, open_stream
from conveyor.payloads.sources.source import Source

if TYPE_CHECKING:
    from conveyor.network import Network

__all__ = ["AnySource", "Source", "is_url", "open_source"]

AnySource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def is_url(source: object) -> bool:
    """Whether this is text that names a URL rather than a path."""
    return isinstance(source, str) and _SCHEME.match(source) is not None


def open_source(source: AnySource, network: Network | None = None) -> Source:
    """Open whatever is submitted.

    Args:
        source: A path, an http(s) URL, bytes, or a binary stream (read from where it stands, not closed).
        network: The policy for URLs; without one they are refused.

    Raises:
        SubmissionError: It cannot be read, or the URL cannot be fetched.
        UsageError: It is a folder.
        NetworkRefused: The policy forbids the URL's address.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return open_bytes(bytes(source))
    if isinstance(source, str) and (scheme := _SCHEME.match(source)):
        return _open_url(source, scheme.group(1).lower(), network)
    if isinstance(source, str | os.PathLike):
        return open_file(Path(source))
    if callable(getattr(source, "read", None)):
        return open_stream(source)
    raise SubmissionError(
        f"a {type(source).__name__} cannot be submitted", cure="give a path, a URL, bytes or a stream"
    )


def _open_url(url: str, scheme: str, network: Network | None) -> Source:
    if scheme not in ("http", "https"):
        raise SubmissionError(f"{scheme}:// cannot be submitted", cure="http://, https:// and paths can")
    if network is None:
        raise SubmissionError("URLs cannot be submitted without a network policy")
    from conveyor.payloads.sources.web import open_url

    return open_url(url, network)
