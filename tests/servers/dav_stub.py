"""A WebDAV server that says what it is told to: for what no local server can be brought to say."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conveyor.testing.ports import LOOPBACK
from servers.tls import Certificates

METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "MOVE")


@dataclass
class Answer:
    """A status, headers, a body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Stub:
    """What it answers by method, in order, the last one for ever; and what it was asked."""

    script: dict[str, list[Answer]]
    url: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str) -> Answer:
        with self.lock:
            answers = self.script.get(method) or self.script["*"]
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def asked(self, method: str) -> list[dict[str, str]]:
        return [headers for name, _, headers in self.requests if name == method]


@contextmanager
def answering(
    script: Mapping[str, Answer | list[Answer]], *, certificates: Certificates | None = None
) -> Iterator[Stub]:
    """Serve a script on a free port, over TLS with certificates; ``*`` is what all other methods get."""
    stub = Stub({name: [*said] if isinstance(said, list) else [said] for name, said in script.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stub.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            answer = stub.next(self.command)
            body = b"" if self.command == "HEAD" else answer.body
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler._any)
    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://{LOOPBACK}:{server.server_address[1]}"
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        stub.url = stub.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def multistatus(path: str, *, folder: bool = False, size: int | None = None, extra: str = "") -> Answer:
    """A 207 about one resource."""
    kind = "<d:resourcetype><d:collection/></d:resourcetype>" if folder else "<d:resourcetype/>"
    length = "" if size is None else f"<d:getcontentlength>{size}</d:getcontentlength>"
    text = (
        '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
        f"<d:response><d:href>{path}</d:href><d:propstat><d:prop>{kind}{length}{extra}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
    )
    return Answer(207, {"Content-Type": "application/xml"}, text.encode())
