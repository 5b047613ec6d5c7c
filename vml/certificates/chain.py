"""X.509: the chain of an authority's own certificate, up to a root that the verifier pinned.

``cryptography`` builds and checks the path: signatures, times, basic constraints, path lengths, name constraints,
critical extensions. What this file adds: the roots are the verifier's own, the leaf may sign documents but no
certificates, and who it names is who issues.

Source: RFC 5280, section 6; RFC 9618.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vml.errors import BackendUnavailable, CertificateRejected

if TYPE_CHECKING:
    from cryptography import x509

MAX_INTERMEDIATES = 4


def require_installed() -> None:
    """Raise BackendUnavailable where the extra ``certificates`` is missing."""
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise BackendUnavailable("this signature needs the extra certificates: pip install 'vml[certificates]'")


def checked_leaf(keys: Sequence[bytes], roots: Sequence[bytes], issuer: str, at: int) -> x509.Certificate:
    """The certificate of the key that signed, where it stands under a pinned root.

    Args:
        keys: DER, leaf first, then those between it and the root.
        roots: DER, pinned.
        issuer: the authority's name, as the signed statement says it.
        at: unix seconds.

    Raises:
        MalformedProof: no certificate.
        CertificateRejected: CHAIN, KEY_USAGE, ISSUER.
        BackendUnavailable: the extra ``certificates`` is not installed.
    """
    require_installed()
    from cryptography import x509
    from cryptography.x509 import verification

    from vml.tee.x509 import PARSE_ERRORS, der_of, load_certificate

    leaf, *between = (load_certificate(key, "the authority's certificate") for key in keys)

    # step 1: a path to a pinned root, all of it in force
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store([load_certificate(root, "a pinned root") for root in roots]))
        .time(datetime.fromtimestamp(at, UTC))
        .max_chain_depth(MAX_INTERMEDIATES)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
    )
    try:
        path = policy.build_client_verifier().verify(leaf, between).chain
    except (verification.VerificationError, *PARSE_ERRORS) as error:
        raise CertificateRejected("chain", f"no path to a pinned root holds at unix time {at}: {error}") from error

    if list(keys) != [der_of(certificate) for certificate in path[:-1]]:
        raise CertificateRejected("chain", "the chain holds certificates beside the path, or the root")

    # step 2: the key is there to sign documents
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        signs = usage.digital_signature or usage.content_commitment
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        signs = False
    if not signs:
        raise CertificateRejected("key_usage", "the authority's certificate is not for digital signatures")
    if _may_certify(leaf):
        raise CertificateRejected("key_usage", "a certificate that signs certificates does not sign statements")

    # step 3: it names who issues
    names = [name.value for name in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if names != [issuer]:
        raise CertificateRejected("issuer", f"the statement is {issuer!r}'s, the key is of {names}")
    return leaf


def _may_certify(leaf: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
