"""Reading the payload for a transfer: what goes wrong there is never the server's fault."""

from __future__ import annotations

from typing import BinaryIO

from conveyor.contract import DeliveryError, ErrorKind


def read_piece(stream: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes; nothing at the end.

    Raises:
        DeliveryError: SOURCE, whatever the stream raises.
    """
    try:
        return stream.read(size)
    except DeliveryError:
        raise
    except Exception as error:
        raise DeliveryError(
            ErrorKind.SOURCE, f"the payload cannot be read ({type(error).__name__})"
        ) from None


def require_length(read: int, size: int) -> None:
    """Raise SOURCE unless the stream had as many bytes as the payload has."""
    if read != size:
        how = "ended early" if read < size else "is longer than it was"
        raise DeliveryError(ErrorKind.SOURCE, f"the payload {how}: {read} of {size} bytes")
