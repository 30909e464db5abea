"""Built-in connectors, registered by the same entry point that third parties use.

Importing this package imports no SDK and no pydantic: each type's ``spec`` module says what it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from conveyor.contract import ConnectorSpec, OAuthProvider
from conveyor.hookspecs import hookimpl
from conveyor_connectors.azure_blob.spec import SPEC as AZURE_BLOB
from conveyor_connectors.box.provider import PROVIDER as BOX_ACCOUNTS
from conveyor_connectors.box.spec import SPEC as BOX
from conveyor_connectors.dropbox.provider import PROVIDER as DROPBOX_ACCOUNTS
from conveyor_connectors.dropbox.spec import SPEC as DROPBOX
from conveyor_connectors.ftp.spec import SPECS as FTP
from conveyor_connectors.google_drive.provider import PROVIDER as GOOGLE_ACCOUNTS
from conveyor_connectors.google_drive.spec import SPEC as GOOGLE_DRIVE
from conveyor_connectors.onedrive.provider import PROVIDER as MICROSOFT_ACCOUNTS
from conveyor_connectors.onedrive.spec import SPEC as ONEDRIVE
from conveyor_connectors.s3.spec import SPEC as S3
from conveyor_connectors.webdav.spec import SPEC as WEBDAV
from conveyor_connectors.webhook.spec import SPEC as WEBHOOK

SPECS: tuple[ConnectorSpec, ...] = (
    WEBHOOK, S3, AZURE_BLOB, GOOGLE_DRIVE, DROPBOX, ONEDRIVE, BOX, *FTP, WEBDAV,
)  # fmt: skip

PROVIDERS: tuple[OAuthProvider, ...] = (GOOGLE_ACCOUNTS, DROPBOX_ACCOUNTS, MICROSOFT_ACCOUNTS, BOX_ACCOUNTS)


@hookimpl
def conveyor_connectors() -> Iterable[ConnectorSpec]:
    """The specs of the built-in destination types."""
    return SPECS


@hookimpl
def conveyor_oauth_providers() -> Iterable[OAuthProvider]:
    """Where the built-in types have their accounts."""
    return PROVIDERS
