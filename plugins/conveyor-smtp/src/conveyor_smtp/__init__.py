"""Destination type ``smtp``: each file as the attachment of a mail."""

from __future__ import annotations

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.hookspecs import hookimpl

SPEC = ConnectorSpec(
    type="smtp",
    summary="Each file as the attachment of a mail",
    factory="conveyor_smtp.connector:SmtpConnector",
    options="conveyor_smtp.options:SmtpOptions",
    # A mail cannot be looked for, replaced or taken back, and nobody tells what a mailbox holds of it.
    capabilities=Capabilities(
        names=NameRules(segment_max=255, path_max=1000),
        concurrency=2,
        places=False,
        deletes=False,
        observable=False,
    ),
    example=(
        "office:\n  type: smtp\n  host: mail.example.com\n"
        "  username: conveyor\n  password: ${SMTP_PASSWORD}\n"
        "  sender: photos@example.com\n  to: [office@example.com]\n"
    ),
)


@hookimpl
def conveyor_connectors() -> list[ConnectorSpec]:
    """The one type of this plugin."""
    return [SPEC]
