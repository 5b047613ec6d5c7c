"""X.509: the chain of an authority's own certificate, up to a root that the verifier pinned.

``cryptography`` builds and checks the path: signatures, times, basic constraints, path lengths, name constraints,
critical extensions. What this file adds: the roots are the verifier's own, the leaf may sign documents (where it has
an extended key usage: documents, mail or anything) but no certificates, and who it names is who issues. Constraints of
names other than DNS names and addresses are not worked out: a path with such is refused, critical or not. DNS names and
addresses say nothing of who issues.

Sources: RFC 5280, sections 4.2.1.10, 4.2.1.12 and 6; RFC 9336 (document signing); RFC 9618.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vml.errors import BackendUnavailable, CertificateRejected

if TYPE_CHECKING:
    from cryptography import x509

MAX_INTERMEDIATES = 4
PURPOSES = ("2.5.29.37.0", "1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.4")
"""Extended key usages of a key that signs statements: any, document signing, mail protection."""


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
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OSError, OverflowError, ValueError):
        raise CertificateRejected("chain", f"unix time {at} is beyond the calendar of X.509") from None
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store([load_certificate(root, "a pinned root") for root in roots]))
        .time(moment)
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

    # step 2: nothing restricts names in a way that is not worked out here
    if any(_restricts_names(certificate) for certificate in path):
        raise CertificateRejected("chain", "the path has constraints of names other than DNS names and addresses")

    # step 3: the key is there to sign documents
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        signs = usage.digital_signature or usage.content_commitment
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        signs = False
    if not signs:
        raise CertificateRejected("key_usage", "the authority's certificate is not for digital signatures")
    if usage.key_cert_sign or _may_certify(leaf):
        raise CertificateRejected("key_usage", "a certificate that signs certificates does not sign statements")

    # step 4: and made for that, where it says what for
    if not _is_for_documents(leaf):
        raise CertificateRejected("key_usage", "the authority's certificate is for other purposes than documents")

    # step 5: it names who issues
    names = [name.value for name in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if names != [issuer]:
        raise CertificateRejected("issuer", f"the statement is {issuer!r}'s, the key is of {names}")
    return leaf


def _restricts_names(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    from vml.tee.x509 import PARSE_ERRORS

    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    except PARSE_ERRORS:
        return True
    names = (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ()))
    return not all(isinstance(name, x509.DNSName | x509.IPAddress) for name in names)


def _is_for_documents(leaf: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return any(purpose.dotted_string in PURPOSES for purpose in purposes)


def _may_certify(leaf: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
