"""Azure's TPM quotes over the tests' own hardware with exactly one thing wrong: each gives its own code."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.tee.forge_azure import ANCHORS, NONCE, NOW, PCRS, USER_DATA, AzureForgery, jwk, pem
from tests.tee.forge_dcap import Forgery
from tests.tee.forge_snp import DAY, SnpForgery, root_of, rsa_key
from vml.errors import EvidenceRejected, MalformedProof, VerificationError
from vml.tee import AzureClaims, AzureCollateral, Reason, SnpClaims, TdxClaims, TrustAnchors, verify_evidence
from vml.tee.azure.tpm import read_tpm_quote
from vml.tee.reasons import code_of

LONG, PAST = (NOW - DAY, NOW + DAY), (NOW - 50 * DAY, NOW - DAY)
RUNTIME = 1236
OTHER = bytes(31) + b"\x01"


def setting(**values: Any) -> AzureForgery:
    return AzureForgery(item=lambda item: item.update(values))


def without(name: str, **more: Any) -> AzureForgery:
    return AzureForgery(item=lambda item: item.pop(name), **more)


def quote(**values: Any) -> AzureForgery:
    return AzureForgery(item=lambda item: item["tpm_quote"].update(values))


def runtime(**values: Any) -> AzureForgery:
    return AzureForgery(runtime=lambda item: item.update({name.replace("_", "-"): values[name] for name in values}))


def key(**values: Any) -> AzureForgery:
    """The TPM's key, described otherwise."""
    return AzureForgery(runtime=lambda item: item["keys"][0].update(values))


def message(change: Callable[[bytes], bytes]) -> AzureForgery:
    return AzureForgery(message=change)


def put(offset: int, value: bytes) -> AzureForgery:
    """Bytes of the TPM's message replaced before it is signed."""
    return message(lambda data: data[:offset] + value + data[offset + len(value) :])


def swapped(pcrs: list[str]) -> list[str]:
    return [pcrs[1], pcrs[0], *pcrs[2:]]


@cache
def a_short_key() -> dict[str, Any]:
    return jwk("HCLAkPub", rsa.generate_private_key(65537, 1024), "sign")


# Where things stand in the TPM's message.
NONCE_SIZE, SAFE, SELECTION, MASK, DIGEST = 42, 92, 101, 108, 111

# One thing wrong each, and its code.
WRONG: dict[str, tuple[AzureForgery, Reason]] = {
    # Hardware.
    "VCEK of another": (setting(vcek="AAAA"), Reason.VEK_CHAIN),
    "hardware report signed by another": (
        AzureForgery(snp=SnpForgery(signers={"report": "other"})),
        Reason.REPORT_SIGNATURE,
    ),
    "VCEK expired": (AzureForgery(snp=SnpForgery(valid={"vek": PAST})), Reason.VCEK_EXPIRED),
    "reserved byte of the hardware report": (AzureForgery(hcl={32 + 0x4C: b"\x01"}), Reason.MALFORMED),
    "asked for by the guest": (AzureForgery(snp=SnpForgery(changes={0x30: b"\x01"})), Reason.VMPL_REFUSED),
    "TDX quote signed by another": (
        AzureForgery(tdx=True, quote=Forgery(signers={"quote": "pck"})),
        Reason.QUOTE_SIGNATURE,
    ),
    "TDX platform below every level": (AzureForgery(tdx=True, quote=Forgery(pce_svn=1)), Reason.TCB_LEVEL_NONE),
    # Runtime data.
    "runtime data of another": (AzureForgery(report_data=lambda text: OTHER + bytes(32)), Reason.RUNTIME_DATA_MISMATCH),
    "runtime data of another under TDX": (
        AzureForgery(tdx=True, report_data=lambda text: OTHER + bytes(32)),
        Reason.RUNTIME_DATA_MISMATCH,
    ),
    "more than the hash": (
        AzureForgery(report_data=lambda text: hashlib.sha256(text).digest() + OTHER),
        Reason.RUNTIME_DATA_MISMATCH,
    ),
    "another byte of runtime data": (AzureForgery(hcl={RUNTIME + 2: b"K"}), Reason.RUNTIME_DATA_MISMATCH),
    "no JSON": (AzureForgery(runtime_text=lambda text: text[:-1]), Reason.MALFORMED),
    "a list": (AzureForgery(runtime_text=lambda text: b"[]"), Reason.MALFORMED),
    "a deep list": (AzureForgery(runtime_text=lambda text: b"[" * 5000), Reason.MALFORMED),
    "not UTF-8": (AzureForgery(runtime_text=lambda text: b'{"\xff":1}'), Reason.MALFORMED),
    "a name twice": (AzureForgery(runtime_text=lambda text: text[:-1] + b',"keys":[]}'), Reason.MALFORMED),
    "configuration that is a list": (runtime(vm_configuration=[]), Reason.MALFORMED),
    "short user data": (runtime(user_data="00" * 63), Reason.MALFORMED),
    "user data that is a number": (runtime(user_data=1), Reason.MALFORMED),
    "user data that is not hexadecimal": (runtime(user_data="zz" * 64), Reason.MALFORMED),
    # The key.
    "no keys": (AzureForgery(runtime=lambda item: item.pop("keys")), Reason.TPM_KEY_MISMATCH),
    "keys that are an object": (runtime(keys={"kid": "HCLAkPub"}), Reason.TPM_KEY_MISMATCH),
    "keys that are texts": (runtime(keys=["HCLAkPub"]), Reason.TPM_KEY_MISMATCH),
    "key of another name": (key(kid="HCLEkPub"), Reason.TPM_KEY_MISMATCH),
    "two keys of the name": (
        AzureForgery(runtime=lambda item: item["keys"].append(item["keys"][0])),
        Reason.TPM_KEY_MISMATCH,
    ),
    "key of another type": (key(kty="EC"), Reason.TPM_KEY_MISMATCH),
    "key that may do more": (key(key_ops=["sign", "decrypt"]), Reason.TPM_KEY_MISMATCH),
    "exponent 3": (key(e="Aw"), Reason.TPM_KEY_MISMATCH),
    "short key": (AzureForgery(runtime=lambda item: item.update(keys=[a_short_key()])), Reason.TPM_KEY_MISMATCH),
    "even modulus": (key(n="__________8" + "A" * 331), Reason.TPM_SIGNATURE),
    "key without its modulus": (AzureForgery(runtime=lambda item: item["keys"][0].pop("n")), Reason.TPM_KEY_MISMATCH),
    "modulus that is no base64url": (key(n="++++"), Reason.MALFORMED),
    "modulus in another form": (key(n="AB"), Reason.MALFORMED),
    "modulus of five letters": (key(n="AAAAA"), Reason.MALFORMED),
    # The quote.
    "signed by another key": (AzureForgery(signer="ek"), Reason.TPM_SIGNATURE),
    "another signature": (quote(signature="00" * 256), Reason.TPM_SIGNATURE),
    "another register": (AzureForgery(pcrs=(OTHER, *PCRS[1:])), Reason.PCR_MISMATCH),
    "last register": (AzureForgery(pcrs=(*PCRS[:-1], OTHER)), Reason.PCR_MISMATCH),
    "registers swapped": (
        AzureForgery(item=lambda item: item["tpm_quote"].update(pcrs=swapped(item["tpm_quote"]["pcrs"]))),
        Reason.PCR_MISMATCH,
    ),
    "fewer registers selected than hashed": (put(MASK, b"\xff\xff\x7f"), Reason.PCR_MISMATCH),
    "made outside the TPM": (put(0, b"\xff\x54\x43\x48"), Reason.MALFORMED),
    "no quote": (put(4, b"\x80\x17"), Reason.MALFORMED),
    "flag that is none": (put(SAFE, b"\x02"), Reason.MALFORMED),
    "two selections": (put(SELECTION, b"\x00\x00\x00\x02"), Reason.MALFORMED),
    "bank of SHA-1": (put(SELECTION + 4, b"\x00\x04"), Reason.MALFORMED),
    "selection of two bytes": (put(SELECTION + 6, b"\x02"), Reason.MALFORMED),
    "short digest": (message(lambda data: data[:DIGEST] + b"\x00\x1f" + data[DIGEST + 3 :]), Reason.MALFORMED),
    "message cut off": (message(lambda data: data[:-1]), Reason.MALFORMED),
    "message with bytes behind": (message(lambda data: data + b"\x00"), Reason.MALFORMED),
    "nonce longer than the message": (put(NONCE_SIZE, b"\xff\xff"), Reason.MALFORMED),
    # The HCL report.
    "another name": (AzureForgery(hcl={0: b"hcla"}), Reason.MALFORMED),
    "version 0": (AzureForgery(hcl={4: b"\x00"}), Reason.MALFORMED),
    "version 3": (AzureForgery(hcl={4: b"\x03"}), Reason.MALFORMED),
    "another size": (AzureForgery(hcl={8: b"\x00"}), Reason.MALFORMED),
    "another request": (AzureForgery(hcl={12: b"\x01"}), Reason.MALFORMED),
    "a status": (AzureForgery(hcl={16: b"\x01"}), Reason.MALFORMED),
    "a reserved word": (AzureForgery(hcl={31: b"\x01"}), Reason.MALFORMED),
    "another size of the request": (AzureForgery(hcl={1216: b"\x00"}), Reason.MALFORMED),
    "request of version 2": (AzureForgery(hcl={1220: b"\x02"}), Reason.MALFORMED),
    "report of another type": (AzureForgery(hcl={1224: b"\x04"}), Reason.MALFORMED),
    "report of an unknown type": (AzureForgery(hcl={1224: b"\x03"}), Reason.MALFORMED),
    "report of an unknown type under TDX": (AzureForgery(tdx=True, hcl={1224: b"\x03"}), Reason.MALFORMED),
    "SNP report under TDX": (AzureForgery(tdx=True, hcl={1224: b"\x02"}), Reason.MALFORMED),
    "SHA-384": (AzureForgery(hcl={1228: b"\x02"}), Reason.MALFORMED),
    "runtime data longer than the report": (AzureForgery(hcl={1234: b"\x01"}), Reason.MALFORMED),
    "runtime data and all sizes longer than the report": (
        AzureForgery(hcl={10: b"\x01", 1218: b"\x01", 1234: b"\x01"}),
        Reason.MALFORMED,
    ),
    "something behind": (AzureForgery(hcl_end=bytes(199) + b"\x01"), Reason.MALFORMED),
    "too long": (AzureForgery(hcl_end=bytes(1 << 14)), Reason.MALFORMED),
    "too short": (setting(hcl_report="SENMQQ=="), Reason.MALFORMED),
    # The JSON object.
    "another member": (setting(more=1), Reason.MALFORMED),
    "both kinds of hardware": (setting(td_quote="AAAA"), Reason.MALFORMED),
    "no hardware": (without("vcek"), Reason.MALFORMED),
    "no TPM quote": (without("tpm_quote"), Reason.MALFORMED),
    "no version": (without("version"), Reason.MALFORMED),
    "a version in the old form": (AzureForgery(old=True, item=lambda item: item.update(version=0)), Reason.MALFORMED),
    "TDX in the old form": (
        AzureForgery(old=True, item=lambda item: item.update(td_quote=item.pop("vcek"))),
        Reason.MALFORMED,
    ),
    "version 3 of the evidence": (setting(version=3), Reason.MALFORMED),
    "version true": (setting(version=True), Reason.MALFORMED),
    "version 1.0": (setting(version=1.0), Reason.MALFORMED),
    "TPM quote that is a text": (setting(tpm_quote="quote"), Reason.MALFORMED),
    "more in the TPM quote": (quote(more=""), Reason.MALFORMED),
    "short signature": (quote(signature="00" * 255), Reason.MALFORMED),
    "signature that is not hexadecimal": (quote(signature="zz" * 256), Reason.MALFORMED),
    "half a byte of a message": (quote(message="f"), Reason.MALFORMED),
    "message as a list": (quote(message=[255]), Reason.MALFORMED),
    "23 registers": (AzureForgery(pcrs=PCRS[:23]), Reason.MALFORMED),
    "25 registers": (AzureForgery(pcrs=(*PCRS, OTHER)), Reason.MALFORMED),
    "short register": (AzureForgery(pcrs=(*PCRS[:23], OTHER[1:])), Reason.MALFORMED),
    "registers as a text": (quote(pcrs="00"), Reason.MALFORMED),
    "base64 of the other alphabet": (setting(vcek="++++"), Reason.MALFORMED),
    "base64 without padding": (setting(vcek="AA"), Reason.MALFORMED),
    "base64 with loose bits": (setting(vcek="AB=="), Reason.MALFORMED),
    "base64 with a line": (setting(vcek="AAAA\n"), Reason.MALFORMED),
    "base64 beyond ASCII": (setting(vcek="ÄAAA"), Reason.MALFORMED),
    "base64 that is a number": (setting(vcek=1), Reason.MALFORMED),
    "number beyond a byte": (AzureForgery(old=True, item=lambda item: item["report"].append(256)), Reason.MALFORMED),
    "number that is true": (AzureForgery(old=True, item=lambda item: item["report"].append(False)), Reason.MALFORMED),
    "number that is a fraction": (
        AzureForgery(old=True, item=lambda item: item["report"].append(0.0)),
        Reason.MALFORMED,
    ),
    "bytes that are a text": (AzureForgery(old=True, item=lambda item: item.update(report="")), Reason.MALFORMED),
    "PEM twice": (AzureForgery(old=True, item=lambda item: item.update(vcek=item["vcek"] * 2)), Reason.MALFORMED),
    "no PEM": (AzureForgery(old=True, item=lambda item: item.update(vcek="")), Reason.MALFORMED),
    "PEM beyond ASCII": (
        AzureForgery(old=True, item=lambda item: item.update(vcek=item["vcek"] + "ÄÄ")),
        Reason.MALFORMED,
    ),
    "PEM of another": (AzureForgery(old=True, item=lambda item: item.update(vcek=pem(b"\x30"))), Reason.VEK_CHAIN),
    "JSON cut off": (AzureForgery(text=lambda text: text[:-1]), Reason.MALFORMED),
    "JSON with something behind": (AzureForgery(text=lambda text: text + "1"), Reason.MALFORMED),
    "JSON twice the name": (AzureForgery(text=lambda text: text[:-1] + ', "version": 2}'), Reason.MALFORMED),
    "JSON too long": (AzureForgery(text=lambda text: text + " " * (1 << 18)), Reason.MALFORMED),
}


def verify(forgery: AzureForgery, anchors: TrustAnchors = ANCHORS, at: int = NOW) -> AzureClaims:
    found = verify_evidence(forgery.evidence(), anchors, at)
    assert isinstance(found, AzureClaims)
    return found


@pytest.mark.parametrize(
    "forgery",
    [AzureForgery(), AzureForgery(old=True), AzureForgery(tdx=True), AzureForgery(tdx=True, quote=Forgery(version=5))],
    ids=["SNP", "SNP, old form", "TDX v4", "TDX v5"],
)
def test_good_evidence(forgery: AzureForgery) -> None:
    found = verify(forgery)
    assert isinstance(found.hardware, TdxClaims if forgery.tdx else SnpClaims)
    assert found.nonce == found.extra_data == NONCE
    assert found.runtime_user_data == USER_DATA
    assert found.bound_digest is None
    assert found.vm_configuration == {"secure-boot": True, "tpm-enabled": True}
    assert found.pcrs == dict(enumerate(PCRS))
    assert found.measurements["pcr23"] == PCRS[23]
    assert found.report_data == found.hardware.report_data
    assert found.platform_id == found.hardware.platform_id is not None
    assert (found.window, found.debug, found.simulated) == (found.hardware.window, False, False)


@pytest.mark.parametrize(("forgery", "reason"), WRONG.values(), ids=WRONG)
def test_one_thing_wrong(forgery: AzureForgery, reason: Reason) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(forgery)
    assert code_of(refused.value) == reason


def test_collateral_of_the_hardware_inside() -> None:
    snp, tdx = AzureForgery().evidence(), AzureForgery(tdx=True).evidence()
    assert isinstance(snp.collateral, AzureCollateral)
    for evidence, collateral in (
        (snp, None),
        (snp, snp.collateral.hardware),
        (snp, tdx.collateral),
        (tdx, None),
        (tdx, snp.collateral),
    ):
        with pytest.raises(EvidenceRejected) as refused:
            verify_evidence(replace(evidence, collateral=collateral), ANCHORS, NOW)
        assert refused.value.reason == Reason.COLLATERAL_MISSING


def test_no_log_comes_with_it() -> None:
    with pytest.raises(MalformedProof):
        verify_evidence(replace(AzureForgery().evidence(), event_log=b"[]"), ANCHORS, NOW)


def test_only_registers_that_were_quoted_are_claims() -> None:
    found = verify(
        AzureForgery(selected=(0, 7, 8, 23), pcrs=(PCRS[0], *(OTHER,) * 6, *PCRS[7:9], *(OTHER,) * 14, PCRS[23]))
    )
    assert found.pcrs == {index: PCRS[index] for index in (0, 7, 8, 23)}
    assert verify(AzureForgery(selected=())).pcrs == {}


def test_what_is_bound_was_signed_together_with_the_registers() -> None:
    """A report of an earlier boot, of any system, beside a quote of the accepted one binds nothing of its own."""
    digest, nonce, evil = b"\xd1" * 32, b"\x5a" * 32, b"\xee" * 32
    quoted = AzureForgery(nonce=digest + nonce).evidence()
    found = verify(AzureForgery(nonce=digest + nonce))
    assert (found.bound_digest, found.nonce) == (digest, nonce)
    earlier = AzureForgery(runtime=lambda item: item.update({"user-data": (evil + bytes(32)).hex().upper()})).evidence()
    mixed = json.loads(earlier.data) | {"tpm_quote": json.loads(quoted.data)["tpm_quote"]}
    put_together = verify_evidence(replace(earlier, data=json.dumps(mixed).encode()), ANCHORS, NOW)
    assert (put_together.bound_digest, put_together.nonce) == (digest, nonce)
    for length in (31, 32, 63):
        assert verify(AzureForgery(nonce=bytes(length))).bound_digest is None


def test_what_the_guest_chose_may_be_missing() -> None:
    found = verify(AzureForgery(runtime=lambda item: (item.pop("user-data"), item.pop("vm-configuration"))))
    assert (found.runtime_user_data, found.bound_digest, found.vm_configuration) == (None, None, {})
    assert verify(AzureForgery(nonce=b"")).nonce == b""


def test_the_hardware_limits_the_life() -> None:
    found = verify(AzureForgery(snp=SnpForgery(valid={"vek": LONG})))
    assert (found.not_after, found.limited_by) == (LONG[1], "vcek")
    assert verify(AzureForgery(snp=SnpForgery(changes={0x0A: b"\x0b"}))).debug
    marked = AzureForgery(snp=SnpForgery(marked=True))
    with pytest.raises(EvidenceRejected) as refused:
        verify(marked)
    assert refused.value.reason == Reason.SIMULATED_EVIDENCE
    simulator = TrustAnchors.vendors().with_simulator([root_of("Milan", marked=True, simulated=True)])
    assert verify(marked, simulator).simulated


def test_two_forms_of_one_piece_of_evidence_share_an_identity() -> None:
    new, other = verify(AzureForgery()), verify(AzureForgery(nonce=OTHER))
    spaced = AzureForgery(text=lambda text: json.dumps(json.loads(text), indent=3), hcl_end=bytes(7))
    assert verify(AzureForgery(old=True)).evidence_id == verify(spaced).evidence_id == new.evidence_id
    assert new.evidence_id not in (other.evidence_id, new.hardware.evidence_id)
    assert verify(AzureForgery(tdx=True)).evidence_id != new.evidence_id


def test_the_keys_are_two() -> None:
    assert rsa_key("tpm") is not rsa_key("ek")


def test_every_cut_of_a_message_is_refused() -> None:
    data = AzureForgery().quoted()
    assert read_tpm_quote(data).extra_data == NONCE
    for size in range(len(data)):
        with pytest.raises(MalformedProof):
            read_tpm_quote(data[:size])


def test_deep_json_is_refused_whatever_the_recursion_limit() -> None:
    """Libraries raise that limit, and a parser that goes down with the text then ends the process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1 << 20)
    try:
        for text in ("[" * 200_000, '{"quote":' * 25_000):
            with pytest.raises(MalformedProof):
                verify_evidence(replace(AzureForgery().evidence(), data=text.encode()), ANCHORS, NOW)
    finally:
        sys.setrecursionlimit(limit)
