"""Set-up: weights and tables committed to, once for each model. No secrets, no chance: anyone makes the same key again.

What is kept is the Merkle tree of the encoded fixed matrix; the matrix itself is made from the weights when it is
needed. A proof in the same process finds both in memory, a later one finds the tree in the cache folder.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from vml.model import Model
    from vml.model.graph import Graph

TREE = "tree.npy"


def setup(model: Model, options: SetupOptions) -> Keys:
    """Make a model's keys, or take the tree from the cache.

    Raises:
        UnsupportedModel: some node has no relation for its numbers, or no proof would be sound enough.
    """
    key, committed = make_key(model, options.progress)
    _remember(key.digest, committed)
    place = cache.folder(options.cache_dir) / NAME / key.digest.hex()
    if not (place / TREE).is_file():
        with cache.lock(place.parent, place.name), files.folder_atomic(place) as out:
            np.save(out / TREE, committed.tree)
    return Keys(
        backend=NAME,
        scheme=SCHEME,
        model=model.commitment,
        verifying_key=key.encode(),
        directory=place,
        compiled=model,
    )


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
    """The committed weights that a key is about: from memory, from the cached tree, or made again."""
    key = VerifyingKey.decode(keys.verifying_key)
    if key.digest in _REMEMBERED:
        return _REMEMBERED[key.digest]
    tree = None if keys.directory is None else _read_tree(keys.directory / TREE)
    if tree is None:
        _, committed = make_key(model, progress)
    else:
        committed = Committed(fixed_matrix(model.graph, circuit), LOG_BLOWUPS[0], tree)
    if committed.cap != key.cap:
        raise ValueError("the key is not that of this model; make it again with `vml setup`")
    _remember(key.digest, committed)
    return committed


def _read_tree(path: Path) -> np.ndarray[Any, np.dtype[np.uint64]] | None:
    """The cached tree; None where there is none. Its cap is compared with the key's, and proofs with their paths."""
    try:
        tree = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return tree if tree.dtype == np.uint64 and tree.ndim == 2 else None
