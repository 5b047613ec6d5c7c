"""Verifies an assertion bundle, by running the model again, by what a chain says, or both.

 1. The scheme is this one.
 2. There is one claim, and the payload is a bundle.
 3. The bundle was made for this claim.
 4. The claim's model is the commitment recomputed from the bundle's graph root and specs, and one that is accepted.
 5. The public section says what the claim commits to.
 6. The claim is what the verifier expects.
 7. The signature, where there is one, is the asserter's.
 8. The verifier holds the model: run again, it gives this output, and this trace.
 9. The verifier reads a chain: the game and the terms are ones that it pinned, and the game says that nobody refuted
    the assertion, nor can.
10. One of the two decided.
11. The policy accepts the verdict.

A bundle proves nothing by itself: steps 1 to 7 only tell what is asserted. Running the model again decides what is true
whatever a chain says, but for an assertion that was slashed, which is refused in any case. docs/optimistic.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vml.backends.exact import statement
from vml.backends.exact.specs import decode_specs
from vml.backends.optimistic.chain_record import ChainRecord, Standing, read_record
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.scheme import (
    NAME,
    REVEALED,
    SCHEME,
    SECURITY_BITS,
    SEMANTICS,
    TRUSTS,
    TRUSTS_RECOMPUTED,
)
from vml.backends.optimistic.signature import require_asserters
from vml.backends.types import DISPUTE_GAMES, DISPUTE_TERMS, ClaimExpectation, Environment, VerifiedClaim
from vml.claim import checksum_address
from vml.errors import ClaimMismatch, MalformedProof, NotFinal, ProofRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vml.claim import Claim
    from vml.policy import Policy
    from vml.proof import Proof


def verify(proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment) -> VerifiedClaim:
    """Check everything, or raise.

    Args:
        proof: strictly decoded envelope.
        expected: accepted identities, context, and commitments or values where the verifier has them.
        policy: what is good enough; whether what may still be disputed is.
        environment: the model, loaded and validated; a chain, with `DISPUTE_GAMES` and `DISPUTE_TERMS` among the pins.

    Returns:
        The verdict.

    Raises:
        MalformedProof, ClaimMismatch, ProofRejected, PolicyRejected: which step failed and how.
        NotFinal: nothing speaks against the claim, and nothing decides for it yet.
        ChainError: the chain does not answer.
        BackendUnavailable: the bundle is signed and nothing here checks signatures.
    """
    # step 1: the scheme
    if proof.scheme != SCHEME:
        raise MalformedProof(f"scheme {proof.scheme[:80]!r} is not {SCHEME!r}")

    # step 2: one claim and its bundle
    if len(proof.claims) != 1:
        raise MalformedProof(f"a bundle asserts one claim, not {len(proof.claims)}")
    (claim,) = proof.claims
    bundle = Bundle.decode(proof.payload)

    # step 3: the bundle's claim
    if bundle.claim != claim.digest():
        raise ProofRejected("3: the claim that is asserted", _hex(claim.digest()), _hex(bundle.claim))

    # step 4: the model
    if bundle.model != claim.model:
        raise ClaimMismatch("model", _hex(bundle.model), _hex(claim.model))
    if claim.model not in expected.model:
        accepted = ", ".join(sorted(map(_hex, expected.model))) or "none"
        raise ClaimMismatch("model", accepted, _hex(claim.model))
    inputs, outputs = decode_specs(bundle.inputs), decode_specs(bundle.outputs)

    # step 5: input and output
    rows = statement.read_public(proof.public, proof.claims, inputs, outputs)

    # step 6: what is expected
    statement.expect(expected, proof.claims, rows, inputs, outputs)

    # step 7: the signature
    if bundle.signature:
        require_asserters(bundle)

    # step 8: running it again
    recomputed = environment.model is not None
    if recomputed:
        run_again(environment.model, claim, bundle, rows[0])

    # step 9: the chain
    record = None
    if environment.chain is not None and (bundle.asserted or not recomputed):
        record = read_pinned(bundle, environment)
        refuse_refuted(record, recomputed)

    # step 10: finality
    final = recomputed or (record is not None and record.standing is Standing.FINAL)
    if not final and (record is None or policy.require_final):
        raise NotFinal(None if record is None else record.closes_at, _why_open(bundle, record))

    verdict = VerifiedClaim(
        claims=proof.claims,
        backend=NAME,
        scheme=SCHEME,
        assurance="recomputed" if recomputed else "economic",
        semantics=SEMANTICS,
        security_bits=SECURITY_BITS,
        revealed=REVEALED,
        trusted=TRUSTS_RECOMPUTED if recomputed else TRUSTS,
        engine=SCHEME,
        final=final,
        remarks=_remarks(bundle, record),
    )
    # step 11: the policy
    policy.check(verdict)
    return verdict


def run_again(model: Any, claim: Claim, bundle: Bundle, row: statement.Row) -> None:
    """Run the model on the public input and compare. Returns nothing or raises.

    Args:
        model: the verifier's own.
        claim, bundle, row: of the proof, checked against each other.

    Raises:
        ClaimMismatch: the verifier holds another model.
        ProofRejected: the model gives something else; with the first element that differs.
    """
    import numpy as np

    from vml.backends.optimistic.trace import Trace

    if model.commitment != claim.model:
        raise ClaimMismatch("model", _hex(model.commitment), _hex(claim.model))
    specs = zip(model.inputs, row.inputs, strict=True)
    codes = {spec.name: np.array(values, dtype=spec.header.dtype).reshape(spec.shape) for spec, values in specs}
    trace = Trace(model.executor, codes)
    trace.claim(claim.context)  # keeps the outputs of its one run
    for spec, theirs in zip(model.outputs, row.outputs, strict=True):
        mine = trace.tensor(spec.node).reshape(-1).tolist()
        place = next((k for k, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b), None)
        if place is not None:
            index = ", ".join(map(str, np.unravel_index(place, spec.shape)))
            raise ProofRejected(f"8: the output {spec.name}[{index}], run again", mine[place], theirs[place])
    if any(bundle.trace) and bundle.trace != (committed := trace.commitment()):
        raise ProofRejected("8: the trace, run again", _hex(committed), _hex(bundle.trace))


def read_pinned(bundle: Bundle, environment: Environment) -> ChainRecord:
    """What the game says of the assertion, if the verifier accepts game and terms.

    Raises:
        ProofRejected: the bundle names another chain, a game or terms that the verifier did not pin, or none.
        ChainError: the chain does not answer.
    """
    chain = environment.chain
    assert chain is not None
    if bundle.chain_id != chain.chain_id:
        raise ProofRejected("9: the chain", chain.chain_id, bundle.chain_id or "none: it is asserted nowhere")
    games: Iterable[tuple[int, bytes]] = environment.pins.get(DISPUTE_GAMES, frozenset())
    if (bundle.chain_id, bundle.game) not in games:
        names = ", ".join(sorted(checksum_address(game) for _, game in games)) or "one that you name (--game)"
        raise ProofRejected("9: the game", names, checksum_address(bundle.game))
    terms: Iterable[bytes] = environment.pins.get(DISPUTE_TERMS, frozenset())
    if bundle.terms not in terms:
        raise ProofRejected("9: the terms", ", ".join(sorted(map(_hex, terms))) or "some (--terms)", _hex(bundle.terms))
    return read_record(chain, bundle)


def refuse_refuted(record: ChainRecord, recomputed: bool) -> None:
    """Refuse an assertion that a game decided against; of one that was never made there, where nothing else decides.

    Args:
        record: the game's word.
        recomputed: whether the verifier ran the model itself, and found the output right.

    Raises:
        ProofRejected: it was slashed, void, or never made.
    """
    if record.standing is Standing.SLASHED:
        raise ProofRejected("9: the assertion", "one that stands", "slashed: it was refuted, or not defended")
    if not recomputed and record.standing is Standing.VOID:
        raise ProofRejected("9: the assertion", "one that stands", "void: another output for the same input stood, too")
    if not recomputed and record.standing is Standing.NONE:
        raise ProofRejected("9: the assertion", "one that was made", "none: the game does not know it")


def _why_open(bundle: Bundle, record: ChainRecord | None) -> str:
    """What a verifier does about a claim that nothing decides yet."""
    again = "give the compiled folder as --model, and it is run again here"
    if not bundle.asserted:
        return f"it is asserted nowhere, so no window runs; {again}"
    if record is None:
        return f"whether it was disputed stands on chain {bundle.chain_id}: give --rpc, --game and --terms; or {again}"
    if record.open_disputes:
        return f"{record.open_disputes} disputes are open; or {again}"
    return f"it can be disputed until then, and somebody has to settle it after; or {again}"


def _remarks(bundle: Bundle, record: ChainRecord | None) -> tuple[str, ...]:
    """What else the verifier found."""
    signed = f"signed by: {checksum_address(bundle.asserter) if bundle.signature else 'nobody'}"
    if not bundle.asserted:
        return (signed, "asserted: nowhere")
    place = f"chain {bundle.chain_id}, game {checksum_address(bundle.game)}, as {_hex(bundle.id)}"
    if record is None:
        return (signed, f"asserted: on {place}, by the bundle's own word; no chain was asked")
    words = {
        Standing.NONE: "the game does not know it",
        Standing.OPEN: f"not final before unix time {record.closes_at}, {record.open_disputes} disputes are open",
        Standing.FINAL: f"final; disputes could be opened until unix time {record.closes_at}",
        Standing.VOID: "void: another output for the same input stood, too",
    }
    return (signed, f"asserted: on {place}, under terms {_hex(bundle.terms)}: {words[record.standing]}")


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
