"""Inputs as bytes and back: .npz, never with pickled objects."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def encode(arrays: Mapping[str, Any]) -> bytes:
    """Write arrays by name.

    Raises:
        ValueError: an array of objects.
    """
    import numpy as np

    file = io.BytesIO()
    # Names go by position: a name such as "file" would be taken for an argument.
    names = sorted(arrays)
    columns = {str(place): np.asarray(arrays[name]) for place, name in enumerate(names)}
    if any(column.dtype.hasobject for column in columns.values()):
        raise ValueError("arrays of objects are not kept")
    np.savez(file, names=np.array(names, dtype=np.str_), **columns)  # type: ignore[arg-type]
    return file.getvalue()


def decode(data: bytes) -> dict[str, Any]:
    """Read what `encode` wrote.

    Raises:
        ValueError: anything else.
    """
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {str(name): archive[str(place)] for place, name in enumerate(archive["names"])}
