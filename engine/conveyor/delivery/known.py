"""What attempts need of a destination, worked out once for each revision of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor.redact import Redactor, secrets_of

if TYPE_CHECKING:
    from conveyor.config import Destination


@dataclass(frozen=True, slots=True)
class Known:
    """One revision of a destination.

    Attributes:
        revision: Of the destination.
        endpoint: :func:`endpoint_of` it.
        redact: Hides its secrets.
    """

    revision: str
    endpoint: str
    redact: Redactor


class KnownDestinations:
    """Remembers the newest revision of each destination that this process has served."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def __call__(self, destination: Destination) -> Known:
        """What is known of a destination."""
        known = self._known.get(destination.id)
        if known is None or known.revision != destination.revision:
            known = Known(
                destination.revision, endpoint_of(destination), Redactor(secrets_of(destination.options))
            )
            self._known[destination.id] = known
        return known


def endpoint_of(destination: Destination) -> str:
    """Where a destination is, without its secrets: what saved state belongs to."""
    options = destination.options
    # Secret values are dumped as stars: a rotated token is the same place.
    plain = None if options is None else options.model_dump(mode="json")
    return hashlib.sha256(
        json.dumps([destination.type, plain], sort_keys=True, default=str).encode()
    ).hexdigest()
