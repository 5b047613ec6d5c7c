"""Reference integrity manifests: what the blocks of a GPU's report should be, signed by NVIDIA.

A manifest is a software identification tag (TCG's profile of ISO 19770-2) with one XML signature over all of it.
Nothing is read from it but what the signature covers; certificates come from the signature and count for what their
chain is worth. Document types, entities and other encodings than UTF-8 are refused before anything is parsed.

Measurement ``i`` of a manifest is block ``i + 1`` of a report. Only active ones count; a measurement may name several
good values.

Source: TCG Reference Integrity Manifest Information Model 1.01; W3C XML Signature 1.1; NVIDIA's nvtrust.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree
from signxml import DigestAlgorithm, SignatureConfiguration, SignatureMethod, XMLVerifier
from signxml.exceptions import SignXMLException

from vml.tee.anchors import Family, TrustAnchors
from vml.tee.nvidia.report import DIGEST
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.x509 import MAX_CHAIN, Certificate, Chain, Links, check_chain, check_times, load_certificate

MAX_RIM = 1 << 20
MAX_NAMESPACES = 32
MAX_ATTRIBUTES = 128
"""Of one element. Canonical XML takes quadratic time for both, and is needed before any signature can be checked."""
MAX_INDEX = 253
MAX_ALTERNATIVES = 64
_SWID = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
_SHA384 = "{http://www.w3.org/2001/04/xmlenc#sha384}"
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")
_VALUE = re.compile(f"[0-9a-fA-F]{{{2 * DIGEST}}}")
_DECLARATION = b"<?xml "
_LAST_SECOND = 253_402_300_799
"""Of the year 9999, beyond which the XML library's clock does not go."""

# What lxml and signxml raise for hostile texts, besides their own errors.
_SIGNATURE_ERRORS = (SignXMLException, etree.LxmlError, ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True)
class Rim:
    """A manifest whose signature holds.

    Attributes:
        product: of the GPUs it is about, for example "GH100".
        version: of the driver or VBIOS it is about, as NVIDIA writes it.
        measurements: the good values (48 bytes each) of every active measurement, by number, from 0.
        chain: of who signed it.
    """

    product: str
    version: str
    measurements: Mapping[int, frozenset[bytes]]
    chain: Chain


def verify_rim(data: bytes, name: str, anchors: TrustAnchors, at: int, links: Links | None = None) -> Rim:
    """Check a manifest and read what it says.

    Args:
        data: the XML text.
        name: for messages, for example "driver manifest".
        links: as for `check_chain`.

    Raises:
        MalformedProof: no manifest.
        EvidenceRejected: RIM_CHAIN, UNTRUSTED_ROOT, SIMULATED_EVIDENCE, RIM_CERT_EXPIRED, CERTIFICATE_NOT_YET_VALID or
            RIM_SIGNATURE.
    """
    # step 1: it is plain XML, without document type or entities.
    if len(data) > MAX_RIM:
        raise malformed(name, f"{len(data)} bytes, at most {MAX_RIM}")
    body = data.partition(b"?>")[2] if data.startswith(_DECLARATION) else data
    if b"<!" in body or b"<?" in body:
        raise malformed(name, "only elements and text are allowed")
    if data.count(b"xmlns") > MAX_NAMESPACES:
        raise malformed(name, f"more than {MAX_NAMESPACES} namespaces")
    root = _parse(data, name)
    if any(len(element.attrib) > MAX_ATTRIBUTES for element in root.iter()):
        raise malformed(name, f"an element of more than {MAX_ATTRIBUTES} attributes")
    # step 2: its certificates chain to the pinned root of manifests.
    chain = check_chain(_certificates(root, name), anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN, links=links)
    # step 3: they are valid at the time.
    check_times(chain.certificates, at, expired=Reason.RIM_CERT_EXPIRED)
    # step 4: the first of them signed the whole of it; all that follows is read from what was signed.
    signed = _signed(data, chain.leaf, at, name)
    product, version = _about(signed, name)
    return Rim(product, version, _measurements(signed, name), chain)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
    )


def _parse(data: bytes, name: str) -> etree._Element:
    try:
        root = etree.fromstring(data, parser=_parser())
    except (etree.LxmlError, ValueError) as error:
        raise malformed(name, str(error)) from error
    if root.tag != f"{_SWID}SoftwareIdentity":
        raise malformed(name, "no software identity")
    return root


def _certificates(root: etree._Element, name: str) -> list[Certificate]:
    """The certificates of the one signature, which is a child of the root."""
    path = "/".join(f"{_DSIG}{part}" for part in ("Signature", "KeyInfo", "X509Data", "X509Certificate"))
    found = root.findall(path)
    if len(root.findall(f"{_DSIG}Signature")) != 1 or len(found) > MAX_CHAIN:
        raise malformed(name, "not one signature with a short chain")
    try:
        listed = [base64.b64decode("".join((item.text or "").split()), validate=True) for item in found]
    except (binascii.Error, ValueError) as error:
        raise malformed(name, "a certificate is not base64") from error
    return [load_certificate(der, name) for der in listed]


def _signed(data: bytes, signer: Certificate, at: int, name: str) -> etree._Element:
    """The signed part of a manifest, which has to be all of it but the signature."""
    expected = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA384}),
        verification_time=datetime.fromtimestamp(min(at, _LAST_SECOND), UTC),
    )
    try:
        found = XMLVerifier().verify(data, x509_cert=signer, parser=_parser(), expect_config=expected)
    except _SIGNATURE_ERRORS as error:
        raise rejected(Reason.RIM_SIGNATURE, f"{name}: {error}") from error
    signed = found.signed_xml
    if getattr(signed, "tag", None) != f"{_SWID}SoftwareIdentity":
        raise rejected(Reason.RIM_SIGNATURE, f"{name}: another part of the text is signed")
    return signed


def _about(signed: etree._Element, name: str) -> tuple[str, str]:
    meta = signed.findall(f"{_SWID}Meta")
    if len(meta) != 1:
        raise malformed(name, "it does not say what it is about")
    product, version = (str(meta[0].get(field, "")) for field in ("product", "colloquialVersion"))
    if not product or not version:
        raise malformed(name, "it names no product or no version")
    return product, version


def _measurements(signed: etree._Element, name: str) -> dict[int, frozenset[bytes]]:
    payload = signed.findall(f"{_SWID}Payload")
    if len(payload) != 1:
        raise malformed(name, "not one list of measurements")
    found: dict[int, frozenset[bytes]] = {}
    seen = set()
    for item in payload[0]:
        if item.tag != f"{_SWID}Resource" or item.get("type") != "Measurement" or item.get("size") != str(DIGEST):
            raise malformed(name, "a measurement of another kind")
        index = _number(item.get("index"), MAX_INDEX, name)
        count = _number(item.get("alternatives"), MAX_ALTERNATIVES, name)
        if index in seen or item.get("active") not in ("True", "False"):
            raise malformed(name, f"measurement {index} comes twice, or is neither active nor not")
        seen.add(index)
        values = frozenset(_digest(item.get(f"{_SHA384}Hash{each}"), name) for each in range(count))
        if not values or item.get(f"{_SHA384}Hash{count}") is not None:
            raise malformed(name, f"measurement {index} has not as many values as it says")
        if item.get("active") == "True":
            found[index] = values
    if not found:
        raise malformed(name, "no measurement is active")
    return found


def _number(text: str | None, limit: int, name: str) -> int:
    if not _NUMBER.fullmatch(text or "") or int(text or "") > limit:
        raise malformed(name, f"{text!r} is no number up to {limit}")
    return int(text or "")


def _digest(text: str | None, name: str) -> bytes:
    if not _VALUE.fullmatch(text or ""):
        raise malformed(name, "a value is no SHA-384 digest")
    return bytes.fromhex(text or "")
