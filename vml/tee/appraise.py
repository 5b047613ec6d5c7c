"""Is genuine evidence acceptable? A policy applied to typed claims, for a stated time.

 1. The policy accepts this kind of evidence, and says which code it accepts.
 2. Simulated evidence is refused unless the policy says otherwise.
 3. Everything the evidence rests on is valid at the time.
 4. The evidence answers the verifier's nonce.
 5. It is not older than the policy allows.
 6. A GPU met NVIDIA's manifests, says which firmware it runs, and is one of the accepted products.
 7. Nobody can debug the environment from outside.
 8. Its attributes do not weaken it.
 9. No service domain is bound to it.
10. The report comes from a privilege level that the policy accepts.
11. All measurements of one accepted image are met, and the image is still accepted.
12. The event log names what the policy asks for.
13. The platform's TCB status, its advisories and the collateral's number are accepted.
14. The TCB reaches the floor, and the version of an enclave's configuration its own.
15. AMD's revocation list came along, as new as the policy asks.
16. The platform is one the policy names.

What a rule needs and the evidence does not bring is a refusal. Nothing is decided from anything but the claims, the
policy and the arguments.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vml.tee.appraisal import (
    AppraisalPolicy,
    AzureSection,
    NvidiaSection,
    ReferenceValues,
    Section,
    SgxSection,
    SnpPlatform,
    TcbFloor,
    TdxPlatform,
    TdxSection,
)
from vml.tee.reasons import Reason, rejected
from vml.tee.revocation import revocation
from vml.tee.verified import (
    SNP_MIGRATE,
    AzureClaims,
    DcapTcb,
    LogEvent,
    NitroClaims,
    NvidiaClaims,
    SgxClaims,
    SnpClaims,
    SnpTcb,
    TdxClaims,
    Verified,
    Window,
)

TDX_MIGRATABLE = 1 << 29
APPLICATION_REGISTER = 3
"""The run-time register that the guest's own software extends."""
MAX_SKEW_S = 60
"""How far ahead of the verifier's clock an attester's may be."""


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """Evidence that is genuine and acceptable (RFC 9334, attestation result).

    Attributes:
        claims: what the evidence says.
        policy_id: 32 bytes, the policy's that accepted it.
        at: the unix time it was accepted for.
        not_after: last unix second at which this result holds; None: nothing ends it.
        limited_by: what ends it.
        image: the policy's name of what runs.
        nonce_checked: the evidence answers a nonce of the verifier.
    """

    claims: Verified
    policy_id: bytes
    at: int
    not_after: int | None
    limited_by: str
    image: str
    nonce_checked: bool

    physical_adversary: ClassVar[str] = "not covered"
    """Whoever holds the machine in his hands can forge all of this."""

    @property
    def simulated(self) -> bool:
        return self.claims.simulated

    @property
    def evidence_id(self) -> bytes:
        return self.claims.evidence_id

    def as_json(self) -> dict[str, Any]:
        """The result in words that JSON has; bytes as 0x and hexadecimal digits."""
        platform = self.claims.platform_id
        return {
            "accepted": True,
            "kind": str(self.claims.kind),
            "image": self.image,
            "evidence_id": "0x" + self.evidence_id.hex(),
            "policy_id": "0x" + self.policy_id.hex(),
            "platform_id": None if platform is None else "0x" + platform.hex(),
            "at": self.at,
            "not_after": self.not_after,
            "limited_by": self.limited_by,
            "nonce_checked": self.nonce_checked,
            "simulated": self.simulated,
            "revocation": revocation(self.claims),
            "physical_adversary": self.physical_adversary,
        }

    def lines(self) -> list[str]:
        """The result for people, one fact a line."""
        platform = self.claims.platform_id
        return [
            f"accepted: {self.claims.kind}, {self.image}",
            f"evidence: 0x{self.evidence_id.hex()}",
            f"policy: 0x{self.policy_id.hex()}",
            f"platform: {'not named' if platform is None else '0x' + platform.hex()}",
            f"nonce: {'answered' if self.nonce_checked else 'not asked for, may be replayed'}",
            forecast(self, self.at),
            f"revocation: {revocation(self.claims)}",
            f"simulated: {'YES, this shows nothing' if self.simulated else 'no'}",
            f"physical adversary: {self.physical_adversary}",
        ]


def appraise(
    verified: Verified,
    policy: AppraisalPolicy,
    at: int,
    nonce: bytes | None = None,
    *,
    nonce_issued_at: int | None = None,
) -> AttestationResult:
    """Apply a policy to genuine evidence; the numbered steps above.

    Args:
        verified: from `verify_evidence`.
        policy: from local configuration only.
        at: unix seconds for which to judge.
        nonce: what the verifier sent to the attester; None where it sent none. A given nonce is always checked.
        nonce_issued_at: when it was sent: evidence that answers it is no older. The only way to tell the age of kinds
            without a clock of their own.

    Raises:
        EvidenceRejected: not acceptable, with one code of `vml.tee.reasons.Reason`.
    """
    # step 1: the policy accepts this kind, and says which code.
    if not policy.kinds:
        raise rejected(Reason.POLICY_INCOMPLETE, "the policy accepts no kind of evidence")
    section = policy.section(verified.kind)
    if section is None:
        raise rejected(Reason.KIND_NOT_ALLOWED, f"{verified.kind}, only {', '.join(policy.kinds)}")
    if not (section.firmware if isinstance(section, NvidiaSection) else section.measurements):
        raise rejected(Reason.POLICY_INCOMPLETE, f"the policy names no reference values for {verified.kind}")
    # step 2: simulated evidence.
    if verified.simulated and not policy.allow_simulated:
        raise rejected(Reason.SIMULATED_EVIDENCE, "the policy does not accept it")
    # step 3: everything the evidence rests on is valid.
    window = verified.window
    if window.not_before is not None and at < window.not_before:
        raise rejected(Reason.COLLATERAL_NOT_YET_VALID, f"{window.opened_by} begins at unix time {window.not_before}")
    if window.not_after is not None and at > window.not_after:
        raise rejected(Reason.COLLATERAL_EXPIRED, f"{window.closed_by} ended at unix time {window.not_after}")
    # step 4: the nonce.
    if nonce is not None or policy.require_nonce:
        _check_nonce(verified, nonce)
    # step 5: the age.
    parts: list[tuple[str, int | None, int | None]] = [(window.closed_by, None, window.not_after)]
    if policy.max_age_s is not None:
        made = _made_at(verified, at, nonce_issued_at if nonce is not None else None)
        if at - made > policy.max_age_s:
            raise rejected(Reason.EVIDENCE_TOO_OLD, f"{at - made} s, at most {policy.max_age_s}")
        parts.append(("maximum age", None, made + policy.max_age_s))
    # step 6: a GPU met NVIDIA's manifests, says which firmware it runs, and is of an accepted product.
    if isinstance(verified, NvidiaClaims) and isinstance(section, NvidiaSection):
        if verified.matched is None:
            raise rejected(Reason.RIM_MISSING, "nothing says what the measurements should be")
        if section.require_fwid and verified.fwid is None:
            raise rejected(Reason.FWID_MISSING, f"driver {verified.driver_version}")
        if section.products is not None and verified.product not in section.products:
            raise rejected(
                Reason.MEASUREMENT_MISMATCH, f"a {verified.product}, only {', '.join(section.products)}"[:500]
            )
    # step 7: nobody can debug it.
    if verified.debug:
        raise rejected(Reason.DEBUG_ENABLED, f"{verified.kind}")
    hardware, platform = _hardware(verified, section)
    # step 8: attributes.
    _check_attributes(hardware, platform)
    # step 9: no service domain.
    if isinstance(hardware, TdxClaims):
        _check_service_domains(hardware)
    # step 10: the privilege level.
    if isinstance(hardware, SnpClaims) and isinstance(platform, SnpPlatform) and hardware.vmpl > platform.max_vmpl:
        raise rejected(Reason.VMPL_REFUSED, f"VMPL {hardware.vmpl}, at most {platform.max_vmpl}")
    if isinstance(hardware, TdxClaims) and hardware.history is not None and hardware.history.vm_id:
        raise rejected(Reason.VMPL_REFUSED, f"virtual machine {hardware.history.vm_id} of a partitioned domain")
    # step 11: the measurements of one accepted image.
    image, last = _image(verified, section, at)
    parts.append((f"image {image}", None, last))
    # step 12: events.
    if isinstance(verified, TdxClaims) and isinstance(section, TdxSection) and section.events is not None:
        _check_events(verified.events, section.events)
    # step 13: an Intel platform is current.
    if isinstance(hardware, SgxClaims | TdxClaims) and isinstance(platform, SgxSection | TdxPlatform):
        _check_status(hardware.tcb, platform)
    # step 14: an AMD platform is current.
    if isinstance(hardware, SnpClaims) and isinstance(platform, SnpPlatform) and platform.min_tcb is not None:
        _check_floor(hardware, platform.min_tcb.get(hardware.product))  # type: ignore[call-overload]
    if isinstance(hardware, SgxClaims) and isinstance(platform, SgxSection):
        _check_configuration(hardware, platform.min_config_svn)
    # step 15: AMD's revocation list.
    if isinstance(hardware, SnpClaims) and isinstance(platform, SnpPlatform):
        parts.append(("AMD's list", None, _check_crl(hardware, platform, at)))
    # step 16: the platform.
    for rules in (section, platform):
        _check_platform(verified.platform_id, rules.platform_ids)
    closed = Window.of(parts)
    return AttestationResult(
        claims=verified,
        policy_id=policy.policy_id,
        at=at,
        not_after=closed.not_after,
        limited_by=closed.closed_by,
        image=image,
        nonce_checked=nonce is not None,
    )


def _check_nonce(verified: Verified, nonce: bytes | None) -> None:
    if not nonce:
        raise rejected(Reason.NONCE_MISSING, "the verifier gave none")
    if verified.nonce is None:
        raise rejected(Reason.NONCE_MISSING, "the evidence has none")
    if not hmac.compare_digest(verified.nonce, nonce):
        raise rejected(Reason.NONCE_MISMATCH, f"0x{verified.nonce.hex()}")


def _made_at(verified: Verified, at: int, nonce_issued_at: int | None) -> int:
    """A time before which the evidence was not made."""
    known = [] if nonce_issued_at is None else [nonce_issued_at]
    if isinstance(verified, NitroClaims):
        known.append(verified.timestamp_ms // 1000)
    if not known:
        raise rejected(Reason.EVIDENCE_TOO_OLD, "nothing tells its age")
    if max(known) > at + MAX_SKEW_S:
        raise rejected(Reason.EVIDENCE_TOO_OLD, "it is from the future, so its age is unknown")
    return min(max(known), at)


def _hardware(verified: Verified, section: Section) -> tuple[Verified, Section | SnpPlatform | TdxPlatform]:
    """The hardware's own claims and the rules for it: for Azure those of the report inside."""
    if not isinstance(verified, AzureClaims) or not isinstance(section, AzureSection):
        return verified, section
    hardware = verified.hardware
    rules = section.snp if isinstance(hardware, SnpClaims) else section.tdx
    if rules is None:
        raise rejected(Reason.KIND_NOT_ALLOWED, f"azure on {hardware.kind}")
    return hardware, rules


def _check_attributes(hardware: Verified, platform: object) -> None:
    if isinstance(hardware, TdxClaims) and isinstance(platform, TdxPlatform):
        if platform.require_sept_ve_disable and not hardware.sept_ve_disable:
            raise rejected(Reason.ATTRIBUTES_REFUSED, "SEPT_VE_DISABLE is not set")
        if int.from_bytes(hardware.td_attributes, "little") & TDX_MIGRATABLE:
            raise rejected(Reason.ATTRIBUTES_REFUSED, "the domain can be moved elsewhere")
    if isinstance(hardware, SnpClaims) and isinstance(platform, SnpPlatform):
        movable = hardware.policy & SNP_MIGRATE
        if movable and not platform.allow_migration:
            raise rejected(Reason.ATTRIBUTES_REFUSED, "a migration agent can move the guest elsewhere")


def _check_service_domains(hardware: TdxClaims) -> None:
    """None is bound; where the report tells the domain's history, none was at first."""
    found = [hardware.mr_service_td]
    if hardware.history is not None:
        found += [hardware.history.first_service_td, hardware.history.service_td]
    for each in found:
        if each is not None and any(each):
            raise rejected(Reason.SERVICE_TD_PRESENT, each.hex())


def _image(verified: Verified, section: Section, at: int) -> tuple[str, int | None]:
    """The accepted image that runs and until when it is accepted: of several the one that is accepted longest."""
    met: list[tuple[str, int | None]]
    if isinstance(verified, NvidiaClaims) and isinstance(section, NvidiaSection):
        running = verified.driver_version, verified.vbios_version
        label = f"driver {running[0]}, VBIOS {running[1]}"
        met = [(label, pair.not_after) for pair in section.firmware if (pair.driver, pair.vbios.upper()) == running]
        wanted = label
    else:
        images = () if isinstance(section, NvidiaSection) else section.measurements
        differing = {image.name: _differing(verified, image) for image in images}
        met = [(image.name, image.not_after) for image in images if not differing[image.name]]
        wanted = "; ".join(f"{name}: {', '.join(wrong)}" for name, wrong in differing.items())
    if not met:
        raise rejected(Reason.MEASUREMENT_MISMATCH, wanted[:500])
    name, last = max(met, key=lambda item: float("inf") if item[1] is None else item[1])
    if last is not None and at > last:
        raise rejected(Reason.MEASUREMENT_EXPIRED, f"{name} was accepted until unix time {last}")
    return name, last


def _differing(verified: Verified, image: ReferenceValues) -> list[str]:
    """The measurements that are not the image's, or not there."""
    measured = verified.measurements
    return [name for name, value in image.values.items() if measured.get(name) != value]


def _check_events(log: Iterable[LogEvent] | None, wanted: dict[str, tuple[bytes, ...]]) -> None:
    if log is None:
        raise rejected(Reason.EVENT_LOG_MISSING, ", ".join(wanted))
    events = list(log)
    for name, accepted in wanted.items():
        found = [event for event in events if event.name == name and event.register == APPLICATION_REGISTER]
        if len(found) != 1 or not found[0].bound or found[0].content not in accepted:
            raise rejected(Reason.MEASUREMENT_MISMATCH, f"event {name}")


def _check_status(tcb: DcapTcb, platform: SgxSection | TdxPlatform) -> None:
    if tcb.status not in platform.tcb_statuses:
        raise rejected(Reason.TCB_STATUS_REFUSED, f"{tcb.status}, only {', '.join(platform.tcb_statuses)}")
    others = [advisory for advisory in tcb.advisories if advisory not in platform.advisories]
    if others:
        raise rejected(Reason.ADVISORY_REFUSED, ", ".join(others))
    lowest = platform.min_evaluation_number
    if lowest is not None and tcb.evaluation_data_number < lowest:
        raise rejected(Reason.EVALUATION_NUMBER_TOO_LOW, f"{tcb.evaluation_data_number}, at least {lowest}")


def _check_floor(claims: SnpClaims, floor: TcbFloor | None) -> None:
    if floor is None:
        raise rejected(Reason.TCB_TOO_OLD, f"the policy has no floor for {claims.product}")
    for which, tcb in (("certified", claims.tcb), ("committed", claims.committed_tcb)):
        low = _below(tcb, floor)
        if low:
            raise rejected(Reason.TCB_TOO_OLD, f"{which} TCB: {', '.join(low)}")


def _below(tcb: SnpTcb, floor: TcbFloor) -> list[str]:
    """The components that do not reach the floor; one that is not there does not."""
    low = [name for name in ("boot_loader", "tee", "snp", "microcode") if getattr(tcb, name) < getattr(floor, name)]
    if floor.fmc is not None and (tcb.fmc is None or tcb.fmc < floor.fmc):
        low.append("fmc")
    return low


def _check_configuration(claims: SgxClaims, lowest: int | None) -> None:
    if lowest is not None and claims.config_svn < lowest:
        raise rejected(Reason.TCB_TOO_OLD, f"configuration of version {claims.config_svn}, at least {lowest}")


def _check_crl(claims: SnpClaims, rules: SnpPlatform, at: int) -> int | None:
    """Until when AMD's list is as new as the policy asks; None: for ever, or no list is asked for."""
    number, issued = claims.crl_number, claims.crl_issued
    if number is None or issued is None:
        if rules.require_crl or rules.min_crl_number is not None or rules.max_crl_age_s is not None:
            raise rejected(Reason.CRL_INVALID, "AMD's list did not come with the evidence")
        return None
    if rules.min_crl_number is not None and number < rules.min_crl_number:
        raise rejected(Reason.CRL_TOO_OLD, f"AMD's list has number {number}, at least {rules.min_crl_number}")
    if rules.max_crl_age_s is None:
        return None
    if at - issued > rules.max_crl_age_s:
        raise rejected(Reason.CRL_TOO_OLD, f"AMD's list is {at - issued} s old, at most {rules.max_crl_age_s}")
    return issued + rules.max_crl_age_s


def _check_platform(found: bytes | None, accepted: tuple[bytes, ...] | None) -> None:
    if accepted is None:
        return
    if found is None:
        raise rejected(Reason.PLATFORM_UNKNOWN, "the evidence does not name its machine")
    if found not in accepted:
        raise rejected(Reason.PLATFORM_NOT_ALLOWED, f"0x{found.hex()}")


NAMES = {
    "tcb_info": "TCB info",
    "qe_identity": "QE identity",
    "pck_crl": "PCK CRL",
    "root_crl": "root CRL",
    "pck_chain": "PCK certificates",
    "driver_rim": "certificates of the driver manifest",
    "vbios_rim": "certificates of the VBIOS manifest",
}
"""For people; other names are shown with spaces."""


def forecast(result: AttestationResult | Verified, at: int) -> str:
    """When a key under this evidence ends and why, in a line: "this key dies in 6 days: PCK CRL".

    Args:
        at: unix seconds from which to count.
    """
    if result.not_after is None:
        return "nothing that this key rests on expires"
    what = NAMES.get(result.limited_by, result.limited_by.replace("_", " "))
    left = result.not_after - at
    if left < 0:
        return f"this key died {_span(-left)} ago: {what}"
    return f"this key dies in {_span(left)}: {what}"


def soonest(results: Sequence[AttestationResult]) -> AttestationResult:
    """Of the results about one key, its processor's and its GPUs', the one that ends first, and the key with it."""
    return min(results, key=lambda result: (result.not_after is None, result.not_after or 0))


def _span(seconds: int) -> str:
    """Rounded down to the greatest unit of which there are two."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
