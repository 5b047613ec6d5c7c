"""Traces that asserters publish: written, read again, and refuted in one move."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vml import files
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.records import Assertion
from vml.backends.optimistic.step import check_list
from vml.backends.optimistic.strategy import fraud
from vml.backends.optimistic.trace import Trace
from vml.keccak import HASH_BYTES
from vml.merkle import ITEM_BYTES
from vml.model.executor import Executor
from vml.model.onestep import step_value

Array = np.ndarray[Any, np.dtype[Any]]
ROOTS_FILE = "roots"
_OURS = re.compile(r"roots|[0-9]{1,7}\.bin")


def require_free(folder: Path) -> None:
    """Check that a trace can be written to a folder: it is new, empty, or holds a trace and nothing else.

    Raises:
        FileExistsError: other things are in it.
        OSError: it cannot be written there.
    """
    if folder.is_dir():
        foreign = sorted(entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name))
        if foreign:
            raise FileExistsError(17, f"holds {foreign[0]}, which is no part of a trace", str(folder))
    elif folder.exists():
        raise NotADirectoryError(20, "is a file; a trace is a folder", str(folder))
    else:
        files.require_writable(folder)


def write(trace: Trace, folder: Path) -> None:
    """Write a trace for whoever wants to check it, complete or not at all.

    ``roots`` holds 32 bytes for each operator, ``N.bin`` the tensor of operator N, row-major and big-endian;
    constants are the model's.

    Raises:
        OSError: as `require_free`.
    """
    require_free(folder)
    with files.folder_atomic(folder) as place:

        def keep(node: int, data: bytes) -> None:
            (place / f"{node}.bin").write_bytes(data)

        roots = trace.publish(keep)
        (place / ROOTS_FILE).write_bytes(b"".join(roots))


class PublishedTrace(Trace):
    """What somebody says its trace is, read from a folder tensor by tensor.

    Args:
        executor: of the model.
        folder: as `write` makes it.

    Raises:
        ValueError: on use, where a file is of another size.
        OSError: on use, where one cannot be read.
    """

    def __init__(self, executor: Executor, folder: Path) -> None:
        super().__init__(executor, {})
        self._folder = folder

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        size = HASH_BYTES * len(self.graph.nodes)
        data = self._read(ROOTS_FILE, size)
        return tuple(data[at : at + HASH_BYTES] for at in range(0, size, HASH_BYTES))

    def tensor(self, node: int) -> Array:
        if node in self.graph.constants:
            return self.graph.constants[node]
        header = self.graph.nodes[node].header
        data = self._read(f"{node}.bin", header.size * ITEM_BYTES[header.dtype])
        big = np.frombuffer(data, dtype=np.dtype(header.dtype).newbyteorder(">"))
        return big.astype(header.dtype).reshape(header.shape)

    def _read(self, name: str, size: int) -> bytes:
        data = files.read_inside(self._folder, name, max_bytes=size)
        if len(data) != size:
            raise ValueError(f"{name} of the published trace has {len(data)} bytes, not {size}")
        return data


def refutation(assertion: Assertion, published: PublishedTrace, mine: Trace) -> moves.Move | None:
    """The one move that ends a false assertion whose trace is published; None where only a dispute helps.

    Args:
        assertion: the false one.
        published: its trace, as somebody gave it; it counts only if it is the one committed to.
        mine: the right one.
    """
    try:
        if assertion.trace is None or published.commitment() != assertion.trace:
            return None
        try:
            check_list(published.graph, assertion.claim.input, assertion.claim.output, published.roots)
        except refusals.ListInconsistent:
            return moves.ProveList(assertion.id, published.roots)
        return fraud(assertion, published, mine, step_value)
    except (OSError, ValueError):
        return None
