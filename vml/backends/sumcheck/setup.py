"""Set-up: weights and tables committed to, once for each model. No secrets, no chance: anyone makes the same key again.

What is kept is the key and the Merkle tree of the encoded fixed matrix; the matrix itself is made from the weights when
it is needed, and its digest tells whether a cached tree is of it. A proof in the same process finds all in memory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vml import cache, files
from vml.backends.sumcheck import warm
from vml.backends.sumcheck.arrange import FIXED
from vml.backends.sumcheck.circuit import Circuit, build_circuit
from vml.backends.sumcheck.key import VerifyingKey
from vml.backends.sumcheck.matrices import lay_out
from vml.backends.sumcheck.opening.prover import Committed, commit
from vml.backends.sumcheck.scheme import LOG_BLOWUPS, NAME, SCHEME
from vml.backends.types import Keys, Progress, SetupOptions
from vml.errors import MalformedProof
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.model import Model
    from vml.model.graph import Graph

KEY, MATRIX, TREE = "key", "matrix", "tree.npy"


def setup(model: Model, options: SetupOptions) -> Keys:
    """Make a model's keys, or take them from the cache, where they are kept beside a digest of the fixed matrix.

    Raises:
        UnsupportedModel: some node has no relation for its numbers, or no proof would be sound enough.
    """
    place = cache.folder(options.cache_dir) / NAME / keccak256(SCHEME.encode() + model.commitment).hex()
    circuit = model_circuit(model, 1)
    matrix = fixed_matrix(model.graph, circuit)
    found = None if options.check else _read(place, matrix)
    if found is None:
        key, committed = make_key(model, options.progress)
        with cache.lock(place.parent, place.name), files.folder_atomic(place) as out:
            np.save(out / TREE, committed.tree)
            (out / KEY).write_bytes(key.encode())
            (out / MATRIX).write_bytes(_digest(matrix))
    else:
        key, committed = found
    _remember(key.digest, committed)
    return Keys(
        backend=NAME,
        scheme=SCHEME,
        model=model.commitment,
        verifying_key=key.encode(),
        directory=place,
        compiled=model,
    )


def _digest(matrix: np.ndarray[Any, np.dtype[np.uint64]]) -> bytes:
    return hashlib.blake2b(matrix.data).digest()


def _read(place: Path, matrix: np.ndarray[Any, np.dtype[np.uint64]]) -> tuple[VerifyingKey, Committed] | None:
    """The cached key and tree of exactly this matrix; None where there are none, or they are damaged."""
    try:
        if (place / MATRIX).read_bytes() != _digest(matrix):
            return None
        key = VerifyingKey.decode((place / KEY).read_bytes())
        committed = Committed(matrix, LOG_BLOWUPS[0], np.load(place / TREE, allow_pickle=False))
        return (key, committed) if committed.cap == key.cap else None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, MalformedProof):
        return None


def recompute_key(model: Model) -> VerifyingKey:
    """The verifying key, from the weights and nothing else."""
    return make_key(model, None)[0]


def make_key(model: Model, progress: Progress | None) -> tuple[VerifyingKey, Committed]:
    """The verifying key and what it commits to."""
    tell = progress or (lambda stage, done: None)
    warm.compile_kernels(progress)
    tell("committing to the weights", 0.0)
    circuit = model_circuit(model, 1)
    committed = commit(fixed_matrix(model.graph, circuit), LOG_BLOWUPS[0])
    tell("committing to the weights", 1.0)
    return VerifyingKey(model.commitment, circuit.log_cols, circuit.shape.fixed_rows, committed.cap), committed


def model_circuit(model: Model, batch: int) -> Circuit:
    """The circuit of a model for a batch. Raises UnsupportedModel."""
    return build_circuit(model.graph.nodes, model.graph.inputs, model.graph.outputs, batch)


def fixed_matrix(graph: Graph, circuit: Circuit) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Weights and tables laid out."""
    none = np.empty(0, dtype=np.int64)
    columns = [graph.constants.get(k, none) for k in range(len(circuit.arrangement.blocks))]
    return lay_out(circuit.arrangement, FIXED, columns, circuit.log_cols)


_REMEMBERED: dict[bytes, Committed] = {}


def _remember(digest: bytes, committed: Committed) -> None:
    """Keep the last model's matrix and tree in memory."""
    _REMEMBERED.clear()
    _REMEMBERED[digest] = committed


def commit_fixed(model: Model, keys: Keys, circuit: Circuit, progress: Progress | None) -> Committed:
    """The committed weights that a key is about: from memory, from the cache, or made again."""
    key = VerifyingKey.decode(keys.verifying_key)
    if key.digest in _REMEMBERED:
        return _REMEMBERED[key.digest]
    found = None if keys.directory is None else _read(keys.directory, fixed_matrix(model.graph, circuit))
    _, committed = found or make_key(model, progress)
    if committed.cap != key.cap:
        raise ValueError("the key is not that of this model; make it again with `vml setup`")
    _remember(key.digest, committed)
    return committed
