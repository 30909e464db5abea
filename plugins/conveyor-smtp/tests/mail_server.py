"""A mail server that keeps each attachment as a file, and refuses what its addresses say."""

from __future__ import annotations

import datetime
import email
import email.policy
import ipaddress
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conveyor.testing import FolderObserver, free_port

USER, PASSWORD = "conveyor", "a long password"
ANSWERS = {
    "nobody": "550 5.1.1 no such user here",
    "full": "552 5.2.2 mailbox is full",
    "grey": "451 4.7.1 greylisted, come again",
    "forbidden": "550 5.7.1 this sender may not send here",
}
"""By the local part of a recipient."""


def certificate(folder: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place = folder / "server.pem"
    place.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return place


class MailServer:
    """What arrived, and how the next mail is answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Any] = []
        self.answer: str | None = None
        self.port = 0
        self._known: set[tuple[str, str]] = set()

    def forget(self) -> None:
        """As if nothing had ever arrived."""
        for held in (self.files, self.mails, self.envelopes, self._known):
            held.clear()
        self.answer = None

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:
        if refusal := ANSWERS.get(address.partition("@")[0]):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 taken"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        if self.answer is not None:
            return self.answer
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        known = str(mail["Message-ID"]), str(mail["X-Conveyor-Path"])
        if known not in self._known:  # as Cyrus and Dovecot's Sieve do: the same mail once
            self._known.add(known)
            self.mails.append(mail)
            self.envelopes.append(envelope)
            self._keep(mail)
        return "250 2.0.0 queued as 4711"

    def _keep(self, mail: EmailMessage) -> None:
        (attachment,) = mail.iter_attachments()
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
            file.write(attachment.get_payload(decode=True))
        kept = self.folder / f"{len(self.mails)}-{quote(mail['Message-ID'], safe='')}"
        Path(file.name).rename(kept)
        self.files[str(mail["X-Conveyor-Path"])] = kept


class Mails(FolderObserver):
    """Looks at what the server kept, by the path that came with each mail."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(server.folder)
        self._server = server

    def read(self, path: str) -> bytes | None:
        file = self._server.files.get(path)
        return None if file is None else file.read_bytes()

    def sha256(self, path: str) -> str | None:
        file = self._server.files.get(path)
        return None if file is None else super().sha256(str(file))

    def put(self, path: str, data: bytes) -> None:
        self._server.files[path] = self.root / f"put-{len(self._server.files)}"
        self._server.files[path].write_bytes(data)

    def names(self) -> set[str]:
        known = {file.name for file in self._server.files.values()}
        return set(self._server.files) | (super().names() - known)

    def leftovers(self) -> set[str]:
        return {name for name in super().names() if name.startswith(".")}

    def wipe(self) -> None:
        self._server.forget()
        super().wipe()


def _authenticate(_: Any, __: Any, ___: Any, ____: str, login: Any) -> AuthResult:
    assert isinstance(login, LoginPassword)
    right = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextmanager
def serving(
    folder: Path, pem: Path | None = None, *, implicit: bool = False, login: bool = True, **options: Any
) -> Iterator[MailServer]:
    """A server on a free port.

    Args:
        folder: Where attachments are kept.
        pem: Certificate and key; none: neither TLS nor login.
        implicit: TLS from the first byte, instead of STARTTLS.
        login: A login is required.
        options: Of aiosmtpd.
    """
    server = MailServer(folder)
    server.port = free_port()
    tls = None
    if pem is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
        if login:
            options |= {"authenticator": _authenticate, "auth_required": not implicit}

    class Chosen(Controller):
        def factory(self) -> SMTP:
            if implicit:
                return SMTP(server, auth_require_tls=False, **options)
            return SMTP(server, tls_context=tls, require_starttls=tls is not None, **options)

    more = {"ssl_context": tls} if implicit else {}
    controller = Chosen(server, hostname="127.0.0.1", port=server.port, **more)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
