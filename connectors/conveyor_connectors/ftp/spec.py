"""What the types ``ftp``, ``ftps`` and ``sftp`` are. Imports no SDK."""

from __future__ import annotations

from dataclasses import replace

from conveyor.contract import Capabilities, ConnectorSpec, NameRules

SFTP_CAPABILITIES = Capabilities(
    atomic=True,
    create_only=True,
    find=True,
    # Room for " (12)" before the server's 255 bytes, and for remote_path before Linux's 4096.
    names=NameRules(segment_max=245, path_max=3500),
    concurrency=4,
)

FTP_CAPABILITIES = replace(
    SFTP_CAPABILITIES,
    # RFC 959 has no rename or store that refuses a taken name: Conveyor looks first.
    create_only=False,
    # Servers cut trailing spaces off a command; ProFTPD reads * and Pure-FTPd [ ] as patterns.
    names=replace(SFTP_CAPABILITIES.names, forbidden="*[]", forbidden_ends=" "),
)
"""Also of type ``ftp`` with ``protocol: sftp``: a type promises only what all its protocols keep."""

FTP = ConnectorSpec(
    type="ftp",
    summary="A folder on a file server: FTP, or by protocol FTPS or SFTP",
    factory="conveyor_connectors.ftp.choice:connector",
    options="conveyor_connectors.ftp.options:FtpOptions",
    capabilities=FTP_CAPABILITIES,
    extra="ftp",
    example="""\
partner:
  type: ftp
  protocol: ftps          # without it the password and the files travel in clear text
  host: files.partner.example
  username: photos
  password: ${PARTNER_PASSWORD}
  remote_path: /incoming
""",
)

FTPS = replace(
    FTP,
    type="ftps",
    summary="A folder on an FTP server, over TLS",
    factory="conveyor_connectors.ftp.plain.connector:FtpConnector",
    presets={"protocol": "ftps"},
    example="""\
partner:
  type: ftps
  host: files.partner.example
  username: photos
  password: ${PARTNER_PASSWORD}
  remote_path: /incoming
""",
)

SFTP = replace(
    FTP,
    type="sftp",
    summary="A folder on an SFTP server",
    factory="conveyor_connectors.ftp.sftp.connector:SftpConnector",
    capabilities=SFTP_CAPABILITIES,
    presets={"protocol": "sftp"},
    example="""\
partner:
  type: sftp
  host: files.partner.example
  username: photos
  private_key: !file secrets/id_ed25519
  host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPa07BxPg40xYaKqC5D6R5RefLRxW4KFlQKtYv7tb0Vb"
  remote_path: /incoming
""",
)

SPECS = (FTP, FTPS, SFTP)
