"""The connector for type ``ftp``, by the destination's protocol. Imports only what that protocol needs."""

from __future__ import annotations

from conveyor.contract import Connector, ConnectorEnv, DeliveryError, ErrorKind
from conveyor_connectors.ftp.options import FtpOptions, Protocol


def connector(options: FtpOptions, env: ConnectorEnv) -> Connector:
    """An SFTP connector, or one for FTP and FTPS.

    Raises:
        DeliveryError: CONFIG, SFTP's library is not installed.
    """
    if options.protocol is Protocol.SFTP:
        try:
            from conveyor_connectors.ftp.sftp.connector import SftpConnector
        except ModuleNotFoundError as error:
            raise DeliveryError(
                ErrorKind.CONFIG,
                f"protocol sftp needs {error.name}",
                hint="install Conveyor with its extra ftp",
            ) from None
        return SftpConnector(options, env)
    from conveyor_connectors.ftp.plain.connector import FtpConnector

    return FtpConnector(options, env)
