"""Reading tensors that a person hands over: .json, .npz or .npy, checked before anything is computed.

Values are never guessed, reshaped or truncated. Arrays of .npz and .npy must have the model's number type;
the decimal numbers of .json are rounded to it. Nothing in a file is ever executed (no pickles).
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from vml import strictjson

MAX_JSON_BYTES = 256 << 20
MAX_LEVELS = 256
MAX_ARRAY_BYTES = 1 << 30
MAX_NPY_HEADER = 4096
MAX_RANK = 16

# All that Python's zipfile raises for a damaged archive; its offsets are followed without a look (OSError).
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError)

Arrays = dict[str, np.ndarray[Any, Any]]


class ArraySpec(Protocol):
    """What a model says of one of its tensors; `vml.model.TensorSpec` is one."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def onnx_dtype(self) -> str: ...


def load_arrays(
    path: str | os.PathLike[str], specs: Sequence[ArraySpec] | None = None, *, rows: bool = False
) -> Arrays:
    """Read the tensors of one file and check them against what the model expects.

    Args:
        path: .json (`{"name": nested list}`), .npz (arrays by name) or .npy (the only input).
        specs: the tensors that must be there, no more and no fewer; None takes what is there
            (.json and .npz only).
        rows: the first dimension may be any n ≥ 1 where the model says 1.

    Returns:
        Finite arrays by name, of the shapes and number types of `specs`.

    Raises:
        ValueError: not such a file, too large, another name, shape or number type, NaN or infinity.
        OSError: the file cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".json":
        arrays = _from_json(path, specs)
    elif kind == ".npz":
        arrays = _from_npz(path)
    elif kind == ".npy":
        if specs is None or len(specs) != 1:
            raise ValueError(f"{path}: .npy holds one unnamed array; use .npz or .json with names")
        with path.open("rb") as file:
            arrays = {specs[0].name: _read_npy(file, str(path), path.stat().st_size)}
    else:
        raise ValueError(f"{path}: tensors are read from .json, .npz or .npy, not {kind or 'a file without suffix'!r}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{path}: {name!r} is not finite at index {index}: {array[index]}")
    if specs is not None:
        check_arrays(arrays, specs, rows=rows, where=str(path))
    return arrays


def check_arrays(
    arrays: Mapping[str, Any], specs: Sequence[ArraySpec], *, rows: bool = False, where: str = "input"
) -> None:
    """Check names, shapes and number types against what the model expects.

    Args:
        arrays: arrays by name.
        specs, rows: as for `load_arrays`.
        where: what error messages begin with.

    Raises:
        ValueError: a name is unknown or missing, or a shape or number type differs.
    """
    expected = {spec.name: spec for spec in specs}
    unknown, missing = sorted(arrays.keys() - expected.keys()), sorted(expected.keys() - arrays.keys())
    if unknown or missing:
        parts = [f"unknown name {name!r}" for name in unknown] + [f"{name!r} is missing" for name in missing]
        raise ValueError(f"{where}: {', '.join(parts)}; the model has {', '.join(map(repr, expected))}")
    for name, spec in expected.items():
        array = np.asarray(arrays[name])
        shape = tuple(spec.shape)
        if rows and array.ndim == len(shape) and shape[:1] == (1,) and array.shape[0] >= 1:
            shape = (array.shape[0], *shape[1:])
        if array.shape != shape:
            wanted = f"(n, {', '.join(map(str, shape[1:]))})" if rows else str(shape)
            raise ValueError(f"{where}: {name!r} has shape {array.shape}, the model takes {wanted}")
        if array.dtype != np.dtype(spec.onnx_dtype):
            raise ValueError(
                f"{where}: {name!r} is {array.dtype}, the model takes {spec.onnx_dtype}; "
                f"convert it with .astype({spec.onnx_dtype!r}) if that is what you mean"
            )


def _from_json(path: Path, specs: Sequence[ArraySpec] | None) -> Arrays:
    with path.open("rb") as file:
        data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"{path}: larger than {MAX_JSON_BYTES} bytes; use .npz")
    try:
        value = strictjson.loads(data, levels=MAX_LEVELS)
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict) or not value:
        raise ValueError(f'{path}: expected an object {{"input_name": nested list}}')
    dtypes = {spec.name: spec.onnx_dtype for spec in specs or ()}
    return {name: _from_list(item, dtypes.get(name), f"{path}: {name!r}") for name, item in value.items()}


def _from_list(value: object, dtype: str | None, where: str) -> np.ndarray[Any, Any]:
    """An array of a nested list; without `dtype`, float32 where there is a decimal point."""
    try:
        boxed = np.array(value, dtype=object)
    except ValueError as error:
        raise ValueError(f"{where} is not a rectangular nested list of numbers") from error
    kinds = set(map(type, boxed.ravel().tolist()))
    if boxed.ndim > MAX_RANK or not kinds <= {int, float, bool} or (bool in kinds and len(kinds) > 1):
        raise ValueError(f"{where} is not a rectangular nested list of numbers")
    if dtype is None:
        dtype = "float32" if float in kinds else "bool" if bool in kinds else "int64"
    target = np.dtype(dtype)
    by_kind: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
    allowed = by_kind.get(target.kind, set())
    if not kinds <= allowed:
        raise ValueError(f"{where}: the model takes {dtype}, the file holds {', '.join(k.__name__ for k in kinds)}")
    try:
        with np.errstate(over="ignore"):
            array = boxed.astype(target)
    except OverflowError as error:
        raise ValueError(f"{where}: a number does not fit {dtype}") from error
    if target.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{where}: a number does not fit {dtype}")
    return array


def _from_npz(path: Path) -> Arrays:
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(".npy") for member in members]
            if not members or len(set(names)) != len(names):
                raise ValueError(f"{path}: no arrays, or two of the same name")
            if any(not member.filename.endswith(".npy") for member in members):
                raise ValueError(f"{path}: holds something else than arrays")
            # The sizes an archive states are upper bounds on what is unpacked.
            if sum(member.file_size for member in members) > MAX_ARRAY_BYTES:
                raise ValueError(f"{path}: more than {MAX_ARRAY_BYTES} bytes unpacked")
            arrays: Arrays = {}
            for name, member in zip(names, members, strict=True):
                with archive.open(member) as file:
                    arrays[name] = _read_npy(file, f"{path}: {name!r}", member.file_size)  # type: ignore[arg-type]
            return arrays
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a readable .npz: {error}") from error


def _read_npy(file: BinaryIO, where: str, size: int) -> np.ndarray[Any, Any]:
    """One .npy stream of `size` bytes; the header is checked before memory is taken for the values."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(file, max_header_size=MAX_NPY_HEADER)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(file, max_header_size=MAX_NPY_HEADER)
        else:
            raise ValueError(f"version {version} of the format is not supported")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{where}: not a .npy array: {error}") from error
    shape, fortran, dtype = header
    if dtype.hasobject or dtype.kind not in "fiub":
        raise ValueError(f"{where}: holds {dtype}, only plain numbers are read")
    count = math.prod(shape)
    if len(shape) > MAX_RANK or any(n < 0 for n in shape) or count * dtype.itemsize > min(size, MAX_ARRAY_BYTES):
        raise ValueError(f"{where}: shape {shape} does not fit the file")
    data = file.read(count * dtype.itemsize + 1)
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"{where}: {len(data)} bytes of values where the header says {count * dtype.itemsize}")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).reshape(shape)
