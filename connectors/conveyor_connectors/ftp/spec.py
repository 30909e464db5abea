"""What the types ``ftp`` and ``sftp`` are. Imports no SDK."""

from __future__ import annotations

from dataclasses import replace

from conveyor.contract import Capabilities, ConnectorSpec, NameRules

CAPABILITIES = Capabilities(
    atomic=True,
    create_only=True,
    find=True,
    # Room for " (12)" before the server's 255 bytes, and for remote_path before Linux's 4096.
    names=NameRules(segment_max=245, path_max=3500),
    concurrency=4,
)

FTP = ConnectorSpec(
    type="ftp",
    summary="A folder on a file server (this version: SFTP only, protocol: sftp)",
    factory="conveyor_connectors.ftp.sftp.connector:SftpConnector",
    options="conveyor_connectors.ftp.options:FtpOptions",
    capabilities=CAPABILITIES,
    extra="ftp",
    example="""\
partner:
  type: ftp
  protocol: sftp
  host: files.partner.example
  username: photos
  private_key: !file secrets/id_ed25519
  host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPa07BxPg40xYaKqC5D6R5RefLRxW4KFlQKtYv7tb0Vb"
  remote_path: /incoming
""",
)

SFTP = replace(
    FTP,
    type="sftp",
    summary="A folder on an SFTP server",
    presets={"protocol": "sftp"},
    example=FTP.example.replace("  type: ftp\n  protocol: sftp\n", "  type: sftp\n"),
)

SPECS = (FTP, SFTP)
