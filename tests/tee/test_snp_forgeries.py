"""SEV-SNP reports under a root of the tests' own with exactly one thing wrong: each gives its own code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.tee.forge_snp import (
    ANCHORS,
    ARC,
    CHIP,
    DAY,
    NOW,
    TCB,
    TURIN_TCB,
    SnpForgery,
    ia5,
    integer,
    root_of,
)
from vml.errors import EvidenceRejected, MalformedProof, VerificationError
from vml.tee import Evidence, Reason, SnpClaims, TrustAnchors, verify_evidence
from vml.tee.reasons import code_of
from vml.tee.snp.endorsement import product_of
from vml.tee.snp.report import REPORT, read_report
from vml.tee.verified import SnpTcb

PAST, FUTURE, LONG = (NOW - 50 * DAY, NOW - DAY), (NOW + DAY, NOW + 50 * DAY), (NOW - DAY, NOW + DAY)
GOOD = {
    f"{product} {'VLEK' if vlek else 'VCEK'}, version {version}": SnpForgery(product, vlek, version)
    for product, vlek, version in [
        ("Milan", False, 2),
        ("Milan", True, 2),
        ("Milan", False, 3),
        ("Milan", True, 5),
        ("Genoa", False, 4),
        ("Genoa", True, 3),
        ("Turin", False, 5),
        ("Turin", True, 5),
        ("Turin", False, 2),
    ]
}
MILAN = SnpForgery()

# One thing wrong each, and its code.
WRONG: dict[str, tuple[SnpForgery, Reason]] = {
    # The chain.
    "no VCEK": (SnpForgery(collateral={"vek": b""}), Reason.COLLATERAL_MISSING),
    "no chain": (SnpForgery(collateral={"chain": b""}), Reason.COLLATERAL_MISSING),
    "VCEK that is no certificate": (SnpForgery(collateral={"vek": b"\x30\x00"}), Reason.VEK_CHAIN),
    "chain that is no PEM": (SnpForgery(collateral={"chain": b"certificates"}), Reason.VEK_CHAIN),
    "chain without its root": (SnpForgery(chain=("ask",)), Reason.VEK_CHAIN),
    "chain without the signing key": (SnpForgery(chain=("root",)), Reason.VEK_CHAIN),
    "VCEK straight under the root": (SnpForgery(signers={"vek": "root"}, chain=("root",)), Reason.VEK_CHAIN),
    "chain out of order": (SnpForgery(chain=("root", "ask")), Reason.VEK_CHAIN),
    "root twice": (SnpForgery(chain=("ask", "root", "root")), Reason.VEK_CHAIN),
    "VCEK signed by another": (SnpForgery(signers={"vek": "other"}), Reason.VEK_CHAIN),
    "signing key under another root": (SnpForgery(signers={"ask": "other"}), Reason.VEK_CHAIN),
    "signing key without the right": (SnpForgery(authorities=("root",)), Reason.VEK_CHAIN),
    "VCEK with rights of an issuer": (SnpForgery(authorities=("root", "ask", "vek")), Reason.VEK_CHAIN),
    "VCEK with an unknown critical extension": (SnpForgery(critical=(ARC + "1",)), Reason.VEK_CHAIN),
    "VCEK on another curve": (SnpForgery(curve=ec.SECP256R1), Reason.VEK_CHAIN),
    "another root": (SnpForgery(signers={"ask": "other"}, chain=("ask", "other")), Reason.UNTRUSTED_ROOT),
    "root with other days": (SnpForgery(valid={"root": LONG}), Reason.UNTRUSTED_ROOT),
    "a simulator's root": (SnpForgery(marked=True), Reason.SIMULATED_EVIDENCE),
    # What the certificate endorses.
    "no product": (SnpForgery(extensions={"2": None}), Reason.VEK_CHAIN),
    "product as a number": (SnpForgery(extensions={"2": integer(5)}), Reason.VEK_CHAIN),
    "product that is no text": (SnpForgery(extensions={"2": b"\x16\x02\xff\xff"}), Reason.VEK_CHAIN),
    "empty product": (SnpForgery(extensions={"2": b"\x16\x00"}), Reason.VEK_CHAIN),
    "product with bytes behind it": (SnpForgery(extensions={"2": ia5("Milan") + b"\x00"}), Reason.VEK_CHAIN),
    "unknown product": (SnpForgery(extensions={"2": ia5("Rome")}), Reason.VEK_CHAIN),
    "chip and provider": (SnpForgery(extensions={"5": ia5("CN=provider")}), Reason.VEK_CHAIN),
    "neither chip nor provider": (SnpForgery(extensions={"4": None}), Reason.VEK_CHAIN),
    "short chip id": (SnpForgery(extensions={"4": CHIP[:8]}), Reason.VEK_CHAIN),
    "long chip id on Turin": (SnpForgery("Turin", extensions={"4": CHIP}), Reason.VEK_CHAIN),
    "no microcode": (SnpForgery(extensions={"3.8": None}), Reason.VEK_CHAIN),
    "microcode of 256": (SnpForgery(extensions={"3.8": integer(256)}), Reason.VEK_CHAIN),
    "microcode below zero": (SnpForgery(extensions={"3.8": integer(-37)}), Reason.VEK_CHAIN),
    "empty microcode": (SnpForgery(extensions={"3.8": b"\x02\x00"}), Reason.VEK_CHAIN),
    "no FMC on Turin": (SnpForgery("Turin", extensions={"3.9": None}), Reason.VEK_CHAIN),
    "part that Turin does not have": (SnpForgery("Turin", extensions={"3.5": integer(1)}), Reason.VEK_CHAIN),
    # Times.
    "VCEK expired": (SnpForgery(valid={"vek": PAST}), Reason.VCEK_EXPIRED),
    "VLEK expired": (SnpForgery(vlek=True, valid={"vek": PAST}), Reason.VLEK_EXPIRED),
    "VCEK not valid yet": (SnpForgery(valid={"vek": FUTURE}), Reason.CERTIFICATE_NOT_YET_VALID),
    "signing key expired": (SnpForgery(valid={"ask": PAST}), Reason.CERTIFICATE_EXPIRED),
    "signing key not valid yet": (SnpForgery(valid={"ask": FUTURE}), Reason.CERTIFICATE_NOT_YET_VALID),
    # The revocation list.
    "list that is none": (SnpForgery(collateral={"crl": b"\x30\x00"}), Reason.CRL_INVALID),
    "list by another": (SnpForgery(crl=LONG, crl_signer="other"), Reason.CRL_INVALID),
    "list over": (SnpForgery(crl=PAST), Reason.COLLATERAL_EXPIRED),
    "list of the future": (SnpForgery(crl=FUTURE), Reason.COLLATERAL_NOT_YET_VALID),
    "signing key revoked": (SnpForgery(crl=LONG, revoked=(2,)), Reason.CERTIFICATE_REVOKED),
    # Who signed.
    "signed by another": (SnpForgery(signers={"report": "other"}), Reason.REPORT_SIGNATURE),
    "signature of zeros": (SnpForgery(after={0x2A0: bytes(144)}), Reason.REPORT_SIGNATURE),
    "r beyond the curve": (SnpForgery(after={0x2D0: b"\x01"}), Reason.REPORT_SIGNATURE),
    "s beyond the curve": (SnpForgery(after={0x318: b"\x01"}), Reason.REPORT_SIGNATURE),
    "VCEK that signs as a VLEK": (SnpForgery(changes={0x48: b"\x04"}), Reason.REPORT_SIGNATURE),
    "VLEK that signs as a VCEK": (SnpForgery(vlek=True, changes={0x48: b"\x00"}), Reason.REPORT_SIGNATURE),
    # Product, TCB, chip.
    "certificate of another product": (SnpForgery(extensions={"2": ia5("Genoa")}), Reason.PRODUCT_MISMATCH),
    "certificate of another product than the root": (
        SnpForgery(version=2, extensions={"2": ia5("Genoa")}),
        Reason.PRODUCT_MISMATCH,
    ),
    "processor of another product": (SnpForgery(changes={0x188: b"\x19\x11"}), Reason.PRODUCT_MISMATCH),
    "no processor": (SnpForgery(changes={0x188: bytes(3)}), Reason.PRODUCT_MISMATCH),
    "chip id of another": (SnpForgery(changes={0x1A0: bytes([CHIP[0] ^ 1])}), Reason.CHIP_ID_MISMATCH),
    "chip id masked": (SnpForgery(changes={0x1A0: bytes(64)}), Reason.CHIP_ID_MISMATCH),
    "more of a chip id on Turin": (SnpForgery("Turin", changes={0x1A8: b"\x01"}), Reason.CHIP_ID_MISMATCH),
    "certified microcode differs": (SnpForgery(extensions={"3.8": integer(218)}), Reason.TCB_MISMATCH),
    **{
        f"byte {index} of the TCB": (SnpForgery(changes={0x180 + index: bytes([TCB[index] + 1])}), Reason.TCB_MISMATCH)
        for index in range(8)
    },
    **{
        f"byte {index} of Turin's TCB": (
            SnpForgery("Turin", changes={0x180 + index: bytes([TURIN_TCB[index] + 1])}),
            Reason.TCB_MISMATCH,
        )
        for index in range(8)
    },
    # What a report can be.
    "version 1": (SnpForgery(version=1), Reason.MALFORMED),
    "version 6": (SnpForgery(version=6), Reason.MALFORMED),
    "another algorithm": (SnpForgery(changes={0x34: b"\x02"}), Reason.MALFORMED),
    "no key": (SnpForgery(changes={0x48: b"\x1c"}), Reason.MALFORMED),
    "an unknown key": (SnpForgery(changes={0x48: b"\x08"}), Reason.MALFORMED),
    "an unknown flag": (SnpForgery(changes={0x48: b"\x20"}), Reason.MALFORMED),
    "policy without its bit": (SnpForgery(changes={0x0A: b"\x01"}), Reason.MALFORMED),
    "policy with an unknown bit": (SnpForgery(changes={0x0B: b"\x04"}), Reason.MALFORMED),
    "policy with the highest bit": (SnpForgery(changes={0x0F: b"\x80"}), Reason.MALFORMED),
    "VMPL 4": (SnpForgery(changes={0x30: b"\x04"}), Reason.MALFORMED),
    "the host's own report": (SnpForgery(changes={0x30: b"\xff\xff\xff\xff"}), Reason.MALFORMED),
    "processor in version 2": (SnpForgery(version=2, changes={0x188: b"\x19"}), Reason.MALFORMED),
    "mitigations in version 4": (SnpForgery(version=4, changes={0x207: b"\x01"}), Reason.MALFORMED),
    **{
        f"reserved byte {offset:#x}": (SnpForgery(changes={offset: b"\x01"}), Reason.MALFORMED)
        for offset in (0x4C, 0x4F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x208, 0x29F)
    },
    **{
        f"unsigned byte {offset:#x}": (SnpForgery(after={offset: b"\x01"}), Reason.MALFORMED)
        for offset in (0x330, 0x400, 0x49F)
    },
}


def verify(forgery: SnpForgery, anchors: TrustAnchors = ANCHORS, at: int = NOW) -> SnpClaims:
    found = verify_evidence(forgery.evidence(), anchors, at)
    assert isinstance(found, SnpClaims)
    return found


@pytest.mark.parametrize("forgery", GOOD.values(), ids=GOOD)
def test_a_good_report(forgery: SnpForgery) -> None:
    found, report = verify(forgery), forgery.report()
    turin = forgery.product == "Turin"
    expected = SnpTcb(4, 2, 24, 70, 1) if turin else SnpTcb(4, 0, 24, 219)
    assert found.tcb == found.committed_tcb == found.current_tcb == found.launch_tcb == expected
    assert (found.product, found.version) == (forgery.product, forgery.version)
    assert found.signing_key == ("VLEK" if forgery.vlek else "VCEK")
    assert found.platform_id == (None if forgery.vlek else forgery.chip)
    assert found.mitigations == ((3, 7) if forgery.version == 5 else None)
    assert (found.guest_svn, found.policy, found.vmpl, found.platform_info) == (7, 0x30000, 0, 0x25)
    assert found.report_data == forgery.report_data
    assert (found.bound_digest, found.nonce) == (forgery.report_data[:32], forgery.report_data[32:])
    assert found.measurements == {
        "measurement": report[0x90:0xC0],
        "host_data": report[0xC0:0xE0],
        "id_key_digest": report[0xE0:0x110],
        "author_key_digest": report[0x110:0x140],
    }
    assert (found.family_id, found.image_id) == (report[0x10:0x20], report[0x20:0x30])
    assert found.report_id == report[0x140:0x160]
    assert not found.debug
    assert not found.simulated
    assert (found.not_after, found.limited_by) == (NOW + 900 * DAY, found.signing_key.lower())


@pytest.mark.parametrize(("forgery", "reason"), WRONG.values(), ids=WRONG)
def test_one_thing_wrong(forgery: SnpForgery, reason: Reason) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(forgery)
    assert code_of(refused.value) == reason


def test_lengths_are_exact() -> None:
    report = MILAN.report()
    for data in (b"", report[:-1], report + b"\x00", report * 2, bytes(REPORT)):
        with pytest.raises(MalformedProof):
            read_report(data)


def test_evidence_needs_its_collateral_and_no_log() -> None:
    evidence = MILAN.evidence()
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(replace(evidence, collateral=None), ANCHORS, NOW)
    assert refused.value.reason == Reason.COLLATERAL_MISSING
    with pytest.raises(MalformedProof):
        verify_evidence(replace(evidence, event_log=b"[]"), ANCHORS, NOW)


def test_debug_and_migration_are_claims() -> None:
    assert verify(SnpForgery(changes={0x0A: b"\x0b"})).debug
    assert verify(SnpForgery(changes={0x0A: b"\x07"})).policy == 0x70000
    assert verify(SnpForgery(changes={0x0B: b"\x03"})).policy == 0x3030000
    assert verify(SnpForgery(changes={0x30: b"\x03"})).vmpl == 3
    assert verify(SnpForgery(changes={0x40: b"\xff" * 8})).platform_info == (1 << 64) - 1


def test_who_limits_the_life() -> None:
    limits = {
        "vcek": SnpForgery(valid={"vek": LONG}),
        "vlek": SnpForgery(vlek=True, valid={"vek": LONG}),
        "signing_key": SnpForgery(valid={"ask": LONG}),
        "crl": SnpForgery(crl=LONG),
    }
    for name, forgery in limits.items():
        for at in (NOW - DAY, NOW + DAY):
            found = verify(forgery, at=at)
            assert (found.not_after, found.limited_by) == (NOW + DAY, name)
            assert (found.window.not_before, found.window.opened_by) == (NOW - DAY, name)
        for at in (NOW - DAY - 1, NOW + DAY + 1):
            with pytest.raises(EvidenceRejected):
                verify(forgery, at=at)


def test_a_list_that_names_others_is_no_obstacle() -> None:
    assert verify(SnpForgery(crl=LONG, revoked=(1, 3, 4))).crl_number == 3
    assert verify(SnpForgery(crl=LONG)).crl_issued == LONG[0]
    assert (verify(MILAN).crl_number, verify(MILAN).crl_issued) == (None, None)


def test_the_twin_of_a_signature_is_the_same_evidence() -> None:
    """Both s and n - s are good, so evidence is known by what it says."""
    order = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
    s = int.from_bytes(MILAN.report()[0x2E8:0x330], "little")
    twin = SnpForgery(after={0x2E8: (order - s).to_bytes(72, "little")})
    assert twin.report() != MILAN.report()
    assert verify(twin).evidence_id == verify(MILAN).evidence_id
    assert verify(SnpForgery(changes={0x50: b"\x00"})).evidence_id != verify(MILAN).evidence_id


def test_roots_count_for_their_product() -> None:
    for anchors in (TrustAnchors.vendors(), TrustAnchors([root_of("Genoa")])):
        with pytest.raises(EvidenceRejected) as refused:
            verify(MILAN, anchors)
        assert refused.value.reason == Reason.UNTRUSTED_ROOT
    marked = root_of("Milan", marked=True, simulated=True)
    found = verify(SnpForgery(marked=True), TrustAnchors.vendors().with_simulator([marked]))
    assert found.simulated


def test_certificates_swapped_between_kinds() -> None:
    """A genuine VLEK does not make a VCEK's report good, and the other way round."""
    for vlek in (False, True):
        evidence = SnpForgery(vlek=vlek).evidence()
        other = SnpForgery(vlek=not vlek).evidence().collateral
        with pytest.raises(EvidenceRejected):
            verify_evidence(Evidence(evidence.kind, evidence.data, other), ANCHORS, NOW)


def test_processors() -> None:
    named = {(0x19, 0x0F): "Milan", (0x19, 0x10): "Genoa", (0x19, 0x1F): "Genoa", (0x19, 0xA0): "Genoa"}
    named |= {(0x19, 0xAF): "Genoa", (0x1A, 0x00): "Turin", (0x1A, 0x11): "Turin", (0x19, 0): "Milan"}
    for (family, model), product in named.items():
        assert product_of((family, model, 0)) == product
    for family, model in ((0x17, 0x31), (0x19, 0x20), (0x19, 0x9F), (0x19, 0xB0), (0x1A, 0x20), (0, 0)):
        assert product_of((family, model, 0)) is None
