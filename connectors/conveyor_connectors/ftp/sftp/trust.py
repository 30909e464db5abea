"""Whether the server is the one it should be: pinned in the config, or remembered in the ledger."""

from __future__ import annotations

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind
from conveyor_connectors.ftp.hostkeys import HostKey, memory_name
from conveyor_connectors.ftp.options import FtpOptions


def known_keys(options: FtpOptions, env: ConnectorEnv) -> tuple[str, ...]:
    """The lines that may be shown: those of the config, else the remembered one; empty for none yet.

    Their types are asked for first, so that a server which adds a key of a better type stays trusted.
    """
    if options.host_keys:
        return options.host_keys
    remembered = env.memory.get(memory_name(options.host, options.port))
    return (remembered,) if isinstance(remembered, str) else ()


def require_trusted(shown: HostKey, options: FtpOptions, env: ConnectorEnv) -> None:
    """Pass only the right server, before any credential is sent.

    Raises:
        DeliveryError: CONFIG, with the fingerprint and what to do.
    """
    if options.host_keys:
        if shown not in [HostKey.parse(line) for line in options.host_keys]:
            raise _changed(shown, options, env, "host_key")
        return
    name = memory_name(options.host, options.port)
    if options.accepts_new:
        remembered = env.memory.put_if_absent(name, shown.line)
    else:
        remembered = env.memory.get(name)
    if remembered is None:
        raise _unknown(shown, options, env)
    if remembered != shown.line:
        raise _changed(shown, options, env, "the key remembered from an earlier connection")


def is_known(line: str, options: FtpOptions, env: ConnectorEnv) -> bool | None:
    """Whether ``line`` is trusted already; None when nothing is trusted yet."""
    known = [HostKey.parse(pin) for pin in known_keys(options, env)]
    return HostKey.parse(line) in known if known else None


def remember(line: str, options: FtpOptions, env: ConnectorEnv) -> None:
    """Trust ``line`` from now on, in place of what was remembered; for ``conveyor trust``.

    Raises:
        DeliveryError: CONFIG, when the config pins another key: what is remembered would never be asked for.
    """
    key = HostKey.parse(line)
    if options.host_keys:
        if key not in [HostKey.parse(pin) for pin in options.host_keys]:
            raise DeliveryError(
                ErrorKind.CONFIG,
                "the host_key of the config decides, and it is another one",
                hint=f'set host_key: "{key.line}" in the config',
            )
        return
    name = memory_name(options.host, options.port)
    if env.memory.get(name) != key.line:
        env.memory.forget(name)
        env.memory.put_if_absent(name, key.line)


def _unknown(shown: HostKey, options: FtpOptions, env: ConnectorEnv) -> DeliveryError:
    return DeliveryError(
        ErrorKind.CONFIG,
        f"the server {options.host}:{options.port} is not trusted yet; its key is {shown.type} "
        f"{shown.fingerprint}",
        hint=f"compare the fingerprint with the server's operator, then add the line "
        f'host_key: "{shown.line}" or run: conveyor trust {env.destination}',
    )


def _changed(shown: HostKey, options: FtpOptions, env: ConnectorEnv, against: str) -> DeliveryError:
    return DeliveryError(
        ErrorKind.CONFIG,
        f"the server {options.host}:{options.port} shows another key than {against}: {shown.type} "
        f"{shown.fingerprint}; nothing was sent to it",
        hint="somebody may be in between. If the server's operator confirms the change, set "
        f'host_key: "{shown.line}" or, without a host_key in the config, run: '
        f"conveyor trust {env.destination}",
    )
