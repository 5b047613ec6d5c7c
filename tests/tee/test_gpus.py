"""A key and its GPUs name each other: both directions, and everything that has to be refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cbor2
import pytest

from vml.errors import EvidenceRejected
from vml.tee import NvidiaClaims, Reason, Window
from vml.tee.binding import Algorithm, KeyCertificate
from vml.tee.gpus import gpu_nonce, gpus_digest, require_gpus_bound

NONCE = bytes(range(32))
PUBLIC_KEY = bytes(range(64))
KEY = KeyCertificate(Algorithm.P256, PUBLIC_KEY, b"m" * 32, b"p" * 32, 1, 2_000_000_000)


def gpu(name: bytes, nonce: bytes = NONCE) -> NvidiaClaims:
    return NvidiaClaims(
        evidence_id=hashlib.sha256(name).digest(),
        window=Window(None, "", None, ""),
        simulated=False,
        at=0,
        spdm_nonce=gpu_nonce(PUBLIC_KEY, nonce),
        blocks={},
        opaque={},
        driver_version="550.90.07",
        vbios_version="96.00.9F.00.01",
        device_id=name,
        product="GH100",
        fwid=None,
        matched=None,
    )


def with_gpus(*gpus: NvidiaClaims) -> KeyCertificate:
    return replace(KEY, gpus=gpus_digest(found.evidence_id for found in gpus))


def refused(certificate: KeyCertificate, *gpus: NvidiaClaims) -> bool:
    with pytest.raises(EvidenceRejected) as caught:
        require_gpus_bound(certificate, gpus, NONCE)
    return bool(caught.value.reason == Reason.GPU_BINDING)


def test_bytes_are_as_documented() -> None:
    assert gpu_nonce(PUBLIC_KEY, NONCE) == hashlib.sha256(b"vml/gpu/v1" + PUBLIC_KEY + NONCE).digest()
    low, high = bytes(32), b"\xff" * 32
    assert gpus_digest([high, low]) == hashlib.sha256(b"vml/gpu-evidence/v1" + low + high).digest()


def test_the_seventh_entry_is_there_only_with_gpus() -> None:
    bare, bound = cbor2.loads(KEY.encode()), with_gpus(gpu(b"a"))
    assert set(bare) == {1, 2, 3, 4, 5, 6}
    assert cbor2.loads(bound.encode()) == {**bare, 7: bound.gpus}
    assert cbor2.dumps(cbor2.loads(bound.encode()), canonical=True) == bound.encode()
    assert bound.digest() != KEY.digest()
    with pytest.raises(ValueError, match="gpus"):
        replace(KEY, gpus=b"short")


def test_what_is_bound_both_ways_is_accepted() -> None:
    require_gpus_bound(KEY, (), NONCE)
    require_gpus_bound(with_gpus(gpu(b"a")), (gpu(b"a"),), NONCE)
    require_gpus_bound(with_gpus(gpu(b"a"), gpu(b"b")), (gpu(b"b"), gpu(b"a")), NONCE)


def test_everything_else_is_refused() -> None:
    one, other = gpu(b"a"), gpu(b"b")
    assert refused(KEY, one)  # the key names none
    assert refused(with_gpus(one))  # the GPU's evidence is left out
    assert refused(with_gpus(one), other)  # another GPU
    assert refused(with_gpus(one), one, other)
    assert refused(with_gpus(one, other), one)
    replayed = gpu(b"a", bytes(32))
    assert refused(with_gpus(replayed), replayed)  # answered another verifier
    assert refused(replace(with_gpus(one), public_key=bytes(64)), one)  # answered for another key
    twice = replace(other, device_id=one.device_id)
    assert refused(with_gpus(one, twice), one, twice)


def test_a_key_does_not_outlive_its_gpus() -> None:
    for last, accepted in ((None, True), (KEY.not_after, True), (KEY.not_after - 1, False)):
        held = replace(gpu(b"a"), window=Window(None, "", last, "chain"))
        if accepted:
            require_gpus_bound(with_gpus(held), (held,), NONCE)
            continue
        with pytest.raises(EvidenceRejected, match="chain of a GPU ends") as caught:
            require_gpus_bound(with_gpus(held), (held,), NONCE)
        assert caught.value.reason == Reason.KEY_OUTLIVES_EVIDENCE


@pytest.mark.parametrize("ids", [[], [bytes(32), bytes(32)], [bytes(31)]])
def test_digests_of_nothing_or_of_one_twice_do_not_exist(ids: list[bytes]) -> None:
    with pytest.raises(ValueError, match="evidence ids"):
        gpus_digest(ids)


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        gpu_nonce(PUBLIC_KEY[:-1], NONCE)
    with pytest.raises(ValueError, match="64 bytes"):
        gpu_nonce(PUBLIC_KEY, NONCE + b"\0")
