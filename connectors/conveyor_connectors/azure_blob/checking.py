"""``conveyor test`` for a container: sign in, write, verify and delete a small blob."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, ErrorKind, Parcel
from conveyor.kit.checking import canary, deleted, read_back, written
from conveyor_connectors.azure_blob.container import Container, Taken

_MAY_NOT = (ErrorKind.CONFIG, ErrorKind.REJECTED)


def check(container: Container, prefix: str, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Args:
        container: Where.
        prefix: What the canary's name begins with.
        now: Seconds since the epoch.
        context: The attempt.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now)
    name = f"{prefix}{parcel.filename}"
    steps = [_container_step(container, context)]
    stored = container.put(parcel, name, context, create=True)
    steps.append(written(name, stored.verified))
    try:
        steps.append(_read_step(container, name, context))
        steps.append(_create_only_step(container, parcel, name, context))
    finally:
        steps.append(deleted(name, lambda: container.delete(name, context, stored.etag)))
    return CheckReport(tuple(steps))


def _container_step(container: Container, context: AttemptContext) -> CheckStep:
    """A SAS can never look at the container itself; a delivery does not need to."""
    try:
        container.exists(context)
    except DeliveryError as error:
        if error.kind is not ErrorKind.CONFIG or error.code in ("ContainerNotFound", "ResourceNotFound"):
            raise
        return CheckStep("container", False, "not permitted to look; deliveries do not need it")
    return CheckStep("container", True, "it exists and the sign-in is accepted")


def _read_step(container: Container, name: str, context: AttemptContext) -> CheckStep:
    try:
        found = container.sha256(name, context)
    except DeliveryError as error:
        if error.kind not in _MAY_NOT:
            raise
        return CheckStep("read back", False, f"not possible: a lost answer cannot be settled ({error.code})")
    return read_back(found)


def _create_only_step(container: Container, parcel: Parcel, name: str, context: AttemptContext) -> CheckStep:
    try:
        container.put(parcel, name, context, create=True)
    except Taken:
        return CheckStep("create only", True, "a name that is taken is refused")
    raise DeliveryError(
        ErrorKind.CONFIG,
        "the server ignores If-None-Match, so that files could be overwritten",
        hint="Use Azure's own service, or conflict: overwrite.",
    )
