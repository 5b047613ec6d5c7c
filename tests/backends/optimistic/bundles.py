"""A small model, bundles of its runs, and a chain that says what a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from vml.backends.exact.specs import decode_specs
from vml.backends.exact.statement import Row, commit, public_section, read_public
from vml.backends.optimistic import OptimisticBackend
from vml.backends.optimistic.chain_record import RECORD_OF, Standing
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.signature import domain_separator, struct_hash
from vml.backends.types import (
    DISPUTE_GAMES,
    DISPUTE_TERMS,
    Asserting,
    ChainView,
    ClaimExpectation,
    Environment,
    Keys,
    SetupOptions,
    VerifiedClaim,
    Visibility,
)
from vml.chain.keys import Signer, from_private_key
from vml.claim import Claim, parse_address
from vml.errors import ChainError
from vml.model import Model
from vml.model.builder import Builder, Value
from vml.model.graph import TensorSpec
from vml.policy import Policy
from vml.proof import Proof

CHAIN, GAME, TERMS, CONTEXT = 31337, b"\xaa" * 20, b"\x7e" * 32, b"\x33" * 32
OPENED, CLOSES = 1_000_000, 1_003_600
ALICE, MALLORY = (from_private_key("0x" + digits * 32) for digits in ("11", "22"))
"""Whose assertions are honest, and somebody else."""


def address_of(signer: Signer) -> bytes:
    return parse_address(signer.address)


@cache
def model() -> Model:
    """Two inputs, two outputs, weights."""
    b = Builder(name="bundled")
    x = b.input(0, (1, 3), -100, 100, Fraction(10), "float")
    y = b.input(1, (3,), -9, 9, Fraction(1), "float")
    weights = b.constant(np.array([[1, -2, 3], [4, 5, -6]]))
    product = b.multiply(b.multiply(x, weights), y)
    total = b.reduce("reduce_sum", product, [1], False)
    rest = b.rescale_codes(product, 1 << 14, 16, -20, 20)
    inputs = [spec_of(b, "x", x, 10), spec_of(b, "y", y, 1)]
    graph = b.finish(inputs, [spec_of(b, "sum", total, 3), spec_of(b, "rest", rest, 1)])[0]
    return Model(graph, b"", None, {})  # type: ignore[arg-type]  # no certificate is looked at


def spec_of(b: Builder, name: str, value: Value, scale: int) -> TensorSpec:
    return TensorSpec(name, "float32", value.ref, b.header(value), Fraction(scale))


INPUTS = {"x": np.array([[1.5, -2.0, 9.9]], np.float32), "y": np.array([3, -4, 5], np.float32)}
OTHER_INPUTS = {"x": np.array([[1.5, -2.0, 9.8]], np.float32), "y": np.array([3, -4, 5], np.float32)}


def asserting(signer: Signer | None = ALICE, **change: Any) -> Asserting:
    """An assertion in the game, signed unless nobody signs."""
    sign = None if signer is None else signer.sign_message
    return replace(Asserting(CHAIN, GAME, address_of(ALICE), TERMS, 7, True, sign), **change)


def keys(where: Asserting | None = None) -> Keys:
    return OptimisticBackend().setup(model(), SetupOptions(asserting=where))


@cache
def bundle(kind: str = "signed") -> Proof:
    """An honest bundle: "signed", "unsigned", or "nowhere"."""
    where = {"signed": asserting(), "unsigned": asserting(None), "nowhere": None}[kind]
    return OptimisticBackend().prove(keys(where), INPUTS, CONTEXT, visibility=Visibility())


def decoded(proof: Proof) -> Bundle:
    return Bundle.decode(proof.payload)


def altered(proof: Proof, **change: Any) -> Proof:
    """The same envelope, with other fields in the bundle; the signature is as it was."""
    return replace(proof, payload=replace(decoded(proof), **change).encode())


def signed_by(signer: Signer, proof: Proof, **change: Any) -> Proof:
    """A bundle with other fields, signed anew."""
    fields = replace(decoded(proof), **change)
    return altered(proof, **change, signature=signer.sign_message(domain_separator(fields), struct_hash(fields)))


def row_of(proof: Proof) -> Row:
    fields = decoded(proof)
    (row,) = read_public(proof.public, proof.claims, decode_specs(fields.inputs), decode_specs(fields.outputs))
    return row


def restated(proof: Proof, row: Row, context: bytes | None = None, signer: Signer | None = None) -> Proof:
    """A bundle that is consistent in itself and says something else: claim, public section and payload agree."""
    fields, old = decoded(proof), proof.claims[0]
    inputs, outputs = decode_specs(fields.inputs), decode_specs(fields.outputs)
    claim = Claim(old.model, commit(inputs, row.inputs), commit(outputs, row.outputs), context or old.context)
    whole = Proof(proof.scheme, (claim,), public_section(inputs, outputs, [row]), proof.payload)
    if signer is None:
        return altered(whole, claim=claim.digest())
    return signed_by(signer, whole, claim=claim.digest())


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def record(standing: int, open_disputes: int = 0, closes_at: int = CLOSES) -> bytes:
    """What `recordOf` answers."""
    return b"".join(map(word, (OPENED, closes_at, 0, 0, open_disputes, standing, 1, 0, 0)))


@dataclass
class FakeChain:
    """Answers `recordOf`; remembers what it was asked."""

    answer: bytes = record(Standing.FINAL)
    chain_id: int = CHAIN
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    known: bytes | None = None  # the only assertion that it knows

    def call(self, to: str, data: bytes) -> bytes:
        self.asked.append((to, data))
        if not self.answer:
            raise ChainError("nobody answers")
        assert data[:4] == RECORD_OF
        if self.known is not None and data[4:] != self.known:
            return record(Standing.NONE, closes_at=0)
        return self.answer


def says(standing: Standing, **more: Any) -> FakeChain:
    """A chain whose game knows the honest signed bundle's assertion, and no other."""
    return FakeChain(record(standing, **more), known=decoded(bundle()).id)


PINS = {DISPUTE_GAMES: frozenset({(CHAIN, GAME)}), DISPUTE_TERMS: frozenset({TERMS})}


def check(
    proof: Proof,
    *,
    held: Any = None,
    chain: ChainView | None = None,
    pins: Any = PINS,
    policy: Policy | None = None,
    **expected: Any,
) -> VerifiedClaim:
    """The verifier's answer, with what it brings."""
    told: dict[str, Any] = {"model": frozenset({model().commitment}), "context": CONTEXT}
    environment = Environment(model=held, chain=chain, pins=pins)
    return OptimisticBackend().verify(
        proof, ClaimExpectation(**(told | expected)), policy or Policy.default(), environment
    )
