"""Is a report of an NVIDIA GPU genuine, and does the GPU run what NVIDIA published? Offline, for a stated time.

1. The bytes are exactly one exchange (``report``), without an event log.
2. The device's certificates came with it.
3. They chain to NVIDIA's pinned device root, and are valid at the time.
4. The device's key signed request and answer.
5. The firmware the report names is the one the device's key was made for.
6. The reference manifests come together: of the driver and of the VBIOS, or none.
7. Each is signed under NVIDIA's pinned root of manifests, and its certificates are valid at the time (``rim``).
8. Every measurement that either manifest calls active is in the report, with a good value.
9. The manifests are those of this product, and of the driver and the VBIOS that the report names.

Without manifests the claims say so (``matched`` is None), and no appraisal accepts them. NVIDIA publishes revocations
through an online service only, so revoked certificates are not noticed here.

Source: NVIDIA nvtrust, the local GPU verifier's order of checks.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import NameOID

from vml.errors import BackendUnavailable, MalformedProof
from vml.tee.anchors import Family, TrustAnchors
from vml.tee.evidence import Evidence, NvidiaCollateral
from vml.tee.nvidia.report import GpuReport, read_report
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.verified import NvidiaClaims, Window
from vml.tee.x509 import (
    PARSE_ERRORS,
    Certificate,
    Chain,
    Links,
    check_chain,
    check_times,
    der_element,
    ec_key_of,
    load_chain,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vml.tee.nvidia.rim import Rim

CHAIN_LENGTH = 5
"""Device key, device, provisioner, product, root."""
FWID_OID = "2.23.133.5.4.1"
"""TCG's extension that names the device and the firmware a key was made for."""
SHA384_OID = bytes.fromhex("608648016503040202")


def verify_gpu_report(evidence: Evidence, anchors: TrustAnchors, at: int) -> NvidiaClaims:
    """Check a report with its collateral; the numbered steps above.

    Args:
        evidence: of kind NVIDIA, with `NvidiaCollateral`.
        anchors: whom to trust.
        at: unix seconds.

    Raises:
        MalformedProof: bytes that are not one well-formed report or manifest.
        EvidenceRejected: not genuine at this time, or not what NVIDIA published.
    """
    # step 1: the bytes are exactly one exchange, and nothing came that belongs to other kinds.
    report = read_report(evidence.data)
    if evidence.event_log is not None:
        raise malformed("event log", "a GPU has no registers")
    # step 2: the device's certificates came with it.
    collateral = evidence.collateral
    if not isinstance(collateral, NvidiaCollateral):
        raise rejected(Reason.COLLATERAL_MISSING, "a GPU report needs the device's certificates")
    # step 3: they chain to the pinned root, and are valid at the time.
    device = _device_chain(collateral.chain, anchors)
    check_times(device.certificates, at)
    device_id, product = _device(device.certificates[1])
    # step 4: the device's key signed request and answer.
    _check_signature(ec_key_of(device.leaf, ec.SECP384R1, Reason.GPU_CHAIN), report)
    # step 5: the firmware is the one the device's key was made for.
    if report.fwid is not None and report.fwid != certified_firmware(device.leaf):
        raise rejected(Reason.FWID_MISMATCH, f"the report names {report.fwid.hex()}")
    # step 6: the manifests come together.
    if bool(collateral.driver_rim) != bool(collateral.vbios_rim):
        raise rejected(Reason.RIM_MISSING, "of the driver's and the VBIOS's manifest only one came")
    parts: list[tuple[str, int | None, int | None]] = [("device_chain", device.not_before, device.not_after)]
    simulated, matched = device.root.simulated, None
    if collateral.driver_rim:
        # step 7: each manifest is signed under the pinned root, and valid at the time.
        driver, vbios = _manifests(collateral, anchors, at)
        # step 8: every active measurement has a good value.
        matched = _compare(report.blocks, driver, vbios)
        # step 9: they are those of this product, this driver and this VBIOS.
        _check_versions(product, report, driver, vbios)
        parts += [
            ("driver_rim", driver.chain.not_before, driver.chain.not_after),
            ("vbios_rim", vbios.chain.not_before, vbios.chain.not_after),
        ]
        simulated = simulated or driver.chain.root.simulated or vbios.chain.root.simulated
    return NvidiaClaims(
        evidence_id=report.evidence_id,
        window=Window.of(parts),
        simulated=simulated,
        at=at,
        spdm_nonce=report.nonce,
        blocks=report.blocks,
        opaque=report.opaque,
        driver_version=report.driver_version,
        vbios_version=report.vbios_version,
        device_id=device_id,
        product=product,
        fwid=report.fwid,
        matched=matched,
    )


def _device_chain(pem: bytes, anchors: TrustAnchors) -> Chain:
    """Five certificates to the device root. A text that cannot be read does not hold together either."""
    try:
        certificates = load_chain(pem)
    except MalformedProof as error:
        raise rejected(Reason.GPU_CHAIN, str(error)) from error
    if len(certificates) != CHAIN_LENGTH:
        raise rejected(Reason.GPU_CHAIN, f"{len(certificates)} certificates, not {CHAIN_LENGTH}")
    return check_chain(certificates, anchors, (Family.NVIDIA_DEVICE,), Reason.GPU_CHAIN)


def _check_signature(key: ec.EllipticCurvePublicKey, report: GpuReport) -> None:
    """ECDSA with SHA-384 over everything before the signature."""
    half = len(report.signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (report.signature[:half], report.signature[half:]))
    try:
        key.verify(encode_dss_signature(r, s), report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise rejected(Reason.SPDM_SIGNATURE, "not the device key's signature") from error


def certified_firmware(certificate: Certificate) -> bytes | None:
    """The firmware id (48 bytes) a device's key was made for; None where the certificate names none.

    The extension is SEQUENCE {INTEGER 1, SubjectPublicKeyInfo of the device, SEQUENCE {OID of SHA-384, OCTET STRING}}.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(FWID_OID))
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        return None
    value = extension.value
    if not isinstance(value, x509.UnrecognizedExtension):
        return None
    try:
        return _firmware(value.value)
    except ValueError:
        return None


def _firmware(data: bytes) -> bytes:
    outer = _element(data, 0, 0x30, len(data))
    version = _element(data, outer[0], 0x02)
    device = _element(data, version[1], 0x30)
    named = _element(data, device[1], 0x30, outer[1])
    algorithm = _element(data, named[0], 0x06)
    digest = _element(data, algorithm[1], 0x04, named[1])
    if data[slice(*algorithm)] != SHA384_OID or digest[1] - digest[0] != SHA384.digest_size:
        raise ValueError("not a SHA-384 digest")
    return data[slice(*digest)]


def _element(data: bytes, at: int, tag: int, end: int | None = None) -> tuple[int, int]:
    """Where the content of the element at `at` is; ValueError for another tag, or another end than `end`."""
    found, start, stop = der_element(data, at)
    if found != tag or (end is not None and stop != end):
        raise ValueError("another element than expected")
    return start, stop


def _device(certificate: Certificate) -> tuple[bytes, str]:
    """Serial number and product in the device's name, which NVIDIA gives each chip: "GH100 A01 GSP BROM"."""
    try:
        serial = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return bytes.fromhex(str(serial[0].value)), str(name[0].value).split()[0]
    except (*PARSE_ERRORS, IndexError) as error:
        raise rejected(Reason.GPU_CHAIN, "the device's certificate does not name it") from error


def _manifests(collateral: NvidiaCollateral, anchors: TrustAnchors, at: int) -> tuple[Rim, Rim]:
    try:
        from vml.tee.nvidia.rim import verify_rim
    except ModuleNotFoundError as error:
        raise BackendUnavailable("reading reference manifests needs the extra tee: pip install 'vml[tee]'") from error
    links: Links = set()
    return (
        verify_rim(collateral.driver_rim, "driver manifest", anchors, at, links),
        verify_rim(collateral.vbios_rim, "VBIOS manifest", anchors, at, links),
    )


def _compare(blocks: Mapping[int, bytes], driver: Rim, vbios: Rim) -> int:
    """How many measurements the manifests ask for: all of them are met, or RIM_MISMATCH is raised with the count."""
    both = driver.measurements.keys() & vbios.measurements.keys()
    if both:
        raise rejected(Reason.RIM_MISMATCH, f"both manifests speak of measurements {sorted(both)}")
    golden = {**driver.measurements, **vbios.measurements}
    wrong = [index for index, good in sorted(golden.items()) if blocks.get(index + 1) not in good]
    if wrong:
        raise rejected(Reason.RIM_MISMATCH, f"{len(wrong)} of {len(golden)} measurements: {wrong}")
    return len(golden)


def _check_versions(product: str, report: GpuReport, driver: Rim, vbios: Rim) -> None:
    running = product, product, report.driver_version, report.vbios_version
    named = driver.product, vbios.product, driver.version, vbios.version.upper()
    if named != running:
        raise rejected(Reason.RIM_MISMATCH, f"manifests of {' '.join(named)}, the GPU is {' '.join(running)}")
