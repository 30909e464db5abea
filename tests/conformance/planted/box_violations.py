"""What the box connector must not do to Box, and which test notices if it does."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from box_sdk_gen.managers.uploads import UploadsManager
from conformance.planted.planted_violations import Violations, once_more
from servers.box_account import FAIL, RENAME
from servers.box_bench import LARGE

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.bodies import Counting
from conveyor_connectors.box import errors, placing, service, sessions
from conveyor_connectors.box.client import Client, LedgerTokens
from conveyor_connectors.box.errors import Taken
from conveyor_connectors.box.placing import Placer
from conveyor_connectors.box.service import Service, Stored
from conveyor_connectors.box.sessions import Sessions, Upload

VIOLATIONS = Violations()
Patch = pytest.MonkeyPatch


def telling(patch: Patch, method: str, **changed: Any) -> None:
    """Change what a method of the SDK's uploads is told."""
    real = getattr(UploadsManager, method)
    patch.setattr(
        UploadsManager, method, lambda self, *words, **more: real(self, *words, **{**more, **changed})
    )


# --- the addresses that Box names --------------------------------------------------------------------


@VIOLATIONS.add(
    "no token goes to another's address",
    "an_address_that_is_not_boxs_gets_no_token",
    "outside its domains",
    which="upload_part",
    address="https://upload.box.com@127.0.0.1/x",
)
def _(patch: Patch) -> None:
    patch.setattr(Client, "check_address", lambda self, url: url)


@VIOLATIONS.add("no token stands in a message", "no_token_stands_in_a_message_or_in_the_log", "token not in")
def _(patch: Patch) -> None:
    real = errors._from_answer

    def from_answer(error: Any, doing: str, sent: bool) -> DeliveryError:
        made = real(error, doing, sent)
        return DeliveryError(made.kind, f"{made.message} {error.request_info.headers}", code=made.code)

    patch.setattr(errors, "_from_answer", from_answer)


# --- parts -------------------------------------------------------------------------------------------

RESUMED = "another_worker_sends_only_what_is_missing"
GONE_ON = "a_late_commit_that_was_done_without_us_is_found"


@VIOLATIONS.add("Box chooses the size of a part", "requests_of_one_file", "could not upload a part")
def _(patch: Patch) -> None:
    real = Sessions._begin

    def begin(self: Sessions, *words: Any) -> Upload:
        upload = real(self, *words)
        return dataclasses.replace(upload, part_size=upload.part_size // 2)

    patch.setattr(Sessions, "_begin", begin)


@VIOLATIONS.add("each part has its digest", RESUMED, "could not upload a part", target=FAIL, over=False)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "digest_of", lambda *words: bytes(20))


@VIOLATIONS.add(
    "a session is saved before a byte is sent", RESUMED, "create_session", target=FAIL, over=False
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "asdict", lambda upload: None)


@VIOLATIONS.add("a session is asked which parts it has", RESUMED, "ranges", target=FAIL, over=False)
def _(patch: Patch) -> None:
    real, asked = Sessions._listed, []

    def listed(self: Sessions, upload: Upload) -> Any:
        asked.append(upload)
        return {} if len(asked) == 1 else real(self, upload)

    patch.setattr(Sessions, "_listed", listed)


@VIOLATIONS.add("parts are listed to the end", "parts_are_listed_page_by_page", "list_parts|could not")
def _(patch: Patch) -> None:
    def listed(self: Sessions, upload: Upload) -> Any:
        chunked = self._client.chunked
        page = chunked.get_file_upload_session_parts_by_url(upload.list, offset=0, limit=sessions.PAGE)
        return {int(part.offset): part for part in page.entries or []}

    patch.setattr(Sessions, "_listed", listed)


@VIOLATIONS.add(
    "a session that was given up is removed",
    "abandon_removes_the_session_and_is_content_without",
    "unfinished",
)
@VIOLATIONS.add(
    "a session that is over is removed", "a_session_that_is_over_leaves_none_behind", "unfinished"
)
def _(patch: Patch) -> None:
    patch.setattr(Sessions, "abandon", lambda self, upload: None)


@VIOLATIONS.add(
    "parts that are not the file are sent anew",
    "parts_of_other_bytes_are_not_committed_twice",
    "INTEGRITY",
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "_differs", lambda error: error)


@VIOLATIONS.add(
    "parts go out in blocks of bounded size",
    "memory_is_a_block_whatever_the_part_size_is",
    "peak",
)
def _(patch: Patch) -> None:
    class Whole(sessions.Body):
        def begin(self) -> None:
            super().begin()
            self._stream = io.BytesIO(b"".join(iter(self)))
            self._offset = 0
            self.seek(0)

    patch.setattr(sessions, "Body", Whole)


# --- the commit --------------------------------------------------------------------------------------


@VIOLATIONS.add("202 is no error", "a_commit_that_answers_late_is_repeated", "could not join|UNKNOWN")
def _(patch: Patch) -> None:
    real = Client.commit

    def commit(self: Client, *words: Any) -> Any:
        answer = real(self, *words)
        assert answer is not None  # as upload_big_file does
        return answer

    patch.setattr(Client, "commit", commit)


@VIOLATIONS.add(
    "the stated delay of a 202 is waited", "the_stated_delay_of_a_late_commit_is_waited", "waited"
)
def _(patch: Patch) -> None:
    patch.setattr(Client, "stated_delay", lambda self: None)


@VIOLATIONS.add(
    "parts that were not counted yet are waited for",
    "parts_that_were_not_counted_yet_are_waited_for",
    "counts|parts_mismatch",
)
def _(patch: Patch) -> None:
    real = Service.call

    def call(self: Service, *words: Any, **more: Any) -> Any:
        try:
            return real(self, *words, **more)
        except DeliveryError as error:
            if error.code != "parts_mismatch":
                raise
            raise DeliveryError(ErrorKind.SESSION_LOST, error.message) from None

    patch.setattr(Service, "call", call)


@VIOLATIONS.add("a commit that went on without us is looked for", GONE_ON, "UNKNOWN_OUTCOME", target=FAIL)
def _(patch: Patch) -> None:
    def unknown(text: str) -> DeliveryError:
        return DeliveryError(ErrorKind.UNKNOWN_OUTCOME, text, code="not_found")

    patch.setattr(sessions, "_unknown", unknown)


@VIOLATIONS.add(
    "the fence is asked before each order to commit", "a_commit_that_answers_late_is_repeated", "the fence"
)
def _(patch: Patch) -> None:
    real = Sessions._commit

    def commit(self: Sessions, parcel: Any, upload: Any, over: Any, there: Any, context: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(context, "before_commit", lambda: None)
            return real(self, parcel, upload, over, there, context)

    patch.setattr(Sessions, "_commit", commit)


@VIOLATIONS.add(
    "the fence is asked before the last byte", "fenced_out_at_commit_publishes_nothing", "'commit'"
)
def _(patch: Patch) -> None:
    patch.setattr(service, "Publishing", Counting)


CHANGED = "overwrite_looks_again_at_a_version_made_meanwhile"


@VIOLATIONS.add("a new version replaces what was seen", CHANGED, "412", size=100)
def _(patch: Patch) -> None:
    telling(patch, "upload_file_version", if_match=None)


@VIOLATIONS.add("a new version in parts replaces what was seen", CHANGED, "412", size=LARGE)
def _(patch: Patch) -> None:
    real = Client.commit
    patch.setattr(Client, "commit", lambda self, *words: real(self, *words[:-1], None))


# --- names -------------------------------------------------------------------------------------------

TAKEN = "a_name_taken_while_the_file_is_sent"


@VIOLATIONS.add("a file in the way is not ours unless it is", TAKEN, "isinstance|DeliveryError", target=FAIL)
def _(patch: Patch) -> None:
    def own(self: Placer, item: Any, *words: Any) -> Stored:
        return self._service.file(item.id)

    patch.setattr(Placer, "own", own)


LOST = {"how": "lost", "after": 0, "size": 100}


@VIOLATIONS.add(
    "the file of an earlier attempt is recognised",
    "lost_answers_make_no_second_file",
    "FoundKind|renamed",
    target=RENAME,
    route="upload_file",
    **LOST,
)
def _(patch: Patch) -> None:
    patch.setattr(Placer, "own", lambda self, *words: None)


@VIOLATIONS.add(
    "a folder in the way is the folder",
    "lost_answers_make_no_second_file",
    "a file is called inbox",
    target=FAIL,
    route="create_folder",
    **LOST,
)
def _(patch: Patch) -> None:
    real = Service.call

    def call(self: Service, doing: str, *words: Any, **more: Any) -> Any:
        try:
            return real(self, doing, *words, **more)
        except Taken as taken:
            raise (Taken(None) if doing == "create the folder" else taken) from None

    patch.setattr(Service, "call", call)


def misreading(patch: Patch, *, lists: bool) -> None:
    """Understand what is in the way in one of its two shapes alone."""

    def conflict(error: BaseException) -> Taken | None:
        told = getattr(getattr(error, "response_info", None), "context_info", None) or {}
        taken = errors.conflict(error)
        return Taken(None) if taken and isinstance(told.get("conflicts"), list) is lists else taken

    patch.setattr(service, "conflict", conflict)


FOLDER = "where the path needs a folder"


@VIOLATIONS.add(
    "a conflict may be an object", "conflicts_in_either_shape", FOLDER, shape="object", target=RENAME
)
def _(patch: Patch) -> None:
    misreading(patch, lists=False)


@VIOLATIONS.add("a conflict may be a list", "conflicts_in_either_shape", FOLDER, shape="list", target=RENAME)
def _(patch: Patch) -> None:
    misreading(patch, lists=True)


@VIOLATIONS.add(
    "a name that is reserved is waited for",
    "a_name_that_is_reserved_is_waited_for",
    "name_temporarily_reserved",
    target=FAIL,
    size=100,
)
def _(patch: Patch) -> None:
    patch.setattr(placing, "RESERVED", 1)


@VIOLATIONS.add(
    "a larger file is not sent to a name that is taken",
    "a_taken_name_costs_no_bytes_of_a_larger_file",
    "preflight|counts",
)
def _(patch: Patch) -> None:
    patch.setattr(placing, "LOOK_FIRST", 1 << 40)


# --- what arrived ------------------------------------------------------------------------------------

OTHERS = "other_bytes_than_were_sent_are_removed"


@VIOLATIONS.add("an upload states its SHA-1", "every_upload_states_its_digest_and_its_time", "content-md5")
def _(patch: Patch) -> None:
    telling(patch, "upload_file", content_md_5=None)


@VIOLATIONS.add("the SHA-1 is compared", OTHERS, "DID NOT RAISE")
def _(patch: Patch) -> None:
    patch.setattr(Stored, "holds", lambda self, parcel: True)


@VIOLATIONS.add("a wrong file is removed", OTHERS, "delete_file")
def _(patch: Patch) -> None:
    patch.setattr(Service, "delete", lambda self, number: None)


@VIOLATIONS.add(
    "without an answer to an upload its outcome is open",
    "a_lost_answer_to_a_new_version",
    "UNKNOWN_OUTCOME",
    size=100,
    how="503",
)
def _(patch: Patch) -> None:
    real = Service.call
    patch.setattr(Service, "call", lambda self, doing, request, **more: real(self, doing, request))


# --- the account -------------------------------------------------------------------------------------

EXACTLY = "throttling_says_exactly_how_long_and_concerns_the_account"


@VIOLATIONS.add("the stated delay is honoured", EXACTLY, "37", route="upload_file")
def _(patch: Patch) -> None:
    patch.setattr(errors, "stated_delay", lambda headers: None)


@VIOLATIONS.add(
    "a throttled request is not sent again at once", EXACTLY, "DID NOT RAISE", route="upload_file"
)
def _(patch: Patch) -> None:
    once_more(patch, Service, "call", ErrorKind.THROTTLED)


@VIOLATIONS.add("throttling concerns the account", EXACTLY, "CONNECTION", route="upload_file")
def _(patch: Patch) -> None:
    patch.setattr(errors, "_ACCOUNT", frozenset())


@VIOLATIONS.add(
    "a token that has ended is renewed",
    "a_token_that_ends_in_mid_upload_is_renewed_once",
    "tokens",
    route="upload_part",
)
def _(patch: Patch) -> None:
    patch.setattr(LedgerTokens, "renew", lambda self: None)


@VIOLATIONS.add(
    "a token is renewed once",
    "a_token_that_is_refused_twice_is_not_tried_for_ever",
    r"len\(standin.seen\)",
)
def _(patch: Patch) -> None:
    once_more(patch, Service, "call", ErrorKind.AUTH_EXPIRED, lambda it: it.client.auth.renew())


@VIOLATIONS.add("another user is acted for", "another_user_is_acted_for_at_each_request", "As-User")
def _(patch: Patch) -> None:
    real = Client.open.__func__  # type: ignore[attr-defined]

    def opened(cls: Any, options: Any, env: Any) -> Any:
        return real(cls, options.model_copy(update={"as_user": None}), env)

    patch.setattr(Client, "open", classmethod(opened))


@VIOLATIONS.add("no request is needless", "requests_of_one_file", "counts")
def _(patch: Patch) -> None:
    real = Placer._create

    def create(self: Placer, folder: str, path: str, parcel: Any, *words: Any, **more: Any) -> Stored:
        self._service.look(folder, path.rpartition("/")[2], parcel.size)
        return real(self, folder, path, parcel, *words, **more)

    patch.setattr(Placer, "_create", create)
