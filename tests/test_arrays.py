"""Tensors from files: what fits is read, everything else is a clear mistake."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vml.arrays import MAX_ARRAY_BYTES, check_arrays, load_arrays


@dataclass(frozen=True)
class Spec:
    name: str
    shape: tuple[int, ...]
    onnx_dtype: str


X = Spec("x", (1, 3), "float32")
IDS = Spec("ids", (2,), "int64")
FLAG = Spec("flag", (1,), "bool")


def as_json(folder: Path, value: Any) -> Path:
    path = folder / "in.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_json_is_rounded_to_the_models_type(tmp_path: Path) -> None:
    arrays = load_arrays(as_json(tmp_path, {"x": [[0.1, 2, -3e-3]], "ids": [1, -5], "flag": [True]}), [X, IDS, FLAG])
    np.testing.assert_array_equal(arrays["x"], np.array([[0.1, 2, -3e-3]], np.float32))
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "x": "float32",
        "ids": "int64",
        "flag": "bool",
    }


def test_json_without_specs(tmp_path: Path) -> None:
    arrays = load_arrays(as_json(tmp_path, {"a": [1, 2], "b": [1, 2.5], "c": [[True]]}))
    assert [arrays[name].dtype.name for name in "abc"] == ["int64", "float32", "bool"]


def test_npz_and_npy(tmp_path: Path) -> None:
    x = np.array([[1, 2, 3]], np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    np.savez_compressed(tmp_path / "small.npz", x=x)
    np.save(tmp_path / "in.npy", x)
    for name in ("in.npz", "small.npz", "in.npy"):
        np.testing.assert_array_equal(load_arrays(tmp_path / name, [X])["x"], x)


@pytest.mark.parametrize("dtype", [">f4", "<f4", "=f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_and_storage_order(tmp_path: Path, dtype: str, order: Any) -> None:
    spec = Spec("x", (2, 3), "float32")
    values = np.arange(6).reshape(2, 3)
    np.save(tmp_path / "x.npy", np.asarray(values, dtype=dtype, order=order))
    array = load_arrays(tmp_path / "x.npy", [spec])["x"]
    np.testing.assert_array_equal(array, values)
    assert array.dtype == np.float32


def test_scalars(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.float32(3))
    assert load_arrays(tmp_path / "x.npy", [Spec("x", (), "float32")])["x"].shape == ()


def test_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((7, 3), np.float32))
    assert load_arrays(tmp_path / "rows.npz", [X], rows=True)["x"].shape == (7, 3)
    with pytest.raises(ValueError, match=r"shape \(7, 3\)"):
        load_arrays(tmp_path / "rows.npz", [X])
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        load_arrays(tmp_path / "none.npz", [X], rows=True)


BAD_JSON = {
    "not json": ("{", "not JSON"),
    "a list": ([1], "expected an object"),
    "nothing": ({}, "expected an object"),
    "unknown name": ({"y": [[1, 2, 3]], "x": [[1, 2, 3]]}, "unknown name 'y'"),
    "missing name": ({"y": [[1.5, 2, 3]]}, "'x' is missing"),
    "a name twice": ('{"x": [[1,2,3]], "x": [[1,2,3]]}', "duplicate"),
    "NaN": ('{"x": [[NaN, 1, 2]]}', "NaN is not a finite number"),
    "Infinity": ('{"x": [[-Infinity, 1, 2]]}', "-Infinity is not"),
    "too large": ('{"x": [[1e39, 1, 2]]}', "does not fit float32"),
    "huge exponent": ('{"x": [[1e999, 1, 2]]}', "does not fit float32"),
    "huge integer": ('{"x": [[1' + "0" * 400 + ", 1, 2]]}", "does not fit float32"),
    "enormous integer": ('{"x": [[1' + "0" * 9999 + ", 1, 2]]}", "not JSON"),
    "text": ({"x": [["1", "2", "3"]]}, "nested list of numbers"),
    "null": ({"x": [[1, None, 3]]}, "nested list of numbers"),
    "an object": ({"x": {"a": 1}}, "nested list of numbers"),
    "ragged": ({"x": [[1, 2, 3], [1]]}, "nested list of numbers"),
    "ragged inside": ({"x": [[[1, 2], [3, 4]], [[1], [2]]]}, "nested list of numbers"),
    "truth among numbers": ({"x": [[True, 2, 3]]}, "nested list of numbers"),
    "truth for numbers": ({"x": [[True, True, False]]}, "takes float32"),
    "another shape": ({"x": [1.0, 2, 3]}, "shape"),
    "deep": ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested more than 256 levels"),
    "very many axes": ('{"x": ' + "[" * 40 + "1" + "]" * 40 + "}", "nested list of numbers"),
}


@pytest.mark.parametrize(("value", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_arrays(as_json(tmp_path, value), [X])


def test_json_numbers_for_integers(tmp_path: Path) -> None:
    for value, message in [([1.0, 2], "takes int64"), ([1 << 63, 0], "does not fit int64"), ([True, False], "takes")]:
        with pytest.raises(ValueError, match=message):
            load_arrays(as_json(tmp_path, {"ids": value}), [IDS])


BAD_ARRAYS = {
    "float64": (np.zeros((1, 3)), "is float64, the model takes float32.*astype"),
    "int64": (np.zeros((1, 3), np.int64), "is int64"),
    "another shape": (np.zeros((3, 1), np.float32), r"shape \(3, 1\)"),
    "another rank": (np.zeros(3, np.float32), r"shape \(3,\)"),
    "NaN": (np.array([[1, np.nan, 2]], np.float32), r"not finite at index \(0, 1\)"),
    "infinity": (np.array([[1, 2, np.inf]], np.float32), r"not finite at index \(0, 2\)"),
    "complex": (np.zeros((1, 3), np.complex64), "plain numbers"),
    "text": (np.array([["a", "b", "c"]]), "plain numbers"),
    "time": (np.zeros((1, 3), "datetime64[s]"), "plain numbers"),
    "records": (np.zeros(1, [("a", "f4")]), "plain numbers"),
}


@pytest.mark.parametrize(("array", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_bad_arrays(tmp_path: Path, array: Any, message: str, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    if suffix == "npz":
        np.savez(path, x=array)
    else:
        np.save(path, array)
    with pytest.raises(ValueError, match=message):
        load_arrays(path, [X])


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    objects = np.array([[print, 1, 2]], dtype=object)
    np.save(tmp_path / "in.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "in.npz", x=objects)
    for name in ("in.npy", "in.npz"):
        with pytest.raises(ValueError, match="plain numbers"):
            load_arrays(tmp_path / name, [X])


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"not numpy at all",
        header("(1, 3)"),
        header("(1, 3)") + bytes(11),
        header("(1, 3)") + bytes(13),
        header("(1, 3, 1000000000000)"),
        header("(-1, -12)") + bytes(12),
        header("(" + "1, " * 40 + ")") + bytes(4),
        header("(1, 3)", "|O") + bytes(24),
        header("__import__('os').getcwd()"),
        b"\x93NUMPY\x03\x00" + bytes(16),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31),
    ],
)
def test_damaged_npy(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"in\.npy"):
        load_arrays(tmp_path / "in.npy", [X])
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(ValueError, match=r"in\.npz"):
        load_arrays(tmp_path / "in.npz", [X])


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    np.savez_compressed(path, x=np.arange(3, dtype=np.float32).reshape(1, 3))
    good = path.read_bytes()
    for data in (b"", b"PK", good[:-10], good[: len(good) // 2], b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"in\.npz"):
            load_arrays(path, [X])
    for at in range(30, len(good), 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            load_arrays(path, [X])
        except ValueError:
            continue


def test_odd_archives(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    for entries, message in [
        ([], "no arrays"),
        (["x.npy", "readme"], "something else"),
        (["x.npy", "x"], "two of|else"),
    ]:
        with zipfile.ZipFile(path, "w") as archive:
            for entry in entries:
                archive.writestr(entry, header("(1, 3)") + bytes(12))
        with pytest.raises(ValueError, match=message):
            load_arrays(path, [X])


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    np.savez_compressed(path, x=np.zeros((1, 3), np.float32))
    data = bytearray(path.read_bytes())
    # The central directory's uncompressed size.
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", MAX_ARRAY_BYTES + 1)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="more than"):
        load_arrays(path, [X])


def test_other_files(tmp_path: Path) -> None:
    for name, message in [("in.txt", r"\.txt"), ("in", "without suffix")]:
        (tmp_path / name).write_bytes(b"1")
        with pytest.raises(ValueError, match=message):
            load_arrays(tmp_path / name, [X])
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "none.json", [X])
    np.save(tmp_path / "x.npy", np.zeros(3))
    for specs in (None, [X, IDS]):
        with pytest.raises(ValueError, match="one unnamed array"):
            load_arrays(tmp_path / "x.npy", specs)


def test_check_arrays() -> None:
    check_arrays({"x": np.zeros((1, 3), np.float32)}, [X])
    with pytest.raises(ValueError, match="mine: 'x' has shape"):
        check_arrays({"x": np.zeros((1, 4), np.float32)}, [X], where="mine")
