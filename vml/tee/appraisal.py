"""Appraisal policy: which genuine evidence is acceptable, written as YAML or in Python (``docs/tee-policy.md``).

A policy has one section a kind of evidence; a kind without a section is refused. A section lists reference values: what
has to be measured. Everything else has a strict default. Unknown fields, values of the wrong size and reference values
that leave the code open are errors when the policy is read.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from vml import canonical, policyfile
from vml.tee.verified import TcbStatus

MAX_UNIX = 1 << 40
MAX_LIST = 4096


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.startswith("0x") or value != value.lower():
        raise ValueError("bytes are written as 0x and lower-case hexadecimal digits")
    found = bytes.fromhex(value[2:])
    if "0x" + found.hex() != value:
        raise ValueError("bytes are written as 0x and lower-case hexadecimal digits")
    return found


def _moment(value: object) -> object:
    """Unix seconds, also of a time in UTC such as 2027-01-31T00:00:00Z."""
    if not isinstance(value, str):
        return value
    if not value.endswith("Z"):
        raise ValueError("times are unix seconds, or UTC such as 2027-01-31T00:00:00Z")
    return int(datetime.fromisoformat(value).timestamp())


def _set(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """In order and each once: two ways to write one set are one policy."""
    return tuple(sorted(set(values)))


Hex = Annotated[bytes, BeforeValidator(_bytes), Field(min_length=1), PlainSerializer(lambda value: "0x" + value.hex())]
HexSet = Annotated[tuple[Hex, ...], Field(min_length=1, max_length=MAX_LIST), AfterValidator(_set)]
Moment = Annotated[int, BeforeValidator(_moment), Field(ge=0, lt=MAX_UNIX)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReferenceValues(_Strict):
    """What one image measures. All of `values` have to be met together.

    Args:
        name: for people; it is repeated in results.
        values: measurements by name.
        not_after: last second (unix, or UTC) at which this image is accepted; none: no limit.
    """

    name: Name
    values: dict[Name, Hex] = Field(min_length=1)
    not_after: Moment | None = None


class _Section(_Strict):
    """What every kind of evidence has.

    Args:
        platform_ids: accepted machines (PPID, chip id, GPU serial number); none: any machine.
    """

    platform_ids: HexSet | None = None


class _Measured(_Section):
    """A section with reference values: of `SIZES` some, of `REQUIRED` all, for each image.

    Args:
        measurements: the accepted images; none are accepted where the list is empty.
    """

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = {}
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = ()

    measurements: tuple[ReferenceValues, ...] = Field(default=(), max_length=MAX_LIST)

    @field_validator("measurements")
    @classmethod
    def _known(cls, images: tuple[ReferenceValues, ...]) -> tuple[ReferenceValues, ...]:
        for image in images:
            for name, value in image.values.items():
                if name not in cls.SIZES:
                    raise ValueError(f"{image.name}: there is no measurement {name}")
                if len(value) not in cls.SIZES[name]:
                    raise ValueError(f"{image.name}: {name} has {len(value)} bytes")
            if not any(set(needed) <= image.values.keys() for needed in cls.REQUIRED):
                ways = " or ".join(", ".join(needed) for needed in cls.REQUIRED)
                raise ValueError(f"{image.name}: without {ways} the code is open")
        if len({image.name for image in images}) != len(images):
            raise ValueError("two images of one name")
        return images


class _Intel(_Section):
    """How current an Intel platform has to be.

    Args:
        tcb_statuses: accepted statuses.
        advisories: accepted advisories of Intel; any other that applies is refused.
        min_evaluation_number: lowest TCB evaluation data number of the collateral.
    """

    tcb_statuses: Annotated[tuple[TcbStatus, ...], Field(min_length=1), AfterValidator(_set)] = (TcbStatus.UP_TO_DATE,)
    advisories: Annotated[tuple[Name, ...], AfterValidator(_set)] = ()
    min_evaluation_number: Count | None = None

    @field_validator("tcb_statuses", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        names = [TcbStatus(item) for item in value] if isinstance(value, list | tuple) else value
        if isinstance(names, list) and TcbStatus.REVOKED in names:
            raise ValueError("a revoked TCB cannot be accepted")
        return tuple(names) if isinstance(names, list) else names


class TdxPlatform(_Intel):
    """Rules for TDX besides measurements.

    Args:
        require_sept_ve_disable: the attribute SEPT_VE_DISABLE has to be set.
    """

    require_sept_ve_disable: bool = True


class TcbFloor(_Strict):
    """Lowest security versions of one AMD product; `fmc` is Turin's alone."""

    boot_loader: Annotated[int, Field(ge=0, le=255)] = 0
    tee: Annotated[int, Field(ge=0, le=255)] = 0
    snp: Annotated[int, Field(ge=0, le=255)] = 0
    microcode: Annotated[int, Field(ge=0, le=255)] = 0
    fmc: Annotated[int, Field(ge=0, le=255)] | None = None


class SnpPlatform(_Section):
    """Rules for SEV-SNP besides measurements.

    Args:
        min_tcb: floors by product ("Milan", "Genoa", "Turin"); where any is given, other products are refused. The
            certified and the committed TCB both have to reach it.
        max_vmpl: highest privilege level number from which a report may come; 0 is the most privileged.
        allow_migration: accept guests that a migration agent may move.
        require_crl: AMD's revocation list has to come with the evidence.
        min_crl_number: lowest number of that list, which rises with every issue; asks for the list, too.
        max_crl_age_s: greatest age of that list in seconds; asks for the list, too.
    """

    min_tcb: dict[Literal["Milan", "Genoa", "Turin"], TcbFloor] | None = Field(default=None, min_length=1)
    max_vmpl: Annotated[int, Field(ge=0, le=3)] = 0
    allow_migration: bool = False
    require_crl: bool = True
    min_crl_number: Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)] | None = None
    max_crl_age_s: Count | None = None


_Sizes: TypeAlias = dict[str, tuple[int, ...]]
_TDX_NAMES = ("mr_td", "mr_seam", "mr_signer_seam", "mr_config_id", "mr_owner", "mr_owner_config")
_TDX_SIZES: _Sizes = dict.fromkeys((*_TDX_NAMES, *(f"rtmr{index}" for index in range(4))), (48,))
_SNP_SIZES: _Sizes = {"measurement": (48,), "host_data": (32,), "id_key_digest": (48,), "author_key_digest": (48,)}


class SgxSection(_Measured, _Intel):
    """SGX enclaves.

    Args:
        min_config_svn: lowest version of the configuration that `config_id` names.
    """

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = {
        "mr_enclave": (32,),
        "mr_signer": (32,),
        "config_id": (64,),
        "isv_ext_prod_id": (16,),
        "isv_family_id": (16,),
    }
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = (("mr_enclave",),)

    min_config_svn: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None


class TdxSection(_Measured, TdxPlatform):
    """TDX domains.

    Args:
        events: accepted contents of events of RTMR 3, by name; each has to stand in the log exactly once, bound to its
            digest.
    """

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = _TDX_SIZES
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = (("mr_td", "rtmr1", "rtmr2"),)

    events: dict[Name, HexSet] | None = Field(default=None, min_length=1)


class SnpSection(_Measured, SnpPlatform):
    """SEV-SNP guests."""

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = _SNP_SIZES
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = (("measurement",),)


class NitroSection(_Measured):
    """AWS Nitro enclaves. They do not say on which machine they run."""

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = {f"pcr{index}": (48,) for index in range(32)}
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = (("pcr0",),)


class AzureSection(_Measured):
    """Azure's confidential machines: PCRs of the virtual TPM, and the hardware report below.

    The hardware measures Microsoft's paravisor alone. What was started is in the TPM: the boot loader and other
    programs of the firmware (PCR 4), Secure Boot's state and keys (7), and kernel, initial RAM disk and command line,
    whose registers differ by boot loader (`LOADED`).

    Args:
        snp: accept SEV-SNP hardware, with these rules.
        tdx: accept TDX hardware, with these rules.
    """

    SIZES: ClassVar[dict[str, tuple[int, ...]]] = {
        **_TDX_SIZES,
        **_SNP_SIZES,
        **{f"pcr{index}": (32, 48) for index in range(24)},
    }
    REQUIRED: ClassVar[tuple[tuple[str, ...], ...]] = (("measurement", "pcr4", "pcr7"), ("mr_td", "pcr4", "pcr7"))
    LOADED: ClassVar[tuple[tuple[str, ...], ...]] = (("pcr8", "pcr9"), ("pcr9", "pcr12"), ("pcr11", "pcr12"))
    """GRUB's commands and files; the kernel's own loader's files and command line; the parts of a unified kernel image,
    and what was added to it. In the last alone nothing may have been added, so that PCR 12 is zeros."""

    snp: SnpPlatform | None = None
    tdx: TdxPlatform | None = None

    @field_validator("measurements")
    @classmethod
    def _started(cls, images: tuple[ReferenceValues, ...]) -> tuple[ReferenceValues, ...]:
        for image in images:
            used = {name for name, value in image.values.items() if any(value)}
            if "pcr11" in used and "pcr12" in image.values:
                used.add("pcr12")
            if not {"pcr4", "pcr7"} <= used or not any(set(way) <= used for way in cls.LOADED):
                ways = " or ".join(" and ".join(way) for way in cls.LOADED)
                raise ValueError(f"{image.name}: without pcr4, pcr7, and {ways}, not zeros, what was started is open")
        return images


class GpuFirmware(_Strict):
    """An accepted pair of driver and VBIOS; what they measure is in NVIDIA's manifests.

    Args:
        driver: such as "550.90.07".
        vbios: such as "96.00.9F.00.01".
        not_after: last second (unix, or UTC) at which the pair is accepted; none: no limit.
    """

    driver: Name
    vbios: Name
    not_after: Moment | None = None


class NvidiaSection(_Section):
    """NVIDIA GPUs. Manifests always have to be met.

    Args:
        firmware: the accepted pairs; none are accepted where the list is empty.
        require_fwid: the report has to name its firmware; older drivers' reports do not.
        products: accepted products, as the device's certificate names them, such as "GH100"; none: any.
    """

    firmware: tuple[GpuFirmware, ...] = Field(default=(), max_length=MAX_LIST)
    require_fwid: bool = True
    products: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_LIST), AfterValidator(_set)] | None = None


Section: TypeAlias = SgxSection | TdxSection | SnpSection | NitroSection | AzureSection | NvidiaSection


class AppraisalPolicy(_Strict):
    """What a verifier accepts.

    Args:
        require_nonce: evidence has to answer the verifier's nonce.
        max_age_s: greatest age of the evidence in seconds; evidence of unknown age is refused then.
        allow_simulated: accept evidence under a simulator's root; results say so.
        sgx, tdx, snp, nitro, azure, nvidia: accepted kinds of evidence and their rules.
    """

    version: Literal[1] = 1
    require_nonce: bool = True
    max_age_s: Count | None = None
    allow_simulated: bool = False
    sgx: SgxSection | None = None
    tdx: TdxSection | None = None
    snp: SnpSection | None = None
    nitro: NitroSection | None = None
    azure: AzureSection | None = None
    nvidia: NvidiaSection | None = None

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.azure is not None and self.azure.measurements and self.azure.snp is None and self.azure.tdx is None:
            raise ValueError("azure: name the hardware, snp or tdx")
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AppraisalPolicy:
        """Read a policy file: YAML, at most 1 MiB, fields as above.

        Raises:
            ValueError: not YAML, an unknown field, a value out of range; the message names the field.
            OSError: the file cannot be read.
        """
        return cls.from_yaml(policyfile.load(path), name=str(path))

    @classmethod
    def from_yaml(cls, data: bytes | str, *, name: str = "policy") -> AppraisalPolicy:
        """Read a policy from YAML text; see `load`."""
        return policyfile.validated(cls, policyfile.parse(data, name), name)

    def canonical(self) -> bytes:
        """Canonical JSON of what differs from the defaults of this version: one policy, one text."""
        return canonical.encode({**self.model_dump(mode="json", exclude_defaults=True), "version": self.version})

    @property
    def policy_id(self) -> bytes:
        """32 bytes: SHA-256 of `canonical`."""
        return hashlib.sha256(self.canonical()).digest()

    def section(self, kind: str) -> Section | None:
        """The rules for a kind of evidence; None where it is not accepted."""
        found: Section | None = getattr(self, kind)
        return found

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a section."""
        names = ("sgx", "tdx", "snp", "nitro", "azure", "nvidia")
        return tuple(name for name in names if self.section(name) is not None)
