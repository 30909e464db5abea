"""What a connector promises, in words: each failure of the suite names the promise that was broken."""

from __future__ import annotations

from typing import NoReturn

import pytest

PAGE = "docs/testing-a-connector.md"
"""Where they are written for a person, each with what usually breaks it."""

PROMISES = {
    "bytes": "every byte arrives, and no other",
    "receipt": "the receipt says what the destination holds",
    "atomic": "a reader never sees a part of a file under its name",
    "gap": "while a file is replaced, a reader sees the old one or the new one",
    "commit": "before_commit() is called before anything is visible, and once it refuses nothing becomes so",
    "cancel": "a cancelled attempt lets AttemptCancelled pass and leaves nothing visible",
    "progress": "progress() is told of every byte sent",
    "names": "every legal name arrives unchanged",
    "folders": "missing folders are made, also by two workers at once",
    "name_too_long": "a name that is too long there is a NAME error and leaves nothing",
    "max_size": "a file above max_size is refused as TOO_LARGE before its payload is opened",
    "overwrite": "overwrite leaves the new file alone under the name",
    "skip": "skip leaves an existing file as it is and says so",
    "fail": "fail leaves an existing file as it is and raises CONFLICT",
    "rename": "rename keeps both files, and tells the name it took",
    "create_only": "of two workers that create one name at once, exactly one gets it",
    "one_copy": "however often a delivery is repeated, the destination holds one right copy of it",
    "short_source": "a source that ends early or cannot be read leaves nothing visible and is an error",
    "find": "find() tells this delivery's own file from a stranger's",
    "retry": "after any failure of the network, the next attempt ends with exactly one right copy",
    "unknown": "an answer that never came after the commit is UNKNOWN_OUTCOME",
    "corruption": "bytes that were changed on the way never become a delivered file",
    "stall": "a server that stops answering ends the attempt by its deadline",
    "resume": "a half-sent file is continued, not sent again",
    "session": "a saved session that is gone costs one restart, not the delivery",
    "killed": "a worker killed at any moment leaves what the next one can finish",
    "frozen": "a worker frozen past its lease publishes nothing when it wakes",
    "abandon": "abandon() removes everything that a dead delivery left",
    "errors": "only DeliveryError and AttemptCancelled leave a connector",
    "kinds": "each trouble at the destination has its own error kind",
    "throttle": "a stated delay is reported, to the second",
    "secrets": "no secret stands in a message, a log line or a receipt",
    "check": "check() tells the same truth as deliver(), and leaves nothing behind",
    "sdk": "every exception class of the SDK is mapped to an error kind",
    "memory": "memory does not grow with the size of the file",
    "two_at_once": "two deliveries at once through one process do not disturb each other",
    "close": "close() releases sockets, threads and streams, and may be called again",
    "no_io": "making a connector does no input or output",
    "declared": "a declared capability is tested",
    "example": "the example of the spec is a destination that can be configured",
}


def broken(promise: str, detail: str, cause: BaseException | None = None) -> NoReturn:
    """Fail the test with the promise that was broken and how."""
    text = f"broken promise '{promise}': {PROMISES[promise]}\n    {detail}\n    written in {PAGE}"
    try:
        pytest.fail(text, pytrace=False)
    except pytest.fail.Exception as failure:
        raise failure from cause


def keeps(promise: str, kept: object, detail: str) -> None:
    """Fail with the promise unless ``kept``."""
    if not kept:
        broken(promise, detail)
