"""The server's folder as a few operations on paths, over one connection."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

from conveyor.contract import AttemptContext, ConnectorEnv, DeliveryError, ErrorKind
from conveyor.kit.bodies import BLOCK
from conveyor_connectors.webdav import multistatus, names
from conveyor_connectors.webdav.client import ANSWER_LIMIT, READ_TIMEOUT, Answer, DavClient
from conveyor_connectors.webdav.errors import of_answer, of_exception
from conveyor_connectors.webdav.multistatus import Entry
from conveyor_connectors.webdav.options import DestinationHeader, WebdavOptions

_GONE = (404, 410)
_GATEWAY = (502, 504)


class Limits(Protocol):
    """What a request needs of the attempt's context."""

    def check(self) -> None: ...
    def remaining(self) -> float: ...


class Dav:
    """One WebDAV folder. Paths are as in ``Target.path``, below the destination's ``remote_path``.

    Args:
        options: The destination.
        env: Lends the network.
    """

    def __init__(self, options: WebdavOptions, env: ConnectorEnv) -> None:
        self.options = options
        self._env = env
        self._client: DavClient | None = None
        self._base = options.root + (f"/{names.quoted(options.remote_path)}" if options.remote_path else "")
        self._by_path = options.destination_header is DestinationHeader.PATH

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # --- addresses ------------------------------------------------------------------------------

    def file_at(self, path: str) -> str:
        """The path's place on the server, percent-encoded."""
        return f"{self._base}/{names.quoted(path)}"

    def folder_at(self, path: str) -> str:
        """A folder's, with the slash at its end that nginx insists on."""
        return f"{self.file_at(path)}/" if path else f"{self._base}/"

    def url_of(self, path: str) -> str:
        """The whole URL, which holds no credentials."""
        return self.options.origin + self.file_at(path)

    # --- looking --------------------------------------------------------------------------------

    def stat(self, path: str, context: AttemptContext) -> Entry | None:
        """What stands at ``path``; None when nothing does."""
        return self.look(self.file_at(path), context)

    def stat_folder(self, path: str, context: AttemptContext) -> Entry | None:
        """What stands at ``path``, asked for as a folder."""
        return self.look(self.folder_at(path), context)

    def look(self, place: str, context: AttemptContext) -> Entry | None:
        """What stands at a place on the server.

        Raises:
            DeliveryError: the answer was neither yes nor no.
        """
        doing = f"look at {unquote(place)}"
        asked = multistatus.PROPFIND_CLOUD if self.options.is_cloud else multistatus.PROPFIND
        answer = self.ask("info", place, doing, context, data=asked, headers=_DEPTH_0)
        if answer.status in _GONE:
            return None
        if 300 <= answer.status < 400 and _adds_slash(answer, place):
            return Entry(unquote(place), is_folder=True)
        if answer.status != 207:
            raise self._no_dav(answer, doing) if answer.done else of_answer(answer, doing)
        found = self.parse(answer, doing)
        same = [entry for entry in found if entry.path == unquote(place).rstrip("/")]
        there = (same or found)[0]
        if there.status in _GONE:
            return None
        if there.status >= 300:
            raise of_answer(Answer(there.status, answer.headers), doing)
        return there

    def parse(self, answer: Answer, doing: str) -> list[Entry]:
        """The resources of a 207, at least one.

        Raises:
            DeliveryError: CONFIG, it is none; TRANSIENT, it did not come to its end in time.
        """
        if answer.late:
            raise DeliveryError(ErrorKind.TRANSIENT, f"could not {doing}: the answer does not end in time")
        try:
            found = multistatus.entries(answer.body) if answer.whole else []
        except multistatus.Unreadable:
            found = []
        if not found:
            raise self._no_dav(answer, doing)
        return found

    def _no_dav(self, answer: Answer, doing: str) -> DeliveryError:
        return DeliveryError(
            ErrorKind.CONFIG,
            f"could not {doing}: the answer ({answer.status}) is not WebDAV",
            hint="The url leads to something else; on Nextcloud and ownCloud it ends in "
            "/remote.php/dav/files/USER.",
            code=answer.status,
        )

    def require_base(self, context: AttemptContext) -> None:
        """Raise unless the destination's own folder is there and the login is accepted."""
        there = self.stat_folder("", context)
        if there is None or not there.is_folder:
            what = "does not exist on the server" if there is None else "is not a folder"
            raise DeliveryError(
                ErrorKind.CONFIG,
                f"{unquote(self._base) or '/'} {what}",
                hint="Make the folder, or correct url and remote_path. It is never made by itself: a typing "
                "mistake would go unnoticed.",
                code=404,
            )

    def sha256(self, path: str, context: AttemptContext) -> str | None:
        """Hex digest of the file, read back; None when there is none or it may not be read."""
        doing = f"read {path} back"
        digest = hashlib.sha256()
        context.check()
        with self._errors(doing):
            response = self._open().stream(self.file_at(path), self._seconds(context))
            with contextlib.closing(response):
                if response.status_code != 200:
                    answer = Answer(response.status_code, response.headers)
                    if answer.status in (403, 404, 405, 410):
                        return None
                    raise of_answer(answer, doing)
                while block := response.raw.read(BLOCK):
                    context.progress(0)
                    digest.update(block)
        return digest.hexdigest()

    # --- changing -------------------------------------------------------------------------------

    def move(
        self,
        source: str,
        destination: str,
        context: AttemptContext,
        *,
        overwrite: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """MOVE between places on the server, as absolute URL or by path (RFC 4918 §10.3 allows both).

        A server behind a TLS proxy takes an https URL for another server's (400, 502): the path tells it
        the same without naming a scheme.
        """
        doing = f"rename to {unquote(destination)}"
        answer = self._move(source, destination, overwrite, doing, context, headers)
        unheard = self.options.destination_header is DestinationHeader.AUTO and not self._by_path
        if unheard and answer.status in (400, 502):
            self._by_path = True
            again = self._move(source, destination, overwrite, doing, context, headers)
            self._by_path = again.done or again.status == 412
            return again if self._by_path or again.status == 404 else answer
        return answer

    def _move(
        self,
        source: str,
        destination: str,
        overwrite: bool,
        doing: str,
        context: AttemptContext,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        lines = {
            "Destination": destination if self._by_path else self.options.origin + destination,
            "Overwrite": "T" if overwrite else "F",
            **(headers or {}),
        }
        answer = self.ask("move", source, doing, context, headers=lines, publishes=True)
        if answer.status == 207:
            with contextlib.suppress(multistatus.Unreadable):
                failed = [code for code in multistatus.statuses(answer.body) if code >= 300]
                return Answer(failed[0] if failed else 204, answer.headers, answer.body)
        return answer

    def remove(self, place: str, context: Limits) -> bool:
        """DELETE; nothing there is success. Returns whether something was.

        Raises:
            DeliveryError: it is there and may not be removed.
        """
        doing = f"remove {unquote(place)}"
        answer = self.ask("clean", place, doing, context)
        if not answer.done and answer.status not in (404, 409, 410):
            raise of_answer(answer, doing)
        return answer.done

    def ask(
        self,
        action: str,
        place: str,
        doing: str,
        context: Limits,
        *,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        publishes: bool = False,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """One request and its answer.

        Raises:
            DeliveryError: there was none; UNKNOWN_OUTCOME when it ``publishes`` and may have been done.
        """
        context.check()
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        with self._errors(doing, publishes=publishes):
            return self._open().execute_request(
                action, place, data, lines, timeout=self._seconds(context), limit=limit
            )

    def _open(self) -> DavClient:
        if self._client is None:
            self._client = DavClient(self.options, self._env.network)
        return self._client

    def _seconds(self, context: Limits) -> float:
        return min(READ_TIMEOUT, max(1.0, context.remaining()))

    @contextlib.contextmanager
    def _errors(self, doing: str, *, publishes: bool = False) -> Iterator[None]:
        try:
            yield
        except DeliveryError:
            raise
        except Exception as error:
            raise of_exception(error, doing, publishes=publishes) from None


_DEPTH_0 = {"Depth": "0", "Content-Type": "application/xml; charset=utf-8"}


def outcome_unknown(answer: Answer) -> bool:
    """A gateway gave up on a server that may still do what it was asked."""
    return answer.status in _GATEWAY


def _adds_slash(answer: Answer, place: str) -> bool:
    """Apache and others redirect from a folder's name to the same with a slash."""
    return unquote(urlsplit(answer.headers.get("Location", "")).path) == f"{unquote(place)}/"
