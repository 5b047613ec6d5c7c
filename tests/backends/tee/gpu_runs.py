"""Signed runs beside GPUs, of either engine, honest and forged, under roots of the simulator and of the tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tests.backends.tee import float_runs, signed_runs
from tests.backends.tee.signed_runs import AT, CONTEXT, INPUTS, NONCE, SEED, altered, attesting, decoded
from tests.tee import forge_nvidia
from tests.tee.forge_nvidia import GpuForgery
from vml.backends.tee.inside import Attestation, ReceiptKey, naming_gpus, run
from vml.backends.tee.simulated import simulated_key
from vml.backends.types import TEE_ANCHORS, TEE_POLICIES, VerifiedClaim
from vml.proof import Proof
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy, GpuFirmware, NvidiaSection
from vml.tee.evidence import Evidence
from vml.tee.files import write_json
from vml.tee.gpus import gpu_nonce
from vml.tee_sim import anchors, matching_policy, simulate

ENGINES = ("exact", "float")
ROOTS = TrustAnchors([*anchors(SEED).roots, *forge_nvidia.ANCHORS.roots])
OTHER_SERIAL = "41ffeeb20009e0be50"


def policy(**change: Any) -> AppraisalPolicy:
    """Takes the simulated processor and the GPUs of the tests."""
    pair = GpuFirmware(driver=forge_nvidia.DRIVER, vbios=forge_nvidia.VBIOS)
    section = NvidiaSection(firmware=(pair,))
    return matching_policy("tdx").model_copy(update={"nvidia": section, **change})


def key(engine: str, rules: AppraisalPolicy, **change: Any) -> ReceiptKey:
    model = signed_runs.model().commitment if engine == "exact" else float_runs.model_id()
    made, _ = simulated_key(model, attesting(), NONCE)
    return ReceiptKey(made._key, replace(made.certificate, policy_id=rules.policy_id, **change), rules)


def answer(forgery: GpuForgery | None = None, nonce: bytes = NONCE) -> Evidence:
    """A GPU's evidence for the simulated key."""
    challenge = gpu_nonce(key("exact", policy()).certificate.public_key, nonce)
    return replace(forgery or GpuForgery(), nonce=challenge).evidence()


def proved(
    engine: str = "exact",
    gpus: tuple[Evidence, ...] | None = None,
    rules: AppraisalPolicy | None = None,
    named: tuple[Evidence, ...] | None = None,
    **certificate: Any,
) -> Proof:
    """A run by a key whose certificate names the GPUs of `named`, with the evidence of `gpus`."""
    shown = (answer(),) if gpus is None else gpus
    made = key(engine, rules or policy(), **certificate)
    attested = naming_gpus(made.certificate, shown if named is None else named)
    evidence = simulate("tdx", report_data=attested.digest() + NONCE, seed=SEED, at=AT)
    inputs: Any = signed_runs.model().quantize(INPUTS) if engine == "exact" else INPUTS
    model: Any = signed_runs.model() if engine == "exact" else float_runs.loaded()
    proof = run(model, made, Attestation(NONCE, evidence, shown), inputs, CONTEXT, AT)
    if named is None:
        return proof
    return replace(proof, payload=replace(decoded(proof), certificate=attested).encode())


@cache
def honest(engine: str = "exact") -> Proof:
    return proved(engine)


def showing(proof: Proof, *gpus: Evidence | bytes) -> Proof:
    """The same run with other evidence of GPUs; the certificate says what it said."""
    return altered(proof, gpus=tuple(gpu if isinstance(gpu, bytes) else write_json(gpu) for gpu in gpus))


def stripped(proof: Proof) -> Proof:
    """Without a word of GPUs."""
    found = decoded(proof)
    return replace(proof, payload=replace(found, certificate=replace(found.certificate, gpus=None), gpus=()).encode())


def check(proof: Proof, rules: AppraisalPolicy | None = None, **options: Any) -> VerifiedClaim:
    """Verify as a friend of simulator and tests does."""
    held = signed_runs.pins(**{TEE_POLICIES: (rules or policy(),), TEE_ANCHORS: ROOTS})
    models = frozenset({signed_runs.model().commitment, float_runs.model_id()})
    return signed_runs.check(proof, **{"held": held, "model": models, **options})
