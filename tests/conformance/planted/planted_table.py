"""Which test of the suite must notice which planted fault, by which promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import planted_faults
from planted_faults import MemoryConnector

from conveyor.testing import MEMORY_SPEC


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        connector: The wrong connector.
        home: The test that exists for it.
        promise: The promise that its failure names.
        gross: So gross a fault that most of the suite breaks.
        bench: Changes to the bench.
        slow: Its test takes many seconds: only in the campaign.
    """

    connector: type[MemoryConnector]
    home: str
    promise: str
    gross: bool = False
    bench: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False

    @property
    def name(self) -> str:
        return self.connector.__name__ + ("Bench" if self.bench else "")


def _fault(
    name: str, home: str, promise: str, *, gross: bool = False, slow: bool = False, **bench: Any
) -> Fault:
    return Fault(getattr(planted_faults, name), f"test_{home}", promise, gross, bench, slow)


FAULTS = (
    _fault("LosesEmptyFiles", "every_byte_arrives", "bytes"),
    _fault("BoastingReceipt", "receipt_tells_what_is_there", "receipt"),
    _fault("ShowsParts", "reader_never_sees_a_part", "atomic"),
    _fault("DeletesBeforeReplacing", "reader_never_sees_a_gap", "gap"),
    _fault("AsksAfterPublishing", "commit_is_asked_before_anything_is_visible", "commit"),
    _fault("AsksTooEarly", "frozen_publishes_nothing", "frozen"),
    _fault("SilentProgress", "progress_counts_every_byte", "progress"),
    _fault("SwallowsCancellation", "cancelled_midway", "cancel"),
    _fault("DecodesNames", "name_arrives_unchanged", "names"),
    _fault("FlattensDeepFolders", "nested_folders_are_made", "folders"),
    _fault("LosesTheFolderRace", "two_workers_make_the_same_folders", "folders"),
    _fault("LongNamesAreTransient", "name_too_long", "name_too_long"),
    _fault("OpensBeforeMeasuring", "too_large_a_file", "max_size"),
    _fault("HeadersFromTags", "metadata_of_any_kind_does_no_harm", "errors"),
    _fault("OverwriteRenames", "overwrite", "overwrite"),
    _fault("SkipOverwrites", "skip", "skip"),
    _fault("SkipsSilently", "skip", "skip"),
    _fault("FailOverwrites", "fail", "fail"),
    _fault("RenameOverwrites", "rename", "rename"),
    _fault("CountsToOne", "rename_counts_up", "rename"),
    _fault("ForgetsItsName", "same_delivery_beside_a_stranger_leaves_one_copy", "one_copy"),
    _fault("ExistsThenPut", "fail_lets_one_of_two_win", "create_only"),
    _fault("TrustsTheSource", "source_ends_early", "short_source"),
    _fault("LeaksOSError", "source_raises_an_ordinary_error", "errors"),
    _fault("BlamesTheNetwork", "source_raises_midway", "short_source"),
    _fault("FindTrustsTheName", "find_does_not_claim_a_strangers_file", "find"),
    _fault("FindKnowsNothing", "find_knows_its_own", "find"),
    _fault("FindInvents", "find_before_anything_was_sent", "find"),
    _fault("CutsAreFinal", "cut_midway_then_retried", "retry"),
    _fault("UnknownIsTransient", "answer_to_the_commit_is_lost", "unknown"),
    _fault("RefusedIsConfig", "refused_connection_is_transient", "retry"),
    _fault("TrustsTheWire", "corruption_is_noticed", "corruption"),
    _fault("WaitsForever", "silent_server_ends_by_the_deadline", "stall", slow=True),
    _fault("StartsAgain", "half_sent_file_is_continued", "resume"),
    _fault("SavesTooLate", "killed_then_a_fresh_worker_finishes", "killed"),
    _fault("AbandonsNothing", "abandon_leaves_nothing", "abandon"),
    _fault("AbandonsTooMuch", "abandon_spares_a_delivered_file", "abandon"),
    _fault("AbandonsOnce", "abandon_leaves_nothing", "abandon"),
    _fault("SavesAfterPublishing", "abandon_after_what_could_not_be_saved_leaves_nothing", "abandon"),
    _fault("ClingsToItsSession", "lost_session_costs_one_restart", "session"),
    _fault("LoginsAreTransient", "trouble_has_its_kind", "kinds"),
    _fault("FullIsTransient", "trouble_has_its_kind", "kinds"),
    _fault("TellsTheSecret", "trouble_has_its_kind", "secrets", gross=True),
    _fault("LogsTheSecret", "every_byte_arrives", "secrets", gross=True),
    _fault("ChecksNothing", "check_tells_the_same_truth", "check"),
    _fault("LeavesItsCanary", "check_is_content_and_leaves_nothing", "check"),
    _fault("GuessesTheDelay", "throttling_tells_the_delay", "throttle"),
    _fault("HoardsMemory", "memory_does_not_grow_with_the_file", "memory"),
    _fault("SharesItsUpload", "two_deliveries_at_once", "two_at_once"),
    _fault("BreaksAfterAFailure", "connector_is_used_again", "bytes"),
    _fault("KeepsItsSockets", "close_releases_everything", "close"),
    _fault("KeepsAThread", "close_releases_everything", "close"),
    _fault("LeavesStreamsOpen", "close_releases_everything", "close"),
    _fault("ClosesOnce", "close_twice", "close"),
    _fault("ConnectsAtOnce", "making_a_connector_does_no_io", "no_io"),
    _fault(
        "MemoryConnector",
        "every_sdk_exception_has_a_kind",
        "sdk",
        classify=planted_faults.classify_with_a_hole,
    ),
    _fault("MemoryConnector", "declared_capabilities_are_tested", "declared", through=None),
    _fault(
        "MemoryConnector",
        "example_can_be_configured",
        "example",
        spec=dataclasses.replace(MEMORY_SPEC, example="url: http://127.0.0.1/\n"),
    ),
)
