"""What the dropbox connector must not do to Dropbox, and which test notices if it does."""

from __future__ import annotations

from typing import Any

import dropbox.exceptions as sdk
import pytest
from conformance.planted.planted_violations import Violations, once_more
from dropbox import files
from servers.dropbox_account import FAIL, ONE, PATH, RENAME

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.bodies import Counting
from conveyor.testing.harness import HarnessContext
from conveyor_connectors.dropbox import client, errors, placing, service
from conveyor_connectors.dropbox.client import Client, Wire
from conveyor_connectors.dropbox.placing import Placer
from conveyor_connectors.dropbox.service import Service, Stored, commit_of

VIOLATIONS = Violations()
Patch = pytest.MonkeyPatch


def telling(patch: Patch, method: str, **changed: Any) -> None:
    """Change what a method of the SDK is told."""
    real = getattr(Client, method)
    patch.setattr(Client, method, lambda self, *words, **more: real(self, *words, **{**more, **changed}))


def committing(patch: Patch, **changed: Any) -> None:
    """Change what a file is committed by."""

    def made(parcel: Any, path: str, *, overwrite: bool) -> files.CommitInfo:
        commit = commit_of(parcel, path, overwrite=overwrite)
        for name, value in changed.items():
            setattr(commit, name, value)
        return commit

    patch.setattr(placing, "commit_of", made)


# --- requests ----------------------------------------------------------------------------------------

TOKENS = "tokens_go_into_one_header_of_dropbox_and_nowhere_else"
STATED = "every_upload_states_its_mode_its_time_and_its_digest"


@VIOLATIONS.add("no token stands in an address", TOKENS, "each.query")
def _(patch: Patch) -> None:
    real = Wire.post

    def post(self: Wire, url: str, **known: Any) -> Any:
        return real(self, f"{url}?authorization={known['headers']['Authorization']}", **known)

    patch.setattr(Wire, "post", post)


@VIOLATIONS.add("no token stands in a message", TOKENS, "given not in")
def _(patch: Patch) -> None:
    real = Client.request_json_string_with_retry

    def request(self: Client, *words: Any, **known: Any) -> Any:
        try:
            return real(self, *words, **known)
        except sdk.HttpError as error:
            assert self._used is not None
            raise DeliveryError(ErrorKind.TRANSIENT, f"{error} for {self._used.value}") from None

    patch.setattr(Client, "request_json_string_with_retry", request)


@VIOLATIONS.add("an upload states its content hash", STATED, "content_hash", target=FAIL)
def _(patch: Patch) -> None:
    telling(patch, "files_upload", content_hash=None)


@VIOLATIONS.add("a file has the time of its submission", STATED, "client_modified", target=FAIL)
def _(patch: Patch) -> None:
    committing(patch, client_modified=None)


@VIOLATIONS.add("Dropbox chooses no name", STATED, "autorename", target=RENAME)
def _(patch: Patch) -> None:
    telling(patch, "files_upload", autorename=True)


@VIOLATIONS.add("a commit by session leaves the name alone, too", STATED, "autorename", target=RENAME)
def _(patch: Patch) -> None:
    committing(patch, autorename=True)


# --- sessions ----------------------------------------------------------------------------------------

CHUNKS = "chunks_are_whole_blocks_one_after_the_other_and_the_last_closes"
RESUMED = "another_worker_goes_on_where_the_session_stands"


@VIOLATIONS.add("chunks are multiples of 4 MiB", CHUNKS, "4194304")
def _(patch: Patch) -> None:
    real = Placer.__init__

    def init(self: Placer, *words: Any) -> None:
        real(self, *words)
        self._chunk += 1

    patch.setattr(Placer, "__init__", init)


@VIOLATIONS.add("a chunk says where it begins", CHUNKS, "another worker")
def _(patch: Patch) -> None:
    real = files.UploadSessionCursor
    patch.setattr(files, "UploadSessionCursor", lambda session, offset: real(session, 0))


@VIOLATIONS.add("the last chunk closes the session", CHUNKS, "True")
def _(patch: Patch) -> None:
    telling(patch, "files_upload_session_append_v2", close=False)


@VIOLATIONS.add("a session is asked how far it got", RESUMED, "second.sent", target=FAIL)
def _(patch: Patch) -> None:
    patch.setattr(Service, "standing", lambda self, session, size: 0)


@VIOLATIONS.add("a session is saved", RESUMED, "second.sent", target=FAIL)
def _(patch: Patch) -> None:
    real = HarnessContext.save

    def save(self: HarnessContext, **state: Any) -> None:
        real(self, **{key: value for key, value in state.items() if key != "session"})

    patch.setattr(HarnessContext, "save", save)


@VIOLATIONS.add(
    "the offset that Dropbox corrects is taken",
    "a_chunk_that_arrived_though_its_answer_says_otherwise_is_not_sent_again",
    "offsets ==",
)
def _(patch: Patch) -> None:
    patch.setattr(service, "correct_offset", lambda error: None)


@VIOLATIONS.add(
    "a session that takes no more is committed",
    "a_session_that_is_whole_is_committed_by_whoever_comes_next",
    "second.sent",
    size=ONE,
    closed_first=True,
)
def _(patch: Patch) -> None:
    real = Service.standing

    def standing(self: Service, session: str, size: int) -> int:
        if (stands := real(self, session, size)) == size:
            raise DeliveryError(ErrorKind.SESSION_LOST, "closed", code="closed")
        return stands

    patch.setattr(Service, "standing", standing)


@VIOLATIONS.add(
    "a session that has become a file is looked for",
    "a_session_that_has_become_a_file_is_known",
    "exists already",
    target=FAIL,
    tag="not_found",
)
def _(patch: Patch) -> None:
    patch.setattr(Service, "look", lambda self, path: None)


@VIOLATIONS.add(
    "bytes that Dropbox keeps are not sent again", "a_full_account_gets_the_bytes_once", "sent", size=100
)
def _(patch: Patch) -> None:
    patch.setattr(service, "kept_in", lambda error: None)


@VIOLATIONS.add(
    "the next name costs no byte twice",
    "a_file_of_that_name_in_whatever_case",
    "no byte is sent twice",
    target=RENAME,
    name=PATH,
    size=100,
)
def _(patch: Patch) -> None:
    patch.setattr(service, "kept_in", lambda error: None)


@VIOLATIONS.add(
    "the fence is asked before the last byte", "fenced_out_at_commit_publishes_nothing", "'commit'"
)
def _(patch: Patch) -> None:
    patch.setattr(service, "Publishing", Counting)
    real = HarnessContext.before_commit
    patch.setattr(
        HarnessContext, "before_commit", lambda self: None if self.state.get("session") else real(self)
    )


# --- names -------------------------------------------------------------------------------------------


@VIOLATIONS.add(
    "fail does not replace",
    "a_file_of_that_name_in_whatever_case",
    "isinstance|DeliveryError",
    target=FAIL,
    name=PATH,
    size=100,
)
def _(patch: Patch) -> None:
    committing(patch, mode=files.WriteMode.overwrite, strict_conflict=False)


@VIOLATIONS.add("conflicts are strict", "the_same_bytes_of_a_stranger_are_his", "isinstance|DeliveryError")
def _(patch: Patch) -> None:
    committing(patch, strict_conflict=False)


LOST = {"target": RENAME, "size": 100, "how": "lost", "route": "upload"}


@VIOLATIONS.add(
    "the file of an earlier attempt is recognised", "lost_answers_make_no_second_file", "MINE", **LOST
)
def _(patch: Patch) -> None:
    patch.setattr(Placer, "own", lambda self, *words: False)


@VIOLATIONS.add(
    "without an answer to a commit its outcome is open",
    "lost_answers_make_no_second_file",
    "UNKNOWN_OUTCOME",
    **LOST,
)
def _(patch: Patch) -> None:
    real = Service.call
    patch.setattr(Service, "call", lambda self, doing, request, **more: real(self, doing, request))


# --- what arrived ------------------------------------------------------------------------------------

OTHERS = "other_bytes_than_were_sent_are_removed_by_their_revision"


@VIOLATIONS.add("the content hash is compared", OTHERS, "DID NOT RAISE")
def _(patch: Patch) -> None:
    patch.setattr(Stored, "holds", lambda self, parcel: True)


@VIOLATIONS.add("a wrong file is removed", OTHERS, r"standin.of\(.delete")
def _(patch: Patch) -> None:
    patch.setattr(Service, "delete", lambda self, path, rev=None: None)


@VIOLATIONS.add("a wrong file is removed by its revision", OTHERS, "parent_rev")
def _(patch: Patch) -> None:
    real = Service.delete
    patch.setattr(Service, "delete", lambda self, path, rev=None: real(self, path))


@VIOLATIONS.add(
    "what somebody has written since stays", "what_somebody_has_written_since_is_not_removed", "INTEGRITY"
)
def _(patch: Patch) -> None:
    def call(self: Service, doing: str, request: Any, **more: Any) -> Any:
        if doing != "delete the file":
            return real(self, doing, request, **more)
        try:
            return request()
        except sdk.ApiError as error:
            raise errors.classify(error, doing) from None

    real = Service.call
    patch.setattr(Service, "call", call)


# --- the account -------------------------------------------------------------------------------------

EXACTLY = "throttling_says_exactly_how_long_and_concerns_the_account"
THROTTLED = {"route": "upload", "reason": "too_many_requests"}


@VIOLATIONS.add(
    "the SDK sends nothing again by itself",
    "a_token_that_is_refused_twice_is_not_tried_for_ever",
    r"len\(standin.seen\)",
)
def _(patch: Patch) -> None:
    real = Client.request_json_string_with_retry

    def request(self: Client, *words: Any, **known: Any) -> Any:
        try:
            return real(self, *words, **known)
        except sdk.AuthError:  # as its own does
            return real(self, *words, **known)

    patch.setattr(Client, "request_json_string_with_retry", request)


@VIOLATIONS.add(
    "a token that has ended is renewed",
    "a_token_that_ends_in_mid_upload_is_renewed_once",
    r"set\(tokens\)",
    route="upload",
)
def _(patch: Patch) -> None:
    patch.setattr(Client, "renew", lambda self: None)


@VIOLATIONS.add("a throttled request is not sent again at once", EXACTLY, "DID NOT RAISE", **THROTTLED)
def _(patch: Patch) -> None:
    once_more(patch, Service, "call", ErrorKind.THROTTLED)


@VIOLATIONS.add("throttling concerns the account", EXACTLY, "CONNECTION", **THROTTLED)
def _(patch: Patch) -> None:
    real = errors.classify

    def classify(*words: Any, **more: Any) -> DeliveryError:
        made = real(*words, **more)
        return DeliveryError(made.kind, made.message, retry_after=made.retry_after)

    patch.setattr(service, "classify", classify)


@VIOLATIONS.add("a delay may be a date", "a_delay_is_read_in_each_of_its_forms", "THROTTLED|TRANSIENT")
def _(patch: Patch) -> None:
    def post(self: Wire, url: str, *, data: Any = None, **known: Any) -> Any:
        return self.session.post(url, data=data if self.body is None else self.body, **known)

    patch.setattr(Wire, "post", post)


@VIOLATIONS.add("a delay is read from the header", "a_delay_is_read_in_each_of_its_forms", "approx")
def _(patch: Patch) -> None:
    patch.setattr(Client, "stated_delay", lambda self: None)


@VIOLATIONS.add("a team space is entered", "a_team_space_is_named_at_each_request", "namespace_id")
def _(patch: Patch) -> None:
    patch.setattr(client, "_root", lambda namespace: '{".tag": "home"}')


@VIOLATIONS.add("no request is needless", "requests_of_one_file", "counts")
def _(patch: Patch) -> None:
    real = Service.upload

    def upload(self: Service, parcel: Any, commit: Any, context: Any) -> Stored:
        self.look(commit.path)
        return real(self, parcel, commit, context)

    patch.setattr(Service, "upload", upload)
