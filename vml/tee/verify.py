"""One entrance for every kind of evidence: is it genuine?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec

from vml.errors import BackendUnavailable
from vml.tee.anchors import TrustAnchors
from vml.tee.evidence import Evidence, Kind
from vml.tee.verified import Verified

MAX_TIME = 1 << 40
"""Unix seconds; far beyond every certificate's last day."""


def _dcap(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    from vml.tee.dcap.verify import verify_quote

    return verify_quote(evidence, anchors, at)


def _snp(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    from vml.tee.snp.verify import verify_report

    return verify_report(evidence, anchors, at)


def _nitro(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    from vml.tee.nitro.verify import verify_document

    return verify_document(evidence, anchors, at)


def _azure(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    from vml.tee.azure.verify import verify_vtpm

    return verify_vtpm(evidence, anchors, at)


def _nvidia(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    from vml.tee.nvidia.verify import verify_gpu_report

    return verify_gpu_report(evidence, anchors, at)


VERIFIERS: Mapping[Kind, Callable[[Evidence, TrustAnchors, int], Verified]] = {
    Kind.SGX: _dcap,
    Kind.TDX: _dcap,
    Kind.SNP: _snp,
    Kind.NITRO: _nitro,
    Kind.AZURE: _azure,
    Kind.NVIDIA: _nvidia,
}


@cache
def _installed() -> bool:
    return all(find_spec(package) is not None for package in ("cryptography", "cbor2"))


def verify_evidence(evidence: Evidence, anchors: TrustAnchors, at: int) -> Verified:
    """What genuine evidence says, typed. Whether that is acceptable is another question: `vml.tee.appraise`.

    Args:
        evidence: as it came, from anybody.
        anchors: whom to trust; from local configuration only.
        at: unix seconds for which to verify; nothing reads a clock.

    Raises:
        MalformedProof: bytes that are not one well-formed piece of evidence.
        EvidenceRejected: not genuine at this time, with one code of `vml.tee.reasons.Reason`. Nothing else is raised
            for hostile bytes.
        BackendUnavailable: the extra ``tee`` is not installed.
        ValueError: `at` is no unix time.
    """
    if not 0 <= at < MAX_TIME:
        raise ValueError(f"{at} is no unix time in seconds")
    if not _installed():
        raise BackendUnavailable("checking evidence needs the extra tee: pip install 'vml[tee]'")
    return VERIFIERS[evidence.kind](evidence, anchors, at)
