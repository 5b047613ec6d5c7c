"""The loop inside: order, sequence numbers, evidence of the right key, both directions of GPUs, and the wire."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import vml
from attestation import serve, start, tsm
from attestation.attester import AttestationFailed, Attester
from attestation.nitro.attester import NitroAttester
from attestation.serve import Room, Server, Service, read_start, write_start
from attestation.snp.attester import SnpAttester
from attestation.tdx.attester import TdxAttester
from tests.attestation.fakes import AT, SEED, FakeKernel, FakeNsm, nitro_document, snp_report, tdx_quote
from tests.cli.stand_in import tiny_onnx
from tests.tee import forge_nvidia
from vml import canonical
from vml.backends.tee import verifier
from vml.backends.tee.attester import ask, write_request
from vml.backends.tee.engines import exact_program
from vml.backends.tee.payload import SignedRun
from vml.backends.types import (
    TEE_ANCHORS,
    TEE_NONCE,
    TEE_POLICIES,
    Attesting,
    ClaimExpectation,
    Environment,
    SetupOptions,
)
from vml.errors import EvidenceRejected, MalformedProof, ProvingError
from vml.merkle import tensor_root, tensors_root
from vml.model import compile_model
from vml.model.compiled import Model
from vml.policy import Policy
from vml.proof import Proof
from vml.tee import NvidiaClaims, verify_evidence
from vml.tee.binding import Algorithm, KeyCertificate, require_bound, verify_receipt
from vml.tee.evidence import Evidence, Kind
from vml.tee.files import read_json, write_folder
from vml.tee.gpus import gpu_nonce, require_gpus_bound
from vml.tee_sim import anchors, matching_policy, simulate

NONCE, OTHER, CONTEXT = b"n" * 32, b"o" * 32, b"c" * 32
NOT_AFTER = AT + 3600


@cache
def model() -> Model:
    rows = np.random.default_rng(7).normal(size=(32, 4)).astype(np.float32)
    found = compile_model(tiny_onnx(), calibration={"x": rows})
    assert isinstance(found, Model)
    return found


def codes() -> dict[str, Any]:
    return model().quantize({"x": np.full((1, 4), 0.25, np.float32)})


def collateral(kind: Kind) -> Any:
    return simulate(kind, report_data=bytes(64), seed=SEED, at=AT).collateral


@contextmanager
def attester_of(kind: str, path: Path) -> Iterator[Attester]:
    if kind == "nitro":
        (path / "nsm").touch()
        yield NitroAttester(path / "nsm", FakeNsm(nitro_document))
    elif kind == "snp":
        yield SnpAttester(path, 0, FakeKernel(snp_report, "sev_guest"))
    else:
        yield TdxAttester(path, None, FakeKernel(tdx_quote, "tdx_guest"))


def service(attester: Attester, kind: str = "tdx", **options: Any) -> Service:
    given: dict[str, Any] = {
        "epoch": 3,
        "not_after": NOT_AFTER,
        "clock": lambda: AT + 0.9,
        "collateral": collateral(Kind(kind)),
    }
    return Service(model(), attester, matching_policy(kind), **{**given, **options})


@pytest.fixture
def tdx(tmp_path: Path) -> Service:
    return service(TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest")))


def signed(proof: Proof) -> SignedRun:
    return SignedRun.decode(proof.payload)


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("kind", ["tdx", "snp", "nitro"])
def test_a_run_is_signed_by_an_attested_key(tmp_path: Path, kind: str, algorithm: Algorithm) -> None:
    with attester_of(kind, tmp_path) as attester:
        proof = service(attester, kind, algorithm=algorithm).prove(codes(), CONTEXT, NONCE)
    found, claim = signed(proof), proof.claims[0]
    verified = verify_evidence(read_json(found.evidence), anchors(SEED), AT)
    require_bound(found.certificate, verified)
    assert verified.nonce == NONCE == found.nonce
    verify_receipt(found.receipt(claim.digest()), found.signature, found.certificate)
    assert (found.certificate.epoch, found.certificate.not_after, found.issued_at) == (3, NOT_AFTER, AT)
    assert found.certificate.model == claim.model == model().commitment
    assert claim.context == CONTEXT
    assert claim.input == tensors_root([tensor_root(codes()["x"])])
    outputs = model().run(codes())
    assert claim.output == tensors_root([tensor_root(outputs[spec.name]) for spec in model().outputs])


def test_sequence_numbers_grow_whatever_the_evidence(tdx: Service) -> None:
    runs = [signed(tdx.prove(codes(), CONTEXT, nonce)) for nonce in (None, NONCE, NONCE, OTHER, None)]
    assert [found.sequence for found in runs] == [1, 2, 3, 4, 5]
    assert len({found.certificate for found in runs}) == 1
    assert [found.nonce for found in runs[1:]] == [NONCE, NONCE, OTHER, OTHER]
    assert runs[1].evidence == runs[2].evidence != runs[3].evidence == runs[4].evidence


def test_no_two_receipts_share_a_number(tdx: Service) -> None:
    found: list[int] = []

    def ask_often() -> None:
        found.extend(signed(tdx.prove(codes(), CONTEXT)).sequence for _ in range(8))

    threads = [threading.Thread(target=ask_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 33))


def test_every_start_makes_another_key(tmp_path: Path) -> None:
    attester = TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest"))
    assert len({service(attester).attest(NONCE)[0].public_key for _ in range(3)}) == 3


def test_no_key_is_made_before_the_weights_were_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder whose weights are not the recorded ones nothing is ever served."""
    folder = tmp_path / "model"
    model().save(folder)
    weights = folder / "tensors.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr("sys.argv", ["serve", str(folder), "--attester", "tdx", "--listen", f"unix:{tmp_path / 's'}"])
    monkeypatch.setattr(ec, "generate_private_key", lambda curve: pytest.fail("a key was made"))
    assert serve.main() == 1
    assert "not a complete compiled model" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_the_key_signs_no_longer_than_it_says(tmp_path: Path) -> None:
    attester = TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest"))
    with pytest.raises(ProvingError, match="ended"):
        service(attester, clock=lambda: NOT_AFTER + 1).prove(codes(), CONTEXT)


def test_a_nonce_of_another_size_is_refused(tdx: Service) -> None:
    for nonce in (b"", NONCE[1:], NONCE * 2):
        with pytest.raises(ValueError, match="32 bytes"):
            tdx.attest(nonce)


def test_without_evidence_nothing_is_signed(tmp_path: Path) -> None:
    with pytest.raises(AttestationFailed):
        service(TdxAttester(tmp_path / "missing")).prove(codes(), CONTEXT)


def gpus_of(count: int, answers: bytes | None = None) -> serve.Gpus:
    """Reports of a GPU under a root of the tests; `answers` is a nonce that it answers instead of the one it got."""
    return lambda nonce: [forge_nvidia.GpuForgery(nonce=answers or nonce).evidence()] * count


def gpu_claims(evidence: Evidence) -> NvidiaClaims:
    found = verify_evidence(evidence, forge_nvidia.ANCHORS, forge_nvidia.NOW)
    assert isinstance(found, NvidiaClaims)
    return found


def bound_gpus(tmp_path: Path, gpus: serve.Gpus) -> tuple[KeyCertificate, tuple[Evidence, ...]]:
    attester = SnpAttester(tmp_path, 0, FakeKernel(snp_report, "sev_guest"))
    certificate, attestation = service(attester, "snp", gpus=gpus).attest(NONCE)
    require_bound(certificate, verify_evidence(attestation.evidence, anchors(SEED), AT))
    return certificate, attestation.gpus


def test_key_and_gpus_name_each_other(tmp_path: Path) -> None:
    certificate, (gpu,) = bound_gpus(tmp_path, gpus_of(1))
    claims = gpu_claims(gpu)
    assert claims.spdm_nonce == gpu_nonce(certificate.public_key, NONCE)
    require_gpus_bound(certificate, [claims], NONCE)
    for wrong in (replace(certificate, gpus=None), replace(certificate, gpus=bytes(32))):
        with pytest.raises(EvidenceRejected):
            require_gpus_bound(wrong, [claims], NONCE)
    with pytest.raises(EvidenceRejected):
        require_gpus_bound(certificate, [claims], OTHER)


def test_a_gpu_that_answers_another_nonce_is_refused_by_the_verifier(tmp_path: Path) -> None:
    certificate, (gpu,) = bound_gpus(tmp_path, gpus_of(1, answers=OTHER))
    with pytest.raises(EvidenceRejected, match="another nonce"):
        require_gpus_bound(certificate, [gpu_claims(gpu)], NONCE)


def test_gpus_that_cannot_be_named_stop_the_attestation(tmp_path: Path) -> None:
    attester = SnpAttester(tmp_path, 0, FakeKernel(snp_report, "sev_guest"))
    with pytest.raises(AttestationFailed, match="no GPUs"):
        service(attester, "snp", gpus=gpus_of(0)).attest(NONCE)
    with pytest.raises(ValueError, match="each once"):
        service(attester, "snp", gpus=gpus_of(2)).attest(NONCE)
    with pytest.raises(MalformedProof):
        service(attester, "snp", gpus=lambda _: [Evidence(Kind.NVIDIA, b"x")]).attest(NONCE)


def request(**changes: Any) -> bytes:
    item = canonical.decode(write_request(exact_program(model()), codes(), CONTEXT, NONCE), max_bytes=4096)
    return canonical.encode({**item, **changes})


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(model(), TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest")), clock=lambda: AT)


def starting() -> bytes:
    return write_start(matching_policy("tdx"), 3, NOT_AFTER, Evidence(Kind.TDX, b"", collateral(Kind.TDX)))


@contextmanager
def listening(found: Room, address: str) -> Iterator[Server]:
    with Server(found, address) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", ["unix", "http"])
def test_the_backends_client_gets_a_proof(room: Room, tmp_path: Path, scheme: str) -> None:
    address = f"unix:{tmp_path / 'vml'}" if scheme == "unix" else "http://127.0.0.1:0"
    with listening(room, address) as server:
        if scheme == "http":
            address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(ProvingError, match="not started"):
            ask(address, request(), 30.0)
        ask(address, starting(), 30.0, "/v1/start")
        proof = Proof.from_bytes(ask(address, request(), 30.0))
        assert signed(proof).nonce == NONCE
        for body in (b"{}", request(model="0x" + "00" * 32), request(inputs=[])):
            with pytest.raises(ProvingError, match="400"):
                ask(address, body, 30.0)
        assert signed(Proof.from_bytes(ask(address, request(nonce=None), 30.0))).sequence == 2
        with pytest.raises(ProvingError, match="started already"):
            ask(address, starting(), 30.0, "/v1/start")


def test_what_the_backend_proves_through_a_server_it_verifies(room: Room, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'vml'}"
    with listening(room, address):
        ask(address, starting(), 30.0, "/v1/start")
        attesting = Attesting(attester=address, nonce=NONCE)
        rows = {"x": np.full((1, 4), 0.25, np.float32)}
        proof = vml.prove(model(), rows, backend="tee", options=SetupOptions(attesting=attesting))
    pins = {TEE_POLICIES: (matching_policy("tdx"),), TEE_ANCHORS: anchors(SEED), TEE_NONCE: NONCE}
    expected = ClaimExpectation(frozenset({model().commitment}))
    verdict = verifier.verify(
        proof, expected, Policy(backends=frozenset({"tee"}), allow_simulated=True), Environment(now=AT, pins=pins)
    )
    assert verdict.simulated


def test_statuses_tell_whose_fault_it_is(tmp_path: Path) -> None:
    broken = Room(model(), TdxAttester(tmp_path / "missing"))
    with listening(broken, "http://127.0.0.1:0") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
        fresh = canonical.encode({"nonce": "0x" + NONCE.hex()})
        cases = [
            ("/v1/run", request(), 400),
            ("/v1/attest", fresh, 400),
            ("/v1/start", b"{}", 400),
            ("/v1/start", starting(), 200),
            ("/v1/start", starting(), 400),
            ("/v1/run", request(), 500),
            ("/v1/attest", fresh, 500),
            ("/v1/attest", canonical.encode({"nonce": "0x"}), 400),
            ("/v1/attest", canonical.encode({}), 400),
            ("/elsewhere", b"{}", 400),
        ]
        for path, body, status in cases:
            connection.request("POST", path, body)
            response = connection.getresponse()
            found = json.loads(response.read())
            assert (response.status, list(found)) == (status, ["certificate" if status == 200 else "error"])
        for length in (str(1 << 40), "²", "1²", "-1", "+1", ""):
            connection.request("POST", "/v1/run", headers={"Content-Length": length})
            assert connection.getresponse().status == 413
            connection.close()


def certificate_of(fields: dict[str, Any]) -> KeyCertificate:
    return KeyCertificate(
        fields["algorithm"],
        bytes.fromhex(fields["public_key"][2:]),
        bytes.fromhex(fields["model"][2:]),
        bytes.fromhex(fields["policy_id"][2:]),
        int(fields["epoch"]),
        int(fields["not_after"]),
    )


def test_attest_says_what_a_registry_needs(room: Room) -> None:
    started = canonical.decode(room.answer("/v1/start", starting()), max_bytes=4096)
    asked = canonical.encode({"nonce": "0x" + NONCE.hex()})
    item = canonical.decode(room.answer("/v1/attest", asked), max_bytes=1 << 20)
    assert item["certificate"] == started["certificate"]
    certificate = certificate_of(item["certificate"])
    verified = verify_evidence(read_json(canonical.encode(item["evidence"])), anchors(SEED), AT)
    require_bound(certificate, verified)
    assert (certificate.epoch, certificate.not_after) == (3, NOT_AFTER)
    assert certificate.policy_id == matching_policy("tdx").policy_id
    assert (verified.nonce, item["nonce"], item["gpus"]) == (NONCE, "0x" + NONCE.hex(), [])
    assert item["certificate"]["gpus"] is None


def test_a_start_is_read_as_it_was_written() -> None:
    policy, epoch, not_after, held, manifests = read_start(starting())
    assert (policy, epoch, not_after, held) == (matching_policy("tdx"), 3, NOT_AFTER, collateral(Kind.TDX))
    assert manifests is None
    assert read_start(write_start(policy, 1, 2, None))[3] is None
    gpu = forge_nvidia.GpuForgery().evidence()
    assert read_start(write_start(policy, 1, 2, None, gpu))[4] == gpu.collateral


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 3},
        {"epoch": "03"},
        {"not_after": "-1"},
        {"policy": {}},
        {"policy": {"x": 1}},
        {"collateral": 1},
        {"manifests": 1},
        {"y": 1},
    ],
)
def test_other_starts_are_refused(room: Room, change: dict[str, Any]) -> None:
    item = canonical.decode(starting(), max_bytes=1 << 20)
    with pytest.raises((ValueError, MalformedProof)):
        room.answer("/v1/start", canonical.encode({**item, **change}))
    room.answer("/v1/start", starting())  # nothing was started by that


def test_starting_from_outside(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, folder = tmp_path / "policy.yaml", tmp_path / "collateral"
    policy.write_text("version: 1\nsnp: {}\n")
    write_folder(simulate("tdx", report_data=bytes(64), seed=SEED, at=AT), tmp_path / "evidence")
    folder.mkdir()
    (tmp_path / "evidence" / "collateral.json").rename(folder / "collateral.json")
    address = f"unix:{tmp_path / 'vml'}"
    arguments = ["start", address, "--policy", str(policy), "--not-after", "2027-01-31T00:00:00Z"]
    monkeypatch.setattr("sys.argv", [*arguments, "--collateral", str(folder), "--epoch", "2"])
    with listening(room, address):
        assert start.main() == 0
        certificate = certificate_of(json.loads(capsys.readouterr().out)["certificate"])
        assert (certificate.epoch, certificate.not_after) == (2, 1_801_353_600)
        assert start.main() == 1
        assert "started already" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["", "unix:", "vsock:x", "http://127.0.0.1", "https://127.0.0.1:1", "http://:1"])
def test_addresses(room: Room, address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Server(room, address)


def test_a_vsock_address_takes_any_peer() -> None:
    assert serve._place("vsock:5000") == (socket.AF_VSOCK, (socket.VMADDR_CID_ANY, 5000))
    for address in ("vsock:²", "http://a:²", "http://a:", "unix:"):
        with pytest.raises(ValueError, match="is not unix:PATH"):
            serve._place(address)


def test_the_usual_interfaces_have_their_usual_places() -> None:
    for kind in ("tdx", "snp", "nitro", "dstack"):
        assert serve.attester_of(kind)
    assert str(tsm.ROOT) == "/sys/kernel/config/tsm/report"
