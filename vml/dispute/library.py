"""The models a player holds, and what running them again says of an assertion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vml.backends.optimistic.records import Assertion
from vml.backends.optimistic.strategy import Complaint, Difference, input_complaint
from vml.backends.optimistic.trace import Trace
from vml.dispute.published import PublishedTrace
from vml.dispute.recall import Recent
from vml.errors import UnsupportedModel
from vml.merkle import ITEM_BYTES, tensor_root, tensors_root
from vml.model import Model
from vml.model.graph import Graph
from vml.model.onestep import step_value

if TYPE_CHECKING:
    from vml.model.executor import Executor

Array = np.ndarray[Any, np.dtype[Any]]
GRAPH_FILE = "graph.json"
KEPT_TRACES, MOST_TRACES = 8, 32
"""Runs whose tensors are at hand, and the most for a player with many disputes; each takes about the memory of an
inference."""


class Held(Protocol):
    """What is needed of a model; `vml.model.Model` is one."""

    @property
    def commitment(self) -> bytes: ...
    @property
    def graph(self) -> Graph: ...
    @property
    def executor(self) -> Executor: ...


@dataclass(frozen=True)
class Checked:
    """What running the model again said.

    Args:
        complaint: what is wrong; None if nothing is.
        reason: in words.
    """

    complaint: Complaint | None
    reason: str


class Library:
    """Compiled models by commitment.

    Args:
        folders: compiled models, or folders of such.

    Raises:
        FileNotFoundError: a folder holds none.
        UnsupportedModel: one is damaged.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self._places: dict[bytes, Path] = {}
        self._models: dict[bytes, Held] = {}
        self._traces: Recent[bytes, Trace] = Recent(KEPT_TRACES)
        for folder in folders:
            found = compiled_in(folder)
            if not found:
                raise FileNotFoundError(2, "no compiled model here (a folder made by `vml compile`)", str(folder))
            for place in found:
                self._places[Model.read_commitment(place)] = place

    def __contains__(self, commitment: object) -> bool:
        return commitment in self._places or commitment in self._models

    def __len__(self) -> int:
        return len(self._places.keys() | self._models.keys())

    def add(self, model: Held) -> None:
        """Hold a model that is loaded already."""
        self._models[model.commitment] = model

    def learn(self, commitment: bytes, folder: str | None) -> None:
        """Where a model lies that an assertion was made with; a folder that is gone or holds another is none."""
        if commitment in self or folder is None:
            return
        try:
            if Model.read_commitment(folder) == commitment:
                self._places[commitment] = Path(folder)
        except (OSError, UnsupportedModel):
            return

    def graph(self, commitment: bytes) -> Graph:
        """The graph of a model. Raises KeyError if it is not held, UnsupportedModel if its folder was damaged."""
        return self._model(commitment).graph

    def trace(self, key: bytes, commitment: bytes, data: Sequence[bytes]) -> Trace:
        """The honest run of a model on an assertion's input.

        Args:
            key: the assertion, under which the run is kept.
            commitment: of the model.
            data: tensor bytes, one for each input.
        """
        if key not in self._traces:
            model = self._model(commitment)
            self._traces[key] = Trace(model.executor, codes(model.graph, data))
        return self._traces[key]

    def make_room(self, disputes: int) -> None:
        """Keep a run at hand for each of so many disputes that are played at the same time, within bounds."""
        self._traces.size = min(KEPT_TRACES + disputes, MOST_TRACES)
        self._traces.shrink()

    def check(self, assertion: Assertion, data: Sequence[bytes]) -> Checked:
        """Run the model again on the claimed input.

        Returns:
            What is wrong with the claim, if anything: its input, or its output.

        Raises:
            ValueError: the bytes are not the claimed input: the node that gave them lies.
            OutOfRange, UnsupportedModel, OSError, MemoryError: the model cannot be run.
        """
        claim = assertion.claim
        outside = self._outside(claim.model, data)
        if input_commitment(self.graph(claim.model), data) != claim.input:
            raise ValueError("these bytes are not the claimed input; do not trust the node that gave them")
        if outside is not None:
            return Checked(outside, "its input lies outside the declared range")
        mine = self.trace(assertion.id, claim.model, data)
        found = mine.claim(claim.context)
        if found.output == claim.output:
            self.forget(assertion.id)
            return Checked(None, "the output is the model's")
        reason = f"its output is 0x{claim.output.hex()}, the model's is 0x{found.output.hex()}"
        return Checked(Difference(mine, step_value), reason)

    def complaint(self, assertion: Assertion, data: Sequence[bytes]) -> Complaint:
        """What is wrong with an assertion that `check` found wrong, without running the model for its output again."""
        model = assertion.claim.model
        return self._outside(model, data) or Difference(self.trace(assertion.id, model, data), step_value)

    def published(self, commitment: bytes, folder: Path) -> PublishedTrace:
        """A trace that somebody published, of a model that is held."""
        return PublishedTrace(self._model(commitment).executor, folder)

    def forget(self, key: bytes) -> None:
        """Let the run of an assertion go."""
        self._traces.pop(key)

    def _outside(self, commitment: bytes, data: Sequence[bytes]) -> Complaint | None:
        graph = self.graph(commitment)
        arrays = codes(graph, data)
        return input_complaint(graph, {spec.node: arrays[spec.name] for spec in graph.inputs})

    def _model(self, commitment: bytes) -> Held:
        if commitment not in self._models:
            self._models[commitment] = Model.load(self._places[commitment])
        return self._models[commitment]


def compiled_in(folder: Path) -> list[Path]:
    """The compiled models that a folder is or holds."""
    if (folder / GRAPH_FILE).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{GRAPH_FILE}"))


def codes(graph: Graph, data: Sequence[bytes]) -> Mapping[str, Array]:
    """Input codes from tensor bytes.

    Raises:
        ValueError: other tensors than the model's inputs.
    """
    if len(data) != len(graph.inputs):
        raise ValueError(f"{len(data)} tensors, the model takes {len(graph.inputs)}")
    found: dict[str, Array] = {}
    for part, spec in zip(data, graph.inputs, strict=True):
        header = spec.header
        if len(part) != header.size * ITEM_BYTES[header.dtype]:
            raise ValueError(f"{spec.name} has {len(part)} bytes, the model takes another size")
        big = np.frombuffer(part, dtype=np.dtype(header.dtype).newbyteorder(">"))
        found[spec.name] = big.astype(header.dtype).reshape(header.shape)
    return found


def input_commitment(graph: Graph, data: Sequence[bytes]) -> bytes:
    """What a claim on these tensor bytes has as its input. Raises ValueError as `codes`."""
    arrays = codes(graph, data)
    return tensors_root([tensor_root(arrays[spec.name]) for spec in graph.inputs])
