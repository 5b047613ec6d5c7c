"""A verifier who holds the ONNX file and no pin: the identity made again, and the file run again.

The prover chooses the circuit's settings, so an equal identity alone does not say that the circuit computes what the
file does: at a weight scale of -3 every weight rounds to nothing and the proof of y = 0 holds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.backends.ezkl.conftest import CONTEXT, Case, calibration, sample, tiny_mlp
from vml.backends.ezkl import prover, setup
from vml.backends.ezkl import recompute as remaking
from vml.backends.ezkl.circuit import RunArgs, cost
from vml.backends.ezkl.recompute import recompute
from vml.backends.ezkl.tuner import Tuned, Tuner
from vml.backends.types import SetupOptions
from vml.errors import MalformedProof, ProofRejected


def test_the_files_own_proof(public: Case, cache: Path) -> None:
    assert recompute(tiny_mlp(), public.proof, SetupOptions(cache_dir=cache)) == public.circuit.identity


def test_another_file_gives_another_output(public: Case, cache: Path) -> None:
    with pytest.raises(ProofRejected, match="is not the file's"):
        recompute(tiny_mlp(seed=1), public.proof, SetupOptions(cache_dir=cache))


def test_settings_that_round_the_weights_away(
    public: Case, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lying prover: a sound proof under coarse settings, whose identity the file really has."""

    def search(self: Tuner, *_: object) -> Tuned:
        found = self.error(coarse, self._sample)
        assert found is not None
        return Tuned(coarse, cost(self._settings), found, None, 1)

    honest = json.loads(public.circuit.settings)["run_args"]
    fields = {name: honest[name] for name in RunArgs().to_json() if not name.endswith("visibility")}
    coarse = RunArgs(**{**fields, "lookup_range": tuple(fields["lookup_range"]), "param_scale": -3})
    monkeypatch.setattr(Tuner, "search", search)
    circuit = setup.setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=tmp_path, max_error=1e6))
    proof, _ = prover.prove(circuit, sample(), CONTEXT)
    lying = Case(circuit, proof)
    assert lying.verify().claims == proof.claims, "the circuit's proof itself is sound"
    options = SetupOptions(cache_dir=tmp_path)
    with pytest.raises(ProofRejected, match="is not the file's"):
        recompute(tiny_mlp(), proof, options)
    monkeypatch.setattr(remaking, "_run_again", lambda *_: None)
    assert recompute(tiny_mlp(), proof, options) == circuit.identity, "without running again, nothing would notice"


def test_what_cannot_be_run_again_is_refused(private: Case, hidden_model: Case, cache: Path) -> None:
    with pytest.raises(ProofRejected, match="input is hidden"):
        recompute(tiny_mlp(), private.proof, SetupOptions(cache_dir=cache))
    with pytest.raises(ProofRejected, match="private model"):
        recompute(tiny_mlp(), hidden_model.proof, SetupOptions(cache_dir=cache))


def test_a_file_of_other_tensors_and_missing_instances(public: Case, cache: Path) -> None:
    with pytest.raises(MalformedProof, match="instances"):
        recompute(tiny_mlp(), public.with_payload(instances=public.payload.instances[:-1]), SetupOptions())
    other = onnx.load_model_from_string(tiny_mlp())
    other.graph.input[0].name = other.graph.node[0].input[0] = "z"
    with pytest.raises(ProofRejected, match="cannot be run"):
        recompute(other.SerializeToString(), public.proof, SetupOptions(cache_dir=cache))


def test_an_infinite_result_makes_no_room(public: Case, cache: Path) -> None:
    model = onnx.load_model_from_string(tiny_mlp())
    for tensor in model.graph.initializer:
        if tensor.name == "b2":
            tensor.CopyFrom(numpy_helper.from_array(np.full(2, np.inf, np.float32), "b2"))
    with pytest.raises(ProofRejected, match="not finite"):
        recompute(model.SerializeToString(), public.proof, SetupOptions(cache_dir=cache))
