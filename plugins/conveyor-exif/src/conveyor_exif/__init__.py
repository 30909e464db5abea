"""Transform ``strip_exif``: JPEGs without EXIF, XMP and IPTC, their pictures untouched."""

from __future__ import annotations

from typing import BinaryIO

from conveyor.contract import DeliveryError, ErrorKind, Parcel
from conveyor.hooks import Made, Transform
from conveyor.hookspecs import hookimpl
from conveyor_exif.strip import Damaged, strip


def apply(parcel: Parcel, out: BinaryIO) -> Made | None:
    """Write the JPEG without its metadata; None for what has none and for what is no JPEG.

    Raises:
        DeliveryError: REJECTED for a JPEG too damaged to tell where its metadata is.
    """
    try:
        with parcel.open() as source:
            return Made() if strip(source, out) else None
    except Damaged as error:
        raise DeliveryError(
            ErrorKind.REJECTED,
            f"a damaged JPEG, from which metadata cannot be stripped for certain: {error}",
            hint="Send the picture again, or leave strip_exif out for this destination.",
        ) from None


@hookimpl
def conveyor_transforms() -> list[Transform]:
    """The one transform of this plugin."""
    return [Transform("strip_exif", "JPEGs without EXIF, XMP and IPTC, not recompressed", apply)]
