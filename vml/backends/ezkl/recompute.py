"""The model identity of a proof, made again from the ONNX file: for verifiers who hold the file and no pin.

The circuit's settings (scales, rows) are the prover's choice and travel in the proof; the verifying key that follows
from them and from the file is made here. Equal identities mean that the proof is about this file under these
settings; how coarse they are is in the proof's public section.
"""

from __future__ import annotations

from pathlib import Path

from vml.backends.ezkl import cache, setup, srs
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.process import EngineFailed
from vml.backends.ezkl.statement import Statement, visibility_of
from vml.backends.types import SetupOptions
from vml.errors import MalformedProof, ProofRejected, UnsupportedModel
from vml.proof import Proof


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
        ProofRejected: no circuit of this file has these settings.
        UnsupportedModel: the model is private, or cannot be wrapped.
        ValueError: the proof's set-up is not on this machine.
    """
    visibility = visibility_of(proof.scheme)
    if visibility is None:
        raise MalformedProof(f"scheme {proof.scheme[:80]!r} is not one of this ezkl version")
    if visibility.model == "private":
        raise UnsupportedModel("a private model's identity cannot be made again without its salt: pin it with 0x…")
    payload = Payload.from_bytes(proof.payload)
    statement = Statement.read(payload.wrapper, payload.settings, visibility)
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


def _setup_file(tau_g2: bytes, log_rows: int, root: Path) -> Path:
    """The set-up a proof was made under, from the verifier's own cache."""
    try:
        wanted = "0x" + srs.setup_id(tau_g2).hex()
    except ValueError as error:
        raise MalformedProof(f"the set-up: {error}") from None
    if wanted == "0x" + srs.TEST_SETUP_ID.hex():
        return Path(srs.make_test_setup(log_rows, root).path)
    for record in srs.list_files(root):
        if record.setup_id == wanted and record.log_rows >= log_rows:
            return Path(record.path)
    raise ValueError(f"the proof's set-up {wanted} is not on this machine for 2^{log_rows} rows: `vml srs import` it")
