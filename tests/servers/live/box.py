"""A real account of Box."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.box.errors import classify
from conveyor_connectors.box.spec import SPEC
from servers.box_errors import sdk_exceptions
from servers.live import MIB, LiveObserver, live, own
from servers.live.http import Http

LARGE = 25 * MIB + 4_711
"""Box takes files in parts from 20 MB on, and gives parts of 8 MiB to one of this size."""


class BoxObserver(LiveObserver):
    """A folder of its own, by the API's plain HTTP; ``folder`` is its id."""

    def __init__(self, api: str, upload: str, token: str, above: str) -> None:
        self._http = Http(token)
        self._api, self._upload = f"{api}/2.0", f"{upload}/2.0"
        self.folder = self._made(own(), above)

    def _made(self, name: str, above: str) -> str:
        body = {"name": name, "parent": {"id": above}}
        return str(self._http.json("POST", f"{self._api}/folders", json=body)["id"])

    def _inside(self, folder: str) -> Iterator[dict[str, Any]]:
        query = {"usemarker": "true", "limit": "1000", "fields": "name"}
        while True:
            page = self._http.json("GET", f"{self._api}/folders/{folder}/items", params=query)
            yield from page["entries"]
            if not page.get("next_marker"):
                return
            query["marker"] = page["next_marker"]

    def _files(self, folder: str, above: str = "") -> Iterator[tuple[str, str]]:
        for each in self._inside(folder):
            if each["type"] == "folder":
                yield from self._files(each["id"], f"{above}{each['name']}/")
            else:
                yield above + each["name"], each["id"]

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        found = dict(self._files(self.folder)).get(path)
        return None if found is None else self._http.ask("GET", f"{self._api}/files/{found}/content").content

    def names(self) -> set[str]:
        """All files."""
        return {name for name, _ in self._files(self.folder)}

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there."""
        *above, name = path.split("/")
        parent = self.folder
        for level in above:
            there = [each["id"] for each in self._inside(parent) if each["name"] == level]
            parent = there[0] if there else self._made(level, parent)
        there = [each["id"] for each in self._inside(parent) if each["name"] == name]
        address = f"{self._upload}/files/{there[0]}/content" if there else f"{self._upload}/files/content"
        attributes = {"name": name} if there else {"name": name, "parent": {"id": parent}}
        parts = {"attributes": (None, json.dumps(attributes)), "file": (name, data)}
        self._http.ask("POST", address, files=parts)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for each in list(self._inside(self.folder)):
            recursive = {"recursive": "true"} if each["type"] == "folder" else None
            self._http.ask("DELETE", f"{self._api}/{each['type']}s/{each['id']}", params=recursive)

    def remove(self) -> None:
        """Delete the folder."""
        self._http.ask("DELETE", f"{self._api}/folders/{self.folder}", params={"recursive": "true"})
        self._http.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    api = given.get("api_url", "https://api.box.com")
    upload = given.get("upload_url", "https://upload.box.com/api")
    token = given["token"]
    observer = BoxObserver(api, upload, token, given.get("folder_id", "0"))
    with live(
        SPEC,
        {"api_url": api, "upload_url": upload, "folder_id": observer.folder},
        observer,
        missing_place={"folder_id": "1"},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        large=LARGE,
        tokens=(token,),
    ) as bench:
        yield bench
