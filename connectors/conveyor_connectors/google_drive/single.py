"""Small files: metadata and content in one request
(https://developers.google.com/workspace/drive/api/guides/manage-uploads#multipart).

The SDK makes the request, with a mark in place of the content, which is streamed from the payload.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import googleapiclient.errors as sdk
from googleapiclient.http import MediaIoBaseUpload

from conveyor.contract import AttemptContext, Parcel
from conveyor.kit.bodies import Body, Publishing
from conveyor_connectors.google_drive.service import Service, Stored, media_type, stored
from conveyor_connectors.google_drive.sessions import document_of

SMALL = 5_000_000
"""Bytes of a file that one request may bring: "5 MB or less"."""


class Single:
    """Sends files, each by one request; what an attempt sent of one that breaks is lost."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def send(
        self, parcel: Parcel, body: Mapping[str, Any], context: AttemptContext, *, over: str | None = None
    ) -> Stored:
        """Make a file, or give ``over`` new content.

        Raises:
            DeliveryError: CONFLICT with the code ``fileIdInUse``, when the file is there already.
        """
        mark = secrets.token_hex(16).encode()
        media = MediaIoBaseUpload(io.BytesIO(mark), media_type(parcel), resumable=False)
        asked = self._service.upload(media, body, over)
        head, _, tail = asked.body.partition(mark)
        http = self._service.client.http
        with parcel.open() as stream, context.phase("transfer"):
            content = Body(stream, 0, parcel.size, Publishing(context), sending=False)
            whole = _Enveloped(head, content, tail, context)

            def request() -> Stored:
                answer, told = http.request(asked.uri, asked.method, body=whole, headers=asked.headers)
                if answer.status not in (200, 201):
                    raise sdk.HttpError(answer, told, uri=None)
                return stored(document_of(told))

            return self._service.call("upload the file", request, sent=lambda: content.finished)


class _Enveloped:
    """A body of three pieces, which may be sent again from its beginning."""

    def __init__(self, head: bytes, content: Body, tail: bytes, context: AttemptContext) -> None:
        self._head, self._content, self._tail = head, content, tail
        self._context = context

    def __len__(self) -> int:
        return len(self._head) + len(self._content) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._content.begin()
        if not len(self._content):
            self._context.before_commit()
        yield from self._content
        yield self._tail
