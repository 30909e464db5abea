"""The vendor's SDK against Box's stand-in, as a user would run it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import box_sdk_gen as box
import pytest
import requests

from servers.oauth_rules import CLIENT, SECRET
from servers.standins.box import BoxStandIn
from servers.standins.child import launched
from servers.standins.kit import StandInObserver, running
from servers.tls import make_certificates

ROOT = box.UploadFileAttributesParentField(id="0")


@pytest.fixture
def network(box_standin: BoxStandIn) -> Iterator[box.NetworkSession]:
    with requests.Session() as session:
        session.trust_env = False
        yield network_of(box_standin.facts(), session)


def network_of(facts: dict[str, Any], session: requests.Session) -> box.NetworkSession:
    urls = box.BaseUrls(
        base_url=facts["base_url"], upload_url=facts["upload_url"], oauth_2_url=facts["oauth_2_url"]
    )
    once = box.BoxRetryStrategy(max_attempts=1, max_retries_on_exception=0)
    client = box.BoxNetworkClient(requests_session=session)
    return box.NetworkSession(network_client=client, base_urls=urls, retry_strategy=once)


def signed_in(network: box.NetworkSession, token: str) -> box.BoxClient:
    return box.BoxClient(box.BoxDeveloperTokenAuth(token), network_session=network)


@pytest.fixture
def sdk(box_standin: BoxStandIn, network: box.NetworkSession) -> box.BoxClient:
    return signed_in(network, box_standin.sign_in("root_readwrite")[0])


def put(sdk: box.BoxClient, name: str, data: bytes, parent: str = "0", **more: Any) -> box.FileFull:
    place = box.UploadFileAttributes(name=name, parent=box.UploadFileAttributesParentField(id=parent))
    (entry,) = sdk.uploads.upload_file(place, io.BytesIO(data), **more).entries or []
    return entry


def test_upload_look_download_and_delete(sdk: box.BoxClient) -> None:
    data = b"photo" * 100_000
    entry = put(sdk, "a.jpg", data, content_md_5=hashlib.sha1(data).hexdigest())
    assert (entry.size, entry.sha_1) == (len(data), hashlib.sha1(data).hexdigest())
    assert sdk.files.get_file_by_id(entry.id).name == "a.jpg"
    received = sdk.downloads.download_file(entry.id)
    assert received is not None
    assert received.read() == data
    attributes = box.UploadFileVersionAttributes(name="a.jpg")
    (new,) = (
        sdk.uploads.upload_file_version(entry.id, attributes, io.BytesIO(b"2"), if_match=entry.etag).entries
        or []
    )
    assert (new.id, new.etag) == (entry.id, "1")
    sdk.files.delete_file_by_id(entry.id)
    with pytest.raises(box.BoxAPIError) as error:
        sdk.files.get_file_by_id(entry.id)
    assert (error.value.response_info.status_code, error.value.response_info.code) == (404, "trashed")


def test_an_upload_after_its_check(sdk: box.BoxClient) -> None:
    attributes = box.UploadWithPreflightCheckAttributes(
        name="a", parent=box.UploadWithPreflightCheckAttributesParentField(id="0"), size=3
    )
    done = sdk.uploads.upload_with_preflight_check(attributes, io.BytesIO(b"abc"))
    assert (done.entries or [])[0].size == 3
    with pytest.raises(box.BoxAPIError) as error:
        sdk.uploads.upload_with_preflight_check(attributes, io.BytesIO(b"abc"))
    assert error.value.response_info.code == "item_name_in_use"


def test_folders_conflicts_and_listing(box_standin: BoxStandIn, sdk: box.BoxClient) -> None:
    parent = box.CreateFolderParent(id="0")
    folder = sdk.folders.create_folder("Photos", parent)
    with pytest.raises(box.BoxAPIError) as error:
        sdk.folders.create_folder("PHOTOS", parent)
    info = error.value.response_info
    assert (info.status_code, info.code) == (409, "item_name_in_use")
    assert (info.context_info or {})["conflicts"][0]["id"] == folder.id
    entry = put(sdk, "a", b"1", folder.id)
    with pytest.raises(box.BoxAPIError) as error:
        put(sdk, "A", b"2", folder.id)
    assert (error.value.response_info.context_info or {})["conflicts"]["id"] == entry.id
    page = sdk.folders.get_folder_items(folder.id, fields=["name", "sha1"], limit=10)
    assert [item.name for item in page.entries or []] == ["a"]
    assert [name for name, _ in box_standin.files()] == ["Photos/a"]


def test_a_large_file_by_a_session(box_standin: BoxStandIn, sdk: box.BoxClient) -> None:
    box_standin.only_server_urls = True
    data = bytes(range(256)) * 80_000
    entry = sdk.chunked_uploads.upload_big_file(io.BytesIO(data), "big.bin", len(data), "0")
    assert (entry.size, entry.sha_1) == (20_480_000, hashlib.sha1(data).hexdigest())
    assert StandInObserver(box_standin).sha256("big.bin") == hashlib.sha256(data).hexdigest()
    assert box_standin.unfinished() == set()
    assert len(box_standin.of("upload_part")) == 3


def test_who_the_account_is(box_standin: BoxStandIn, sdk: box.BoxClient) -> None:
    put(sdk, "a", b"123")
    me = sdk.users.get_user_me()
    assert (me.id, me.space_used, me.space_amount) == ("10001", 3, box_standin.quota)


def test_a_token_that_expired(box_standin: BoxStandIn, network: box.NetworkSession) -> None:
    with pytest.raises(box.BoxAPIError) as error:
        signed_in(network, "nobody").users.get_user_me()
    assert error.value.response_info.status_code == 401


def test_a_sign_in_by_code(box_standin: BoxStandIn, network: box.NetworkSession) -> None:
    auth = box.BoxOAuth(box.OAuthConfig(client_id=CLIENT, client_secret=SECRET))
    asked = box.GetAuthorizeUrlOptions(redirect_uri="http://127.0.0.1:9/", state="s" * 16)
    query = auth.get_authorize_url(options=asked).partition("?")[2]
    where = f"{box_standin.url}/api/oauth2/authorize?{query}"
    answer = requests.get(where, allow_redirects=False, timeout=10)
    code = answer.headers["Location"].partition("code=")[2].partition("&")[0]
    auth.get_tokens_authorization_code_grant(code, network_session=network)
    sdk = box.BoxClient(auth, network_session=network)
    assert sdk.users.get_user_me().id == "10001"
    auth.refresh_token(network_session=network)
    assert sdk.users.get_user_me().id == "10001"
    assert box_standin.rules.exchanges == 1
    auth.revoke_token(network_session=network)


def test_a_sign_in_without_a_person(box_standin: BoxStandIn, network: box.NetworkSession) -> None:
    facts = box_standin.facts()
    config = box.CCGConfig(client_id=CLIENT, client_secret=SECRET, enterprise_id=facts["enterprise_id"])
    sdk = box.BoxClient(box.BoxCCGAuth(config), network_session=network)
    assert sdk.users.get_user_me().id == "20001"
    signer = box.JWTConfig.from_config_json_string(json.dumps(facts["app_config"]))
    auth = box.BoxJWTAuth(signer)
    assert box.BoxClient(auth, network_session=network).users.get_user_me().id == "20001"
    user = auth.with_user_subject(facts["user_id"])
    assert box.BoxClient(user, network_session=network).users.get_user_me().id == "10001"


def test_sixteen_at_once_in_a_process_of_its_own() -> None:
    with launched("servers.standins.box:BoxStandIn") as facts, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
        sdk = signed_in(network_of(facts, session), facts["access_token"])
        with ThreadPoolExecutor(16) as pool:
            entries = list(
                pool.map(lambda number: put(sdk, f"{number}.jpg", b"%d" % number * 50_000), range(64))
            )
        assert len({entry.id for entry in entries}) == 64
        found = session.get(facts["url"] + "/_standin/files", timeout=20).json()
        assert found["7.jpg"] == hashlib.sha256(b"7" * 50_000).hexdigest()
        assert len(found) == 64


def test_the_session_names_its_addresses_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with running(BoxStandIn(certificates=certificates)) as standin, requests.Session() as session:
        session.trust_env, session.verify = False, str(certificates.ca)
        standin.part_size = 10_000_000
        sdk = signed_in(network_of(standin.facts(), session), standin.sign_in("root_readwrite")[0])
        entry = sdk.chunked_uploads.upload_big_file(io.BytesIO(bytes(20_000_000)), "a", 20_000_000, "0")
        assert entry.size == 20_000_000
        assert not standin.defects
