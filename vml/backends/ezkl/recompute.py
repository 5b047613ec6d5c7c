"""The model identity of a proof, made again from the ONNX file: for verifiers who hold the file and no pin.

The circuit's settings (scales, rows) are the prover's choice and travel in the proof; the verifying key that follows
from them and from the file is made here. Equal identities mean that the proof is about this file *under these
settings*, and settings may be so coarse that every weight rounds to nothing. So the file is also run by onnxruntime
on the input that the proof shows, and the proof's output must be that of the file. A hidden input cannot be run
again: such a proof is checked against a pinned identity only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml import cache
from vml.backends.ezkl import setup, srs
from vml.backends.ezkl.commitments import value_of
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.process import EngineFailed
from vml.backends.ezkl.statement import Statement, TensorInfo, visibility_of
from vml.backends.types import SetupOptions
from vml.errors import BackendUnavailable, MalformedProof, ProofRejected
from vml.proof import Proof

if TYPE_CHECKING:
    from vml.backends.ezkl.calibration import Array

TOLERANCE = 0.05
"""How far an output may be from onnxruntime's, as a share of that output's largest element: tuning allows 0.02 of the
largest on calibration rows, and a single row's may be smaller. Integers (decisions) must be equal."""

MAX_MADE_LOG_ROWS = 17
"""The largest test set-up that is made because a proof names it: larger ones take minutes, for anybody's proof."""


def recompute(source: bytes, proof: Proof, options: SetupOptions) -> bytes:
    """Make the identity of an ONNX file under a proof's settings.

    Args:
        source: ONNX bytes as a compiled folder holds them.
        proof: strictly decoded; only its scheme, settings and set-up point are used, after checks.
        options: cache folder and limits.

    Returns:
        32 bytes, equal to the claim's model exactly when the proof is about this file.

    Raises:
        MalformedProof: scheme or payload cannot be read.
        ProofRejected: no circuit of this file has these settings, the file gives another output, the model or the
            input is hidden, or the proof's set-up is not on this machine.
        UnsupportedModel: the model cannot be wrapped.
    """
    visibility = visibility_of(proof.scheme)
    if visibility is None:
        raise MalformedProof(f"scheme {proof.scheme[:80]!r} is not one of this ezkl version")
    if visibility.model == "private":
        raise ProofRejected("5: a private model's identity cannot be made again without its salt: pin it with 0x…")
    if visibility.input != "public":
        raise ProofRejected("5: the input is hidden, so the file cannot be run on it: pin the identity with 0x…")
    payload = Payload.from_bytes(proof.payload)
    statement = Statement.read(payload.wrapper, payload.settings, visibility)
    if len(payload.instances) != statement.instance_count:
        raise MalformedProof(f"{len(payload.instances)} instances, the circuit has {statement.instance_count}")
    _run_again(source, statement, payload.instances)
    setup_file = _setup_file(payload.tau_g2, statement.log_rows, cache.folder(options.cache_dir))
    options = SetupOptions(
        visibility=visibility,
        cache_dir=options.cache_dir,
        memory_limit_bytes=options.memory_limit_bytes,
        time_limit_s=options.time_limit_s,
        progress=options.progress,
    )
    try:
        return setup.recompute(source, payload.settings, setup_file, options)
    except (EngineFailed, KeyError, TypeError, ValueError) as error:
        raise ProofRejected("6: no circuit of this ONNX file has the proof's settings", None, str(error)) from error


def _run_again(source: bytes, statement: Statement, words: Sequence[bytes]) -> None:
    """Run the file on the proof's input and compare with the proof's output.

    Raises:
        ProofRejected: the file has other tensors, cannot be run on this input, or gives something else.
        BackendUnavailable: onnxruntime is not installed.
    """
    try:
        import numpy as np
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable("onnxruntime is missing: pip install 'vml[ezkl]'") from error
    inputs = _arrays(statement.inputs, statement.input_scales, statement.input_words(words))
    claimed = _arrays(statement.outputs, statement.output_scales, statement.output_words(words))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        results = session.run(list(claimed), inputs)
    # onnxruntime's errors share no base class; the input is the prover's.
    except Exception as error:
        raise ProofRejected("5: the file cannot be run on the proof's input", None, str(error)[:200]) from error
    for (name, got), expected in zip(claimed.items(), results, strict=True):
        wanted = np.asarray(expected)
        if not np.isfinite(wanted).all():  # an infinite result would make room for any other
            raise ProofRejected(f"5: output {name!r} of the file is not finite on the proof's input")
        exact = wanted.dtype.kind != "f"
        room = 0.0 if exact else TOLERANCE * float(np.abs(wanted).max(initial=0.0))
        far = wanted.shape != got.shape or not bool((np.abs(got.astype(np.float64) - wanted) <= room).all())
        if far:
            raise ProofRejected(
                f"5: output {name!r} is not the file's", wanted.ravel()[:8].tolist(), got.ravel()[:8].tolist()
            )


def _arrays(tensors: Sequence[TensorInfo], scales: Sequence[int], words: Sequence[bytes]) -> dict[str, Array]:
    """Instance words as the numbers they stand for, by tensor name."""
    import numpy as np

    from vml.backends.ezkl.calibration import numpy_dtype

    arrays, at = {}, 0
    for tensor, scale in zip(tensors, scales, strict=True):
        codes = [value_of(element_word) for element_word in words[at : at + tensor.size]]
        at += tensor.size
        real = np.array([float(code) / 2.0**scale for code in codes]).reshape(tensor.shape)
        # What the type cannot hold becomes infinite, and the file's result with it: refused there.
        with np.errstate(over="ignore", invalid="ignore"):
            arrays[tensor.name] = real.astype(numpy_dtype(tensor.dtype))
    return arrays


def _setup_file(tau_g2: bytes, log_rows: int, root: Path) -> Path:
    """The set-up a proof was made under, from the verifier's own cache."""
    try:
        wanted = "0x" + srs.setup_id(tau_g2).hex()
    except ValueError as error:
        raise MalformedProof(f"the set-up: {error}") from None
    if wanted == "0x" + srs.TEST_SETUP_ID.hex():
        known = any(record.unsafe and record.log_rows == log_rows for record in srs.list_files(root))
        if log_rows > MAX_MADE_LOG_ROWS and not known:
            raise ProofRejected(
                f"5: the test set-up for 2^{log_rows} rows is not here, and a proof cannot have it made"
            )
        return Path(srs.make_test_setup(log_rows, root).path)
    for record in srs.list_files(root):
        if record.setup_id == wanted and record.log_rows >= log_rows:
            return Path(record.path)
    raise ProofRejected(f"5: the proof's set-up {wanted} is not here for 2^{log_rows} rows: `vml srs import` it")
