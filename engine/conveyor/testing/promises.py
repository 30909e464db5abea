"""What a connector promises, in words, each with what usually breaks it.

``python -m conveyor.testing.promises`` prints them all, or those that are named behind it: the whole of what
docs/testing-a-connector.md says of them, for whoever has Conveyor installed and no checkout.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Promise(NamedTuple):
    """One promise."""

    says: str
    """What holds, in one sentence."""

    broken_by: str
    """What usually breaks it."""


PROMISES = {
    "bytes": Promise(
        "every byte arrives, and no other",
        "an empty file that is never created; a last block that is not flushed",
    ),
    "receipt": Promise(
        "the receipt says what the destination holds",
        "the wanted path instead of the one taken; a digest of the wrong algorithm",
    ),
    "atomic": Promise(
        "a reader never sees a part of a file under its name",
        "writing under the final name",
    ),
    "gap": Promise(
        "while a file is replaced, a reader sees the old one or the new one",
        "deleting before renaming",
    ),
    "commit": Promise(
        "before_commit() is called before anything is visible, and once it refuses nothing becomes so",
        "asking after the last byte of a request that publishes",
    ),
    "cancel": Promise(
        "a cancelled attempt lets AttemptCancelled pass and leaves nothing visible",
        "`except BaseException`; publishing in a `finally`",
    ),
    "progress": Promise(
        "progress() is told of every byte sent",
        "an SDK that uploads whole files without a callback",
    ),
    "names": Promise(
        "every legal name arrives unchanged",
        "quoting twice or not at all; headers made of tags",
    ),
    "folders": Promise(
        "missing folders are made, also by two workers at once",
        '"exists" taken for an error',
    ),
    "name_too_long": Promise(
        "a name that is too long there is a NAME error and leaves nothing",
        "a 400 or 500 that becomes TRANSIENT, and is retried for days",
    ),
    "max_size": Promise(
        "a file above max_size is refused as TOO_LARGE before its payload is opened",
        "asking the service first",
    ),
    "overwrite": Promise(
        "overwrite leaves the new file alone under the name",
        "a service that keeps both under one name",
    ),
    "skip": Promise(
        "skip leaves an existing file as it is and says so",
        "`skipped` left out of the receipt",
    ),
    "fail": Promise(
        "fail leaves an existing file as it is and raises CONFLICT",
        "a precondition that the server ignores",
    ),
    "rename": Promise(
        "rename keeps both files, and tells the name it took",
        "one try; `renamed` left out of the receipt",
    ),
    "create_only": Promise(
        "of two workers that create one name at once, exactly one gets it",
        "looking first, then writing",
    ),
    "one_copy": Promise(
        "however often a delivery is repeated, the destination holds one right copy of it",
        "a second name, because the first is taken by oneself: save the chosen path",
    ),
    "short_source": Promise(
        "a source that ends early or cannot be read leaves nothing visible and is an error",
        "trusting `size`, or committing what came",
    ),
    "find": Promise(
        "find() tells this delivery's own file from a stranger's",
        "trusting the name; MINE is what carries your id, or your saved name with your bytes",
    ),
    "retry": Promise(
        "after any failure of the network, the next attempt ends with exactly one right copy",
        "a cut connection taken for final",
    ),
    "unknown": Promise(
        "an answer that never came after the commit is UNKNOWN_OUTCOME",
        "TRANSIENT, after which nobody looks",
    ),
    "corruption": Promise(
        "bytes that were changed on the way never become a delivered file",
        "no digest asked for, or none compared",
    ),
    "stall": Promise(
        "a server that stops answering ends the attempt by its deadline",
        "a call without a time limit: use `context.remaining()`",
    ),
    "resume": Promise(
        "a half-sent file is continued, not sent again",
        "the upload's id saved after the upload began, or not at all",
    ),
    "session": Promise(
        "a saved session that is gone costs one restart, not the delivery",
        "raising CONFIG for an unknown upload",
    ),
    "killed": Promise(
        "a worker killed at any moment leaves what the next one can finish",
        "saving after the effect instead of before it",
    ),
    "frozen": Promise(
        "a worker frozen past its lease publishes nothing when it wakes",
        "temporary names without the fence; before_commit() long before the step it guards",
    ),
    "abandon": Promise(
        "abandon() removes everything that a dead delivery left",
        '"not there" taken for an error; removing the delivered file',
    ),
    "errors": Promise(
        "only DeliveryError and AttemptCancelled leave a connector",
        "an SDK's exception in a path that seldom runs",
    ),
    "kinds": Promise(
        "each trouble at the destination has its own error kind",
        "one kind for all answers of 4xx",
    ),
    "throttle": Promise(
        "a stated delay is reported, to the second",
        "a guess in place of `Retry-After`",
    ),
    "secrets": Promise(
        "no secret stands in a message, a log line or a receipt",
        "a URL with credentials; the text of an SDK's exception",
    ),
    "check": Promise(
        "check() tells the same truth as deliver(), and leaves nothing behind",
        "a check that only logs in; a canary that stays",
    ),
    "sdk": Promise(
        "every exception class of the SDK is mapped to an error kind",
        "a class that came with a newer SDK",
    ),
    "memory": Promise(
        "memory does not grow with the size of the file",
        "`read()` without a size",
    ),
    "two_at_once": Promise(
        "two deliveries at once through one process do not disturb each other",
        "state in a module or a class",
    ),
    "close": Promise(
        "close() releases sockets, threads and streams, and may be called again",
        "payload streams without `with`",
    ),
    "no_io": Promise(
        "making a connector does no input or output",
        "signing in from `__init__`",
    ),
    "declared": Promise(
        "a declared capability is tested",
        "a bench without `through` and without a reason under `unavailable`",
    ),
    "example": Promise(
        "the example of the spec is a destination that can be configured",
        "options without the destination's id above them",
    ),
}


def text_of(*names: str) -> str:
    """The promises of these names, or all of them, as text.

    Raises:
        SystemExit: There is no promise of such a name.
    """
    if unknown := [name for name in names if name not in PROMISES]:
        raise SystemExit(f"no promise is named {', '.join(unknown)}; there are {', '.join(PROMISES)}")
    return "\n\n".join(
        f"{name}\n    {promise.says}\n    usually broken by: {promise.broken_by}"
        for name, promise in PROMISES.items()
        if not names or name in names
    )


if __name__ == "__main__":
    sys.stdout.write(text_of(*sys.argv[1:]) + "\n")
