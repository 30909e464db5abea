"""Drive's stand-in asked by plain HTTP, for its own tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from servers.standins.google_drive import GoogleDrive

UNIT = GoogleDrive.unit
FILES, UPLOAD = "/drive/v3/files", "/upload/drive/v3/files"
FOLDER = "application/vnd.google-apps.folder"


@dataclass
class Client:
    """One login, by HTTP."""

    standin: GoogleDrive
    session: requests.Session = field(default_factory=requests.Session)
    scopes: str | None = None

    def __post_init__(self) -> None:
        self.session.trust_env = False
        granted = " ".join(self.standin.scopes) if self.scopes is None else self.scopes
        self.token: str | None = self.standin.sign_in(granted)[0]

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        """A request; the address of a session goes as it is."""
        url = path if path.startswith("http") else self.standin.url + path
        sent = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        return self.session.request(method, url, headers={**sent, **(headers or {})}, timeout=30, **more)

    def make(self, name: str, parent: str | None = None, **meta: Any) -> str:
        """A file of no bytes, or a folder; its id."""
        body = {"name": name, **meta, **({} if parent is None else {"parents": [parent]})}
        answer = self.ask("POST", FILES, params={"supportsAllDrives": "true"}, json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def folder(self, name: str, parent: str | None = None) -> str:
        """Its id."""
        return self.make(name, parent, mimeType=FOLDER)

    def begin(self, file: str | None = None, headers: Mapping[str, str] | None = None, **meta: Any) -> str:
        """The address of a session."""
        method, path = ("POST", UPLOAD) if file is None else ("PATCH", f"{UPLOAD}/{file}")
        answer = self.ask(method, path + "?uploadType=resumable", headers, json=meta)
        assert answer.status_code == 200, answer.text
        return answer.headers["Location"]

    def send(self, url: str, data: bytes, span: str | None, method: str = "PUT", **headers: str) -> Any:
        """Bytes of a session; ``span`` without its unit."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        ranged = {} if span is None else {"Content-Range": f"bytes {span}"}
        return self.ask(method, url, {**ranged, **named}, data=data)

    def upload(self, data: bytes, file: str | None = None, **meta: Any) -> requests.Response:
        """By a session, in one piece."""
        return self.send(self.begin(file, **meta), data, None)

    def get(self, file: str, fields: str = "*") -> dict[str, Any]:
        """All that is known of a file."""
        where = f"{FILES}/{file}"
        answer = self.ask("GET", where, params={"fields": fields, "supportsAllDrives": "true"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def search(self, q: str, **more: str) -> list[str]:
        """Names of what is found."""
        answer = self.ask("GET", FILES, params={"q": q, **more})
        assert answer.status_code == 200, answer.text
        return [file["name"] for file in answer.json()["files"]]


def code(answer: requests.Response) -> tuple[int, str]:
    """Status and reason; the form of an error is checked."""
    said = answer.json()["error"]
    (first,) = said["errors"]
    assert said["code"] == answer.status_code
    assert said["message"] == first["message"]
    assert first["domain"] in ("global", "usageLimits")
    return answer.status_code, first["reason"]
