"""Signed runs on the command line: who signs, what a verifier accepts, what a proof says of its key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vml.cli.arguments import read_moment
from vml.cli.output import hexed

if TYPE_CHECKING:
    from vml.backends.types import Attesting
    from vml.proof import Proof
    from vml.tee.anchors import TrustAnchors

DEFAULT_SEED = "vml"


def read_attesting(
    attester: str | None, simulate: str | None, nonce: str | None, seed: str, backend: str, engine: str | None = None
) -> Attesting | None:
    """Who runs the model and signs, from `--attester`, `--simulate`, `--tee-nonce`, `--seed` and `--engine`.

    Args:
        attester, simulate: one of the two for the backend tee, neither for others.
        nonce: 0x and 64 hex digits.
        seed: of the simulator.
        backend: the one that was asked for.
        engine: what runs the model inside; None: exact.

    Raises:
        ValueError: some of this without --backend tee, neither of the first two with it, or both; a bad nonce.
    """
    from vml.backends.types import Attesting
    from vml.claim import parse_bytes32

    if backend != "tee":
        given = {"--attester": attester, "--simulate": simulate, "--tee-nonce": nonce, "--engine": engine}
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is for --backend tee")
        return None
    if (attester is None) == (simulate is None):
        raise ValueError("--backend tee takes --attester URL, or --simulate KIND for evidence that shows nothing")
    if seed != DEFAULT_SEED and simulate is None:
        raise ValueError("--seed names a simulator's keys: it needs --simulate")
    asked = None if nonce is None else parse_bytes32(nonce)
    return Attesting(attester, simulate, asked, seed=seed, at=int(time.time()), engine=engine or "exact")


def read_pins(
    policies: list[str] | None,
    nonce: str | None,
    nonce_sent_at: str | None,
    min_epoch: int,
    allow_simulated: bool,
    seed: str,
) -> dict[str, Any]:
    """What a verifier accepts, from the options `--tee-…`, `--allow-simulated` and `--seed`.

    Raises:
        ValueError, OSError: as `vml.api.tee_pins`; a seed without --allow-simulated; no time.
        BackendUnavailable: simulated evidence takes the extra ``sim``.
    """
    from vml import api
    from vml.backends.types import ANY_NONCE
    from vml.claim import parse_bytes32

    sent = nonce if nonce in (None, ANY_NONCE) else parse_bytes32(nonce)
    sent_at = None if nonce_sent_at is None else read_moment(nonce_sent_at, "--tee-nonce-sent-at")
    return api.tee_pins(
        policies or (),
        anchors=_anchors(allow_simulated, seed),
        nonce=sent,
        nonce_sent_at=sent_at,
        min_epoch=min_epoch,
    )


def _anchors(allow_simulated: bool, seed: str) -> TrustAnchors | None:
    """The roots of a simulator, too, where they were asked for."""
    if not allow_simulated:
        if seed != DEFAULT_SEED:
            raise ValueError("--seed names a simulator's keys: it needs --allow-simulated")
        return None
    from vml.errors import BackendUnavailable

    try:
        from vml import tee_sim
    except ImportError as error:
        raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[sim]'") from error
    return tee_sim.anchors(seed)


def describe(proof: Proof) -> dict[str, Any]:
    """What a signed run says of itself; nothing for other proofs.

    Raises:
        MalformedProof: the payload is no signed run.
    """
    if proof.backend != "tee":
        return {}
    from vml import canonical
    from vml.backends.tee.engines import engine_of
    from vml.backends.tee.payload import SignedRun
    from vml.tee.files import read_json

    engine = engine_of(proof.scheme)
    run = SignedRun.decode(proof.payload, engine.described)
    engine.lines(run.description)
    certificate, description = run.certificate, run.description
    runtime = canonical.decode(description, max_bytes=len(description)) if description else None
    return {
        "engine": engine.name,
        "semantics": engine.semantics,
        **({} if runtime is None else {"runtime": runtime, "onnx_sha256": run.source.hex()}),
        "evidence": str(read_json(run.evidence).kind),
        "evidence_bytes": len(run.evidence),
        "gpus": len(run.gpus),
        "appraisal_policy": hexed(certificate.policy_id),
        "key_id": hexed(certificate.key_id),
        "algorithm": certificate.algorithm.name.lower(),
        "epoch": certificate.epoch,
        "not_after": certificate.not_after,
        "nonce": hexed(run.nonce),
        "sequence": str(run.sequence),
        "issued_at": run.issued_at,
    }
