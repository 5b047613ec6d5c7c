"""The loop inside with the float engine, and proofs that carry the evidence of GPUs: from the server to the verdict."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import vml
from attestation import gpu, serve, start
from attestation.attester import AttestationFailed
from attestation.serve import Room, write_start
from attestation.snp.attester import SnpAttester
from attestation.tdx.attester import TdxAttester
from tests.attestation.fakes import AT, SEED, FakeKernel, snp_report, tdx_quote
from tests.attestation.test_gpu import FakeNvml, genuine
from tests.attestation.test_serve import CONTEXT, NONCE, NOT_AFTER, collateral, listening, model
from tests.backends.tee.test_onnxfile import EXTERNAL, data
from tests.tee import forge_nvidia
from vml import api
from vml.backends.tee.attester import ask, read_about
from vml.backends.tee.payload import SignedRun
from vml.backends.tee.session import CPU, CUDA, FloatModel
from vml.backends.types import Attesting, Environment, SetupOptions
from vml.errors import BackendUnavailable, EvidenceRejected, ProvingError, UnsupportedModel
from vml.identities import read_identities
from vml.model.compiled import Model
from vml.policy import Policy
from vml.proof import Proof
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy, GpuFirmware, NvidiaSection
from vml.tee.evidence import Evidence, Kind
from vml.tee_sim import anchors, matching_policy

ROWS = {"x": np.full((1, 4), 0.25, np.float32)}
ROOTS = TrustAnchors([*anchors(SEED).roots, *forge_nvidia.ANCHORS.roots])
FIRMWARE = GpuFirmware(driver=forge_nvidia.DRIVER, vbios=forge_nvidia.VBIOS)


def policy(kind: str = "tdx") -> AppraisalPolicy:
    """Takes a simulated processor and the GPUs of the tests."""
    return matching_policy(kind).model_copy(update={"nvidia": NvidiaSection(firmware=(FIRMWARE,))})


def verdict(proof: Proof, held: Any, rules: AppraisalPolicy, **change: Any) -> Any:
    environment = Environment(now=AT, pins=api.tee_pins([rules], anchors=ROOTS, nonce=NONCE))
    accepted = Policy.default().relaxed(allow_simulated=True)
    return api.verify(proof, model=held, context=CONTEXT, policy=accepted, environment=environment, **change)


@pytest.fixture
def folder(tmp_path: Path) -> Model:
    return model().save(tmp_path / "model.vml")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 'vml'}"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(
        FloatModel(model().source), TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest")), clock=lambda: AT
    )


def starting(kind: Kind = Kind.TDX, **more: Any) -> bytes:
    return write_start(policy(str(kind)), 3, NOT_AFTER, Evidence(kind, b"", collateral(kind)), **more)


def asking(address: str, engine: str = "float") -> SetupOptions:
    return SetupOptions(attesting=Attesting(attester=address, nonce=NONCE, engine=engine))


def proved(held: Any, address: str, engine: str = "float") -> Proof:
    return vml.prove(held, ROWS, backend="tee", context=CONTEXT, options=asking(address, engine))


def test_a_float_run_through_a_server(room: Room, folder: Model, address: str) -> None:
    with listening(room, address):
        name, identity, description = read_about(ask(address, b"{}", 30.0, "/v1/about"))
        assert (name, identity, description) == ("float", room.program.identity, room.program.description)
        ask(address, starting(), 30.0, "/v1/start")
        proof = proved(folder, address)
    assert proof.scheme == "tee/float/1"
    assert proof.claims[0].model == identity != folder.commitment
    found = verdict(proof, folder, policy(), input=ROWS)
    assert found.semantics == "onnxruntime-float/1"
    # The set-up noted the identity in the folder; the file alone gives it, too.
    assert folder.folder is not None
    (entry,) = read_identities(folder.folder)
    assert (entry.model, entry.vk_digest, entry.scheme) == (identity, found.vk_digest, proof.scheme)
    assert verdict(proof, folder.folder / "source.onnx", policy()) == verdict(proof, identity, policy()) == found


def test_what_the_server_signs_is_what_onnxruntime_gave(room: Room, folder: Model, address: str) -> None:
    with listening(room, address):
        ask(address, starting(), 30.0, "/v1/start")
        proof = proved(folder, address)
    outputs = FloatModel(folder.source).evaluate(ROWS)
    assert verdict(proof, folder, policy(), output=outputs).final
    odd = {name: np.nextafter(values, np.float32(9)) for name, values in outputs.items()}
    with pytest.raises(vml.errors.ClaimMismatch, match="output"):
        verdict(proof, folder, policy(), output=odd)


def test_an_attester_of_another_engine_or_model(room: Room, folder: Model, tmp_path: Path, address: str) -> None:
    exact = Room(model(), TdxAttester(tmp_path, None, FakeKernel(tdx_quote, "tdx_guest")), clock=lambda: AT)
    with listening(exact, address):
        with pytest.raises(ProvingError, match="runs the engine exact"):
            proved(folder, address)
        ask(address, starting(), 30.0, "/v1/start")
        assert proved(folder, address, "exact").scheme == "tee/1"
    with listening(room, f"unix:{tmp_path / 'other'}"):
        proto = onnx.load_from_string(folder.source)
        proto.producer_name = "the same model, spelled otherwise"
        changed = replace(folder, source=data(proto))
        with pytest.raises(ProvingError, match="holds the float model"):
            proved(changed, f"unix:{tmp_path / 'other'}")
        ask(f"unix:{tmp_path / 'other'}", starting(), 30.0, "/v1/start")
        with pytest.raises(ProvingError, match="this attester holds the model"):
            proved(folder, f"unix:{tmp_path / 'other'}", "exact")


def test_nan_is_not_run(room: Room) -> None:
    room.start(policy(), 3, NOT_AFTER, collateral(Kind.TDX))
    service = room._service
    assert service is not None
    with pytest.raises(ValueError, match="NaN"):
        service.prove({"x": np.full((1, 4), np.nan, np.float32)}, CONTEXT)


# GPUs.


def gpu_room(tmp_path: Path, held: Any, *, bare: bool = False, answers: bytes | None = None) -> Room:
    def answer(nonce: bytes) -> list[Evidence]:
        forged = forge_nvidia.GpuForgery(nonce=answers or nonce)
        return [forged.bare() if bare else forged.evidence()]

    attester = SnpAttester(tmp_path, 0, FakeKernel(snp_report, "sev_guest"))
    return Room(held, attester, clock=lambda: AT, gpus=answer)


@pytest.mark.parametrize("engine", ["exact", "float"])
def test_a_proof_carries_the_evidence_of_gpus(tmp_path: Path, folder: Model, engine: str, address: str) -> None:
    held: Any = folder if engine == "exact" else FloatModel(folder.source)
    manifests = forge_nvidia.GpuForgery().evidence()
    with listening(gpu_room(tmp_path, held, bare=True), address):
        ask(address, starting(Kind.SNP, manifests=manifests), 30.0, "/v1/start")
        proof = proved(folder, address, engine)
    run = SignedRun.decode(proof.payload, engine == "float")
    assert run.certificate.gpus is not None
    found = verdict(proof, folder, policy("snp"))
    assert any(line.startswith("gpu: GH100, driver 550.90.07") for line in found.remarks)


def test_a_policy_that_says_nothing_of_gpus_refuses_them(tmp_path: Path, folder: Model, address: str) -> None:
    for rules, code in (
        (matching_policy("snp"), "KIND_NOT_ALLOWED"),
        (policy("snp").model_copy(update={"nvidia": NvidiaSection()}), "POLICY_INCOMPLETE"),
    ):
        with listening(gpu_room(tmp_path, folder), address):
            ask(
                address,
                write_start(rules, 3, NOT_AFTER, Evidence(Kind.SNP, b"", collateral(Kind.SNP))),
                30.0,
                "/v1/start",
            )
            proof = proved(folder, address, "exact")
        with pytest.raises(EvidenceRejected, match=code):
            verdict(proof, folder, rules)
        Path(address.removeprefix("unix:")).unlink()


def test_without_manifests_nothing_says_what_a_gpu_should_measure(tmp_path: Path, folder: Model, address: str) -> None:
    with listening(gpu_room(tmp_path, folder, bare=True), address):
        ask(address, starting(Kind.SNP), 30.0, "/v1/start")
        proof = proved(folder, address, "exact")
    with pytest.raises(EvidenceRejected, match="RIM_MISSING"):
        verdict(proof, folder, policy("snp"))


def test_a_gpu_that_answered_somebody_else(tmp_path: Path, folder: Model, address: str) -> None:
    with listening(gpu_room(tmp_path, folder, answers=b"o" * 32), address):
        ask(address, starting(Kind.SNP), 30.0, "/v1/start")
        proof = proved(folder, address, "exact")
    with pytest.raises(EvidenceRejected, match="NONCE_MISMATCH"):
        verdict(proof, folder, policy("snp"))


def test_starting_with_manifests(
    tmp_path: Path, room: Room, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_bytes(policy().canonical())
    (tmp_path / "rims").mkdir()
    for which in ("driver", "vbios"):
        (tmp_path / "rims" / f"{which}_rim.xml").write_bytes(forge_nvidia.GpuForgery().manifest(which))
    more = ["--policy", str(tmp_path / "policy.yaml"), "--not-after", "2027-01-31T00:00:00Z"]
    monkeypatch.setattr("sys.argv", ["start", address, *more, "--manifests", str(tmp_path / "rims")])
    with listening(room, address):
        assert start.main() == 0, capsys.readouterr().err
    assert room._service is not None
    assert room._service._manifests is not None


# The command line of the server.


def test_engines_of_the_command_line(folder: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.folder is not None
    assert isinstance(serve.model_of(folder.folder, "exact", CPU, 1), Model)
    float_model = serve.model_of(folder.folder, "float", CPU, 2)
    assert isinstance(float_model, FloatModel)
    assert b'"inside":2' in float_model.program.description
    with pytest.raises(ValueError, match="one thread"):
        serve.model_of(folder.folder, "float", CPU, 0)
    monkeypatch.setattr(gpu, "names", lambda: ("driver 1", "NVIDIA X"))
    with pytest.raises(BackendUnavailable, match="no CUDAExecutionProvider"):
        serve.model_of(folder.folder, "float", CUDA, 1)


def test_a_session_is_made_in_an_empty_folder(folder: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.folder is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    seen = []

    def looking(*_: Any) -> None:
        seen.append(os.listdir())
        if len(seen) == 2:
            raise UnsupportedModel("no such model")

    monkeypatch.setattr(serve, "FloatModel", looking)
    serve.model_of(folder.folder, "float", CPU, 1)
    assert Path.cwd() == tmp_path
    with pytest.raises(UnsupportedModel):
        serve.model_of(folder.folder, "float", CPU, 1)
    assert Path.cwd() == tmp_path
    assert seen == [[], []]
    # Where nothing can be written, the file's own checks are what there is.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    serve.model_of(folder.folder, "float", CPU, 1)
    assert seen[2] != []


def test_a_compiled_folder_with_another_file(folder: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate's SHA-256 is the prover's word; the file is looked at all the same."""
    assert folder.folder is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(4, np.float32).tobytes())
    source = data(EXTERNAL["a function's default"]())
    certificate = json.loads((folder.folder / "certificate.json").read_bytes())
    certificate["source"]["sha256"] = hashlib.sha256(source).hexdigest()
    (folder.folder / "certificate.json").write_text(json.dumps(certificate))
    (folder.folder / "source.onnx").write_bytes(source)
    with pytest.raises(UnsupportedModel, match="another file"):
        serve.model_of(folder.folder, "float", CPU, 1)


def test_a_damaged_file_is_not_served(folder: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.folder is not None
    source = folder.folder / "source.onnx"
    source.write_bytes(source.read_bytes()[:-1] + b"\0")
    with pytest.raises(UnsupportedModel, match=r"source\.onnx is not the one"):
        serve.model_of(folder.folder, "float", CPU, 1)


class NamingNvml(FakeNvml):
    def _SystemGetDriverVersion(self, room: Any, size: ctypes.c_uint) -> None:
        room.value = b"550.90.07"

    def _DeviceGetName(self, device: ctypes.c_void_p, room: Any, size: ctypes.c_uint) -> None:
        room.value = b"NVIDIA H100\xff"


def test_names_of_gpus() -> None:
    assert gpu.names(NamingNvml(genuine, genuine)) == ("driver 550.90.07", "NVIDIA H100?", "NVIDIA H100?")
    with pytest.raises(AttestationFailed, match="0 GPUs"):
        gpu.names(NamingNvml())
