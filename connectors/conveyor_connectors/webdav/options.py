"""What a destination of type ``webdav`` can be told. Imports no SDK."""

from __future__ import annotations

import enum
import ipaddress
from typing import Annotated
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import LocalPath, Options, Size

MIB = 1 << 20
_URL_SAFE = "/%:@!$&'()*+,;=~-._"


class Auth(enum.StrEnum):
    """How user name and password are sent."""

    BASIC = "basic"
    DIGEST = "digest"


class Chunked(enum.StrEnum):
    """Whether large files go in chunks."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Verify(enum.StrEnum):
    """How the stored file is verified before it gets its name."""

    SIZE = "size"
    SHA256 = "sha256"


class DestinationHeader(enum.StrEnum):
    """How MOVE names its destination."""

    AUTO = "auto"
    URL = "url"
    PATH = "path"


def _dav_url(value: str) -> str:
    if any(character <= " " or character == "\x7f" for character in value):
        raise ValueError("holds a space or a control character; write %20 for a space")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://cloud.example.com/remote.php/dav/files/USER")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; use username and password")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    if parts.port == 0:
        raise ValueError("port 0 cannot be connected to")
    if any(unquote(part) in (".", "..") for part in parts.path.split("/")):
        raise ValueError("must not have . or .. in its path")
    return value.rstrip("/")


def _folder(value: str) -> str:
    if any(part in (".", "..") for part in value.split("/")):
        raise ValueError("must not have . or .. in it")
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("holds a control character")
    return "/".join(part for part in value.split("/") if part)


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces")
    return value


class WebdavOptions(Options):
    """A folder on a WebDAV server: Nextcloud, ownCloud, Apache, nginx and others."""

    url: Annotated[str, AfterValidator(_dav_url)] = Field(
        description="Address of the WebDAV folder. Nextcloud and ownCloud show it in the settings of their "
        "files page: https://cloud.example.com/remote.php/dav/files/USER.",
    )
    username: str | None = Field(None, description="User name for the login.")
    password: SecretStr | None = Field(
        None,
        description="Password; on Nextcloud and ownCloud an app password, made on the security page of the "
        "account.",
    )
    token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None, description="Bearer token instead of user name and password."
    )
    auth: Auth = Field(Auth.BASIC, description="How the password is sent: `basic`, or `digest`.")
    allow_http: bool = Field(
        False,
        description="Send the login over http too, where everybody on the way can read it. Not needed for "
        "this machine itself.",
    )
    remote_path: Annotated[str, AfterValidator(_folder)] = Field(
        "", description="Folder below the URL to deliver into. It must exist; folders below it are made."
    )
    chunked_upload: Chunked = Field(
        Chunked.AUTO,
        description="Send large files in chunks, which continue after a break. `auto`: on Nextcloud and "
        "ownCloud, known by /remote.php/dav/files/USER in the URL.",
    )
    chunk_size: Size = Field(
        16 * MIB,
        ge=5 * MIB,
        le=4096 * MIB,
        description="Size of a chunk; files above it are sent in chunks. Grows where 10,000 do not do.",
    )
    verify: Verify = Field(
        Verify.SIZE,
        description="`size`: compare the size, and the checksum where the server tells one. `sha256`: also "
        "read each file back before it gets its name.",
    )
    keep_time: bool = Field(
        False,
        description="Set the file's modification time to the time of submission. "
        "Nextcloud and ownCloud only.",
    )
    destination_header: DestinationHeader = Field(
        DestinationHeader.AUTO,
        description="How a file is renamed on the server: by whole URL or by path. `auto`: by URL, and by "
        "path where a proxy in front of the server makes it refuse the URL.",
    )
    verify_tls: bool = Field(True, description="Verify the server's certificate. Turn it off only for tests.")
    ca_bundle: LocalPath | None = Field(
        None, description="File with the CA certificates to trust for this server."
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> WebdavOptions:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: give both or neither")
        if self.token is not None and self.username is not None:
            raise ValueError("give either a token or username and password, not both")
        if self.username is not None and (":" in self.username or not self.username.isprintable()):
            raise ValueError("username must be printable and hold no colon (RFC 7617)")
        if self.auth is Auth.DIGEST and self.username is None:
            raise ValueError("auth: digest needs username and password")
        if self.chunked_upload is Chunked.ON and self.uploads is None:
            raise ValueError("chunked_upload: on needs a URL with /remote.php/dav/files/USER")
        login = self.username is not None or self.token is not None
        if login and not self.allow_http and self.url.startswith("http:") and not _is_this_machine(self.url):
            raise ValueError("the login would be sent unencrypted: use https, or set allow_http: true")
        return self

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{_ascii(parts.netloc)}"

    @property
    def root(self) -> str:
        """Path of the URL, percent-encoded, without a slash at its end."""
        return quote(urlsplit(self.url).path, safe=_URL_SAFE).rstrip("/")

    @property
    def is_cloud(self) -> bool:
        """Nextcloud or ownCloud, whose headers (OC-Checksum, X-OC-MTime, X-Hash) are worth sending."""
        return "/remote.php/" in f"{self.root}/"

    @property
    def uploads(self) -> str | None:
        """Where Nextcloud and ownCloud take chunks: ``…/remote.php/dav/uploads/USER``; None elsewhere."""
        before, mark, after = f"{self.root}/".partition("/remote.php/dav/files/")
        user = after.partition("/")[0]
        return f"{before}/remote.php/dav/uploads/{user}" if mark and user else None


def _ascii(netloc: str) -> str:
    return netloc if netloc.isascii() else netloc.encode("idna").decode("ascii")


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
