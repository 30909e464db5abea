"""A real account of Dropbox."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.dropbox.errors import classify
from conveyor_connectors.dropbox.spec import SPEC
from servers.dropbox_bench import LARGE, MIB
from servers.dropbox_errors import sdk_exceptions
from servers.live import LiveObserver, live, own
from servers.live.http import Http

ABSENT = 409
"""How Dropbox says that a path holds nothing."""


class DropboxObserver(LiveObserver):
    """A folder of its own, by the API's plain HTTP; ``folder`` is its path."""

    def __init__(self, api: str, content: str, token: str) -> None:
        self._http = Http(token)
        self._api, self._content = f"{api}/2/files", f"{content}/2/files"
        self.folder = f"/{own()}"
        self._call("create_folder_v2", path=self.folder)

    def _call(self, name: str, **argument: Any) -> Any:
        return self._http.json("POST", f"{self._api}/{name}", json=argument)

    def _bytes(self, **argument: Any) -> dict[str, str]:
        return {"Dropbox-API-Arg": json.dumps(argument)}

    def _entries(self, *, recursive: bool) -> Iterator[dict[str, Any]]:
        page = self._call("list_folder", path=self.folder, recursive=recursive)
        while True:
            yield from page["entries"]
            if not page["has_more"]:
                return
            page = self._call("list_folder/continue", cursor=page["cursor"])

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        headers = self._bytes(path=f"{self.folder}/{path}")
        answer = self._http.find("POST", f"{self._content}/download", absent=ABSENT, headers=headers)
        return None if answer is None else answer.content

    def names(self) -> set[str]:
        """All files."""
        found = (each for each in self._entries(recursive=True) if each[".tag"] == "file")
        return {each["path_display"][len(self.folder) + 1 :] for each in found}

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there."""
        headers = self._bytes(path=f"{self.folder}/{path}", mode="overwrite", mute=True)
        headers["Content-Type"] = "application/octet-stream"
        self._http.ask("POST", f"{self._content}/upload", headers=headers, data=data)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for each in list(self._entries(recursive=False)):
            self._call("delete_v2", path=each["path_lower"])

    def remove(self) -> None:
        """Delete the folder."""
        self._call("delete_v2", path=self.folder)
        self._http.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    api = given.get("api_url", "https://api.dropboxapi.com")
    content = given.get("content_url", "https://content.dropboxapi.com")
    token = given["token"]
    observer = DropboxObserver(api, content, token)
    with live(
        SPEC,
        {
            "api_url": api,
            "content_url": content,
            "folder_path": observer.folder,
            "direct_limit": MIB,
            "chunk_size": 4 * MIB,
        },
        observer,
        unavailable={"missing_place": "Dropbox makes folders by itself"},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        large=LARGE,
        tokens=(token,),
    ) as bench:
        yield bench
