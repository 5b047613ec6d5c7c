"""Hostile quotes, collateral and logs raise MalformedProof or EvidenceRejected, and nothing else.

Structure-aware: fields are altered where they stand, lengths are kept or broken on purpose, and half of the cases are
signed again by the tests' own root, so that they reach what stands behind the signatures.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tests.tee.forge_dcap import ANCHORS, FMSPC, NOW, PPID, Forgery, root_of, sgx_extension, sign
from tests.tee.test_eventlog import CCEL, as_json, entry
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import DcapCollateral, Evidence, TrustAnchors, verify_evidence
from vml.tee.dcap.collateral import read_collateral, write_collateral
from vml.tee.dcap.eventlog import read_event_log

KINDS = (
    Forgery(tdx=False, version=3),
    Forgery(),
    Forgery(version=5),
    Forgery(version=5, body_type=2),
    Forgery(version=5, body_type=4),
)
VALUES = (None, True, -1, 0, 1, 1 << 16, 1 << 70, 1.5, "", "zz", "00" * 16, "2026-01-01T00:00:00Z", [], {}, [{}])
EXTENSION = sgx_extension((5,) * 16, 11, FMSPC, bytes(2), PPID)


@cache
def good(kind: int) -> Evidence:
    return KINDS[kind].evidence()


def bent(data: bytes, rng: random.Random) -> bytes:
    """Bytes altered, taken out, put in, doubled, cut off, or a length-like field set to an edge."""
    at = rng.randrange(len(data) + 1)
    size = rng.choice([1, 1, 2, 4, 16, 64])
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


def bent_json(item: Any, rng: random.Random) -> Any:
    """One value somewhere replaced, taken out or repeated."""
    if isinstance(item, dict) and item:
        name = rng.choice(list(item))
        if rng.random() < 0.4:
            return {**item, name: rng.choice(VALUES)}
        if rng.random() < 0.1:
            return {key: value for key, value in item.items() if key != name}
        return {**item, name: bent_json(item[name], rng)}
    if isinstance(item, list) and item:
        at = rng.randrange(len(item))
        return [*item[:at], bent_json(item[at], rng), *item[at + 1 + rng.randrange(2) :]]
    if isinstance(item, str) and rng.random() < 0.5:
        return bent(item.encode(), rng).decode("latin-1")
    return rng.choice(VALUES)


def of_quote(rng: random.Random) -> Evidence:
    evidence = good(rng.randrange(len(KINDS)))
    data = evidence.data
    for _ in range(rng.choice([1, 1, 2, 5])):
        data = bent(data, rng)
    return replace(evidence, data=data)


def of_header(rng: random.Random) -> Evidence:
    """The first kilobyte and the places of lengths, where parsing is decided."""
    evidence = good(rng.randrange(len(KINDS)))
    at = rng.choice([*range(56), *range(430, 440), *range(628, 640), *range(760, 775), *range(1212, 1300)])
    return replace(evidence, data=evidence.data[:at] + rng.randbytes(1) + evidence.data[at + 1 :])


def of_collateral(rng: random.Random) -> Evidence:
    evidence = good(rng.randrange(len(KINDS)))
    assert isinstance(evidence.collateral, DcapCollateral)
    name = rng.choice(DcapCollateral.__slots__)
    made = bent(getattr(evidence.collateral, name), rng)
    return replace(evidence, collateral=replace(evidence.collateral, **{name: made}))


def of_signed_json(rng: random.Random) -> Evidence:
    """TCB info or identity with anything in it, signed by the root's signer."""
    evidence = good(rng.randrange(len(KINDS)))
    assert isinstance(evidence.collateral, DcapCollateral)
    name = rng.choice(["tcb_info", "qe_identity"])
    data = getattr(evidence.collateral, name)
    made = bent(data, rng) if rng.random() < 0.2 else json.dumps(bent_json(json.loads(data), rng)).encode()
    changes = {name: made, f"{name}_signature": sign("tcb", made)}
    return replace(evidence, collateral=replace(evidence.collateral, **changes))


def of_signed_quote(rng: random.Random) -> Evidence:
    """A body, a QE report and a platform with anything in them, signed all the way."""
    forgery = rng.choice(KINDS)
    changes: dict[str, Any] = {
        "body": {rng.randrange(128): rng.randbytes(rng.choice([1, 16]))},
        "qe": {rng.randrange(300): rng.randbytes(rng.choice([1, 8]))},
        "extension": bent(EXTENSION, rng),
    }
    name = rng.choice(list(changes))
    return replace(forgery, **{name: changes[name]}).evidence()


def of_log(rng: random.Random) -> Evidence:
    log = bent(CCEL, rng)
    if rng.random() < 0.5:
        items = [entry(3, "a", b"1"), entry(0, "b", b"")]
        log = as_json(*bent_json(items, rng)) if rng.random() < 0.7 else bent(as_json(*items), rng)
    return replace(good(1), event_log=log)


SOURCES: dict[str, Callable[[random.Random], Evidence]] = {
    "quote": of_quote,
    "header": of_header,
    "collateral": of_collateral,
    "signed JSON": of_signed_json,
    "signed quote": of_signed_quote,
    "event log": of_log,
}


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
    fuzz(source, 340, 1)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_many_hostile_bytes_are_refused(source: str) -> None:
    fuzz(source, 17_000, 2)


def read(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(MalformedProof, EvidenceRejected):
        parse(data)


def fuzz_texts(count: int, seed: int) -> None:
    rng = random.Random(seed)
    collateral = good(1).collateral
    assert isinstance(collateral, DcapCollateral)
    form = write_collateral(collateral)
    for _ in range(count):
        read(read_collateral, bent(form, rng))
        read(read_collateral, json.dumps(bent_json(json.loads(form), rng)).encode())
        read(read_event_log, bent(CCEL, rng))


def test_hostile_texts_are_refused() -> None:
    fuzz_texts(300, 1)


@pytest.mark.slow
def test_many_hostile_texts_are_refused() -> None:
    fuzz_texts(30_000, 2)


def test_collateral_in_its_json_form() -> None:
    collateral = good(1).collateral
    assert isinstance(collateral, DcapCollateral)
    form = write_collateral(collateral)
    assert read_collateral(form) == collateral
    item = json.loads(form)
    for other in ({**item, "more": ""}, {key: item[key] for key in list(item)[1:]}, {**item, "pck_crl": "0"}, []):
        with pytest.raises(MalformedProof):
            read_collateral(json.dumps(other).encode())
    with pytest.raises(MalformedProof):
        read_collateral(form + b" " * (1 << 20))


def test_random_bytes_and_zeros() -> None:
    rng = random.Random(4)
    anchors = TrustAnchors.vendors().with_simulator([root_of(simulated=True)])
    for size in range(0, 6000, 14):
        evidence = replace(good(size % len(KINDS)), data=rng.randbytes(size) if size % 28 else bytes(size))
        with pytest.raises((MalformedProof, EvidenceRejected)):
            verify_evidence(evidence, anchors, NOW)
