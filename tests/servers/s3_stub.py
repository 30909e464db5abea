"""An S3 endpoint that gives one answer to everything: for what no local server can be brought to say."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conveyor.testing.ports import LOOPBACK
from servers.tls import Certificates


@dataclass
class Answer:
    """A status, a code of the service and headers; ``body`` replaces the error document."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "made up"
    extra: str = ""
    body: bytes | None = None
    endless: bytes = b""
    """What is sent as the body for ever, a single byte slowly."""

    def document(self) -> bytes:
        if self.body is not None:
            return self.body
        if not self.code:
            return b""
        text = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>{self.extra}</Error>"
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


@dataclass
class Stub:
    """The endpoint: what it answers, in order, the last one for ever; and what it was asked."""

    answers: list[Answer]
    url: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Answer:
        with self.lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def answering(*answers: Answer, certificates: Certificates | None = None) -> Iterator[Stub]:
    """Serve these answers on a free port, over TLS with certificates."""
    stub = Stub(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stub.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            answer = stub.next()
            body = b"" if self.command == "HEAD" else answer.document()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.endless:
                self._go_on(answer.endless)
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _go_on(self, piece: bytes) -> None:
            self.close_connection = True
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(piece)
                    time.sleep(0.05 if len(piece) == 1 else 0)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://{LOOPBACK}:{server.server_address[1]}"
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        stub.url = stub.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
