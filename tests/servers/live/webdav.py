"""An account at a WebDAV server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from conveyor.testing import Bench
from conveyor_connectors.webdav.errors import of_exception
from conveyor_connectors.webdav.spec import SPEC
from servers.dav_bench import every_exception
from servers.live import LiveObserver, live, own
from servers.live.http import Http

EXISTS = 405
"""What MKCOL answers where a folder is."""


class DavObserver(LiveObserver):
    """A folder of its own, by plain HTTP; ``folder`` is its path below the URL."""

    def __init__(self, given: Mapping[str, str]) -> None:
        login = HTTPDigestAuth if given.get("auth") == "digest" else HTTPBasicAuth
        username, password = given["username"].encode(), given["password"].encode()
        self._http = Http(auth=login(username, password), ca_bundle=given.get("ca_bundle"))
        self.folder = "/".join(filter(None, (given.get("remote_path", "").strip("/"), own())))
        self._url = given["url"].rstrip("/")
        self._http.ask("MKCOL", self._at(""))

    def _at(self, path: str) -> str:
        return f"{self._url}/{quote(self.folder)}/{quote(path)}"

    def _inside(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Paths below the folder, one level down, and whether each is a folder."""
        body = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
        headers = {"Depth": "1", "Content-Type": "application/xml"}
        answer = self._http.ask("PROPFIND", self._at(folder), data=body, headers=headers)
        base = unquote(urlsplit(self._at("")).path)
        for each in ElementTree.fromstring(answer.content).iter("{DAV:}response"):
            path = unquote(urlsplit(each.findtext("{DAV:}href", "").strip()).path).removeprefix(base)
            if path.strip("/") != folder.strip("/"):
                yield path.strip("/"), each.find(".//{DAV:}collection") is not None

    def _files(self, folder: str) -> Iterator[str]:
        for path, is_folder in self._inside(folder):
            if is_folder:
                yield from self._files(f"{path}/")
            else:
                yield path

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        answer = self._http.find("GET", self._at(path))
        return None if answer is None else answer.content

    def names(self) -> set[str]:
        """All files."""
        return set(self._files(""))

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there."""
        levels = path.split("/")[:-1]
        for depth in range(1, len(levels) + 1):
            self._http.find("MKCOL", self._at("/".join(levels[:depth]) + "/"), absent=EXISTS)
        self._http.ask("PUT", self._at(path), data=data)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        for path, is_folder in list(self._inside("")):
            self._http.find("DELETE", self._at(f"{path}/" if is_folder else path))

    def remove(self) -> None:
        """Delete the folder."""
        self._http.ask("DELETE", self._at(""))
        self._http.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    observer = DavObserver(given)
    with live(
        SPEC,
        {**given, "remote_path": observer.folder},
        observer,
        wrong_credentials={"password": "not-the-password"},
        missing_place={"remote_path": f"{observer.folder}/nowhere"},
        sdk_exceptions=every_exception,
        classify=lambda error: of_exception(error, "test"),
    ) as bench:
        yield bench
