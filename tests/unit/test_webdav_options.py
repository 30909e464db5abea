"""The options of a WebDAV destination, and the names it gives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor.kit.naming import NUMBERED, candidates, numbered
from conveyor.testing.harness import HarnessContext, make_parcel
from conveyor_connectors.webdav import names
from conveyor_connectors.webdav.options import WebdavOptions

URL = "https://cloud.example.com/remote.php/dav/files/photos"


def options(**given: Any) -> WebdavOptions:
    return WebdavOptions.model_validate({"url": URL, **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "ftp://example.com"}, "must be a URL"),
        ({"url": "https://user:secret@example.com"}, "user name or password"),
        ({"url": "https://example.com/a?b"}, "query"),
        ({"url": "https://example.com/a b"}, "%20"),
        ({"url": "https://example.com/a/%2e%2e/b"}, ".."),
        ({"username": "x"}, "belong together"),
        ({"password": "x"}, "belong together"),
        ({"username": "a:b", "password": "x"}, "colon"),
        ({"username": "a", "password": "x", "token": "t"}, "not both"),
        ({"token": "a\nb"}, "printable"),
        ({"auth": "digest"}, "digest needs"),
        ({"remote_path": "a/../b"}, "must not have"),
        ({"url": "https://example.com/dav", "chunked_upload": "on"}, "remote.php"),
        ({"url": "http://example.com/dav", "username": "a", "password": "x"}, "unencrypted"),
        ({"url": "http://example.com/dav", "token": "t"}, "unencrypted"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        options(**given)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1:8080/dav"},
        {"url": "http://localhost/dav"},
        {"url": "http://[::1]/dav"},
        {"url": "http://example.com/dav", "allow_http": True},
    ],
)
def test_a_login_over_http_where_it_does_no_harm_or_is_wanted(given: dict[str, Any]) -> None:
    assert options(username="a", password="x", **given).username == "a"


def test_the_published_names_are_understood() -> None:
    made = WebdavOptions.model_validate({"url": URL, "remotePath": "/in box/", "chunkSize": "8MiB"})
    assert (made.remote_path, made.chunk_size) == ("in box", 8 << 20)


@pytest.mark.parametrize(
    ("url", "uploads"),
    [
        (URL, "/remote.php/dav/uploads/photos"),
        (f"{URL}/below/it", "/remote.php/dav/uploads/photos"),
        (
            "https://example.com/cloud/remote.php/dav/files/a%40b",
            "/cloud/remote.php/dav/uploads/a%40b",
        ),
        ("https://example.com/remote.php/webdav", None),
        ("https://example.com/dav", None),
    ],
)
def test_where_chunks_go(url: str, uploads: str | None) -> None:
    assert options(url=url).uploads == uploads


def test_a_url_is_encoded_once() -> None:
    made = options(url="https://bücher.example/a%20b/ü")
    assert made.origin == "https://xn--bcher-kva.example"
    assert made.root == "/a%20b/%C3%BC"


def test_segments_are_encoded_and_those_of_dots_are_left_alone() -> None:
    assert names.quoted("a b/100%/#?;/.../ü~") == "a%20b/100%25/%23%3F%3B/.../%C3%BC~"


@pytest.mark.parametrize("path", ["", "a//b", "a/./b", "../a", "a/" + "x" * 246, "a/" * 1024 + "b", "a\0b"])
def test_a_path_that_no_server_can_hold(path: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        names.check(path)
    assert caught.value.kind is ErrorKind.NAME


def test_temporary_names_are_hidden_short_and_nobody_elses() -> None:
    one = names.temporary("a/" + "ü" * 122 + ".jpg", "dlv_1/../x", 7)
    assert one.startswith("a/.ü")
    assert one.endswith(".dlv_1____x.7.conveyor")
    assert len(one.rpartition("/")[2].encode()) <= names.TEMPORARY_MAX
    assert names.temporary("b.jpg", "dlv_1", 1) == ".b.jpg.dlv_1.1.conveyor"
    assert len({names.temporary("b.jpg", f"dlv_{d}", fence) for d in range(3) for fence in range(3)}) == 9


def test_rename_tries_the_saved_name_first_and_never_a_thousand() -> None:
    parcel, target = make_parcel(1), Target("a/photo.jpg", ConflictPolicy.RENAME)
    tried = list(candidates(parcel, target, HarnessContext({"path": "a/photo (3).jpg"}), names.NUMBERED))
    assert tried[:3] == ["a/photo (3).jpg", "a/photo.jpg", "a/photo (1).jpg"]
    assert len(tried) == NUMBERED + 1
    assert len(set(tried)) == len(tried)


def test_a_number_fits_into_the_longest_name() -> None:
    target = Target("a/" + "ü" * 120 + ".jpeg", ConflictPolicy.RENAME)
    name = numbered(target, 123_456_789, names.NUMBERED).rpartition("/")[2]
    assert name.endswith(" (123456789).jpeg")
    assert len(name.encode()) <= names.NUMBERED.segment_max
