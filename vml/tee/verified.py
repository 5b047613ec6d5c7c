"""What comes out of genuine evidence: `Verified`, one class a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from vml.tee.evidence import Kind

SGX_DEBUG = 1 << 1
TDX_DEBUG = 0xFF
TDX_SEPT_VE_DISABLE = 1 << 28
SNP_DEBUG = 1 << 19
SNP_MIGRATE = 1 << 18


@dataclass(frozen=True, slots=True)
class Window:
    """The unix times within which everything the evidence rests on is valid, both ends included.

    `opened_by` and `closed_by` name what sets each end, for example "pck_crl". An end may be None: no limit.
    """

    not_before: int | None
    opened_by: str
    not_after: int | None
    closed_by: str

    @classmethod
    def of(cls, parts: Iterable[tuple[str, int | None, int | None]]) -> Window:
        """What all of `parts` (name, first second, last second) share; of equals the first is named."""
        listed = list(parts)
        first, opened = max(((p[1], p[0]) for p in listed if p[1] is not None), key=lambda e: e[0], default=(None, ""))
        last, closed = min(((p[2], p[0]) for p in listed if p[2] is not None), key=lambda e: e[0], default=(None, ""))
        return cls(first, opened, last, closed)


@dataclass(frozen=True, kw_only=True)
class Verified(ABC):
    """Evidence that is genuine: what it says, typed. Whether that is acceptable is for `vml.tee.appraise`.

    Attributes:
        evidence_id: 32 bytes; SHA-256 of the canonical parsed form. Two encodings of the same evidence share it: use
            it, never a hash of the bytes, to recognise evidence seen before.
        window: when everything this rests on is valid.
        simulated: the chain ends in a simulator's root.
        at: the unix time it was verified for.
    """

    kind: ClassVar[Kind]
    evidence_id: bytes
    window: Window
    simulated: bool
    at: int

    @property
    @abstractmethod
    def report_data(self) -> bytes:
        """The bytes the environment chose to have attested."""

    @property
    @abstractmethod
    def measurements(self) -> Mapping[str, bytes]:
        """What was measured, by the name policies use."""

    @property
    @abstractmethod
    def debug(self) -> bool:
        """Whether somebody outside may read or change the environment."""

    @property
    @abstractmethod
    def platform_id(self) -> bytes | None:
        """What names the machine (PPID, chip id, ...); None where the evidence hides it."""

    @property
    def bound_digest(self) -> bytes | None:
        """The 32 bytes that name a key certificate; None where there are none."""
        return self.report_data[:32] if len(self.report_data) == 64 else None

    @property
    def nonce(self) -> bytes | None:
        """The verifier's nonce as the environment repeats it; None where there is none."""
        return self.report_data[32:] if len(self.report_data) == 64 else None

    @property
    def not_after(self) -> int | None:
        """Last unix second at which everything this rests on is valid."""
        return self.window.not_after

    @property
    def limited_by(self) -> str:
        """What expires first."""
        return self.window.closed_by


class TcbStatus(StrEnum):
    """Intel's words for how current a platform is, best first.

    TDRelaunchAdvised: the TDX module was updated under a running domain, which began under an outdated one.
    """

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class DcapTcb:
    """How current an Intel platform is.

    Attributes:
        status: of platform, quoting enclave and TDX module together.
        advisories: Intel's advisories that apply, sorted.
        evaluation_data_number: the lower of TCB info's and enclave identity's.
        fmspc: 6 bytes, the family of platforms.
        pce_id: 2 bytes, as in the certificate.
        tcb_date: unix time of the platform's TCB level.
        crl_numbers: of the root's and the PCK issuer's list, to notice older ones.
    """

    status: TcbStatus
    advisories: tuple[str, ...]
    evaluation_data_number: int
    fmspc: bytes
    pce_id: bytes
    tcb_date: int
    crl_numbers: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SgxClaims(Verified):
    """A quote of an SGX enclave. Byte fields as in the report body; `attributes` 16 bytes, flags in the first 8.

    Who starts an enclave chooses `config_id` (64 bytes) and `config_svn`; its author the other `isv_` fields.
    """

    kind: ClassVar[Kind] = Kind.SGX
    body: bytes
    cpu_svn: bytes
    misc_select: int
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    isv_ext_prod_id: bytes
    isv_family_id: bytes
    config_id: bytes
    config_svn: int
    data: bytes
    ppid: bytes
    tcb: DcapTcb

    @property
    def report_data(self) -> bytes:
        return self.data

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {
            "mr_enclave": self.mr_enclave,
            "mr_signer": self.mr_signer,
            "isv_ext_prod_id": self.isv_ext_prod_id,
            "isv_family_id": self.isv_family_id,
            "config_id": self.config_id,
        }

    @property
    def debug(self) -> bool:
        return bool(int.from_bytes(self.attributes[:8], "little") & SGX_DEBUG)

    @property
    def platform_id(self) -> bytes | None:
        return self.ppid


@dataclass(frozen=True, slots=True)
class TdHistory:
    """What an extended TD report says of a domain's life.

    Attributes:
        vm_id: which virtual machine of a partitioned domain asked for the report; 0: the domain itself.
        td_id: 32 bytes, another one for every start; zeros where the host has this switched off.
        first_service_td, service_td: 48 bytes each, the service domains bound at first and now; zeros: none.
    """

    vm_id: int
    td_id: bytes
    first_service_td: bytes
    service_td: bytes


@dataclass(frozen=True, kw_only=True)
class TdxClaims(Verified):
    """A quote of a TDX trust domain. Byte fields as in the TD report; `mr_service_td` is None before TD report 1.5.

    `events` are the replayed events where the evidence brought a log, and None where it brought none. Extended reports
    have a `history`.
    """

    kind: ClassVar[Kind] = Kind.TDX
    body: bytes
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
    data: bytes
    tee_tcb_svn2: bytes | None
    mr_service_td: bytes | None
    history: TdHistory | None
    ppid: bytes
    tcb: DcapTcb
    events: tuple[LogEvent, ...] | None

    @property
    def report_data(self) -> bytes:
        return self.data

    @property
    def measurements(self) -> Mapping[str, bytes]:
        named = {
            "mr_td": self.mr_td,
            "mr_seam": self.mr_seam,
            "mr_signer_seam": self.mr_signer_seam,
            "mr_config_id": self.mr_config_id,
            "mr_owner": self.mr_owner,
            "mr_owner_config": self.mr_owner_config,
        }
        named |= {f"rtmr{index}": value for index, value in enumerate(self.rtmr)}
        return named if self.mr_service_td is None else named | {"mr_service_td": self.mr_service_td}

    @property
    def debug(self) -> bool:
        """Any bit of the TUD byte: debug, or reserved for more of its kind."""
        return bool(int.from_bytes(self.td_attributes, "little") & TDX_DEBUG)

    @property
    def sept_ve_disable(self) -> bool:
        """The host cannot inject page faults the guest would have to trust."""
        return bool(int.from_bytes(self.td_attributes, "little") & TDX_SEPT_VE_DISABLE)

    @property
    def platform_id(self) -> bytes | None:
        return self.ppid


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One entry of an event log: `register` is the RTMR's number, `digest` 48 bytes.

    `bound` tells that the digest is the content's, so that the content was measured, too.
    """

    register: int
    event_type: int
    digest: bytes
    name: str
    content: bytes
    bound: bool


@dataclass(frozen=True, slots=True)
class SnpTcb:
    """Security versions of an AMD platform. `fmc` is None before Turin."""

    boot_loader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None


@dataclass(frozen=True, kw_only=True)
class SnpClaims(Verified):
    """A report of an SEV-SNP guest. `tcb` is the certified one; `chip_id` is None under a VLEK.

    `signing_key` is "VCEK" or "VLEK"; `mitigations` are the vectors at launch and now, None before version 5;
    `crl_number` and `crl_issued` (unix seconds) are of AMD's list, to notice older ones; None where none came.
    """

    kind: ClassVar[Kind] = Kind.SNP
    version: int
    product: str
    signing_key: str
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: int
    data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    chip_id: bytes | None
    tcb: SnpTcb
    committed_tcb: SnpTcb
    current_tcb: SnpTcb
    launch_tcb: SnpTcb
    mitigations: tuple[int, int] | None = None
    crl_number: int | None = None
    crl_issued: int | None = None

    @property
    def report_data(self) -> bytes:
        return self.data

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {
            "measurement": self.measurement,
            "host_data": self.host_data,
            "id_key_digest": self.id_key_digest,
            "author_key_digest": self.author_key_digest,
        }

    @property
    def debug(self) -> bool:
        return bool(self.policy & SNP_DEBUG)

    @property
    def platform_id(self) -> bytes | None:
        return self.chip_id


@dataclass(frozen=True, kw_only=True)
class NitroClaims(Verified):
    """An AWS Nitro attestation document. `timestamp_ms` is the hypervisor's clock; absent fields are None."""

    kind: ClassVar[Kind] = Kind.NITRO
    module_id: str
    timestamp_ms: int
    pcrs: Mapping[int, bytes]
    public_key: bytes | None
    user_data: bytes | None
    document_nonce: bytes | None

    @property
    def report_data(self) -> bytes:
        return self.user_data or b""

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {f"pcr{index}": value for index, value in sorted(self.pcrs.items())}

    @property
    def debug(self) -> bool:
        """An enclave started in debug mode has zeros in PCR 0 to 2; no other has zeros in any of them."""
        return not all(any(self.pcrs.get(index, b"")) for index in range(3))

    @property
    def platform_id(self) -> bytes | None:
        return None

    @property
    def bound_digest(self) -> bytes | None:
        return self.user_data if self.user_data is not None and len(self.user_data) == 32 else None

    @property
    def nonce(self) -> bytes | None:
        return self.document_nonce


@dataclass(frozen=True, kw_only=True)
class AzureClaims(Verified):
    """A TPM quote of an Azure confidential VM, bound to the hardware report inside.

    `runtime_user_data` is the guest's 64 bytes in the runtime data, or None: of whichever system ran when the report
    was made, so nothing is bound by it. `extra_data` is what the TPM signed together with the registers; of 64 bytes
    the first half is what is bound, as in a report's data, and the rest the nonce.
    """

    kind: ClassVar[Kind] = Kind.AZURE
    hardware: SnpClaims | TdxClaims
    runtime_user_data: bytes | None
    extra_data: bytes
    pcrs: Mapping[int, bytes]
    vm_configuration: Mapping[str, object]

    @property
    def report_data(self) -> bytes:
        return self.hardware.report_data

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {**self.hardware.measurements, **{f"pcr{index}": value for index, value in sorted(self.pcrs.items())}}

    @property
    def debug(self) -> bool:
        return self.hardware.debug

    @property
    def platform_id(self) -> bytes | None:
        return self.hardware.platform_id

    @property
    def bound_digest(self) -> bytes | None:
        return self.extra_data[:32] if len(self.extra_data) == 64 else None

    @property
    def nonce(self) -> bytes | None:
        return self.extra_data[32:] if len(self.extra_data) == 64 else self.extra_data


@dataclass(frozen=True, kw_only=True)
class NvidiaClaims(Verified):
    """A report of an NVIDIA GPU. `matched` counts reference measurements met (all there are), None without manifests.

    `opaque` holds the report's named fields (driver and VBIOS version, ...); `device_id` and `product` are the
    serial number and, for example, "GH100" in the device's certificate; `fwid` is None in reports of older drivers.
    """

    kind: ClassVar[Kind] = Kind.NVIDIA
    spdm_nonce: bytes
    blocks: Mapping[int, bytes]
    opaque: Mapping[str, bytes]
    driver_version: str
    vbios_version: str
    device_id: bytes
    product: str
    fwid: bytes | None
    matched: int | None

    @property
    def report_data(self) -> bytes:
        return self.spdm_nonce

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {f"block{index}": value for index, value in sorted(self.blocks.items())}

    @property
    def debug(self) -> bool:
        """A report has no flag for it: only measurements that NVIDIA's manifests name rule it out."""
        return self.matched is None

    @property
    def platform_id(self) -> bytes | None:
        return self.device_id

    @property
    def bound_digest(self) -> bytes | None:
        return None

    @property
    def nonce(self) -> bytes | None:
        return self.spdm_nonce
