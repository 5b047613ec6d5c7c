"""Hostile reports, documents and TPM quotes raise MalformedProof or EvidenceRejected, and nothing else.

Structure-aware: bytes are altered in each part where it stands, half of the cases are signed again by the tests' own
roots, so that they reach what stands behind the signatures.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cbor2
import pytest

from tests.tee import forge_azure, forge_nitro, forge_snp
from tests.tee.forge_azure import AzureForgery
from tests.tee.forge_nitro import NitroForgery, open_map
from tests.tee.forge_snp import NOW, SnpForgery
from tests.tee.test_dcap_fuzz import bent, bent_json
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import AzureCollateral, Evidence, Kind, SnpCollateral, TrustAnchors, verify_evidence
from vml.tee.nitro.cbor import MAX_DEPTH, Reader

ANCHORS = TrustAnchors((*forge_azure.ANCHORS.roots, *forge_nitro.ANCHORS.roots))
REPORTS = tuple(
    SnpForgery(product, vlek, version)
    for product, vlek, version in [("Milan", False, 2), ("Genoa", True, 3), ("Turin", False, 5), ("Milan", False, 4)]
)
QUOTES = (AzureForgery(), AzureForgery(old=True), AzureForgery(tdx=True))
EXTENSIONS = ("1", "2", "3.1", "3.8", "3.9", "4", "5", "6")
ITEMS = (None, True, 0, -1, 1 << 64, 1.5, b"", bytes(48), bytes(2000), "", "SHA384", [], [b""], {}, {0: b""}, {"a": 1})


@cache
def report(kind: int) -> Evidence:
    return REPORTS[kind].evidence()


@cache
def document(kind: int) -> Evidence:
    return (NitroForgery(), NitroForgery(encode=open_map))[kind].evidence()


@cache
def quote(kind: int) -> Evidence:
    return QUOTES[kind].evidence()


def often(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 2, 5])):
        data = bent(data, rng)
    return data


def of_report(rng: random.Random) -> Evidence:
    """Mostly of the right length: otherwise nothing behind the first check is reached."""
    evidence = report(rng.randrange(len(REPORTS)))
    if rng.random() < 0.2:
        return replace(evidence, data=often(evidence.data, rng))
    data = bytearray(evidence.data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        data[rng.randrange(len(data))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
    return replace(evidence, data=bytes(data))


def of_snp_collateral(rng: random.Random) -> Evidence:
    evidence = report(rng.randrange(len(REPORTS)))
    assert isinstance(evidence.collateral, SnpCollateral)
    name = rng.choice(["vek", "chain", "crl"])
    good = getattr(evidence.collateral, name) or SnpForgery(crl=(NOW, NOW)).list()
    return replace(evidence, collateral=replace(evidence.collateral, **{name: bent(good, rng)}))


def of_signed_report(rng: random.Random) -> Evidence:
    """A report with anything in it, signed; or a certificate with any extension."""
    forgery = rng.choice(REPORTS)
    if rng.random() < 0.7:
        changes = {rng.randrange(0x280): rng.randbytes(rng.choice([1, 1, 8, 32]))}
        made = replace(forgery, changes=changes).report()
        return replace(report(REPORTS.index(forgery)), data=made)
    value = rng.choice([None, b"", rng.randbytes(8), rng.randbytes(64), b"\x02\x01" + rng.randbytes(1), b"\x16\x02ab"])
    return replace(forgery, extensions={rng.choice(EXTENSIONS): value}).evidence()


def of_document(rng: random.Random) -> Evidence:
    evidence = document(rng.randrange(2))
    return replace(evidence, data=often(evidence.data, rng))


def of_cbor(rng: random.Random) -> Evidence:
    """The heads of items, where parsing is decided, in a payload that is signed again."""
    payload = cbor2.loads(document(rng.randrange(2)).data)[2]
    data = bytearray(payload)
    at = rng.choice([0, *(payload.index(name.encode()) - 1 for name in ("digest", "timestamp", "pcrs", "nonce"))])
    at += rng.randrange(14)
    data[at : at + rng.randrange(3)] = rng.choice([bytes([rng.randrange(256)]), rng.randbytes(3), b"\x81" * 40])
    return Evidence(Kind.NITRO, NitroForgery().wrap(bytes(data)))


def of_signed_document(rng: random.Random) -> Evidence:
    """A document with anything for any field, signed."""
    item = cbor2.loads(cbor2.loads(document(0).data)[2])
    name = rng.choice(list(item))
    match rng.randrange(5):
        case 0:
            item[rng.choice(["more", 1, name])] = rng.choice(ITEMS)
        case 1:
            item.pop(name)
        case 2:
            item["pcrs"][rng.choice([0, 31, 32, "0", 1 << 40])] = rng.choice(ITEMS)
        case 3:
            item["cabundle"][rng.randrange(4)] = bent(rng.choice(item["cabundle"]), rng)
        case _:
            item["certificate"] = bent(item["certificate"], rng)
    payload = open_map(item) if rng.random() < 0.5 else cbor2.dumps(item)
    return Evidence(Kind.NITRO, NitroForgery().wrap(payload))


def of_quote(rng: random.Random) -> Evidence:
    """The JSON object with any value anywhere, or any byte."""
    evidence = quote(rng.randrange(len(QUOTES)))
    if rng.random() < 0.3:
        return replace(evidence, data=often(evidence.data, rng))
    return replace(evidence, data=json.dumps(bent_json(json.loads(evidence.data), rng)).encode())


def of_quote_parts(rng: random.Random) -> Evidence:
    """Message, HCL report, registers and signature altered, and put back in their form."""
    evidence = quote(rng.choice([0, 2]))
    item: dict[str, Any] = json.loads(evidence.data)
    name = rng.choice(["message", "signature", "hcl_report", "hcl_report"])
    if name == "hcl_report":
        hcl = bytearray(base64.urlsafe_b64decode(item[name]))
        at = rng.choice([*range(32), *range(1216, 1236), rng.randrange(len(hcl))])
        hcl[at] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
        item[name] = base64.urlsafe_b64encode(hcl if rng.random() < 0.8 else bent(bytes(hcl), rng)).decode()
    else:
        item["tpm_quote"][name] = bent(bytes.fromhex(item["tpm_quote"][name]), rng).hex()
    return replace(evidence, data=json.dumps(item).encode())


def of_signed_quote(rng: random.Random) -> Evidence:
    """Runtime data or a TPM message with anything in it, signed all the way."""
    if rng.random() < 0.5:
        return AzureForgery(message=lambda data: bent(data, rng)).evidence()
    bend: Callable[[bytes], bytes] = (
        (lambda text: bent(text, rng))
        if rng.random() < 0.3
        else (lambda text: json.dumps(bent_json(json.loads(text), rng)).encode())
    )
    runtime = bend(AzureForgery().runtime_data())
    return AzureForgery(runtime_text=lambda text: runtime, snp=REPORTS[3]).evidence()


def of_azure_collateral(rng: random.Random) -> Evidence:
    evidence = quote(0)
    assert isinstance(evidence.collateral, AzureCollateral)
    hardware = evidence.collateral.hardware
    assert isinstance(hardware, SnpCollateral)
    changed = replace(hardware, chain=bent(hardware.chain, rng))
    return replace(evidence, collateral=AzureCollateral(changed))


SOURCES: dict[str, Callable[[random.Random], Evidence]] = {
    "SNP report": of_report,
    "SNP collateral": of_snp_collateral,
    "signed SNP report": of_signed_report,
    "Nitro document": of_document,
    "Nitro CBOR": of_cbor,
    "signed Nitro document": of_signed_document,
    "Azure evidence": of_quote,
    "Azure's parts": of_quote_parts,
    "signed Azure quote": of_signed_quote,
    "Azure's collateral": of_azure_collateral,
}
# How many of 10 cases of a kind come from each source; all of a kind make ten.
SHARES = dict(zip(SOURCES, (6, 2, 2, 5, 3, 2, 4, 3, 2, 1), strict=True))


def fuzz(source: str, count: int, seed: int) -> None:
    rng, refused = random.Random(f"{source} {seed}"), 0
    for number in range(count):
        evidence = SOURCES[source](rng)
        try:
            verify_evidence(evidence, ANCHORS, NOW)
        except (MalformedProof, EvidenceRejected):
            refused += 1
        except Exception as error:
            raise AssertionError(f"{source}, seed {seed}, case {number}: {error!r}") from error
    assert refused > count // 4


@pytest.mark.parametrize("source", SOURCES)
def test_hostile_bytes_are_refused(source: str) -> None:
    fuzz(source, 200 * SHARES[source], 1)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_many_hostile_bytes_are_refused(source: str) -> None:
    fuzz(source, 10_000 * SHARES[source], 2)


def random_item(rng: random.Random, depth: int) -> Any:
    size = rng.choice([0, 1, 23, 24, 255, 256])
    match rng.randrange(7 if depth else 4):
        case 0:
            return rng.getrandbits(rng.randrange(65))
        case 1:
            return rng.randbytes(size)
        case 2:
            return "é" * size
        case 3:
            return None
        case 4:
            return [random_item(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {
                rng.choice([number, f"n{number}"]): random_item(rng, depth - 1) for number in range(rng.randrange(6))
            }


def compare_decoders(count: int, seed: int) -> None:
    """What the strict reader takes, `cbor2` reads alike and writes back as the same bytes."""
    rng, taken = random.Random(seed), 0
    for _ in range(count):
        item = random_item(rng, MAX_DEPTH)
        data = cbor2.dumps(item)
        reader = Reader(data, "test")
        assert reader.item() == item
        reader.end()
        altered = bent(data, rng)
        reader = Reader(altered, "test")
        try:
            found = reader.item()
        except MalformedProof:
            continue
        taken += 1
        assert cbor2.loads(altered[: reader.at]) == found
        assert cbor2.dumps(found) == altered[: reader.at]
    assert taken > count // 10


def test_two_decoders_read_alike() -> None:
    compare_decoders(2_000, 1)


@pytest.mark.slow
def test_two_decoders_read_very_much_alike() -> None:
    compare_decoders(100_000, 2)


@pytest.mark.parametrize("kind", [Kind.SNP, Kind.NITRO, Kind.AZURE])
def test_random_bytes_and_zeros(kind: Kind) -> None:
    rng = random.Random(4)
    base = {Kind.SNP: report(0), Kind.NITRO: document(0), Kind.AZURE: quote(0)}[kind]
    for size in (*range(0, 3000, 17), 1184):
        for data in (rng.randbytes(size), bytes(size)):
            with pytest.raises((MalformedProof, EvidenceRejected)):
                verify_evidence(replace(base, data=data), ANCHORS, NOW)


def test_the_bases_are_good() -> None:
    for evidence in (*map(report, range(4)), document(0), document(1), *map(quote, range(3))):
        verify_evidence(evidence, ANCHORS, NOW)
    assert forge_snp.ANCHORS.roots[0] in ANCHORS.roots
