"""A real account of Google Drive, named by the environment, and a second route to it: plain HTTP.

``CONVEYOR_LIVE_GOOGLE_DRIVE_TOKEN`` is an access token with the scope ``https://www.googleapis.com/auth/drive``
and ``CONVEYOR_LIVE_GOOGLE_DRIVE_FOLDER`` the id of a folder named ``conveyor-live-test``, whose content the
suite deletes for good. ``CONVEYOR_LIVE_GOOGLE_DRIVE_URL`` leads elsewhere than to Google.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import requests

from conveyor.testing import Bench, Observer
from conveyor_connectors.google_drive.errors import classify
from conveyor_connectors.google_drive.spec import SPEC
from servers.google_drive_bench import LARGE, UNIT
from servers.google_drive_errors import sdk_exceptions

NAME = "conveyor-live-test"
FOLDER = "application/vnd.google-apps.folder"
PREFIX = "CONVEYOR_LIVE_GOOGLE_DRIVE_"
NO_PROXY = "a real account is not behind the suite's proxy"
NO_TROUBLE = "a real account cannot be brought into this state"


def named(name: str) -> str:
    """A variable of the environment; empty where it is not set."""
    return os.environ.get(PREFIX + name, "")


class LiveObserver(Observer):
    """Files of the folder, by requests of its own.

    Raises:
        LookupError: The folder is not the one that may be emptied.
    """

    def __init__(self, url: str, token: str, folder: str) -> None:
        self._url = f"{url}/drive/v3/files"
        self._upload = f"{url}/upload/drive/v3/files"
        self._folder = folder
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        called = self._ask("GET", f"{self._url}/{folder}", params={"fields": "name"}).json()["name"]
        if called != NAME:
            raise LookupError(f"the folder is called {called}, not {NAME}: it will not be emptied")

    def _ask(self, method: str, url: str, **more: Any) -> requests.Response:
        more["params"] = {"supportsAllDrives": "true", **more.get("params", {})}
        answer = self._session.request(method, url, timeout=60, **more)
        answer.raise_for_status()
        return answer

    def _inside(self, folder: str) -> list[dict[str, Any]]:
        query = {"q": f"'{folder}' in parents and trashed = false", "orderBy": "createdTime",
                 "fields": "files(id,name,mimeType)", "pageSize": "1000",
                 "includeItemsFromAllDrives": "true"}  # fmt: skip
        found: list[dict[str, Any]] = self._ask("GET", self._url, params=query).json()["files"]
        return found

    def _files(self, folder: str, above: str = "") -> Iterator[tuple[str, str]]:
        for each in self._inside(folder):
            if each["mimeType"] == FOLDER:
                yield from self._files(each["id"], f"{above}{each['name']}/")
            else:
                yield above + each["name"], each["id"]

    def read(self, path: str) -> bytes | None:
        """The bytes; of several files of that name the oldest."""
        found = next((number for name, number in self._files(self._folder) if name == path), None)
        if found is None:
            return None
        return self._ask("GET", f"{self._url}/{found}", params={"alt": "media"}).content

    def names(self) -> set[str]:
        """All files; a second one of a name ends in ``#2``."""
        count: Counter[str] = Counter()
        shown = set()
        for path, _ in self._files(self._folder):
            count[path] += 1
            shown.add(path if count[path] == 1 else f"{path}#{count[path]}")
        return shown

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there, as the bench of the stand-in does."""
        *above, name = path.split("/")
        parent = self._folder
        for level in above:
            there = [e["id"] for e in self._inside(parent) if (e["name"], e["mimeType"]) == (level, FOLDER)]
            body = {"name": level, "mimeType": FOLDER, "parents": [parent]}
            parent = there[0] if there else self._ask("POST", self._url, json=body).json()["id"]
        for each in self._inside(parent):
            if each["name"] == name:
                self._ask("DELETE", f"{self._url}/{each['id']}")
        made = self._ask("POST", self._url, json={"name": name, "parents": [parent]}).json()["id"]
        self._ask("PATCH", f"{self._upload}/{made}", params={"uploadType": "media"}, data=data)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for each in self._inside(self._folder):
            self._ask("DELETE", f"{self._url}/{each['id']}")


def bench() -> Bench:
    """The bench of the account that the environment names."""
    url = named("URL") or "https://www.googleapis.com"
    token, folder = named("TOKEN"), named("FOLDER")
    lacking = {"address": NO_PROXY, "through": NO_PROXY}
    for ability in ("wrong_credentials", "forbidden", "full", "throttle"):
        lacking[ability] = NO_TROUBLE
    return Bench(
        spec=SPEC,
        options={"api_url": url, "folder_id": folder, "chunk_size": UNIT},
        observer=LiveObserver(url, token, folder),
        missing_place={"folder_id": "nowhere"},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        unavailable=lacking,
        large=LARGE,
        big=40 << 20,
        memory_limit=32 << 20,
        tokens=(token,),
    )
