"""The stand-ins' kit: routes, bodies, faults, sign-in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest

from servers.standins.child import launched
from servers.standins.kit import Fault, StandIn, route, running
from servers.standins.messages import Answer, Refused, Request


class Shelf(StandIn):
    @route("PUT", "/files/{name:path}/content")
    def put_file(self, request: Request) -> Answer:
        self.authenticate(request, "files.write")
        spooled = request.spool()
        return Answer(201, {"name": request.params["name"], "size": spooled.size, "sha256": spooled.sha256})

    @route("GET", "/files/{name}")
    @route("HEAD", "/files/{name}")
    def look(self, request: Request) -> Answer:
        if request.params["name"] == "gone":
            raise Refused(404, {"error": "gone"}, Retry_After="3")
        return Answer(200, {"name": request.params["name"], "query": request.query})


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with running(Shelf()) as standin:
        yield standin


def ask(
    shelf: Shelf, method: str, path: str, body: bytes | Iterator[bytes] = b"", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection(shelf.host, shelf.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not isinstance(body, bytes):
        named["Transfer-Encoding"] = "chunked"
    connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


def test_a_pattern_matches_levels_as_they_were_sent(shelf: Shelf) -> None:
    status, _, data = ask(shelf, "GET", "/files/a%2Fb?x=1")
    assert (status, json.loads(data)) == (200, {"name": "a/b", "query": {"x": "1"}})
    assert ask(shelf, "GET", "/files/a/b")[0] == 404
    assert ask(shelf, "DELETE", "/files/a")[0] == 404
    assert ask(shelf, "HEAD", "/files/a")[2] == b""


def test_a_body_is_counted_with_either_framing(shelf: Shelf) -> None:
    token, _ = shelf.sign_in("files.write")
    login = {"Authorization": f"Bearer {token}"}
    for body in (b"x" * 100_000, iter([b"x" * 70_000, b"x" * 30_000])):
        status, _, data = ask(shelf, "PUT", "/files/d/a.jpg/content", body, **login)
        assert status == 201
        assert json.loads(data)["name"] == "d/a.jpg"
        assert json.loads(data)["size"] == 100_000
    assert [seen.size for seen in shelf.of("put_file")] == [100_000, 100_000]


def test_a_token_must_be_known_and_hold_the_scope(shelf: Shelf) -> None:
    assert ask(shelf, "PUT", "/files/a/content", b"x")[0] == 401
    weak, _ = shelf.sign_in("files.read")
    assert ask(shelf, "PUT", "/files/a/content", b"x", Authorization=f"Bearer {weak}")[0] == 403
    good, _ = shelf.sign_in("files.write")
    assert ask(shelf, "PUT", "/files/a/content", b"x", Authorization=f"Bearer {good}")[0] == 201
    shelf.refused_tokens.add(good)
    assert ask(shelf, "PUT", "/files/a/content", b"x", Authorization=f"Bearer {good}")[0] == 401


def test_a_refusal_has_its_headers(shelf: Shelf) -> None:
    status, headers, data = ask(shelf, "GET", "/files/gone")
    assert (status, headers["Retry-After"], json.loads(data)) == (404, "3", {"error": "gone"})


def test_faults_strike_their_route_as_often_as_told(shelf: Shelf) -> None:
    shelf.faults.append(Fault("look", Answer(503, {"busy": True}), times=2, after=1))
    assert [ask(shelf, "GET", "/files/a")[0] for _ in range(4)] == [200, 503, 503, 200]


def test_a_lost_answer_was_carried_out_and_a_cut_request_was_not(shelf: Shelf) -> None:
    token, _ = shelf.sign_in("files.write")
    login = {"Authorization": f"Bearer {token}"}
    shelf.faults.append(Fault("put_file", lost=True))
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(shelf, "PUT", "/files/a/content", b"x" * 1000, **login)
    shelf.faults.append(Fault("put_file", cut=10))
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(shelf, "PUT", "/files/a/content", b"x" * 1000, **login)
    assert [(seen.size, seen.status) for seen in shelf.of("put_file")] == [(1000, None), (10, None)]


def test_an_early_answer_comes_before_the_body_is_read(shelf: Shelf) -> None:
    shelf.faults.append(Fault("put_file", Answer(413, {"too": "large"}), early=True))
    status, headers, _ = ask(shelf, "PUT", "/files/a/content", b"x" * 1000)
    assert (status, headers["Connection"]) == (413, "close")
    assert shelf.of("put_file")[0].size == 0


def test_the_token_endpoint_follows_the_rules(shelf: Shelf) -> None:
    from servers.oauth_rules import CLIENT, SECRET

    _, refresh = shelf.sign_in("files.write")
    form = f"grant_type=refresh_token&refresh_token={refresh}&client_id={CLIENT}&client_secret={SECRET}"
    status, _, data = ask(shelf, "POST", "/token", form.encode())
    assert status == 200
    assert json.loads(data)["access_token"]
    assert ask(shelf, "POST", "/token", b"grant_type=refresh_token&refresh_token=x")[0] == 401


def test_a_stand_in_runs_as_a_process_of_its_own() -> None:
    with launched("servers.test_standin_kit:Shelf") as facts:
        url = urlsplit(facts["url"])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
        login = {"Authorization": f"Bearer {facts['access_token']}"}
        connection.request("PUT", "/files/a/content", b"x", login)
        assert connection.getresponse().read()
        connection.request("GET", "/_standin/counts")
        assert json.loads(connection.getresponse().read()) == {"put_file": 1}
        connection.close()
