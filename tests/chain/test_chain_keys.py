"""Keys: from an encrypted file or the environment, shown to nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account

from tests.chain.chain_world import KEY
from vml.chain.keys import PASSWORD, PRIVATE_KEY, Signer, find, from_keystore, from_private_key
from vml.errors import ChainError

ADDRESS = Account.from_key(KEY).address


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "pass word", kdf="pbkdf2", iterations=2)))
    return path


def test_a_key_from_the_environment() -> None:
    for text in (KEY, KEY[2:], f" {KEY}\n"):
        found = find(None, {PRIVATE_KEY: text})
        assert found is not None
        assert found.address == ADDRESS
    assert find(None, {}) is None
    assert find(None, {PRIVATE_KEY: ""}) is None


@pytest.mark.parametrize("text", ["0x12", "secret" * 11, "0x" + "00" * 32, "0x" + "ff" * 32, KEY + "00"])
def test_what_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"private key") as caught:
        from_private_key(text)
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_keystore_with_its_password(keystore: Path) -> None:
    assert from_keystore(keystore, "pass word").address == ADDRESS
    asked: list[int] = []

    def prompt() -> str:
        asked.append(1)
        return "pass word"

    for environment in ({PASSWORD: "pass word"}, {PASSWORD: "pass word", PRIVATE_KEY: "0x" + "11" * 32}):
        found = find(keystore, environment, prompt)
        assert found is not None
        assert found.address == ADDRESS
    assert not asked
    assert find(keystore, {}, prompt) is not None
    assert asked
    with pytest.raises(ValueError, match="terminal"):
        find(keystore, {})


def test_wrong_passwords_and_damaged_files(keystore: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the password is wrong"):
        from_keystore(keystore, "password")
    stored = json.loads(keystore.read_text())
    other = tmp_path / "other.json"
    for content in ("", "{}", "[]", "not json", json.dumps({"crypto": {}}), json.dumps({"crypto": 5}), "[" * 70_000):
        other.write_text(content)
        with pytest.raises(ValueError, match=r"no keystore|cannot be opened"):
            from_keystore(other, "pass word")
    other.write_text(json.dumps({**stored, "version": 9}))
    with pytest.raises(ValueError, match="cannot be opened"):
        from_keystore(other, "pass word")
    with pytest.raises(FileNotFoundError):
        from_keystore(tmp_path / "none", "x")


def test_a_signer_shows_its_address_only() -> None:
    one: Signer = from_private_key(KEY)
    assert KEY[2:] not in repr(one) + str(one) + str(vars(one))
    assert ADDRESS in repr(one)
    with pytest.raises(ChainError, match="cannot be signed"):
        one.sign({"type": 2, "nonce": -1})
