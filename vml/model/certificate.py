"""The certificate: what a compiled model came from, and how far its integers are from the float model.

It is a statement of whoever compiled the model. The model commitment does not cover it; anyone with the source and
the data can make it again.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

FORMAT = "vml-certificate/1"
WORST_LAYERS = 5


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Source(_Record):
    """Where the model came from.

    Attributes:
        files: SHA-256 (hex) of every file read, by name; "" for a model given as bytes.
        sha256: SHA-256 (hex) of the folder's source.onnx, the imported model.
        notes: what the importer changed.
        simplification_difference: largest difference of an output before and after simplification, in units.
    """

    files: dict[str, str]
    sha256: str
    notes: tuple[str, ...]
    simplification_difference: float


class Data(_Record):
    """Rows that calibrated or judged: "data", "range", "given", "split" or "drawn"; number; SHA-256 (hex)."""

    origin: str
    rows: int
    sha256: str


class Edge(_Record):
    """An input or output: codes lo..hi at ``scale`` codes per unit ("p/q" or "p"), and what that is in units."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: str
    lo: int
    hi: int
    units: tuple[float, float]


class Difference(_Record):
    """Integer model against onnxruntime.

    Attributes:
        rows: compared. refused: left out, because the input range refuses them.
        max_error, mean_error: absolute, in units.
        reference: smallest and largest value of the float model.
        agreement: share of equal decisions: for scores the arg max along the last axis with more than one
            element, for integers and booleans the value; None for an output with nothing to decide.
    """

    rows: int
    refused: int
    max_error: float
    mean_error: float
    reference: tuple[float, float]
    agreement: float | None


class OutputDifference(_Record):
    """One output on the calibration rows and on the held-out rows (None where there are none)."""

    name: str
    calibration: Difference
    holdout: Difference | None


class Layer(_Record):
    """One ONNX tensor: errors in units, the float tensor's largest absolute value, their quotient, and the scale."""

    tensor: str
    node: str
    op: str
    max_error: float
    mean_error: float
    magnitude: float
    relative: float
    codes_per_unit: float


class Saturation(_Record):
    """A rescale that clamped.

    Attributes:
        node, name: index of the node, and the ONNX node it came from.
        clamped, of: elements, out of how many.
        into_table: the result only goes into lookup tables, beyond whose ends the function is flat.
    """

    node: int
    name: str
    clamped: int
    of: int
    into_table: bool


class Accumulator(_Record):
    """The widest sum of products: node index, ONNX node, static bound on sum |a b| + |bias| (limit 2^52)."""

    node: int
    name: str
    bound: int


class Boundary(_Record):
    """What happens first and last inside the graph, by input and output name, and what therefore stays outside."""

    first: dict[str, tuple[str, ...]]
    last: dict[str, str]
    warnings: tuple[str, ...]


class Options(_Record):
    """How it was compiled."""

    bits: int
    weight_bits: int
    headroom: str
    saturate_inputs: bool
    seed: int | None


class Certificate(_Record):
    """Everything stated about one compiled model; ``model`` is its commitment (hex with 0x)."""

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    model: str
    semantics: str
    source: Source
    calibration: Data
    holdout: Data | None
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    differences: tuple[OutputDifference, ...]
    layers: tuple[Layer, ...]
    saturation: tuple[Saturation, ...]
    accumulator: Accumulator | None
    boundary: Boundary
    options: Options
    versions: dict[str, str]

    def worst_layers(self, count: int = WORST_LAYERS) -> tuple[Layer, ...]:
        """The layers with the largest error relative to their magnitude, worst first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.relative)[:count])

    @property
    def max_error(self) -> float:
        """Largest error of any output on any row, in units."""
        return max(part.max_error for part in self._parts())

    @property
    def agreement(self) -> float | None:
        """Smallest agreement of any output, on calibration or held-out rows; None where nothing is decided."""
        return min((part.agreement for part in self._parts() if part.agreement is not None), default=None)

    def _parts(self) -> list[Difference]:
        both = [part for d in self.differences for part in (d.calibration, d.holdout)]
        return [part for part in both if part is not None]
