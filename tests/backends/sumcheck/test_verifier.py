"""The verifier's own steps: what a verifier who pins anything, or accepts any identity, is protected from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from tests.backends.sumcheck.runs import Stage, small, small_proof, small_rows
from vml.backends.sumcheck import verifier
from vml.backends.sumcheck.key import VerifyingKey
from vml.backends.sumcheck.payload import decode_graph, decode_payload, encode_graph, encode_payload, graph_commitment
from vml.backends.types import PINNED_KEYS, ClaimExpectation, Environment
from vml.errors import ClaimMismatch, MalformedProof, PolicyRejected, ProofRejected, UnsupportedModel
from vml.policy import Policy
from vml.proof import Proof


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No circuit is remembered from another test, and none of these is kept."""
    verifier.circuit_of.cache_clear()
    yield
    verifier.circuit_of.cache_clear()


def pinned(proof: Proof, key: VerifyingKey, models: tuple[bytes, ...] = ()) -> None:
    """Verify with this key in the payload and on the verifier's list."""
    payload = encode_payload(key.encode(), *decode_payload(proof.payload)[1:])
    expected = ClaimExpectation(model=frozenset({small().model.commitment, *models}))
    pins = Environment(pins={PINNED_KEYS: frozenset({key.digest})})
    verifier.verify(replace(proof, payload=payload), expected, Policy.default(), pins)


def test_the_honest_proof() -> None:
    pinned(small_proof(), small().key)


@pytest.mark.parametrize("change", [{"log_cols": 1}, {"fixed_rows": 1}])
def test_a_pinned_key_of_another_shape(change: dict[str, int]) -> None:
    key = small().key
    other = replace(key, **{name: getattr(key, name) + by for name, by in change.items()})
    with pytest.raises(ProofRejected, match="7: the key's shape"):
        pinned(small_proof(), other)


def test_a_scheme_with_other_parameters() -> None:
    proof = replace(small_proof(), scheme=small_proof().scheme.replace("bits-100", "bits-99"))
    with pytest.raises(MalformedProof, match="scheme"):
        small().verify(proof)


def test_a_key_that_is_not_pinned() -> None:
    environment = Environment(pins={PINNED_KEYS: frozenset({bytes(32)})})
    with pytest.raises(ProofRejected, match="2: the verifying key"):
        verifier.verify(small_proof(), small().expectation(), Policy.default(), environment)
    with pytest.raises(ProofRejected, match="2: the verifying key"):
        verifier.verify(small_proof(), small().expectation(), Policy.default(), Environment())


def test_what_is_expected() -> None:
    proof, other = small_proof(), bytes(31) + b"\1"
    for expected in ({"context": other}, {"input": other}, {"output": other}):
        with pytest.raises(ClaimMismatch, match=next(iter(expected))):
            small().verify(proof, **expected)
    small().verify(proof, input=proof.claims[0].input, output=proof.claims[0].output)
    with pytest.raises(ClaimMismatch, match="model"):
        verifier.verify(proof, ClaimExpectation(frozenset({other})), Policy.default(), small().environment)


def test_the_policy_has_the_last_word() -> None:
    class Never:
        def check(self, verdict: Any) -> None:
            raise PolicyRejected("never", verdict.scheme)

    with pytest.raises(PolicyRejected, match="never"):
        verifier.verify(small_proof(), small().expectation(), Never(), small().environment)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [UnsupportedModel("too large"), ValueError("too few")])
def test_a_graph_that_has_no_circuit(error: Exception) -> None:
    with (
        mock.patch.object(verifier, "build_circuit", side_effect=error),
        pytest.raises(ProofRejected, match=f"7: the circuit.*{error}"),
    ):
        small().verify(small_proof())


def misbuilt(alter: Any) -> None:
    """A graph that no loader accepts, under an identity and a key that the verifier accepts."""
    proof, stage = small_proof(), small()
    nodes, inputs, outputs = decode_graph(decode_payload(proof.payload)[1])
    graph = alter(list(nodes), inputs, outputs)
    identity = graph_commitment(encode_graph(*graph))
    key = replace(stage.key, model=identity)
    claims = tuple(replace(claim, model=identity) for claim in proof.claims)
    payload = encode_payload(key.encode(), encode_graph(*graph), decode_payload(proof.payload)[2])
    pinned(replace(proof, claims=claims, payload=payload), key, (identity,))


def _after_itself(nodes: list[Any], inputs: Any, outputs: Any) -> Any:
    (k,) = [k for k, node in enumerate(nodes) if node.primitive == "reduce_sum"]
    nodes[k] = replace(nodes[k], inputs=(k,))
    return tuple(nodes), inputs, outputs


def _twice_the_same_input(nodes: list[Any], inputs: Any, outputs: Any) -> Any:
    k = [k for k, node in enumerate(nodes) if node.primitive == "input"][1]
    nodes[k] = replace(nodes[k], attributes={"index": 0})
    return tuple(nodes), inputs, outputs


@pytest.mark.parametrize("alter", [_after_itself, _twice_the_same_input])
def test_a_graph_that_no_loader_accepts(alter: Any) -> None:
    with pytest.raises(ProofRejected, match="4: the graph"):
        misbuilt(alter)


def test_a_graph_whose_commitment_the_claims_do_not_have() -> None:
    proof = small_proof()
    key, graph, body = decode_payload(proof.payload)
    nodes, inputs, outputs = decode_graph(graph)
    other = encode_graph(nodes, (replace(inputs[0], saturate=True), *inputs[1:]), outputs)
    with pytest.raises(ClaimMismatch, match="model"):
        small().verify(replace(proof, payload=encode_payload(key, other, body)))


def test_no_body_is_checked_before_the_statement() -> None:
    """A body of any bytes is refused as such, and after everything about the claim has been."""
    proof = small_proof()
    key, graph, _ = decode_payload(proof.payload)
    empty = replace(proof, payload=encode_payload(key, graph, b""))
    with pytest.raises(ClaimMismatch, match="context"):
        small().verify(empty, context=bytes(31) + b"\1")
    with pytest.raises(MalformedProof, match="the payload ends"):
        small().verify(empty)


def test_every_part_of_the_proof_is_looked_at() -> None:
    """A false output with an honest proof of other columns: each sub-protocol's verifier is called with the body."""
    stage = small()
    columns = stage.columns(stage.values(small_rows()))
    other = Stage(stage.model)
    proof = other.prove(columns, exact=False)
    for name in ("verify_fractions", "verify_products", "verify_opening"):
        original = getattr(verifier, name)
        with mock.patch.object(verifier, name, side_effect=original) as called:
            stage.verify(proof)
        assert called.call_count == 1
