"""Runs pyftpdlib: ``home port password certificate|- implicit``."""

import sys
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

home, port, password, certificate, implicit = sys.argv[1:]


class Data(TLS_DTPHandler):
    """Hangs up when a client that was sent the end of TLS answers or is gone: pyftpdlib 2.2 spins instead."""

    def handle_read_event(self) -> None:
        if self._ssl_closing:
            DTPHandler.close(self)
        else:
            super().handle_read_event()


class Implicit(TLS_FTPHandler):
    """TLS from the first byte."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        super().handle()

    def ftp_AUTH(self, arg: str) -> None:
        self.respond("550 Encrypted already.")


authorizer = DummyAuthorizer()
authorizer.add_user("conveyor", password, str(Path(home) / "data"), perm="elradfmwMT")
authorizer.add_user("reader", password, str(Path(home) / "data"), perm="elr")
handler = FTPHandler
if certificate != "-":
    handler = Implicit if implicit == "1" else TLS_FTPHandler
    handler.dtp_handler = Data
    handler.certfile = certificate
    handler.tls_control_required = implicit != "1"
    handler.tls_data_required = True
handler.authorizer = authorizer
handler.auth_failed_timeout = 0.05
handler.max_login_attempts = 1000
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
