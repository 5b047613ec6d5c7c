"""Certificates, chains and revocation lists, read strictly."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.tee.forge_dcap import ANCHORS, DAY, NOW, Certificates, crl, element, key, moment, raw_point
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import Family, Reason
from vml.tee.anchors import SIMULATOR_NAME, SIMULATOR_OID, Root, TrustAnchors
from vml.tee.x509 import (
    MAX_CERTIFICATE,
    check_chain,
    check_times,
    der_element,
    der_of,
    der_serial,
    ec_key_of,
    is_simulated,
    load_certificate,
    load_chain,
    load_crl,
    pem_blocks,
    public_key_of,
    same_authority,
    simulator_root,
    unix,
)

CHAIN = Certificates(sgx=b"\x30\x00").pem("pck", "ca", "root")


def with_serial(der: bytes, serial: int) -> bytes:
    """The certificate with another serial number of one byte; its signature is void."""
    at = der.index(b"\xa0\x03\x02\x01\x02\x02\x01") + 7
    return der[:at] + bytes([serial & 0xFF]) + der[at + 1 :]


def test_a_chain_is_read_in_order() -> None:
    names = [certificate.subject.rfc4514_string() for certificate in load_chain(CHAIN)]
    assert names == ["CN=PCK", "CN=PCK CA", "CN=Root"]
    assert pem_blocks(b"") == ()
    assert pem_blocks(b"\x00") == ()


WINDOWS = CHAIN.replace(b"\n", b"\r\n")
APART = CHAIN.replace(b"-----\n-----", b"-----\n\n-----")


@pytest.mark.parametrize("text", [WINDOWS, APART, CHAIN[:-1], CHAIN + b"\n", WINDOWS + b"\r\n", CHAIN + b"\x00"])
def test_forms_that_vendors_write(text: bytes) -> None:
    assert text != CHAIN
    assert pem_blocks(text) == pem_blocks(CHAIN)


def spoiled() -> dict[str, bytes]:
    end = CHAIN.index(b"\n-----END")
    return {
        "text between": CHAIN.replace(b"-----END CERTIFICATE-----\n", b"-----END CERTIFICATE-----\nx\n", 1),
        "text before": b"x" + CHAIN,
        "text behind": CHAIN + b"x",
        "zeros between": CHAIN.replace(b"-----END CERTIFICATE-----\n", b"-----END CERTIFICATE-----\x00", 1),
        "another label of the same length": CHAIN.replace(b"BEGIN CERTIFICATE", b"BEGIN CERTIFICATF", 1),
        "end cut": CHAIN[:-30],
        "no end": CHAIN[: CHAIN.rindex(b"-----END")],
        "another label": CHAIN.replace(b"CERTIFICATE", b"X509 CRL"),
        "not base64": CHAIN[: end - 3] + b"*" + CHAIN[end - 2 :],
        "nine certificates": CHAIN * 3,
        "a line end before": b"\n" + CHAIN,
        "a space before": b" " + CHAIN,
        "a space behind": CHAIN + b" ",
        "three line ends behind": CHAIN + b"\n\n",
        "three line ends between": APART.replace(b"-----\n\n-----", b"-----\n\n\n-----", 1),
        "two zeros behind": CHAIN + b"\x00\x00",
        "no line end between": CHAIN.replace(b"-----\n-----", b"----------", 1),
        "another line end between": CHAIN.replace(b"-----\n-----", b"-----\r\n-----", 1),
        "another line end in one": WINDOWS[: WINDOWS.index(b"END")] + CHAIN[CHAIN.index(b"END") :],
        "another line end of one": CHAIN[: CHAIN.index(b"-----\n-----") + 6]
        + WINDOWS[WINDOWS.index(b"-----\r\n-----") + 7 :],
        "another line end inside the last": CHAIN[: CHAIN.rindex(b"-----BEGIN")]
        + CHAIN[CHAIN.rindex(b"-----BEGIN") : -1].replace(b"\n", b"\r\n")
        + b"\n",
        "another line end at the end": CHAIN[:-1] + b"\r\n",
        "a line of 63": CHAIN.replace(CHAIN[28:92] + b"\n", CHAIN[28:91] + b"\n" + CHAIN[91:92]),
        "one line": CHAIN[:28] + CHAIN[28:end].replace(b"\n", b"") + CHAIN[end:],
        "a space in a line": CHAIN[:40] + b" " + CHAIN[40:],
        "an empty line in one": CHAIN[:93] + b"\n" + CHAIN[93:],
    }


@pytest.mark.parametrize("text", spoiled().values(), ids=spoiled())
def test_other_text_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedProof):
        load_chain(text)


def test_base64_has_one_form() -> None:
    """The last letter before padding has bits that decoders drop; any but zeros there are refused."""
    blocks = [
        b"-----BEGIN CERTIFICATE-----\n" + text + b"\n-----END CERTIFICATE-----"
        for text in (b"MAA=", b"MAB=", b"MAA", b"M")
    ]
    assert pem_blocks(blocks[0]) == (b"0\x00",)
    for block in blocks[1:]:
        with pytest.raises(MalformedProof):
            pem_blocks(block)


def test_one_certificate_and_nothing_behind() -> None:
    (der, *_) = pem_blocks(CHAIN)
    assert der_of(load_certificate(der)) == der
    for other in (b"", der + b"\x00", der[:-1], b"\x30\x80\x00\x00", bytes(MAX_CERTIFICATE + 1)):
        with pytest.raises(MalformedProof):
            load_certificate(other)


def test_certificates_are_small() -> None:
    large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(MAX_CERTIFICATE))
    with pytest.raises(MalformedProof, match="at most"):
        load_certificate(der_of(made("a", "a", (large, False))))


@pytest.mark.parametrize("serial", [0, -1])
def test_serials_that_are_not_positive(serial: int) -> None:
    """AMD's chips have serial number 0. No warning leaves the loader, and filters stay as they were."""
    der = with_serial(pem_blocks(CHAIN)[0], serial)
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = load_certificate(der)
        assert der_serial(der_of(certificate)) == serial
        with pytest.raises(EvidenceRejected) as refused:
            check_chain([certificate, *load_chain(CHAIN)[1:]], ANCHORS, (Family.INTEL,), Reason.PCK_CHAIN)
    assert refused.value.reason == Reason.PCK_CHAIN
    assert warnings.filters == before


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x05\x00", b"\x30\x04\x30\x02\x04\x00", b"\x30\x85" + bytes(9)])
def test_no_serial_number(der: bytes) -> None:
    with pytest.raises(ValueError):
        der_serial(der)


def test_chains_have_two_to_eight_certificates() -> None:
    chain = load_chain(CHAIN)
    assert check_chain(chain, ANCHORS, (Family.INTEL,), Reason.PCK_CHAIN).root == ANCHORS.roots[0]
    for other in (chain[2:], chain[:0], (*chain, *[chain[2]] * 6)):
        with pytest.raises(EvidenceRejected) as refused:
            check_chain(other, ANCHORS, (Family.INTEL,), Reason.GPU_CHAIN)
        assert refused.value.reason == Reason.GPU_CHAIN


def made(subject: str, issuer: str, *extensions: tuple[x509.ExtensionType, bool], signer: str = "") -> x509.Certificate:
    """A certificate of a name, signed by another; both names are their keys'. `signer`: whose key signs instead."""
    builder = x509.CertificateBuilder(serial_number=9, public_key=key(subject).public_key())
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
    builder = builder.not_valid_before(moment(NOW - DAY)).not_valid_after(moment(NOW + DAY))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key(signer or issuer), SHA256())


def renamed(name: str, other: str) -> x509.Certificate:
    """A certificate of one name that holds another's key."""
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(title, title, key(other).public_key(), 9, moment(NOW - DAY), moment(NOW + DAY))
    return builder.sign(key(other), SHA256())


def usage(sign: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    values = dict.fromkeys((*names.split(), "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**values, "key_cert_sign": sign})


def anchored(root: x509.Certificate) -> TrustAnchors:
    digests = [hashlib.sha256(data).digest() for data in (der_of(root), public_key_of(root))]
    return TrustAnchors([Root(Family.NVIDIA_RIM, *digests)])


AUTHORITY = (x509.BasicConstraints(True, None), True)


def test_rights_of_issuers() -> None:
    """Basic constraints, path length and key usage of every certificate above the leaf."""
    root, leaf = made("r", "r", AUTHORITY), made("leaf", "b")
    good = [leaf, made("b", "a", AUTHORITY), made("a", "r", AUTHORITY, (usage(True), True)), root]
    assert check_chain(good, anchored(root), (Family.NVIDIA_RIM,), Reason.RIM_CHAIN).leaf == leaf
    for other in (
        made("a", "r"),
        made("a", "r", (x509.BasicConstraints(False, None), True)),
        made("a", "r", (x509.BasicConstraints(True, 0), True)),
        made("a", "r", AUTHORITY, (usage(False), True)),
    ):
        with pytest.raises(EvidenceRejected) as refused:
            check_chain([*good[:2], other, root], anchored(root), (Family.NVIDIA_RIM,), Reason.RIM_CHAIN)
        assert refused.value.reason == Reason.RIM_CHAIN
    short = made("b", "a", (x509.BasicConstraints(True, 0), True))
    check_chain([leaf, short, *good[2:]], anchored(root), (Family.NVIDIA_RIM,), Reason.RIM_CHAIN)


def test_critical_extensions_the_caller_checks() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    root = made("r", "r", AUTHORITY)
    chain, anchors = [made("leaf", "r", (unknown, True)), root], anchored(root)
    check_chain(chain, anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN, critical=["1.2.3.4"])
    with pytest.raises(EvidenceRejected):
        check_chain(chain, anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN)


def test_a_pinned_root_is_known_by_its_digest() -> None:
    """Its signature of itself says nothing more. Where none is pinned it tells broken chains from foreign ones."""
    other = made("r", "r", AUTHORITY, signer="b")
    chain = [made("a", "r"), other]
    assert check_chain(chain, anchored(other), (Family.NVIDIA_RIM,), Reason.RIM_CHAIN).leaf == chain[0]
    for root, reason in ((other, Reason.RIM_CHAIN), (made("r", "r", AUTHORITY), Reason.UNTRUSTED_ROOT)):
        with pytest.raises(EvidenceRejected) as refused:
            check_chain([chain[0], root], ANCHORS, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN)
        assert refused.value.reason == reason


def test_what_one_verification_found_is_not_computed_again() -> None:
    """Only what was found good is kept, for this certificate under this issuer, and rights are looked at each time."""
    root, issuer, twin = made("r", "r", AUTHORITY), made("b", "r", AUTHORITY), made("b", "r", AUTHORITY, signer="a")
    leaf = made("a", "b")
    anchors, links = anchored(root), set[tuple[bytes, bytes]]()

    def check(*chain: x509.Certificate) -> None:
        check_chain(chain, anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN, links=links)

    check(leaf, issuer, root)
    assert links == {(der_of(leaf), der_of(issuer)), (der_of(issuer), der_of(root))}
    check(leaf, issuer, root)
    for wrong in ([leaf, twin, root], [leaf, root], [issuer, root]):
        with pytest.raises(EvidenceRejected):
            check(*wrong)
    assert (der_of(twin), der_of(root)) not in links
    assert (der_of(leaf), der_of(root)) not in links
    links.add((der_of(twin), der_of(root)))
    check(leaf, twin, root)


def test_a_chain_without_its_leaf() -> None:
    root = made("r", "r", AUTHORITY)
    chain, anchors = [made("a", "r", AUTHORITY), root], anchored(root)
    check_chain(chain, anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN, leaf_may_sign_certificates=True)
    with pytest.raises(EvidenceRejected):
        check_chain(chain, anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN)


def test_times_include_both_ends() -> None:
    chain = load_chain(CHAIN)
    first, last = unix(chain[0].not_valid_before_utc), unix(chain[0].not_valid_after_utc)
    for at in (first, last):
        check_times(chain, at)
    for at, reason in ((first - 1, Reason.CERTIFICATE_NOT_YET_VALID), (last + 1, Reason.CERTIFICATE_EXPIRED)):
        with pytest.raises(EvidenceRejected) as refused:
            check_times(chain, at)
        assert refused.value.reason == reason
    with pytest.raises(EvidenceRejected) as refused:
        check_times(chain, last + 1, expired=Reason.VLEK_EXPIRED)
    assert refused.value.reason == Reason.VLEK_EXPIRED
    assert unix(datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC)) == -1


LIST = (NOW - DAY, NOW + DAY)


def test_a_revocation_list() -> None:
    leaf, issuer, root = load_chain(CHAIN)
    found = load_crl(crl("root", (2,), LIST), root, "list")
    assert (found.number, found.this_update, found.next_update) == (7, *LIST)
    found.check_not_revoked(leaf)
    with pytest.raises(EvidenceRejected) as refused:
        found.check_not_revoked(issuer)
    assert refused.value.reason == Reason.CERTIFICATE_REVOKED
    for at, reason in ((LIST[0] - 1, Reason.COLLATERAL_NOT_YET_VALID), (LIST[1] + 1, Reason.COLLATERAL_EXPIRED)):
        with pytest.raises(EvidenceRejected) as refused:
            found.check_time(at, "list")
        assert refused.value.reason == reason
    with pytest.raises(EvidenceRejected) as refused:
        found.check_not_revoked(load_certificate(with_serial(der_of(leaf), -1)))
    assert refused.value.reason == Reason.CRL_INVALID
    found.check_time(LIST[0], "list")
    found.check_time(LIST[1], "list")


def without_next_update(der: bytes) -> bytes:
    """The same list, signed again, with no word of when the next one comes."""
    _, at, _ = der_element(der, 0)
    _, inside, end = der_element(der, at)
    fields = []
    while inside < end:
        fields.append(der[inside : der_element(der, inside)[2]])
        inside += len(fields[-1])
    body = element(0x30, b"".join(fields[:4] + fields[5:]))
    signature = key("root").sign(body, ec.ECDSA(SHA256()))
    return element(0x30, body + fields[1] + element(0x03, b"\x00" + signature))


def odd_lists() -> dict[str, bytes]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    plain = x509.CertificateRevocationListBuilder(issuer_name=name)
    plain = plain.last_update(moment(LIST[0])).next_update(moment(LIST[1]))
    critical = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(1 << 22))
    numbered = plain.add_extension(x509.CRLNumber(1), critical=False)
    good = crl("root", (), LIST)
    return {
        "nothing": b"",
        "not DER": b"x" * 40,
        "bytes behind": good + b"\x00",
        "another issuer": crl("ca", (), LIST),
        "another issuer's name": crl("ca", (), LIST, signer="root"),
        "another signer": crl("root", (), LIST, signer="ca"),
        "no number": plain.sign(key("root"), SHA256()).public_bytes(Encoding.DER),
        "no next update": without_next_update(good),
        "critical extension": numbered.add_extension(critical, critical=True)
        .sign(key("root"), SHA256())
        .public_bytes(Encoding.DER),
        "four mebibytes": numbered.add_extension(large, critical=False)
        .sign(key("root"), SHA256())
        .public_bytes(Encoding.DER),
    }


@pytest.mark.parametrize("der", odd_lists().values(), ids=odd_lists())
def test_other_lists_are_invalid(der: bytes) -> None:
    with pytest.raises(EvidenceRejected) as refused:
        load_crl(der, load_chain(CHAIN)[2], "list")
    assert refused.value.reason == Reason.CRL_INVALID


def test_lists_signed_with_other_keys() -> None:
    """Ed25519 and DSA are nobody's choice for these lists."""
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ed")])
    for signer, algorithm in ((ed25519.Ed25519PrivateKey.generate(), None), (dsa.generate_private_key(1024), SHA256())):
        built = x509.CertificateRevocationListBuilder(title, moment(LIST[0]), moment(LIST[1]))
        built = built.add_extension(x509.CRLNumber(1), critical=False)
        issuer = x509.CertificateBuilder(title, title, signer.public_key(), 1, moment(LIST[0]), moment(LIST[1]))
        with pytest.raises(EvidenceRejected) as refused:
            load_crl(built.sign(signer, algorithm).public_bytes(Encoding.DER), issuer.sign(signer, algorithm), "list")
        assert refused.value.reason == Reason.CRL_INVALID


@pytest.mark.parametrize("pss", [False, True])
def test_lists_signed_with_rsa(pss: bool) -> None:
    """AMD's lists are signed with RSA-PSS."""
    signer = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ARK")])
    issuer = x509.CertificateBuilder(name, name, signer.public_key(), 1, moment(LIST[0]), moment(LIST[1]))
    built = x509.CertificateRevocationListBuilder(name, moment(LIST[0]), moment(LIST[1]))
    built = built.add_extension(x509.CRLNumber(3), critical=False)
    salt = padding.PSS(padding.MGF1(SHA384()), padding.PSS.DIGEST_LENGTH) if pss else None
    der = built.sign(signer, SHA384(), rsa_padding=salt).public_bytes(Encoding.DER)
    root = issuer.sign(signer, SHA384())
    assert load_crl(der, root, "list").number == 3
    with pytest.raises(EvidenceRejected):
        load_crl(der[:-1] + bytes([der[-1] ^ 1]), root, "list")


def test_an_authority_is_its_name_and_its_key() -> None:
    again = Certificates(serials={"ca": 9}).make("ca")
    leaf, issuer, _ = load_chain(CHAIN)
    assert same_authority(issuer, again)
    assert not same_authority(issuer, leaf)
    assert not same_authority(made("a", "r"), renamed("a", "b"))
    assert not same_authority(made("a", "r"), renamed("b", "a"))


def test_keys_are_on_the_curve_asked_for() -> None:
    leaf = load_chain(CHAIN)[0]
    assert ec_key_of(leaf, ec.SECP256R1, Reason.PCK_CHAIN) == key("pck").public_key()
    off = load_certificate(der_of(leaf).replace(raw_point("pck"), bytes(63) + b"\x01"))
    name, signer = x509.Name([]), rsa.generate_private_key(65537, 2048)
    plain = x509.CertificateBuilder(name, name, signer.public_key(), 1, moment(LIST[0]), moment(LIST[1]))
    others = ((leaf, ec.SECP384R1), (off, ec.SECP256R1), (plain.sign(signer, SHA256()), ec.SECP256R1))
    for certificate, curve in others:
        with pytest.raises(EvidenceRejected) as refused:
            ec_key_of(certificate, curve, Reason.VEK_CHAIN)
        assert refused.value.reason == Reason.VEK_CHAIN


def test_simulators_are_recognised_by_extension_or_name() -> None:
    marker = x509.UnrecognizedExtension(x509.ObjectIdentifier(SIMULATOR_OID), b"\x05\x00")
    both = made(SIMULATOR_NAME, SIMULATOR_NAME, (marker, False), AUTHORITY)
    assert is_simulated(both)
    assert is_simulated(made("plain", "plain", (marker, False)))
    assert is_simulated(made("plain", f"x {SIMULATOR_NAME} x"))
    assert not is_simulated(made("plain", "plain"))
    root = simulator_root(Family.INTEL, der_of(both))
    assert root.simulated
    assert root.family == Family.INTEL
    for other in (made(SIMULATOR_NAME, "plain"), made("plain", "plain", (marker, False))):
        with pytest.raises(ValueError):
            simulator_root(Family.INTEL, der_of(other))


def test_pinned_roots_are_whole_digests() -> None:
    with pytest.raises(ValueError):
        replace(ANCHORS.roots[0], certificate=b"\x00")
    assert TrustAnchors.vendors().roots == TrustAnchors.vendors().with_simulator([]).roots
