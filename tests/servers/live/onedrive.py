"""A real account of OneDrive, or a library of SharePoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from conveyor.testing import Bench
from conveyor_connectors.onedrive.spec import SPEC
from servers.live import LiveObserver, live, own
from servers.live.http import Http
from servers.onedrive_bench import LARGE, UNIT
from servers.onedrive_errors import classify, sdk_exceptions


class OneDriveObserver(LiveObserver):
    """A folder of its own, by Graph's plain HTTP; ``folder`` is its path."""

    def __init__(self, graph: str, token: str, drive: str | None) -> None:
        self._http = Http(token)
        self._drive = f"{graph}/drives/{drive}" if drive else f"{graph}/me/drive"
        self.folder = f"/{own()}"
        made = {"name": self.folder[1:], "folder": {}}
        self._id = self._http.json("POST", f"{self._drive}/root/children", json=made)["id"]

    def _at(self, path: str, what: str = "") -> str:
        """The address of an item below the folder."""
        return f"{self._drive}/items/{self._id}:/{quote(path)}:{what}"

    def _inside(self, item: str) -> Iterator[dict[str, Any]]:
        following = f"{self._drive}/items/{item}/children"
        while following:
            page = self._http.json("GET", following)
            yield from page["value"]
            following = page.get("@odata.nextLink")

    def _files(self, item: str, above: str = "") -> Iterator[str]:
        for each in self._inside(item):
            if "folder" in each:
                yield from self._files(each["id"], f"{above}{each['name']}/")
            else:
                yield above + each["name"]

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        answer = self._http.find("GET", self._at(path, "/content"))
        return None if answer is None else answer.content

    def names(self) -> set[str]:
        """All files."""
        return set(self._files(self._id))

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there; Graph makes the folders only for a file that has bytes."""
        parent = self._id
        *above, name = path.split("/")
        for level in above:
            there = [each["id"] for each in self._inside(parent) if each["name"] == level]
            address = f"{self._drive}/items/{parent}/children"
            made = {"name": level, "folder": {}}
            parent = there[0] if there else self._http.json("POST", address, json=made)["id"]
        address = f"{self._drive}/items/{parent}:/{quote(name)}:/content"
        self._http.ask("PUT", address, data=data, headers={"Content-Type": "application/octet-stream"})

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for each in list(self._inside(self._id)):
            self._http.ask("DELETE", f"{self._drive}/items/{each['id']}")

    def remove(self) -> None:
        """Delete the folder."""
        self._http.ask("DELETE", f"{self._drive}/items/{self._id}")
        self._http.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    graph, token = given.get("graph_url", "https://graph.microsoft.com/v1.0"), given["token"]
    observer = OneDriveObserver(graph, token, given.get("drive_id"))
    options = {"graph_url": graph, "folder_path": observer.folder, "fragment_size": UNIT}
    if "drive_id" in given:
        options["drive_id"] = given["drive_id"]
    with live(
        SPEC,
        options,
        observer,
        missing_place={"drive_id": "nobody"},
        sdk_exceptions=sdk_exceptions,
        classify=classify,
        large=LARGE,
        tokens=(token,),
    ) as bench:
        yield bench
