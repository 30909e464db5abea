"""What each answer of a WebDAV server means, and each failure to get one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests.exceptions
import urllib3.exceptions
from servers.dav_bench import every_exception
from servers.dav_stub import Answer as Said
from servers.dav_stub import Stub, answering, multistatus

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Receipt, Target
from conveyor.kit.waits import stated_delay
from conveyor.network import Network
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor_connectors.webdav.client import Answer
from conveyor_connectors.webdav.connector import WebdavConnector
from conveyor_connectors.webdav.errors import of_answer, of_exception
from conveyor_connectors.webdav.options import WebdavOptions

K = ErrorKind
FOLDER = multistatus("/", folder=True)
TARGET = Target("photo.jpg", ConflictPolicy.OVERWRITE)


def deliver(stub: Stub, target: Target = TARGET, **options: object) -> Receipt:
    connector = WebdavConnector(WebdavOptions.model_validate({"url": stub.url, **options}), make_env())
    try:
        return connector.deliver(make_parcel(b"bytes"), target, HarnessContext())
    finally:
        connector.close()


def refusal(script: Mapping[str, Said | list[Said]], target: Target = TARGET) -> tuple[DeliveryError, Stub]:
    with answering({"*": Said(404), **script}) as stub, pytest.raises(DeliveryError) as caught:
        deliver(stub, target)
    return caught.value, stub


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, K.CONFIG),
        (302, K.CONFIG),
        (307, K.CONFIG),
        (400, K.CONFIG),
        (401, K.AUTH_REVOKED),
        (403, K.CONFIG),
        (404, K.CONFIG),
        (405, K.CONFIG),
        (409, K.TRANSIENT),
        (411, K.CONFIG),
        (413, K.TOO_LARGE),
        (414, K.NAME),
        (418, K.CONFIG),
        (423, K.TRANSIENT),
        (425, K.TRANSIENT),
        (429, K.THROTTLED),
        (500, K.TRANSIENT),
        (502, K.TRANSIENT),
        (503, K.TRANSIENT),
        (504, K.TRANSIENT),
        (507, K.QUOTA),
        (509, K.THROTTLED),
        (599, K.TRANSIENT),
    ],
)
def test_every_status_has_a_kind(status: int, kind: ErrorKind) -> None:
    assert of_answer(Answer(status, {}), "store the file").kind is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "999999999999"}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_the_stated_delay_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert stated_delay(headers) == seconds


def test_503_with_a_delay_asks_to_slow_down() -> None:
    error = of_answer(Answer(503, {"Retry-After": "12"}), "store the file")
    assert (error.kind, error.retry_after) == (K.THROTTLED, 12.0)


def test_the_servers_sentence_is_told_without_its_markup() -> None:
    body = b"<d:error><s:exception>X</s:exception><s:message>Quota\nis &lt; used up</s:message></d:error>"
    assert "Quota is" in of_answer(Answer(507, {}, body), "store the file").message


def test_every_exception_of_the_libraries_has_a_kind() -> None:
    kinds = {type(error).__name__: of_exception(error, "test").kind for error in every_exception()}
    assert kinds["NotEnoughSpace"] is K.QUOTA
    assert kinds["NoConnection"] is K.TRANSIENT
    assert kinds["InvalidURL"] is K.CONFIG
    assert len(kinds) > 40


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("x"),
        urllib3.exceptions.ProtocolError("x", ConnectionResetError(104, "reset")),
        TimeoutError(),
    ],
)
def test_only_the_publishing_request_leaves_the_outcome_unknown(error: Exception) -> None:
    assert of_exception(error, "rename", publishes=True).kind is K.UNKNOWN_OUTCOME
    assert of_exception(error, "store").kind is K.TRANSIENT


@pytest.mark.parametrize("method", ["PROPFIND", "PUT", "MOVE"])
def test_a_redirect_is_never_followed(method: str) -> None:
    with answering({"*": Said(200)}) as elsewhere:
        away = Said(302, {"Location": f"{elsewhere.url}/login"})
        done = {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "DELETE": Said(204)}
        error, _ = refusal({**done, method: away})
        assert error.kind is K.CONFIG
        assert "redirects to http://127.0.0.1" in error.message
        assert elsewhere.requests == []


def test_a_500_for_a_missing_folder_is_told_from_a_real_one() -> None:
    """nginx says 500 to PUT below a missing folder."""
    there, gone = multistatus("/a/", folder=True), Said(404)
    script: dict[str, Said | list[Said]] = {
        "PROPFIND": [FOLDER, gone, gone, multistatus("/a/x", size=5), multistatus("/a/x", size=5)],
        "MKCOL": Said(405),
        "PUT": [Said(500), Said(201)],
        "MOVE": Said(201),
        "DELETE": Said(204),
    }
    with answering({"*": Said(404), **script}) as stub:
        deliver(stub, Target("a/photo.jpg", ConflictPolicy.OVERWRITE))
    assert len(stub.asked("PUT")) == 2
    assert len(stub.asked("MKCOL")) == 2

    real = {**script, "PROPFIND": [FOLDER, there], "PUT": Said(500)}
    error, stub = refusal(real, Target("a/photo.jpg", ConflictPolicy.OVERWRITE))
    assert error.kind is K.TRANSIENT
    assert len(stub.asked("PUT")) == 1


def test_a_500_where_nothing_may_be_written() -> None:
    """Apache says 500 to a file and 403 to a folder."""
    error, _ = refusal({"PROPFIND": FOLDER, "PUT": Said(500), "MKCOL": Said(403)})
    assert error.kind is K.CONFIG


@pytest.mark.parametrize("status", [405, 406, 409, 423])
def test_a_folder_that_is_there_in_every_dialect(status: int) -> None:
    script: dict[str, Said | list[Said]] = {
        "PROPFIND": [FOLDER, multistatus("/x", folder=True), multistatus("/x", size=5)],
        "MKCOL": Said(status),
        "PUT": Said(201),
        "MOVE": Said(201),
    }
    if status == 405:
        script["PROPFIND"] = [FOLDER, multistatus("/x", size=5)]
    with answering({"*": Said(404), **script}) as stub:
        assert deliver(stub, Target("a/photo.jpg", ConflictPolicy.OVERWRITE)).path == "a/photo.jpg"
    assert len(stub.asked("MKCOL")) == 1
    assert {headers["depth"] for headers in stub.asked("PROPFIND")} == {"0"}


def test_a_folder_is_asked_for_with_a_slash() -> None:
    script = {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"MKCOL": Said(201), "*": Said(404), **script}) as stub:
        deliver(stub, Target("a b/photo.jpg", ConflictPolicy.OVERWRITE))
    assert [path for method, path, _ in stub.requests if method == "MKCOL"] == ["/a%20b/"]


def test_a_folder_is_never_overwritten() -> None:
    """RFC 4918 §9.9.3: Overwrite: T removes the destination with all that is in it."""
    error, stub = refusal(
        {
            "PROPFIND": [FOLDER, multistatus("/x", size=5), multistatus("/photo.jpg", folder=True)],
            "PUT": Said(201),
            "MOVE": Said(412),
            "DELETE": Said(204),
        }
    )
    assert error.kind is K.NAME
    assert [headers["overwrite"] for headers in stub.asked("MOVE")] == ["F"]


def test_behind_a_tls_proxy_the_destination_is_a_path() -> None:
    script = {
        "PROPFIND": [FOLDER, multistatus("/x", size=5)],
        "PUT": Said(201),
        "MOVE": [Said(400), Said(201)],
    }
    with answering({"*": Said(404), **script}) as stub:
        deliver(stub)
        assert [h["destination"] for h in stub.asked("MOVE")] == [f"{stub.url}/photo.jpg", "/photo.jpg"]


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_gave_up_leaves_the_outcome_unknown(status: int) -> None:
    error, _ = refusal(
        {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(status)}
    )
    assert error.kind is K.UNKNOWN_OUTCOME


def test_another_size_is_an_integrity_error_and_removed() -> None:
    script = {"PROPFIND": [FOLDER, multistatus("/x", size=4)], "PUT": Said(201), "DELETE": Said(204)}
    error, stub = refusal(script)
    assert error.kind is K.INTEGRITY
    assert stub.asked("MOVE") == []
    assert len(stub.asked("DELETE")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome</html>",
        b"",
        b"not xml",
        b'<!DOCTYPE d [<!ENTITY a "aaaa">]><d:multistatus xmlns:d="DAV:"><d:response>&a;</d:response>'
        b"</d:multistatus>",
        b'<d:multistatus xmlns:d="DAV:"/>',
        b"<d:multistatus xmlns:d='DAV:'>" + b" " * 300_000 + b"</d:multistatus>",
    ],
)
def test_what_is_not_a_multistatus_is_refused(body: bytes) -> None:
    error, _ = refusal({"PROPFIND": Said(207, {}, body)})
    assert error.kind is K.CONFIG
    assert "not WebDAV" in error.message


def test_a_private_address_is_refused_before_any_byte() -> None:
    with answering({"*": Said(200)}) as stub:
        env = make_env(network=Network())
        connector = WebdavConnector(WebdavOptions(url=stub.url), env)
        with pytest.raises(DeliveryError) as caught:
            connector.deliver(make_parcel(b"bytes"), TARGET, HarnessContext())
        connector.close()
    assert caught.value.kind is K.CONFIG
    assert "allow_private" in (caught.value.hint or "")
    assert stub.requests == []


def test_the_environment_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    script = {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"*": Said(404), **script}) as stub:
        assert deliver(stub).size == 5
    assert all("authorization" not in headers for _, _, headers in stub.requests)


def test_the_proxy_of_the_configuration_is_used() -> None:
    script = {
        "PROPFIND": [FOLDER, multistatus("/photos/x", size=5)],
        "PUT": Said(201),
        "MOVE": Said(201),
        "*": Said(404),
    }
    with answering(script) as proxy:
        env = make_env(network=Network(proxy=proxy.url.replace("http://", "http://user:pass@")))
        connector = WebdavConnector(WebdavOptions(url="http://dav.example.com/photos"), env)
        connector.deliver(make_parcel(b"bytes"), TARGET, HarnessContext())
        connector.close()
    assert all(path.startswith("http://dav.example.com/photos/") for _, path, _ in proxy.requests)
    assert all(headers["proxy-authorization"] == "Basic dXNlcjpwYXNz" for _, _, headers in proxy.requests)


def test_cookies_are_not_kept() -> None:
    first = multistatus("/", folder=True)
    first.headers = {"Set-Cookie": "session=1; Path=/"}
    script = {"PROPFIND": [first, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"*": Said(404), **script}) as stub:
        deliver(stub)
    assert all("cookie" not in headers for _, _, headers in stub.requests)


def test_digest_answers_the_challenge_and_sends_no_cookie_with_it() -> None:
    asks = 'Digest realm="photos", nonce="n1", qop="auth", algorithm=MD5'
    refused = Said(401, {"WWW-Authenticate": asks, "Set-Cookie": "session=1; Path=/"}, b"log in")
    script = {"PROPFIND": [refused, FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"*": Said(404), **script}) as stub:
        assert deliver(stub, username="ada", password="secret", auth="digest", allow_http=True).size == 5
    first, *rest = [headers.get("authorization", "") for _, _, headers in stub.requests]
    assert not first
    assert all(login.startswith('Digest username="ada", realm="photos", nonce="n1"') for login in rest)
    assert all("cookie" not in headers for _, _, headers in stub.requests)


def test_one_connection_serves_all_requests_and_a_bearer_token_goes_with_each() -> None:
    script = {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"*": Said(404), **script}) as stub:
        deliver(stub, token="bearer-token-1")
    assert {headers.get("authorization") for _, _, headers in stub.requests} == {"Bearer bearer-token-1"}


def test_the_receipt_of_a_restored_answer_needs_the_bytes_not_only_the_size() -> None:
    """A stranger's file of the same size at the saved name is not this delivery's."""
    state = {"temporary": ".photo.jpg.x.1.conveyor", "path": "photo.jpg"}
    there = multistatus("/photo.jpg", size=5)
    with answering({"PROPFIND": [Said(404), there], "GET": Said(200, {}, b"other")}) as stub:
        connector = WebdavConnector(WebdavOptions(url=stub.url), make_env())
        context = HarnessContext(state, attempt=2, fence=2)
        found = connector.find(make_parcel(b"bytes"), Target("photo.jpg", ConflictPolicy.RENAME), context)
        connector.close()
    assert found.kind is FoundKind.OTHER


def test_a_file_that_another_writer_replaced_in_the_same_instant_is_sent_again() -> None:
    """Apache looks first and renames then, so that of two writers both may be told 201."""
    mine, theirs = multistatus("/x", size=5), multistatus("/photo.jpg", size=6)
    script = {"PROPFIND": [FOLDER, mine, theirs], "PUT": Said(201), "MOVE": Said(201), "DELETE": Said(404)}
    target = Target("photo.jpg", ConflictPolicy.RENAME)
    error, _ = refusal(script, target)
    assert error.kind is K.TRANSIENT
    fetched = {**script, "PROPFIND": [FOLDER, mine, Said(404)]}
    with answering({"*": Said(404), **fetched}) as stub:
        assert deliver(stub, target).path == "photo.jpg"


def test_no_other_writer_is_looked_for_at_a_name_that_carries_the_delivery() -> None:
    parcel = make_parcel(b"bytes")
    target = Target(f"{parcel.delivery_id}/photo.jpg", ConflictPolicy.RENAME)
    script = {"PROPFIND": [FOLDER, multistatus("/x", size=5)], "PUT": Said(201), "MOVE": Said(201)}
    with answering({"MKCOL": Said(201), **script, "*": Said(404)}) as stub:
        connector = WebdavConnector(WebdavOptions(url=stub.url), make_env())
        connector.deliver(parcel, target, HarnessContext())
        connector.close()
    assert [method for method, _, _ in stub.requests] == ["PROPFIND", "MKCOL", "PUT", "PROPFIND", "MOVE"]


NONE_THERE = (
    b'<d:multistatus xmlns:d="DAV:"><d:response><d:href>/photo.jpg</d:href>'
    b"<d:status>HTTP/1.1 %d Told</d:status></d:response></d:multistatus>"
)


def test_a_multistatus_that_tells_of_nothing_there() -> None:
    """RFC 4918, 14.24: a status of the resource itself, in place of its properties."""
    script = {
        "PROPFIND": [FOLDER, Said(207, body=NONE_THERE % 404), multistatus("/x", size=5)],
        "PUT": Said(201),
        "MOVE": Said(201),
        "*": Said(404),
    }
    with answering(script) as stub:
        assert not deliver(stub, Target("photo.jpg", ConflictPolicy.SKIP)).skipped


def test_a_multistatus_that_refuses_is_a_refusal() -> None:
    skip = Target("photo.jpg", ConflictPolicy.SKIP)
    error, _ = refusal({"PROPFIND": [FOLDER, Said(207, body=NONE_THERE % 423)]}, skip)
    assert (error.kind, error.code) == (K.TRANSIENT, "423")
