"""Options of Dropbox."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from conveyor_connectors.dropbox.options import DropboxOptions
from conveyor_connectors.dropbox.provider import PROVIDER

MIB = 1024 * 1024


def options(**given: Any) -> DropboxOptions:
    return DropboxOptions.model_validate(given)


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ({}, "/Apps/Conveyor"),
        ({"app_name": "Photo Booth"}, "/Apps/Photo Booth"),
        ({"appName": "Photo Booth"}, "/Apps/Photo Booth"),
        ({"folder_path": "/"}, ""),
        ({"folder_path": "Photos/Incoming/"}, "/Photos/Incoming"),
        ({"folderPath": "/Photos", "app_name": "unheard"}, "/Photos"),
    ],
)
def test_the_folder(given: dict[str, Any], root: str) -> None:
    assert options(**given).root == root


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folder_path": "/a//b"}, "without empty levels"),
        ({"folder_path": "/a/../b"}, "without empty levels"),
        ({"app_name": "a/b"}, "name that you gave your application"),
        ({"app_name": " "}, "name that you gave your application"),
        ({"chunk_size": "10MiB"}, "multiple of 4 MiB"),
        ({"chunk_size": "2MiB"}, "chunk_size"),
        ({"chunk_size": "152MiB"}, "chunk_size"),
        ({"direct_limit": "151MiB"}, "direct_limit"),
        ({"direct_limit": 0}, "direct_limit"),
        ({"namespace_id": "home"}, "namespace_id"),
        ({"api_url": "ftp://x"}, "api_url"),
        ({"content_url": "x"}, "content_url"),
        ({"redirect_port": 70_000}, "redirect_port"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        options(**given)
    assert said in str(refused.value)


def test_sizes_have_units_and_defaults() -> None:
    found = options(chunkSize="32MiB")
    assert (found.direct_limit, found.chunk_size) == (8 * MIB, 32 * MIB)
    assert options().chunk_size == 16 * MIB


def test_the_token_is_shown_nowhere() -> None:
    assert "s3cret" not in repr(options(refresh_token="s3cret", client_id="key"))


def test_the_sign_in_asks_for_the_least_and_for_what_lasts() -> None:
    assert PROVIDER.pkce
    assert not PROVIDER.secret
    assert PROVIDER.authorize_params == {"token_access_type": "offline"}
    assert PROVIDER.scopes == ("files.content.write", "files.metadata.read", "account_info.read")
