"""Structured reference strings: where a KZG set-up comes from, and what identifies it.

A set-up is a secret tau. Its file (Halo2's raw form) for 2^k rows holds

    k u32 | tau^i G, i < 2^k | L_i(tau) G, i < 2^k | G2 | tau G2       (little-endian, 64 and 128 bytes a point)

A verifier uses the last point alone: it identifies tau, whatever k is. The **set-up id** is therefore
keccak-256 of a label and of that point, and a file of 2^0 rows (388 bytes) is enough to verify.

The **test set-up** has a published tau, so that everybody makes the same keys and everybody can forge: it is
unsafe for anything but tests, and every verdict says so. A real one is imported from a ceremony's file whose
SHA-256 the user states.

Source: Kate, Zaverucha, Goldberg, "Constant-size commitments to polynomials" (2010); EIP-197 for encodings.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from vml import cache, files
from vml.backends.ezkl import bn254
from vml.keccak import keccak256

LABEL = b"vml-kzg-bn254-setup/1"
TEST_TAU = int.from_bytes(keccak256(b"vml unsafe test set-up: anybody can forge under it"), "big") % bn254.R
MAX_LOG_ROWS = 26
_G1, _G2 = 64, 128
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class SetupFile:
    """One structured reference string on this disk.

    Args:
        path: the file.
        log_rows: it serves circuits of up to 2^log_rows rows.
        setup_id: 32-byte id, as hex.
        sha256: of the file, as hex.
        source: where it came from, in the importer's words.
        unsafe: somebody known could forge.
    """

    path: str
    log_rows: int
    setup_id: str
    sha256: str
    source: str
    unsafe: bool


def setup_id(tau_g2: bytes) -> bytes:
    """Identify a set-up by its point tau * G2.

    Args:
        tau_g2: 128 bytes, Halo2's raw form.

    Returns:
        32 bytes: keccak-256 of the label and the point as in EIP-197 (x1, x0, y1, y0; 32 bytes big-endian).

    Raises:
        ValueError: not a canonical point of the curve.
    """
    x, y = bn254.g2_from_raw(tau_g2)
    words = (x[1], x[0], y[1], y[0])
    return keccak256(LABEL + b"".join(word.to_bytes(32, "big") for word in words))


def _id_of(point: bn254.G2Point) -> bytes:
    return setup_id(bn254.g2_to_raw(point))


CEREMONIES: dict[bytes, str] = {
    _id_of(
        (
            (
                21831381940315734285607113342023901060522397560371972897001948545212302161822,
                17231025384763736816414546592865244497437017442647097510447326538965263639101,
            ),
            (
                2388026358213174446665280700919698872609886601280537296205114254867301080648,
                11507326595632554467052522095592665270651932854513688777769618397986436103170,
            ),
        )
    ): "Perpetual Powers of Tau, as in snarkjs's powersOfTau28_hez_final files",
    _id_of(
        (
            (
                0x17944351223333F260DDC3B4AF45191B856689EDA9EAB5CBCDDBBE570CE860D2,
                0x186282957DB913ABD99F91DB59FE69922E95040603EF44C0BD7AA3ADEEF8F5AC,
            ),
            (
                0x297772D34BC9AA8AE56162486363FFE417B02DC7E8C207FC2CC20203E67A02AD,
                0x298ADC7396BD3865CBF6D6DF91BAE406694E6D2215BAA893BDEADB63052895F4,
            ),
        )
    ): "Perpetual Powers of Tau, as in the Halo2 files of Axiom and Scroll",
}
"""Set-up ids of known multi-party ceremonies, from the points their public verifiers carry."""


def _test_point() -> bn254.G2Point:
    point = bn254.g2_mul(TEST_TAU, bn254.G2_GENERATOR)
    if point is None:
        raise ArithmeticError("the test set-up is degenerate")
    return point


TEST_SETUP_ID = _id_of(_test_point())


def verifier_file(tau_g2: bytes) -> bytes:
    """The 388 bytes that a verifier needs of a set-up.

    Args:
        tau_g2: 128 bytes, Halo2's raw form.
    """
    generator = bn254.to_montgomery(1) + bn254.to_montgomery(2)
    return bytes(4) + generator + generator + bn254.g2_to_raw(bn254.G2_GENERATOR) + tau_g2


def g1_multiple(scalar: int) -> tuple[int, int]:
    """scalar * G in affine coordinates, plainly; the twin of the kernel.

    Args:
        scalar: 1 to r - 1.
    """
    result: tuple[int, int] | None = None
    base = (1, 2)
    while scalar:
        if scalar & 1:
            result = base if result is None else _g1_add(result, base)
        base = _g1_add(base, base)
        scalar >>= 1
    if result is None:
        raise ValueError("zero times the generator has no affine coordinates")
    return result


def _g1_add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Sum of two points of G1 that are not opposite."""
    p = bn254.P
    if a == b:
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, p) % p
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, p) % p
    x = (slope * slope - a[0] - b[0]) % p
    return x, (slope * (a[0] - x) - a[1]) % p


def test_scalars(log_rows: int) -> list[int]:
    """What multiplies the generator in the test set-up: tau^i, then L_i(tau), each for i < 2^log_rows.

    L_i(tau) = (tau^n - 1) / n * w^i / (tau - w^i), w a primitive n-th root of unity. All divisions share
    one inversion.
    """
    n, r = 1 << log_rows, bn254.R
    powers, roots = [1] * n, [1] * n
    root = bn254.root_of_unity(log_rows)
    for i in range(1, n):
        powers[i] = powers[i - 1] * TEST_TAU % r
        roots[i] = roots[i - 1] * root % r
    factor = (pow(TEST_TAU, n, r) - 1) * pow(n, -1, r) % r
    products = [1]
    for w in roots:
        products.append(products[-1] * (TEST_TAU - w) % r)
    inverse = pow(products[-1], -1, r)
    lagrange = [0] * n
    for i in range(n - 1, -1, -1):
        lagrange[i] = factor * roots[i] % r * (inverse * products[i] % r) % r
        inverse = inverse * (TEST_TAU - roots[i]) % r
    return powers + lagrange


def make_test_setup(log_rows: int, root: Path) -> SetupFile:
    """Make the unsafe test set-up for 2^log_rows rows, or find it.

    Args:
        log_rows: 1 to 26.
        root: vml's cache folder.

    Returns:
        The file's record, with ``unsafe`` true.
    """
    folder = _folder(root)
    name = f"unsafe-test-{log_rows}"
    with cache.lock(folder, name):
        found = _load(folder, name)
        if found is not None:
            return found
        from vml.backends.ezkl.setup_points import raw_points

        head = log_rows.to_bytes(4, "little")
        tail = bn254.g2_to_raw(bn254.G2_GENERATOR) + bn254.g2_to_raw(_test_point())
        data = head + raw_points(test_scalars(log_rows)) + tail
        files.write_atomic(folder / f"{name}.srs", data)
        digest = hashlib.sha256(data).hexdigest()
        return _record(folder, name, log_rows, TEST_SETUP_ID, digest, "published secret of vml", unsafe=True)


def import_file(path: Path, sha256: str, root: Path, source: str = "") -> SetupFile:
    """Take a ceremony's file in, after checking that it is the one the user means.

    Args:
        path: the file, Halo2's raw form.
        sha256: 64 hex digits, as the ceremony published them.
        root: vml's cache folder.
        source: where it came from, free text.

    Returns:
        The record of the copy in the cache.

    Raises:
        ValueError: the digest differs, or the file is no well-formed string of points.
        OSError: it cannot be read or copied.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError("give the SHA-256 that the ceremony published, as 64 lower-case hex digits")
    folder = _folder(root)
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file, tempfile.NamedTemporaryFile(dir=folder) as copy:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            copy.write(chunk)
        if digest.hexdigest() != sha256:
            raise ValueError(f"{path} has SHA-256 {digest.hexdigest()}, not {sha256}: do not use this file")
        log_rows, identity = _inspect(copy.file, size)
        name = f"imported-{log_rows}-{sha256[:16]}"
        with cache.lock(folder, name):
            found = _load(folder, name)
            if found is not None:
                return found
            copy.seek(0)
            files.write_atomic(folder / f"{name}.srs", copy.read())
            text = source or CEREMONIES.get(identity, str(path))
            unsafe = identity == TEST_SETUP_ID
            return _record(folder, name, log_rows, identity, sha256, text, unsafe=unsafe)


def inspect_file(path: Path) -> SetupFile:
    """Describe a file where it lies, without taking it in.

    Raises:
        ValueError: no well-formed string of points.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        log_rows, identity = _inspect(file, path.stat().st_size)
    source = CEREMONIES.get(identity, "named by the user")
    return SetupFile(str(path.resolve()), log_rows, "0x" + identity.hex(), digest, source, identity == TEST_SETUP_ID)


def fetch(url: str, sha256: str, root: Path, timeout_s: float = 120.0) -> SetupFile:
    """Download a ceremony's file over HTTPS and import it.

    Args:
        url: must begin with ``https://``.
        sha256: 64 hex digits, as the ceremony published them.
        root: vml's cache folder.
        timeout_s: most seconds to wait for the other side.

    Raises:
        ValueError: not HTTPS, or as for `import_file`.
        OSError: the download failed.
    """
    if not url.startswith("https://"):
        raise ValueError("a set-up file is fetched over https:// only")
    # Here only: a verifier reads set-up ids through this module and never needs the network.
    from urllib.request import urlopen

    with tempfile.NamedTemporaryFile(dir=_folder(root), suffix=".part") as part:
        with urlopen(url, timeout=timeout_s) as response:
            shutil.copyfileobj(response, part, _CHUNK)
        part.flush()
        return import_file(Path(part.name), sha256, root, source=url)


def list_files(root: Path) -> list[SetupFile]:
    """Every set-up in the cache, smallest first."""
    folder = _folder(root)
    found = [_load(folder, path.stem) for path in sorted(folder.glob("*.json"))]
    return sorted((f for f in found if f is not None), key=lambda f: (f.unsafe, f.log_rows, f.path))


def find(log_rows: int, root: Path) -> SetupFile | None:
    """The smallest imported set-up that serves 2^log_rows rows, or None; never the test one."""
    fitting = [f for f in list_files(root) if not f.unsafe and f.log_rows >= log_rows]
    return min(fitting, key=lambda f: f.log_rows, default=None)


def read_tau_g2(path: Path) -> bytes:
    """The last point of a set-up's file, 128 bytes raw."""
    with path.open("rb") as file:
        file.seek(-_G2, 2)
        return file.read(_G2)


def _folder(root: Path) -> Path:
    folder = root / "srs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inspect(file: IO[bytes], size: int) -> tuple[int, bytes]:
    """Check a file's form; return log_rows and the set-up id.

    Raises:
        ValueError: what is wrong with it.
    """
    file.seek(0)
    log_rows = int.from_bytes(file.read(4), "little")
    if not 1 <= log_rows <= MAX_LOG_ROWS or size != 4 + (2 * _G1 << log_rows) + 2 * _G2:
        raise ValueError("not a structured reference string in Halo2's raw form (wrong header or length)")
    if file.read(_G1) != bn254.to_montgomery(1) + bn254.to_montgomery(2):
        raise ValueError("the first point is not the generator of G1")
    second = file.read(_G1)
    if not bn254.g1_on_curve(bn254.from_montgomery(second[:32]), bn254.from_montgomery(second[32:])):
        raise ValueError("the second point is not on the curve")
    file.seek(size - 2 * _G2)
    if file.read(_G2) != bn254.g2_to_raw(bn254.G2_GENERATOR):
        raise ValueError("the last point but one is not the generator of G2")
    tau_g2 = file.read(_G2)
    if not bn254.g2_in_subgroup(bn254.g2_from_raw(tau_g2)):
        raise ValueError("the last point is not in the group of order r")
    return log_rows, setup_id(tau_g2)


def _record(
    folder: Path, name: str, log_rows: int, identity: bytes, sha256: str, source: str, *, unsafe: bool
) -> SetupFile:
    """Write the record last: a file without one does not exist for `_load`."""
    path = folder / f"{name}.srs"
    record = SetupFile(str(path), log_rows, "0x" + identity.hex(), sha256, source, unsafe)
    files.write_atomic(folder / f"{name}.json", json.dumps(asdict(record)).encode())
    return record


def _load(folder: Path, name: str) -> SetupFile | None:
    """Read a record whose file is present with its full length; None otherwise."""
    try:
        fields = json.loads((folder / f"{name}.json").read_bytes())
        record = SetupFile(**{**fields, "path": str(folder / f"{name}.srs")})
        size = Path(record.path).stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    return record if size == 4 + (2 * _G1 << record.log_rows) + 2 * _G2 else None
