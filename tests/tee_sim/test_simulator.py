"""Simulated evidence: accepted under its own root alone, and each fault refused with its code."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tests.tee.test_eventlog import as_json, entry
from vml.errors import VerificationError
from vml.tee import (
    DcapCollateral,
    Evidence,
    Kind,
    NitroClaims,
    Reason,
    SgxClaims,
    SnpClaims,
    SnpCollateral,
    TdxClaims,
    TrustAnchors,
    verify_evidence,
)
from vml.tee.anchors import SIMULATOR_FMSPC, SIMULATOR_NAME, SIMULATOR_OID
from vml.tee.appraise import AttestationResult, appraise
from vml.tee.binding import Algorithm, KeyCertificate, public_key_of, require_bound
from vml.tee.nitro.document import read_document
from vml.tee.reasons import code_of
from vml.tee.x509 import der_of, der_serial, load_certificate, pem_blocks
from vml.tee_sim import DEFAULT_SEED, EXPECTED, KINDS, Fault, anchors, default_measurements, matching_policy, roots
from vml.tee_sim import simulate as made
from vml.tee_sim.dcap import ppid
from vml.tee_sim.keys import PRIMES, RSA_BITS, prime, rsa_key
from vml.tee_sim.measurements import MAIN, SIZES
from vml.tee_sim.simulate import EARLIEST, LATEST
from vml.tee_sim.snp import chip_id

AT = 1_800_004_321
DIGEST, NONCE = hashlib.sha256(b"certificate").digest(), hashlib.sha256(b"nonce").digest()
SEED = DEFAULT_SEED
ANCHORS = anchors(SEED)
LOG = as_json(entry(3, "app-id", b"\x01\x02"), entry(1, "kernel", b"linux"))

every_kind = pytest.mark.parametrize("kind", KINDS)
every_fault = pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind in KINDS for fault in EXPECTED[kind]], ids=str
)


def simulate(kind: Kind, fault: Fault | None = None, **changes: Any) -> Evidence:
    arguments: dict[str, Any] = {"report_data": DIGEST + NONCE, "seed": SEED, "at": AT, "fault": fault}
    return made(kind, **{**arguments, **changes})


def judged(evidence: Evidence, trusted: TrustAnchors = ANCHORS, at: int = AT) -> AttestationResult:
    verified = verify_evidence(evidence, trusted, at)
    return appraise(verified, matching_policy(evidence.kind), at, NONCE)


def code(evidence: Evidence, trusted: TrustAnchors = ANCHORS, at: int = AT) -> Reason | None:
    with pytest.raises(VerificationError) as caught:
        judged(evidence, trusted, at)
    return code_of(caught.value)


@every_kind
def test_it_is_accepted_under_its_own_root_and_says_what_it_is(kind: Kind) -> None:
    found = judged(simulate(kind))
    assert found.simulated
    assert found.as_json()["simulated"] is True
    assert (found.claims.bound_digest, found.claims.nonce) == (DIGEST, NONCE)
    assert not found.claims.debug
    named = {name: found.claims.measurements[name] for name in SIZES[kind]}
    assert named == default_measurements(kind)


@every_kind
@pytest.mark.parametrize("seed", [SEED, "another"])
def test_by_default_it_is_refused_for_what_it_is(kind: Kind, seed: str) -> None:
    assert code(simulate(kind, seed=seed), TrustAnchors.vendors()) == Reason.SIMULATED_EVIDENCE
    assert code(simulate(kind, seed=seed), anchors("a third")) == Reason.SIMULATED_EVIDENCE


@every_kind
def test_a_policy_has_to_accept_it_as_well(kind: Kind) -> None:
    policy = matching_policy(kind).model_copy(update={"allow_simulated": False})
    with pytest.raises(VerificationError) as caught:
        appraise(verify_evidence(simulate(kind), ANCHORS, AT), policy, AT, NONCE)
    assert code_of(caught.value) == Reason.SIMULATED_EVIDENCE


@every_fault
def test_every_fault_has_its_code(kind: Kind, fault: Fault) -> None:
    assert code(simulate(kind, fault)) == EXPECTED[kind][fault]


@every_fault
def test_no_fault_passes_for_genuine(kind: Kind, fault: Fault) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_evidence(simulate(kind, fault), TrustAnchors.vendors(), AT)
    malformed = fault == Fault.TRAILING_BYTES
    assert code_of(caught.value) == (Reason.MALFORMED if malformed else Reason.SIMULATED_EVIDENCE)


def test_every_fault_is_one_of_some_kind() -> None:
    assert set().union(*(EXPECTED[kind] for kind in KINDS)) == set(Fault)


@pytest.mark.parametrize("version", [4, 5])
def test_both_versions_of_tdx(version: int) -> None:
    evidence = simulate(Kind.TDX, version=version)
    claims = judged(evidence).claims
    assert isinstance(claims, TdxClaims)
    assert evidence.data[0] == version
    assert claims.sept_ve_disable
    assert claims.mr_service_td == (bytes(48) if version == 5 else None)


def test_the_platform_has_the_reserved_family_and_ids_of_the_seed() -> None:
    sgx, snp = judged(simulate(Kind.SGX)).claims, judged(simulate(Kind.SNP)).claims
    assert isinstance(sgx, SgxClaims)
    assert isinstance(snp, SnpClaims)
    assert sgx.tcb.fmspc == SIMULATOR_FMSPC
    assert (sgx.platform_id, snp.platform_id) == (ppid(SEED), chip_id(SEED))
    assert ppid(SEED) != ppid("another")
    assert chip_id(SEED) != chip_id("another")


def certificates(evidence: Evidence) -> list[x509.Certificate]:
    held = evidence.collateral
    if isinstance(held, DcapCollateral):
        start = evidence.data.index(b"-----BEGIN")
        texts = (evidence.data[start:], held.tcb_info_chain, held.qe_identity_chain, held.pck_crl_chain)
        ders = [der for text in texts for der in pem_blocks(text)]
    elif isinstance(held, SnpCollateral):
        ders = [held.vek, *pem_blocks(held.chain)]
    else:
        document = read_document(evidence.data)
        ders = [document.certificate, *document.cabundle]
    return [load_certificate(der) for der in ders]


@every_kind
def test_every_certificate_carries_both_markers(kind: Kind) -> None:
    found = certificates(simulate(kind))
    assert len(found) >= 3
    for certificate in found:
        assert SIMULATOR_NAME in certificate.subject.rfc4514_string()
        assert SIMULATOR_OID in {extension.oid.dotted_string for extension in certificate.extensions}


def test_sizes_and_serial_numbers_are_the_real_ones() -> None:
    snp = simulate(Kind.SNP)
    assert len(snp.data) == 1184
    vcek, ask, ark = certificates(snp)
    public = ark.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert (public.key_size, len(ask.signature), len(ark.signature)) == (4096, 512, 512)
    assert der_serial(der_of(vcek)) == 0
    leaf, *_ = certificates(simulate(Kind.NITRO))
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=3)


PINNED = {
    Kind.SGX: "15fb14c3879c83bd12e83f11b1a6450eeb3e5acd3161de586c22a5f2f09f9f29",
    Kind.TDX: "37b4c37307c6b410317a615454e8d9068f572e41cd8340ead50e2e1c4b470c59",
    Kind.SNP: "b51b7ca5741e6c7ec029e696a9de4c6f56ecd78d3432d14c2921b842b1ad75ec",
    Kind.NITRO: "e3c032bb859f2fa0dee6186bf689c57fa118fb296fbb527499b7beec23833133",
}


@every_kind
def test_the_same_arguments_give_the_same_bytes(kind: Kind) -> None:
    assert simulate(kind) == simulate(kind)
    assert simulate(kind).data != simulate(kind, seed="another").data
    held = simulate(kind).collateral
    told = simulate(kind).data + repr(held).encode()
    assert hashlib.sha256(told).hexdigest() == PINNED[kind]


@every_kind
def test_it_lasts_as_long_as_documented(kind: Kind) -> None:
    evidence = simulate(kind)
    last = verify_evidence(evidence, ANCHORS, AT).not_after
    assert last is not None
    days = {Kind.SGX: 28, Kind.TDX: 28, Kind.SNP: 364, Kind.NITRO: 0}[kind]
    assert days <= (last - AT) / 86_400 < days + 1
    verify_evidence(evidence, ANCHORS, last)
    with pytest.raises(VerificationError):
        verify_evidence(evidence, ANCHORS, last + 1)


@every_kind
@pytest.mark.parametrize("at", [EARLIEST, 1_900_000_000, LATEST])
def test_any_time_will_do(kind: Kind, at: int) -> None:
    assert judged(simulate(kind, at=at), at=at).simulated


@every_kind
def test_measurements_are_the_callers(kind: Kind) -> None:
    name = MAIN[kind]
    given = {name: hashlib.shake_256(b"my image").digest(SIZES[kind][name])}
    verified = verify_evidence(simulate(kind, measurements=given), ANCHORS, AT)
    assert verified.measurements[name] == given[name]
    assert appraise(verified, matching_policy(kind, given), AT, NONCE).image == "simulated"
    with pytest.raises(VerificationError) as caught:
        appraise(verified, matching_policy(kind), AT, NONCE)
    assert code_of(caught.value) == Reason.MEASUREMENT_MISMATCH


def test_an_event_log_gives_the_registers() -> None:
    evidence = simulate(Kind.TDX, event_log=LOG)
    claims = verify_evidence(evidence, ANCHORS, AT)
    assert isinstance(claims, TdxClaims)
    assert claims.events is not None
    assert [event.name for event in claims.events] == ["app-id", "kernel"]
    other = as_json(entry(3, "app-id", b"\x01\x03"), entry(1, "kernel", b"linux"))
    with pytest.raises(VerificationError) as caught:
        verify_evidence(replace(evidence, event_log=other), ANCHORS, AT)
    assert code_of(caught.value) == Reason.EVENT_LOG_MISMATCH


@every_kind
def test_it_carries_a_key_certificate(kind: Kind) -> None:
    public = public_key_of(ec.derive_private_key(5, ec.SECP256K1()))
    certificate = KeyCertificate(Algorithm.SECP256K1, public, bytes(32), bytes(32), 1, AT + 60)
    more = {"public_key": public} if kind == Kind.NITRO else {}
    verified = verify_evidence(simulate(kind, report_data=certificate.digest() + NONCE, **more), ANCHORS, AT)
    require_bound(certificate, verified)
    for other in (replace(certificate, epoch=2), replace(certificate, not_after=1 << 40)):
        with pytest.raises(VerificationError) as caught:
            require_bound(other, verified)
        assert code_of(caught.value) == Reason.KEY_BINDING
    if isinstance(verified, NitroClaims):
        assert verified.public_key == public


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (Kind.SGX, {"report_data": bytes(63)}, "64 bytes"),
        (Kind.SGX, {"at": EARLIEST - 1}, "2021"),
        (Kind.SGX, {"at": LATEST + 1}, "2048"),
        (Kind.SGX, {"seed": "s" * 201}, "seed"),
        (Kind.SGX, {"event_log": LOG}, "event log"),
        (Kind.SGX, {"version": 4}, "version"),
        (Kind.TDX, {"version": 3}, "version"),
        (Kind.TDX, {"public_key": b""}, "public key"),
        (Kind.TDX, {"event_log": LOG, "measurements": {"rtmr1": bytes(48)}}, "rtmr1"),
        (Kind.NITRO, {"public_key": bytes(1025)}, "1024"),
        (Kind.SNP, {"measurements": {"mr_td": bytes(48)}}, "mr_td"),
        (Kind.SNP, {"measurements": {"measurement": bytes(32)}}, "48 bytes"),
        (Kind.NITRO, {"fault": Fault.NO_CRL}, "no-crl"),
        (Kind.NITRO, {"fault": "outofdate"}, "outofdate"),
        (Kind.NITRO, {"fault": "unknown"}, "unknown"),
        (Kind.AZURE, {}, "azure"),
        ("arm", {}, "arm"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_the_callers_mistake(kind: Kind, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        simulate(kind, **changes)


def test_roots_say_that_they_are_simulated() -> None:
    assert len(roots(SEED)) == 3
    assert all(root.simulated for root in roots(SEED))
    assert not {root.certificate for root in roots(SEED)} & {root.certificate for root in roots("another")}
    vendors = {root.public_key for root in TrustAnchors.vendors().roots}
    assert not {root.public_key for root in roots(SEED)} & vendors


@pytest.mark.parametrize("name", PRIMES)
def test_the_shared_rsa_keys_are_keys(name: str) -> None:
    key = rsa_key(name)
    loaded = load_der_private_key(key.export_key("DER"), None)  # checks that both are primes
    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert key.n.bit_length() == RSA_BITS


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIMES)
def test_the_counters_are_the_first_that_give_primes(name: str) -> None:
    for part, counter in zip("pq", PRIMES[name], strict=True):
        found = [pow(2, number - 1, number) == 1 for number in (prime(f"{name}/{part}", c) for c in range(counter + 1))]
        assert found.index(True) == counter


@pytest.mark.parametrize(("kind", "limit"), [(Kind.SGX, 2e-3), (Kind.TDX, 2e-3), (Kind.SNP, 4e-3), (Kind.NITRO, 6e-3)])
def test_evidence_is_made_within_milliseconds(kind: Kind, limit: float) -> None:
    simulate(kind)
    took = []
    for number in range(50):
        start = time.perf_counter()
        simulate(kind, report_data=bytes([number]) * 64)
        took.append(time.perf_counter() - start)
    assert min(took) < limit


def test_the_page_lists_the_faults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tee-simulator.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(Fault)
    for fault, row in rows.items():
        cells = [cell.strip().strip("`") for cell in row.split("|")[2:5]]
        assert cells == [str(EXPECTED[kind].get(fault, "")) for kind in (Kind.TDX, Kind.SNP, Kind.NITRO)]
    assert EXPECTED[Kind.SGX] == EXPECTED[Kind.TDX]
    assert SIMULATOR_OID in page
    assert SIMULATOR_FMSPC.hex() in page
