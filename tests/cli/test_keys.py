"""Where `vml verify` takes a verifying key from, over a stand-in whose identity does not bind one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import PlainBackend, tiny_onnx

from vml import api
from vml.backends.types import SetupOptions
from vml.identities import read_identities, record_identity
from vml.keccak import keccak256
from vml.proof import Proof

Vml = Callable[..., Any]
OTHER = "0x" + "22" * 32


@pytest.fixture
def digest(pinned: object, compiled: Path) -> str:
    return "0x" + keccak256((compiled / "source.onnx").read_bytes()).hex()


@pytest.fixture
def identity(pinned: object, proof_file: Path) -> str:
    return "0x" + Proof.load(proof_file).claims[0].model.hex()


def test_a_folder_with_a_record(
    pinned: type[PlainBackend], proof_file: Path, compiled: Path, digest: str, vml: Vml
) -> None:
    (entry,) = read_identities(compiled)
    assert (entry.backend, entry.scheme, entry.model) == ("plain", "plain/1", Proof.load(proof_file).claims[0].model)
    assert entry.vk_digest is not None
    assert "0x" + entry.vk_digest.hex() == digest
    done = vml("verify", proof_file, "--model", compiled, "--json")
    assert done.code == 0, done.err
    assert done.json["vk_digest"] == digest
    assert pinned.remade == 0


def test_a_folder_without_a_record(pinned: type[PlainBackend], proof_file: Path, compiled: Path, vml: Vml) -> None:
    (compiled / "identities.json").unlink()
    assert vml("verify", proof_file, "--model", compiled).code == 0
    assert pinned.remade == 1
    # What is recorded for another scheme, another model, or without a digest says nothing of this key.
    (record,) = [
        {"backend": "plain", "scheme": "plain/1", "model": "0x" + Proof.load(proof_file).claims[0].model.hex()}
    ]
    for change in ({}, {"scheme": "plain/2", "vk_digest": OTHER}, {"model": OTHER, "vk_digest": OTHER}):
        (compiled / "identities.json").write_text(
            json.dumps([{**record, **change}], sort_keys=True, separators=(",", ":"))
        )
        assert vml("verify", proof_file, "--model", compiled).code == 0, change
    assert pinned.remade == 4
    assert api.verify(Proof.load(proof_file), model=api.load_model(compiled)).backend == "plain"


def test_no_key_is_made_for_a_proof_about_another_model(
    pinned: type[PlainBackend], proof_file: Path, tmp_path: Path, vml: Vml
) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_onnx(seed=1))
    assert vml("compile", tmp_path / "other.onnx", "-o", tmp_path / "other.vml", "--input-range", -1, 1).code == 0
    done = vml("verify", proof_file, "--model", tmp_path / "other.vml", "--json")
    assert done.code == 1
    assert done.json["error"]["field"] == "model"
    assert pinned.remade == 0
    model = api.load_model(tmp_path / "other.vml")
    with pytest.raises(Exception, match="model"):
        api.verify(Proof.load(proof_file), model=model)


def test_the_record_of_other_weights(pinned: type[PlainBackend], proof_file: Path, compiled: Path, vml: Vml) -> None:
    record = json.loads((compiled / "identities.json").read_bytes())
    record[0]["vk_digest"] = OTHER
    (compiled / "identities.json").write_text(json.dumps(record, sort_keys=True, separators=(",", ":")))
    done = vml("verify", proof_file, "--model", compiled, "--json")
    assert done.code == 1
    assert done.json["error"]["type"] == "ProofRejected"
    for text in ('[{"model":"' + OTHER + '","vk_digest":1}]', '[{"model":"' + OTHER + '","vk_digest":"0x1"}]'):
        (compiled / "identities.json").write_text(text)
        assert vml("verify", proof_file, "--model", compiled).code == 2


def test_an_identity_needs_a_key(
    proof_file: Path, compiled: Path, identity: str, digest: str, tmp_path: Path, vml: Vml
) -> None:
    done = vml("verify", proof_file, "--model", identity)
    assert done.code == 2
    for word in ("--key", "verifying_keys", "compiled folder"):
        assert word in done.err
    assert vml("verify", proof_file, "--model", identity, "--key", digest).code == 0
    assert vml("verify", proof_file, "--model", identity, "--key", OTHER).code == 1
    assert vml("verify", proof_file, "--model", OTHER, "--key", digest).code == 1
    assert vml("setup", compiled, "--backend", "plain", "-o", tmp_path / "key").code == 0
    explained = vml("verify", proof_file, "--model", identity, "--key", tmp_path / "key", "--explain")
    assert explained.code == 0
    assert "verifying key" in explained.out
    for key in ("0x12", tmp_path / "none", compiled):
        assert vml("verify", proof_file, "--model", identity, "--key", key).code == 2, key


def test_a_policy_names_keys(proof_file: Path, identity: str, digest: str, tmp_path: Path, vml: Vml) -> None:
    policy = tmp_path / "policy.yaml"
    for text, code in [
        (f"verifying_keys: [{digest}]", 0),
        (f"verifying_keys: [{OTHER}, {digest}]", 0),
        (f"any_of: [{{verifying_keys: [{OTHER}]}}, {{verifying_keys: [{digest}]}}]", 0),
        (f"verifying_keys: [{OTHER}]", 1),
        ("min_security_bits: 1", 2),
    ]:
        policy.write_text(text)
        assert vml("verify", proof_file, "--model", identity, "--policy", policy).code == code, text


def test_an_onnx_file_is_no_exact_model(pinned: object, proof_file: Path, onnx_file: Path, vml: Vml) -> None:
    done = vml("verify", proof_file, "--model", onnx_file)
    assert done.code == 2
    assert "calibration" in done.err
    assert "compiled folder" in done.err


def test_a_key_that_an_identity_binds_can_be_named_too(proof_file: Path, compiled: Path, vml: Vml) -> None:
    """Where the identity is enough, --key is one more requirement."""
    good = "0x" + keccak256((compiled / "source.onnx").read_bytes()).hex()
    assert vml("verify", proof_file, "--model", compiled, "--key", good).code == 0
    assert vml("verify", proof_file, "--model", compiled, "--key", OTHER).code == 1


def test_a_batch_is_shown_claim_by_claim(pinned: object, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    np.savez(tmp_path / "rows.npz", x=np.eye(3, 4, dtype=np.float32) / 2)
    done = vml("prove", compiled, tmp_path / "rows.npz", "-o", tmp_path / "p.json", "--batch")
    assert done.code == 0, done.err
    assert "3 of 3" in done.out
    done = vml("verify", tmp_path / "p.json", "--model", compiled)
    for word in ("1 of 3", "3 of 3", "revealed", "everything"):
        assert word in done.out
    value = vml("verify", tmp_path / "p.json", "--model", compiled, "--json").json
    assert [claim["input"] for claim in value["claims"]] == [
        "0x" + claim.input.hex() for claim in Proof.load(tmp_path / "p.json").claims
    ]
    assert value["revealed"] == ["everything"]
    assert vml("verify", tmp_path / "p.json", "--model", OTHER, "--key", OTHER, "--json").json["revealed"] == []


def test_a_batch_is_refused_before_any_work(
    plain: type[PlainBackend], compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vml: Vml
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("keys were made")

    monkeypatch.setattr(plain, "setup", never)
    np.savez(tmp_path / "rows.npz", x=np.zeros((4097, 4), np.float32))
    done = vml("prove", compiled, tmp_path / "rows.npz", "-o", tmp_path / "p.json", "--batch", "--backend", "plain")
    assert done.code == 2
    assert "4096" in done.err
    able = plain().capabilities()
    monkeypatch.setattr(plain, "capabilities", lambda self: replace(able, batch=False))
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 4), np.float32))
    done = vml("prove", compiled, tmp_path / "rows.npz", "-o", tmp_path / "p.json", "--batch", "--backend", "plain")
    assert done.code == 2
    assert "one input at a time" in done.err
    with pytest.raises(ValueError, match="1 to 4096"):
        api.prove(compiled, [], backend="plain")


def test_identities_are_recorded_once(pinned: type[PlainBackend], compiled: Path) -> None:
    keys = pinned().setup(api.load_model(compiled), SetupOptions())
    record_identity(compiled, keys)
    assert len(read_identities(compiled)) == 1
