"""One SSH connection with one SFTP session: dial, exchange keys, know the server, log in."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import paramiko

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind
from conveyor.kit.turns import Turns
from conveyor.network import Network
from conveyor_connectors.ftp.hostkeys import HostKey
from conveyor_connectors.ftp.options import FtpOptions
from conveyor_connectors.ftp.server import LinkLost
from conveyor_connectors.ftp.sftp import errors
from conveyor_connectors.ftp.sftp.auth import log_in
from conveyor_connectors.ftp.sftp.client import SILENCE, TICK, Client, StatusError
from conveyor_connectors.ftp.sftp.guard import GuardedSocket
from conveyor_connectors.ftp.sftp.transport import Transport
from conveyor_connectors.ftp.sftp.trust import known_keys, require_trusted

DIAL = 10.0
BANNER = 15.0
HANDSHAKE = 20.0
CHANNEL = 15.0
KEEPALIVE = 30
"""Seconds."""

LOGINS_AT_ONCE = 4
"""Per server and process. OpenSSH drops connections at random from the tenth that has not logged in
(MaxStartups 10:30:100), so that sixteen connectors that wake up together must queue."""

_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Preferred: one pass in OpenSSL instead of a cipher and an HMAC that is computed in Python."""

_KEY_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}

_LOG_CHANNEL = "conveyor.connectors.sftp.paramiko"

Pulse = Callable[[], None]


class Session:
    """An open connection. Not for concurrent use; :meth:`close` may come from any thread."""

    def __init__(self, transport: Transport, guard: GuardedSocket, client: Client) -> None:
        self.transport = transport
        self.client = client
        self.has_shell = True
        """Until a command was refused: whether the server runs commands beside SFTP."""
        self._guard = guard

    @property
    def server(self) -> str:
        """How the server introduces itself, for instance ``SSH-2.0-OpenSSH_9.2``."""
        return str(self.transport.remote_version)

    @property
    def sound(self) -> bool:
        """The connection is up, and nothing is owed in either direction."""
        return self.transport.is_active() and self.client.idle

    @contextlib.contextmanager
    def pulsing(self, pulse: Pulse) -> Iterator[None]:
        """Ask ``pulse`` at least twice a second while something is waited for."""
        before = self.client.pulse, self._guard.pulse
        self.client.pulse = self._guard.pulse = pulse
        self._guard.owner = threading.get_ident()
        try:
            yield
        finally:
            self.client.pulse, self._guard.pulse = before

    def answers(self, within: float) -> bool:
        """Whether the server still answers: one short question."""
        try:
            with self.limited(within):
                self.client.realpath(".")
        except StatusError:
            return True
        except LinkLost:
            return False
        return True

    @contextlib.contextmanager
    def limited(self, silence: float) -> Iterator[None]:
        """Wait for the server for at most ``silence`` seconds, and let nothing cancel that."""
        before = self.client.silence
        self.client.silence = silence
        try:
            with self.pulsing(lambda: None):
                yield
        finally:
            self.client.silence = before

    def run(self, command: str, *, most: int) -> bytes:
        """What ``command`` prints, up to ``most`` bytes; nothing where commands are not run."""
        output = bytearray()
        try:
            channel = self.transport.open_session(timeout=CHANNEL)
        except (paramiko.SSHException, EOFError, OSError):
            return b""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError), channel:
            channel.settimeout(TICK)
            channel.exec_command(command)
            channel.shutdown_write()  # a forced internal-sftp waits for requests, and ends on this
            while len(output) < most:
                try:
                    data = channel.recv(most)
                except TimeoutError:
                    self.client.pulse()
                    continue
                if not data:
                    break
                output += data
        return bytes(output)

    def close(self) -> None:
        """Hang up and wait for paramiko's thread. Never raises."""
        hang_up(self.transport)


def hang_up(transport: Transport) -> None:
    """Close a transport in any state and wait for its thread. Never raises."""
    with contextlib.suppress(Exception):
        transport.packetizer.complete_handshake()  # else its timer thread lives on
    with contextlib.suppress(Exception):
        transport.close()
    transport.sock.close()
    if transport.is_alive():
        transport.join(5.0)


def connect(options: FtpOptions, env: ConnectorEnv, pulse: Pulse) -> Session:
    """Open a session.

    Raises:
        DeliveryError: What went wrong, classified.
        AttemptCancelled: From ``pulse``.
    """
    where = f"{options.host}:{options.port}"
    with _logins.take(where, pulse):
        transport, guard = _shake_hands(
            options.host, options.port, env.network, known_keys(options, env), pulse
        )
        try:
            require_trusted(_key_of(transport), options, env)
            log_in(transport, options)
            client = _open_client(transport, pulse)
        except Exception as error:
            problem = _explain(error, transport, where)
            hang_up(transport)
            raise problem from None
        except BaseException:
            hang_up(transport)
            raise
    return Session(transport, guard, client)


def scan_host_key(host: str, port: int, network: Network) -> tuple[str, str]:
    """The key that the server shows now.

    Returns:
        The line for ``host_key``, and the fingerprint (``SHA256:…``) to compare with what the server's
        operator says.

    Raises:
        DeliveryError: It cannot be reached, or offers no key that can be trusted.
    """
    transport, _ = _shake_hands(host, port, network, (), lambda: None)
    key = _key_of(transport)
    hang_up(transport)
    return key.line, key.fingerprint


def _key_of(transport: paramiko.Transport) -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


def _shake_hands(
    host: str, port: int, network: Network, pins: tuple[str, ...], pulse: Pulse
) -> tuple[Transport, GuardedSocket]:
    where = f"{host}:{port}"
    try:
        guard = GuardedSocket(network.dial(host, port, DIAL))
        transport = Transport(cast(socket.socket, guard))
    except Exception as error:
        raise errors.of_exception(error, where) from None
    try:
        _configure(transport, pins)
        done = threading.Event()
        transport.start_client(event=done)
        while not done.wait(0.25):
            pulse()
        if not transport.is_active() or not transport.initial_kex_done:
            raise transport.get_exception() or EOFError("no key exchange")
    except Exception as error:
        problem = _explain(error, transport, where)
        hang_up(transport)
        raise problem from None
    except BaseException:
        hang_up(transport)
        raise
    return transport, guard


def _configure(transport: paramiko.Transport, pins: tuple[str, ...]) -> None:
    transport.set_log_channel(_LOG_CHANNEL)
    transport.banner_timeout = BANNER
    transport.handshake_timeout = HANDSHAKE
    transport.channel_timeout = CHANNEL
    security = transport.get_security_options()
    security.ciphers = _first(_FAST_CIPHERS, security.ciphers)
    types = [HostKey.parse(pin).type for pin in pins]
    wanted = [name for kind in types for name in _KEY_ALGORITHMS.get(kind, (kind,))]
    security.key_types = _first(wanted, security.key_types)
    transport.set_keepalive(KEEPALIVE)


def _first(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    ahead = tuple(dict.fromkeys(name for name in wanted if name in known))
    return ahead + tuple(name for name in known if name not in ahead)


def _open_client(transport: paramiko.Transport, pulse: Pulse) -> Client:
    channel = transport.open_session(timeout=CHANNEL)
    channel.settimeout(CHANNEL)
    channel.invoke_subsystem("sftp")
    client = Client(channel)
    client.pulse = pulse
    client.silence = CHANNEL
    client.start()
    client.silence = SILENCE
    return client


def _explain(error: Exception, transport: Transport, where: str) -> DeliveryError:
    if isinstance(error, LinkLost):
        return DeliveryError(ErrorKind.TRANSIENT, f"{where}: {error}", hint=transport.parting or None)
    if isinstance(error, paramiko.AuthenticationException) and _cut_off(error, transport):
        # paramiko reports a connection that breaks during the login as a refused login.
        ended = "the connection ended during the login"
        said = transport.parting or ("no answer to the login" if transport.is_active() else ended)
        return DeliveryError(ErrorKind.TRANSIENT, f"{where}: {said}")
    known = errors.of_exception(error, where)
    if transport.parting:
        known.message += f": {transport.parting}"
    return known


def _cut_off(error: paramiko.AuthenticationException, transport: paramiko.Transport) -> bool:
    return not transport.is_active() or "timeout" in str(error).lower()


_logins = Turns(LOGINS_AT_ONCE)
logging.getLogger(_LOG_CHANNEL).setLevel(logging.CRITICAL)
