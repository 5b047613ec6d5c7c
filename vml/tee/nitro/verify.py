"""Is an attestation document of AWS Nitro Enclaves genuine? Offline, for a stated time.

1. The bytes are exactly one document (``document``), which brings all that is needed.
2. Its certificate chains over its bundle to the pinned root.
3. Every certificate is valid at the time. The document's own lives for three hours.
4. The certificate's key signed the document.

Registers, public key, user data and nonce are claims, and so is debug mode, in which the first three registers are
zero. AWS's revocation lists name certificates that live for weeks at most and do not come with a document; they are
not looked at. High and low s both pass.

Source: AWS, "Nitro Enclaves Attestation Process", section 3.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from vml.errors import MalformedProof
from vml.tee.anchors import Family, TrustAnchors
from vml.tee.evidence import Evidence
from vml.tee.nitro.document import Document, read_document
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.verified import NitroClaims, Window
from vml.tee.x509 import Certificate, Chain, check_chain, check_times, ec_key_of, load_certificate, unix


def verify_document(evidence: Evidence, anchors: TrustAnchors, at: int) -> NitroClaims:
    """Check a document; the numbered steps above.

    Args:
        evidence: of kind Nitro, without collateral.
        anchors: whom to trust.
        at: unix seconds.

    Raises:
        MalformedProof: bytes that are not one well-formed document.
        EvidenceRejected: not genuine at this time.
    """
    # step 1: the bytes are exactly one document, and nothing else came with it.
    document = read_document(evidence.data)
    if evidence.collateral is not None or evidence.event_log is not None:
        raise malformed("document", "there is nothing that could come with it")
    # step 2: its certificate chains to the pinned root.
    chain = check_chain(_certificates(document), anchors, (Family.AWS_NITRO,), Reason.NITRO_CHAIN)
    key = ec_key_of(chain.leaf, ec.SECP384R1, Reason.NITRO_CHAIN)
    # step 3: every certificate is valid at the time.
    check_times(chain.certificates, at)
    # step 4: the certificate's key signed the document.
    try:
        key.verify(encode_dss_signature(*document.signature), document.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise rejected(Reason.COSE_SIGNATURE, "not this certificate's signature") from error
    return NitroClaims(
        evidence_id=document.evidence_id,
        window=Window.of(_validity(chain)),
        simulated=chain.root.simulated,
        at=at,
        module_id=document.module_id,
        timestamp_ms=document.timestamp_ms,
        pcrs=document.pcrs,
        public_key=document.public_key,
        user_data=document.user_data,
        document_nonce=document.nonce,
    )


def _certificates(document: Document) -> tuple[Certificate, ...]:
    """Leaf first. A certificate that cannot be read does not hold together either."""
    try:
        return tuple(load_certificate(der) for der in (document.certificate, *reversed(document.cabundle)))
    except MalformedProof as error:
        raise rejected(Reason.NITRO_CHAIN, str(error)) from error


def _validity(chain: Chain) -> list[tuple[str, int | None, int | None]]:
    above = len(chain.certificates) - 1
    names = ["certificate", *(f"cabundle[{above - 1 - index}]" for index in range(above))]
    return [
        (name, unix(certificate.not_valid_before_utc), unix(certificate.not_valid_after_utc))
        for name, certificate in zip(names, chain.certificates, strict=True)
    ]
