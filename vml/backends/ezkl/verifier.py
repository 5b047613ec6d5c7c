"""Verifies an ezkl proof, given the envelope, the pinned model identity, and nothing else of the prover's.

 1. The scheme is one of this engine's version, and states what is hidden.
 2. The envelope holds exactly one claim.
 3. The payload decodes, with nothing left over; wrapper and settings tell how to read the instances and agree
    with the scheme and with each other; there are exactly as many instances, each a canonical field element.
 4. The claim's model is the identity recomputed from verifying key, settings, set-up, visibility, wrapper and
    parameter digests.
 5. The claim's model is one the verifier accepts.
 6. The context among the outputs is the claim's, limb by limb; so is the one among public inputs.
 7. The claim's context is the one the verifier expects.
 8. The claim's input is the commitment recomputed from the instances.
 9. The input is the one the verifier expects, where it expects one.
10. The claim's output is the commitment recomputed from the instances.
11. The output is the one the verifier expects, where it expects one.
12. The envelope's public section says what the instances say, and nothing else.
13. The proof has whole words.
14. ezkl accepts proof, instances, verifying key, settings and set-up.
15. ezkl refuses the same proof without its last word: no byte of it is surplus.
16. The policy accepts the verdict.

Nothing a prover sent is trusted before step 5 has tied it to the verifier's own pin: a set-up whose secret the
prover knows has another id, hence another model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml.backends.ezkl import engine_files, srs
from vml.backends.ezkl.commitments import context_limbs, element_of, model_identity, word_of
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.process import Engine, EngineFailed
from vml.backends.ezkl.statement import (
    ENGINE_VERSION,
    SEMANTICS,
    Statement,
    felt_to_word,
    salt_lanes,
    visibility_of,
    word_to_felt,
)
from vml.backends.types import ClaimExpectation, Environment, VerifiedClaim
from vml.claim import Claim, Context
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.policy import Policy
    from vml.proof import Proof

SECURITY_BITS = 100
"""Of BN254 against the number field sieve, conservatively.

Source: Barbulescu and Duquesne, "Updating key size estimations for pairings" (2019).
"""

CONTEXT_PREIMAGE = "context_preimage"
_WORD = 32


def verify(proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment) -> VerifiedClaim:
    """Check everything, or raise.

    Args:
        proof: strictly decoded envelope.
        expected: pinned identities, context, and commitments or values where the verifier has them.
        policy: what is good enough.
        environment: limits.

    Returns:
        The verdict.

    Raises:
        MalformedProof, ClaimMismatch, ProofRejected, PolicyRejected: which step failed and how.
        BackendUnavailable: ezkl is not installed.
    """
    # step 1: the scheme
    visibility = visibility_of(proof.scheme)
    if visibility is None:
        raise MalformedProof(f"scheme {proof.scheme[:80]!r} is not one of ezkl {ENGINE_VERSION}")

    # step 2: one claim
    if len(proof.claims) != 1:
        raise MalformedProof(f"{len(proof.claims)} claims, an ezkl proof has one")
    claim = proof.claims[0]

    # step 3: the payload
    payload = Payload.from_bytes(proof.payload)
    words = payload.instances
    statement = Statement.read(payload.wrapper, payload.settings, visibility)
    if len(words) != statement.instance_count:
        raise MalformedProof(f"{len(words)} instances, the circuit has {statement.instance_count}")
    for word in words:
        element_of(word)

    # step 4: the identity
    try:
        setup_id = srs.setup_id(payload.tau_g2)
    except ValueError as error:
        raise MalformedProof(f"the set-up: {error}") from None
    vk_digest = keccak256(payload.verifying_key)
    model = model_identity(
        ENGINE_VERSION,
        vk_digest,
        keccak256(payload.settings),
        setup_id,
        str(visibility),
        keccak256(payload.wrapper),
        statement.parameter_words(words),
    )
    if claim.model != model:
        raise ClaimMismatch("model", _hex(model), _hex(claim.model))

    # step 5: the accepted identities
    if claim.model not in expected.model:
        accepted = ", ".join(sorted(_hex(identity) for identity in expected.model)) or "none"
        raise ClaimMismatch("model", accepted, _hex(claim.model))

    # step 6: the context inside
    limbs = [word_of(limb) for limb in context_limbs(claim.context)]
    for copy in (statement.output_context(words), statement.input_context(words)):
        if copy and list(copy) != limbs:
            raise ClaimMismatch("context", _hex(claim.context), "another value inside the proof")

    # step 7: the context expected
    if claim.context != expected.context:
        raise ClaimMismatch("context", _hex(expected.context), _hex(claim.context))

    # step 8: the input inside
    committed = statement.commit_input(statement.input_words(words))
    if claim.input != committed:
        raise ClaimMismatch("input", _hex(committed), _hex(claim.input))

    # step 9: the input expected
    if expected.input is not None and claim.input != expected.input:
        raise ClaimMismatch("input", _hex(expected.input), _hex(claim.input))
    if expected.public_input is not None:
        _expect_input(statement, words, expected, environment)

    # step 10: the output inside
    committed = statement.commit_output(statement.output_words(words))
    if claim.output != committed:
        raise ClaimMismatch("output", _hex(committed), _hex(claim.output))

    # step 11: the output expected
    if expected.output is not None and claim.output != expected.output:
        raise ClaimMismatch("output", _hex(expected.output), _hex(claim.output))
    if expected.public_output is not None:
        _expect_output(statement, words, expected.public_output)

    # step 12: the public section
    _check_public(proof.public, statement.public(words), claim)

    # step 13: whole words
    if not payload.proof or len(payload.proof) % _WORD:
        raise MalformedProof("the proof is not made of 32-byte words")

    # step 14: the proof
    accepted_whole, accepted_shorter = _ask_engine(payload, environment)
    if not accepted_whole:
        raise ProofRejected("14: the circuit's proof does not hold")

    # step 15: no surplus
    if accepted_shorter:
        raise MalformedProof("bytes follow the proof that nothing checks")

    verdict = _verdict(claim, proof.scheme, statement, setup_id, vk_digest, policy)
    # step 16: the policy
    policy.check(verdict)
    return verdict


def _ask_engine(payload: Payload, environment: Environment) -> tuple[bool, bool]:
    """Run ezkl in its own process; whatever hostile bytes do to it is a refusal.

    Raises:
        ProofRejected: it panicked, crashed, or took too much.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch,
            Engine(memory_limit_bytes=environment.memory_limit_bytes, time_limit_s=environment.time_limit_s) as engine,
        ):
            return engine_files.check_exact(engine, payload, Path(scratch))
    except EngineFailed as failure:
        raise ProofRejected("14: ezkl could not check the proof", "a proof", failure.kind) from failure


def _expect_input(
    statement: Statement, words: Sequence[bytes], expected: ClaimExpectation, environment: Environment
) -> None:
    """Compare the instances with an input the verifier holds.

    Raises:
        ClaimMismatch: another input was proved.
        ValueError: the verifier's own input is not of the model's form, or its salt is missing.
    """
    from vml.backends.ezkl.calibration import check_inputs, codes

    arrays = check_inputs(statement.inputs, expected.public_input or {})
    values = [
        codes(arrays[tensor.name], scale, tensor.dtype)
        for tensor, scale in zip(statement.inputs, statement.input_scales, strict=True)
    ]
    if statement.visibility.input == "public":
        known = [word_of(code) for tensor in values for code in tensor]
    else:
        if statement.visibility.input == "private":
            if expected.salt is None:
                raise ValueError("a private input is opened with the owner's salt")
            values = [v + salt_lanes(expected.salt, i) for i, v in enumerate(values)]
        known = _digests(values, environment)
    if known != list(statement.input_words(words)):
        raise ClaimMismatch("input", _hex(statement.commit_input(known)), "another input inside the proof")


def _digests(values: Sequence[Sequence[int]], environment: Environment) -> list[bytes]:
    """Poseidon digests, computed by ezkl on this machine."""
    messages = [[word_to_felt(word_of(code)) for code in tensor] for tensor in values]
    with Engine(memory_limit_bytes=environment.memory_limit_bytes, time_limit_s=environment.time_limit_s) as engine:
        return [felt_to_word(felt) for felt in engine.call("poseidon", messages=messages)]


def _expect_output(statement: Statement, words: Sequence[bytes], outputs: Mapping[str, Any]) -> None:
    """Compare the instances with outputs the verifier holds, in codes.

    Raises:
        ClaimMismatch: another output was proved.
    """
    from vml.backends.ezkl.calibration import check_inputs, codes

    arrays = check_inputs(statement.outputs, outputs)
    known = [
        word_of(code)
        for tensor, scale in zip(statement.outputs, statement.output_scales, strict=True)
        for code in codes(arrays[tensor.name], scale, tensor.dtype)
    ]
    if known != list(statement.output_words(words)):
        raise ClaimMismatch("output", _hex(statement.commit_output(known)), "another output inside the proof")


def _check_public(public: Mapping[str, Any], computed: Mapping[str, Any], claim: Claim) -> None:
    """The public section is what the instances say; a context's preimage may stand beside it.

    Raises:
        MalformedProof: a key too many or too few, a malformed preimage.
        ClaimMismatch: a value differs, or the preimage is another context's.
    """
    rest = dict(public)
    preimage = rest.pop(CONTEXT_PREIMAGE, None)
    if CONTEXT_PREIMAGE in public and Context.from_json(preimage).commitment() != claim.context:
        raise ClaimMismatch("context", _hex(claim.context), "the preimage of another context")
    if rest.keys() != computed.keys():
        raise MalformedProof(f"the public section holds {sorted(rest)}, not {sorted(computed)}")
    for name, value in computed.items():
        # Spelled out, because in Python true equals 1, and a person or another program reads it otherwise.
        if _spelled(rest[name]) != _spelled(value):
            raise ClaimMismatch(name, "what the proof's instances say", "other values in the public section")


def _spelled(value: Any) -> str:
    """A JSON value as text, telling true from 1 and 1 from 1.0.

    Raises:
        MalformedProof: no JSON value; only a proof that was made in Python can hold one.
    """
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        raise MalformedProof("the public section holds something that is no JSON") from None


def _verdict(
    claim: Claim, scheme: str, statement: Statement, setup_id: bytes, vk_digest: bytes, policy: Policy
) -> VerifiedClaim:
    """Say what was shown, what was hidden, and what it rests on."""
    hidden = []
    if statement.visibility.input == "private":
        hidden.append("input: behind a salted Poseidon digest; its shape is known")
    if statement.visibility.input == "hashed":
        hidden.append("input: behind an unsalted Poseidon digest; whoever guesses it can confirm the guess")
    if statement.visibility.model == "private":
        hidden.append("model: weights behind a salted Poseidon digest; its operators and shapes are known")
    revealed = ["output: its values are in the proof"]
    if statement.visibility.input == "public":
        revealed.append("input: its values are in the proof")
    else:
        revealed.append("input: its names, shapes and scales are in the proof, and a digest of it")
    if statement.visibility.model == "public":
        revealed.append(
            "model: the circuit (operators, shapes, scales) is in the proof; the key's commitment to the weights is "
            "not a hiding one, so a guess of them can be confirmed"
        )
    else:
        revealed.append("model: operators, shapes and the scales that tuning chose for these weights are in the proof")
    vouched = setup_id in srs.CEREMONIES or setup_id in policy.vouched_setups
    unsafe = setup_id == srs.TEST_SETUP_ID or not vouched
    if setup_id == srs.TEST_SETUP_ID:
        trust = "nobody: the test set-up's secret is published, anybody can forge this proof"
    elif setup_id in srs.CEREMONIES:
        trust = f"one honest participant of the ceremony: {srs.CEREMONIES[setup_id]}"
    elif vouched:
        trust = "the set-up that this verifier's policy accepts"
    else:
        trust = "whoever made the set-up: it is unknown to this verifier"
    return VerifiedClaim(
        claims=(claim,),
        backend="ezkl",
        scheme=scheme,
        assurance="cryptographic",
        semantics=SEMANTICS,
        security_bits=SECURITY_BITS,
        hidden=tuple(hidden),
        revealed=tuple(revealed),
        trusted=(
            f"set-up: {trust}",
            f"ezkl {ENGINE_VERSION}: its circuits and its verifier",
            "whoever pinned the model identity: it names a circuit, not a file",
        ),
        setup_id=setup_id,
        vk_digest=vk_digest,
        engine=f"ezkl {ENGINE_VERSION}",
        unsafe_setup=unsafe,
    )


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
