"""What the contract reads in a quote's body is what Python reads, on genuine SGX and TDX quotes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.tee.genuine import read, require, vectors
from vml.keccak import keccak256
from vml.tee.dcap.quote import SgxReport, TdReport

require()

Call = Callable[..., Any]
QUOTES = vectors("sgx", "tdx")
FMSPC = bytes.fromhex("00806f050000")
BODY_TYPES = {384: 1, 584: 2, 648: 3}
SGX_DEBUG, SEPT_VE_DISABLE = 1 << 1, 1 << 28
UP_TO_DATE = 0


@pytest.fixture(scope="module")
def contract(deploy: Callable[[str], Any]) -> Call:
    bound: Call = deploy("TeeDigests.sol:TeeDigests").call
    return bound


def body_of(item: dict[str, Any]) -> tuple[int, bytes]:
    """Version and body of a quote, cut out by Intel's layout; also of one that is not well-formed behind the body."""
    data = read(item["files"][0]["path"])
    version = int.from_bytes(data[:2], "little")
    if version < 5:
        return version, data[48 : 48 + (384 if version == 3 else 584)]
    return version, data[54 : 54 + int.from_bytes(data[50:54], "little")]


def opinion(body: bytes) -> tuple[bytes, bytes, str | None]:
    """Measurement, report data, and the error that has to follow, by Python's own reading of the body."""
    if len(body) == 384:
        enclave = SgxReport.read(body)
        debug = int.from_bytes(enclave.attributes[:8], "little") & SGX_DEBUG
        return enclave.mr_enclave, enclave.report_data, "DebugEnabled" if debug else None
    domain = TdReport.read(body)
    attributes = int.from_bytes(domain.td_attributes, "little")
    error = None
    if attributes & 0xFF:
        error = "DebugEnabled"
    elif not attributes & SEPT_VE_DISABLE:
        error = "SeptVeEnabled"
    elif domain.mr_service_td is not None and any(domain.mr_service_td):
        error = "ServiceTdPresent"
    return keccak256(domain.mr_td + b"".join(domain.rtmr)), domain.report_data, error


def check(contract: Call, output: bytes, measurement: bytes, data: bytes) -> str | None:
    """The error of the contract, None where it takes the output."""
    statuses, body_types = 1 << UP_TO_DATE, 0b1110
    rules = (bytes(32), 0, 0, [], "0x" + "00" * 20, statuses, body_types, [measurement], bytes(32))
    try:
        simulated = contract("checkOutput", output, rules, data[:32], data[32:])
    except Exception as error:
        return error.name  # type: ignore[attr-defined, no-any-return]
    assert simulated is False
    return None


@pytest.mark.parametrize("item", QUOTES, ids=lambda item: item["id"])
def test_a_genuine_body_is_read_alike(contract: Call, item: dict[str, Any]) -> None:
    version, body = body_of(item)
    measurement, data, expected = opinion(body)
    kind = BODY_TYPES[len(body)]
    output = version.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes([UP_TO_DATE]) + FMSPC + body
    assert check(contract, output, measurement, data) == expected
    if expected is None:
        assert check(contract, output, bytes(32), data) == "MeasurementRefused"
        assert check(contract, output, measurement, b"\xff" * 32 + data[32:]) == "CertificateMismatch"
        assert check(contract, output, measurement, data[:32] + b"\xff" * 32) == "NonceMismatch"


def test_the_quotes_have_something_of_everything() -> None:
    bodies = [body_of(item)[1] for item in QUOTES]
    assert {BODY_TYPES[len(body)] for body in bodies} == {1, 2, 3}
    assert {opinion(body)[2] for body in bodies} >= {None, "DebugEnabled", "SeptVeEnabled"}
