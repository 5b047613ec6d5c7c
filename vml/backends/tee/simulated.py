"""A key attested by a machine that does not exist (`vml.tee_sim`), where the user asked for one in so many words."""

from __future__ import annotations

from vml.backends.tee.inside import Attestation, ReceiptKey
from vml.backends.types import Attesting
from vml.errors import BackendUnavailable
from vml.tee.binding import Algorithm, KeyCertificate, public_key_of
from vml.tee.evidence import Evidence, Kind
from vml.tee.verify import verify_evidence

ENDLESS = (1 << 40) - 1
"""Last second of a key under evidence that nothing ends."""


def simulated_key(model: bytes, attesting: Attesting, nonce: bytes) -> tuple[ReceiptKey, Attestation]:
    """A key for one model, and evidence under a simulator's root.

    Args:
        model: 32-byte identity of the model that it signs for.
        attesting: kind, seed, time and epoch; the time is required.
        nonce: 32 bytes that the evidence answers. Another nonce gives another key.

    Returns:
        The key ends when its evidence does, and its policy is the one that the evidence meets.

    Raises:
        ValueError: no such kind, or no time.
        BackendUnavailable: the extra ``sim`` is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec

        from vml import tee_sim
        from vml.tee_sim.keys import ec_key
    except ImportError as error:
        raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[sim]'") from error
    if attesting.simulate is None or attesting.at is None:
        raise ValueError("a simulator needs a kind of evidence, and the time of its clock")
    if attesting.simulate not in tee_sim.KINDS:
        raise ValueError(f"no simulator for the kind {attesting.simulate!r}, only {', '.join(tee_sim.KINDS)}")
    kind, at, seed = Kind(attesting.simulate), attesting.at, attesting.seed
    key = ec_key(seed, f"receipts {nonce.hex()}", ec.SECP256K1)
    public_key, policy = public_key_of(key), tee_sim.matching_policy(kind)

    def evidence(digest: bytes) -> Evidence:
        given = public_key if kind == Kind.NITRO else None
        return tee_sim.simulate(kind, report_data=digest + nonce, seed=seed, at=at, public_key=given)

    # When the evidence ends stands in the certificate that it carries, and depends on the time alone.
    end = verify_evidence(evidence(bytes(32)), tee_sim.anchors(seed), at).not_after
    certificate = KeyCertificate(
        algorithm=Algorithm.SECP256K1,
        public_key=public_key,
        model=model,
        policy_id=policy.policy_id,
        epoch=attesting.epoch,
        not_after=ENDLESS if end is None else end,
    )
    return ReceiptKey(key, certificate, policy), Attestation(nonce, evidence(certificate.digest()))
