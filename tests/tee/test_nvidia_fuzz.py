"""Hostile GPU reports, chains and manifests raise MalformedProof or EvidenceRejected, and nothing else.

Structure-aware: numbers and lengths are altered where they stand, and half of the reports and the manifests are signed
again by the tests' own roots, so that they reach what stands behind the signatures.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tee.forge_nvidia import ANCHORS, NOW, GpuForgery, fwid_extension, signed_report
from tests.tee.test_nvidia_forgeries import HEAD, collateral, good, manifests, report, signed_text
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import Evidence, Kind, NvidiaCollateral, verify_evidence
from vml.tee.nvidia import rim
from vml.tee.nvidia.report import read_report
from vml.tee.reasons import code_of


def bent(data: bytes, rng: random.Random) -> bytes:
    """Bytes altered, taken out, put in, doubled or cut off."""
    at, size = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 4, 16, 55])
    match rng.randrange(6):
        case 0:
            return data[:at] + rng.randbytes(size) + data[at + size :]
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + rng.randbytes(size) + data[at:]
        case 3:
            return data[:at] + data[at : at + size] * 2 + data[at + size :]
        case 4:
            return data[:at]
        case _:
            return data[:at] + rng.choice([b"\x00", b"\xff"]) * size + data[at + size :]


def of_report(rng: random.Random) -> Evidence:
    """Most alterations at the places of numbers and lengths; half of them are signed again."""
    signed = good().data[:-96]
    edges = [*range(48), *range(HEAD + 8, HEAD + 8 + 12 * 55, 55), *range(HEAD + 8 + 12 * 55 + 32, len(signed))]
    at = rng.choice(edges)
    made = signed[:at] + rng.randbytes(1) + signed[at + 1 :] if rng.random() < 0.5 else bent(signed, rng)
    return report(signed_report(made) if rng.random() < 0.5 else made + good().data[-96:])


def of_manifest(rng: random.Random) -> Evidence:
    return manifests(bent(collateral().driver_rim, rng))


def of_chain(rng: random.Random) -> Evidence:
    return Evidence(Kind.NVIDIA, good().data, NvidiaCollateral(bent(collateral().chain, rng)))


def of_extension(rng: random.Random) -> Evidence:
    forgery = GpuForgery(extension=bent(fwid_extension(), rng) or b"\x00")
    leaf = forgery.certificate("key").public_bytes(Encoding.PEM)
    rest = collateral().chain[len(GpuForgery().certificate("key").public_bytes(Encoding.PEM)) :]
    return Evidence(Kind.NVIDIA, good().data, NvidiaCollateral(leaf + rest))


def of_signed_manifest(rng: random.Random) -> Evidence:
    """What the verifier reads after the signature: text that the right signer signed."""

    def change(text: str) -> str:
        at = text.index("<s:Meta")
        made = bent(text[at:-19].encode(), rng).decode("latin-1")
        return text[:at] + made + text[-19:]

    with contextlib.suppress(Exception):  # a text that is no XML cannot be signed
        return signed_text(change)
    return of_manifest(rng)


MAKERS = (of_report, of_report, of_report, of_report, of_manifest, of_chain, of_extension, of_signed_manifest)


def fuzz(count: int, seed: int) -> None:
    rng = random.Random(seed)
    outcomes = set()
    for _ in range(count):
        evidence = rng.choice(MAKERS)(rng)
        try:
            verify_evidence(evidence, ANCHORS, NOW)
            outcomes.add("good")
        except (MalformedProof, EvidenceRejected) as error:
            outcomes.add(str(code_of(error)))
    assert {"good", "MALFORMED", "SPDM_SIGNATURE", "RIM_SIGNATURE", "GPU_CHAIN"} <= outcomes


def test_hostile_bytes() -> None:
    fuzz(2_000, 6)


@pytest.mark.slow
def test_many_hostile_reports() -> None:
    rng, data = random.Random(61), good().data
    for _ in range(100_000):
        with contextlib.suppress(MalformedProof):
            read_report(bent(data, rng))


@pytest.mark.slow
def test_many_hostile_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read behind the signature, with the signature taken for granted."""
    chain = rim.verify_rim(collateral().driver_rim, "manifest", ANCHORS, NOW).chain
    monkeypatch.setattr(rim, "check_chain", lambda *_, **__: chain)
    monkeypatch.setattr(rim, "check_times", lambda *_, **__: None)
    monkeypatch.setattr(rim, "_signed", lambda data, signer, at, name: rim._parse(data, name))
    rng, data = random.Random(62), collateral().driver_rim
    read = 0
    for _ in range(100_000):
        with contextlib.suppress(MalformedProof):
            rim.verify_rim(bent(data, rng), "manifest", ANCHORS, NOW)
            read += 1
    assert 0 < read < 100_000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_hostile_bytes() -> None:
    fuzz(20_000, 63)
