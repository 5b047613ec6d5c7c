"""Attacks on whole ezkl proofs through `vml.verify`: what a person would read, and what hostile bytes raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.ezkl.conftest import CONTEXT, LENIENT, Case, tiny_mlp
from vml import api, canonical
from vml.backends.ezkl import bn254, setup
from vml.backends.ezkl import recompute as remaking
from vml.backends.ezkl.circuit import MAX_LOG_ROWS
from vml.backends.ezkl.commitments import word_of
from vml.backends.ezkl.statement import TensorInfo, encode_settings
from vml.backends.types import SetupOptions
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected, VerificationError
from vml.proof import Proof


def verify(proof: Proof | bytes, model: Any) -> None:
    api.verify(proof, model=model, context=CONTEXT, policy=LENIENT)


Edit = Callable[[dict[str, Any]], object]
SPELLINGS: dict[str, Edit] = {
    "true for the first dimension": lambda public: public["output"][0]["shape"].__setitem__(0, True),
    "true for a scale": lambda public: public["input"][0].update(scale=True),
    "false for a zero": lambda public: public["input"][0]["values"].__setitem__(
        public["input"][0]["values"].index(0), False
    ),
    "a name that looks alike": lambda public: public["output"][0].update(name="\u0443"),
    "one thing hidden that is shown": lambda public: public.update(hidden=["input"]),
    "an object for a list": lambda public: public.update(hidden={}),
    "a tensor twice": lambda public: public["output"].append(public["output"][0]),
    "a note": lambda public: public["output"][0].update(label="cat"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_public_section_has_one_spelling(name: str, public: Case) -> None:
    envelope = json.loads(public.proof.to_bytes())
    SPELLINGS[name](envelope["public"])
    data = canonical.encode(envelope)
    assert data != public.proof.to_bytes()
    with pytest.raises(VerificationError):
        verify(data, public.circuit.identity)


def test_a_public_section_made_in_python(public: Case) -> None:
    """A `Proof` that never was bytes is held to the same."""
    shown = json.loads(json.dumps(public.proof.public))
    shown["output"][0]["scale"] = float(shown["output"][0]["scale"])
    with pytest.raises(ClaimMismatch, match="public section"):
        verify(replace(public.proof, public=shown), public.circuit.identity)
    with pytest.raises(MalformedProof, match="no JSON"):
        verify(replace(public.proof, public={**public.proof.public, "hidden": {1}}), public.circuit.identity)


# Against an .onnx file, settings and set-up are read from the proof before anything pins them.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_mlp())
    return path


ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"input_scale": 10**30},
    {"param_scale": "a"},
    {"lookup_range": 5},
    {"decomp_base": 0},
    {"decomp_base": 1 << 14, "decomp_legs": 10},  # digits beyond the field would make signs the prover's choice
    {"num_inner_cols": 0},
    {"scale_rebase_multiplier": 0},
    {"logrows": MAX_LOG_ROWS + 1},
)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_hostile_settings_are_a_refusal(arguments: dict[str, Any], public: Case, file: Path) -> None:
    settings = json.loads(public.payload.settings)
    settings["run_args"].update(arguments)
    with pytest.raises(VerificationError):
        verify(public.with_payload(settings=encode_settings(settings)).to_bytes(), file)


def test_a_set_up_that_is_not_here_is_a_refusal(public: Case, file: Path) -> None:
    unknown = bn254.g2_mul(12345, bn254.G2_GENERATOR)
    assert unknown is not None
    with pytest.raises(ProofRejected, match="vml srs import"):
        verify(public.with_payload(tau_g2=bn254.g2_to_raw(unknown)).to_bytes(), file)


def test_a_proof_cannot_have_a_huge_test_set_up_made(public: Case, file: Path, cache: Path) -> None:
    """2^22 rows are half a gigabyte of points; the settings that ask for them are the prover's."""
    settings = json.loads(public.payload.settings)
    settings["run_args"]["logrows"] = MAX_LOG_ROWS
    with pytest.raises(ProofRejected, match="cannot have it made"):
        verify(public.with_payload(settings=encode_settings(settings)).to_bytes(), file)
    assert not list(cache.rglob(f"unsafe-test-{MAX_LOG_ROWS}*"))


def test_a_scheme_that_hides_is_a_refusal(public: Case, file: Path) -> None:
    for ours, theirs in (("model-public", "model-private"), ("input-public", "input-hashed"), ("23.0.5", "23.0.4")):
        scheme = public.proof.scheme.replace(ours, theirs)
        with pytest.raises(VerificationError):
            verify(replace(public.proof, scheme=scheme).to_bytes(), file)


# Models


def test_an_empty_name_is_not_the_current_folder(public: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--model "$UNSET"`` would accept what any folder one stands in says."""
    record = [{"model": "0x" + public.circuit.identity.hex()}]
    (tmp_path / "identities.json").write_bytes(canonical.encode(record))
    monkeypatch.chdir(tmp_path)
    verify(public.proof, ".")
    with pytest.raises(ValueError, match="current folder"):
        verify(public.proof, "")


@pytest.mark.parametrize("record", [b'[{"model":1}]', b"[{}]", b'[{"model":"0x12"}]', b"{}", b"[[]]", b"\xff"])
def test_a_damaged_record_of_identities(record: bytes, public: Case, tmp_path: Path) -> None:
    (tmp_path / "identities.json").write_bytes(record)
    with pytest.raises(ValueError, match=r"identities\.json|JSON"):
        verify(public.proof, tmp_path)


def test_an_opening_without_the_input_it_opens(public: Case) -> None:
    """It would be compared with nothing, and the verdict would look as if it had been."""
    with pytest.raises(ValueError, match="salt"):
        api.verify(public.proof, model=public.circuit.identity, context=CONTEXT, policy=LENIENT, salt=bytes(32))


def test_values_that_a_type_cannot_hold_are_infinite_not_a_warning() -> None:
    """The prover chooses the scales against an .onnx file; what comes of them is refused, never raised."""
    tensors = [TensorInfo("half", (1,), "float16"), TensorInfo("byte", (1,), "int8")]
    arrays = remaking._arrays(tensors, [-64, -64], [word_of(2**53)] * 2)
    assert arrays["half"].tolist() == [float("inf")]
    assert arrays["byte"].dtype == "int8"


def test_counts_that_ezkl_does_not_repeat_do_not_refuse_an_honest_proof(public: Case) -> None:
    """The same file and arguments give another row count one time in ten, and the same key."""
    settings = json.loads(public.payload.settings)
    settings["num_rows"] += 1
    settings["total_assignments"] += 1
    data = encode_settings(settings)
    again = setup.recompute(tiny_mlp(), data, Path(public.circuit.setup.path), SetupOptions())
    assert again == setup.identity_of(replace(public.circuit, settings=data), [])
    settings["total_const_size"] += 1
    data = encode_settings(settings)
    again = setup.recompute(tiny_mlp(), data, Path(public.circuit.setup.path), SetupOptions())
    assert again != setup.identity_of(replace(public.circuit, settings=data), []), "all else must be the file's"
