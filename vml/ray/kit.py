"""What travels to a node once: model and keys as bytes. No node shares a file system with the caller."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from vml import cache, files
from vml.backends.types import Keys, Visibility
from vml.errors import ProvingError, UnsupportedModel
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.model import Model

MAX_FILE_BYTES = 8 << 30
OPENINGS = "openings"
"""Secrets of earlier proofs, which stay where they are."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Kit:
    """Everything a process needs to prove one model in one way.

    Args:
        name: 64 hex digits, of model, backend and keys: processes with the same name serve the same proofs.
        version: of vml, which has to be the node's.
        keys: without what is the caller's own (folder, loaded model).
        visibility: what the proofs hide.
        model: the compiled folder's files, by name.
        key_folder: name of the keys' folder in the cache; None where there is none.
        key_files: its files, by path inside it.
    """

    name: str
    version: str
    keys: Keys
    visibility: Visibility
    model: Mapping[str, Bytes]
    key_folder: str | None
    key_files: Mapping[str, Bytes]

    def unpack_model(self) -> Model:
        """The model, loaded from a folder that is gone again, and believed as little as any other.

        Raises:
            UnsupportedModel: damaged on the way, or another one.
        """
        from vml.model import Model

        with tempfile.TemporaryDirectory(prefix="vml-ray-") as folder:
            _write(Path(folder), self.model)
            model = replace(Model.load(folder), folder=None)
        return model

    def unpack_keys(self, model: Model) -> Keys:
        """The keys, in this node's cache under the name they have in the caller's.

        Keys that lie there already are used: they are made of the same model, and the caller compares every claim.
        """
        if self.key_folder is None:
            return replace(self.keys, compiled=model)
        place = cache.folder() / self.keys.backend / self.key_folder
        with cache.lock(place.parent, place.name):
            if not place.is_dir():
                with files.folder_atomic(place) as out:
                    _write(out, self.key_files)
        return replace(self.keys, compiled=model, directory=place)


def pack(model: Model, keys: Keys, visibility: Visibility) -> Kit:
    """Model and keys, ready to travel.

    Args:
        model: compiled; saved or not.
        keys: of `vml.setup`, made on this machine.
        visibility: that of the keys.

    Raises:
        ValueError: the keys sign with a secret, which never travels.
        ProvingError: a file is too large.
        OSError: a file cannot be read.
    """
    if keys.asserting is not None and keys.asserting.sign is not None:
        raise ValueError("the key that signs an assertion does not travel: prove with --executor local")
    named = b"".join(
        part.encode() if isinstance(part, str) else part
        for part in (keys.scheme, str(visibility), keys.model, model.commitment, keccak256(keys.verifying_key))
    )
    # Asserting and attesting say where and by whom, so that other places are other kits.
    named += repr((keys.asserting, keys.attesting)).encode()
    with tempfile.TemporaryDirectory(prefix="vml-ray-") as scratch:
        folder = Path(scratch) / "model.vml"
        model.save(folder)
        packed = _read(folder)
    return Kit(
        name=keccak256(named).hex(),
        version=version("vml"),
        keys=replace(keys, compiled=None, directory=None),
        visibility=visibility,
        model=packed,
        key_folder=None if keys.directory is None else keys.directory.name,
        key_files={} if keys.directory is None else _read(keys.directory),
    )


def require_version(kit: Kit) -> None:
    """Raise UnsupportedModel where this machine has another vml than the caller."""
    if kit.version != version("vml"):
        raise UnsupportedModel(f"this node has vml {version('vml')}, the caller has {kit.version}: install the same")


def _read(folder: Path) -> dict[str, Bytes]:
    """The files below a folder, without openings, locks and links."""
    found: dict[str, Bytes] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts) or inside.parts[0] == OPENINGS
        if hidden or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ProvingError(f"{path} is too large to travel ({path.stat().st_size} bytes)")
        found[inside.as_posix()] = np.fromfile(path, dtype=np.uint8)
    return found


def _write(folder: Path, contents: Mapping[str, Bytes]) -> None:
    for name, data in contents.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{name!r} is not a plain path")
        path = folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        data.tofile(path)
