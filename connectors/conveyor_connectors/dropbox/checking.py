"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError
from conveyor.kit.checking import canary, deleted, written
from conveyor_connectors.dropbox.errors import Taken
from conveyor_connectors.dropbox.service import Service, Stored, commit_of


def check(service: Service, root: str, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now, ("dropbox",))
    folder = f"{root}/.conveyor-test"
    path = f"{folder}/{parcel.filename}"
    commit = commit_of(parcel, path, overwrite=False)
    made = service.upload(parcel, commit, context)
    steps = [written(made.path, "dropbox")]
    try:
        steps.append(_look(service, path, made))
        try:
            service.upload(parcel, commit, context)
        except Taken:
            steps.append(CheckStep("create only", True, "a name that is taken is refused"))
        else:
            steps.append(CheckStep("create only", False, "Dropbox took the same name twice"))
    finally:
        steps.append(deleted(folder, lambda: service.delete(folder)))
    return CheckReport(tuple(steps))


def _look(service: Service, path: str, made: Stored) -> CheckStep:
    try:
        there = service.look(path)
    except DeliveryError as error:
        return CheckStep("look", False, f"a lost answer cannot be settled: {error.message}")
    same = isinstance(there, Stored) and there.hash == made.hash
    return CheckStep("look", same, "its content hash is right" if same else "it is not what was written")
