"""Sends each file as the attachment of a mail.

A server takes a mail when it has answered the line with the single dot that ends it (RFC 5321, section
4.1.1.4); whatever breaks before leaves nothing. When the answer to the dot is lost nobody can tell: the
engine sends the mail again, with the same ``Message-ID``.
"""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Iterator

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    CheckStep,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.naming import sound_segments
from conveyor_smtp import SPEC
from conveyor_smtp.errors import answered, classified
from conveyor_smtp.message import Mail, compose
from conveyor_smtp.options import SmtpOptions
from conveyor_smtp.wire import Session


class SmtpConnector:
    """Implements :class:`conveyor.contract.Connector`; each delivery has a connection of its own."""

    def __init__(self, options: SmtpOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Send the mail; the conflict policy means nothing to it."""
        list(sound_segments(target, SPEC.capabilities.names))
        mail = compose(parcel, target, self._options, parcel.submitted_at)
        with self._session(context) as session:
            self._envelope(session, mail.size)
            with context.phase("transfer"):
                self._send(session, mail, parcel, context)
            with context.phase("commit"):
                text = self._finish(session, context)
        return Receipt(
            f"{self._options.host} {mail.ident}", parcel.size, path=target.path, extra={"answer": text[:200]}
        )

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """A mail that was sent cannot be looked for."""
        return Found(FoundKind.UNSURE)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """A mail that was not finished does not exist, and one that was is gone."""

    def check(self, context: AttemptContext) -> CheckReport:
        """Connect, log in, and ask whether sender and recipients are taken. No mail is sent."""
        with self._session(context) as session:
            steps = [CheckStep("connect", True, f"{self._options.host}:{self._options.place}")]
            secure = self._options.security != "none"
            steps.append(CheckStep("tls", secure, "" if secure else "the mail travels in clear"))
            self._envelope(session, 0)
            steps.append(CheckStep("recipients", True, f"{len(self._options.to)} are taken"))
            limit = session.limit
        steps.append(CheckStep("send", False, "only a sample shows whether it arrives: --send-sample"))
        if limit:
            steps.append(CheckStep("size", True, f"the server takes mails up to {limit} bytes"))
        return CheckReport(tuple(steps))

    def close(self) -> None:
        """Nothing is kept open."""

    # --- inside ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _session(self, context: AttemptContext) -> Iterator[Session]:
        session = Session(self._options, self._env, context)
        try:
            with context.phase("connect"):
                with _step("connect"):
                    session.open()
                with _step("login"):
                    session.log_in()
            yield session
            with contextlib.suppress(smtplib.SMTPException, OSError):
                session.docmd("QUIT")  # the mail is with the server: how this ends is no matter
        finally:
            session.close()

    def _envelope(self, session: Session, size: int) -> None:
        """Name sender, recipients and size; all must be taken."""
        if session.limit is not None and size > session.limit:
            raise DeliveryError(
                ErrorKind.TOO_LARGE,
                f"the mail has {size} bytes, the server takes {session.limit}",
                hint="A file grows by 37 % in a mail.",
            )
        with _step("mail"):
            told = [f"SIZE={size}"] if session.has_extn("size") and size else []
            _expect(session.mail(self._options.sender, told), "mail")
        for address in self._options.to:
            with _step("rcpt"):
                _expect(session.rcpt(address), "rcpt")

    def _send(self, session: Session, mail: Mail, parcel: Parcel, context: AttemptContext) -> None:
        with _step("data"):
            code, text = session.docmd("DATA")
            if code != 354:
                raise answered(code, text, "data")
        with parcel.open() as source, _step("data"):
            session.send(mail.head)
            for count, lines in mail.body(source):
                session.send(lines)
                context.progress(count)
            session.send(mail.tail)

    def _finish(self, session: Session, context: AttemptContext) -> str:
        """End the message, and learn whether it was taken."""
        context.before_commit()
        with _step("data", sent=True):
            session.send(b".\r\n")
            context.uploaded()
            code, text = session.getreply()
        _expect((code, text), "data", sent=True)
        return text.decode("utf-8", "replace")


@contextlib.contextmanager
def _step(step: str, *, sent: bool = False) -> Iterator[None]:
    """Let nothing but the contract's errors out."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        raise classified(error, step, sent=sent) from None


def _expect(answer: tuple[int, bytes], step: str, *, sent: bool = False) -> None:
    code, text = answer
    if sent and not 200 <= code <= 599:
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "the mail server's answer to the mail makes no sense")
    if not 200 <= code <= 299:
        raise answered(code, text, step)
