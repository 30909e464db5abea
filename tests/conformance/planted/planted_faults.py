"""Connectors that are wrong in one way each, each to be noticed by a test of the suite.

:mod:`planted_table` says which.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar
from urllib.parse import unquote

from conveyor.contract import (
    AttemptCancelled,
    AttemptContext,
    CheckReport,
    CheckStep,
    ConflictPolicy,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.testing.memory import MemoryConnector, MemoryOptions, StoreFault, classify
from conveyor.testing.memory_store import Stored


class Wrapped:
    """A context that passes everything on; a fault overrides what it gets wrong."""

    def __init__(self, context: AttemptContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def kept_kind(error: DeliveryError, kind: ErrorKind, **changes: Any) -> DeliveryError:
    fields: dict[str, Any] = {"retry_after": error.retry_after, "hint": error.hint, "code": error.code}
    return DeliveryError(kind, error.message, **{**fields, **changes})


class Misjudging(MemoryConnector):
    """Takes some errors for others."""

    WRONG: ClassVar[Mapping[ErrorKind, ErrorKind]] = {}

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        try:
            return super().deliver(parcel, target, context)
        except DeliveryError as error:
            raise kept_kind(error, self.WRONG.get(error.kind, error.kind)) from None


class LosesEmptyFiles(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if parcel.size == 0:
            return Receipt(reference=target.path, path=target.path, size=0)
        return super().deliver(parcel, target, context)


class BoastingReceipt(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        receipt = super().deliver(parcel, target, context)
        return dataclasses.replace(receipt, size=parcel.size + 1)


class ShowsParts(MemoryConnector):
    """The half file stands under its name until the whole one replaces it."""

    def _send(self, parcel: Parcel, upload: str, offset: int, context: AttemptContext) -> None:
        self._store.begin(upload + "-part")
        self._store.append(upload + "-part", 0, b"a part")
        self._store.commit(upload + "-part", "inbox/photo.jpg", sha256=None, delivery_id="", replace=True)
        try:
            super()._send(parcel, upload, offset, context)
        finally:
            self._store.delete("inbox/photo.jpg")


class DeletesBeforeReplacing(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if target.conflict is ConflictPolicy.OVERWRITE:
            with contextlib.suppress(StoreFault):
                self._store.delete(target.path)
        return super().deliver(parcel, target, context)


class AsksAfterPublishing(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        late = Wrapped(context)
        late.before_commit = lambda: None
        receipt = super().deliver(parcel, target, late)  # type: ignore[arg-type]
        context.before_commit()
        return receipt


class AsksTooEarly(MemoryConnector):
    """Asks when it starts, and saves nothing that would tell it later."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.before_commit()
        late = Wrapped(context)
        late.before_commit = lambda: None
        late.save = lambda **state: None
        return super().deliver(parcel, target, late)  # type: ignore[arg-type]


class SilentProgress(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        silent = Wrapped(context)
        silent.progress = lambda count: context.progress(0)
        return super().deliver(parcel, target, silent)  # type: ignore[arg-type]


class SwallowsCancellation(MemoryConnector):
    def _send(self, parcel: Parcel, upload: str, offset: int, context: AttemptContext) -> None:
        try:
            super()._send(parcel, upload, offset, context)
        except AttemptCancelled:
            raise DeliveryError(ErrorKind.TRANSIENT, "something stopped the transfer") from None


class DecodesNames(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        return super().deliver(parcel, dataclasses.replace(target, path=unquote(target.path)), context)


class FlattensDeepFolders(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if len(target.segments) < 6:
            return super().deliver(parcel, target, context)
        path = "/".join((*target.segments[:4], target.name))
        receipt = super().deliver(parcel, dataclasses.replace(target, path=path), context)
        return dataclasses.replace(receipt, path=target.path)


class LosesTheFolderRace(MemoryConnector):
    """Makes folders as many do: is it there? then make it, and fail if somebody was faster."""

    made: ClassVar[set[str]] = set()
    together: ClassVar = threading.Barrier(4)
    one_by_one: ClassVar = threading.Lock()

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        folder = "/".join(target.parents)
        if folder.startswith("new") and folder not in self.made:
            self.together.wait(10)
            with self.one_by_one:
                if folder in self.made:
                    raise DeliveryError(ErrorKind.CONFIG, "the folder cannot be made: it exists")
                self.made.add(folder)
        return super().deliver(parcel, target, context)


class LongNamesAreTransient(Misjudging):
    WRONG = {ErrorKind.NAME: ErrorKind.TRANSIENT}  # noqa: RUF012 - the base declares it


class OpensBeforeMeasuring(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        with parcel.open():
            return super().deliver(parcel, target, context)


class HeadersFromTags(MemoryConnector):
    """Puts tags into headers as they are; the HTTP library refuses line ends by ValueError."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if any("\n" in tag for tag in parcel.tags):
            raise ValueError("Invalid header value")
        return super().deliver(parcel, target, context)


class Substituting(MemoryConnector):
    """Carries out one policy as if it were another."""

    INSTEAD: ClassVar[Mapping[ConflictPolicy, ConflictPolicy]] = {}

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        policy = self.INSTEAD.get(target.conflict, target.conflict)
        return super().deliver(parcel, dataclasses.replace(target, conflict=policy), context)


class OverwriteRenames(Substituting):
    INSTEAD = {ConflictPolicy.OVERWRITE: ConflictPolicy.RENAME}  # noqa: RUF012


class SkipOverwrites(Substituting):
    INSTEAD = {ConflictPolicy.SKIP: ConflictPolicy.OVERWRITE}  # noqa: RUF012


class FailOverwrites(Substituting):
    INSTEAD = {ConflictPolicy.FAIL: ConflictPolicy.OVERWRITE}  # noqa: RUF012


class RenameOverwrites(Substituting):
    INSTEAD = {ConflictPolicy.RENAME: ConflictPolicy.OVERWRITE}  # noqa: RUF012


class SkipsSilently(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        return dataclasses.replace(super().deliver(parcel, target, context), skipped=False)


class CountsToOne(MemoryConnector):
    """Its second rename takes the name of its first."""

    def _publish(
        self, parcel: Parcel, path: str, upload: str, context: AttemptContext, *, replace: bool
    ) -> Stored:
        return super()._publish(parcel, path, upload, context, replace=replace or path.endswith("(1).jpg"))


class ForgetsItsName(MemoryConnector):
    """Every attempt of a delivery takes the next free name."""

    def _taken(self, parcel: Parcel, target: Target, path: str, upload: str) -> Receipt | None:
        if target.conflict is ConflictPolicy.RENAME:
            return None
        return super()._taken(parcel, target, path, upload)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        found = super().find(parcel, target, context)
        named = found.receipt is not None and found.receipt.renamed
        return Found(FoundKind.UNSURE) if named else found


class ExistsThenPut(MemoryConnector):
    def _publish(
        self, parcel: Parcel, path: str, upload: str, context: AttemptContext, *, replace: bool
    ) -> Stored:
        if not replace and self._store.head(path) is not None:
            raise StoreFault(412, "Exists")
        return super()._publish(parcel, path, upload, context, replace=True)


class TrustsTheSource(MemoryConnector):
    """Commits what it got, however little that is."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        import hashlib

        with parcel.open() as stream:
            try:
                size, digest = 0, hashlib.sha256()
                while block := stream.read(65_536):
                    size += len(block)
                    digest.update(block)
            except OSError:
                raise DeliveryError(ErrorKind.SOURCE, "the payload cannot be read") from None
        digests = {**parcel.digests, "sha256": digest.hexdigest()}
        return super().deliver(dataclasses.replace(parcel, size=size, digests=digests), target, context)


class LeaksOSError(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        with parcel.open() as stream:
            while stream.read(65_536):
                pass
        return super().deliver(parcel, target, context)


class BlamesTheNetwork(Misjudging):
    WRONG = {ErrorKind.SOURCE: ErrorKind.TRANSIENT}  # noqa: RUF012


class FindTrustsTheName(MemoryConnector):
    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        found = super().find(parcel, target, context)
        if found.kind is FoundKind.ABSENT:
            return found
        return Found(FoundKind.MINE, found.receipt or Receipt(reference=target.path, path=target.path))


class FindKnowsNothing(MemoryConnector):
    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        return Found(FoundKind.UNSURE)


class FindInvents(MemoryConnector):
    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        found = super().find(parcel, target, context)
        if found.kind is not FoundKind.ABSENT:
            return found
        return Found(FoundKind.MINE, Receipt(reference=target.path, path=target.path))


class CutsAreFinal(MemoryConnector):
    def _send(self, parcel: Parcel, upload: str, offset: int, context: AttemptContext) -> None:
        try:
            super()._send(parcel, upload, offset, context)
        except (OSError, http.client.HTTPException):
            raise DeliveryError(ErrorKind.CONFIG, "the connection broke") from None


class UnknownIsTransient(Misjudging):
    WRONG = {ErrorKind.UNKNOWN_OUTCOME: ErrorKind.TRANSIENT}  # noqa: RUF012


class RefusedIsConfig(MemoryConnector):
    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        try:
            return super()._open_upload(parcel, context)
        except (OSError, http.client.HTTPException):
            raise DeliveryError(ErrorKind.CONFIG, "cannot connect") from None


class TrustsTheWire(MemoryConnector):
    def _publish(
        self, parcel: Parcel, path: str, upload: str, context: AttemptContext, *, replace: bool
    ) -> Stored:
        blind = dataclasses.replace(parcel, digests={**parcel.digests, "sha256": None})  # type: ignore[dict-item]
        return super()._publish(blind, path, upload, context, replace=replace)


class WaitsForever(MemoryConnector):
    def _limit(self, context: AttemptContext) -> None:
        if self._remote is not None:
            self._remote.timeout = 25.0


class StartsAgain(MemoryConnector):
    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        saved = context.state.get("upload")
        if saved is not None:
            self._store.abort(str(saved))
            context.save(upload=None)
        return super()._open_upload(parcel, context)


class SavesTooLate(MemoryConnector):
    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        self._store.begin(f"{parcel.delivery_id}-{context.fence}")
        return super()._open_upload(parcel, context)


class AbandonsNothing(MemoryConnector):
    def abandon(self, state: State, context: AttemptContext) -> None:
        return


class AbandonsTooMuch(MemoryConnector):
    def abandon(self, state: State, context: AttemptContext) -> None:
        super().abandon(state, context)
        if "name" in state:
            self._store.delete(str(state["name"]))


class AbandonsOnce(MemoryConnector):
    def abandon(self, state: State, context: AttemptContext) -> None:
        try:
            self._store.received(str(state.get("upload")))
        except StoreFault as fault:
            raise classify(fault) from None
        super().abandon(state, context)


class ClingsToItsSession(MemoryConnector):
    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        saved = context.state.get("upload")
        if saved is not None and context.attempt > 1:
            return str(saved), self._store.received(str(saved))
        return super()._open_upload(parcel, context)


class LoginsAreTransient(Misjudging):
    WRONG = {ErrorKind.AUTH_REVOKED: ErrorKind.TRANSIENT}  # noqa: RUF012


class FullIsTransient(Misjudging):
    WRONG = {ErrorKind.QUOTA: ErrorKind.TRANSIENT}  # noqa: RUF012


class TellsTheSecret(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        try:
            return super().deliver(parcel, target, context)
        except DeliveryError as error:
            token = self._options.token.get_secret_value()
            raise DeliveryError(error.kind, f"{error.message} (X-Token: {token})") from None


class LogsTheSecret(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.log.debug("sending", token=self._options.token.get_secret_value())
        return super().deliver(parcel, target, context)


class ChecksNothing(MemoryConnector):
    def check(self, context: AttemptContext) -> CheckReport:
        return CheckReport((CheckStep("login", done=True),))


class LeavesItsCanary(MemoryConnector):
    def check(self, context: AttemptContext) -> CheckReport:
        report = super().check(context)
        self._store.begin("canary")
        self._store.commit("canary", ".canary", sha256=None, delivery_id="", replace=True)
        return report


class GuessesTheDelay(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        try:
            return super().deliver(parcel, target, context)
        except DeliveryError as error:
            raise kept_kind(error, error.kind, retry_after=None) from None


class HoardsMemory(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        with parcel.open() as stream:
            data = stream.read()

        def again() -> BinaryIO:
            return io.BytesIO(data)

        return super().deliver(dataclasses.replace(parcel, open=again), target, context)


class SharesItsUpload(MemoryConnector):
    """All connectors of the process share one variable."""

    current: ClassVar[list[str]] = []

    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        upload, offset = super()._open_upload(parcel, context)
        self.current[:] = [upload]
        return upload, offset

    def _commit(self, parcel: Parcel, target: Target, upload: str, context: AttemptContext) -> Receipt:
        return super()._commit(parcel, target, self.current[0], context)


class BreaksAfterAFailure(MemoryConnector):
    broken = False

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if self.broken:
            raise DeliveryError(ErrorKind.TRANSIENT, "the session is out of step")
        try:
            return super().deliver(parcel, target, context)
        except DeliveryError:
            self.broken = True
            raise


class SavesAfterPublishing(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        receipt = super().deliver(parcel, target, context)
        context.save(done=True)
        return receipt


class KeepsItsSockets(MemoryConnector):
    kept: ClassVar[list[object]] = []

    def close(self) -> None:
        self.kept.append(self._remote)


class KeepsAThread(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        threading.Thread(target=threading.Event().wait, args=(20,), daemon=True).start()
        return super().deliver(parcel, target, context)


class LeavesStreamsOpen(MemoryConnector):
    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        parcel.open().read(1)
        return super().deliver(parcel, target, context)


class ClosesOnce(MemoryConnector):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        super().close()


class ConnectsAtOnce(MemoryConnector):
    def __init__(self, options: MemoryOptions, env: ConnectorEnv) -> None:
        super().__init__(options, env)
        assert self._remote is not None
        self._remote.head("anything")


def classify_with_a_hole(error: BaseException) -> DeliveryError:
    if isinstance(error, http.client.HTTPException):
        raise TypeError("never seen that one")
    return classify(error)
