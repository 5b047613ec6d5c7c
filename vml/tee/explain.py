"""An appraisal policy in plain words, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from vml.tee.appraisal import (
    AppraisalPolicy,
    AzureSection,
    NitroSection,
    NvidiaSection,
    Section,
    SgxSection,
    SnpPlatform,
    TcbFloor,
    TdxPlatform,
    TdxSection,
)
from vml.tee.appraise import AttestationResult

TITLES = {
    "sgx": "Intel SGX enclaves",
    "tdx": "Intel TDX domains",
    "snp": "AMD SEV-SNP guests",
    "nitro": "AWS Nitro enclaves",
    "azure": "Azure confidential machines",
    "nvidia": "NVIDIA GPUs",
}


def explain(policy: AppraisalPolicy) -> list[str]:
    """What a policy accepts and refuses; indented lines belong to the kind above them."""
    lines = [f"policy 0x{policy.policy_id.hex()}"]
    if not policy.kinds:
        lines.append("Everything is refused: no kind of evidence is accepted.")
    if policy.require_nonce:
        lines.append("Evidence has to answer the verifier's nonce.")
    else:
        lines.append("WEAK: no nonce is asked for, so old evidence can be shown again.")
    if policy.max_age_s is not None:
        lines.append(f"Evidence older than {policy.max_age_s} s, or of unknown age, is refused.")
    if policy.allow_simulated:
        lines.append("UNSAFE: simulated evidence is accepted, which shows nothing.")
    else:
        lines.append("Simulated evidence is refused.")
    for kind in policy.kinds:
        section = policy.section(kind)
        assert section is not None
        lines.append(f"{TITLES[kind]}:")
        lines += [f"  {line}" for line in _section(section)]
    lines.append("Debug is refused for every kind.")
    lines.append(f"Physical adversary: {AttestationResult.physical_adversary}.")
    return lines


def _section(section: Section) -> Iterator[str]:
    if isinstance(section, NvidiaSection):
        yield from _gpu(section)
    else:
        if not section.measurements:
            yield "All are refused: no reference values are given."
        for image in section.measurements:
            yield f"Accepted: {image.name}{_until(image.not_after)}, if"
            yield from (f"  {name} is 0x{value.hex()}" for name, value in sorted(image.values.items()))
    if isinstance(section, AzureSection):
        for name, rules in (("SEV-SNP", section.snp), ("TDX", section.tdx)):
            if rules is None:
                yield f"{name} hardware is refused."
            else:
                yield f"{name} hardware is accepted:"
                yield from (f"  {line}" for line in (*_platform(rules), *_machines(rules.platform_ids)))
    else:
        yield from _platform(section)
    if isinstance(section, TdxSection):
        for name, contents in (section.events or {}).items():
            values = " or ".join("0x" + value.hex() for value in contents)
            yield f"The event log has one event {name}, which is {values}."
    if isinstance(section, NitroSection):
        yield "Nitro does not name machines. AWS's revocation lists are not looked at."
    yield from _machines(section.platform_ids)


def _gpu(section: NvidiaSection) -> Iterator[str]:
    yield "All active measurements of NVIDIA's manifests have to be met."
    yield "Revoked GPUs and manifests are not noticed: NVIDIA tells about them online only."
    if not section.firmware:
        yield "All are refused: no pair of driver and VBIOS is given."
    for pair in section.firmware:
        yield f"Accepted: driver {pair.driver} with VBIOS {pair.vbios}{_until(pair.not_after)}."
    if section.require_fwid:
        yield "The report has to name its firmware."
    else:
        yield "WEAK: the report need not name its firmware."
    if section.products is not None:
        yield f"The GPU has to be one of {', '.join(section.products)}."


def _platform(rules: object) -> Iterator[str]:
    if isinstance(rules, SgxSection | TdxPlatform):
        yield f"TCB status: {', '.join(rules.tcb_statuses)}; a revoked one never."
        yield f"Advisories that may apply: {', '.join(rules.advisories) or 'none'}."
        if rules.min_evaluation_number is not None:
            yield f"TCB evaluation data number: at least {rules.min_evaluation_number}."
    if isinstance(rules, SgxSection) and rules.min_config_svn is not None:
        yield f"Version of the enclave's configuration: at least {rules.min_config_svn}."
    if isinstance(rules, TdxPlatform):
        if rules.require_sept_ve_disable:
            yield "SEPT_VE_DISABLE has to be set."
        else:
            yield "WEAK: SEPT_VE_DISABLE may be clear; the host can inject page faults."
        yield "Domains that can be moved, and service domains, are refused."
    if isinstance(rules, SnpPlatform):
        for product, floor in (rules.min_tcb or {}).items():
            yield f"TCB of {product}: at least {_floor(floor)}; certified and committed."
        if rules.min_tcb is None:
            yield "Any certified TCB."
        else:
            yield "Other products are refused."
        yield f"VMPL: at most {rules.max_vmpl}."
        if rules.allow_migration:
            yield "WEAK: migration agents may move the guest."
        else:
            yield "Migration agents are refused."
        yield from _revocation(rules)


def _revocation(rules: SnpPlatform) -> Iterator[str]:
    if not rules.require_crl and rules.min_crl_number is None and rules.max_crl_age_s is None:
        yield "WEAK: AMD's revocation list need not come along; it is checked where it does."
        return
    asked = [] if rules.min_crl_number is None else [f"of number {rules.min_crl_number} or later"]
    asked += [] if rules.max_crl_age_s is None else [f"at most {rules.max_crl_age_s} s old"]
    yield f"AMD's revocation list has to come along{', ' if asked else ''}{' and '.join(asked)}."


def _floor(floor: TcbFloor) -> str:
    named = {name: getattr(floor, name) for name in ("boot_loader", "tee", "snp", "microcode", "fmc")}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value)


def _machines(accepted: tuple[bytes, ...] | None) -> Iterator[str]:
    if accepted is None:
        yield "Any machine: an attacker's own counts, too."
    else:
        yield f"Machines: {', '.join('0x' + each.hex() for each in accepted)}."


def _until(last: int | None) -> str:
    if last is None:
        return ""
    return f" until {datetime.fromtimestamp(min(last, 253_402_300_799), UTC).strftime('%Y-%m-%d %H:%M:%S')} UTC"
