"""Each command, over a small model and a quick stand-in for a backend."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import PlainBackend, tiny_onnx

import vml as package
from vml.backends.types import Estimate
from vml.claim import Claim, Context
from vml.errors import PolicyRejected
from vml.proof import Proof

Vml = Callable[..., Any]
ADDRESS, WORD = "0x" + "11" * 20, "0x" + "22" * 32
CONTEXT = Context(ADDRESS, 5, ADDRESS, bytes.fromhex("22" * 32), ADDRESS, 99)
VERDICT_KEYS = {
    "verified", "backend", "assurance", "semantics", "claims", "security_bits", "hidden", "trusted", "simulated",
    "unsafe_setup", "final", "error",
}  # fmt: skip


# ---- compile


def test_compile(onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    done = vml("compile", onnx_file, "-o", tmp_path / "deep" / "m.vml", "--input-range", -1, 1, "--json")
    assert done.code == 0, done.err
    assert (tmp_path / "deep" / "m.vml" / "graph.json").is_file()
    assert len(done.json["model"]) == 66
    assert done.json["inputs"][0]["name"] == "x"
    assert done.json["error"] is None


def test_compile_for_people(onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    samples = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)
    done = vml("compile", onnx_file, "-o", tmp_path / "m.vml", "--calibrate", tmp_path / "samples.npz")
    assert done.code == 0, done.err
    assert "compiled" in done.out
    assert "error, held out" in done.out
    assert vml("compile", onnx_file, "-o", tmp_path / "m.vml", "--input-range", -1, 1, "--quiet").out == ""


def test_compile_needs_samples_or_a_range(onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    done = vml("compile", onnx_file, "-o", tmp_path / "m.vml")
    assert done.code == 2
    assert "--calibrate" in done.err
    assert "--input-range" in done.err
    assert not (tmp_path / "m.vml").exists()


def test_compile_gates(onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    done = vml("compile", onnx_file, "-o", tmp_path / "m.vml", "--input-range", -1, 1, "--max-error", 1e-12)
    assert done.code == 3
    assert not (tmp_path / "m.vml").exists()


@pytest.mark.parametrize("shape", ["x", "x=", "=1,4", "x=1,a", "x=1,-4"])
def test_compile_shapes_are_read_strictly(shape: str, onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    done = vml("compile", onnx_file, "-o", tmp_path / "m.vml", "--input-range", -1, 1, "--shape", shape)
    assert done.code == 2
    assert "--shape" in done.err


def test_compile_does_not_replace_a_folder_of_other_things(onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    done = vml("compile", onnx_file, "-o", tmp_path / "photos", "--input-range", -1, 1)
    assert done.code == 2
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"


# ---- context


def context_arguments(**changes: object) -> list[object]:
    values: dict[str, object] = {
        "requester": ADDRESS, "chain": 5, "contract": ADDRESS, "request": WORD, "payee": ADDRESS,
        "expiry": 99, **changes
    }  # fmt: skip
    return ["context", *(part for name, value in values.items() for part in (f"--{name}", value))]


def test_context(vml: Vml) -> None:
    expected = "0x" + CONTEXT.commitment().hex()
    assert vml(*context_arguments()).out == expected + "\n"
    value = vml(*context_arguments(), "--json").json
    assert value == {"context": expected, "preimage": CONTEXT.to_json(), "error": None}


@pytest.mark.parametrize(
    "change", [{"requester": "0x12"}, {"chain": -1}, {"request": "0x12"}, {"expiry": 1 << 64}, {"payee": "x" * 42}]
)
def test_context_is_strict(change: dict[str, object], vml: Vml) -> None:
    assert vml(*context_arguments(**change)).code == 2


# ---- prove and verify


def test_prove_and_verify(proof_file: Path, compiled: Path, vml: Vml) -> None:
    done = vml("verify", proof_file, "--model", compiled, "--json")
    assert done.code == 0, done.err
    value = done.json
    assert value.keys() >= VERDICT_KEYS
    assert value["verified"] is True
    assert value["error"] is None
    (claim,) = value["claims"]
    assert claim.keys() == {"model", "input", "output", "context", "digest"}
    assert Claim.from_json({k: v for k, v in claim.items() if k != "digest"}).digest().hex() == claim["digest"][2:]


def test_prove_says_what_it_did(compiled: Path, input_file: Path, tmp_path: Path, plain: object, vml: Vml) -> None:
    done = vml("prove", compiled, input_file, "-o", tmp_path / "p.json", "--json")
    assert done.code == 0, done.err
    assert done.json["backend"] == "plain"
    assert "fits" in done.json["why"]
    assert done.json["bytes"] == (tmp_path / "p.json").stat().st_size
    assert "backend plain" in done.err
    assert "proved" in vml("prove", compiled, input_file, "-o", tmp_path / "p.json").out


def test_prove_from_onnx(onnx_file: Path, input_file: Path, tmp_path: Path, plain: object, vml: Vml) -> None:
    done = vml("prove", onnx_file, input_file, "-o", tmp_path / "p.json", "--input-range", -1, 1)
    assert done.code == 0, done.err
    done = vml("prove", onnx_file, input_file, "-o", tmp_path / "p.json")
    assert done.code == 2
    assert "--calibrate" in done.err


def test_verify_for_people(proof_file: Path, compiled: Path, vml: Vml) -> None:
    done = vml("verify", proof_file, "--model", compiled)
    assert done.out.startswith("verified plain, cryptographic, 128 bits")
    explained = vml("verify", proof_file, "--model", compiled, "--explain").out
    for word in ("trusted", "hidden", "replayable on purpose", "any, none was given"):
        assert word in explained
    assert vml("verify", proof_file, "--model", compiled, "--quiet").out == ""


def test_verify_by_identity_and_by_source(proof_file: Path, onnx_file: Path, tmp_path: Path, vml: Vml) -> None:
    identity = "0x" + Proof.load(proof_file).claims[0].model.hex()
    assert vml("verify", proof_file, "--model", identity).code == 0
    done = vml("verify", proof_file, "--model", "0x" + "12" * 32)
    assert done.code == 1
    assert "ClaimMismatch" in done.err
    # The stand-in's identity of a source is not the exact model's: made again, it must be refused.
    assert vml("verify", proof_file, "--model", onnx_file).code == 1


def test_verify_another_model(proof_file: Path, tmp_path: Path, vml: Vml) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_onnx(seed=1))
    vml("compile", tmp_path / "other.onnx", "-o", tmp_path / "other.vml", "--input-range", -1, 1)
    done = vml("verify", proof_file, "--model", tmp_path / "other.vml", "--json")
    assert done.code == 1
    assert done.json["verified"] is False
    assert done.json["error"]["type"] == "ClaimMismatch"
    assert done.json["error"]["field"] == "model"
    assert done.json["claims"] == []


def test_recorded_identities(proof_file: Path, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_onnx(seed=1))
    vml("compile", tmp_path / "other.onnx", "-o", tmp_path / "other.vml", "--input-range", -1, 1)
    record = tmp_path / "other.vml" / "identities.json"
    identity = "0x" + Proof.load(proof_file).claims[0].model.hex()
    record.write_text(f'[{{"backend":"plain","model":"{identity}","scheme":"plain/1"}}]')
    assert vml("verify", proof_file, "--model", tmp_path / "other.vml").code == 0
    for text in ("{}", "[1]", '[{"model":1}]', '[{"model":"0x12"}]', "nonsense", '[{"scheme":"x"}]'):
        record.write_text(text)
        assert vml("verify", proof_file, "--model", tmp_path / "other.vml").code == 2, text
    record.unlink()
    record.symlink_to(compiled / "graph.json")
    done = vml("verify", proof_file, "--model", tmp_path / "other.vml")
    assert done.code == 2
    assert "symbolic link" in done.err


def test_context_binds(compiled: Path, input_file: Path, tmp_path: Path, plain: object, vml: Vml) -> None:
    proof, use = tmp_path / "p.json", "0x" + CONTEXT.commitment().hex()
    assert vml("prove", compiled, input_file, "-o", proof, "--context", use).code == 0
    assert vml("verify", proof, "--model", compiled, "--context", use).code == 0
    assert vml("verify", proof, "--model", compiled, "--json").json["error"]["field"] == "context"
    assert vml("verify", proof, "--model", compiled, "--context", WORD).code == 1


def test_context_file_travels_in_the_proof(
    compiled: Path, input_file: Path, tmp_path: Path, plain: object, vml: Vml
) -> None:
    (tmp_path / "use.json").write_text(vml(*context_arguments(), "--json").out)
    assert vml("prove", compiled, input_file, "-o", tmp_path / "p.json", "--context", tmp_path / "use.json").code == 0
    assert Proof.load(tmp_path / "p.json").public["context_preimage"] == CONTEXT.to_json()
    assert vml("verify", tmp_path / "p.json", "--model", compiled, "--context", tmp_path / "use.json").code == 0
    for text in ("{", "[]", "{}", '{"preimage": 1}'):
        (tmp_path / "use.json").write_text(text)
        assert vml("verify", tmp_path / "p.json", "--model", compiled, "--context", tmp_path / "use.json").code == 2


def test_batch(compiled: Path, tmp_path: Path, plain: object, vml: Vml) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((3, 4), np.float32))
    np.savez(tmp_path / "row.npz", x=np.ones((1, 4), np.float32) / 2)
    done = vml("prove", compiled, tmp_path / "rows.npz", tmp_path / "row.npz", "-o", tmp_path / "p.json", "--batch")
    assert done.code == 0, done.err
    assert len(Proof.load(tmp_path / "p.json").claims) == 4
    assert vml("verify", tmp_path / "p.json", "--model", compiled).code == 0
    done = vml("prove", compiled, tmp_path / "row.npz", tmp_path / "row.npz", "-o", tmp_path / "p.json")
    assert done.code == 2
    assert "--batch" in done.err


BAD_INPUTS = {
    "name": ({"y": [[0, 0, 0, 0]]}, 2, "unknown name 'y'"),
    "shape": ({"x": [[0, 0, 0]]}, 2, "shape (1, 3)"),
    "type": ({"x": [["a", 0, 0, 0]]}, 2, "numbers"),
    "out of range": ({"x": [[0, 0, 0, 7.5]]}, 5, "7.5"),
    "not finite": ('{"x": [[NaN, 0, 0, 0]]}', 2, "not a finite number"),
    "not json": ("{", 2, "not JSON"),
}


@pytest.mark.parametrize(("value", "code", "words"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input(
    value: object, code: int, words: str, compiled: Path, tmp_path: Path, plain: object, vml: Vml
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    done = vml("prove", compiled, path, "-o", tmp_path / "p.json", "--json")
    assert done.code == code
    assert words in done.json["error"]["message"]
    assert not (tmp_path / "p.json").exists()


def test_bad_arrays(compiled: Path, tmp_path: Path, plain: object, vml: Vml) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4)))
    done = vml("prove", compiled, tmp_path / "x.npy", "-o", tmp_path / "p.json")
    assert done.code == 2
    assert "float64" in done.err
    np.save(tmp_path / "x.npy", np.full((1, 4), np.inf, np.float32))
    assert "not finite" in vml("prove", compiled, tmp_path / "x.npy", "-o", tmp_path / "p.json").err


def test_prove_refuses_before_it_works(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> None:
    common = ["prove", compiled, input_file]
    assert vml(*common, "-o", tmp_path / "no" / "p.json").code == 2
    assert vml(*common, "-o", tmp_path).code == 2
    assert vml(*common, "-o", tmp_path / "p", "--executor", "ray://x").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--backend", "magic").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--private", "weather").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--private", "input", "--hash-input").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--context", "0x12").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--memory-limit", "-1").code == 2
    assert vml(*common, "-o", tmp_path / "p", "--input-range", "0", "1").code == 2
    assert vml("prove", tmp_path / "none.vml", input_file, "-o", tmp_path / "p").code == 2


def test_auto_says_why_nothing_serves(
    compiled: Path, input_file: Path, tmp_path: Path, plain: type[PlainBackend], monkeypatch: Any, vml: Vml
) -> None:
    done = vml("prove", compiled, input_file, "-o", tmp_path / "p.json", "--private", "model")
    assert done.code == 4
    assert "plain: cannot make the model private" in done.err
    monkeypatch.setattr(plain, "estimate_result", Estimate(fits=False, reasons=("needs 9 TiB",)))
    assert "needs 9 TiB" in vml("prove", compiled, input_file, "-o", tmp_path / "p.json").err


# ---- verify and the policy


def test_unsafe_things_need_their_flag(
    proof_file: Path, compiled: Path, plain: type[PlainBackend], monkeypatch: Any, vml: Vml
) -> None:
    for field, flag in (("unsafe_setup", "--allow-unsafe-setup"), ("simulated", "--allow-simulated")):
        monkeypatch.setattr(plain, "verdict_changes", {field: True})
        done = vml("verify", proof_file, "--model", compiled)
        assert done.code == 1
        assert flag in done.err
        assert vml("verify", proof_file, "--model", compiled, flag, "--json").json[field] is True
        assert "accepted because allowed" in vml("verify", proof_file, "--model", compiled, flag).out


def test_policy_file(proof_file: Path, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    policy = tmp_path / "policy.yaml"
    for text, code in [
        ("backends: [plain]", 0),
        ("backends: [ezkl]", 1),
        ("{}", 1),
        ("min_security_bits: 128", 0),
        ("min_security_bits: 129", 1),
        ("any_of: [{backends: [ezkl]}, {backends: [plain]}]", 0),
        ("nonsense: 1", 2),
        ("backends: [", 2),
    ]:
        policy.write_text(text)
        assert vml("verify", proof_file, "--model", compiled, "--policy", policy).code == code, text
    policy.write_text("backends: [plain]\nallow_unsafe_setup: false")
    done = vml("verify", proof_file, "--model", compiled, "--policy", policy, "--allow-unsafe-setup")
    assert done.code == 2
    assert vml("verify", proof_file, "--model", compiled, "--policy", tmp_path / "none.yaml").code == 2


def test_damaged_proofs(proof_file: Path, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    good = proof_file.read_bytes()
    bad = tmp_path / "bad.proof.json"
    for data, kind in [
        (b"", "MalformedProof"),
        (good[:-1], "MalformedProof"),
        (good + b"\n", "MalformedProof"),
        (good.replace(b"vml-proof/1", b"vml-proof/2"), "MalformedProof"),
        (good.replace(b"plain/1", b"magic/1"), "MalformedProof"),
        (os.urandom(1 << 20), "MalformedProof"),
        (good.replace(b'"payload":"', b'"payload":"AAAA'), "ProofRejected"),
    ]:
        bad.write_bytes(data)
        done = vml("verify", bad, "--model", compiled, "--json")
        assert done.code == 1
        assert done.json["error"]["type"] == kind
        assert done.json["verified"] is False


def test_100_megabytes_of_noise(compiled: Path, tmp_path: Path, vml: Vml) -> None:
    noise = tmp_path / "noise.proof.json"
    with noise.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(1 << 20))
    done = vml("verify", noise, "--model", compiled, "--json")
    assert done.code == 1
    assert done.json["error"]["type"] == "MalformedProof"


def test_missing_files(proof_file: Path, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    assert vml("verify", tmp_path / "none", "--model", compiled).code == 2
    assert vml("verify", proof_file, "--model", tmp_path / "none").code == 2
    assert vml("verify", proof_file, "--model", "0xzz").code == 2
    assert vml("verify", proof_file, "--model", compiled, "--input", tmp_path / "none.json").code == 2
    assert vml("verify", proof_file, "--model", compiled, "--opening", proof_file).code == 2


# ---- the others


def test_plan(compiled: Path, plain: object, vml: Vml) -> None:
    value = vml("plan", compiled, "--json").json
    assert value["pick"] == "plain"
    assert value["backends"][0]["serves"] is True
    assert "plain *" in vml("plan", compiled).out
    value = vml("plan", compiled, "--private", "model", "--json").json
    assert value["pick"] is None
    assert value["backends"][0]["why"] == ["cannot make the model private"]
    assert "no backend can serve" in vml("plan", compiled, "--private", "model").out


def test_inspect(proof_file: Path, compiled: Path, tmp_path: Path, vml: Vml) -> None:
    value = vml("inspect", proof_file, "--json").json
    assert (value["kind"], value["verified"]) == ("proof", None)
    assert "described only" in vml("inspect", proof_file).out
    value = vml("inspect", compiled, "--json").json
    assert value["kind"] == "model"
    assert {"public", "hidden", "trusted", "model", "identities"} <= value.keys()
    assert vml("setup", compiled, "--backend", "plain", "-o", tmp_path / "key", "--quiet").code == 0
    value = vml("inspect", tmp_path / "key", "--json").json
    assert (value["kind"], value["backend"]) == ("key", "plain")
    (tmp_path / "key" / "verifying_key").write_bytes(b"another")
    assert vml("inspect", tmp_path / "key").code == 2
    assert vml("inspect", tmp_path / "none").code == 2
    assert vml("inspect", compiled / "graph.json").code == 1
    (tmp_path / "empty").mkdir()
    assert vml("inspect", tmp_path / "empty").code == 3


def test_a_damaged_folder_is_never_used(
    compiled: Path, input_file: Path, tmp_path: Path, plain: object, vml: Vml
) -> None:
    for name in ("graph.json", "tensors.safetensors", "source.onnx", "certificate.json"):
        good = (compiled / name).read_bytes()
        (compiled / name).write_bytes(good[:-7])
        done = vml("prove", compiled, input_file, "-o", tmp_path / "p.json")
        assert done.code == 3, name
        (compiled / name).unlink()
        assert vml("prove", compiled, input_file, "-o", tmp_path / "p.json").code == 3, name
        (tmp_path / "copy").write_bytes(good)
        (compiled / name).symlink_to(tmp_path / "copy")
        assert vml("prove", compiled, input_file, "-o", tmp_path / "p.json").code == 3, name
        (compiled / name).unlink()
        (compiled / name).write_bytes(good)
    assert vml("prove", compiled, input_file, "-o", tmp_path / "p.json").code == 0


def test_setup(compiled: Path, plain: object, tmp_path: Path, vml: Vml) -> None:
    done = vml("setup", compiled, "--backend", "plain", "-o", tmp_path / "key", "--json")
    assert done.code == 0, done.err
    assert done.json["model"] == vml("inspect", compiled, "--json").json["model"]
    assert (tmp_path / "key" / "verifying_key").is_file()
    assert "ready" in vml("setup", compiled, "--backend", "plain").out
    assert vml("setup", compiled, "--backend", "plain", "-o", compiled).code == 2
    assert vml("setup", compiled, "--backend", "magic").code == 2


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vml: Vml) -> None:
    root = tmp_path / "cache"
    monkeypatch.setenv("VML_CACHE_DIR", str(root))
    assert vml("cache", "list", "--json").json["entries"] == []
    for name, files in {"ezkl/a": ["pk"], "ezkl/b": ["pk", "openings/0x1.json"]}.items():
        for file in files:
            (root / name / file).parent.mkdir(parents=True, exist_ok=True)
            (root / name / file).write_bytes(b"x" * 10)
    (root / "srs").mkdir()
    (root / "srs" / "s.srs").write_bytes(b"x" * 5)
    value = vml("cache", "list", "--json").json
    assert value["bytes"] == 35
    assert [entry["kind"] for entry in value["entries"]] == ["ezkl", "ezkl", "set-up"]
    assert "openings" in vml("cache", "list").out
    done = vml("cache", "clear", "--json")
    assert done.json["freed_bytes"] == 10
    assert "--openings" in done.err
    assert (root / "ezkl" / "b" / "pk").exists()
    assert vml("cache", "clear", "--openings", "--setups", "--json").json["freed_bytes"] == 25
    assert not any(path.is_file() for path in root.rglob("*"))


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vml: Vml) -> None:
    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path))
    done = vml("doctor", "--json")
    assert done.code == 0
    states = {check["name"]: check["state"] for check in done.json["checks"]}
    assert states["base"] == states["exact products"] == states["keccak-256"] == "ok"
    assert "exact products" in vml("doctor").out

    def inexact() -> None:
        raise ArithmeticError("lost a bit")

    monkeypatch.setattr("vml.model.executor.self_test", inexact)
    done = vml("doctor", "--json")
    assert done.code == 4
    assert done.json["sound"] is False


def test_demo_needs_the_repository(tmp_path: Path, vml: Vml) -> None:
    done = vml("demo", "--circuits", tmp_path)
    assert done.code == 2
    assert "--circuits" in done.err


@pytest.mark.parametrize("target", ["script.py", "script.py:", ":factory", "script.py:not a name"])
def test_export_target(target: str, tmp_path: Path, vml: Vml) -> None:
    done = vml("export", target, "-o", tmp_path / "m.onnx")
    assert done.code == 2
    assert "SCRIPT.py:FACTORY" in done.err


# ---- Python


def test_python_api(compiled: Path, plain: object) -> None:
    x = {"x": np.array([[0.1, -0.2, 0.3, 0.4]], np.float32)}
    proof = package.prove(compiled, x)
    verdict = package.verify(proof, model=compiled)
    assert verdict.claims == proof.claims
    assert package.verify(proof.to_bytes(), model=proof.claims[0].model).backend == "plain"
    with pytest.raises(PolicyRejected):
        package.verify(proof, model=compiled, policy=package.Policy())
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018
    assert set(package.__all__) <= set(dir(package))
