"""One entrance: evidence of a machine that does not exist, and the roots that vouch for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

from vml.tee.anchors import Family, Root, TrustAnchors
from vml.tee.evidence import Evidence, Kind
from vml.tee.x509 import simulator_root
from vml.tee_sim import dcap, nitro, snp
from vml.tee_sim.certificates import DAY, FIRST, LAST
from vml.tee_sim.faults import EXPECTED, Fault
from vml.tee_sim.measurements import MAIN, complete

DEFAULT_SEED = "vml"
REPORT_DATA = 64
DEFAULT_REPORT_DATA = hashlib.sha512(b"vml/tee-sim/report data").digest()
"""For those who have nothing to attest."""
MAX_SEED = 200
KINDS = tuple(EXPECTED)
EARLIEST, LATEST = FIRST + 366 * DAY, LAST - 366 * DAY
"""Unix times for which there is simulated evidence: years 2021 to 2048."""

# Faults of the platform or its collateral; all others are of the evidence alone.
_OF_COLLATERAL = {
    Fault.OUT_OF_DATE,
    Fault.REVOKED,
    Fault.EXPIRED,
    Fault.NO_CRL,
    Fault.STALE_EVALUATION,
}


def simulate(
    kind: Kind | str,
    *,
    report_data: bytes,
    seed: str,
    at: int,
    fault: Fault | str | None = None,
    measurements: Mapping[str, bytes] | None = None,
    event_log: bytes | None = None,
    public_key: bytes | None = None,
    version: int | None = None,
) -> Evidence:
    """Evidence as the real hardware would give it, under a root that says it is none.

    The same arguments give the same bytes. Collateral lasts for 29 days from the day of `at`, a Nitro certificate for
    three hours from its hour.

    Args:
        kind: SGX, TDX, SNP or Nitro.
        report_data: 64 bytes to be attested; Nitro: user data and nonce, 32 bytes each.
        seed: whose keys; anybody who knows it can make the same evidence.
        at: unix seconds, within the years 2021 to 2048.
        fault: the one thing that is wrong; each is refused with its code of `EXPECTED`.
        measurements: by the names of policies, over `default_measurements`.
        event_log: of TDX; the run-time registers are what it gives.
        public_key: of Nitro, at most 1024 bytes.
        version: of a TDX quote, 4 (the default) or 5.

    Raises:
        ValueError: an argument that does not fit the kind, or is out of range.
    """
    kind, fault = Kind(kind), None if fault is None else Fault(fault)
    _check(kind, report_data, seed, at, fault, event_log, public_key, version)
    measured = complete(kind, measurements or {}, event_log)
    if fault == Fault.WRONG_MEASUREMENT:
        measured[MAIN[kind]] = _turned(measured[MAIN[kind]])
    if fault == Fault.WRONG_NONCE:
        report_data = report_data[:32] + _turned(report_data[32:])
    made = _made(kind, seed, at, report_data, measured, fault, public_key, version or 4)
    data = made.data + b"\x01" if fault == Fault.TRAILING_BYTES else made.data
    return Evidence(kind, data, made.collateral, event_log)


def _made(
    kind: Kind,
    seed: str,
    at: int,
    report_data: bytes,
    measured: Mapping[str, bytes],
    fault: Fault | None,
    public_key: bytes | None,
    version: int,
) -> Evidence:
    day, platform_fault = at - at % DAY, fault if fault in _OF_COLLATERAL else None
    if kind == Kind.NITRO:
        return Evidence(kind, nitro.document(seed, report_data, public_key, measured, at, fault))
    if kind == Kind.SNP:
        found = snp.collateral(seed, day, platform_fault)
        return Evidence(kind, snp.report(seed, report_data, measured, fault), found)
    tdx = kind == Kind.TDX
    data = dcap.quote(seed, version if tdx else 3, report_data, measured, fault)
    return Evidence(kind, data, dcap.collateral(dcap.Platform(seed, tdx, day, platform_fault)))


@cache
def roots(seed: str) -> tuple[Root, ...]:
    """The roots of a seed's evidence: Intel's, AMD's and Amazon's part."""
    return (
        simulator_root(Family.INTEL, dcap.certificate(seed, "SGX root")),
        simulator_root(Family.AMD_GENOA, snp.authority_certificate(seed, "ark")),
        simulator_root(Family.AWS_NITRO, nitro.root_certificate(seed)),
    )


def intel_root(seed: str) -> bytes:
    """DER of the root that a seed's quotes end in, for other verifiers."""
    return dcap.certificate(seed, "SGX root")


def anchors(seed: str) -> TrustAnchors:
    """The vendors' roots, and those of a seed: what a caller passes who wants simulated evidence accepted."""
    return TrustAnchors.vendors().with_simulator(roots(seed))


def _check(
    kind: Kind,
    report_data: bytes,
    seed: str,
    at: int,
    fault: Fault | None,
    event_log: bytes | None,
    public_key: bytes | None,
    version: int | None,
) -> None:
    if kind not in EXPECTED:
        raise ValueError(f"no simulator for {kind}, only {', '.join(KINDS)}")
    if fault is not None and fault not in EXPECTED[kind]:
        raise ValueError(f"{kind} has no fault {fault}, only {', '.join(EXPECTED[kind])}")
    if len(report_data) != REPORT_DATA:
        raise ValueError(f"report data has {REPORT_DATA} bytes, not {len(report_data)}")
    if len(seed.encode()) > MAX_SEED:
        raise ValueError(f"a seed has at most {MAX_SEED} bytes")
    if not EARLIEST <= at <= LATEST:
        raise ValueError(f"{at} is no unix time within the years 2021 to 2048")
    for name, value, owner in (
        ("an event log", event_log, Kind.TDX),
        ("a quote version", version, Kind.TDX),
        ("a public key", public_key, Kind.NITRO),
    ):
        if value is not None and kind != owner:
            raise ValueError(f"{kind} has no place for {name}")
    if version not in (None, 4, 5):
        raise ValueError("quotes of TDX have version 4 or 5")
    if public_key is not None and len(public_key) > 1024:
        raise ValueError("a public key has at most 1024 bytes")


def _turned(value: bytes) -> bytes:
    """Another value of the same size."""
    return bytes([value[0] ^ 1]) + value[1:]
