"""No secret survives in what is shown or stored, whatever surrounds it and wherever texts are cut."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stderr
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from conveyor import log
from conveyor.redact import EXCERPT_LIMIT, HIDDEN, MESSAGE_LIMIT, Redactor, bounded, secrets_of

# A star in a secret could be put together from two replacements, and an ellipsis is what a cut leaves.
secrets = st.text(st.characters(exclude_characters="*…"), min_size=4, max_size=60)
fillers = st.one_of(
    st.text(max_size=40),
    st.integers(900, 1100).map(lambda n: "x" * n),
    st.integers(1900, 2100).map(lambda n: "é" * n),
    st.sampled_from(
        ["Authorization: Bearer ", "https://user:", "@host/", "token=", '{"password": "', "\x00"]
    ),
)


def shown(redactor: Redactor, text: str) -> list[str]:
    return [redactor.message(text), redactor.excerpt(text)]


@given(st.lists(secrets, min_size=1, max_size=3), st.lists(st.one_of(fillers, st.integers(0, 2)), max_size=8))
@example(["s3cret-value"], ["x" * 995, 0])
@example(["long secret " * 30], [0] * 40 + ["y" * 3990, 0])
@example(["ab cd"], ["ab\x07cd"])
@example(["two\nlines"], [0, "\n"])
def test_no_secret_survives_anywhere(hidden: list[str], parts: list[str | int]) -> None:
    text = "".join(hidden[p % len(hidden)] if isinstance(p, int) else p for p in parts)
    redactor = Redactor(hidden)
    for result in shown(redactor, text):
        assert not any(secret in result for secret in hidden)


@given(secrets, st.integers(0, 2500), st.sampled_from(["", " and more"]))
def test_a_cut_never_leaves_half_a_secret(secret: str, before: int, after: str) -> None:
    """The text around holds none of the secret's characters, so any of them in the result is a leak."""
    other = "\N{BLACK SQUARE}"
    text = other * before + secret + other * 3000
    for result in shown(Redactor([secret]), text):
        rest = set(result) - set(other + HIDDEN + "…")
        assert not rest & set(secret) - set(" \n")


@given(secrets)
def test_spellings_of_urls_and_json_are_hidden_too(secret: str) -> None:
    clear = secret.encode(errors="replace").decode()
    for spelt in (quote(clear, ""), quote(clear), quote_plus(clear), json.dumps(clear)[1:-1]):
        if len(spelt) >= 4:
            assert spelt not in Redactor([clear])(f"GET /x?y={spelt}& failed")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Bearer s3cret-value", "unknown key s3cret-value"),
        ("token s3cret-value", '{"error": "s3cret-value is revoked"}'),
        ("Token token=s3cret-value", "no such thing: token=s3cret-value"),
        ("Basic YW5uOnMzY3JldC12YWx1ZQ==", "ann may not log in with s3cret-value"),
        ("Basic YW5uOnMzY3JldC12YWx1ZQ==", "bad header YW5uOnMzY3JldC12YWx1ZQ=="),
        ("Basic s3cret-value", "s3cret-value is not base64"),
    ],
)
def test_of_a_header_the_credentials_are_hidden_alone(header: str, said: str) -> None:
    for result in shown(Redactor([header]), said):
        assert "s3cret-value" not in result
        assert "YW5uOnMzY3JldC12YWx1ZQ" not in result


def test_a_password_of_two_words_does_not_mangle_other_texts() -> None:
    assert Redactor(["open sesame"])("sesame seeds") == "sesame seeds"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("ftp://user:hunter2@host/x", "hunter2"),
        ("postgresql+psycopg://u:p%40ss@h/db", "p%40ss"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'authorization': 'Bearer abcdefgh12345'}", "abcdefgh12345"),
        ("got bearer abc.def-ghi_jkl back", "abc.def-ghi_jkl"),
        ("https://b.example/k?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
        ("https://a.example/c?sv=1&sig=Zm9v%3D", "Zm9v"),
        ('{"access_token": "ya29.abc", "expires": 1}', "ya29.abc"),
        ("password=letmein", "letmein"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "b3Blbn"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_without_being_known(text: str, gone: str) -> None:
    result = Redactor()(text)
    assert gone not in result
    assert HIDDEN in result


@pytest.mark.parametrize(
    "text", ["http://host:8080/path", "the token was refused", "a: b", "user@example.com", "port 22: refused"]
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert Redactor(["other"])(text) == text


def test_short_values_are_not_hidden() -> None:
    assert Redactor(["abc", ""])("abc is no secret") == "abc is no secret"


def test_bounds() -> None:
    redactor = Redactor()
    assert len(redactor.message("x" * 10**6)) == MESSAGE_LIMIT
    assert redactor.message("x" * 10**6).endswith("…")
    assert len(redactor.excerpt("x" * 10**6)) == EXCERPT_LIMIT
    assert redactor.message("a\x00b\x1b[31m\ud800\nc") == "a b [31m \nc"
    assert bounded("abc", 3) == "abc"
    assert bounded("abcd", 3) == "ab…"


@pytest.mark.parametrize("text", ["a." * 50_000, "a-" * 50_000, "bearer " * 20_000, "token" + " " * 100_000])
def test_hostile_answers_are_redacted_in_linear_time(text: str) -> None:
    begun = time.process_time()
    Redactor(["a known secret"]).excerpt(text)
    assert time.process_time() - begun < 2


def test_secrets_are_found_however_deep() -> None:
    class Inner(BaseModel):
        key: SecretStr
        plain: str = "plain"

    class Outer(BaseModel):
        inner: Inner
        many: list[SecretStr]
        named: dict[str, Inner]

    inner = Inner(key=SecretStr("one"))
    outer = Outer(inner=inner, many=[SecretStr("two")], named={"x": Inner(key=SecretStr("three"))})
    assert sorted(secrets_of(outer)) == ["one", "three", "two"]
    assert list(secrets_of(None)) == []


@pytest.mark.parametrize("as_json", [True, False])
def test_a_logged_traceback_shows_no_local_variables_and_no_credentials(as_json: bool) -> None:
    def fails() -> None:
        local = "".join(["in-a-", "local-variable"])
        raise ValueError(f"https://user:hunter2@example.com {len(local)}")

    out = io.StringIO()
    with redirect_stderr(out):
        log.configure(json=as_json)
        try:
            fails()
        except ValueError:
            from typing import cast

            cast(log.EngineLog, log.get()).exception("defect", problems=["password=letmein"])
    written = out.getvalue()
    log.configure()
    assert "ValueError" in written
    assert "hunter2" not in written
    assert "letmein" not in written
    assert "in-a-local-variable" not in written
    assert sys.stderr is not out
