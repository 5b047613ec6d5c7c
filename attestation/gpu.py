"""Evidence of NVIDIA's GPUs, through the driver's library NVML, for `Service(gpus=collect)`.

Reference manifests (RIMs) are not here: NVIDIA publishes them by driver and VBIOS version, and who verifies adds them.

Source: NVIDIA, nvml.h, "Confidential Computing".
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attestation.attester import AttestationFailed, require_answer
from vml.tee.evidence import Evidence, Kind, NvidiaCollateral
from vml.tee.nvidia.report import read_report

LIBRARY = "libnvidia-ml.so.1"
NONCE = 32
NAME = 96
MAX_GPUS = 64


class Report(ctypes.Structure):
    """``nvmlConfComputeGpuAttestationReport_t``."""

    _fields_ = (
        ("cec_present", ctypes.c_uint),
        ("size", ctypes.c_uint),
        ("cec_size", ctypes.c_uint),
        ("nonce", ctypes.c_ubyte * NONCE),
        ("report", ctypes.c_ubyte * 0x2000),
        ("cec_report", ctypes.c_ubyte * 0x1000),
    )


class Certificates(ctypes.Structure):
    """``nvmlConfComputeGpuCertificate_t``."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("attestation_size", ctypes.c_uint),
        ("chain", ctypes.c_ubyte * 0x1000),
        ("attestation_chain", ctypes.c_ubyte * 0x1400),
    )


def collect(nonce: bytes, library: Any = None) -> tuple[Evidence, ...]:
    """Every GPU's answer to an SPDM nonce.

    Args:
        nonce: 32 bytes.
        library: NVML; None loads the driver's.

    Raises:
        AttestationFailed: there is no driver or no GPU, one refuses, or one answers another nonce.
        ValueError: a nonce of another size.
    """
    if len(nonce) != NONCE:
        raise ValueError(f"a nonce of {NONCE} bytes")
    with _nvml(library) as (nvml, count):
        return tuple(_answer(nvml, index, nonce) for index in range(count))


@contextmanager
def _nvml(library: Any) -> Iterator[tuple[Any, int]]:
    """The library, started, and how many GPUs there are."""
    try:
        nvml = ctypes.CDLL(LIBRARY) if library is None else library
    except OSError as error:
        raise AttestationFailed(f"NVML: {error}") from error
    _call(nvml, "nvmlInit_v2")
    try:
        count = ctypes.c_uint()
        _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        if not 0 < count.value <= MAX_GPUS:
            raise AttestationFailed(f"{count.value} GPUs")
        yield nvml, count.value
    finally:
        _call(nvml, "nvmlShutdown")


def names(library: Any = None) -> tuple[str, ...]:
    """The driver, and every GPU by its name: what the description of a float run says of them.

    Args:
        library: NVML; None loads the driver's.

    Raises:
        AttestationFailed: there is no driver or no GPU.
    """
    with _nvml(library) as (nvml, count):
        driver = ctypes.create_string_buffer(NAME)
        _call(nvml, "nvmlSystemGetDriverVersion", driver, ctypes.c_uint(NAME))
        return (f"driver {_text(driver)}", *(_name(nvml, index) for index in range(count)))


def _name(nvml: Any, index: int) -> str:
    device, name = ctypes.c_void_p(), ctypes.create_string_buffer(NAME)
    _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    _call(nvml, "nvmlDeviceGetName", device, name, ctypes.c_uint(NAME))
    return _text(name)


def _text(room: Any) -> str:
    return bytes(room.value).decode("ascii", "replace").replace("\ufffd", "?")


def _answer(nvml: Any, index: int, nonce: bytes) -> Evidence:
    device, report, held = ctypes.c_void_p(), Report(), Certificates()
    report.nonce[:] = nonce
    _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    _call(nvml, "nvmlDeviceGetConfComputeGpuAttestationReport", device, ctypes.byref(report))
    _call(nvml, "nvmlDeviceGetConfComputeGpuCertificate", device, ctypes.byref(held))
    data = _taken(report.report, report.size)
    require_answer(nonce, lambda: read_report(data).nonce)
    chain = _taken(held.attestation_chain, held.attestation_size).rstrip(b"\0")
    return Evidence(Kind.NVIDIA, data, NvidiaCollateral(chain))


def _taken(room: Any, size: int) -> bytes:
    if not 0 < size <= len(room):
        raise AttestationFailed(f"NVML gave {size} bytes in a room of {len(room)}")
    return bytes(room[:size])


def _call(nvml: Any, name: str, *arguments: Any) -> None:
    status = getattr(nvml, name)(*arguments)
    if status != 0:
        raise AttestationFailed(f"{name} gave {status}")
