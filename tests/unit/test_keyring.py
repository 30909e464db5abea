"""Keys: where they come from, how they rotate, what a wrong one says."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from conveyor import keyring
from conveyor.errors import LedgerError
from conveyor.keyring import Keyring


def _key() -> str:
    return Fernet.generate_key().decode()


def test_what_was_encrypted_is_decrypted() -> None:
    ring = Keyring.load(_key())
    token = ring.encrypt(b"secret")
    assert b"secret" not in token
    assert ring.decrypt(token) == b"secret"


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, new = _key(), _key()
    token = Keyring.load(old).encrypt(b"x")
    both = Keyring.load(f"{new},{old}")
    assert both.decrypt(token) == b"x"
    assert Keyring.load(new).decrypt(both.encrypt(b"y")) == b"y"


def test_a_wrong_key_names_the_cure() -> None:
    token = Keyring.load(_key()).encrypt(b"x")
    with pytest.raises(LedgerError, match="another key") as caught:
        Keyring.load(_key()).decrypt(token)
    assert "earlier key" in str(caught.value.cure)


@pytest.mark.parametrize("text", ["", "short", "x" * 44 + "="])
def test_a_malformed_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(LedgerError, match="malformed or missing") as caught:
        Keyring.load(text)
    assert not text or text not in str(caught.value)


def test_a_key_file_is_made_private_once(tmp_path: Path) -> None:
    file = tmp_path / "conveyor.key"
    first = Keyring.load(None, file=file, create=True)
    assert file.stat().st_mode & 0o777 == 0o600
    again = Keyring.load(None, file=file, create=True)
    assert again.decrypt(first.encrypt(b"x")) == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["conveyor.key"]


def test_many_that_make_the_file_at_once_end_with_one_key(tmp_path: Path) -> None:
    file = tmp_path / "conveyor.key"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: Keyring.load(None, file=file, create=True), range(8)))
    token = rings[0].encrypt(b"x")
    assert [ring.decrypt(token) for ring in rings] == [b"x"] * 8


def test_comments_and_blank_lines_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text(f"# of 2026\n\n{_key()}\n")
    file.chmod(0o600)
    assert Keyring.load(None, file=file).encrypt(b"x")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text(_key())
    file.chmod(0o644)
    with pytest.raises(LedgerError, match="read by others") as caught:
        Keyring.load(None, file=file)
    assert "chmod 600" in str(caught.value.cure)


@pytest.mark.parametrize("create", [True, False])
def test_no_key_at_all(tmp_path: Path, create: bool) -> None:
    with pytest.raises(LedgerError, match="no encryption key"):
        Keyring.load(None, create=create)
    with pytest.raises(LedgerError, match=r"is missing|cannot be created"):
        Keyring.load(None, file=tmp_path / "none" / "k", create=create)


def test_a_keyring_never_shows_its_keys() -> None:
    key = _key()
    assert key not in repr(Keyring.load(key))


def test_a_new_key_in_the_file_reaches_who_has_read_it_before(tmp_path: Path) -> None:
    file = tmp_path / "key"
    running = Keyring.load(file=file, create=True)
    other = Keyring.load(file=file)
    before = running.encrypt(b"before")
    other.add_key()
    after = other.encrypt(b"after")
    assert running.decrypt(after) == b"after"
    assert running.key_id == other.key_id
    assert not running.is_newest(before)
    assert running.is_newest(running.encrypt(b"now"))
    assert other.decrypt(before) == b"before"
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_two_that_add_a_key_at_once_neither_loses_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    first = Keyring.load(file=file, create=True)
    second = Keyring.load(file=file)
    read_bytes = Path.read_bytes

    def slowly(path: Path) -> bytes:
        content = read_bytes(path)
        time.sleep(0.2)  # the other one comes in between
        return content

    monkeypatch.setattr(Path, "read_bytes", slowly)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Keyring.add_key, (first, second)))
    assert len(file.read_text().split()) == 3


def test_a_key_file_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    other = Keyring.load(file=file, create=True)
    read = keyring._read

    def then_replaced(path: Path) -> list[str]:
        found = read(path)
        monkeypatch.setattr(keyring, "_read", read)
        other.add_key()
        return found

    monkeypatch.setattr(keyring, "_read", then_replaced)
    late = Keyring.load(file=file)
    assert late.decrypt(other.encrypt(b"x")) == b"x"


@pytest.mark.parametrize("content", [b"", b"# none\n", b"not a key\n", b"\x1f\x8b\xff"])
def test_a_key_file_without_a_key_is_named_and_never_to_be_replaced_lightly(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(LedgerError, match=f"key file {file} holds no key") as caught:
        Keyring.load(file=file)
    assert "from a backup" in str(caught.value.cure)


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"key file {tmp_path}: Is a directory"):
        Keyring.load(file=tmp_path)


def test_a_key_file_that_is_spoilt_leaves_the_known_keys(tmp_path: Path) -> None:
    file = tmp_path / "key"
    keyring = Keyring.load(file=file, create=True)
    token = keyring.encrypt(b"kept")
    file.write_text("not a key\n")
    assert keyring.decrypt(token) == b"kept"


def test_a_key_cannot_be_added_to_a_setting() -> None:
    with pytest.raises(LedgerError, match="come from a setting"):
        Keyring([Fernet.generate_key()]).add_key()
