"""The one list of what a template may say: variables, filters, formats. The documentation is made from it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from conveyor.paths.errors import PluginPathError
from conveyor.paths.values import Values, extension, stem

if TYPE_CHECKING:  # the contract imports this package
    from conveyor.contract import Parcel
    from conveyor.hooks import Place


@dataclass(frozen=True, slots=True)
class Variable:
    """A name in braces: what it means, an example of its value, and how it is read."""

    name: str
    meaning: str
    example: str
    read: Callable[[Values], str | int | None]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of names that share a prefix: ``tags.order`` is the key ``order`` of ``tags.``."""

    prefix: str
    meaning: str
    example: str
    read: Callable[[Values, str], str | None]


@dataclass(frozen=True, slots=True)
class Filter:
    """A change that the operator asks for: ``{filename!lower}``."""

    name: str
    meaning: str
    example: str
    apply: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class DateCode:
    """One ``%`` code of a date format. Ours, not the C library's: equal on each worker, in any locale."""

    code: str
    meaning: str
    write: Callable[[datetime], str]


_LATIN_MARKS = re.compile("[\u0300-\u036f]")
_NOT_SLUG = re.compile(r"[^\w.]+")
_SLUG_DOTS = re.compile(r"[-_]*\.[-_.]*")


def slug(text: str) -> str:
    """Lower-case letters, digits, ``-`` and single dots: ``Été à Paris (2).JPG`` → ``ete-a-paris-2.jpg``.

    Accents fall from letters; other scripts keep theirs, so that a Japanese name does not become nothing.
    """
    plain = unicodedata.normalize("NFC", _LATIN_MARKS.sub("", unicodedata.normalize("NFKD", text))).lower()
    dashed = _NOT_SLUG.sub("-", plain)
    return _SLUG_DOTS.sub(".", dashed).strip("-._")


_VARIABLES = (
    Variable("filename", "the submitted file name", "IMG 0001.JPG", lambda v: v.job.filename),
    Variable("stem", "the file name without its extension", "IMG 0001", lambda v: stem(v.job.filename)),
    Variable("ext", "the file name's extension, without the dot", "JPG", lambda v: extension(v.job.filename)),
    Variable("mime_type", "the media type", "image/jpeg", lambda v: v.job.media_type),
    Variable("session_id", "the session the file belongs to", "ses_42", lambda v: v.job.session_id),
    Variable("image_id", "the image's id", "img_7", lambda v: v.job.image_id),
    Variable("image_index", "the image's place, from 0", "3", lambda v: v.job.image_index),
    Variable("source", "where the file came from", "kiosk-2", lambda v: v.job.source),
    Variable("job_id", "the job's id", "job_1k0vd91ncm1000p376f68v", lambda v: v.job.id),
    Variable("delivery_id", "the delivery's id", "dlv_1k0vd91ncm1001a7c4x8yt", lambda v: v.delivery_id),
    Variable("destination", "the destination's id", "production-s3", lambda v: v.destination),
    Variable(
        "date",
        "the time of submission, in the configured `time_zone`; `%Y-%m-%d` without a format",
        "2026-11-22",
        lambda v: None,
    ),
    Variable(
        "uuid",
        "a UUID made from the delivery's id, the same on every attempt",
        "1b671a64-40d5-591e-99b0-da01ff1f3341",
        lambda v: v.uuid(),
    ),
    Variable(
        "sha256",
        "the SHA-256 of the file's bytes, in hex",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        lambda v: v.job.payload.digests.get("sha256"),
    ),
    Variable("cycle", "1, and one more with each replay", "1", lambda v: v.cycle),
)

_FAMILIES = (
    Family(
        "tags.",
        "the value of the tag `key:value`; `true` for a tag without a colon; of equal keys the last",
        "`{tags.order}`",
        lambda values, key: values.tag(key),
    ),
    Family(
        "meta.", "the job's metadata field", "`{meta.camera}`", lambda values, key: values.job.meta.get(key)
    ),
    Family(
        "labels.",
        "the destination's label",
        "`{labels.customer}`",
        lambda values, key: values.labels.get(key),
    ),
)

_FILTERS = (
    Filter("lower", "small letters", "`IMG 1.JPG` → `img 1.jpg`", str.lower),
    Filter("upper", "capital letters", "`img 1.jpg` → `IMG 1.JPG`", str.upper),
    Filter("title", "Each Word Capitalised", "`summer fair` → `Summer Fair`", str.title),
    Filter(
        "slug",
        "small letters, digits, `-` and single dots; accents fall, other scripts stay",
        "`Été à Paris (2).JPG` → `ete-a-paris-2.jpg`",
        slug,
    ),
)

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_DATE_CODES = (
    DateCode("Y", "year, four digits", lambda t: f"{t.year:04d}"),
    DateCode("y", "year, two digits", lambda t: f"{t.year % 100:02d}"),
    DateCode("m", "month, 01–12", lambda t: f"{t.month:02d}"),
    DateCode("d", "day, 01–31", lambda t: f"{t.day:02d}"),
    DateCode("H", "hour, 00–23", lambda t: f"{t.hour:02d}"),
    DateCode("I", "hour, 01–12", lambda t: f"{(t.hour - 1) % 12 + 1:02d}"),
    DateCode("p", "AM or PM", lambda t: "AM" if t.hour < 12 else "PM"),
    DateCode("M", "minute, 00–59", lambda t: f"{t.minute:02d}"),
    DateCode("S", "second, 00–59", lambda t: f"{t.second:02d}"),
    DateCode("f", "microsecond, six digits", lambda t: f"{t.microsecond:06d}"),
    DateCode("j", "day of the year, 001–366", lambda t: f"{t.timetuple().tm_yday:03d}"),
    DateCode("G", "year of the ISO week", lambda t: f"{t.isocalendar().year:04d}"),
    DateCode("V", "ISO week, 01–53", lambda t: f"{t.isocalendar().week:02d}"),
    DateCode("u", "day of the ISO week, 1 is Monday", lambda t: str(t.isoweekday())),
    DateCode("b", "month's name, short, English", lambda t: _MONTHS[t.month - 1][:3]),
    DateCode("B", "month's name, English", lambda t: _MONTHS[t.month - 1]),
    DateCode("a", "day's name, short, English", lambda t: _DAYS[t.weekday()][:3]),
    DateCode("A", "day's name, English", lambda t: _DAYS[t.weekday()]),
    DateCode("z", "offset from UTC, as +0100", lambda t: t.strftime("%z")),
    DateCode("%", "a percent sign", lambda t: "%"),
)

_variables = {v.name: v for v in _VARIABLES}
_filters = {f.name: f for f in _FILTERS}
VARIABLES: Final[Mapping[str, Variable]] = MappingProxyType(_variables)
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({f.prefix: f for f in _FAMILIES})
FILTERS: Final[Mapping[str, Filter]] = MappingProxyType(_filters)
BUILTIN: Final = frozenset({*_variables, *_filters})
"""The names that no plugin can replace."""
DATE_CODES: Final[Mapping[str, DateCode]] = MappingProxyType({c.code: c for c in _DATE_CODES})
FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "0Nd": "a number with zeros in front, to N digits: `{image_index:03d}` → `003`; other text stays",
        ".N": "the first N characters: `{sha256:.8}` → `9f86d081`",
    }
)
DATE_DEFAULT: Final = "%Y-%m-%d"


def add_variable(
    plugin: str, name: str, meaning: str, read: Callable[[Parcel, Place], str | None]
) -> str | None:
    """Let templates say a plugin's variable; what speaks against it, or None.

    The vocabulary is the process's: a plugin that is loaded again replaces its own word.
    """
    if name in BUILTIN or any(name == prefix.rstrip(".") for prefix in FAMILIES):
        return f"path variable {name!r} is there already; the first one is kept"

    def value(values: Values) -> str | None:
        return _checked(plugin, name, lambda: read(values.parcel(), values.place()))

    _variables[name] = Variable(name, meaning, "", value)
    return None


def add_filter(plugin: str, name: str, meaning: str, apply: Callable[[str], str]) -> str | None:
    """Let templates say a plugin's filter; what speaks against it, or None."""
    if name in BUILTIN:
        return f"path filter {name!r} is there already; the first one is kept"
    _filters[name] = Filter(name, meaning, "", lambda text: _checked(plugin, name, lambda: apply(text)) or "")
    return None


def _checked(plugin: str, name: str, call: Callable[[], str | None]) -> str | None:
    try:
        answer = call()
    except (Exception, SystemExit) as error:
        message = f"{name!r} of plugin {plugin!r} failed: {type(error).__name__}"
        raise PluginPathError(message, cure="mend or update the plugin") from None
    if answer is not None and not isinstance(answer, str):
        message = f"{name!r} of plugin {plugin!r} gave no text"
        raise PluginPathError(message, cure="mend or update the plugin")
    return answer
