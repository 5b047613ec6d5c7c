"""TDX and SEV-SNP attesters over a fake of configfs-tsm: what is asked, what is refused, and that it verifies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from attestation import tsm
from attestation.attester import AttestationFailed
from attestation.snp.attester import SnpAttester, certificates, collateral
from attestation.tdx.attester import TdxAttester
from tests.attestation.fakes import (
    AT,
    SEED,
    FakeKernel,
    certificate_table,
    snp_certificates,
    snp_report,
    tdx_quote,
)
from vml.tee import verify_evidence
from vml.tee.dcap.eventlog import DSTACK_EVENT, dstack_digest
from vml.tee.evidence import Evidence, SnpCollateral
from vml.tee_sim import anchors, simulate

DIGEST, NONCE, KEY = b"d" * 32, b"n" * 32, b"k" * 64


def tdx(root: Path, kernel: FakeKernel, log: Path | None = None) -> Evidence:
    return TdxAttester(root, log, kernel).attest(DIGEST, NONCE, KEY)


def snp(root: Path, kernel: FakeKernel, vmpl: int = 0) -> Evidence:
    return SnpAttester(root, vmpl, kernel).attest(DIGEST, NONCE, KEY)


def test_a_quote_carries_digest_and_nonce_and_the_folder_is_gone(tmp_path: Path) -> None:
    kernel = FakeKernel(tdx_quote, "tdx_guest")
    evidence = tdx(tmp_path, kernel)
    assert kernel.written == [("inblob", DIGEST + NONCE)]
    assert kernel.closed == 1
    assert not list(tmp_path.iterdir())
    assert evidence.collateral is None  # it comes from outside
    found = simulate("tdx", report_data=DIGEST + NONCE, seed=SEED, at=AT)
    whole = Evidence(evidence.kind, evidence.data, found.collateral)
    assert verify_evidence(whole, anchors(SEED), AT).bound_digest == DIGEST


def test_a_report_comes_with_the_hosts_certificates_and_verifies(tmp_path: Path) -> None:
    kernel = FakeKernel(snp_report, "sev_guest")
    evidence = snp(tmp_path, kernel, vmpl=2)
    assert kernel.written == [("privlevel", b"2"), ("inblob", DIGEST + NONCE)]
    claims = verify_evidence(evidence, anchors(SEED), AT)
    assert (claims.bound_digest, claims.nonce) == (DIGEST, NONCE)


def test_without_auxblob_there_is_no_collateral(tmp_path: Path) -> None:
    for aux in (None, b"", bytes(4096)):
        evidence = snp(tmp_path, FakeKernel(lambda data, aux=aux: (snp_report(data)[0], aux), "sev_guest"))  # type: ignore[misc]
        assert evidence.collateral is None


@pytest.mark.parametrize("name", ["inblob", "privlevel"])
def test_a_write_of_somebody_else_is_noticed(tmp_path: Path, name: str) -> None:
    """Even where the answer is still to our question: what else was set is unknown."""
    kernel = FakeKernel(tdx_quote, "tdx_guest", lambda write: write(name, DIGEST + NONCE))
    with pytest.raises(AttestationFailed, match="somebody else"):
        tdx(tmp_path, kernel)
    assert kernel.closed == 1


def test_an_answer_to_another_question_is_refused(tmp_path: Path) -> None:
    def swapped(data: bytes) -> bytes:
        return data[32:] + data[:32]

    with pytest.raises(AttestationFailed, match="another question"):
        tdx(tmp_path, FakeKernel(lambda data: tdx_quote(swapped(data)), "tdx_guest"))
    with pytest.raises(AttestationFailed, match="another question"):
        snp(tmp_path, FakeKernel(lambda data: snp_report(swapped(data)), "sev_guest"))


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[bytes, str]] = [
        (b"", "empty"),
        (b"x" * 1000, "cannot be read"),
        (b"x" * (tsm.MAX_BLOB + 1), "larger than"),
        (simulate("sgx", report_data=DIGEST + NONCE, seed=SEED, at=AT).data, "SGX"),
    ]
    for data, match in cases:
        with pytest.raises(AttestationFailed, match=match):
            tdx(tmp_path, FakeKernel(lambda _, data=data: (data, None), "tdx_guest"))  # type: ignore[misc]
    with pytest.raises(AttestationFailed, match="1183 bytes"):
        snp(tmp_path, FakeKernel(lambda data: (snp_report(data)[0][:-1], None), "sev_guest"))


def test_another_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AttestationFailed, match="sev_guest"):
        tdx(tmp_path, FakeKernel(snp_report, "sev_guest"))


def test_without_the_interface_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(AttestationFailed, match="configfs-tsm"):
        TdxAttester(tmp_path / "missing").attest(DIGEST, NONCE, KEY)


@pytest.mark.parametrize("wrong", [(b"", NONCE, KEY), (DIGEST, NONCE + b"0", KEY), (DIGEST, NONCE, KEY[1:])])
def test_sizes_are_checked_before_anything_is_asked(tmp_path: Path, wrong: tuple[bytes, bytes, bytes]) -> None:
    kernel = FakeKernel(tdx_quote, "tdx_guest")
    with pytest.raises(ValueError, match="32 bytes"):
        TdxAttester(tmp_path, None, kernel).attest(*wrong)
    with pytest.raises(ValueError, match="64 bytes"):
        tsm.report(kernel(tmp_path), DIGEST, "tdx_guest")
    assert not kernel.written


def test_requests_never_share_a_folder(tmp_path: Path) -> None:
    assert len({tsm.Request(tmp_path).folder for _ in range(100)}) == 100


PAYLOAD = {"digest": dstack_digest(DSTACK_EVENT, "app", b"\0").hex(), "event": "app", "event_payload": "00"}
LOG = json.dumps([{"imr": 3, "event_type": DSTACK_EVENT, **PAYLOAD}]).encode()


def test_an_event_log_goes_along_where_it_gives_the_registers(tmp_path: Path) -> None:
    path, root = tmp_path / "log", tmp_path / "report"
    root.mkdir()
    path.write_bytes(LOG)
    logged = FakeKernel(
        lambda data: (simulate("tdx", report_data=data, seed=SEED, at=AT, event_log=LOG).data, None), "tdx_guest"
    )
    assert tdx(root, logged, path).event_log == LOG
    with pytest.raises(AttestationFailed, match="does not give"):
        tdx(root, FakeKernel(tdx_quote, "tdx_guest"), path)
    path.write_bytes(b"[")
    with pytest.raises(AttestationFailed, match="event log"):
        tdx(root, logged, path)
    with pytest.raises(AttestationFailed, match="event log"):
        tdx(root, logged, tmp_path / "missing")


def held() -> dict[str, bytes]:
    found = simulate("snp", report_data=bytes(64), seed=SEED, at=AT).collateral
    assert isinstance(found, SnpCollateral)
    return snp_certificates(found)


def test_certificate_tables() -> None:
    named = held()
    found = collateral(certificate_table(named), "VCEK")
    assert found == simulate("snp", report_data=bytes(64), seed=SEED, at=AT).collateral
    assert collateral(certificate_table(named), "VLEK") is None  # the key that signed is not there
    assert collateral(certificate_table({"VCEK": named["VCEK"], "ARK": named["ARK"]}), "VCEK") is None
    unknown = {**named, "00000000-0000-0000-0000-000000000001": b"vendor's own"}
    assert certificates(certificate_table(unknown)) == named


@pytest.mark.parametrize("size", [1, 23, 24, 47, 100])
def test_tables_that_are_cut_off(size: int) -> None:
    with pytest.raises(AttestationFailed, match=r"end|outside"):
        certificates(certificate_table(held(), padding=0)[:size])


def test_tables_that_point_elsewhere() -> None:
    table = certificate_table(held())
    for offset, length in ((0, 5), (24 * 5 - 1, 5), (len(table) - 4, 5), (0xFFFFFFFF, 0xFFFFFFFF), (24 * 5, 0)):
        entry = table[:16] + offset.to_bytes(4, "little") + length.to_bytes(4, "little")
        with pytest.raises(AttestationFailed, match="outside"):
            certificates(entry + table[24:])
    twice = table[:24] * 2 + bytes(24) + table[48:]
    with pytest.raises(AttestationFailed, match="two entries"):
        certificates(twice)


def test_no_bytes_of_a_table_raise_anything_else() -> None:
    for _ in range(2000):
        data = os.urandom(48) + bytes(24) + os.urandom(64)
        try:
            certificates(data)
        except AttestationFailed:
            continue
