"""The points of a test set-up, computed by the kernel and written as Halo2 reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vml.backends.ezkl import bn254
from vml.backends.ezkl.kernels_bn254 import LIMBS, Words, limbs, multiples

_BYTES = 32


def generator_table() -> Words:
    """d * 256^j * G for every byte place j and value d: uint64 [32, 256, 2, 8], Montgomery limbs."""
    p = bn254.P
    table = np.zeros((_BYTES, 256, 2, LIMBS), np.uint64)
    base = (1, 2)
    for j in range(_BYTES):
        point = base
        for d in range(1, 257):
            if d > 1:
                if point == base:
                    slope = 3 * point[0] * point[0] * pow(2 * point[1], -1, p) % p
                else:
                    slope = (base[1] - point[1]) * pow(base[0] - point[0], -1, p) % p
                x = (slope * slope - point[0] - base[0]) % p
                point = (x, (slope * (point[0] - x) - point[1]) % p)
            if d < 256:
                table[j, d, 0], table[j, d, 1] = (limbs((c << 256) % p) for c in point)
        base = point
    return table


def raw_points(scalars: Sequence[int]) -> bytes:
    """Multiples of G1's generator, 64 bytes a point, in Halo2's raw form.

    Args:
        scalars: each in 1 to r - 1.
    """
    digits = np.frombuffer(b"".join(s.to_bytes(_BYTES, "little") for s in scalars), np.uint8)
    words = multiples(digits.reshape(-1, _BYTES), generator_table())
    low, high = words[:, :, 0::2], words[:, :, 1::2]
    packed = (low | (high << np.uint64(32))).astype("<u8")
    return bytes(packed.tobytes())
