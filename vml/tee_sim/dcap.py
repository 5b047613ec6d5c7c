"""Simulated quotes of SGX (version 3) and TDX (versions 4 and 5) with all of their collateral.

Layouts as in `vml.tee.dcap.quote`; what Intel's services would say as in `vml.tee.dcap.collateral`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from vml.tee.anchors import SIMULATOR_FMSPC
from vml.tee.evidence import DcapCollateral
from vml.tee.verified import TDX_SEPT_VE_DISABLE, TcbStatus
from vml.tee_sim.certificates import DAY, Authority, Certificate, integer, moment, pem, revocation_list, sequence
from vml.tee_sim.faults import Fault
from vml.tee_sim.keys import derived, ec_key, point, serial, signature_p256

EVALUATION_NUMBER, STALE_NUMBER = 20, 16
ADVISORY = "INTEL-SA-00000"
"""Of the level that is out of date; Intel begins at 00001."""
PCE_SVN = 13
CURRENT_SVN, OLD_SVN, REVOKED_SVN = 5, 3, 1
SIGNER = hashlib.sha256(b"vml/tee-sim/qe signer").digest()
QE_PRODUCT = {False: 1, True: 2}
QE_SVN = 8
MODULE_SVN, MODULE_VERSION = 6, 1
SGX_FLAGS, SGX_DEBUG_FLAG = 0x05, 0x02
XFRM, XFAM = bytes([0xE7]) + bytes(7), bytes.fromhex("e702060000000000")
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
AUTH_DATA = bytes(range(32))
_OID = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1
_SGX_EXTENSION = "1.2.840.113741.1.13.1"
_LEVELS = (
    (CURRENT_SVN, TcbStatus.UP_TO_DATE),
    (OLD_SVN, TcbStatus.OUT_OF_DATE),
    (REVOKED_SVN, TcbStatus.REVOKED),
)


@dataclass(frozen=True, slots=True)
class Platform:
    """One simulated Intel platform on one day; equal ones share certificates and collateral.

    Args:
        seed: whose keys.
        tdx: TDX, or SGX.
        day: unix time of a day's first second.
        fault: one of those that are about the platform, or None.
    """

    seed: str
    tdx: bool
    day: int
    fault: Fault | None


def _authority(seed: str, name: str) -> Authority:
    return Authority(seed, name, ec.SECP256R1)


@lru_cache(maxsize=64)
def certificate(seed: str, name: str, svn: int = CURRENT_SVN) -> bytes:
    """One of the four certificates, in DER: "SGX root", "SGX PCK CA", "SGX PCK", "SGX TCB signing"."""
    root, ca = _authority(seed, "SGX root"), _authority(seed, "SGX PCK CA")
    extensions = ((_SGX_EXTENSION, _sgx_extension(ppid(seed), svn)),)
    made = {
        "SGX root": Certificate(root, root, authority=1),
        "SGX PCK CA": Certificate(ca, root, authority=0),
        "SGX TCB signing": Certificate(_authority(seed, "SGX TCB signing"), root),
        "SGX PCK": Certificate(_authority(seed, "SGX PCK"), ca, extensions=extensions),
    }
    return made[name].der()


def ppid(seed: str) -> bytes:
    """The platform's id, 16 bytes."""
    return derived(seed, "ppid", 16)


def _sgx_extension(platform: bytes, svn: int) -> bytes:
    def pair(name: bytes, value: bytes) -> bytes:
        return sequence(sequence(_OID + name, tag=0x06), value)

    def octets(value: bytes) -> bytes:
        return sequence(value, tag=0x04)

    versions = [pair(bytes([2, index]), integer(svn)) for index in range(1, 17)]
    versions += [pair(b"\x02\x11", integer(PCE_SVN)), pair(b"\x02\x12", octets(bytes([svn] * 16)))]
    return sequence(
        pair(b"\x01", octets(platform)),
        pair(b"\x02", sequence(*versions)),
        pair(b"\x03", octets(bytes(2))),
        pair(b"\x04", octets(SIMULATOR_FMSPC)),
        pair(b"\x05", sequence(b"\x00", tag=0x0A)),
    )


def _level(tcb: dict[str, Any], status: TcbStatus) -> dict[str, Any]:
    made: dict[str, Any] = {"tcb": tcb, "tcbDate": "2025-05-14T00:00:00Z", "tcbStatus": str(status)}
    return made if status == TcbStatus.UP_TO_DATE else made | {"advisoryIDs": [ADVISORY]}


def _components(svn: int) -> list[dict[str, int]]:
    return [{"svn": svn}] * 16


def _signed_json(seed: str, item: dict[str, Any]) -> tuple[bytes, bytes]:
    """The bytes of an object and their signature."""
    data = json.dumps(item, separators=(",", ":")).encode()
    return data, signature_p256(ec_key(seed, "SGX TCB signing"), data)


def _times(platform: Platform) -> tuple[int, int]:
    """First and last second of the collateral."""
    return (platform.day - 31 * DAY, platform.day - 1) if platform.fault == Fault.EXPIRED else _fresh(platform.day)


def _fresh(day: int) -> tuple[int, int]:
    return day - DAY, day + 29 * DAY - 1


def _issued(platform: Platform) -> dict[str, Any]:
    first, last = (moment(unix).strftime("%Y-%m-%dT%H:%M:%SZ") for unix in _times(platform))
    stale = platform.fault == Fault.STALE_EVALUATION
    return {
        "issueDate": first,
        "nextUpdate": last,
        "tcbEvaluationDataNumber": STALE_NUMBER if stale else EVALUATION_NUMBER,
    }


def _tcb_info(platform: Platform) -> dict[str, Any]:
    levels = []
    for svn, status in _LEVELS:
        tcb: dict[str, Any] = {"sgxtcbcomponents": _components(svn), "pcesvn": PCE_SVN}
        levels.append(_level(tcb | ({"tdxtcbcomponents": _components(0)} if platform.tdx else {}), status))
    item: dict[str, Any] = {
        "id": "TDX" if platform.tdx else "SGX",
        "version": 3,
        **_issued(platform),
        "fmspc": SIMULATOR_FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
    }
    if platform.tdx:
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        named = {"id": f"TDX_{MODULE_VERSION:02d}", **module}
        named["tcbLevels"] = [_level({"isvsvn": MODULE_SVN}, TcbStatus.UP_TO_DATE)]  # type: ignore[assignment]
        item |= {"tdxModule": module, "tdxModuleIdentities": [named]}
    return item | {"tcbLevels": levels}


def _qe_identity(platform: Platform) -> dict[str, Any]:
    return {
        "id": "TD_QE" if platform.tdx else "QE",
        "version": 2,
        **_issued(platform),
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": SIGNER.hex().upper(),
        "isvprodid": QE_PRODUCT[platform.tdx],
        "tcbLevels": [_level({"isvsvn": QE_SVN}, TcbStatus.UP_TO_DATE)],
    }


@lru_cache(maxsize=64)
def collateral(platform: Platform) -> DcapCollateral:
    """What Intel's services would say about the platform."""
    seed, fault = platform.seed, platform.fault
    root, ca = certificate(seed, "SGX root"), certificate(seed, "SGX PCK CA")
    signer = pem(certificate(seed, "SGX TCB signing"), root)
    info, info_signature = _signed_json(seed, _tcb_info(platform))
    identity, identity_signature = _signed_json(seed, _qe_identity(platform))
    revoked = (serial(seed, "SGX PCK"),) if fault == Fault.REVOKED else ()
    lists = [
        b"" if fault == Fault.NO_CRL else revocation_list(_authority(seed, name), _times(platform), named)
        for name, named in (("SGX PCK CA", revoked), ("SGX root", ()))
    ]
    return DcapCollateral(
        tcb_info=info,
        tcb_info_signature=info_signature,
        tcb_info_chain=signer,
        qe_identity=identity,
        qe_identity_signature=identity_signature,
        qe_identity_chain=signer,
        pck_crl=lists[0],
        pck_crl_chain=pem(ca, root),
        root_crl=lists[1],
    )


@lru_cache(maxsize=64)
def _certification(seed: str, tdx: bool, svn: int, bad_key: bool) -> bytes:
    """Everything behind the quote's signature: the attestation key, and what certifies it."""
    named, used = ec_key(seed, "SGX AK"), ec_key(seed, "SGX other AK" if bad_key else "SGX AK")
    report = bytearray(384)
    report[0:16] = bytes([svn] * 16)
    report[48:64] = bytes([0x15]) + bytes(7) + XFRM
    report[64:96] = hashlib.sha256(b"vml/tee-sim/qe").digest()
    report[128:160] = SIGNER
    report[256:260] = _u16(QE_PRODUCT[tdx]) + _u16(QE_SVN)
    report[320:352] = hashlib.sha256(point(named) + AUTH_DATA).digest()
    chain = pem(certificate(seed, "SGX PCK", svn), certificate(seed, "SGX PCK CA"), certificate(seed, "SGX root"))
    inner = bytes(report) + signature_p256(ec_key(seed, "SGX PCK"), bytes(report))
    inner += _u16(len(AUTH_DATA)) + AUTH_DATA + _u16(5) + _u32(len(chain)) + chain
    return point(used) + (_u16(6) + _u32(len(inner)) + inner if tdx else inner)


def quote(seed: str, version: int, report_data: bytes, measured: Mapping[str, bytes], fault: Fault | None) -> bytes:
    """A quote.

    Args:
        seed: whose keys.
        version: 3 for SGX, 4 or 5 for TDX; 5 carries the TD report 1.5.
        report_data: 64 bytes.
        measured: all measurements of the kind.
        fault: what is wrong with it, or None.
    """
    tdx, svn = version > 3, OLD_SVN if fault == Fault.OUT_OF_DATE else CURRENT_SVN
    header = _u16(version) + _u16(2) + _u32(0x81 if tdx else 0)
    header += (bytes(4) if tdx else _u16(QE_SVN) + _u16(PCE_SVN)) + VENDOR + derived(seed, "user data", 20)
    body = _td_report(report_data, measured, fault) if tdx else _sgx_report(report_data, measured, svn, fault)
    if version == 5:
        body += _tee_tcb_svn() + bytes(48)
        body = _u16(3) + _u32(len(body)) + body
    signed, bad = header + body, fault == Fault.BAD_KEY
    data = signature_p256(ec_key(seed, "SGX other AK" if bad else "SGX AK"), signed)
    data += _certification(seed, tdx, svn, bad)
    return signed + _u32(len(data)) + data


def _tee_tcb_svn() -> bytes:
    return bytes([MODULE_SVN, MODULE_VERSION]) + bytes([CURRENT_SVN]) * 14


def _sgx_report(report_data: bytes, measured: Mapping[str, bytes], svn: int, fault: Fault | None) -> bytes:
    body = bytearray(384)
    body[0:16] = bytes([svn] * 16)
    flags = SGX_FLAGS | (SGX_DEBUG_FLAG if fault == Fault.DEBUG else 0)
    body[48:64] = bytes([flags]) + bytes(7) + XFRM
    body[64:96], body[128:160] = measured["mr_enclave"], measured["mr_signer"]
    body[256:260] = _u16(1) + _u16(1)
    body[320:384] = report_data
    return bytes(body)


def _td_report(report_data: bytes, measured: Mapping[str, bytes], fault: Fault | None) -> bytes:
    attributes = TDX_SEPT_VE_DISABLE | (1 if fault == Fault.DEBUG else 0)
    parts = [_tee_tcb_svn(), measured["mr_seam"], bytes(48), bytes(8), attributes.to_bytes(8, "little"), XFAM]
    names = ("mr_td", "mr_config_id", "mr_owner", "mr_owner_config", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
    return b"".join([*parts, *(measured[name] for name in names), report_data])


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
