"""GPU reports with one thing wrong: each gives its code. Good ones give their claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from signxml import DigestAlgorithm, SignatureMethod

from tests.tee.forge_nvidia import (
    ANCHORS,
    BLOCKS,
    DAY,
    DEVICE,
    DRIVER,
    FIRMWARE,
    GOOD,
    NONCE,
    NOW,
    OPAQUE,
    PRODUCT,
    SERIAL,
    SIGNERS,
    SWID,
    VBIOS,
    GpuForgery,
    fwid_extension,
    root_of,
    sign_manifest,
    signed_report,
    value,
)
from vml.errors import EvidenceRejected, VerificationError
from vml.tee import Evidence, Family, Kind, NvidiaClaims, NvidiaCollateral, Reason, TrustAnchors, verify_evidence
from vml.tee.nvidia.rim import MAX_RIM
from vml.tee.reasons import code_of

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


@cache
def good() -> Evidence:
    return GpuForgery().evidence()


def collateral() -> NvidiaCollateral:
    found = good().collateral
    assert isinstance(found, NvidiaCollateral)
    return found


def verify(evidence: Evidence, at: int = NOW, anchors: TrustAnchors = ANCHORS) -> NvidiaClaims:
    found = verify_evidence(evidence, anchors, at)
    assert isinstance(found, NvidiaClaims)
    return found


def code(evidence: Evidence, at: int = NOW, anchors: TrustAnchors = ANCHORS) -> str:
    """The code of the refusal, with the rest of the message."""
    with pytest.raises(VerificationError) as refused:
        verify_evidence(evidence, anchors, at)
    return str(code_of(refused.value))


def report(data: bytes) -> Evidence:
    return Evidence(Kind.NVIDIA, data, NvidiaCollateral(GpuForgery().chain()))


def manifests(driver: bytes) -> Evidence:
    return replace(good(), collateral=replace(collateral(), driver_rim=driver))


def signed_text(change: Callable[[str], str]) -> Evidence:
    """The driver's manifest, altered and then signed by the one who may."""
    forgery = GpuForgery()
    text = change(forgery.text("driver").decode())
    return manifests(sign_manifest(text.encode(), "signer", [forgery.certificate(name) for name in SIGNERS]))


def test_the_claims() -> None:
    found = verify(good())
    assert found.spdm_nonce == found.nonce == found.report_data == NONCE
    assert found.measurements == {f"block{index}": digest for index, digest in BLOCKS.items()}
    assert (found.driver_version, found.vbios_version) == (DRIVER, VBIOS)
    assert found.fwid == FIRMWARE
    assert (found.device_id.hex(), found.product) == (SERIAL, PRODUCT)
    assert found.platform_id == found.device_id
    assert found.matched == 9
    assert not found.debug
    assert not found.simulated
    assert found.bound_digest is None
    assert found.opaque["FIELD_99"] == b"unknown"
    assert found.window.not_after == NOW + 900 * DAY
    assert found.limited_by == "device_chain"


def test_without_manifests_nothing_is_matched_and_debug_is_not_ruled_out() -> None:
    found = verify(GpuForgery().bare())
    assert found.matched is None
    assert found.debug
    assert found.window.closed_by == "device_chain"


def test_older_reports_name_no_firmware() -> None:
    assert verify(GpuForgery(opaque=OPAQUE[:3]).evidence()).fwid is None


def test_the_other_s_is_the_same_evidence() -> None:
    data = good().data
    twin = data[:-48] + (P384_ORDER - int.from_bytes(data[-48:], "big")).to_bytes(48, "big")
    assert verify(replace(good(), data=twin)).evidence_id == verify(good()).evidence_id
    assert verify(GpuForgery(nonce=bytes(32)).evidence()).evidence_id != verify(good()).evidence_id


@pytest.mark.parametrize("which", ["driver", "vbios"])
def test_the_window_is_the_manifests(which: str) -> None:
    forgery = GpuForgery(valid={"signer": (NOW - DAY, NOW + DAY)})
    other = GpuForgery()
    collateral = replace(other.collateral(), **{f"{which}_rim": forgery.manifest(which)})
    found = verify(replace(other.evidence(), collateral=collateral))
    assert (found.window.not_before, found.window.opened_by) == (NOW - DAY, f"{which}_rim")
    assert (found.not_after, found.limited_by) == (NOW + DAY, f"{which}_rim")


HEAD = 37
BROKEN = {
    "empty": lambda d: b"",
    "too long": lambda d: d + bytes(1 << 16),
    "trailing byte": lambda d: d + b"\x00",
    "a byte short": lambda d: d[:-1],
    "request of another version": lambda d: b"\x12" + d[1:],
    "another request": lambda d: d[:1] + b"\xe1" + d[2:],
    "no signature asked for": lambda d: d[:2] + b"\x00" + d[3:],
    "not all measurements": lambda d: d[:3] + b"\x01" + d[4:],
    "slot out of range": lambda d: d[:36] + b"\x08" + d[37:39] + b"\x00\x08" + d[41:],
    "answer of another version": lambda d: d[:HEAD] + b"\x12" + d[HEAD + 1 :],
    "another answer": lambda d: d[: HEAD + 1] + b"\x61" + d[HEAD + 2 :],
    "reserved byte": lambda d: d[: HEAD + 2] + b"\x01" + d[HEAD + 3 :],
    "another slot": lambda d: d[: HEAD + 3] + b"\x01" + d[HEAD + 4 :],
    "a block more": lambda d: d[: HEAD + 4] + b"\x0d" + d[HEAD + 5 :],
    "record too long": lambda d: d[: HEAD + 7] + b"\x01" + d[HEAD + 8 :],
    "another kind of block": lambda d: d[: HEAD + 9] + b"\x02" + d[HEAD + 10 :],
    "block of another size": lambda d: d[: HEAD + 10] + b"\x32" + d[HEAD + 11 :],
    "raw value": lambda d: d[: HEAD + 12] + b"\x81" + d[HEAD + 13 :],
    "value of another size": lambda d: d[: HEAD + 13] + b"\x2f" + d[HEAD + 14 :],
    "block 0": lambda d: d[: HEAD + 8] + b"\x00" + d[HEAD + 9 :],
    "block 255": lambda d: d[: HEAD + 8] + b"\xff" + d[HEAD + 9 :],
    "block twice": lambda d: d[: HEAD + 8] + b"\x02" + d[HEAD + 9 :],
    "opaque length": lambda d: d[: HEAD + 8 + 12 * 55 + 32] + b"\x01" + d[HEAD + 8 + 12 * 55 + 33 :],
    "opaque field runs over": lambda d: d[: HEAD + 8 + 12 * 55 + 36] + b"\xff" + d[HEAD + 8 + 12 * 55 + 37 :],
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_reports(name: str) -> None:
    """Signed or not: a form that is not the one form is not read."""
    made = BROKEN[name](good().data)
    assert code(report(made)) == "MALFORMED"
    assert code(report(signed_report(made[:-96]))) == "MALFORMED" or name in ("a byte short", "trailing byte")


@pytest.mark.parametrize(
    "opaque",
    [
        OPAQUE[1:],
        OPAQUE[:1],
        (*OPAQUE, OPAQUE[0]),
        (*OPAQUE[:3], (20, bytes(32))),
        ((6, bytes(7)), *OPAQUE[1:]),
        (OPAQUE[0], (3, b"\x00")),
        (OPAQUE[0], (3, b"550\x00.1")),
        (OPAQUE[0], (3, b"5\xff0\x00")),
        (OPAQUE[0], (3, b"5" * 33)),
    ],
    ids=["no vbios", "no driver", "twice", "short fwid", "vbios size", "empty", "inner zero", "not ascii", "long"],
)
def test_malformed_fields(opaque: tuple[tuple[int, bytes], ...]) -> None:
    assert code(GpuForgery(opaque=opaque).bare()) == "MALFORMED"


def test_a_block_of_another_length() -> None:
    assert code(GpuForgery(blocks={**BLOCKS, 3: bytes(32)}).bare()) == "MALFORMED"


def test_collateral_is_missing() -> None:
    assert code(replace(good(), collateral=None)) == Reason.COLLATERAL_MISSING


def test_an_event_log_is_of_other_kinds() -> None:
    assert code(replace(good(), event_log=b"")) == "MALFORMED"


CHAINS = {
    "empty": GpuForgery(device=()),
    "without the device": GpuForgery(device=(DEVICE[0], *DEVICE[2:])),
    "one less": GpuForgery(device=(*DEVICE[:2], *DEVICE[3:]), issuers={"device": "product"}),
    "one more": GpuForgery(device=(*DEVICE, "rim root")),
    "swapped": GpuForgery(device=(DEVICE[0], DEVICE[2], DEVICE[1], *DEVICE[3:])),
    "without a number": GpuForgery(serial=""),
    "without a name": GpuForgery(common=""),
    "a number that is none": GpuForgery(serial="zz"),
    **{f"{name} by another": GpuForgery(issuers={name: "other root"}) for name in DEVICE[:-1]},
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_chain_of_the_device(name: str) -> None:
    assert code(CHAINS[name].bare()) == Reason.GPU_CHAIN


def test_a_chain_that_is_no_text() -> None:
    assert code(Evidence(Kind.NVIDIA, good().data, NvidiaCollateral(b"-----BEGIN"))) == Reason.GPU_CHAIN


@pytest.mark.parametrize("name", DEVICE)
def test_the_times_of_the_device(name: str) -> None:
    forgery = GpuForgery(valid={name: (NOW - DAY, NOW + DAY)})
    anchors = TrustAnchors([root_of("device root", Family.NVIDIA_DEVICE, forgery)])
    for at in (NOW - DAY, NOW + DAY):
        assert verify(forgery.bare(), at, anchors).matched is None
    assert code(forgery.bare(), NOW + DAY + 1, anchors) == Reason.CERTIFICATE_EXPIRED
    assert code(forgery.bare(), NOW - DAY - 1, anchors) == Reason.CERTIFICATE_NOT_YET_VALID


def test_roots_are_for_one_purpose() -> None:
    """The root of manifests may not stand for devices, nor the other way round."""
    only_rims = TrustAnchors([root_of("device root", Family.NVIDIA_RIM), root_of("rim root", Family.NVIDIA_RIM)])
    assert code(good(), anchors=only_rims) == Reason.UNTRUSTED_ROOT
    only_devices = [root_of(name, Family.NVIDIA_DEVICE) for name in ("device root", "rim root")]
    assert code(good(), anchors=TrustAnchors(only_devices)) == Reason.UNTRUSTED_ROOT
    assert code(good(), anchors=TrustAnchors.vendors()) == Reason.UNTRUSTED_ROOT


@pytest.mark.parametrize("at", [4, 52, HEAD + 8 + 12 * 55, -97, -96, -1])
def test_a_bit_of_what_is_signed(at: int) -> None:
    data = bytearray(good().data)
    data[at] ^= 1
    assert code(replace(good(), data=bytes(data))) == Reason.SPDM_SIGNATURE


@pytest.mark.parametrize("data", [signed_report(GpuForgery().signed(), "device"), GpuForgery().signed() + bytes(96)])
def test_another_signature(data: bytes) -> None:
    assert code(replace(good(), data=data)) == Reason.SPDM_SIGNATURE


@pytest.mark.parametrize(
    "forgery",
    [
        GpuForgery(extension=fwid_extension(bytes(48))),
        GpuForgery(extension=b""),
        GpuForgery(extension=b"\x30\x00"),
        GpuForgery(extension=fwid_extension() + b"\x00"),
        GpuForgery(extension=fwid_extension(algorithm="608648016503040203")),
        GpuForgery(extension=fwid_extension(FIRMWARE + b"\x00")),
        GpuForgery(extension=fwid_extension()[:2] + b"\x04" + fwid_extension()[3:]),
        GpuForgery(opaque=(*OPAQUE[:3], (20, bytes(48)))),
    ],
    ids=["another", "none", "empty", "trailing", "algorithm", "size", "wrong tag", "report"],
)
def test_firmware(forgery: GpuForgery) -> None:
    assert code(forgery.bare()) == Reason.FWID_MISMATCH


@pytest.mark.parametrize("name", ["driver_rim", "vbios_rim"])
def test_one_manifest_alone(name: str) -> None:
    assert code(replace(good(), collateral=replace(collateral(), **{name: b""}))) == Reason.RIM_MISSING


def names(form: bytes, count: int) -> bytes:
    return b" ".join(form % index for index in range(count))


DOCTYPE = '<!DOCTYPE SoftwareIdentity [<!ENTITY a "b">]>'
TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "not xml": lambda d: b"swid",
    "cut off": lambda d: d[:-5],
    "white space": lambda d: b"   ",
    "too long": lambda d: d + b" " * MAX_RIM,
    "document type": lambda d: DOCTYPE.encode() + d,
    "document type after a declaration": lambda d: b"<?xml version='1.0'?>" + DOCTYPE.encode() + d,
    "comment": lambda d: d.replace(b"<s:Payload>", b"<s:Payload><!-- -->"),
    "instruction": lambda d: d.replace(b"<s:Payload>", b"<s:Payload><?x y?>"),
    "entity": lambda d: d.replace(b"<s:Payload>", b"<s:Payload>&a;"),
    "UTF-16": lambda d: d.decode().encode("utf-16"),
    "another element": lambda d: b"<a/>",
    "two signatures": lambda d: d.replace(b"<ds:Signature ", b"<ds:Signature xmlns:ds='x'/><ds:Signature ").replace(
        b"xmlns:ds='x'", b"xmlns:ds='http://www.w3.org/2000/09/xmldsig#'"
    ),
    "certificate not base64": lambda d: d.replace(b"<ds:X509Certificate>", b"<ds:X509Certificate>*"),
    "certificate not DER": lambda d: d.replace(b"<ds:X509Certificate>", b"<ds:X509Certificate>AAAA"),
    "too many certificates": lambda d: re.sub(b"(<ds:X509Cert[^>]*>[^<]*</ds:X509Cert[^>]*>)", rb"\1\1\1", d),
    "no signature": lambda d: GpuForgery().text("driver"),
    "namespaces": lambda d: d.replace(b"<s:Payload", b"<s:Payload " + names(b'xmlns:a%d="x:y"', 32)),
    "attributes": lambda d: d.replace(b"<s:Payload", b"<s:Payload " + names(b'a%d=""', 129)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_manifests_that_are_not_read(name: str) -> None:
    assert code(manifests(TEXTS[name](collateral().driver_rim))) == "MALFORMED"


def test_a_declaration_is_allowed() -> None:
    assert verify(manifests(b"<?xml version='1.0' encoding='UTF-8'?>\n" + collateral().driver_rim)).matched == 9


@pytest.mark.parametrize(
    "forgery",
    [
        GpuForgery(rim_certificates=SIGNERS[:1]),
        GpuForgery(rim_certificates=SIGNERS[::2]),
        GpuForgery(rim_certificates=("signer", "issuer", "other root")),
        GpuForgery(issuers={"signer": "other root"}),
        GpuForgery(rim_certificates=SIGNERS[1:], rim_signer="issuer"),
    ],
    ids=["alone", "gap", "another root", "another issuer", "an authority signs"],
)
def test_the_chain_of_a_manifest(forgery: GpuForgery) -> None:
    assert code(manifests(forgery.manifest("driver"))) == Reason.RIM_CHAIN


def test_a_manifest_under_the_devices_root() -> None:
    forgery = GpuForgery(rim_certificates=("key", *DEVICE[1:]), rim_signer="key")
    assert code(manifests(forgery.manifest("driver"))) == Reason.UNTRUSTED_ROOT


@pytest.mark.parametrize("which", ["driver", "vbios"])
@pytest.mark.parametrize("name", SIGNERS)
def test_the_times_of_a_manifest(name: str, which: str) -> None:
    forgery = GpuForgery(valid={name: (NOW - DAY, NOW + DAY)})
    roots = [root_of("rim root", Family.NVIDIA_RIM, forgery), root_of("rim root", Family.NVIDIA_RIM)]
    anchors = TrustAnchors([root_of("device root", Family.NVIDIA_DEVICE), *roots])
    made = replace(good(), collateral=replace(collateral(), **{f"{which}_rim": forgery.manifest(which)}))
    for at in (NOW - DAY, NOW + DAY):
        assert verify(made, at, anchors).matched == 9
    assert code(made, NOW + DAY + 1, anchors) == Reason.RIM_CERT_EXPIRED
    assert code(made, NOW - DAY - 1, anchors) == Reason.CERTIFICATE_NOT_YET_VALID


def test_the_signature_of_a_manifest() -> None:
    driver = collateral().driver_rim
    changed = driver.replace(value(0).hex().encode(), value(1).hex().encode())
    assert changed != driver
    assert code(manifests(changed)) == Reason.RIM_SIGNATURE
    other = GpuForgery()
    made = sign_manifest(other.text("driver"), "key", [other.certificate(name) for name in SIGNERS])
    assert code(manifests(made)) == Reason.RIM_SIGNATURE


@pytest.mark.parametrize(
    "algorithms",
    [
        (SignatureMethod.ECDSA_SHA256, DigestAlgorithm.SHA384),
        (SignatureMethod.ECDSA_SHA384, DigestAlgorithm.SHA256),
    ],
    ids=["signature", "digest"],
)
def test_other_algorithms(algorithms: tuple[SignatureMethod, DigestAlgorithm]) -> None:
    forgery = GpuForgery()
    certificates = [forgery.certificate(name) for name in SIGNERS]
    made = sign_manifest(forgery.text("driver"), "signer", certificates, *algorithms)
    assert code(manifests(made)) == Reason.RIM_SIGNATURE


def test_a_part_is_signed() -> None:
    """The signature holds and covers the list alone, without what it is about."""
    forgery = GpuForgery()
    text = forgery.text("driver").replace(b"<s:Payload>", b'<s:Payload Id="p">')
    certificates = [forgery.certificate(name) for name in SIGNERS]
    assert code(manifests(sign_manifest(text, "signer", certificates, part="#p"))) == Reason.RIM_SIGNATURE


def test_only_what_is_signed_is_read() -> None:
    """A signed manifest wrapped in another one: the signature holds, and covers none of the wrapper."""
    inner = collateral().driver_rim.decode()
    signature = inner[inner.index("<ds:Signature") : inner.index("</ds:Signature>") + len("</ds:Signature>")]
    lie = GpuForgery().text("driver").decode().replace(value(0).hex(), bytes(48).hex())
    wrapped = lie.replace("</SoftwareIdentity>", f"{inner.replace(signature, '')}{signature}</SoftwareIdentity>")
    assert code(manifests(wrapped.encode())) == Reason.RIM_SIGNATURE


SIGNED = {
    "no version": lambda t: t.replace(f' colloquialVersion="{DRIVER}"', ""),
    "empty version": lambda t: t.replace(f'colloquialVersion="{DRIVER}"', 'colloquialVersion=""'),
    "no product": lambda t: t.replace(f' product="{PRODUCT}"', ""),
    "two of them": lambda t: t.replace("<s:Meta ", '<s:Meta colloquialVersion="1" product="x"/><s:Meta '),
    "no payload": lambda t: t.replace("s:Payload", "s:Other"),
    "two payloads": lambda t: t.replace("<s:Payload>", "<s:Payload/><s:Payload>"),
    "nothing in it": lambda t: t[: t.index("<s:Payload>") + 11] + t[t.index("</s:Payload>") :],
    "another element": lambda t: t.replace("<s:Resource", "<s:File", 1),
    "another type": lambda t: t.replace('type="Measurement"', 'type="Other"', 1),
    "another size": lambda t: t.replace('size="48"', 'size="32"', 1),
    "no index": lambda t: t.replace('index="0"', "", 1),
    "index twice": lambda t: t.replace('index="1"', 'index="0"', 1),
    "index out of range": lambda t: t.replace('index="1"', 'index="254"', 1),
    "index with a sign": lambda t: t.replace('index="1"', 'index="+1"', 1),
    "index in other digits": lambda t: t.replace('index="1"', 'index="١"', 1),
    "active or not": lambda t: t.replace('active="True"', 'active="true"', 1),
    "no alternatives": lambda t: t.replace('alternatives="2"', 'alternatives="0"', 1),
    "none at all": lambda t: re.sub(
        'alternatives="2" h:Hash0="[0-9a-f]*" h:Hash1="[0-9a-f]*"', 'alternatives="0"', t, count=1
    ),
    "index with a zero": lambda t: t.replace('index="1"', 'index="01"', 1),
    "fewer than there are": lambda t: t.replace('alternatives="2"', 'alternatives="1"', 1),
    "more than there are": lambda t: t.replace('alternatives="2"', 'alternatives="3"', 1),
    "not hexadecimal": lambda t: t.replace(value(0).hex(), "zz" * 48),
    "another length": lambda t: t.replace(value(0).hex(), "00" * 32),
    "white space": lambda t: t.replace(value(0).hex(), " " + value(0).hex()),
    "nothing active": lambda t: t.replace('active="True"', 'active="False"'),
}


@pytest.mark.parametrize("name", SIGNED)
def test_signed_manifests_that_say_nothing(name: str) -> None:
    assert code(signed_text(SIGNED[name])) == "MALFORMED"


MISMATCHES = {
    "9 of 9": GpuForgery(blocks={index: bytes(48) for index in BLOCKS}),
    "1 of 9": GpuForgery(blocks={**BLOCKS, 7: bytes(48)}),
    "2 of 9": GpuForgery(blocks={index: digest for index, digest in BLOCKS.items() if index not in (1, 9)}),
    "both manifests speak": GpuForgery(good={**GOOD, "vbios": {5: [value(5)], **GOOD["vbios"]}}),
    "manifests of GH100 GH100 1.0": GpuForgery(versions={"driver": "1.0", "vbios": VBIOS}),
    "manifests of GH100 GH100 550.90.07 1.0": GpuForgery(versions={"driver": DRIVER, "vbios": "1.0"}),
    "manifests of GB100 GH100": GpuForgery(products={"driver": "GB100", "vbios": PRODUCT}),
    "manifests of GH100 GB100": GpuForgery(products={"driver": PRODUCT, "vbios": "GB100"}),
    "the GPU is LS10": GpuForgery(common="LS10 A01"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_other_measurements_than_published(name: str) -> None:
    with pytest.raises(EvidenceRejected, match=name) as refused:
        verify(MISMATCHES[name].evidence())
    assert refused.value.reason == Reason.RIM_MISMATCH


def test_passive_measurements_do_not_count() -> None:
    forgery = GpuForgery(blocks={**BLOCKS, 1: bytes(48)}, passive=(0,))
    assert verify(forgery.evidence()).matched == 8


def test_manifests_in_the_wrong_place() -> None:
    swapped = replace(collateral(), driver_rim=collateral().vbios_rim, vbios_rim=collateral().driver_rim)
    assert code(replace(good(), collateral=swapped)) == Reason.RIM_MISMATCH


def test_the_namespace_is_the_standards() -> None:
    assert code(signed_text(lambda t: t.replace(f'xmlns="{SWID}"', 'xmlns="urn:x"'))) == "MALFORMED"
