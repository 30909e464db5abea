"""TLS contexts: verifying by default, made once per set of authorities (loading them takes ~20 ms)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from conveyor.errors import ConveyorError

if TYPE_CHECKING:
    import ssl


class TlsContexts:
    """A small cache of client contexts; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[bool, str | None, int], ssl.SSLContext] = {}

    def get(self, verify: bool, ca: Path | None) -> ssl.SSLContext:
        """A client context, TLS 1.2 or later.

        Args:
            verify: Check the server's certificate and name.
            ca: PEM file of the authorities to trust instead of the system's.

        Raises:
            ConveyorError: the file cannot be read or holds no certificate.
        """
        if not verify:
            ca = None
        try:
            key = (verify, str(ca) if ca else None, ca.stat().st_mtime_ns if ca else 0)
            with self._lock:
                context = self._made.get(key)
                if context is None:
                    context = self._made[key] = _make(verify, ca)
                return context
        except OSError as error:  # ssl.SSLError among them
            raise ConveyorError(
                f"the CA bundle {ca} cannot be used: {error.strerror or error}",
                cure="name a readable PEM file with at least one certificate",
            ) from None


def _make(verify: bool, ca: Path | None) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
