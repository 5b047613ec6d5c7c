"""How current a platform, its quoting enclave and its TDX module are.

Levels come newest first. The first one that asks for no more than what is there counts: for a platform every component
of the security versions and the version of the PCE, for an enclave or module its one version. The overall status takes
the worst of the three: out of date if any is, and the needs for configuration and software hardening add up.

Source: Intel, TCB level selection in the documentation of the Provisioning Certification Service; the Quote
Verification Library's TCB level check and status convergence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vml.tee.dcap.collateral import EnclaveIdentity, Level, ModuleIdentity, TcbInfo
from vml.tee.dcap.pck import PckPlatform
from vml.tee.dcap.quote import SgxReport, TdReport
from vml.tee.reasons import Reason, rejected
from vml.tee.verified import TcbStatus


@dataclass(frozen=True, slots=True)
class _Needs:
    """A status that a level can have, in its parts."""

    out_of_date: bool
    configuration: bool
    hardening: bool


_PARTS = {
    TcbStatus.UP_TO_DATE: _Needs(False, False, False),
    TcbStatus.SW_HARDENING_NEEDED: _Needs(False, False, True),
    TcbStatus.CONFIGURATION_NEEDED: _Needs(False, True, False),
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: _Needs(False, True, True),
    TcbStatus.OUT_OF_DATE: _Needs(True, False, False),
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: _Needs(True, True, False),
}


def converge(statuses: Iterable[TcbStatus]) -> TcbStatus:
    """The status of several parts together. What is out of date needs more than hardening, which is not said then."""
    listed = set(statuses)
    if TcbStatus.REVOKED in listed:
        return TcbStatus.REVOKED
    parts = [_PARTS[status] for status in listed]
    out_of_date = any(part.out_of_date for part in parts)
    needs = _Needs(
        out_of_date,
        any(part.configuration for part in parts),
        any(part.hardening for part in parts) and not out_of_date,
    )
    return next(status for status, part in _PARTS.items() if part == needs)


def after_update(launch: TcbStatus, now: TcbStatus) -> TcbStatus:
    """The status of a domain that began under `launch` and runs under `now`, since the module was updated under it.

    A domain that began on an outdated platform which is outdated no more should be started again, and says so.
    """
    if launch == TcbStatus.REVOKED or now == TcbStatus.REVOKED:
        return TcbStatus.REVOKED
    if not _PARTS[launch].out_of_date or _PARTS[now].out_of_date:
        return launch
    if _PARTS[launch].configuration or _PARTS[now].configuration:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def masked(value: bytes, mask: bytes) -> bytes:
    return bytes(a & b for a, b in zip(value, mask, strict=True))


def platform_level(info: TcbInfo, platform: PckPlatform, tee_tcb_svn: bytes | None) -> Level:
    """The level of a platform; `tee_tcb_svn` (16 bytes) is the TD report's, None for SGX.

    The first two TDX components belong to the TDX module: where modules have versions (the second is not 0), they are
    the business of `levels_of`.

    Raises:
        EvidenceRejected: TCB_LEVEL_NONE.
    """
    for level in info.levels:
        pairs = list(zip(platform.sgx_svns, level.sgx, strict=True))
        if tee_tcb_svn is not None:
            skip = 2 if tee_tcb_svn[1] else 0
            pairs += zip(tee_tcb_svn[skip:], level.tdx[skip:], strict=True)
        if platform.pce_svn >= level.svn and all(there >= asked for there, asked in pairs):
            return level
    raise rejected(Reason.TCB_LEVEL_NONE, "the platform is below every level")


def enclave_level(levels: Iterable[Level], svn: int, name: str) -> Level:
    """The level of an enclave or module of version `svn`. EvidenceRejected TCB_LEVEL_NONE."""
    for level in levels:
        if svn >= level.svn:
            return level
    raise rejected(Reason.TCB_LEVEL_NONE, f"the {name}, version {svn}, is below every level")


def check_quoting_enclave(identity: EnclaveIdentity, report: SgxReport) -> None:
    """The quoting enclave is the one Intel names. EvidenceRejected QE_IDENTITY_MISMATCH."""
    pairs = {
        "MISCSELECT": (masked(report.misc_select, identity.misc_select_mask), identity.misc_select),
        "ATTRIBUTES": (masked(report.attributes, identity.attributes_mask), identity.attributes),
        "MRSIGNER": (report.mr_signer, identity.mr_signer),
        "ISVPRODID": (report.isv_prod_id, identity.isv_prod_id),
    }
    differing = [name for name, (there, asked) in pairs.items() if there != asked]
    if differing:
        raise rejected(Reason.QE_IDENTITY_MISMATCH, f"other {', '.join(differing)}")


def check_module(info: TcbInfo, report: TdReport, tee_tcb_svn: bytes) -> None:
    """The TDX module of these security versions is one Intel names. EvidenceRejected TDX_MODULE_MISMATCH."""
    modules = _modules(info, tee_tcb_svn)
    if len(modules) != 1 or not _is_module(modules[0], report):
        raise rejected(Reason.TDX_MODULE_MISMATCH, f"module version {tee_tcb_svn[1]}")


def _modules(info: TcbInfo, tee_tcb_svn: bytes) -> list[ModuleIdentity]:
    """What is said about a module's version; version 0 is the time before modules had versions."""
    name = f"TDX_{tee_tcb_svn[1]:02X}" if tee_tcb_svn[1] else ""
    return [module for module in info.modules if module.name == name]


def _is_module(module: ModuleIdentity, report: TdReport) -> bool:
    attributes = masked(report.seam_attributes, module.mask)
    return (report.mr_signer_seam, attributes) == (module.mr_signer, module.attributes)


def levels_of(
    info: TcbInfo, identity: EnclaveIdentity, platform: PckPlatform, enclave_svn: int, tee_tcb_svn: bytes | None
) -> list[Level]:
    """The levels of platform, quoting enclave and, where it has one of its own, TDX module; the platform's first.

    Raises:
        EvidenceRejected: TCB_LEVEL_NONE.
    """
    levels = [platform_level(info, platform, tee_tcb_svn)]
    levels.append(enclave_level(identity.levels, enclave_svn, "quoting enclave"))
    if tee_tcb_svn is not None and tee_tcb_svn[1]:
        (module,) = _modules(info, tee_tcb_svn)
        levels.append(enclave_level(module.levels, tee_tcb_svn[0], "TDX module"))
    return levels
