"""Evidence of GPUs over a fake of NVML: what is asked, what is refused, and that it verifies and binds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from attestation.attester import AttestationFailed
from attestation.gpu import Certificates, Report, collect
from tests.tee import forge_nvidia
from vml.tee import verify_evidence
from vml.tee.evidence import Evidence, NvidiaCollateral

NONCE = b"n" * 32


class FakeNvml:
    """One function an entry of the library; `answers` gives each GPU's evidence for a nonce."""

    def __init__(self, *answers: Callable[[bytes], Evidence], failing: str = "", size: int | None = None) -> None:
        self.answers, self.failing, self.size = answers, failing, size
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == self.failing:
                return 3
            return int(getattr(self, f"_{name.removeprefix('nvml').removesuffix('_v2')}")(*arguments) or 0)

        return call

    def _Init(self) -> None:
        pass

    def _Shutdown(self) -> None:
        pass

    def _DeviceGetCount(self, count: Any) -> None:
        count._obj.value = len(self.answers)

    def _DeviceGetHandleByIndex(self, index: ctypes.c_uint, device: Any) -> None:
        device._obj.value = 0x1000 + index.value

    def _evidence(self, device: ctypes.c_void_p, nonce: bytes) -> Evidence:
        assert device.value is not None
        return self.answers[device.value - 0x1000](nonce)

    def _DeviceGetConfComputeGpuAttestationReport(self, device: ctypes.c_void_p, given: Any) -> None:
        report = given._obj
        data = self._evidence(device, bytes(report.nonce)).data
        report.report[: len(data)] = data
        report.size = len(data) if self.size is None else self.size

    def _DeviceGetConfComputeGpuCertificate(self, device: ctypes.c_void_p, given: Any) -> None:
        collateral = self._evidence(device, NONCE).collateral
        assert isinstance(collateral, NvidiaCollateral)
        given._obj.attestation_chain[: len(collateral.chain)] = collateral.chain
        given._obj.attestation_size = len(collateral.chain)


def genuine(nonce: bytes) -> Evidence:
    return forge_nvidia.GpuForgery(nonce=nonce).evidence()


def test_structures_have_the_sizes_of_the_header() -> None:
    assert ctypes.sizeof(Report) == 3 * 4 + 0x20 + 0x2000 + 0x1000
    assert ctypes.sizeof(Certificates) == 2 * 4 + 0x1000 + 0x1400


def test_every_gpu_answers_and_the_evidence_verifies() -> None:
    nvml = FakeNvml(genuine, genuine)
    found = collect(NONCE, nvml)
    assert len(found) == 2
    for evidence in found:
        claims = verify_evidence(evidence, forge_nvidia.ANCHORS, forge_nvidia.NOW)
        assert claims.nonce == NONCE
    assert nvml.calls[0] == "nvmlInit_v2"
    assert nvml.calls[-1] == "nvmlShutdown"


@pytest.mark.parametrize(
    ("nvml", "match"),
    [
        (FakeNvml(), "0 GPUs"),
        (FakeNvml(*[genuine] * 65), "65 GPUs"),
        (FakeNvml(lambda _: genuine(bytes(32))), "another question"),
        (FakeNvml(genuine, size=0), "0 bytes"),
        (FakeNvml(genuine, size=0x2001), "8193 bytes"),
        (FakeNvml(genuine, size=100), "cannot be read"),
        (FakeNvml(genuine, failing="nvmlInit_v2"), "nvmlInit_v2 gave 3"),
        (FakeNvml(genuine, failing="nvmlDeviceGetConfComputeGpuAttestationReport"), "Report gave 3"),
        (FakeNvml(genuine, failing="nvmlDeviceGetConfComputeGpuCertificate"), "Certificate gave 3"),
    ],
)
def test_everything_else_is_refused(nvml: FakeNvml, match: str) -> None:
    with pytest.raises(AttestationFailed, match=match):
        collect(NONCE, nvml)
    assert (nvml.calls[-1] == "nvmlShutdown") == (nvml.failing != "nvmlInit_v2")


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        collect(b"", FakeNvml(genuine))


def test_without_a_driver_the_error_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attestation.gpu.LIBRARY", "libnvidia-ml.so.none")
    with pytest.raises(AttestationFailed, match=r"libnvidia-ml\.so\.none"):
        collect(NONCE)
