"""The policy that a simulated machine meets, for tests and examples."""

from __future__ import annotations

from collections.abc import Mapping

from vml.tee.appraisal import (
    AppraisalPolicy,
    NitroSection,
    ReferenceValues,
    SgxSection,
    SnpSection,
    TcbFloor,
    TdxSection,
)
from vml.tee.evidence import Kind
from vml.tee_sim import dcap, snp
from vml.tee_sim.measurements import complete

IMAGE = "simulated"
_NAMES = {
    Kind.SGX: ("mr_enclave", "mr_signer"),
    Kind.TDX: ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"),
    Kind.SNP: ("measurement",),
    Kind.NITRO: ("pcr0", "pcr1", "pcr2"),
}


def matching_policy(
    kind: Kind | str, measurements: Mapping[str, bytes] | None = None, event_log: bytes | None = None
) -> AppraisalPolicy:
    """The strictest policy that evidence of `simulate` with these arguments meets; it asks for a nonce.

    Raises:
        ValueError: as `simulate`.
    """
    kind = Kind(kind)
    measured, lowest = complete(kind, measurements or {}, event_log), dcap.EVALUATION_NUMBER
    images = (ReferenceValues(name=IMAGE, values={name: measured[name] for name in _NAMES[kind]}),)
    if kind == Kind.SGX:
        sgx = SgxSection(measurements=images, min_evaluation_number=lowest)
        return AppraisalPolicy(allow_simulated=True, sgx=sgx)
    if kind == Kind.TDX:
        tdx = TdxSection(measurements=images, min_evaluation_number=lowest)
        return AppraisalPolicy(allow_simulated=True, tdx=tdx)
    if kind == Kind.NITRO:
        return AppraisalPolicy(allow_simulated=True, nitro=NitroSection(measurements=images))
    floor = TcbFloor(boot_loader=snp.CURRENT.boot_loader, snp=snp.CURRENT.snp, microcode=snp.CURRENT.microcode)
    section = SnpSection(measurements=images, min_tcb={snp.PRODUCT: floor})
    return AppraisalPolicy(allow_simulated=True, snp=section)
