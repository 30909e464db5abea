"""A real account of Google Drive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.google_drive.errors import classify
from conveyor_connectors.google_drive.spec import SPEC
from servers.google_drive_bench import LARGE, UNIT
from servers.google_drive_errors import sdk_exceptions
from servers.live import LiveObserver, live, own
from servers.live.http import Http

FOLDER = "application/vnd.google-apps.folder"


class DriveObserver(LiveObserver):
    """A folder of its own, by the API's plain HTTP; ``folder`` is its id."""

    def __init__(self, url: str, token: str, above: str) -> None:
        self._http = Http(token, params={"supportsAllDrives": "true"})
        self._url, self._upload = f"{url}/drive/v3/files", f"{url}/upload/drive/v3/files"
        self.folder = self._made(own(), above, mimeType=FOLDER)

    def _made(self, name: str, above: str, **more: str) -> str:
        answer = self._http.json("POST", self._url, json={"name": name, "parents": [above], **more})
        return str(answer["id"])

    def _inside(self, folder: str) -> list[dict[str, Any]]:
        query = {"q": f"'{folder}' in parents and trashed = false", "orderBy": "createdTime",
                 "fields": "files(id,name,mimeType)", "pageSize": "1000",
                 "includeItemsFromAllDrives": "true"}  # fmt: skip
        found: list[dict[str, Any]] = self._http.json("GET", self._url, params=query)["files"]
        return found

    def _files(self, folder: str, above: str = "") -> Iterator[tuple[str, str]]:
        for each in self._inside(folder):
            if each["mimeType"] == FOLDER:
                yield from self._files(each["id"], f"{above}{each['name']}/")
            else:
                yield above + each["name"], each["id"]

    def read(self, path: str) -> bytes | None:
        """The bytes; of several files of that name the oldest."""
        found = next((number for name, number in self._files(self.folder) if name == path), None)
        if found is None:
            return None
        return self._http.ask("GET", f"{self._url}/{found}", params={"alt": "media"}).content

    def names(self) -> set[str]:
        """All files; a second one of a name ends in ``#2``."""
        count: Counter[str] = Counter()
        shown = set()
        for path, _ in self._files(self.folder):
            count[path] += 1
            shown.add(path if count[path] == 1 else f"{path}#{count[path]}")
        return shown

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there, as the bench of the stand-in does."""
        *above, name = path.split("/")
        parent = self.folder
        for level in above:
            there = [e["id"] for e in self._inside(parent) if (e["name"], e["mimeType"]) == (level, FOLDER)]
            parent = there[0] if there else self._made(level, parent, mimeType=FOLDER)
        for each in self._inside(parent):
            if each["name"] == name:
                self._http.ask("DELETE", f"{self._url}/{each['id']}")
        made = self._made(name, parent)
        self._http.ask("PATCH", f"{self._upload}/{made}", params={"uploadType": "media"}, data=data)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for each in self._inside(self.folder):
            self._http.ask("DELETE", f"{self._url}/{each['id']}")

    def remove(self) -> None:
        """Delete the folder, for good."""
        self._http.ask("DELETE", f"{self._url}/{self.folder}")
        self._http.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    url, token = given.get("api_url", "https://www.googleapis.com"), given["token"]
    observer = DriveObserver(url, token, given.get("folder_id", "root"))
    with live(
        SPEC,
        {"api_url": url, "folder_id": observer.folder, "chunk_size": UNIT},
        observer,
        missing_place={"folder_id": "nowhere"},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        large=LARGE,
        tokens=(token,),
    ) as bench:
        yield bench
