"""What can be made wrong with simulated evidence, and the code that each has to be refused with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from vml.tee.evidence import Kind
from vml.tee.reasons import Reason


class Fault(StrEnum):
    """One thing that is wrong."""

    DEBUG = "debug"
    OUT_OF_DATE = "outofdate"
    REVOKED = "revoked"
    EXPIRED = "expired"
    WRONG_NONCE = "wrong-nonce"
    BAD_KEY = "bad-key"
    NO_CRL = "no-crl"
    WRONG_MEASUREMENT = "wrong-measurement"
    STALE_EVALUATION = "stale-evaluation"
    TRAILING_BYTES = "trailing-bytes"


_EVERY = {
    Fault.DEBUG: Reason.DEBUG_ENABLED,
    Fault.WRONG_NONCE: Reason.NONCE_MISMATCH,
    Fault.WRONG_MEASUREMENT: Reason.MEASUREMENT_MISMATCH,
    Fault.TRAILING_BYTES: Reason.MALFORMED,
}
_DCAP = {
    **_EVERY,
    Fault.OUT_OF_DATE: Reason.TCB_STATUS_REFUSED,
    Fault.REVOKED: Reason.CERTIFICATE_REVOKED,
    Fault.EXPIRED: Reason.COLLATERAL_EXPIRED,
    Fault.BAD_KEY: Reason.AK_BINDING,
    Fault.NO_CRL: Reason.CRL_INVALID,
    Fault.STALE_EVALUATION: Reason.EVALUATION_NUMBER_TOO_LOW,
}

EXPECTED: Mapping[Kind, Mapping[Fault, Reason]] = {
    Kind.SGX: _DCAP,
    Kind.TDX: _DCAP,
    Kind.SNP: {
        **_EVERY,
        Fault.OUT_OF_DATE: Reason.TCB_TOO_OLD,
        Fault.REVOKED: Reason.CERTIFICATE_REVOKED,
        Fault.EXPIRED: Reason.VCEK_EXPIRED,
        Fault.BAD_KEY: Reason.REPORT_SIGNATURE,
        Fault.NO_CRL: Reason.CRL_INVALID,
    },
    Kind.NITRO: {**_EVERY, Fault.EXPIRED: Reason.CERTIFICATE_EXPIRED, Fault.BAD_KEY: Reason.COSE_SIGNATURE},
}
"""The faults each kind can have. Nitro has no lists, no TCB and no evaluation number."""
