"""The command line over assertion bundles: what is asserted where, what each check answers, what goes together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vml.backends.optimistic.chain_record import Standing
from vml.errors import ChainError

Vml = Callable[..., Any]
KEY = "0x" + "11" * 32
ALICE = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
GAME, TERMS = "0x" + "aa" * 20, "0x" + "7e" * 32
CLOSES = 1_003_600
PLACE = ("--game", GAME, "--chain-id", "31337", "--terms", TERMS)
READ = ("--rpc", "http://node", "--game", GAME, "--terms", TERMS)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VML_PRIVATE_KEY", raising=False)


@pytest.fixture
def prove(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> Callable[..., Path]:
    def run(*more: object) -> Path:
        path = tmp_path / "bundle.proof.json"
        done = vml("prove", compiled, input_file, "-o", path, "--backend", "optimistic", "--quiet", *more)
        assert done.code == 0, done.err
        return path

    return run


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A node whose game answers what a test wants."""
    said: dict[str, Any] = {"standing": Standing.FINAL, "chain_id": 31337}

    class Node:
        chain_id = property(lambda self: said["chain_id"])

        def call(self, to: str, data: bytes) -> bytes:
            said["asked"] = (to, data)
            words = (1_000_000, CLOSES, 0, 0, 0, int(said["standing"]), 1, 0, 0)
            return b"".join(word.to_bytes(32, "big") for word in words)

    def view(rpc: str) -> Node:
        if rpc != "http://node":
            raise ChainError("nobody answers")
        return Node()

    monkeypatch.setattr("vml.api.chain_view", view)
    return said


def identity(path: Path) -> str:
    return str(json.loads(path.read_text())["claims"][0]["model"])


def test_asserted_nowhere(prove: Callable[..., Path], compiled: Path, vml: Vml) -> None:
    path = prove()
    value = vml("verify", path, "--model", compiled, "--json").json
    assert (value["verified"], value["assurance"], value["final"]) == (True, "recomputed", True)
    assert value["trusted"] == ["nobody but this machine, which ran the model again"]
    assert value["remarks"] == ["signed by: nobody", "asserted: nowhere"]
    done = vml("verify", path, "--model", compiled, "--explain")
    assert "signed by: nobody" in done.out
    assert "a second run" in done.out
    assert "there is none" in done.out
    done = vml("verify", path, "--model", identity(path), "--json")
    assert done.code == 7
    assert (done.json["error"]["type"], done.json["error"]["until"], done.json["remarks"]) == ("NotFinal", None, [])
    assert "compiled folder as --model" in done.err


def test_signed(
    prove: Callable[..., Path], compiled: Path, vml: Vml, monkeypatch: pytest.MonkeyPatch, node: dict[str, Any]
) -> None:
    monkeypatch.setenv("VML_PRIVATE_KEY", KEY)
    path = prove(*PLACE, "--nonce", "3", "--commit-trace")
    shown = vml("inspect", path, "--json").json
    assert shown["verified"] is None
    assert (shown["game"].lower(), shown["asserter"], shown["terms"]) == (GAME, ALICE, TERMS)
    assert (shown["chain_id"], shown["nonce"], shown["signed"]) == (31337, "3", "yes, not checked here")
    assert len(shown["trace"]) == 66
    value = vml("verify", path, "--model", identity(path), *READ, "--json").json
    assert (value["verified"], value["assurance"], value["final"]) == (True, "economic", True)
    assert value["remarks"][0] == f"signed by: {ALICE}"
    assert "one honest watcher" in value["trusted"][0]
    assert node["asked"][1][4:].hex() == shown["asserted"][2:]
    both = vml("verify", path, "--model", compiled, *READ, "--json").json
    assert (both["assurance"], "final" in both["remarks"][1]) == ("recomputed", True)


def test_a_keystore_signs(
    prove: Callable[..., Path], compiled: Path, tmp_path: Path, vml: Vml, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eth_account import Account

    keystore = tmp_path / "key.json"
    keystore.write_text(json.dumps(Account.encrypt(KEY, "secret", kdf="pbkdf2", iterations=1000)))
    monkeypatch.setenv("VML_KEYSTORE_PASSWORD", "secret")
    path = prove(*PLACE, "--keystore", keystore)
    assert vml("verify", path, "--model", compiled, "--json").json["remarks"][0] == f"signed by: {ALICE}"
    assert vml("inspect", path, "--json").json["trace"] == "not committed to"


def test_an_asserter_without_a_key(prove: Callable[..., Path], compiled: Path, vml: Vml) -> None:
    path = prove(*PLACE, "--asserter", ALICE)
    shown = vml("inspect", path, "--json").json
    assert (shown["asserter"], shown["signed"]) == (ALICE, "by nobody")
    assert vml("inspect", path).code == 0
    assert vml("verify", path, "--model", compiled, "--json").json["remarks"][0] == "signed by: nobody"


@pytest.mark.parametrize(
    ("standing", "code", "says"),
    [
        (Standing.NONE, 1, "the game does not know it"),
        (Standing.OPEN, 7, f"not final before unix time {CLOSES}"),
        (Standing.SLASHED, 1, "slashed"),
        (Standing.VOID, 1, "void"),
    ],
)
def test_what_the_chain_says(
    prove: Callable[..., Path], vml: Vml, node: dict[str, Any], standing: Standing, code: int, says: str
) -> None:
    path = prove(*PLACE, "--asserter", ALICE)
    node["standing"] = standing
    done = vml("verify", path, "--model", identity(path), *READ, "--json")
    assert (done.code, done.json["verified"]) == (code, False)
    assert says in done.err
    if standing is Standing.OPEN:
        assert done.json["error"]["until"] == CLOSES


def test_a_policy_that_takes_what_is_not_final(
    prove: Callable[..., Path], tmp_path: Path, vml: Vml, node: dict[str, Any]
) -> None:
    path, node["standing"] = prove(*PLACE, "--asserter", ALICE), Standing.OPEN
    policy = tmp_path / "policy.yaml"
    policy.write_text("backends: [optimistic]\nassurance: [economic]\nrequire_final: false\n")
    done = vml("verify", path, "--model", identity(path), *READ, "--policy", policy)
    assert done.code == 0
    assert "not final" in done.out


def test_what_is_pinned_comes_from_the_verifier(prove: Callable[..., Path], vml: Vml, node: dict[str, Any]) -> None:
    path = prove(*PLACE, "--asserter", ALICE)
    name = identity(path)
    other_game = ("--rpc", "http://node", "--game", "0x" + "bb" * 20, "--terms", TERMS)
    assert "9: the game" in vml("verify", path, "--model", name, *other_game).err
    other_terms = ("--rpc", "http://node", "--game", GAME, "--terms", "0x" + "11" * 32)
    assert "9: the terms" in vml("verify", path, "--model", name, *other_terms).err
    assert vml("verify", path, "--model", name, *other_terms, "--terms", TERMS).code == 0
    node["chain_id"] = 1
    assert "9: the chain" in vml("verify", path, "--model", name, *READ).err
    assert vml("verify", path, "--model", name, "--rpc", "http://none", *READ[2:]).code == 6


@pytest.mark.parametrize("missing", ["--rpc", "--game", "--terms"])
def test_what_belongs_together_when_verifying(prove: Callable[..., Path], vml: Vml, missing: str) -> None:
    path = prove(*PLACE, "--asserter", ALICE)
    pairs = [(READ[at], READ[at + 1]) for at in range(0, len(READ), 2) if READ[at] != missing]
    done = vml("verify", path, "--model", identity(path), *(text for pair in pairs for text in pair))
    assert (done.code, "belong together" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--private", "input"), "who challenges needs"),
        (("--private", "model"), "who challenges needs"),
        (("--hash-input",), "who challenges needs"),
        (("--chain-id", "1"), "--chain-id says how"),
        (("--terms", TERMS), "--terms says how"),
        (("--asserter", ALICE), "--asserter says how"),
        (("--nonce", "1"), "--nonce"),
        (("--game", GAME), "--game needs"),
        (("--game", GAME, "--chain-id", "1"), "--game needs"),
        (PLACE, "nobody asserts it"),
        ((*PLACE[:-1], "0x12", "--asserter", ALICE), "64 hex digits"),
        ((*PLACE, "--asserter", "0x12"), "an address"),
        (("--game", "0x12", *PLACE[2:], "--asserter", ALICE), "an address"),
        (("--batch",), "one input at a time"),
    ],
)
def test_what_belongs_together_when_proving(
    compiled: Path, input_file: Path, tmp_path: Path, vml: Vml, more: tuple[str, ...], says: str
) -> None:
    path = tmp_path / "bundle.proof.json"
    done = vml("prove", compiled, input_file, "-o", path, "--backend", "optimistic", *more)
    assert done.code == 2
    assert says in done.err
    assert not path.exists()


def test_a_key_of_another_asserter(
    compiled: Path, input_file: Path, tmp_path: Path, vml: Vml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VML_PRIVATE_KEY", KEY)
    more = (*PLACE, "--asserter", "0x" + "12" * 20)
    done = vml("prove", compiled, input_file, "-o", tmp_path / "b", "--backend", "optimistic", *more)
    assert (done.code, f"that of {ALICE}" in done.err) == (2, True)


def test_another_backend_asserts_nothing(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> None:
    more = (*PLACE, "--asserter", ALICE)
    done = vml("prove", compiled, input_file, "-o", tmp_path / "b", "--backend", "sumcheck", *more)
    assert (done.code, "asserting" in done.err) == (2, True)


def test_plan(compiled: Path, vml: Vml) -> None:
    value = vml("plan", compiled, "--json").json
    (row,) = [row for row in value["backends"] if row["backend"] == "optimistic"]
    assert value["pick"] != "optimistic"
    assert row["serves"]
    assert row["assurance"] == "economic"
    assert [worst["profile"] for worst in row["disputes"]] == ["fast-l2", "l1-safe"]
    for worst in row["disputes"]:
        assert int(worst["asserter_bond"]) > 0
        assert worst["asserter_gas"] > worst["input_gas"] > 0
        assert 0 < worst["window_s"] < worst["resolution_s"]
    shown = vml("plan", compiled).out
    assert "worst dispute" in shown
    assert "l1-safe" in shown


def test_setup_has_nothing_to_make(compiled: Path, vml: Vml) -> None:
    value = vml("setup", compiled, "--backend", "optimistic", "--json").json
    assert value["scheme"] == "optimistic/1"
    assert not (compiled / "identities.json").exists()
    assert vml("setup", compiled, "--backend", "optimistic", "--check").code == 2
