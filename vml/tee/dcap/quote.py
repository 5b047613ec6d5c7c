"""Quotes of SGX enclaves and TDX trust domains, read strictly.

::

    header      48  version, key type, TEE type, ..., QE vendor, user data
    (version 5:  6  body type, body size)
    body            384: SGX report; 584: TD report 1.0; 648: TD report 1.5; 885: TD report 1.5, extended
    length       4  of all that follows, padding apart
    signature   64  r and s, over header and body, by the attestation key (AK)
    AK          64  a P-256 point
    (versions 4 and 5: 2 + 4  type 6 and length of the rest)
    QE report  384  names the AK
    signature   64  over the QE report, by the platform's key (PCK)
    auth data    2 + n
    type 5       2 + 4 + n  the PCK's certificate chain, PEM

Lengths have to fit exactly; only zeros may follow. Integers are little endian. Signatures can be rewritten by anybody
(s and n - s are both good, padding is free), so a quote is recognised by `Quote.evidence_id`, which leaves them out.

Source: Intel, "SGX ECDSA QuoteGenReference" and "Intel TDX DCAP: Quote Generation Library and Quote Verification
Library", quote formats; of the extended TD report `sgx_report2_body_v1_5_ex_t` in "sgx_quote_5.h".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from vml.tee.reasons import malformed
from vml.tee.verified import TdHistory

MAX_QUOTE = 1 << 17
HEADER = 48
SGX_BODY = 384
TD_BODY = 584
TD_15_BODY = 648
TD_15_EX_BODY = 885
SGX_TYPE = 0
TDX_TYPE = 0x81
ECDSA_P256 = 2
QE_REPORT_DATA = 6
PCK_CHAIN_PEM = 5
ID_TAG = b"vml/evidence/dcap/v1"

# The TEE of each version, and the size of each type of body of version 5.
VERSIONS = {3: SGX_TYPE, 4: TDX_TYPE, 5: TDX_TYPE}
BODIES = {2: TD_BODY, 3: TD_15_BODY, 4: TD_15_EX_BODY}


@dataclass(frozen=True, slots=True)
class SgxReport:
    """The report of an SGX enclave; field names as Intel's."""

    cpu_svn: bytes
    misc_select: bytes
    isv_ext_prod_id: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes

    @classmethod
    def read(cls, body: bytes) -> SgxReport:
        """Args: body: 384 bytes."""
        return cls(
            cpu_svn=body[0:16],
            misc_select=body[16:20],
            isv_ext_prod_id=body[32:48],
            attributes=body[48:64],
            mr_enclave=body[64:96],
            mr_signer=body[128:160],
            config_id=body[192:256],
            isv_prod_id=_uint(body[256:258]),
            isv_svn=_uint(body[258:260]),
            config_svn=_uint(body[260:262]),
            isv_family_id=body[304:320],
            report_data=body[320:384],
        )


@dataclass(frozen=True, slots=True)
class TdReport:
    """The report of a trust domain.

    `tee_tcb_svn2` and `mr_service_td` are None before version 1.5, `history` where the report is not extended.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn2: bytes | None
    mr_service_td: bytes | None
    history: TdHistory | None

    @classmethod
    def read(cls, body: bytes) -> TdReport:
        """Args: body: 584, 648 or 885 bytes."""
        late = len(body) >= TD_15_BODY
        return cls(
            tee_tcb_svn=body[0:16],
            mr_seam=body[16:64],
            mr_signer_seam=body[64:112],
            seam_attributes=body[112:120],
            td_attributes=body[120:128],
            xfam=body[128:136],
            mr_td=body[136:184],
            mr_config_id=body[184:232],
            mr_owner=body[232:280],
            mr_owner_config=body[280:328],
            rtmr=(body[328:376], body[376:424], body[424:472], body[472:520]),
            report_data=body[520:584],
            tee_tcb_svn2=body[584:600] if late else None,
            mr_service_td=body[600:648] if late else None,
            history=_history(body) if len(body) == TD_15_EX_BODY else None,
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote in its parts; nothing is verified.

    `signed` is what the attestation key signed: header, for version 5 type and size, and body.
    """

    version: int
    tee_type: int
    qe_vendor: bytes
    signed: bytes
    body: bytes
    signature: bytes
    attestation_key: bytes
    qe_report: bytes
    qe_signature: bytes
    auth_data: bytes
    pck_chain: bytes

    @property
    def evidence_id(self) -> bytes:
        """SHA-256 of what the quote says and who says it, free of signatures, certificates and padding."""
        return hashlib.sha256(ID_TAG + self.signed + self.attestation_key + self.qe_report).digest()


def _history(body: bytes) -> TdHistory:
    return TdHistory(vm_id=body[648], td_id=body[649:681], first_service_td=body[729:777], service_td=body[829:877])


def _uint(data: bytes) -> int:
    return int.from_bytes(data, "little")


class _Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int, name: str) -> bytes:
        if self.at + size > len(self.data):
            raise malformed("quote", f"cut off in {name}")
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int, name: str) -> int:
        return _uint(self.take(size, name))

    def end(self, name: str) -> None:
        if self.at != len(self.data):
            raise malformed("quote", f"{len(self.data) - self.at} bytes too many in {name}")


def read_quote(data: bytes) -> Quote:
    """Read an SGX quote of version 3 or a TDX quote of version 4 or 5.

    Raises:
        MalformedProof: anything that is not exactly one quote and zeros behind it.
    """
    if len(data) > MAX_QUOTE:
        raise malformed("quote", f"{len(data)} bytes, at most {MAX_QUOTE}")
    reader = _Reader(data)
    header = reader.take(HEADER, "the header")
    version, key_type, tee_type = _uint(header[0:2]), _uint(header[2:4]), _uint(header[4:8])
    # step 1: version, key type and TEE type are ones this file reads.
    if VERSIONS.get(version) != tee_type:
        raise malformed("quote", f"version {version} of TEE type {tee_type:#x}")
    if key_type != ECDSA_P256:
        raise malformed("quote", f"attestation key type {key_type}")
    # step 2: the body is of a known type and its size.
    if version == 5:
        body_type, size = reader.uint(2, "the body type"), reader.uint(4, "the body size")
        if BODIES.get(body_type) != size:
            raise malformed("quote", f"body type {body_type} of {size} bytes")
    else:
        size = SGX_BODY if tee_type == SGX_TYPE else TD_BODY
    body = reader.take(size, "the body")
    signed = data[: reader.at]
    part = _Reader(reader.take(reader.uint(4, "the length"), "the signature data"))
    # step 3: only zeros follow.
    if any(data[reader.at :]):
        raise malformed("quote", "something other than zeros follows")
    signature, attestation_key = part.take(64, "the signature"), part.take(64, "the attestation key")
    # step 4: the certification data has the one type that holds a QE report, and fills its length.
    if version > 3:
        outer, size = part.uint(2, "the certification type"), part.uint(4, "the certification length")
        if outer != QE_REPORT_DATA:
            raise malformed("quote", f"certification data of type {outer}")
        inside = _Reader(part.take(size, "the certification data"))
        part.end("the signature data")
        part = inside
    qe_report, qe_signature = part.take(SGX_BODY, "the QE report"), part.take(64, "the QE report's signature")
    auth_data = part.take(part.uint(2, "the authentication length"), "the authentication data")
    inner, size = part.uint(2, "the certificate type"), part.uint(4, "the certificate length")
    # step 5: the certificates come as PEM and end where the signature data ends.
    if inner != PCK_CHAIN_PEM:
        raise malformed("quote", f"certificate data of type {inner}")
    pck_chain = part.take(size, "the certificates")
    part.end("the signature data")
    return Quote(
        version=version,
        tee_type=tee_type,
        qe_vendor=header[12:28],
        signed=signed,
        body=body,
        signature=signature,
        attestation_key=attestation_key,
        qe_report=qe_report,
        qe_signature=qe_signature,
        auth_data=auth_data,
        pck_chain=pck_chain,
    )
