"""The verifying key: one encoding, bounded, and believed only when the verifier pins it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.backends.sumcheck.key import MAX_FIXED_ROWS, MAX_LOG_COLS, TAG, VerifyingKey, require_pinned
from vml.backends.sumcheck.opening.types import MIN_LOG_COLS
from vml.backends.sumcheck.scheme import LOG_BLOWUPS, SCHEME
from vml.backends.sumcheck.security import Parameters
from vml.backends.types import PINNED_KEYS, Environment
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected
from vml.keccak import keccak256
from vml.model.semantics import SEMANTICS
from vml.proof import Proof

MODEL, OTHER = b"\x01" * 32, b"\x02" * 32
KEY = VerifyingKey(MODEL, 9, 3, bytes(range(256)) * 8)
CLAIM = Claim(MODEL, b"\x04" * 32, b"\x05" * 32, ZERO_CONTEXT)


def pinned(*digests: bytes) -> Environment:
    return Environment(pins={PINNED_KEYS: frozenset(digests)})


def test_the_encoding_written_out() -> None:
    data = b"vml-key/1 " + SCHEME.encode() + b"\0" + MODEL + b"\x09\x00\x00\x00\x03" + KEY.cap
    assert KEY.encode() == data
    assert KEY.digest == keccak256(data)
    assert VerifyingKey.decode(data) == KEY


@pytest.mark.parametrize(("log_cols", "nodes"), [(MIN_LOG_COLS, 64), (12, 64), (MAX_LOG_COLS, 64)])
@pytest.mark.parametrize("rows", [1, MAX_FIXED_ROWS])
def test_the_ends_of_every_range(log_cols: int, nodes: int, rows: int) -> None:
    key = VerifyingKey(OTHER, log_cols, rows, bytes(32 * nodes))
    assert VerifyingKey.decode(key.encode()) == key


@pytest.mark.parametrize(
    "change",
    [
        {"model": b"\x01" * 31},
        {"model": b"\x01" * 33},
        {"log_cols": MIN_LOG_COLS - 1},
        {"log_cols": MAX_LOG_COLS + 1},
        {"fixed_rows": 0},
        {"fixed_rows": MAX_FIXED_ROWS + 1},
        {"cap": KEY.cap[:-1]},
        {"cap": KEY.cap + b"\0"},
        {"cap": KEY.cap[:-32]},
        {"cap": b""},
    ],
)
def test_a_key_out_of_bounds_is_a_callers_mistake(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"identity|log_cols|fixed_rows|cap"):
        replace(KEY, **change)  # type: ignore[arg-type]


HEAD = len(TAG) + 32
DAMAGES = {
    "empty": b"",
    "tag alone": TAG,
    "tag and model": TAG + MODEL,
    "no cap": KEY.encode()[: HEAD + 5],
    "half a shape": KEY.encode()[: HEAD + 3],
    "another scheme": KEY.encode().replace(b"bits-100", b"bits-099"),
    "another version": KEY.encode().replace(b"vml-key/1", b"vml-key/2"),
    "no columns": KEY.encode()[:HEAD] + b"\0" + KEY.encode()[HEAD + 1 :],
    "too many columns": KEY.encode()[:HEAD] + b"\xff" + KEY.encode()[HEAD + 1 :],
    "no rows": KEY.encode()[: HEAD + 1] + bytes(4) + KEY.encode()[HEAD + 5 :],
    "a byte less": KEY.encode()[:-1],
    "a byte more": KEY.encode() + b"\0",
    "twice": KEY.encode() * 2,
}


@pytest.mark.parametrize("data", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        VerifyingKey.decode(data)


@given(st.binary(max_size=3000), st.integers(0, 300))
def test_noise(noise: bytes, kept: int) -> None:
    for data in (noise, KEY.encode()[:kept] + noise):
        try:
            key = VerifyingKey.decode(data)
        except MalformedProof:
            continue
        assert key.encode() == data


def test_every_byte_counts() -> None:
    data = KEY.encode()
    for at in range(len(data)):
        other = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            key = VerifyingKey.decode(other)
        except MalformedProof:
            continue
        assert key.digest != KEY.digest
        with pytest.raises((ProofRejected, ClaimMismatch)):
            require_pinned(key, (CLAIM,), pinned(KEY.digest))


def test_a_pinned_key() -> None:
    require_pinned(KEY, (CLAIM,), pinned(OTHER, KEY.digest))
    require_pinned(KEY, (CLAIM, replace(CLAIM, input=OTHER)), pinned(KEY.digest))


@pytest.mark.parametrize("environment", [Environment(), pinned(), pinned(OTHER)])
def test_a_key_that_nobody_pinned(environment: Environment) -> None:
    with pytest.raises(ProofRejected, match="the verifying key"):
        require_pinned(KEY, (CLAIM,), environment)


@pytest.mark.parametrize("claims", [(replace(CLAIM, model=OTHER),), (CLAIM, replace(CLAIM, model=OTHER))])
def test_the_key_of_another_model(claims: tuple[Claim, ...]) -> None:
    with pytest.raises(ClaimMismatch, match="model"):
        require_pinned(KEY, claims, pinned(KEY.digest))


def test_the_scheme_names_what_affects_verification() -> None:
    assert SCHEME == "sumcheck/1/vml-int-1/goldilocks2/rates-8-16/keccak256/bits-100-grinding-0"
    assert SEMANTICS.replace("/", "-") in SCHEME
    assert (Parameters(1, 1).log_blowup1, Parameters(1, 1).log_blowup2) == LOG_BLOWUPS
    assert Proof(SCHEME, (CLAIM,), {}, b"").backend == "sumcheck"


def test_plain_python_is_enough() -> None:
    code = "import sys, vml.backends.sumcheck.key as k; print(sorted({'numpy', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
