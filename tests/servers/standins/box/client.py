"""Box's stand-in asked by plain HTTP, for its own tests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from servers.oauth_rules import CLIENT, SECRET
from servers.standins.box import BoxStandIn

OPEN = "/api/2.0/files/upload_sessions"


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def digest(data: bytes) -> str:
    return "sha=" + base64.b64encode(hashlib.sha1(data).digest()).decode()


@dataclass
class Client:
    """One account, by HTTP."""

    standin: BoxStandIn
    session: requests.Session = field(default_factory=requests.Session)
    token: str | None = None

    def __post_init__(self) -> None:
        self.session.trust_env = False
        self.token = self.token or self.standin.sign_in("root_readwrite")[0]

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        url = path if path.startswith("http") else self.standin.url + path
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self.session.request(method, url, headers=sent, timeout=20, allow_redirects=False, **more)

    def upload(
        self,
        name: str,
        data: bytes = b"x",
        parent: str = "0",
        path: str = "/api/2.0/files/content",
        **headers: str,
    ) -> requests.Response:
        attributes = (
            {"name": name} if "/files/content" not in path else {"name": name, "parent": {"id": parent}}
        )
        files = {"attributes": (None, json.dumps(attributes)), "file": (name, data)}
        named = {header.replace("_", "-"): value for header, value in headers.items()}
        return self.ask("POST", path, named, files=files)

    def folder(self, name: str, parent: str = "0") -> requests.Response:
        return self.ask("POST", "/2.0/folders", json={"name": name, "parent": {"id": parent}})

    def open(self, name: str = "big.bin", size: int = 100, parent: str = "0") -> requests.Response:
        body = {"folder_id": parent, "file_name": name, "file_size": size}
        return self.ask("POST", OPEN, json=body)

    def part(
        self, session: Mapping[str, Any], offset: int, data: bytes, total: int, **headers: str
    ) -> requests.Response:
        sent = {"digest": digest(data), "content-range": f"bytes {offset}-{offset + len(data) - 1}/{total}"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.ask("PUT", session["session_endpoints"]["upload_part"], sent, data=data)

    def commit(
        self, session: Mapping[str, Any], parts: Any, data: bytes, **headers: str
    ) -> requests.Response:
        sent = {"digest": digest(data), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.ask("POST", session["session_endpoints"]["commit"], sent, json={"parts": parts})


def code(answer: requests.Response) -> tuple[int, str]:
    document = answer.json()
    assert document["type"] == "error"
    assert document["status"] == answer.status_code
    assert document["help_url"]
    assert document["request_id"]
    return answer.status_code, document["code"]


def token(client: Client, **form: str) -> requests.Response:
    known = {"client_id": CLIENT, "client_secret": SECRET, **form}
    return client.session.post(client.standin.url + "/oauth2/token", data=known, timeout=10)
