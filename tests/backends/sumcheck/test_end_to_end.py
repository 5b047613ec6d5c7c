"""Shipped models prove and verify: one input and several, the same bytes every time, and without numpy or numba."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.backends.sumcheck.runs import sample_rows, shipped
from tests.test_light_import import EXTRAS, ROOT
from vml.backends.sumcheck.scheme import SCHEME
from vml.errors import ProofRejected
from vml.merkle import tensors_root
from vml.proof import Proof

NAMES = ["breast-cancer-mlp", "digits-mlp", "digits-cnn"]
LARGER = ["lenet5", "digits-transformer"]
CONTEXT = bytes(range(32))


@cache
def proof_of(name: str, batch: int = 1) -> Proof:
    return shipped(name).public_prove(sample_rows(name, batch), CONTEXT)


def check(name: str, batch: int) -> None:
    stage, proof = shipped(name), proof_of(name, batch)
    assert Proof.from_bytes(proof.to_bytes()) == proof
    verdict = stage.verify(Proof.from_bytes(proof.to_bytes()), context=CONTEXT)
    assert verdict.claims == proof.claims
    assert len(verdict.claims) == batch
    assert verdict.security_bits >= 100
    assert verdict.vk_digest == stage.key.digest
    assert verdict.scheme == proof.scheme == SCHEME
    for claim, row in zip(verdict.claims, sample_rows(name, batch), strict=True):
        outputs = stage.model.run(row)
        assert claim.model == stage.model.commitment
        assert claim.context == CONTEXT
        assert claim.input == _committed(stage.model.inputs, row)
        assert claim.output == _committed(stage.model.outputs, outputs)


def _committed(specs: tuple, codes: dict) -> bytes:  # type: ignore[type-arg]
    from vml.merkle import tensor_root

    return tensors_root([tensor_root(np.asarray(codes[s.name], dtype=s.header.dtype)) for s in specs])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_shipped_models(name: str, batch: int) -> None:
    check(name, batch)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", LARGER)
def test_larger_shipped_models(name: str, batch: int) -> None:
    check(name, batch)


@pytest.mark.slow
def test_seventeen_inputs_at_once() -> None:
    check("digits-mlp", 17)


def test_the_same_run_gives_the_same_bytes() -> None:
    stage = shipped("digits-mlp")
    again = stage.public_prove(sample_rows("digits-mlp"), CONTEXT)
    assert again.to_bytes() == proof_of("digits-mlp").to_bytes()


def test_the_rows_of_a_batch_have_their_order() -> None:
    stage, proof = shipped("digits-mlp"), proof_of("digits-mlp", 3)
    rows = sample_rows("digits-mlp", 3)
    other = stage.public_prove([rows[1], rows[0], rows[2]], CONTEXT)
    assert [claim.input for claim in other.claims] == [proof.claims[k].input for k in (1, 0, 2)]
    assert other.payload != proof.payload


def test_the_key_is_made_from_the_weights_and_nothing_else() -> None:
    from tests.backends.sumcheck.runs import Stage

    stage = shipped("digits-mlp")
    assert Stage(stage.model).key == stage.key
    assert shipped("digits-cnn").key != stage.key


VERIFY = """
import json, sys
from pathlib import Path
for name in {extras!r}:
    sys.modules[name] = None  # importing it now raises ImportError
if {without_numpy}:
    sys.modules["numpy"] = None
from vml.backends.sumcheck import verifier
from vml.backends.types import PINNED_KEYS, ClaimExpectation, Environment
from vml.errors import ProofRejected
from vml.proof import Proof
folder = Path({folder!r})
class Anything:
    def check(self, verdict): pass
told = json.loads((folder / "told.json").read_text())
model, key, context = (bytes.fromhex(told[name]) for name in ("model", "key", "context"))
pins = Environment(pins={{PINNED_KEYS: frozenset({{key}})}})
for name in ("honest", "altered"):
    proof = Proof.from_bytes((folder / name).read_bytes())
    try:
        verdict = verifier.verify(proof, ClaimExpectation(frozenset({{model}}), context=context), Anything(), pins)
        print(verdict.security_bits)
    except ProofRejected as error:
        print(error.step)
print(sorted({{"numpy", "numba", "pydantic"}} & {{k for k, v in sys.modules.items() if v is not None}}))
"""


@pytest.mark.parametrize("without_numpy", [True, False])
def test_the_base_install_verifies_in_plain_python(without_numpy: bool, tmp_path: Path) -> None:
    """No numba can be had; nor numpy, in the first case. In the second it is there, and nothing loads it."""
    stage, proof = shipped("digits-mlp"), proof_of("digits-mlp")
    told = {
        "model": stage.model.commitment.hex(),
        "key": stage.key.digest.hex(),
        "context": CONTEXT.hex(),
    }
    (tmp_path / "told.json").write_text(json.dumps(told))
    proof.save(tmp_path / "honest")
    data = bytearray(proof.payload)
    data[-1] ^= 1
    Proof(proof.scheme, proof.claims, proof.public, bytes(data)).save(tmp_path / "altered")
    code = VERIFY.format(extras=EXTRAS, folder=str(tmp_path), without_numpy=without_numpy)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["100", "level 2: the column is not the one committed to", "[]"]


def test_a_proof_of_one_model_is_none_of_another() -> None:
    with pytest.raises(ProofRejected, match="verifying key"):
        shipped("digits-cnn").verify(proof_of("digits-mlp"), context=CONTEXT)
