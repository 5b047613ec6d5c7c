"""Which model identities a verifier accepts: what it was told, or what it finds in its own copy of the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vml.api.models import ModelLike
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import Progress, SetupOptions
from vml.claim import parse_bytes32
from vml.identities import read_identities

if TYPE_CHECKING:
    from vml.proof import Proof


def accepted_models(
    model: ModelLike | bytes, proof: Proof | None = None, *, progress: Progress | None = None
) -> frozenset[bytes]:
    """The model identities a verifier accepts.

    Args:
        model: 32 bytes; "0x" and 64 hex digits; a compiled folder or a `Model`; or an .onnx file.
        proof: whose identity is to be made again from an .onnx file; needed for that only.
        progress: as for `compile`; making an identity again takes a set-up.

    Returns:
        The identity that was given; for a compiled model its exact commitment and the identities that set-ups
        recorded in its folder; for an .onnx file, or a model without a folder, what the backend makes of it.

    Raises:
        ValueError: not such a thing, or the folder's record is damaged.
        UnsupportedModel: the folder or the .onnx file is damaged.
        OSError: it cannot be read.
    """
    if isinstance(model, bytes):
        return frozenset({model})
    if model == "":
        raise ValueError("an empty name is no model; it would mean the current folder")
    if isinstance(model, str) and model[:2] in ("0x", "0X"):
        return frozenset({parse_bytes32(model)})
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if not path.exists():
            raise FileNotFoundError(
                2, "no such model (a compiled folder, an .onnx file, or 0x and 64 digits)", str(path)
            )
        if not path.is_dir():
            return frozenset({_identity_of_file(path, proof, progress)})
        recorded = recorded_identities(path)
        # The exact commitment is recomputed from the graph, which is needless where a record fits already.
        if proof is not None and all(claim.model in recorded for claim in proof.claims):
            return recorded
        from vml.model import Model

        return recorded | {Model.read_commitment(path)}
    accepted = frozenset({model.commitment})
    if model.folder is not None:
        return accepted | recorded_identities(model.folder)
    if proof is None or all(claim.model in accepted for claim in proof.claims) or _is_exact(proof):
        return accepted
    return accepted | {_identity(model.source, proof, progress)}


def recorded_identities(folder: str | os.PathLike[str]) -> frozenset[bytes]:
    """The identities that set-ups of every backend recorded in a compiled folder.

    Raises:
        ValueError: the record is damaged, or is a link.
        OSError: the folder cannot be read.
    """
    return frozenset(entry.model for entry in read_identities(folder))


def _identity_of_file(path: Path, proof: Proof | None, progress: Progress | None) -> bytes:
    """The identity that a proof must claim to be about an .onnx file."""
    if proof is None:
        raise ValueError(f"{path}: the identity of an .onnx file depends on the proof; use a compiled folder")
    if _is_exact(proof):
        raise ValueError(
            f"{path}: a {proof.backend} proof is about the exact integer model, which follows from the file and its "
            "calibration; give the compiled folder (vml compile, or from whoever compiled it) or its 0x commitment"
        )
    from vml.model.importer import import_model

    return _identity(import_model(path).proto.SerializeToString(deterministic=True), proof, progress)


def _is_exact(proof: Proof) -> bool:
    """Whether the proof's model is the commitment of a compiled model, which no .onnx file gives by itself."""
    able = get_backend(backend_of_scheme(proof.scheme)).capabilities()
    return able.exact and proof.scheme not in able.from_source


def _identity(source: bytes, proof: Proof, progress: Progress | None) -> bytes:
    """Have the proof's backend make the identity of a model again, from nothing but the model."""
    backend = get_backend(backend_of_scheme(proof.scheme))
    backend.available()
    return backend.recompute(source, proof, SetupOptions(progress=progress))
