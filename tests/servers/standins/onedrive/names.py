"""Names, and the digest of OneDrive."""

from __future__ import annotations

import base64
import re

from servers.standins.onedrive.described import failed

_CHUNK = 160 * 1024
_RESERVED = re.compile(r"(?i)\.lock|con|prn|aux|nul|com[0-9]|lpt[0-9]|desktop\.ini")


class QuickXor:
    """quickXorHash: byte *i* is XORed in at bit ``11 * i mod 160``, the length at the end.

    https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash. The places repeat every 160
    bytes, so that blocks of a multiple of that may be XORed as they are and folded once.
    """

    def __init__(self) -> None:
        self._sum, self._rest, self._size = 0, b"", 0

    def copy(self) -> QuickXor:
        """One that goes on from here by itself."""
        other = QuickXor()
        other._sum, other._rest, other._size = self._sum, self._rest, self._size
        return other

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self._size += len(data)
        data = self._rest + data
        whole = len(data) - len(data) % _CHUNK
        for start in range(0, whole, _CHUNK):
            self._sum ^= int.from_bytes(data[start : start + _CHUNK], "little")
        self._rest = data[whole:]

    def base64(self) -> str:
        """The digest as ``file.hashes`` shows it."""
        everything = (self._sum ^ int.from_bytes(self._rest, "little")).to_bytes(_CHUNK, "little")
        places = 0
        for start in range(0, _CHUNK, 160):
            places ^= int.from_bytes(everything[start : start + 160], "little")
        value = self._size << 96
        for index, byte in enumerate(places.to_bytes(160, "little")):
            shifted = byte << (index * 11 % 160)
            value ^= (shifted & ((1 << 160) - 1)) | (shifted >> 160)
        return base64.b64encode(value.to_bytes(20, "little")).decode()


def check_name(name: str, *, top: bool, business: bool) -> None:
    """Refuse what may not be a name (support.microsoft.com, "Restrictions and limitations in OneDrive").

    Args:
        name: Of one file or folder.
        top: It stands in the root.
        business: Of a drive in SharePoint.

    Raises:
        Refused: 400.
    """
    if len(name) > 255:
        raise failed(400, "invalidRequest", "The name is too long.", "pathIsTooLong")
    bad = (
        not name
        or re.search(r'["*:<>?/\\|\x00-\x1f\x7f]', name)
        or name != name.strip(" ")
        or name.endswith(".")
        or name.startswith("~$")
        or _RESERVED.fullmatch(name)
        or "_vti_" in name
        or (business and top and name.casefold() == "forms")
    )
    if bad:
        raise failed(
            400, "invalidRequest", "The provided name cannot be used: it contains invalid characters.",
            "invalidPath", "nameContainsInvalidCharacters",
        )  # fmt: skip


def check_path(names: list[str], *, business: bool) -> None:
    """Refuse a path that is too long, or a bad name in it.

    Raises:
        Refused: 400.
    """
    if len("/".join(names)) >= 400:
        raise failed(400, "invalidRequest", "The path is too long.", "pathIsTooLong")
    for place, name in enumerate(names):
        check_name(name, top=not place, business=business)
