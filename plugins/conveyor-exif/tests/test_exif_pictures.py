"""Pictures made by Pillow: what a viewer sees stays, what tells about the photographer goes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageCms, IptcImagePlugin

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.hooks import Made
from conveyor.testing import make_parcel
from conveyor_exif import apply, conveyor_transforms

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>A. Person</dc:creator></x:xmpmeta>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0d\x1c\x02\x50\0\x08A.Person\0"
"""By-line (IIM 2:80) in Photoshop's resource 0x0404."""


def picture(orientation: int | None = 6, **options: Any) -> bytes:
    """A photo with everything that can tell on its maker."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Acme"
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (47.0, 30.0, 0.0)
    out = io.BytesIO()
    image = Image.effect_mandelbrot((320, 200), (-2, -1, 1, 1), 50).convert("RGB")
    image.save(out, "JPEG", exif=exif, xmp=XMP, icc_profile=ICC, comment=b"a comment", **options)
    made = out.getvalue()
    return made[:2] + b"\xff\xed" + (len(IPTC) + 2).to_bytes(2, "big") + IPTC + made[2:]


def transformed(data: bytes) -> bytes | None:
    """What the transform makes; None when it changes nothing."""
    out = io.BytesIO()
    made = apply(make_parcel(data), out)
    assert made in (None, Made())
    return out.getvalue() if made else None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}], ids=str)
def test_the_picture_stays_and_its_metadata_go(options: dict[str, Any]) -> None:
    original = picture(**options)
    before = Image.open(io.BytesIO(original))
    assert IptcImagePlugin.getiptcinfo(before) == {(2, 80): b"A.Person"}
    result = transformed(original)
    assert result is not None
    after = Image.open(io.BytesIO(result))
    assert after.tobytes() == before.tobytes()
    assert dict(after.getexif()) == {ExifTags.Base.Orientation: 6}
    assert not after.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert IptcImagePlugin.getiptcinfo(after) is None
    assert "xmp" not in after.info
    assert (after.info["icc_profile"], after.info["comment"]) == (ICC, b"a comment")
    assert b"Person" not in result
    assert b"Acme" not in result
    assert transformed(result) is None


def test_without_an_orientation_no_exif_is_left() -> None:
    result = transformed(picture(None))
    assert result is not None
    assert b"Exif" not in result


def test_further_pictures_of_the_file_go_with_their_metadata() -> None:
    """As phones write them: an index (MPF) in the first picture, the second one after its end."""
    out = io.BytesIO()
    first, second = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Acme"
    second.encoderinfo = {"exif": exif}
    first.save(out, "MPO", save_all=True, append_images=[second])
    assert b"Acme" in out.getvalue()
    result = transformed(out.getvalue())
    assert result is not None
    assert b"MPF" not in result
    assert b"Acme" not in result
    after = Image.open(io.BytesIO(result))
    assert (after.format, after.size, after.getexif()) == ("JPEG", (32, 32), {})


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "WEBP"])
def test_other_formats_pass_whatever_their_name(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    assert transformed(out.getvalue()) is None
    assert transformed(b"") is None


def test_a_damaged_one_is_rejected_with_the_place_and_the_cure() -> None:
    with pytest.raises(DeliveryError) as told:
        transformed(picture()[:300])
    assert told.value.kind is ErrorKind.REJECTED
    assert "byte 300" in told.value.message
    assert "strip_exif" in (told.value.hint or "")


def test_a_payload_that_cannot_be_read_is_told_as_such() -> None:
    gone = DeliveryError(ErrorKind.SOURCE, "the payload is gone")
    parcel = make_parcel(picture(), raises_at=100, error=lambda: gone)
    with pytest.raises(DeliveryError) as told:
        apply(parcel, io.BytesIO())
    assert told.value is gone


def test_it_is_announced() -> None:
    (transform,) = conveyor_transforms()
    assert (transform.name, transform.rename) == ("strip_exif", None)
