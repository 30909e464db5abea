"""A stand-in for Nextcloud's files: run as a process by ``nextcloud.py``, never imported.

Rules, written from the vendor's pages:

* https://docs.nextcloud.com/server/latest/developer_manual/client_apis/WebDAV/chunking.html: each request of
  an upload names its target in Destination; chunks are named 1 to 10000; each but the last has 5 MB to 5 GB;
  chunks cannot be downloaded; MOVE of ``.file`` assembles them in the order of their names; the sum must be
  OC-Total-Length (400 otherwise).
* …/client_apis/WebDAV/basic.html, request headers: OC-Checksum is kept and not verified; X-Hash asks for a
  hash of what was stored; X-OC-MTime is answered by ``accepted``.
* Names that end in .part or .filepart and names with a backslash are refused (400, InvalidPath).
* A MOVE that assembles while another one does so is 423; after it the upload is gone: 404.
* sabre/dav: PUT below a missing folder 409, MKCOL on what exists 405, below a missing folder 409, MOVE with
  Overwrite: F on what exists 412, PROPFIND on what does not exist 404.

``PUT /control/assembling`` with a number makes the next assemblies outlast the gateway (504) and that many
further orders (423); ``PUT /control/finish`` lets the next order find it done; ``PUT /control/forbidden``
makes the next upload impossible. ``GET /control/log`` tells each request with its headers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

HOME, PORT, USER, PASSWORD = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
FILES, UPLOADS = HOME / "files", HOME / "uploads"
DAV = "/remote.php/dav"
MIN_CHUNK, MAX_CHUNK = 5_000_000, 5_000_000_000

lock = threading.RLock()
checksums: dict[str, str] = {}
busy: dict[str, int] = {}
targets: dict[str, str] = {}
control = {"assembling": 0, "forbidden": 0}
log: list[dict[str, object]] = []


class Refused(Exception):
    def __init__(self, status: int, kind: str = "Exception", message: str = "") -> None:
        super().__init__(status)
        self.status, self.kind, self.message = status, kind, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        self.left = int(self.headers.get("Content-Length") or 0)
        log.append({"method": self.command, "path": self.path, "headers": {**self.headers}})
        try:
            if self.headers.get("Transfer-Encoding"):
                raise Refused(411)
            self._dispatch()
        except Refused as refused:
            self._drain()
            text = (
                '<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
                f"<s:exception>{refused.kind}</s:exception><s:message>{escape(refused.message)}</s:message>"
                "</d:error>"
            )
            self._answer(refused.status, text.encode())
        except ConnectionError:
            self.close_connection = True

    do_GET = do_PUT = do_DELETE = do_PROPFIND = do_MKCOL = do_MOVE = do_HEAD = _any

    def _dispatch(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/control/"):
            self._control(path)
            return
        self._login()
        for root, base in ((FILES, f"{DAV}/files/{USER}"), (UPLOADS, f"{DAV}/uploads/{USER}")):
            if path == base or path.startswith(base + "/"):
                place = root / path[len(base) :].strip("/")
                name = f"_{'upload' if root is UPLOADS else 'file'}_{self.command.lower()}"
                handler = getattr(self, name, None)
                if handler is None:
                    raise Refused(405)
                handler(place)
                return
        raise Refused(404)

    def _control(self, path: str) -> None:
        if path == "/control/log":
            self._answer(200, json.dumps(log).encode())
            return
        told = int(self.rfile.read(self.left) or 0)
        self.left = 0
        if path == "/control/finish":
            for name in busy:
                busy[name] = 1
        else:
            control[path.rpartition("/")[2]] = told
        self._answer(204)

    def _login(self) -> None:
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            raise Refused(401, "NotAuthenticated", "Cannot authenticate")

    # --- files ------------------------------------------------------------------------------------

    def _file_propfind(self, place: Path) -> None:
        self._drain()
        if not place.exists():
            raise Refused(404, "NotFound", "could not be located")
        self._multistatus([place], FILES, "files")

    def _file_get(self, place: Path) -> None:
        if not place.is_file():
            raise Refused(404 if not place.exists() else 405)
        self.send_response(200)
        self.send_header("Content-Length", str(place.stat().st_size))
        self.end_headers()
        with place.open("rb") as file:
            shutil.copyfileobj(file, self.wfile)

    def _file_mkcol(self, place: Path) -> None:
        check_name(place)
        with lock:
            if place.exists():
                raise Refused(405, "MethodNotAllowed", "already exists")
            if not place.parent.is_dir():
                raise Refused(409, "Conflict", "Parent node does not exist")
            place.mkdir()
        self._answer(201)

    def _file_put(self, place: Path) -> None:
        check_name(place)
        if not place.parent.is_dir():
            raise Refused(409, "Conflict", "Files can only be created in a folder")
        if place.is_dir():
            raise Refused(409, "Conflict", "PUT is not allowed on a folder")
        sha256 = self._store(place)
        with lock:
            checksums[str(place)] = self.headers.get("OC-Checksum", "")
        extra = self._time(place)
        if self.headers.get("X-Hash", "").lower() == "sha256":
            extra["X-Hash-SHA256"] = sha256
        self._answer(201, headers={"OC-ETag": f'"{sha256[:13]}"', **extra})

    def _file_delete(self, place: Path) -> None:
        remove(place)
        self._answer(204)

    def _file_move(self, place: Path) -> None:
        destination = self._destination()
        check_name(destination)
        with lock:
            if not place.exists():
                raise Refused(404, "NotFound")
            if not destination.parent.is_dir():
                raise Refused(409, "Conflict", "The destination node is not found")
            existed = destination.exists()
            if existed and self.headers.get("Overwrite", "T").upper() == "F":
                raise Refused(412, "PreconditionFailed", "The destination node already exists")
            if destination.is_dir():
                remove(destination)
            place.replace(destination)
            checksums[str(destination)] = checksums.pop(str(place), "")
        self._answer(204 if existed else 201)

    # --- uploads ----------------------------------------------------------------------------------

    def _upload_mkcol(self, place: Path) -> None:
        target = self._destination()
        with lock:
            if control["forbidden"]:
                control["forbidden"] = 0
                raise Refused(405, "MethodNotAllowed")
            if place.exists():
                raise Refused(405)
            if place.parent != UPLOADS:
                raise Refused(403)
            place.mkdir()
            targets[place.name] = str(target)
        self._answer(201)

    def _upload_propfind(self, place: Path) -> None:
        self._drain()
        if not place.is_dir():
            raise Refused(404, "NotFound")
        depth = self.headers.get("Depth", "infinity")
        inside = sorted(place.iterdir()) if depth == "1" else []
        self._multistatus([place, *inside], UPLOADS, "uploads")

    def _upload_get(self, place: Path) -> None:
        raise Refused(405 if place.exists() else 404)

    def _upload_put(self, place: Path) -> None:
        if not place.parent.is_dir() or place.parent == UPLOADS:
            raise Refused(404, "NotFound", "Upload folder not found")
        self._same_target(place.parent)
        if not place.name.isdigit() or not 1 <= int(place.name) <= 10_000:
            raise Refused(400, "BadRequest", "Invalid chunk name, must be numeric between 1 and 10000")
        if self.left > MAX_CHUNK:
            raise Refused(400, "BadRequest", "Invalid chunk size")
        try:
            self._store(place)
        except FileNotFoundError:
            raise Refused(404, "NotFound", "Upload folder not found") from None
        self._answer(201)

    def _upload_delete(self, place: Path) -> None:
        remove(place)
        self._answer(204)

    def _upload_move(self, place: Path) -> None:
        upload = place.parent
        if place.name != ".file" or not upload.is_dir():
            raise Refused(404, "NotFound")
        self._same_target(upload)
        destination = self._destination()
        check_name(destination)
        with lock:
            if upload.name in busy:
                self._still_busy(upload, destination)
            chunks = sorted(upload.iterdir())
            self._check_chunks(chunks)
            if not destination.parent.is_dir():
                raise Refused(409, "Conflict")
            if destination.exists() and self.headers.get("Overwrite", "T").upper() == "F":
                raise Refused(412, "PreconditionFailed")
            if control["assembling"]:
                busy[upload.name], control["assembling"] = control["assembling"], 0
                raise Refused(504)
            self._assemble(upload, chunks, destination)
        self._answer(201, headers=self._time(destination))

    def _still_busy(self, upload: Path, destination: Path) -> None:
        busy[upload.name] -= 1
        if busy[upload.name] > 0:
            raise Refused(423, "Locked")
        del busy[upload.name]
        self._assemble(upload, sorted(upload.iterdir()), destination)
        raise Refused(404, "NotFound")

    def _check_chunks(self, chunks: list[Path]) -> None:
        sizes = [chunk.stat().st_size for chunk in chunks]
        total = self.headers.get("OC-Total-Length")
        if total is None or int(total) != sum(sizes):
            raise Refused(
                400, "BadRequest", f"Chunks on server do not sum up to {total} but to {sum(sizes)} bytes"
            )
        if any(size < MIN_CHUNK for size in sizes[:-1]):
            raise Refused(400, "BadRequest", "Your proposed upload is smaller than the minimum allowed size")

    def _assemble(self, upload: Path, chunks: list[Path], destination: Path) -> None:
        partial = HOME / "incoming" / f"{upload.name}.whole"
        with partial.open("wb") as whole:
            for chunk in chunks:
                with chunk.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        partial.replace(destination)
        checksums[str(destination)] = self.headers.get("OC-Checksum", "")
        shutil.rmtree(upload)

    def _same_target(self, upload: Path) -> None:
        if targets.get(upload.name) != str(self._destination()):
            raise Refused(400, "BadRequest", "Destination is not the one of this upload")

    # --- helpers ----------------------------------------------------------------------------------

    def _destination(self) -> Path:
        told = self.headers.get("Destination")
        if told is None:
            raise Refused(400, "BadRequest", "The destination header was not supplied")
        path = unquote(urlsplit(told).path)
        base = f"{DAV}/files/{USER}/"
        if not path.startswith(base):
            raise Refused(502, "BadGateway", "Destination is not on this server")
        return FILES / path[len(base) :].strip("/")

    def _store(self, place: Path) -> str:
        digest = hashlib.sha256()
        partial = HOME / "incoming" / f"{threading.get_ident()}.ocTransferId"
        with partial.open("wb") as file:
            while self.left:
                block = self.rfile.read(min(self.left, 1 << 16))
                if not block:
                    raise ConnectionError
                self.left -= len(block)
                digest.update(block)
                file.write(block)
        partial.replace(place)
        return digest.hexdigest()

    def _time(self, place: Path) -> dict[str, str]:
        told = self.headers.get("X-OC-MTime")
        if told is None:
            return {}
        os.utime(place, (int(told), int(told)))
        return {"X-OC-MTime": "accepted"}

    def _multistatus(self, places: list[Path], root: Path, kind: str) -> None:
        text = "".join(describe(place, root, kind) for place in places)
        body = (
            '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
            f"{text}</d:multistatus>"
        )
        self._answer(207, body.encode(), {"Content-Type": "application/xml; charset=utf-8"})

    def _drain(self) -> None:
        while self.left > 0 and (block := self.rfile.read(min(self.left, 1 << 16))):
            self.left -= len(block)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self._drain()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def describe(place: Path, root: Path, kind: str) -> str:
    folder = place.is_dir()
    href = f"{DAV}/{kind}/{USER}/{quote(str(place.relative_to(root)))}" + ("/" if folder else "")
    about = "<d:resourcetype><d:collection/></d:resourcetype>"
    if not folder:
        about = f"<d:resourcetype/><d:getcontentlength>{place.stat().st_size}</d:getcontentlength>"
    if told := checksums.get(str(place)):
        about += f"<oc:checksums><oc:checksum>{escape(told)}</oc:checksum></oc:checksums>"
    return (
        f"<d:response><d:href>{escape(href)}</d:href><d:propstat><d:prop>{about}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )


def check_name(place: Path) -> None:
    if "\\" in place.name or place.name.lower().endswith((".part", ".filepart")) or place.name == ".htaccess":
        raise Refused(400, "OCA\\DAV\\Connector\\Sabre\\Exception\\InvalidPath", "forbidden file name")
    if len(place.name.encode()) > 250:
        raise Refused(400, "OCA\\DAV\\Connector\\Sabre\\Exception\\InvalidPath", "File name is too long")


def remove(place: Path) -> None:
    with lock:
        if not place.exists():
            raise Refused(404, "NotFound")
        checksums.pop(str(place), None)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place) if place.is_dir() else place.unlink()


for made in (FILES, UPLOADS, HOME / "incoming"):
    made.mkdir(exist_ok=True)
server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
server.serve_forever()
