"""The command line over signed runs: prove by a simulator, verify with a policy of one's own, inspect, plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Vml = Callable[..., Any]
NONCE = "0x" + "5a" * 32


@pytest.fixture
def policy(tmp_path: Path, vml: Vml) -> Path:
    """The policy that `vml tee simulate` writes."""
    assert vml("tee", "simulate", "tdx", "-o", tmp_path / "sim.tdx", "--quiet").code == 0
    return tmp_path / "sim.tdx" / "policy.yaml"


@pytest.fixture
def signed(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> Path:
    path = tmp_path / "signed.proof.json"
    more = ("--backend", "tee", "--simulate", "tdx", "--tee-nonce", NONCE)
    done = vml("prove", compiled, input_file, "-o", path, "--json", *more)
    assert done.code == 0, done.err
    assert done.json["nonce"] == NONCE
    assert "shows nothing" in done.err
    return path


def test_prove_and_verify(signed: Path, compiled: Path, input_file: Path, policy: Path, vml: Vml) -> None:
    more = ("--model", compiled, "--tee-policy", policy, "--tee-nonce", NONCE, "--input", input_file)
    value = vml("verify", signed, *more, "--allow-simulated", "--json").json
    assert (value["verified"], value["backend"], value["assurance"]) == (True, "tee", "hardware")
    assert (value["simulated"], value["final"]) == (True, True)
    assert "physical adversary: not covered" in value["remarks"]
    shown = vml("verify", signed, *more, "--allow-simulated", "--explain").out
    assert "shows nothing" in shown
    assert "this key dies in" in shown
    assert str(policy) in shown.replace("\n", "") or "policy.yaml" in shown


def test_what_is_refused(signed: Path, compiled: Path, policy: Path, vml: Vml) -> None:
    def verify(*more: object) -> Any:
        return vml("verify", signed, "--model", compiled, *more)

    mine = ("--tee-policy", policy)
    assert verify(*mine, "--tee-nonce", NONCE, "--allow-simulated").code == 0
    assert verify(*mine, "--tee-nonce", "any", "--allow-simulated").code == 0
    for more, words in (
        ((*mine, "--tee-nonce", NONCE), "SIMULATED_EVIDENCE"),
        ((*mine, "--allow-simulated"), "NONCE_MISSING"),
        ((*mine, "--tee-nonce", "0x" + "11" * 32, "--allow-simulated"), "NONCE_MISMATCH"),
        (("--tee-nonce", NONCE, "--allow-simulated"), "--tee-policy"),
        (("--tee-policy", "0x" + "11" * 32, "--tee-nonce", NONCE, "--allow-simulated"), "appraisal policy"),
        ((*mine, "--tee-nonce", NONCE, "--allow-simulated", "--tee-min-epoch", 2), "EPOCH_ROTATED"),
        ((*mine, "--tee-nonce", NONCE, "--allow-simulated", "--seed", "other"), "SIMULATED_EVIDENCE"),
        ((*mine, "--tee-nonce", NONCE, "--allow-simulated", "--at", int(time.time()) + 90 * 86_400), "EXPIRED"),
    ):
        done = verify(*more)
        assert (done.code, words in done.err) == (1, True), (more, done.err)
    for more, words in (
        ((*mine, "--tee-nonce", "0x12", "--allow-simulated"), "64 hex digits"),
        ((*mine, "--seed", "other"), "--allow-simulated"),
        ((*mine, "--at", "yesterday"), "--at"),
    ):
        done = verify(*more)
        assert (done.code, words in done.err) == (2, True), (more, done.err)


def test_the_age_by_the_time_of_the_nonce(
    compiled: Path, input_file: Path, policy: Path, tmp_path: Path, vml: Vml
) -> None:
    """Without the option a maximum age refuses; with it the time counts, for a nonce of one's own alone."""
    from vml import api
    from vml.backends.types import TEE_NONCE_SENT_AT

    rules, now = ("--tee-policy", policy), int(time.time())
    path = tmp_path / "signed.proof.json"
    prove = ("--backend", "tee", "--simulate", "tdx", "--tee-nonce", NONCE)
    assert vml("prove", compiled, input_file, "-o", path, *prove).code == 0
    mine = ("verify", path, "--model", compiled, *rules, "--allow-simulated", "--tee-nonce")
    assert vml(*mine, NONCE, "--tee-nonce-sent-at", now).code == 0
    assert vml(*mine, "any", "--tee-nonce-sent-at", now).code == 2
    assert vml(*mine, NONCE, "--tee-nonce-sent-at", "soon").code == 2
    assert api.tee_pins((), nonce=bytes(32), nonce_sent_at=now)[TEE_NONCE_SENT_AT] == now
    with pytest.raises(ValueError, match="of your own"):
        api.tee_pins((), nonce_sent_at=now)


def test_a_stated_time(signed: Path, compiled: Path, policy: Path, vml: Vml) -> None:
    more = ("--model", compiled, "--tee-policy", policy, "--tee-nonce", NONCE, "--allow-simulated")
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert vml("verify", signed, *more, "--at", moment).code == 0
    assert vml("verify", signed, *more, "--at", int(time.time()) - 3600).code == 1  # the receipt is to come


def test_inspect(signed: Path, vml: Vml) -> None:
    value = vml("inspect", signed, "--json").json
    assert (value["backend"], value["assurance"], value["evidence"]) == ("tee", "hardware", "tdx")
    assert (value["nonce"], value["epoch"], value["sequence"], value["algorithm"]) == (NONCE, 1, "1", "secp256k1")
    assert value["not_after"] > value["issued_at"]
    assert "key id" in vml("inspect", signed).out


def test_plan(compiled: Path, vml: Vml) -> None:
    value = vml("plan", compiled, "--json").json
    (row,) = [row for row in value["backends"] if row["backend"] == "tee"]
    assert value["pick"] != "tee"
    assert (row["serves"], row["assurance"], row["prove_s"]) == (True, "hardware", None)
    assert any("--attester" in line for line in row["why"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--backend", "tee"), "--attester URL, or --simulate KIND"),
        (("--backend", "tee", "--simulate", "tdx", "--attester", "http://a"), "--attester URL, or --simulate KIND"),
        (("--backend", "tee", "--simulate", "none"), "no simulator"),
        (("--backend", "tee", "--simulate", "tdx", "--tee-nonce", "any"), "hex"),
        (("--backend", "tee", "--attester", "unix:/x", "--seed", "mine"), "needs --simulate"),
        (("--backend", "tee", "--attester", "ftp://x"), "no attester's address"),
        (("--backend", "tee", "--simulate", "tdx", "--engine", "fast"), "no engine 'fast'"),
        (("--backend", "sumcheck", "--engine", "exact"), "--engine is for --backend tee"),
        (("--backend", "sumcheck", "--simulate", "tdx"), "for --backend tee"),
        (("--backend", "auto", "--attester", "http://a"), "for --backend tee"),
        (("--backend", "tee", "--simulate", "tdx", "--private", "input"), "cannot be had"),
    ],
)
def test_what_goes_together(
    more: tuple[str, ...], words: str, compiled: Path, input_file: Path, tmp_path: Path, vml: Vml
) -> None:
    done = vml("prove", compiled, input_file, "-o", tmp_path / "p", *more)
    assert (done.code, words in done.err) == (2, True), done.err
    assert not (tmp_path / "p").exists()


def test_nobody_listens(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> None:
    more = ("--backend", "tee", "--attester", f"unix:{tmp_path}/none")
    assert vml("prove", compiled, input_file, "-o", tmp_path / "p", *more).code == 5


def test_other_proofs_take_no_such_options(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> None:
    path = tmp_path / "b.proof.json"
    assert vml("prove", compiled, input_file, "-o", path, "--backend", "optimistic", "--quiet").code == 0
    for more in (("--at", "5"), ("--tee-nonce", "any"), ("--tee-min-epoch", "1"), ("--tee-policy", "x")):
        done = vml("verify", path, "--model", compiled, *more)
        assert (done.code, "signed runs (tee)" in done.err) == (2, True)


@pytest.fixture
def floats(compiled: Path, input_file: Path, tmp_path: Path, vml: Vml) -> Path:
    path = tmp_path / "floats.proof.json"
    more = ("--backend", "tee", "--engine", "float", "--simulate", "tdx", "--tee-nonce", NONCE)
    done = vml("prove", compiled, input_file, "-o", path, "--json", *more)
    assert done.code == 0, done.err
    assert (done.json["engine"], done.json["scheme"]) == ("float", "tee/float/1")
    return path


def test_a_float_run(floats: Path, compiled: Path, input_file: Path, policy: Path, vml: Vml, tmp_path: Path) -> None:
    import onnxruntime

    more = ("--tee-policy", policy, "--tee-nonce", NONCE, "--allow-simulated")
    done = vml("verify", floats, "--model", compiled, "--input", input_file, *more, "--json")
    assert done.code == 0, done.err
    value = done.json
    assert (value["semantics"], value["scheme"]) == ("onnxruntime-float/1", "tee/float/1")
    runtime = f"engine: onnxruntime {onnxruntime.__version__} (floats), CPUExecutionProvider"
    assert runtime in value["remarks"]
    identity = value["claims"][0]["model"]
    for model in (identity, compiled / "source.onnx"):
        assert vml("verify", floats, "--model", model, *more, "--json").json == value
    assert vml("verify", floats, "--model", "0x" + "11" * 32, *more).code == 1
    shown = vml("verify", floats, "--model", identity, *more, "--explain").out
    assert "onnxruntime-float/1" in shown
    assert "its kernels compute" in shown
    pinned = ("--model", compiled / "source.onnx", *more, "--key")
    assert vml("verify", floats, *pinned, value["vk_digest"]).code == 0
    assert vml("verify", floats, *pinned, "0x" + "11" * 32).code == 1
    rules = tmp_path / "rules.yaml"
    for name, code in (("onnxruntime-float/1", 0), ("vml-int/1", 1)):
        rules.write_text(f"version: 1\nsemantics: [{name}]\n")
        assert vml("verify", floats, "--model", identity, *more, "--policy", rules).code == code


def test_inspect_names_the_engine(floats: Path, signed: Path, compiled: Path, vml: Vml) -> None:
    value = vml("inspect", floats, "--json").json
    assert (value["engine"], value["semantics"], value["gpus"]) == ("float", "onnxruntime-float/1", 0)
    assert value["runtime"]["providers"] == [{"name": "CPUExecutionProvider", "options": {}}]
    assert value["onnx_sha256"] == vml("inspect", compiled, "--json").json["source_sha256"]
    assert "onnxruntime" in vml("inspect", floats).out
    exact = vml("inspect", signed, "--json").json
    assert (exact["engine"], exact["semantics"], "runtime" in exact) == ("exact", "vml-int/1", False)
