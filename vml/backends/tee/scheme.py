"""The scheme: the name of every parameter that affects verification, and what rests on it."""

from __future__ import annotations

from collections.abc import Mapping

from vml.model.semantics import SEMANTICS as SEMANTICS
from vml.tee.evidence import Kind

NAME = "tee"
SCHEME = "tee/1"
FLOAT_SCHEME = "tee/float/1"
SECURITY_BITS = 128
"""Of the receipt's signature and of keccak-256. What a vendor's word is worth is no matter of bits."""

PHYSICAL = "physical adversary: not covered"
"""Whoever holds the machine in his hands, and has the time, can forge all of it."""
SITE = f"whoever can touch the machine ({PHYSICAL})"
CODE = "the measured code: that it runs what it says it runs"
KERNELS = "onnxruntime: that its kernels compute what ONNX says; elsewhere they may give other bits"
UNATTACHED = "whoever runs the machine: that the GPUs are those of this machine, which no evidence shows"
TRUSTS = ("the hardware's vendor", SITE, CODE)
"""What a receipt rests on, whoever made the hardware."""

VENDORS: Mapping[Kind, str] = {
    Kind.SGX: "Intel: SGX hardware, its microcode and keys",
    Kind.TDX: "Intel: TDX hardware, its module, microcode and keys",
    Kind.SNP: "AMD: SEV-SNP hardware, its firmware and keys",
    Kind.NITRO: "Amazon: the Nitro hypervisor and its keys",
    Kind.AZURE: "Microsoft: firmware and virtual TPM; and AMD or Intel below",
    Kind.NVIDIA: "NVIDIA: its GPUs, their firmware and keys",
}

REVEALED = (
    "input and output: their values are in the proof",
    "names, shapes and scales of inputs and outputs are in the proof",
    "the machine: evidence names platform, firmware and what was measured",
)
"""What whoever holds a proof learns or may learn. The weights are not in it."""
REVEALED_FLOATS = (
    REVEALED[0],
    "names, types and shapes of inputs and outputs are in the proof, and the SHA-256 of the model's file",
    "the machine: evidence names platform, firmware and what was measured, and a description the runtime",
)

WHY_PUBLIC = "the public section of a tee proof shows input and output, and its claim hashes them without a salt"
