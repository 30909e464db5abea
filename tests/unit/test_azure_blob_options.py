"""The option model of Azure Blob Storage: ways to sign in, what is refused, which names are legal."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor_connectors.azure_blob.account import Account
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.spec import NAMES

KEY = "dmVyeS1zZWNyZXQta2V5"
SIG = "sv=2024-11-04&sp=racw&sr=c&sig=very%2Bsecret%3D"
URL = "https://acct.blob.core.windows.net"
STRING = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY};EndpointSuffix=core.windows.net"


def options(**given: Any) -> AzureBlobOptions:
    return AzureBlobOptions.model_validate({"container": "photos", **given})


def account(**given: Any) -> Account:
    return options(**given).account


def test_published_names_are_accepted() -> None:
    made = AzureBlobOptions.model_validate({"connectionString": STRING, "container": "photos"})
    assert made.account == Account(URL, "acct", KEY)
    assert made.place == "photos"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (STRING, Account(URL, "acct", KEY)),
        (f"AccountName=acct;AccountKey={KEY};", Account(URL, "acct", KEY)),
        (f"BlobEndpoint={URL}/;SharedAccessSignature={SIG}", Account(URL, None, None, SIG)),
        (f"BlobEndpoint={URL}/;SharedAccessSignature=?{SIG}", Account(URL, None, None, SIG)),
        (
            f"AccountName=dev;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10000/dev;QueueEndpoint=http://x/",
            Account("http://127.0.0.1:10000/dev", "dev", KEY),
        ),
        (
            f"AccountName=acct;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn",
            Account("https://acct.blob.core.chinacloudapi.cn", "acct", KEY),
        ),
    ],
)
def test_connection_strings(text: str, wanted: Account) -> None:
    assert account(connection_string=text) == wanted


def test_a_sas_url_names_the_container() -> None:
    made = AzureBlobOptions.model_validate({"sas_url": f"{URL}/photos?{SIG}"})
    assert (made.account.url, made.account.sas, made.place) == (URL, SIG, "photos")
    emulated = AzureBlobOptions.model_validate({"sas_url": f"http://127.0.0.1:10000/dev/photos?{SIG}"})
    assert (emulated.account.url, emulated.place) == ("http://127.0.0.1:10000/dev", "photos")
    whole = options(sas_url=f"{URL}/?{SIG}")
    assert (whole.account.url, whole.place) == (URL, "photos")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"account_key": KEY}, Account(URL, "acct", KEY)),
        ({"sas_token": f"?{SIG}"}, Account(URL, "acct", None, SIG)),
        ({"identity": True}, Account(URL, "acct")),
    ],
)
def test_an_address_with_a_way_to_sign_in(given: dict[str, Any], wanted: Account) -> None:
    assert account(account_url=URL + "/", **given) == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give one of connection_string, sas_url and account_url"),
        ({"connection_string": STRING, "account_url": URL}, "not connection_string and account_url"),
        ({"connection_string": STRING, "account_key": KEY}, "has its own sign-in"),
        ({"account_url": URL}, "needs one of identity, sas_token and account_key"),
        ({"account_url": URL, "identity": True, "account_key": KEY}, "not identity and account_key"),
        ({"account_url": "http://acct.blob.example", "identity": True}, "https"),
        ({"account_url": "https://files.example.com", "account_key": KEY}, "AccountName and BlobEndpoint"),
        ({"account_url": URL + "?sv=1", "identity": True}, "sas_url"),
        ({"account_url": "acct", "identity": True}, "must be a URL"),
        ({"account_url": "https://u:p@x", "identity": True}, "user name or password"),
        ({"connection_string": STRING, "identity_client_id": "x"}, "needs identity"),
        ({"connection_string": "very-secret"}, "Name=value"),
        ({"connection_string": "Very=secret"}, "does not belong there"),
        ({"connection_string": "AccountName=acct"}, "neither AccountKey"),
        ({"connection_string": f"AccountKey={KEY}"}, "neither BlobEndpoint nor AccountName"),
        ({"connection_string": "AccountName=a;AccountKey=very-secret!"}, "base64"),
        ({"connection_string": "UseDevelopmentStorage=true"}, "BlobEndpoint"),
        ({"account_url": URL, "account_key": "very-secret!"}, "base64"),
        ({"account_url": URL, "sas_token": "very-secret"}, "sig="),
        ({"sas_url": URL}, "no signature"),
        ({"sas_url": f"{URL}/other?{SIG}"}, "not the one that sas_url is for"),
        ({"sas_url": f"{URL}/photos/a/b.jpg?{SIG}"}, "more than a container"),
        ({"sas_url": f"{URL}/photos?{SIG.replace('sr=c', 'sr=b')}"}, "for one blob"),
        ({"connection_string": STRING, "container": "Photos"}, "lower-case"),
        ({"connection_string": STRING, "container": "a--b"}, "lower-case"),
        ({"connection_string": STRING, "container": "photos/2026"}, "without a path"),
        ({"connection_string": STRING, "container": None}, "container is missing"),
        ({"connection_string": STRING, "tier": "Freezing"}, "Hot"),
        ({"connection_string": STRING, "metadata": {"a-b": "x"}}, "use letters"),
        ({"connection_string": STRING, "metadata": {"Conveyor_x": "x"}}, "no name that begins"),
        ({"connection_string": STRING, "metadata": {"a": "größe"}}, "printable ASCII"),
        ({"connection_string": STRING, "metadata": {"a": "x" * 7_001}}, "7000"),
        ({"connection_string": STRING, "tags": {str(n): "x" for n in range(11)}}, "at most 10"),
        ({"connection_string": STRING, "tags": {"a": "x&y"}}, "letters, digits"),
        ({"connection_string": STRING, "cache_control": "a\r\nInjected: yes"}, "printable ASCII"),
        ({"connection_string": STRING, "block_size": "4001MiB"}, "less than or equal"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        options(**given)
    for secret in ("very-secret", "very%2B", KEY):
        assert secret not in str(refused.value)


def test_secrets_are_in_no_text() -> None:
    made = [
        options(connection_string=STRING),
        options(sas_url=f"{URL}/photos?{SIG}"),
        options(account_url=URL, sas_token=SIG),
        options(account_url=URL, account_key=KEY),
    ]
    for one in made:
        shown = f"{one!r} {one.account!r} {one.model_dump_json()}"
        assert KEY not in shown
        assert "very%2B" not in shown


def test_configuring_imports_no_sdk() -> None:
    look = "print(*(name in sys.modules for name in ('azure', 'requests')))"
    code = f"import sys, conveyor_connectors.azure_blob.options; {look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a//b",
            "../x",
            "a/../x",
            "a/./x",
            "/x",
            "x/",
            "x.",
            "a./x",
            "a\\b",
            "a\x7fb",
            "a\x01",
            "a\ufffe",
        ),
        *("x" * 256, "é" * 256, "/".join(["x" * 200] * 6), "\N{CAMERA}" * 128),
    ],
)
def test_names_that_azure_would_refuse(name: str) -> None:
    from conveyor_connectors.azure_blob.placing import check_name

    with pytest.raises(DeliveryError) as refused:
        check_name(name)
    assert refused.value.kind is ErrorKind.NAME


def test_numbered_names_stay_within_the_limits() -> None:
    from conveyor.kit.naming import numbered
    from conveyor_connectors.azure_blob.placing import check_name
    from conveyor_connectors.azure_blob.spec import NAMES

    for name in ("\N{CAMERA}" * 125 + ".jpeg", "x" * 255, "/".join(["y" * 203] * 5)):
        for number in (0, 1, 4_000_000_000):
            made = numbered(Target(name, ConflictPolicy.RENAME), number, NAMES)
            check_name(made)
            assert made.endswith(f" ({number})" + (".jpeg" if "jpeg" in name else "")) or number == 0


def test_the_capabilities_name_the_limits_of_both_kinds_of_account() -> None:
    assert (NAMES.path_max, NAMES.segment_max, NAMES.max_segments) == (1024, 255, 63)


@pytest.mark.parametrize(
    ("size", "chosen", "wanted"),
    [
        (1, 8 << 20, 8 << 20),
        (50_000 * (8 << 20), 8 << 20, 8 << 20),
        (50_000 * (8 << 20) + 1, 8 << 20, 16 << 20),
        (50_000 * (4000 << 20), 8 << 20, 4000 << 20),
    ],
)
def test_blocks_grow_where_fifty_thousand_are_too_few(size: int, chosen: int, wanted: int) -> None:
    from conveyor_connectors.azure_blob.blocks import block_size

    assert block_size(size, chosen) == wanted


def test_more_than_azure_takes_is_refused() -> None:
    from conveyor_connectors.azure_blob.blocks import block_size

    with pytest.raises(DeliveryError) as refused:
        block_size(50_000 * (4000 << 20) + 1, 8 << 20)
    assert refused.value.kind is ErrorKind.TOO_LARGE
