"""GPUs beside a key: evidence in the proof, appraised, and bound both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.tee import signed_runs
from tests.backends.tee.gpu_runs import (
    ENGINES,
    OTHER_SERIAL,
    ROOTS,
    answer,
    check,
    honest,
    key,
    policy,
    proved,
    showing,
    stripped,
)
from tests.backends.tee.signed_runs import AT, NONCE, decoded
from tests.tee import forge_nvidia
from tests.tee.forge_nvidia import GpuForgery
from vml.backends.tee.inside import naming_gpus
from vml.backends.types import TEE_ANCHORS, TEE_NONCE, TEE_NONCE_SENT_AT, TEE_POLICIES
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee.appraisal import GpuFirmware, NvidiaSection
from vml.tee.files import write_json
from vml.tee.reasons import Reason
from vml.tee_sim import anchors, matching_policy, simulate

OTHER = GpuForgery(serial=OTHER_SERIAL, opaque=(*forge_nvidia.OPAQUE, (98, b"another answer")))


def refused(code: Reason, make: Callable[[], object]) -> None:
    with pytest.raises(EvidenceRejected) as caught:
        make()
    assert caught.value.reason == code, caught.value


@pytest.mark.parametrize("engine", ENGINES)
def test_honest(engine: str) -> None:
    verdict = check(honest(engine))
    (line,) = (line for line in verdict.remarks if line.startswith("gpu: "))
    serial, evidence = bytes.fromhex(forge_nvidia.SERIAL), naming_gpus(decoded(honest()).certificate, ())
    assert f"GH100, driver {forge_nvidia.DRIVER}, VBIOS {forge_nvidia.VBIOS}, 0x{serial.hex()}" in line
    assert evidence.gpus is not None
    assert verdict.simulated  # the processor's evidence is
    assert verdict.final


def test_two_gpus_in_one_order() -> None:
    """Whoever attests may list them in any order; a payload has them in one."""
    first, second = answer(), answer(OTHER)
    made, again = proved(gpus=(first, second)), proved(gpus=(second, first))
    assert decoded(made).gpus == decoded(again).gpus
    assert sum(line.startswith("gpu: ") for line in check(made).remarks) == 2
    turned = replace(decoded(made), gpus=decoded(made).gpus[::-1])
    refused(Reason.GPU_BINDING, lambda: check(replace(made, payload=turned.encode())))


@pytest.mark.parametrize("engine", ENGINES)
def test_evidence_that_is_left_out(engine: str) -> None:
    """A certificate that names GPUs has no encoding without them; without the name it is another certificate."""
    with pytest.raises(ValueError, match="names GPUs exactly where"):
        showing(honest(engine))
    refused(Reason.KEY_BINDING, lambda: check(stripped(honest(engine))))


def test_evidence_that_nobody_named() -> None:
    run = decoded(signed_runs.honest())
    with pytest.raises(ValueError, match="names GPUs exactly where"):
        replace(run, gpus=(write_json(answer()),))
    # Named by whoever shows it: the processor attested no such certificate.
    forged = replace(run, certificate=naming_gpus(run.certificate, [answer()]), gpus=(write_json(answer()),))
    held = signed_runs.pins(**{TEE_ANCHORS: ROOTS, TEE_POLICIES: (matching_policy("tdx"),)})
    refused(
        Reason.KIND_NOT_ALLOWED,
        lambda: signed_runs.check(replace(signed_runs.honest(), payload=forged.encode()), held=held),
    )
    certified = replace(decoded(honest()).certificate, gpus=None)
    plain = proved(gpus=())
    named = replace(decoded(plain), certificate=naming_gpus(certified, [answer()]), gpus=(write_json(answer()),))
    assert check(plain).final
    refused(Reason.KEY_BINDING, lambda: check(replace(plain, payload=named.encode())))


def test_other_gpus_than_the_certificate_names() -> None:
    both = (answer(), answer(OTHER))
    refused(Reason.GPU_BINDING, lambda: check(showing(honest(), answer(OTHER))))
    refused(Reason.GPU_BINDING, lambda: check(showing(honest(), *both)))
    refused(Reason.GPU_BINDING, lambda: check(showing(honest(), answer(), answer())))
    refused(Reason.GPU_BINDING, lambda: check(proved(gpus=(answer(),), named=both)))
    assert check(proved(gpus=both, named=both[::-1])).final


def test_gpus_that_answered_another_nonce_or_key() -> None:
    for forgery in (
        answer(nonce=b"\1" * 32),
        GpuForgery(nonce=bytes(32)).evidence(),
        GpuForgery(nonce=NONCE).evidence(),
    ):
        refused(Reason.NONCE_MISMATCH, lambda forgery=forgery: check(proved(gpus=(forgery,))))


def test_a_nonce_that_nobody_asked_for_still_binds() -> None:
    rules = policy(require_nonce=False)
    held = signed_runs.pins(**{TEE_POLICIES: (rules,), TEE_ANCHORS: ROOTS, TEE_NONCE: None})
    assert check(proved(rules=rules), held=held).final
    replayed = proved(gpus=(answer(nonce=b"\1" * 32),), rules=rules)
    refused(Reason.NONCE_MISMATCH, lambda: check(replayed, held=held))


def test_gpus_are_genuine_under_the_verifiers_roots() -> None:
    held = signed_runs.pins(**{TEE_POLICIES: (policy(),), TEE_ANCHORS: anchors(signed_runs.SEED)})
    refused(Reason.UNTRUSTED_ROOT, lambda: check(honest(), held=held))
    forged = answer(GpuForgery(signer="other root"))
    with pytest.raises(EvidenceRejected, match="SIGNATURE"):
        check(proved(gpus=(forged,)))


@pytest.mark.parametrize(
    ("section", "code"),
    [
        (None, Reason.KIND_NOT_ALLOWED),
        (NvidiaSection(), Reason.POLICY_INCOMPLETE),
        (NvidiaSection(firmware=(GpuFirmware(driver="1", vbios="2"),)), Reason.MEASUREMENT_MISMATCH),
        (
            NvidiaSection(
                firmware=(GpuFirmware(driver=forge_nvidia.DRIVER, vbios=forge_nvidia.VBIOS),), platform_ids=(b"\1",)
            ),
            Reason.PLATFORM_NOT_ALLOWED,
        ),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_policy_says_which_gpus(engine: str, section: Any, code: Reason) -> None:
    rules = policy(nvidia=section)
    refused(code, lambda: check(proved(engine, rules=rules), rules))


def test_every_gpu_is_appraised() -> None:
    odd = replace(OTHER, blocks={**forge_nvidia.BLOCKS, 3: bytes(48)})
    refused(Reason.RIM_MISMATCH, lambda: check(proved(gpus=(answer(), answer(odd)))))
    missing = replace(answer(OTHER), collateral=OTHER.bare().collateral)
    refused(Reason.RIM_MISSING, lambda: check(proved(gpus=(answer(), missing))))


def test_the_age_of_gpus() -> None:
    rules = policy(max_age_s=60)
    made = proved(rules=rules)
    held = signed_runs.pins(**{TEE_POLICIES: (rules,), TEE_ANCHORS: ROOTS, TEE_NONCE_SENT_AT: AT - 60})
    assert check(made, held=held).final


def test_a_key_that_outlives_a_gpus_evidence() -> None:
    end = key("exact", policy()).certificate.not_after
    short = GpuForgery(valid={"key": (AT - 100, AT + 1000)})
    refused(Reason.KEY_OUTLIVES_EVIDENCE, lambda: check(proved(gpus=(answer(short),))))
    assert check(proved(gpus=(answer(short),), not_after=AT + 1000)).final
    assert end > AT + 1000


def test_evidence_of_something_else_is_no_gpu() -> None:
    processor = simulate("tdx", report_data=bytes(64), seed=signed_runs.SEED, at=AT)
    for data in (write_json(processor), b"", b"{}"):
        with pytest.raises(MalformedProof):
            check(showing(honest(), data))


def test_a_processors_place_is_not_taken_by_a_gpu() -> None:
    with pytest.raises(EvidenceRejected):
        check(signed_runs.altered(honest(), evidence=write_json(answer())))


def test_trust_in_genuine_evidence_names_both_makers() -> None:
    from vml.backends.tee.engines import FLOAT
    from vml.backends.tee.verifier import _trusted
    from vml.tee.verify import verify_evidence

    gpu = verify_evidence(answer(), ROOTS, AT)
    assert not gpu.simulated
    words = "\n".join(_trusted(gpu, [gpu], FLOAT))  # type: ignore[list-item]
    assert "NVIDIA: its GPUs" in words
    assert "that the GPUs are those of this machine" in words
    assert "onnxruntime" in words
