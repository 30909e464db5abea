"""Moving bytes: pipelined writes from the payload, and the proof that they arrived."""

from __future__ import annotations

import hashlib
import shlex
from collections import deque

from conveyor.contract import AttemptContext, Parcel
from conveyor_connectors.ftp.payload import read_piece, require_length
from conveyor_connectors.ftp.sftp import wire
from conveyor_connectors.ftp.sftp.client import Client, StatusError
from conveyor_connectors.ftp.sftp.session import Session

WRITE_SIZE = 32_000
"""Bytes of one WRITE: with its head it fits the 32 KiB SSH packet; 32,768 would be cut in two and measured
fifty times slower where writes are not pipelined."""

IN_FLIGHT = 64
"""Unanswered writes at most, as OpenSSH's client and rclone: 2 MB bound memory and still fill a long line."""

_SHELL_ANSWER = 4096


def send(client: Client, handle: bytes, parcel: Parcel, context: AttemptContext) -> None:
    """Write the whole payload to an open file. Progress is reported as the server confirms, not as we send.

    Raises:
        StatusError: A write was refused; the first refusal ends the transfer.
        DeliveryError: SOURCE, the payload ended early or did not end.
    """
    waiting: deque[tuple[int, int]] = deque()
    offset = 0
    with parcel.open() as stream:
        while data := read_piece(stream, WRITE_SIZE):
            waiting.append((client.write(handle, offset, data), len(data)))
            offset += len(data)
            if offset > parcel.size:
                break
            while waiting and (len(waiting) >= IN_FLIGHT or client.answered(waiting[0][0])):
                _confirm(client, waiting, context)
    while waiting:
        _confirm(client, waiting, context)
    require_length(offset, parcel.size)


def _confirm(client: Client, waiting: deque[tuple[int, int]], context: AttemptContext) -> None:
    number, length = waiting.popleft()
    client.settle(number)
    context.progress(length)


def has_bytes(session: Session, path: str, parcel: Parcel, context: AttemptContext) -> bool:
    """Whether the file at ``path`` is byte for byte the payload, by SHA-256.

    The server's ``sha256sum`` settles it when it says yes. Any other answer may be about another file (a
    chroot has SFTP and the shell see different trees), so the file is read back before "no" is said.
    """
    wanted = parcel.digests["sha256"]
    return digest_by_shell(session, path) == wanted or read_back(session.client, path, context) == wanted


def read_back(client: Client, path: str, context: AttemptContext) -> str | None:
    """SHA-256 of a file, computed here; None when it cannot be read."""
    digest = hashlib.sha256()
    try:
        there = client.stat(path)
        handle = client.open(path, wire.Open.READ)
    except StatusError:
        return None
    try:
        for data in client.read(handle, (there and there.size) or 0):
            digest.update(data)
            context.progress(0)
    finally:
        client.close(handle)
    return digest.hexdigest()


def digest_by_shell(session: Session, path: str) -> str | None:
    """SHA-256 by the server's own ``sha256sum``; None where there is no shell. Asked once per connection."""
    if not session.has_shell:
        return None
    output = session.run(f"sha256sum -- {shlex.quote(path)}", most=_SHELL_ANSWER)
    word = output.decode("ascii", "replace").lstrip("\\").split(" ", 1)[0]
    if len(word) == 64 and set(word) <= set("0123456789abcdef"):
        return word
    session.has_shell = False
    return None
