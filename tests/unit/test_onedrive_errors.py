"""Every code and status of Graph has its kind; nothing but the contract's errors comes out of any answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import Response
from servers.onedrive_errors import classify, refusal, sdk_exceptions

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor_connectors.onedrive.errors import CODES, STATUSES, codes, from_answer

K = ErrorKind


@pytest.mark.parametrize(
    ("status", "given_codes", "kind"),
    [
        # the most exact code counts: it is the innermost one that is known
        (400, ("invalidRequest", "pathIsTooLong"), K.NAME),
        (400, ("invalidRequest", "somethingNew"), K.CONFIG),
        (400, ("somethingNew", "malwareDetected", "alsoNew"), K.REJECTED),
        (403, ("accessDenied", "quotaLimitReached"), K.QUOTA),
        (400, ("invalidPath",), K.NAME),
        (400, ("pathTooDeep",), K.NAME),
        (401, ("InvalidAuthenticationToken",), K.AUTH_EXPIRED),
        (403, ("accessDenied",), K.CONFIG),
        (404, ("itemNotFound",), K.CONFIG),
        (409, ("nameAlreadyExists",), K.CONFLICT),
        (412, ("resourceModified",), K.CONFLICT),
        (412, ("preconditionFailed",), K.CONFLICT),
        (423, ("resourceLocked",), K.TRANSIENT),
        (429, ("activityLimitReached",), K.THROTTLED),
        (429, ("TooManyRequests",), K.THROTTLED),
        (500, ("generalException",), K.TRANSIENT),
        (500, ("invalidRequest",), K.TRANSIENT),
        (503, ("serviceNotAvailable",), K.THROTTLED),
        (504, ("resourceBeingProvisioned",), K.TRANSIENT),
        (507, ("insufficientStorage",), K.QUOTA),
        (507, (), K.QUOTA),
        (509, ("somethingNew",), K.THROTTLED),
        (413, (), K.TOO_LARGE),
        (502, (), K.TRANSIENT),
    ],
)
def test_what_a_refusal_means(status: int, given_codes: tuple[str, ...], kind: ErrorKind) -> None:
    assert from_answer(refusal(status, *given_codes), "try").kind is kind


def test_a_server_error_after_the_last_byte_leaves_the_outcome_open() -> None:
    for status in (500, 502, 504):
        assert from_answer(refusal(status, "generalException"), "try", sent=True).kind is K.UNKNOWN_OUTCOME
    assert from_answer(refusal(507, "quotaLimitReached"), "try", sent=True).kind is K.QUOTA
    assert from_answer(refusal(409, "nameAlreadyExists"), "try", sent=True).kind is K.CONFLICT


@pytest.mark.parametrize("status", [429, 503, 509])
def test_delays_are_taken_exactly(status: int) -> None:
    error = from_answer(refusal(status, "x", Retry_After="123"), "try")
    assert (error.kind, error.retry_after, error.scope) == (K.THROTTLED, 123.0, Scope.CONNECTION)


def test_trouble_of_the_account_concerns_all_its_destinations() -> None:
    for status, code in ((401, "unauthenticated"), (429, "throttledRequest"), (403, "insufficient_claims")):
        assert from_answer(refusal(status, code), "try").scope is Scope.CONNECTION
    for status, code in ((404, "itemNotFound"), (507, "quotaLimitReached"), (500, "generalException")):
        assert from_answer(refusal(status, code), "try").scope is Scope.DESTINATION


def test_rps_passes_by_itself() -> None:
    answer = refusal(401, "unauthenticated")
    answer._content = json.dumps(
        {"error": {"code": "unauthenticated", "message": "Unable to initialize RPS"}}
    ).encode()
    assert from_answer(answer, "try").kind is K.TRANSIENT


def test_inner_errors_are_found_under_both_spellings() -> None:
    nested = {"error": {"code": "a", "innerError": {"code": "b", "innererror": {"code": "c"}}}}
    assert list(codes(nested)) == ["a", "b", "c"]


def test_addresses_are_not_repeated() -> None:
    answer = refusal(400, "invalidRequest")
    secret = "https://sn3302.up.1drv.com/up/fe6987415ace7X4e1eF866337"
    answer._content = json.dumps({"error": {"code": "invalidRequest", "message": f"bad {secret}"}}).encode()
    assert "fe6987415" not in f"{from_answer(answer, 'try')!r}{from_answer(answer, 'try').message}"


def test_each_hint_and_kind_is_useful() -> None:
    for kind, hint in (*CODES.values(), *STATUSES.values()):
        if kind in (K.CONFIG, K.QUOTA, K.AUTH_REVOKED, K.NAME):
            assert hint or kind is K.CONFIG
        assert hint is None or hint.endswith(".")


def test_every_exception_class_of_the_transport_is_sorted() -> None:
    for error in sdk_exceptions():
        told = classify(error)
        assert isinstance(told, DeliveryError)
        assert told.message.startswith("could not test") or told.kind is K.CONFIG


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "innererror", "innerError", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([*range(300, 310), *range(400, 432), 451, *range(500, 512), 599]),
    JSON.map(json.dumps).map(str.encode) | st.binary(max_size=50),
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    st.booleans(),
)
def test_junk_becomes_one_of_the_contracts_errors(
    status: int, body: bytes, delay: str | None, sent: bool
) -> None:
    answer: Any = Response()
    answer.status_code = status
    answer._content = body
    if delay is not None:
        answer.headers["Retry-After"] = delay
    told = from_answer(answer, "try", sent=sent)
    assert isinstance(told.kind, ErrorKind)
    assert told.retry_after is None or 0 <= told.retry_after <= 3600
    assert len(told.message) < 500
