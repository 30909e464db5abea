"""Opening a connection: dial, TLS, log in, learn what the server can do."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind
from conveyor_connectors.ftp.options import FtpOptions, Protocol
from conveyor_connectors.ftp.plain import facts
from conveyor_connectors.ftp.plain.client import Client, parse_home
from conveyor_connectors.ftp.plain.control import Control, Reply
from conveyor_connectors.ftp.plain.errors import of_exception, of_reply
from conveyor_connectors.ftp.plain.waiting import SILENCE, Patience

LOGIN = 20.0
"""Seconds for one answer until the login is done."""


def connect(options: FtpOptions, env: ConnectorEnv, pulse: Callable[[], None]) -> Client:
    """A client that is logged in.

    Raises:
        DeliveryError: What went wrong, classified.
        AttemptCancelled: From ``pulse``.
    """
    where = f"{options.host}:{options.port}"
    control: Control | None = None
    try:
        tls = env.network.tls_context(ca=options.ca_file) if options.protocol is Protocol.FTPS else None
        control = Control(env.network, tls, options.encoding, Patience())
        with control.patience.limited(LOGIN), control.patience.pulsing(pulse):
            control.open(options.host, options.port, implicit=options.implicit)
            _log_in(control, options)
            client = _introduced(control, options)
        control.patience.silence = SILENCE
    except Exception as error:
        _hang_up(control)
        if isinstance(error, Reply):
            doing = "the connection" if error.verb == "greeting" else f"the login ({error.verb})"
            raise of_reply(error, f"{where}: {doing}") from None
        raise of_exception(error, where) from None
    except BaseException:
        _hang_up(control)
        raise
    return client


def _hang_up(control: Control | None) -> None:
    if control is not None:
        control.poisoned = True
        control.hang_up()


def _log_in(control: Control, options: FtpOptions) -> None:
    if control.tls is not None and not options.implicit:
        control.start_tls()
    answer = control.ask(f"USER {options.username}")
    if answer.startswith("331"):
        answer = control.ask(f"PASS {options.password_text}")
    if answer.startswith("3"):
        raise DeliveryError(
            ErrorKind.CONFIG,
            "the server asks for more than a name and a password",
            hint="accounts (ACCT) and one-time passwords are not supported",
            code=answer[:3],
        )
    if control.tls is not None:
        control.protect()


def _introduced(control: Control, options: FtpOptions) -> Client:
    features: dict[str, str] = {}
    if (told := _asked(control, "FEAT")) is not None:
        features = facts.features(told)
    if options.encoding == "utf-8" and "UTF8" in features:
        _asked(control, "OPTS UTF8 ON")  # IIS keeps to its own code page until asked
    control.ask("TYPE I")
    home = _asked(control, "PWD")
    return Client(control, features, parse_home(home) if home else "")


def _asked(control: Control, command: str) -> str | None:
    """The answer; None when the server does not have that command."""
    try:
        return control.ask(command)
    except Reply as error:
        if error.code == 421:
            raise
        return None
