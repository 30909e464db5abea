"""Routes of folders, and who the account is."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from servers.standins.box.errors import invalid, refused
from servers.standins.box.files import Files
from servers.standins.box.items import ROOT, Item, mini, when
from servers.standins.box.service import API, Call, operation
from servers.standins.box.sign_in import ENTERPRISE
from servers.standins.messages import Answer

PAGE = 100
"""Entries where no limit is given."""


class Folders(Files):
    """The routes."""

    @operation("POST", "/folders", API)
    def create_folder(self, call: Call) -> Answer:
        """A folder; 409 names the one that is there."""
        name = call.body["name"]
        with self.lock:
            parent = self.tree.parent(call.body["parent"]["id"])
            self.check_folder(parent)
            self.tree.check_name(name)
            self.tree.check_free(parent, name, self.folder_conflicts)
            self.tree.check_reserved(parent, name)
            item = self.tree.add(parent, name)
            return Answer(201, self._shown(item, call))

    @operation("GET", "/folders/{folder_id}", API)
    def get_folder(self, call: Call) -> Answer:
        """A folder, with its first items."""
        with self.lock:
            item = self.tree.find("folder", call.id)
            if item.id != ROOT and call.header("if-none-match") == str(item.etag):
                return Answer(304)
            return Answer(200, self._shown(item, call))

    def _shown(self, item: Item, call: Call) -> dict[str, Any]:
        shown = self.tree.full(item, call.fields)
        if call.fields is None or "item_collection" in call.fields:
            query = {name: value for name, value in call.query.items() if name in ("limit", "offset", "sort")}
            shown["item_collection"] = self._page(item, query, None)
        return shown

    @operation("GET", "/folders/{folder_id}/items", API)
    def list_items(self, call: Call) -> Answer:
        """A page, by offset or by marker."""
        with self.lock:
            item = self.tree.find("folder", call.id)
            return Answer(200, self._page(item, call.query, call.fields))

    def _page(self, folder: Item, query: Any, fields: list[str] | None) -> dict[str, Any]:
        by_marker, limit = query.get("usemarker", False), query.get("limit", PAGE)
        if "marker" in query and not by_marker:
            raise invalid("marker", "needs usemarker")
        if by_marker and "offset" in query:
            raise invalid("offset", "Only one pagination method can be used at a time")
        start = _place(query["marker"]) if query.get("marker") else query.get("offset", 0)
        if by_marker and folder.id == ROOT and "sort" in query:  # description of ``sort``
            raise invalid("sort", "not supported for marker-based pagination on the root folder")
        items = self._sorted(folder, query)
        shown = [self._entry(item, fields) for item in items[start : start + limit]]
        if by_marker:
            more = start + limit < len(items)
            return {"entries": shown, "limit": limit, "next_marker": _marker(start + limit) if more else None}
        order = [{"by": by, "direction": query.get("direction", "ASC")} for by in ("type", "name")]
        return {"total_count": len(items), "entries": shown, "offset": start, "limit": limit, "order": order}

    def _entry(self, item: Item, fields: list[str] | None) -> dict[str, Any]:
        return mini(item) if fields is None else self.tree.full(item, fields)

    @staticmethod
    def _sorted(folder: Item, query: Any) -> list[Item]:
        """Folders stand before files, whatever the order (description, ``sort``)."""
        by = query.get("sort", "name")

        def place(item: Item) -> Any:
            known = {"id": int(item.id), "date": item.changed, "size": item.size}
            return known.get(by, item.name.casefold())

        found = sorted(folder.inside.values(), key=place, reverse=query.get("direction") == "DESC")
        return sorted(found, key=lambda item: item.kind != "folder")

    @operation("PUT", "/folders/{folder_id}", API)
    def update_folder(self, call: Call) -> Answer:
        """Rename and move."""
        with self.lock:
            item = self._not_root(call)
            self.check_etag(call, item)
            if "parent" in call.body and len(call.body) > 1:  # description, 403
                raise refused("operation_limit_exceeded")
            self.move(item, call)
            return Answer(200, self._shown(item, call))

    @operation("DELETE", "/folders/{folder_id}", API)
    def delete_folder(self, call: Call) -> Answer:
        """An empty folder, or with ``recursive`` all that is in it."""
        with self.lock:
            item = self._not_root(call)
            self.check_etag(call, item)
            self.check_folder(item)
            if item.inside and not call.query.get("recursive", False):
                raise refused("folder_not_empty")
            self.tree.trash(item, for_good=not self.trash_enabled)
        return Answer(204)

    @operation("POST", "/folders/{folder_id}", API)
    def restore_folder(self, call: Call) -> Answer:
        """Out of the trash."""
        with self.lock:
            return self.restore(self.tree.find("folder", call.id, trash=True), call)

    def _not_root(self, call: Call) -> Item:
        item = self.tree.find("folder", call.id)
        if item.id == ROOT:
            raise refused("access_denied_insufficient_permissions")
        return item

    @operation("GET", "/users/me", API)
    def who_am_i(self, call: Call) -> Answer:
        """The token's account."""
        with self.lock:
            used = self.tree.used()
        day = when(1_600_000_000)
        space = {"space_amount": self.quota, "space_used": used, "max_upload_size": self.max_upload_size}
        times = {"created_at": day, "modified_at": day, "status": "active", "language": "en"}
        known = {**self.user(call.account), **space, **times}
        if call.fields is None:
            return Answer(200, known)
        known["enterprise"] = {"type": "enterprise", "id": ENTERPRISE, "name": "Example"}
        return Answer(200, {name: known[name] for name in known if name in ("type", "id", *call.fields)})


def _marker(place: int) -> str:
    return base64.urlsafe_b64encode(b"%d" % place).decode()


def _place(marker: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(marker.encode()))
    except (ValueError, binascii.Error):
        raise invalid("marker", f"Invalid value '{marker}'") from None
