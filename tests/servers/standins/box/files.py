"""Routes of files: upload in one request, look, download, rename and move, delete and bring back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from servers.standins.box.description import Wrong, description
from servers.standins.box.errors import invalid, refused
from servers.standins.box.items import Item, key, parsed
from servers.standins.box.service import API, UPLOAD, BoxService, Call, operation
from servers.standins.box.sessions import Stored, stored
from servers.standins.kit import route
from servers.standins.messages import Answer, Refused, Request
from servers.standins.multipart import Malformed, Part, Parts

TICKET_LIFE = 900.0
"""Seconds of an address for a download (developer.box.com, Token & URL Expiration)."""
NEW, VERSION = "/files/content", "/files/{file_id}/content"


class Files(BoxService):
    """The routes."""

    # --- upload ------------------------------------------------------------------------------------

    @operation("POST", NEW, UPLOAD)
    def upload_file(self, call: Call) -> Answer:
        """A new file of at most 50 MB (recommended; the account's limit is ``max_upload_size``)."""
        parts = self._parts(call)
        attributes = self._attributes(NEW, parts)
        times = self.times(attributes)
        with self._naming(attributes["parent"]["id"], attributes["name"]) as folder:
            kept = self._content(call, parts)
            with self.lock, self._or_removed(kept):
                self.check_folder(folder)
                self.check_size(kept.size)
                self.tree.check_free(folder, attributes["name"], self.file_conflicts)
                content = {"content": kept.path, "size": kept.size, "sha1": kept.sha1}
                item = self.tree.add(folder, attributes["name"], **content, **times)
                return self.one(201, item, call)

    @operation("POST", VERSION, UPLOAD)
    def upload_version(self, call: Call) -> Answer:
        """New content of a file, with a new name where ``attributes`` has another."""
        with self.lock:
            self.check_etag(call, self.tree.find("file", call.id))
        parts = self._parts(call)
        attributes = self._attributes(VERSION, parts)
        times = self.times(attributes)
        kept = self._content(call, parts)
        with self.lock, self._or_removed(kept):
            item = self.tree.find("file", call.id)
            self.check_etag(call, item)
            self.check_size(kept.size)
            self._rename(item, attributes["name"])
            self.tree.renew(item, kept.path, kept.size, kept.sha1, times.get("content_changed"))
            return self.one(200, item, call)

    def one(self, status: int, item: Item, call: Call) -> Answer:
        """The list that an upload answers with."""
        return Answer(status, {"total_count": 1, "entries": [self.tree.full(item, call.fields)]})

    @staticmethod
    def times(attributes: dict[str, Any]) -> dict[str, float]:
        """The times that a client gives.

        Raises:
            Refused: 400 for what is no time.
        """
        names = {"content_created_at": "content_created", "content_modified_at": "content_changed"}
        return {ours: parsed(name, attributes[name]) for name, ours in names.items() if name in attributes}

    @staticmethod
    def _parts(call: Call) -> Iterator[Part]:
        try:
            return iter(Parts(call.request.body.blocks(), call.request.headers))
        except Malformed as wrong:
            raise invalid("body", str(wrong)) from None

    @staticmethod
    def _attributes(path: str, parts: Iterator[Part]) -> dict[str, Any]:
        """The first part."""
        try:
            part = next(parts, None)
            if part is not None and part.name == "file":
                raise refused("metadata_after_file_contents")
            if part is None or part.name != "attributes":
                raise invalid("attributes", "is missing")
            found: dict[str, Any] = json.loads(b"".join(part.blocks))
            description().body("POST", path, "multipart/form-data", found, "attributes")
        except (Malformed, ValueError) as wrong:
            raise invalid("attributes", str(wrong)) from None
        except Wrong as wrong:
            raise invalid(wrong.name, wrong.message) from None
        return found

    def _content(self, call: Call, parts: Iterator[Part]) -> Stored:
        """The second part, and the last."""
        try:
            part = next(parts, None)
            if part is None or part.name != "file":
                raise invalid("file", "is missing")
            kept = stored(part.blocks, self.folder)
            with self._or_removed(kept):
                if next(parts, None) is not None:
                    raise invalid("body", "there is more than attributes and file")
                if self.direct_limit is not None and kept.size > self.direct_limit:
                    raise refused("request_entity_too_large")
                if (call.header("content-md5") or kept.sha1).lower() != kept.sha1:
                    raise refused("bad_digest")
        except Malformed as wrong:
            raise invalid("file", str(wrong)) from None
        return kept

    @staticmethod
    @contextmanager
    def _or_removed(kept: Stored) -> Iterator[None]:
        try:
            yield
        except (Refused, Malformed):
            kept.path.unlink(missing_ok=True)
            raise

    @contextmanager
    def _naming(self, folder_id: str, name: str) -> Iterator[Item]:
        """Check where a new file goes, and keep the name while its upload runs."""
        with self.lock:
            folder = self.check_place(folder_id, name)
            mine = (folder.id, key(name)) if self.reserve_names else None
            if mine is not None:
                self.tree.check_reserved(folder, name)
                self.tree.reserved.add(mine)
        try:
            yield folder
        finally:
            if mine is not None:
                with self.lock:
                    self.tree.reserved.discard(mine)

    def check_place(self, folder_id: str, name: str) -> Item:
        """The folder of a new file, which may be put there under this name."""
        folder = self.tree.parent(folder_id)
        self.check_folder(folder)
        self.tree.check_name(name)
        self.tree.check_free(folder, name, self.file_conflicts)
        return folder

    def _rename(self, item: Item, name: str) -> None:
        assert item.parent is not None
        self.check_folder(item.parent)
        if name != item.name:
            self.tree.check_name(name)
            self.tree.check_free(item.parent, name, self.file_conflicts, item)
            self.tree.place(item, item.parent, name)

    # --- checks before an upload -------------------------------------------------------------------

    @operation("OPTIONS", NEW, API)
    def preflight(self, call: Call) -> Answer:
        """The checks of an upload (https://developer.box.com/guides/uploads/check/)."""
        name, folder = call.body.get("name"), (call.body.get("parent") or {}).get("id")
        if name is None or folder is None:
            raise invalid("parent" if name else "name", "is missing")
        with self.lock:
            self.tree.check_reserved(self.check_place(folder, name), name)
            self.check_size(call.body.get("size", 0))
        return self._go(UPLOAD + NEW)

    @operation("OPTIONS", VERSION, API)
    def preflight_version(self, call: Call) -> Answer:
        """The checks of a new version."""
        with self.lock:
            item = self.tree.find("file", call.id)
            assert item.parent is not None
            self.check_folder(item.parent)
            self.check_size(call.body.get("size", 0))
            name = call.body.get("name", item.name)
            self.tree.check_name(name)
            self.tree.check_free(item.parent, name, self.file_conflicts, item)
        return self._go(f"{UPLOAD}/files/{item.id}/content")

    def _go(self, path: str) -> Answer:
        return Answer(200, {"upload_url": self.url + path, "upload_token": secrets.token_urlsafe(16)})

    @route("POST", API + NEW)
    @route("POST", API + VERSION)
    @route("POST", API + "/files/upload_sessions")
    def upload_at_the_wrong_host(self, request: Request) -> Answer:
        """Uploads go to upload.box.com (description, ``servers``; 405 by a title on support.box.com)."""
        raise refused("method_not_allowed")

    # --- look --------------------------------------------------------------------------------------

    @operation("GET", "/files/{file_id}", API)
    def get_file(self, call: Call) -> Answer:
        """A file, unless the client knows this state of it."""
        with self.lock:
            item = self.tree.find("file", call.id)
            if call.header("if-none-match") == str(item.etag):
                return Answer(304)
            return Answer(200, self.tree.full(item, call.fields))

    @operation("GET", VERSION, API)
    def download(self, call: Call) -> Answer:
        """Where the bytes are, for a while, without a token."""
        with self.lock:
            item = self.tree.find("file", call.id)
            if call.query.get("version", item.version) != item.version or item.content is None:
                raise refused("not_found")
            ticket = secrets.token_urlsafe(16)
            self.tickets[ticket] = item.content, self.now() + TICKET_LIFE
        return Answer(302, headers={"Location": f"{self.url}/dl/{ticket}"})

    @route("GET", "/dl/{ticket}")
    def download_bytes(self, request: Request) -> Answer:
        """The host dl.boxcloud.com."""
        with self.lock:
            content, until = self.tickets.get(request.params["ticket"], (None, 0.0))
        if content is None or until < self.now() or not content.exists():
            raise refused("not_found")
        return Answer(200, file=content, media_type="application/octet-stream")

    # --- change ------------------------------------------------------------------------------------

    @operation("PUT", "/files/{file_id}", API)
    def update_file(self, call: Call) -> Answer:
        """Rename and move."""
        with self.lock:
            item = self.tree.find("file", call.id)
            self.check_etag(call, item)
            self.move(item, call)
            return Answer(200, self.tree.full(item, call.fields))

    def move(self, item: Item, call: Call) -> None:
        """What a PUT of a file or a folder, or bringing one back, does to its place."""
        assert item.parent is not None
        folder = self.tree.parent((call.body.get("parent") or {}).get("id", item.parent.id))
        name = call.body.get("name", item.name)
        if item is folder or item in folder.above():
            raise refused("cyclical_folder_structure")
        self.check_folder(folder)
        self.check_folder(item.parent)
        self.tree.check_name(name)
        shape = self.file_conflicts if item.kind == "file" else self.folder_conflicts
        self.tree.check_free(folder, name, shape, item)
        self.tree.place(item, folder, name)

    @operation("DELETE", "/files/{file_id}", API)
    def delete_file(self, call: Call) -> Answer:
        """Into the trash, or for good where the account has none."""
        with self.lock:
            item = self.tree.find("file", call.id)
            self.check_etag(call, item)
            assert item.parent is not None
            self.check_folder(item.parent)
            self.tree.trash(item, for_good=not self.trash_enabled)
        return Answer(204)

    @operation("POST", "/files/{file_id}", API)
    def restore_file(self, call: Call) -> Answer:
        """Out of the trash."""
        with self.lock:
            item = self.tree.find("file", call.id, trash=True)
            return self.restore(item, call)

    def restore(self, item: Item, call: Call) -> Answer:
        """Back to where it was, or to where the body says."""
        if item.trashed is None:
            raise refused("not_found", "Item is not trashed")
        self.move(item, call)
        return Answer(201, self.tree.full(item, call.fields))
