"""The protocol's face of the backend, and hashed inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.ezkl.conftest import CONTEXT, LENIENT, Case, calibration, make_case, sample, tiny_mlp
from vml.backends import BACKENDS, backend_of_scheme, get_backend
from vml.backends.ezkl import EzklBackend
from vml.backends.types import ClaimExpectation, Environment, Keys, SetupOptions, Visibility
from vml.claim import Context
from vml.errors import ClaimMismatch, MalformedProof


@dataclass
class Compiled:
    """What the backend asks of a compiled model."""

    source: bytes
    calibration: dict[str, Any]
    folder: Path | None


def test_the_table_finds_the_backend() -> None:
    assert isinstance(get_backend("ezkl"), EzklBackend)
    assert backend_of_scheme("ezkl/anything") == "ezkl"
    with pytest.raises(MalformedProof):
        backend_of_scheme("nobody/1")
    with pytest.raises(ValueError, match="nobody"):
        get_backend("nobody")
    assert set(BACKENDS) >= {"ezkl"}


def test_setup_prove_verify_through_the_protocol(public: Case, cache: Path, tmp_path: Path) -> None:
    backend = get_backend("ezkl")
    backend.available()
    assert backend.capabilities().needs_setup
    model: Any = Compiled(tiny_mlp(), calibration(), tmp_path)
    keys = backend.setup(model, SetupOptions(cache_dir=cache))
    assert keys == public.circuit.keys
    assert keys.unsafe_setup
    assert (tmp_path / "identities.json").exists()
    use = Context("0x" + "11" * 20, 1, "0x" + "22" * 20, bytes(32), "0x" + "33" * 20, 5)
    proof = backend.prove(keys, sample(), use.commitment(), visibility=Visibility())
    expected = ClaimExpectation(frozenset({keys.model}), context=use.commitment())
    travelling = replace(proof, public={**proof.public, "context_preimage": use.to_json()})
    for sent in (proof, travelling):
        verdict = backend.verify(sent, expected, LENIENT, Environment())
        assert verdict.claims == proof.claims
    assert backend.estimate(model, Visibility()).fits


def test_keys_are_for_one_visibility_and_one_backend(public: Case) -> None:
    backend = EzklBackend()
    keys = public.circuit.keys
    with pytest.raises(ValueError, match="for input=public"):
        backend.prove(keys, sample(), CONTEXT, visibility=Visibility(input="private"))
    with pytest.raises(ValueError, match="not ezkl keys"):
        backend.prove(replace(keys, backend="other"), sample(), CONTEXT, visibility=Visibility())
    with pytest.raises(ValueError, match="not ezkl keys"):
        backend.prove(Keys("ezkl", "s", bytes(32), b""), sample(), CONTEXT, visibility=Visibility())
    with pytest.raises(ValueError, match="one input"):
        backend.prove(keys, [sample(), sample()], CONTEXT, visibility=Visibility())


def test_a_hashed_input_can_be_recomputed_by_who_knows_it(cache: Path) -> None:
    case = make_case(cache, Visibility(input="hashed"))
    verdict = case.verify(expected=case.expectation(public_input=sample()))
    assert "unsalted" in verdict.hidden[0]
    with pytest.raises(ClaimMismatch):
        case.verify(expected=case.expectation(public_input=sample(5)))
