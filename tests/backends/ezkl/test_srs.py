"""Structured reference strings: what is taken in, what identifies it, and that the kernel computes the points."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from vml.backends.ezkl import bn254, srs
from vml.backends.ezkl.kernels_bn254 import BLOCK
from vml.backends.ezkl.setup_points import raw_points

K = 4


@pytest.fixture(scope="module")
def test_setup(tmp_path_factory: pytest.TempPathFactory) -> srs.SetupFile:
    return srs.make_test_setup(K, tmp_path_factory.mktemp("srs"))


def raw(point: tuple[int, int]) -> bytes:
    return bn254.to_montgomery(point[0]) + bn254.to_montgomery(point[1])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_kernel_agrees_with_plain_integers() -> None:
    rng = np.random.default_rng(3)
    scalars = [1, 2, 3, 255, 256, 257, 1 << 200, bn254.R - 1, bn254.R - 2, bn254.R // 2]
    scalars += [int.from_bytes(rng.bytes(32), "big") % bn254.R for _ in range(BLOCK)]
    data = raw_points(scalars)
    assert len(data) == 64 * len(scalars)
    for i in (*range(10), 57, BLOCK - 1, BLOCK, len(scalars) - 1):
        assert data[64 * i : 64 * (i + 1)] == raw(srs.g1_multiple(scalars[i])), i


def test_lagrange_scalars_interpolate() -> None:
    """Sum of L_i(tau) is 1, and sum of w^(2i) L_i(tau) is tau^2."""
    n = 1 << K
    scalars = srs.test_scalars(K)
    powers, lagrange = scalars[:n], scalars[n:]
    root = bn254.root_of_unity(K)
    assert powers[2] == pow(srs.TEST_TAU, 2, bn254.R)
    assert sum(lagrange) % bn254.R == 1
    assert sum(pow(root, 2 * i, bn254.R) * v for i, v in enumerate(lagrange)) % bn254.R == powers[2]


def test_the_test_set_up_is_the_same_everywhere_and_unsafe(test_setup: srs.SetupFile, tmp_path: Path) -> None:
    again = srs.make_test_setup(K, tmp_path)
    assert again.sha256 == test_setup.sha256
    assert again.unsafe
    assert bytes.fromhex(again.setup_id[2:]) == srs.TEST_SETUP_ID
    assert srs.make_test_setup(K, tmp_path) == again


def test_the_id_depends_on_the_secret_and_not_on_the_size(test_setup: srs.SetupFile, tmp_path: Path) -> None:
    larger = srs.make_test_setup(K + 1, tmp_path)
    assert larger.setup_id == test_setup.setup_id
    point = bn254.g2_mul(5, bn254.G2_GENERATOR)
    assert point is not None
    assert srs.setup_id(bn254.g2_to_raw(point)) != srs.TEST_SETUP_ID


def test_known_ceremonies_are_points_of_the_right_order() -> None:
    assert len(srs.CEREMONIES) == 2
    assert srs.TEST_SETUP_ID not in srs.CEREMONIES
    assert bn254.g2_in_subgroup(bn254.G2_GENERATOR)


def test_import_needs_the_published_digest(test_setup: srs.SetupFile, tmp_path: Path) -> None:
    path = Path(test_setup.path)
    with pytest.raises(ValueError, match="do not use"):
        srs.import_file(path, "0" * 64, tmp_path)
    with pytest.raises(ValueError, match="64 lower-case"):
        srs.import_file(path, "abc", tmp_path)
    assert srs.list_files(tmp_path) == []
    record = srs.import_file(path, sha256(path), tmp_path, source="a friend")
    assert srs.import_file(path, sha256(path), tmp_path) == record
    assert (record.log_rows, record.source) == (K, "a friend")
    # The published secret stays unsafe under whatever name it comes in.
    assert record.unsafe
    assert srs.find(K, tmp_path) is None


def forged_ceremony(folder: Path, log_rows: int = K, secret: int = 77) -> Path:
    """A file with another secret, well formed at the places that are looked at."""
    point = bn254.g2_mul(secret, bn254.G2_GENERATOR)
    assert point is not None
    middle = bytes((128 << log_rows) - 128)
    data = log_rows.to_bytes(4, "little") + raw((1, 2)) + raw(srs.g1_multiple(secret)) + middle
    path = folder / "ceremony.srs"
    path.write_bytes(data + bn254.g2_to_raw(bn254.G2_GENERATOR) + bn254.g2_to_raw(point))
    return path


def test_an_imported_set_up_is_found(tmp_path: Path) -> None:
    path = forged_ceremony(tmp_path)
    record = srs.import_file(path, sha256(path), tmp_path / "cache")
    assert not record.unsafe
    assert srs.find(K, tmp_path / "cache") == record
    assert srs.find(K + 1, tmp_path / "cache") is None
    assert srs.inspect_file(path).setup_id == record.setup_id


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (0, "header"),
        (4, "generator of G1"),
        (70, "coordinate|curve"),
        (-129, "generator of G2"),
        (-1, "coordinate|curve"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, start: int, what: str) -> None:
    path = forged_ceremony(tmp_path)
    data = bytearray(path.read_bytes())
    data[start] ^= 0x15
    path.write_bytes(data)
    with pytest.raises(ValueError, match=what):
        srs.import_file(path, sha256(path), tmp_path / "cache")
    assert srs.list_files(tmp_path / "cache") == []


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = forged_ceremony(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="length"):
        srs.import_file(path, sha256(path), tmp_path / "cache")


def test_a_half_written_file_is_never_used(test_setup: srs.SetupFile, tmp_path: Path) -> None:
    record = srs.make_test_setup(K, tmp_path)
    Path(record.path).write_bytes(b"half")
    assert srs.list_files(tmp_path) == []
    assert srs.make_test_setup(K, tmp_path).sha256 == test_setup.sha256
    assert Path(record.path).stat().st_size > 4


def test_fetch_is_https_only(tmp_path: Path) -> None:
    for url in ("http://example.org/kzg4.srs", "file:///etc/passwd", "ftp://example.org/x"):
        with pytest.raises(ValueError, match="https"):
            srs.fetch(url, "0" * 64, tmp_path)
