"""A small Cloud Storage that keeps to the documented rules, in memory; what fake-gcs-server is lax about.

Each rule has its source. P is https://cloud.google.com/storage/docs/performing-resumable-uploads,
C is https://cloud.google.com/storage/docs/request-preconditions, V is
https://cloud.google.com/storage/docs/data-validation, O is https://cloud.google.com/storage/docs/objects,
E is https://cloud.google.com/storage/docs/json_api/v1/status-codes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

BUCKET = "acme-photos"
EMAIL = "conveyor@acme.iam.gserviceaccount.com"
UNIT = 256 * 1024
MD5_DIFFERS = 'Provided MD5 hash "{}" doesn\'t match calculated MD5 hash "{}".'


class Refused(Exception):
    """An answer that is an error (E)."""

    def __init__(self, status: int, reason: str, message: str = "made up", **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.message, self.headers = status, reason, message, headers


@dataclass
class Object:
    about: dict[str, Any]
    content: bytes
    generation: int

    def document(self, name: str) -> dict[str, Any]:
        md5 = base64.b64encode(hashlib.md5(self.content).digest()).decode()
        told = {"name": name, "generation": str(self.generation), "size": str(len(self.content))}
        return {**self.about, **told, "md5Hash": md5}


@dataclass
class Session:
    """An upload that has begun; its content is shown to nobody (O: objects are atomic)."""

    about: dict[str, Any]
    match: str | None
    size: int
    content: bytearray = field(default_factory=bytearray)
    made: dict[str, Any] | None = None


class CloudStorage:
    """The state of one service.

    Attributes:
        objects: By name; one bucket exists.
        sessions: By upload id.
        refuse: Asked before each request with its method and path: an error to answer, or None.
        spoil: Makes of received bytes those that are kept: a store that loses bits.
        checks_md5: Whether it compares digests that come with an upload.
        requester_pays: Requests must name a project that does.
        elsewhere: Where uploads go, when it is not here.
        requests: Method and path with query of everything asked.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, Object] = {}
        self.sessions: dict[str, Session] = {}
        self.refuse: Callable[[str, str], Refused | None] = lambda method, path: None
        self.spoil: Callable[[bytes], bytes] = bytes
        self.checks_md5 = True
        self.requests: list[tuple[str, str]] = []
        self.bearers: list[str | None] = []
        self.tokens: set[str] = set()
        self.requester_pays = False
        self.elsewhere = ""
        self._generations = itertools.count(int(time.time() * 1e6))
        self._ids = itertools.count(1)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def account(self, **changes: str) -> str:
        """The JSON key of the one service account."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        told = {"type": "service_account", "client_email": EMAIL, "private_key": pem}
        return json.dumps({**told, "token_uri": f"{self.url}/token", **changes})

    def open_sessions(self) -> set[str]:
        with self.lock:
            return {number for number, session in self.sessions.items() if session.made is None}

    @contextmanager
    def refusing(self, error: Refused, where: str = "/") -> Iterator[dict[str, Any]]:
        """Answer every request to a path that begins so with an error."""
        self.refuse = lambda method, path: error if path.startswith(where) else None
        try:
            yield {}
        finally:
            self.refuse = lambda method, path: None

    # --- what requests do -----------------------------------------------------------------------

    def token(self, form: Mapping[str, list[str]]) -> dict[str, Any]:
        """RFC 7523: an assertion signed by the account's key for a token."""
        head, claims, signature = form["assertion"][0].split(".")
        told = json.loads(_unpadded(claims))
        try:
            self.key.public_key().verify(
                _unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except Exception:
            raise Refused(400, "invalid_grant", "Invalid JWT Signature.") from None
        if told["iss"] != EMAIL or told["exp"] < time.time():
            raise Refused(400, "invalid_grant", "Invalid JWT.")
        token = f"ya29.secret-{next(self._ids)}"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def machine(self, path: str, flavor: str | None) -> dict[str, Any]:
        """What a machine of Google's is told (https://cloud.google.com/compute/docs/metadata/querying-metadata)."""
        if flavor != "Google":
            raise Refused(403, "forbidden", "Missing Metadata-Flavor:Google header.")
        if not path.endswith("/token"):
            return {"email": EMAIL, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
        self.tokens.add("ya29.of-the-machine")
        return {"access_token": "ya29.of-the-machine", "expires_in": 3600, "token_type": "Bearer"}

    def allow(self, bearer: str | None, bucket: str, payer: str | None) -> None:
        if bearer is None or bearer.removeprefix("Bearer ") not in self.tokens:
            raise Refused(401, "authError", "Invalid Credentials")
        if bucket != BUCKET:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        if self.requester_pays and payer is None:
            raise Refused(400, "userProjectMissing", "Bucket is a requester pays bucket but no user project.")

    def insert(self, about: dict[str, Any], content: bytes, match: str | None) -> dict[str, Any]:
        """One object, at once: preconditions (C), digests (V), names (O)."""
        name = str(about["name"])
        if not 1 <= len(name.encode()) <= 1024 or "\n" in name or "\r" in name or name in (".", ".."):
            raise Refused(400, "invalid", "Invalid object name")
        content = self.spoil(content)
        told, found = about.get("md5Hash"), base64.b64encode(hashlib.md5(content).digest()).decode()
        if told is not None and self.checks_md5 and told != found:
            raise Refused(400, "invalid", MD5_DIFFERS.format(told, found))
        with self.lock:
            self.must_match(name, match)
            made = Object(about, content, next(self._generations))
            self.objects[name] = made
            return made.document(name)

    def must_match(self, name: str, match: str | None) -> None:
        """``ifGenerationMatch`` is the live generation; 0 means that there is none (C)."""
        if match is None:
            return
        live = self.objects[name].generation if name in self.objects else 0
        if int(match) != live:
            text = "At least one of the pre-conditions you specified did not hold."
            raise Refused(412, "conditionNotMet", text)

    def begin(self, about: dict[str, Any], size: int, match: str | None) -> str:
        with self.lock:
            self.must_match(str(about["name"]), match)
            number = f"upload-secret-{next(self._ids)}"
            self.sessions[number] = Session(about, match, size)
            return number

    def proceed(self, number: str, span: str, source: BinaryIO, length: int) -> dict[str, Any] | int:
        """A piece, or a question (P). What arrives is kept in units, even when the rest of it never does."""
        with self.lock:
            session = self.sessions.get(number)
            if session is None:
                raise Refused(404, "notFound", "Not Found")
            if session.made is not None:
                return session.made
        span, _, total = span.removeprefix("bytes ").partition("/")
        if int(total) != session.size:
            raise Refused(400, "invalid", "the size differs from the one that was announced")
        if span == "*":
            return len(session.content)
        start, end = map(int, span.split("-"))
        if start > len(session.content) or end - start + 1 != length:
            raise Refused(503, "backendError", "the piece does not follow what is kept")
        if end + 1 < session.size and length % UNIT:
            raise Refused(400, "invalid", "a piece that is not the last is a multiple of 256 KiB")
        return self._take(session, start, source, length)

    def _take(self, session: Session, start: int, source: BinaryIO, length: int) -> dict[str, Any] | int:
        """What is kept already is not written again: a request that is late changes nothing."""
        while length:
            data = source.read(min(UNIT, length))
            if len(data) < min(UNIT, length):
                raise ConnectionError("cut")
            with self.lock:
                session.content += data[max(0, len(session.content) - start) :]
            start, length = start + len(data), length - len(data)
        with self.lock:
            if session.made is not None:
                return session.made
            if len(session.content) < session.size:
                return len(session.content)
            session.made = self.insert(session.about, bytes(session.content), session.match)
            return session.made

    def cancel(self, number: str) -> None:
        """P: "If successful, the response contains a 499 status code"."""
        with self.lock:
            session = self.sessions.get(number)
            if session is None or session.made is not None:
                raise Refused(404, "notFound", "Not Found")
            del self.sessions[number]
            raise Refused(499, "clientClosedRequest", "")


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: CloudStorage
    timeout = 20

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.storage.requests.append((self.command, self.path))
        self.storage.bearers.append(self.headers["Authorization"])
        try:
            if (refused := self.storage.refuse(self.command, parts.path)) is not None:
                raise refused
            self._answer(*self._route(parts.path, query))
        except Refused as error:
            first = {"domain": "global", "reason": error.reason, "message": error.message}
            told: Any = {"error": {"code": error.status, "message": error.message, "errors": [first]}}
            if parts.path == "/token":
                told = {"error": error.reason, "error_description": error.message}
            self.close_connection = True  # of the body perhaps nothing was read
            self._answer(error.status, told, error.headers)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _route(self, path: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        length = int(self.headers["Content-Length"] or 0)
        if path == "/token":
            return 200, self.storage.token(parse_qs(self.rfile.read(length).decode())), {}
        if (number := query.get("upload_id")) is not None:
            return self._session(number, length)
        if path.startswith("/computeMetadata/v1/"):
            return (
                200,
                self.storage.machine(path, self.headers["Metadata-Flavor"]),
                {"Metadata-Flavor": "Google"},
            )
        _, _, bucket, *rest = path.removeprefix("/upload").removeprefix("/storage/v1").split("/", 4)
        self.storage.allow(self.headers["Authorization"], unquote(bucket), query.get("userProject"))
        if path.startswith("/upload/"):
            return self._upload(query, length)
        return self._object(unquote(rest[1]), query)

    def _upload(self, query: dict[str, str], length: int) -> tuple[int, Any, dict[str, str]]:
        match = query.get("ifGenerationMatch")
        if query["uploadType"] == "resumable":
            about = json.loads(self._whole(length))
            number = self.storage.begin(about, int(self.headers["X-Upload-Content-Length"]), match)
            place = self.storage.elsewhere or f"http://{self.headers['Host']}"
            path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&upload_id={number}"
            return 200, None, {"Location": place + path}
        mark = self.headers["Content-Type"].partition("boundary=")[2].encode()
        _, first, rest = self._whole(length).split(b"--" + mark, 2)
        content = rest.partition(b"\r\n\r\n")[2]
        end = b"\r\n--" + mark + b"--\r\n"
        if not content.endswith(end):
            raise Refused(400, "badContent", "Missing end boundary in multipart body.")
        about = json.loads(first.partition(b"\r\n\r\n")[2])
        return 200, self.storage.insert(about, content[: -len(end)], match), {}

    def _whole(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionError("cut")
        return data

    def _session(self, number: str, length: int) -> tuple[int, Any, dict[str, str]]:
        if self.command == "DELETE":
            self.storage.cancel(number)
        told = self.storage.proceed(number, self.headers["Content-Range"], self.rfile, length)
        if isinstance(told, int):
            return 308, None, {"Range": f"bytes=0-{told - 1}"} if told else {}
        return 200, told, {}

    def _object(self, name: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        with self.storage.lock:
            there = self.storage.objects.get(name)
            if there is None or query.get("generation") not in (None, str(there.generation)):
                raise Refused(404, "notFound", f"No such object: {BUCKET}/{name}")
            if self.command == "DELETE":
                self.storage.must_match(name, query.get("ifGenerationMatch"))
                del self.storage.objects[name]
                return 204, None, {}
            return 200, there.content if query.get("alt") == "media" else there.document(name), {}

    def _answer(self, status: int, told: Any, headers: Mapping[str, str]) -> None:
        content = told if isinstance(told, bytes) else b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(told, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Connections are cut on purpose."""


@contextmanager
def serving() -> Iterator[CloudStorage]:
    """A service on a free port."""
    storage = CloudStorage()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"storage": storage}))
    storage.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
