"""Names within a destination's rules: those that ``rename`` tries, and those that no request is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from conveyor.contract import (
    AttemptContext,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    NameRules,
    Parcel,
    Target,
)
from conveyor.paths.names import LengthUnit

NUMBERED = 32
"""Names tried in order; after them one number made of the delivery's id, so that the thousandth
``image.jpg`` does not ask a thousand times."""


def candidates(parcel: Parcel, target: Target, context: AttemptContext, rules: NameRules) -> Iterator[str]:
    """The paths to try, in order: under ``rename`` the one that an earlier attempt saved, the target's path,
    ``name (1)`` and so on; under the other policies the target's path alone.

    Before a create the caller saves the path it is about to take, as :func:`saved_candidates` does.
    """
    if target.conflict is not ConflictPolicy.RENAME:
        yield target.path
        return
    saved = saved_path(context)
    if saved is not None:
        yield saved
    for number in range(NUMBERED):
        if (path := numbered(target, number, rules)) != saved:
            yield path
    own = int(hashlib.sha256(parcel.delivery_id.encode()).hexdigest()[:8], 16)
    yield numbered(target, NUMBERED + own, rules)


def saved_candidates(
    parcel: Parcel, target: Target, context: AttemptContext, rules: NameRules, *, marked: bool = False
) -> Iterator[str]:
    """The paths of :func:`candidates`, each saved as ``path`` in the delivery's state before it is handed
    out: a retry after a lost answer then knows its own file there.

    Args:
        parcel: What is delivered.
        target: Where to.
        context: Keeps the state.
        rules: What names may look like.
        marked: A retry knows its own file under the target's path without being told that it was there: by
            what is stored with it, or as :func:`tried_before` says. That path, which nearly all get, is not
            saved then: it costs a durable write.
    """
    for path in candidates(parcel, target, context, rules):
        if context.state.get("path", target.path if marked else None) != path:
            context.save(path=path)
        yield path


def tried_before(target: Target, context: AttemptContext) -> str | None:
    """The path that an earlier attempt of this delivery was about to take, where the service keeps no more of
    a delivery than its bytes and time of submission; None where there was none.

    The target's own path need not have been saved: whatever has these bytes and this time there, and is found
    by a second attempt, is what the first one left. Under ``overwrite`` no path is anybody's own.
    """
    saved = saved_path(context)
    if saved is not None:
        return saved
    return target.path if context.attempt > 1 and target.conflict is not ConflictPolicy.OVERWRITE else None


def saved_path(context: AttemptContext) -> str | None:
    """What :func:`saved_candidates` saved last; None where it did not."""
    saved = context.state.get("path")
    return saved if isinstance(saved, str) else None


def sound_segments(target: Target, rules: NameRules) -> Iterator[str]:
    """The levels of a target's path, each looked at first: what is the service's own to refuse is for the
    caller to see in each.

    Raises:
        DeliveryError: NAME for a path or a level that is too long, for an empty level, ``.`` and ``..``.
    """
    if length(target.path, rules.unit) > rules.path_max:
        raise DeliveryError(ErrorKind.NAME, f"the path has more than {rules.path_max} characters")
    for segment in target.segments:
        if not segment or segment in (".", ".."):
            raise DeliveryError(ErrorKind.NAME, "the path has an empty level, . or ..")
        if length(segment, rules.unit) > rules.segment_max:
            raise DeliveryError(ErrorKind.NAME, f"a name has more than {rules.segment_max} characters")
        yield segment


def numbered(target: Target, number: int, rules: NameRules) -> str:
    """The target's name with a number, its stem cut where the name or the path would become too long."""
    path = target.numbered(number)
    name = path.rpartition("/")[2]
    over = max(length(path, rules.unit) - rules.path_max, length(name, rules.unit) - rules.segment_max)
    if over <= 0:
        return path
    head, slash, first = target.path.rpartition("/")
    stem, dot, ext = first.rpartition(".")
    if not stem:
        stem, dot, ext = first, "", ""
    kept = _cut(stem, max(1, length(stem, rules.unit) - over), rules.unit)
    return Target(f"{head}{slash}{kept}{dot}{ext}", target.conflict).numbered(number)


def length(text: str, unit: LengthUnit) -> int:
    """What a limit in this unit counts."""
    if unit is LengthUnit.BYTES:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2 if unit is LengthUnit.UTF16 else len(text)


def _cut(text: str, most: int, unit: LengthUnit) -> str:
    """The beginning of a text, in whole characters."""
    if unit is LengthUnit.BYTES:
        return text.encode()[:most].decode(errors="ignore")
    if unit is LengthUnit.UTF16:
        return text.encode("utf-16-le")[: 2 * most].decode("utf-16-le", "ignore")
    return text[:most]
