"""The curve of ezkl's proofs, BN254, in plain Python integers.

    G1: y^2 = x^3 + 3            over F_p, generator (1, 2)
    G2: y^2 = x^3 + 3 / (9 + u)  over F_p[u] / (u^2 + 1)

Both groups are used through their subgroup of prime order r. Field elements of proofs and instances live in
F_r, which is called the scalar field below; F_p holds coordinates.

Source: EIP-196, EIP-197; Barreto and Naehrig, "Pairing-friendly elliptic curves of prime order" (2005).
"""

from __future__ import annotations

from typing import TypeAlias

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
R = 21888242871839275222246405745257275088548364400416034343698204186575808495617

Fq2: TypeAlias = tuple[int, int]
G2Point: TypeAlias = tuple[Fq2, Fq2]

G2_GENERATOR: G2Point = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)

ROOT_OF_UNITY_LOG = 28
"""r - 1 is divisible by 2 to this power and no further."""

_GENERATOR = 7  # of the multiplicative group of F_r
_COORDINATE = 32


def root_of_unity(log_size: int) -> int:
    """A primitive 2^log_size-th root of unity of F_r, the one Halo2 uses.

    Args:
        log_size: 0 to 28.
    """
    if not 0 <= log_size <= ROOT_OF_UNITY_LOG:
        raise ValueError(f"log_size must be 0 to {ROOT_OF_UNITY_LOG}, not {log_size}")
    root = pow(_GENERATOR, (R - 1) >> ROOT_OF_UNITY_LOG, R)
    return pow(root, 1 << (ROOT_OF_UNITY_LOG - log_size), R)


def fq2_mul(a: Fq2, b: Fq2) -> Fq2:
    """Product in F_p[u] / (u^2 + 1)."""
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def fq2_inverse(a: Fq2) -> Fq2:
    """Inverse in F_p[u] / (u^2 + 1); a is not zero."""
    norm = pow(a[0] * a[0] + a[1] * a[1], -1, P)
    return a[0] * norm % P, -a[1] * norm % P


def fq2_sub(a: Fq2, b: Fq2) -> Fq2:
    """Difference in F_p[u] / (u^2 + 1)."""
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


_B2 = fq2_mul((3, 0), fq2_inverse((9, 1)))


def g1_on_curve(x: int, y: int) -> bool:
    """Whether canonical coordinates satisfy G1's equation."""
    return 0 <= x < P and 0 <= y < P and (y * y - x * x * x - 3) % P == 0


def g2_on_curve(point: G2Point) -> bool:
    """Whether canonical coordinates satisfy G2's equation (subgroup membership is not checked)."""
    x, y = point
    if not all(0 <= c < P for c in (*x, *y)):
        return False
    return fq2_sub(fq2_mul(y, y), fq2_mul(x, fq2_mul(x, x))) == _B2


def g2_add(a: G2Point | None, b: G2Point | None) -> G2Point | None:
    """Sum of two points of G2; None is the point at infinity."""
    if a is None or b is None:
        return b if a is None else a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2:
        if y1 != y2 or y1 == (0, 0):
            return None
        slope = fq2_mul(fq2_mul((3, 0), fq2_mul(x1, x1)), fq2_inverse((2 * y1[0] % P, 2 * y1[1] % P)))
    else:
        slope = fq2_mul(fq2_sub(y2, y1), fq2_inverse(fq2_sub(x2, x1)))
    x3 = fq2_sub(fq2_sub(fq2_mul(slope, slope), x1), x2)
    return x3, fq2_sub(fq2_mul(slope, fq2_sub(x1, x3)), y1)


def g2_mul(scalar: int, point: G2Point) -> G2Point | None:
    """A multiple of a point of G2, by doubling and adding."""
    result: G2Point | None = None
    base: G2Point | None = point
    while scalar:
        if scalar & 1:
            result = g2_add(result, base)
        base = g2_add(base, base)
        scalar >>= 1
    return result


def g2_in_subgroup(point: G2Point) -> bool:
    """Whether a point of the curve has order r (or is infinity's neighbour: order divides r)."""
    return g2_on_curve(point) and g2_mul(R, point) is None


def to_montgomery(value: int) -> bytes:
    """A coordinate as Halo2 writes it raw: value * 2^256 mod p, 32 bytes little-endian."""
    return ((value << 256) % P).to_bytes(_COORDINATE, "little")


def from_montgomery(data: bytes) -> int:
    """Read a raw coordinate back.

    Raises:
        ValueError: not 32 bytes, or not below p.
    """
    raw = int.from_bytes(data, "little")
    if len(data) != _COORDINATE or raw >= P:
        raise ValueError("not a canonical coordinate of BN254")
    return raw * pow(1 << 256, -1, P) % P


def g2_to_raw(point: G2Point) -> bytes:
    """A point of G2 as Halo2 writes it raw: 128 bytes."""
    return b"".join(to_montgomery(c) for coordinate in point for c in coordinate)


def g2_from_raw(data: bytes) -> G2Point:
    """Read a raw point of G2 back.

    Raises:
        ValueError: not 128 bytes, a coordinate is not canonical, or the point is not on the curve.
    """
    if len(data) != 4 * _COORDINATE:
        raise ValueError("a point of G2 takes 128 bytes")
    c = [from_montgomery(data[i : i + _COORDINATE]) for i in range(0, len(data), _COORDINATE)]
    point = ((c[0], c[1]), (c[2], c[3]))
    if not g2_on_curve(point):
        raise ValueError("the point is not on G2's curve")
    return point
