"""What the onedrive connector must not do to Graph, and which test notices if it does."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.planted.planted_violations import Violations, once_more
from servers.onedrive_bench import UNIT
from servers.onedrive_drive import FAIL, RENAME

from conveyor.contract import ErrorKind
from conveyor.kit.bodies import Counting
from conveyor_connectors.onedrive import connector, drive, errors, graph, placing, sessions
from conveyor_connectors.onedrive.drive import Drive, FolderIds, Stored
from conveyor_connectors.onedrive.graph import BEHAVIOR, Graph
from conveyor_connectors.onedrive.placing import Placer
from conveyor_connectors.onedrive.sessions import Sessions, Upload

VIOLATIONS = Violations()
Patch = pytest.MonkeyPatch

# --- the session's address ---------------------------------------------------------------------------

SECRET_ADDRESS = "the_upload_address_gets_no_token_and_stands_in_no_message"


@VIOLATIONS.add("no token goes to the upload address", SECRET_ADDRESS, "unauthenticated")
def _(patch: Patch) -> None:
    real = Graph.upload

    def upload(self: Graph, *words: Any, headers: Any = None, **more: Any) -> Any:
        token = self._wire.tokens.token().bearer
        return real(self, *words, headers={**(headers or {}), "Authorization": token}, **more)

    patch.setattr(Graph, "upload", upload)


@VIOLATIONS.add("the upload address stands in no message", SECRET_ADDRESS, "address not in")
def _(patch: Patch) -> None:
    real = Graph.upload

    def upload(self: Graph, doing: str, method: str, url: str, **more: Any) -> Any:
        return real(self, f"{doing} at {url}", method, url, **more)

    patch.setattr(Graph, "upload", upload)


@VIOLATIONS.add("requests say whose they are", SECRET_ADDRESS, "User-Agent")
def _(patch: Patch) -> None:
    patch.setattr(graph, "AGENT", "python-requests/2")


# --- fragments ---------------------------------------------------------------------------------------


@VIOLATIONS.add(
    "fragments are multiples of 320 KiB", "fragments_are_whole_units_in_order", "no multiple of 320 KiB"
)
def _(patch: Patch) -> None:
    real = Sessions.__init__

    def init(self: Sessions, place: Drive, fragment: int) -> None:
        real(self, place, fragment + 1)

    patch.setattr(Sessions, "__init__", init)


@VIOLATIONS.add("ranges go in order", "fragments_are_whole_units_in_order", "diff: 'bytes 983040-")
def _(patch: Patch) -> None:
    real = sessions._next
    patch.setattr(sessions, "_next", lambda *words: real(*words) + (UNIT if words[1] else 0))


@VIOLATIONS.add(
    "a session is asked how far it got",
    "another_worker_sends_only_what_is_missing",
    "stands still",
    target=FAIL,
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "_next", lambda document, otherwise: otherwise)


@VIOLATIONS.add(
    "a session that asks for the same bytes again is left",
    "a_session_that_asks_for_the_same_bytes_for_ever",
    "could not deliver: AssertionError",
)
def _(patch: Patch) -> None:
    real, asked = Sessions._fragment, []

    def fragment(self: Sessions, *words: Any) -> Any:
        asked.append(words)
        assert len(asked) < 20
        return real(self, *words)

    patch.setattr(Sessions, "_fragment", fragment)
    patch.setattr(sessions, "ASTRAY", 1_000_000)


@VIOLATIONS.add(
    "a new session may be unknown for a moment", "a_new_session_may_be_unknown_for_a_moment", "create_session"
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "GONE", "another code")


@VIOLATIONS.add(
    "the fence is asked before the last fragment ends", "fenced_out_at_commit_publishes_nothing", "'commit'"
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "Publishing", Counting)


# --- sessions and names ------------------------------------------------------------------------------


@VIOLATIONS.add(
    "an abandoned session is deleted", "abandon_deletes_the_session_and_frees_the_name", "unfinished"
)
def _(patch: Patch) -> None:
    patch.setattr(Sessions, "abandon", lambda self, upload: None)


@VIOLATIONS.add(
    "a session is saved before a byte is sent",
    "another_worker_sends_only_what_is_missing",
    "holds the name|create_session",
    target=FAIL,
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "asdict", lambda upload: None)


@VIOLATIONS.add(
    "a session holds its name against its own delivery",
    "our_own_session_holds_the_name_against_nobody_but_others",
    "holds the name",
)
def _(patch: Patch) -> None:
    patch.setattr(Upload, "load", lambda state: None)


@VIOLATIONS.add(
    "a session that is full is committed under the next name",
    "a_name_taken_while_the_file_is_sent_costs_no_byte_twice",
    "create_session",
)
def _(patch: Patch) -> None:
    real = Placer._continue

    def again(self: Placer, saved: Upload, path: str, parcel: Any, context: Any) -> Stored:
        if saved.path == path:
            return real(self, saved, path, parcel, context)
        self._drop(saved, context)
        upload = self._sessions.begin(parcel, saved.folder, path, "fail", context, patient=False)
        return self._sent(upload, parcel, context, resumed=False)

    patch.setattr(Placer, "_continue", again)


@VIOLATIONS.add(
    "a session out of sight is removed before the next",
    "a_session_that_stays_out_of_sight_does_not_keep_the_name",
    "holds the name",
)
def _(patch: Patch) -> None:
    patch.setattr(Sessions, "abandon", lambda self, upload: None)


@VIOLATIONS.add(
    "a session that lives has made no file", "a_session_that_lives_proves_nothing", "SAME_BYTES|same_bytes"
)
def _(patch: Patch) -> None:
    patch.setattr(connector.OneDriveConnector, "_ended", lambda self, place, parcel, state: state)


@VIOLATIONS.add(
    "each upload states its conflictBehavior",
    "every_upload_states_its_conflict_behaviour_and_its_time",
    "conflictBehavior",
)
def _(patch: Patch) -> None:
    real = Sessions._begun

    def begun(self: Sessions, folder: str, name: str, body: Any, *words: Any, **more: Any) -> Any:
        rest = {key: value for key, value in body["item"].items() if key != BEHAVIOR}
        return real(self, folder, name, {"item": rest}, *words, **more)

    patch.setattr(Sessions, "_begun", begun)


@VIOLATIONS.add("the service chooses no name", "rename", "broken promise", again=False)
def _(patch: Patch) -> None:
    patch.setattr(placing, "FAIL", "rename")


@VIOLATIONS.add("names differ by more than case", "names_differ_by_more_than_case", "CONFLICT")
def _(patch: Patch) -> None:
    real = Drive.look

    def look(self: Drive, folder: str, name: str) -> Any:
        found = real(self, folder, name)
        return found if not isinstance(found, Stored) or found.name == name else None

    patch.setattr(Drive, "look", look)


@VIOLATIONS.add(
    "names are encoded once", "names_reach_the_drive_as_they_are", "held|could not", name="a%20b.jpg"
)
def _(patch: Patch) -> None:
    def item(folder: str, name: str | None = None, ending: str = "") -> str:
        middle = "" if name is None else f":/{name}" + (":" if ending else "")
        return f"/items/{folder}{middle}{ending}"

    patch.setattr(sessions, "item", item)
    patch.setattr(drive, "item", item)


@VIOLATIONS.add(
    "a folder is looked for before it is made",
    "lost_answers_make_no_second_file",
    r"names\(standin\)",
    target=FAIL,
    size=100,
    route="create_folder",
    after=0,
)
def _(patch: Patch) -> None:
    def create(self: FolderIds, parent: str, name: str, planned: str | None) -> str:
        body = {"name": name, "folder": {}, BEHAVIOR: "rename"}
        path = graph.item(parent, ending="/children")
        return str(self._drive.graph.ask("create the folder", "POST", path, json=body)["id"])

    patch.setattr(FolderIds, "create", create)
    patch.setattr(FolderIds, "find", lambda self, parent, name: None)


# --- what arrived ------------------------------------------------------------------------------------


@VIOLATIONS.add(
    "the quickXorHash is compared",
    "other_bytes_than_were_sent_are_removed_by_their_etag",
    "DID NOT RAISE",
)
def _(patch: Patch) -> None:
    patch.setattr(Stored, "holds", lambda self, parcel: True)


@VIOLATIONS.add(
    "a wrong file is removed by its eTag", "other_bytes_than_were_sent_are_removed_by_their_etag", "If-Match"
)
def _(patch: Patch) -> None:
    real = Drive.delete
    patch.setattr(Drive, "delete", lambda self, number, etag="": real(self, number))


@VIOLATIONS.add("a hash that is late is waited for", "a_hash_that_is_late_is_waited_for", "verified")
def _(patch: Patch) -> None:
    patch.setattr(placing, "LOOKS", 0)


@VIOLATIONS.add(
    "what SharePoint rewrites is not compared", "office_files_that_sharepoint_rewrites", "exists already"
)
def _(patch: Patch) -> None:
    patch.setattr(drive, "OFFICE", ())


@VIOLATIONS.add(
    "the file of an earlier attempt is recognised",
    "lost_answers_make_no_second_file",
    "renamed",
    target=RENAME,
    size=100,
    route="fragment",
    after=0,
)
def _(patch: Patch) -> None:
    patch.setattr(Placer, "own", lambda self, *words: False)


@VIOLATIONS.add(
    "an empty file is ours only where its name was free",
    "a_strangers_empty_file_is_not_taken_for_ours",
    "renamed",
    target=RENAME,
)
def _(patch: Patch) -> None:
    def own(self: Placer, there: Any, path: str, parcel: Any, state: Any) -> bool:
        return bool(state.get("path") == path and there.size == parcel.size == 0)

    patch.setattr(Placer, "own", own)


# --- the account -------------------------------------------------------------------------------------

THROTTLED = {"status": 429, "code": "activityLimitReached", "route": "create_session"}
EXACTLY = "throttling_says_exactly_how_long_and_concerns_the_account"


@VIOLATIONS.add("the stated delay is honoured", EXACTLY, "37", **THROTTLED)
def _(patch: Patch) -> None:
    patch.setattr(errors, "stated_delay", lambda headers: None)


@VIOLATIONS.add("a throttled request is not sent again at once", EXACTLY, "DID NOT RAISE", **THROTTLED)
def _(patch: Patch) -> None:
    once_more(patch, Graph, "ask", ErrorKind.THROTTLED)


@VIOLATIONS.add("throttling concerns the account", EXACTLY, "CONNECTION", **THROTTLED)
def _(patch: Patch) -> None:
    patch.setattr(errors, "_ACCOUNT", frozenset())


@VIOLATIONS.add(
    "a token that has ended is renewed",
    "a_token_that_ends_between_requests_is_renewed_once",
    "InvalidAuthenticationToken",
)
def _(patch: Patch) -> None:
    def answered(self: Graph, doing: str, send: Any, publishes: bool) -> Any:
        answer = send(self._wire.tokens.token())
        if answer.status_code >= 300:
            raise errors.from_answer(answer, doing)
        return answer

    patch.setattr(Graph, "_answered", answered)


@VIOLATIONS.add("no request is needless", "requests_of_a_small_file", "counts")
def _(patch: Patch) -> None:
    real = Sessions.begin

    def begin(self: Sessions, parcel: Any, folder: str, path: str, *words: Any, **more: Any) -> Upload:
        self._drive.look(folder, path.rpartition("/")[2])
        return real(self, parcel, folder, path, *words, **more)

    patch.setattr(Sessions, "begin", begin)
