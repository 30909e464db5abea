"""What the google_drive connector must not do to Drive, and which test notices if it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conformance.planted.planted_violations import Violations
from servers.google_drive_deliveries import FAIL

from conveyor.contract import ConflictPolicy
from conveyor.kit.bodies import Counting
from conveyor_connectors.google_drive import errors, making, placing, service, sessions, single
from conveyor_connectors.google_drive.client import Client, SignedHttp
from conveyor_connectors.google_drive.making import Maker
from conveyor_connectors.google_drive.placing import Placer
from conveyor_connectors.google_drive.service import FolderIds, Service, Stored
from conveyor_connectors.google_drive.sessions import Sessions, Upload

VIOLATIONS = Violations()
Patch = pytest.MonkeyPatch


class Files:
    """The SDK's methods, each of whose parameters is changed first."""

    def __init__(self, real: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._real, self._change = real, change

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name.endswith("_next"):
            return real
        return lambda **given: real(**self._change(given))


def changing(patch: Patch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what the SDK's methods are told."""
    real = Client.__init__

    def init(self: Client, *words: Any) -> None:
        real(self, *words)
        self.files = Files(self.files, change)

    patch.setattr(Client, "__init__", init)


# --- ids -----------------------------------------------------------------------------------------

LAGGING = "a_lost_answer_is_settled_though_the_listing_lags"


@VIOLATIONS.add("ids are those that Drive has made", "requests_of_a_small_file", "not usable")
def _(patch: Patch) -> None:
    patch.setattr(Service, "new_id", lambda self: "1made-up")


@VIOLATIONS.add("an id is used once", "requests_of_a_small_file", "a used one")
def _(patch: Patch) -> None:
    real, kept = Service.new_id, list[str]()

    def new_id(self: Service) -> str:
        kept.append(real(self))
        return kept[min(2, len(kept) - 1)]  # two folders, and one file

    patch.setattr(Service, "new_id", new_id)


@VIOLATIONS.add("an id is saved before it is used", LAGGING, r"#2|names\(standin\)", size=100, route="upload")
def _(patch: Patch) -> None:
    patch.setattr(Maker, "_planned", lambda self, *words: self._service.new_id())


@VIOLATIONS.add(
    "of a used id it is asked what is there", LAGGING, r"#2|names\(standin\)", size=100, route="upload"
)
def _(patch: Patch) -> None:
    patch.setattr(Maker, "_own", lambda self, number, parcel: None)


@VIOLATIONS.add("a folder has a planned id", LAGGING, r"folders\(standin\)", size=100, route="create")
def _(patch: Patch) -> None:
    patch.setattr(FolderIds, "plan", lambda self: None)


@VIOLATIONS.add("a request is sent once", LAGGING, "DeliveryError", size=100, route="upload")
def _(patch: Patch) -> None:
    real = SignedHttp.request

    def request(self: SignedHttp, *words: Any, **more: Any) -> Any:
        try:
            return real(self, *words, **more)
        except Exception:  # as httplib2 does
            return real(self, *words, **more)

    patch.setattr(SignedHttp, "request", request)


# --- names ---------------------------------------------------------------------------------------


@VIOLATIONS.add(
    "a name is looked for before it is taken",
    "an_empty_page_is_not_an_empty_folder",
    "skipped",
    policy=ConflictPolicy.SKIP,
)
def _(patch: Patch) -> None:
    patch.setattr(Placer, "there", lambda self, folder, name: [])


@VIOLATIONS.add(
    "a listing is read to its end",
    "an_empty_page_is_not_an_empty_folder",
    "skipped",
    policy=ConflictPolicy.SKIP,
)
def _(patch: Patch) -> None:
    class OnePage(Files):
        def list_next(self, *_: Any) -> None:
            return None

    real = Client.__init__

    def init(self: Client, *words: Any) -> None:
        real(self, *words)
        self.files = OnePage(self.files, dict)

    patch.setattr(Client, "__init__", init)


@VIOLATIONS.add("quotes in a query are escaped", "names_with_quotes_are_found_again", "could not list")
def _(patch: Patch) -> None:
    patch.setattr(service, "quoted", lambda text: f"'{text}'")


@VIOLATIONS.add(
    "a listing lags behind", "workers_that_race_for_a_name_and_for_new_folders", r"paths|Receipt|names"
)
def _(patch: Patch) -> None:
    patch.setattr(placing, "LAG", -1.0)


@VIOLATIONS.add("of twin folders the oldest is used", "of_twin_folders_the_oldest_is_used", "DID NOT RAISE")
def _(patch: Patch) -> None:
    def find(self: FolderIds, parent: str, name: str) -> str | None:
        found = self._service.named(parent, name, folders=True)
        return found[-1].id if found else None

    patch.setattr(FolderIds, "find", find)


@VIOLATIONS.add("a file has one parent", "requests_of_a_small_file", "cannotAddParent|parents")
def _(patch: Patch) -> None:
    real = service.body_of

    def body_of(*words: Any) -> dict[str, Any]:
        body = real(*words)
        return {**body, "parents": [*body["parents"], "root"]}

    patch.setattr(making, "body_of", body_of)


@VIOLATIONS.add("shared drives are meant too", "a_folder_of_a_shared_drive", "notFound", size=100)
def _(patch: Patch) -> None:
    changing(patch, lambda given: {k: v for k, v in given.items() if k != "supportsAllDrives"})


@VIOLATIONS.add(
    "no document of Google's own is asked for",
    "a_body_arrives_byte_for_byte_whatever_its_type",
    "could not upload",
    said_type="application/vnd.google-apps.document",
    kept="application/octet-stream",
)
def _(patch: Patch) -> None:
    for each in (service, single):
        patch.setattr(each, "media_type", lambda parcel: parcel.media_type)


# --- the trash -----------------------------------------------------------------------------------


@VIOLATIONS.add(
    "what is in the trash is not there",
    "a_file_that_somebody_trashes_after_its_answer_was_lost_is_not_there",
    "ABSENT|held",
    size=100,
)
def _(patch: Patch) -> None:
    def change(given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "q": given["q"].replace(" and trashed = false", "")} if "q" in given else given

    changing(patch, change)


@VIOLATIONS.add(
    "a file in a trashed folder is noticed",
    "a_folder_that_is_trashed_gets_no_file",
    r"names\(standin\)",
    target=FAIL,
    size=100,
    which="inbox",
)
def _(patch: Patch) -> None:
    patch.setattr(service, "FIELDS", service.FIELDS.replace("trashed,", ""))


# --- sessions ------------------------------------------------------------------------------------

RESUMED = "another_worker_sends_only_what_is_missing"


@VIOLATIONS.add("chunks are multiples of 256 KiB", RESUMED, "multiple of|Regex|fenced", target=FAIL)
def _(patch: Patch) -> None:
    real = Sessions.__init__
    patch.setattr(Sessions, "__init__", lambda self, place, chunk: real(self, place, chunk + 1))


@VIOLATIONS.add(
    "how far a chunk got is read from its answer",
    "chunks_that_drive_keeps_a_part_of_are_continued_there",
    "could not upload a chunk|starts",
)
def _(patch: Patch) -> None:
    real = Sessions._put

    def put(self: Sessions, upload: Upload, body: Any, span: str | None, last: bool) -> Any:
        told = real(self, upload, body, span, last)
        return told if isinstance(told, Stored) or body is None else body._offset + len(body)

    patch.setattr(Sessions, "_put", put)


@VIOLATIONS.add("an upload is asked how far it got", RESUMED, "Content-Range", target=FAIL)
def _(patch: Patch) -> None:
    patch.setattr(Sessions, "_standing", lambda self, parcel, upload: 0)


@VIOLATIONS.add("an upload is saved before a byte is sent", RESUMED, "upload", target=FAIL)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "asdict", lambda upload: None)


@VIOLATIONS.add(
    "an upload that ended begins anew", "an_upload_that_was_cancelled_begins_anew", "499", gone=499
)
def _(patch: Patch) -> None:
    patch.setattr(sessions, "ENDED", ())
    patch.setitem(errors.STATUSES, 499, (errors.K.CONFIG, None))  # type: ignore[arg-type]


@VIOLATIONS.add(
    "an upload that is given up is ended",
    "an_upload_for_a_name_that_was_taken_meanwhile_is_ended",
    "unfinished",
)
def _(patch: Patch) -> None:
    patch.setattr(Sessions, "abandon", lambda self, upload: None)


@VIOLATIONS.add(
    "the fence is asked before the last chunk ends",
    "fenced_out_at_commit_publishes_nothing",
    "broken promise",
)
def _(patch: Patch) -> None:
    for each in (sessions, single):
        patch.setattr(each, "Publishing", Counting)


@VIOLATIONS.add(
    "no token goes to another's upload address",
    "no_token_for_an_upload_address_outside_google",
    "outside its domain|DID NOT RAISE|Regex",
)
def _(patch: Patch) -> None:
    patch.setattr(Client, "check_address", lambda self, url: url)


# --- what arrived --------------------------------------------------------------------------------

NO_NEW_FILE = "content_that_differs_leaves_no_new_file"


@VIOLATIONS.add("the MD5 is compared", NO_NEW_FILE, "DID NOT RAISE")
def _(patch: Patch) -> None:
    patch.setattr(Stored, "holds", lambda self, parcel: True)


@VIOLATIONS.add("a file that differs is removed", NO_NEW_FILE, "files")
def _(patch: Patch) -> None:
    patch.setattr(Service, "delete", lambda self, number: None)


@VIOLATIONS.add(
    "content that differs makes way for what was there",
    "content_that_differs_does_not_cost_the_file_that_was_there",
    "versions",
)
def _(patch: Patch) -> None:
    patch.setattr(Service, "drop_version", lambda self, number, version: None)


# --- the account ---------------------------------------------------------------------------------

PAUSE = {"reason": "userRateLimitExceeded", "route": "upload"}
EXACTLY = "throttling_says_how_long_and_concerns_the_account"


@VIOLATIONS.add("a stated delay is honoured", EXACTLY, "37", **PAUSE)
def _(patch: Patch) -> None:
    patch.setattr(errors, "stated_delay", lambda headers: None)


@VIOLATIONS.add("throttling concerns the account", EXACTLY, "CONNECTION", **PAUSE)
def _(patch: Patch) -> None:
    patch.setattr(errors, "_ACCOUNT", frozenset())


@VIOLATIONS.add("a throttled request is not sent again at once", EXACTLY, "DID NOT RAISE", **PAUSE)
def _(patch: Patch) -> None:
    real = SignedHttp.request

    def request(self: SignedHttp, *words: Any, **more: Any) -> Any:
        answer, content = real(self, *words, **more)
        return real(self, *words, **more) if answer.status == 403 else (answer, content)

    patch.setattr(SignedHttp, "request", request)


@VIOLATIONS.add("a day's uploads are no pause", "the_uploads_of_a_day_are_quota", "QUOTA")
def _(patch: Patch) -> None:
    patch.setattr(errors, "DAILY", "")


@VIOLATIONS.add(
    "a token that has ended is renewed", "a_token_that_ends_in_mid_upload_is_renewed_once", "authError"
)
def _(patch: Patch) -> None:
    patch.setattr(SignedHttp, "renew", lambda self: None)


@VIOLATIONS.add("no request is needless", "requests_of_a_small_file", "counts")
def _(patch: Patch) -> None:
    real = Maker.create

    def create(self: Maker, folder: str, *words: Any) -> Stored:
        self._service.by_id(folder)
        return real(self, folder, *words)

    patch.setattr(Maker, "create", create)


@VIOLATIONS.add("a small file takes one request", "requests_of_a_small_file", "counts")
def _(patch: Patch) -> None:
    patch.setattr(making, "SMALL", -1)
