"""Nitro documents under a root of the tests' own with exactly one thing wrong: each gives its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.tee.forge_nitro import ANCHORS, PROTECTED, NitroForgery, open_map, root_of
from tests.tee.forge_snp import DAY, NOW
from vml.errors import EvidenceRejected, MalformedProof, VerificationError
from vml.tee import Family, NitroClaims, Reason, SnpCollateral, TrustAnchors, verify_evidence
from vml.tee.nitro.cbor import MAX_DEPTH, Reader
from vml.tee.nitro.document import MAX_DOCUMENT, read_document
from vml.tee.reasons import code_of

PAST, FUTURE, LONG = (NOW - 50 * DAY, NOW - DAY), (NOW + DAY, NOW + 50 * DAY), (NOW - DAY, NOW + DAY)
PCR = bytes(47) + b"\x01"


def setting(**values: Any) -> NitroForgery:
    return NitroForgery(payload=lambda item: item.update(values))


def without(name: str) -> NitroForgery:
    return NitroForgery(payload=lambda item: item.pop(name))


def wrapped(outer: Callable[[list[Any]], Any]) -> NitroForgery:
    return NitroForgery(outer=lambda parts: cbor2.dumps(outer(parts)))


def behind(more: bytes) -> NitroForgery:
    return NitroForgery(encode=lambda item: cbor2.dumps(item) + more)


def replaced(old: bytes, new: bytes) -> NitroForgery:
    """A signed payload with some bytes in another form."""

    def encode(item: dict[str, Any]) -> bytes:
        data = cbor2.dumps(item)
        assert old in data
        return data.replace(old, new, 1)

    return NitroForgery(encode=encode)


# One thing wrong each, and its code.
WRONG: dict[str, tuple[NitroForgery, Reason]] = {
    # The chain.
    "no bundle": (setting(cabundle=[]), Reason.NITRO_CHAIN),
    "bundle without its root": (NitroForgery(bundle=("region", "zone", "instance")), Reason.NITRO_CHAIN),
    "bundle without the instance": (NitroForgery(bundle=("root", "region", "zone")), Reason.NITRO_CHAIN),
    "bundle upside down": (NitroForgery(bundle=("instance", "zone", "region", "root")), Reason.NITRO_CHAIN),
    "bundle too long": (NitroForgery(bundle=("root",) * 8 + ("region", "zone", "instance")), Reason.NITRO_CHAIN),
    "certificate that is none": (setting(certificate=b"\x30\x00"), Reason.NITRO_CHAIN),
    "empty certificate": (setting(certificate=b""), Reason.NITRO_CHAIN),
    "bundle of nonsense": (setting(cabundle=[b"root"]), Reason.NITRO_CHAIN),
    "certificate signed by another": (NitroForgery(signers={"leaf": "other"}), Reason.NITRO_CHAIN),
    "zone signed by another": (NitroForgery(signers={"zone": "other"}), Reason.NITRO_CHAIN),
    "instance without the right": (NitroForgery(authorities=("root", "region", "zone")), Reason.NITRO_CHAIN),
    "certificate with rights of an issuer": (
        NitroForgery(authorities=("root", "region", "zone", "instance", "leaf")),
        Reason.NITRO_CHAIN,
    ),
    "certificate with an unknown critical extension": (NitroForgery(critical=("leaf",)), Reason.NITRO_CHAIN),
    "certificate on another curve": (NitroForgery(curve=ec.SECP256R1), Reason.NITRO_CHAIN),
    "another root": (
        NitroForgery(signers={"leaf": "other"}, bundle=("other",)),
        Reason.UNTRUSTED_ROOT,
    ),
    "root with other days": (NitroForgery(valid={"root": LONG}), Reason.UNTRUSTED_ROOT),
    "a simulator's root": (NitroForgery(marked=True), Reason.SIMULATED_EVIDENCE),
    # Times.
    "certificate expired": (NitroForgery(valid={"leaf": PAST}), Reason.CERTIFICATE_EXPIRED),
    "certificate not valid yet": (NitroForgery(valid={"leaf": FUTURE}), Reason.CERTIFICATE_NOT_YET_VALID),
    "region expired": (NitroForgery(valid={"region": PAST}), Reason.CERTIFICATE_EXPIRED),
    "zone not valid yet": (NitroForgery(valid={"zone": FUTURE}), Reason.CERTIFICATE_NOT_YET_VALID),
    # The signature.
    "signed by another": (NitroForgery(signer="other"), Reason.COSE_SIGNATURE),
    "signature of zeros": (wrapped(lambda parts: [*parts[:3], bytes(96)]), Reason.COSE_SIGNATURE),
    "signature of ones": (wrapped(lambda parts: [*parts[:3], b"\xff" * 96]), Reason.COSE_SIGNATURE),
    "another payload": (
        wrapped(lambda parts: [*parts[:2], parts[2].replace(b"i-0123", b"i-0124"), parts[3]]),
        Reason.COSE_SIGNATURE,
    ),
    # The message.
    "tagged": (wrapped(lambda parts: cbor2.CBORTag(18, parts)), Reason.MALFORMED),
    "another algorithm": (
        wrapped(lambda parts: [bytes.fromhex("a1013823"), *parts[1:]]),
        Reason.MALFORMED,
    ),
    "more in the protected header": (
        wrapped(lambda parts: [bytes.fromhex("a201382204f6"), *parts[1:]]),
        Reason.MALFORMED,
    ),
    "unprotected header": (wrapped(lambda parts: [PROTECTED, {4: b""}, *parts[2:]]), Reason.MALFORMED),
    "no signature": (wrapped(lambda parts: parts[:3]), Reason.MALFORMED),
    "five parts": (wrapped(lambda parts: [*parts, b""]), Reason.MALFORMED),
    "short signature": (wrapped(lambda parts: [*parts[:3], parts[3][:95]]), Reason.MALFORMED),
    "long signature": (wrapped(lambda parts: [*parts[:3], parts[3] + b"\x00"]), Reason.MALFORMED),
    "signature as a text": (wrapped(lambda parts: [*parts[:3], "s" * 96]), Reason.MALFORMED),
    "payload as a text": (wrapped(lambda parts: [*parts[:2], "p", parts[3]]), Reason.MALFORMED),
    "no payload": (wrapped(lambda parts: [*parts[:2], None, parts[3]]), Reason.MALFORMED),
    "bytes behind": (NitroForgery(outer=lambda parts: cbor2.dumps(parts) + b"\x00"), Reason.MALFORMED),
    "too long": (setting(module_id="m" * MAX_DOCUMENT), Reason.MALFORMED),
    # The payload.
    "payload with bytes behind": (behind(b"\x00"), Reason.MALFORMED),
    "payload cut off": (NitroForgery(encode=lambda item: cbor2.dumps(item)[:-1]), Reason.MALFORMED),
    "open payload without its end": (NitroForgery(encode=lambda item: open_map(item)[:-1]), Reason.MALFORMED),
    "payload that is a list": (NitroForgery(encode=lambda item: cbor2.dumps(list(item.values()))), Reason.MALFORMED),
    "payload that is empty": (NitroForgery(encode=lambda item: b""), Reason.MALFORMED),
    "another field": (setting(more=1), Reason.MALFORMED),
    "a numbered field": (NitroForgery(payload=lambda item: item.update({1: 1})), Reason.MALFORMED),
    "field twice": (
        NitroForgery(encode=lambda item: b"\xaa" + cbor2.dumps(item)[1:] + cbor2.dumps("nonce") + b"\xf6"),
        Reason.MALFORMED,
    ),
    "SHA-256": (setting(digest="SHA256"), Reason.MALFORMED),
    "module as a number": (setting(module_id=1), Reason.MALFORMED),
    "time as a text": (setting(timestamp="now"), Reason.MALFORMED),
    "time below zero": (setting(timestamp=-1), Reason.MALFORMED),
    "time as a float": (setting(timestamp=1.5), Reason.MALFORMED),
    "time of 65 bits": (setting(timestamp=1 << 64), Reason.MALFORMED),
    "registers as a list": (setting(pcrs=[PCR]), Reason.MALFORMED),
    "short register": (setting(pcrs={0: PCR[1:]}), Reason.MALFORMED),
    "register 32": (setting(pcrs={32: PCR}), Reason.MALFORMED),
    "named register": (setting(pcrs={"0": PCR}), Reason.MALFORMED),
    "register as a text": (setting(pcrs={0: "0" * 48}), Reason.MALFORMED),
    "certificate as a text": (setting(certificate="DER"), Reason.MALFORMED),
    "certificate too long": (setting(certificate=bytes(1025)), Reason.MALFORMED),
    "bundle as bytes": (setting(cabundle=b"DER"), Reason.MALFORMED),
    "bundle of texts": (setting(cabundle=["DER"]), Reason.MALFORMED),
    "key as a text": (setting(public_key="key"), Reason.MALFORMED),
    "key too long": (setting(public_key=bytes(1025)), Reason.MALFORMED),
    "user data as a number": (setting(user_data=1), Reason.MALFORMED),
    "nonce as a list": (setting(nonce=[b""]), Reason.MALFORMED),
    "nonce as true": (setting(nonce=True), Reason.MALFORMED),
    **{
        f"no {name}": (without(name), Reason.MALFORMED)
        for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
    },
    # Other forms of the same.
    "a long form of a length": (replaced(b"\x66digest", b"\x78\x06digest"), Reason.MALFORMED),
    "a longer form of a length": (replaced(b"\x58\x30", b"\x59\x00\x30"), Reason.MALFORMED),
    "the longest form of a length": (replaced(b"\x66SHA384", b"\x7b\0\0\0\0\0\0\0\x06SHA384"), Reason.MALFORMED),
    "an open text": (replaced(b"\x66SHA384", b"\x7f\x66SHA384\xff"), Reason.MALFORMED),
    "a reserved length": (replaced(b"\x66SHA384", b"\x7cSHA384"), Reason.MALFORMED),
    "an open map inside": (replaced(b"\x64pcrs\xb0", b"\x64pcrs\xbf"), Reason.MALFORMED),
    "a text that is not UTF-8": (replaced(b"i-0123", b"i-01\xff3"), Reason.MALFORMED),
    "undefined": (replaced(b"\x66SHA384", b"\xf7"), Reason.MALFORMED),
    "a tag": (replaced(b"\x66SHA384", b"\xc0\x66SHA384"), Reason.MALFORMED),
    "more items than bytes": (
        replaced(b"\x64pcrs\xb0", b"\x64pcrs\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"),
        Reason.MALFORMED,
    ),
    "a list as a name": (setting(pcrs={(1,): PCR}), Reason.MALFORMED),
}


def verify(forgery: NitroForgery, anchors: TrustAnchors = ANCHORS, at: int = NOW) -> NitroClaims:
    found = verify_evidence(forgery.evidence(), anchors, at)
    assert isinstance(found, NitroClaims)
    return found


@pytest.mark.parametrize("forgery", [NitroForgery(), NitroForgery(encode=open_map)], ids=["closed", "open"])
def test_a_good_document(forgery: NitroForgery) -> None:
    found, item = verify(forgery), forgery.item()
    assert (found.module_id, found.timestamp_ms) == (item["module_id"], item["timestamp"])
    assert found.pcrs == item["pcrs"]
    assert found.measurements == {f"pcr{index}": value for index, value in item["pcrs"].items()}
    assert found.public_key == item["public_key"]
    assert found.report_data == found.user_data == found.bound_digest == item["user_data"]
    assert found.nonce == found.document_nonce == item["nonce"]
    assert found.platform_id is None
    assert not found.debug
    assert not found.simulated
    assert (found.not_after, found.limited_by) == (NOW + 900 * DAY, "certificate")


@pytest.mark.parametrize(("forgery", "reason"), WRONG.values(), ids=WRONG)
def test_one_thing_wrong(forgery: NitroForgery, reason: Reason) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(forgery)
    assert code_of(refused.value) == reason


@pytest.mark.parametrize("name", ["public_key", "user_data", "nonce"])
def test_the_enclaves_own_fields_may_be_null_or_absent(name: str) -> None:
    attribute = "document_nonce" if name == "nonce" else name
    assert getattr(verify(setting(**{name: None})), attribute) is None
    assert getattr(verify(without(name)), attribute) is None
    assert getattr(verify(setting(**{name: b""})), attribute) == b""
    assert getattr(verify(setting(**{name: bytes(1024)})), attribute) == bytes(1024)


def test_debug_is_zeros_in_any_of_the_first_registers() -> None:
    for zeros in ((0,), (1,), (2,), (0, 1, 2)):
        pcrs = {index: bytes(48) if index in zeros else PCR for index in range(16)}
        assert verify(setting(pcrs=pcrs)).debug
    assert verify(setting(pcrs={0: PCR, 1: PCR})).debug
    assert verify(setting(pcrs={})).debug
    assert not verify(setting(pcrs={0: PCR, 1: PCR, 2: PCR, 3: bytes(48), 31: PCR})).debug


def test_user_data_that_is_no_digest_binds_nothing() -> None:
    for data in (None, b"", bytes(31), bytes(64)):
        assert verify(setting(user_data=data)).bound_digest is None


def test_nothing_comes_with_a_document() -> None:
    evidence = NitroForgery().evidence()
    for more in (replace(evidence, event_log=b"[]"), replace(evidence, collateral=SnpCollateral(b"", b""))):
        with pytest.raises(MalformedProof):
            verify_evidence(more, ANCHORS, NOW)


def test_every_cut_is_refused() -> None:
    data = NitroForgery().document()
    for size in range(0, len(data), 7):
        with pytest.raises(MalformedProof):
            read_document(data[:size])


def test_who_limits_the_life() -> None:
    limits = {"leaf": "certificate", "region": "cabundle[1]", "zone": "cabundle[2]", "instance": "cabundle[3]"}
    for name, named in limits.items():
        forgery = NitroForgery(valid={name: LONG})
        for at in LONG:
            found = verify(forgery, at=at)
            assert (found.not_after, found.limited_by) == (NOW + DAY, named)
            assert (found.window.not_before, found.window.opened_by) == (NOW - DAY, named)
        for at in (LONG[0] - 1, LONG[1] + 1):
            with pytest.raises(EvidenceRejected):
                verify(forgery, at=at)


def test_the_twin_of_a_signature_is_the_same_evidence() -> None:
    order = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)

    def twin(parts: list[Any]) -> list[Any]:
        s = order - int.from_bytes(parts[3][48:], "big")
        return [*parts[:3], parts[3][:48] + s.to_bytes(48, "big")]

    other = wrapped(twin)
    assert other.document() != NitroForgery().document()
    assert verify(other).evidence_id == verify(NitroForgery()).evidence_id
    assert verify(setting(nonce=b"")).evidence_id != verify(NitroForgery()).evidence_id


def test_roots_count_for_their_kind() -> None:
    for anchors in (TrustAnchors.vendors(), TrustAnchors([root_of(family=Family.INTEL)])):
        with pytest.raises(EvidenceRejected) as refused:
            verify(NitroForgery(), anchors)
        assert refused.value.reason == Reason.UNTRUSTED_ROOT
    anchors = TrustAnchors.vendors().with_simulator([root_of(marked=True, simulated=True)])
    assert verify(NitroForgery(marked=True), anchors).simulated


def test_depth_is_bounded() -> None:
    def read(data: bytes) -> object:
        reader = Reader(data, "test")
        found = reader.item()
        reader.end()
        return found

    assert read(b"\x81" * MAX_DEPTH + b"\x01") == [[[1]]]
    assert read(b"\xa1\x01" * MAX_DEPTH + b"\x01") == {1: {1: {1: 1}}}
    for opening in (b"\x81", b"\xa1\x01"):
        for levels in (MAX_DEPTH + 1, 10_000):
            with pytest.raises(MalformedProof):
                read(opening * levels + b"\x01")


def test_lengths_at_their_edges() -> None:
    """What the reader takes is what another decoder reads and what it would write: shortest forms."""
    for number in (0, 23, 24, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1):
        data = cbor2.dumps(number)
        assert Reader(data, "test").item() == number
        for width in (1, 2, 4, 8):
            longer = bytes([0x17 + width.bit_length()]) + (number % (1 << 8 * width)).to_bytes(width, "big")
            if number < 1 << 8 * width and longer != data:
                with pytest.raises(MalformedProof):
                    Reader(longer, "test").item()
    for size in (0, 23, 24, 255, 256, 65536):
        assert Reader(cbor2.dumps(bytes(size)), "test").item() == bytes(size)
        assert Reader(cbor2.dumps("t" * size), "test").item() == "t" * size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x20",  # a negative number
        b"\xc0\x01",  # a tag
        b"\xc2\x41\x01",  # a big number
        b"\xe0",  # simple values, true, undefined, floats, a break
        b"\xf5",
        b"\xf7",
        b"\xf9\x00\x00",
        b"\xff",
        b"\x1c" + b"\xff" * 16,  # lengths nobody defined
        b"\x5d" + bytes(7) + b"\x01" + bytes(300),
        b"\x5f\x41a\xff",  # open ones
        b"\x9f\xff",
        b"\xbf\xff",
        b"\xa1\x41a\x01",  # names that are bytes, null or lists
        b"\xa1\xf6\x01",
        b"\xa1\x80\x01",
        b"\xa2\x01\x01\x01\x01",
        b"\xa1\x01",  # cut off
        b"\x82\x01",
        b"\x19\x01",
    ],
)
def test_items_that_documents_do_not_have(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        Reader(data, "test").item()


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x60", b"\x80", b"\xc0\xa0", b"\xbf", b"\xbf\x01\xff", b"\xf6"])
def test_only_a_map_is_outermost(data: bytes) -> None:
    assert Reader(b"\xa0", "test").outermost_map() == Reader(b"\xbf\xff", "test").outermost_map() == {}
    with pytest.raises(MalformedProof):
        Reader(data, "test").outermost_map()
