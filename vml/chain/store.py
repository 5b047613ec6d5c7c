"""Generated verifiers in vml's cache: made once a model, found by the identity that a proof claims."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from vml import cache, files
from vml.backends.ezkl import setup
from vml.backends.types import Progress
from vml.chain import solc
from vml.chain.generate import FORMAT, FORMS, Generated, generate, load

KIND = "contracts"
_FORM = FORMAT.rpartition("/")[2]


def place(model: bytes, reusable: bool) -> Path:
    """Where the verifier of a model is kept."""
    name = f"{model.hex()}-{FORMS[reusable]}-{_FORM}-{solc.VERSION}"
    return cache.folder() / KIND / name


def kept(model: bytes) -> Generated | None:
    """The verifier of a model: the one for one circuit if both are there, None if neither is.

    Raises:
        ChainError: it is damaged.
    """
    for reusable in (False, True):
        folder = place(model, reusable)
        if folder.is_dir():
            return load(folder)
    return None


def is_own(given: Generated, model: bytes) -> bool:
    """Whether a verifier is one that was generated here for the model: whoever sends one may send one that likes
    every proof."""
    folder = place(model, bool(given.vka))
    if not folder.is_dir():
        return False
    own = load(folder)
    return (own.creation, own.vka, own.code_hash, own.layout) == (
        given.creation,
        given.vka,
        given.code_hash,
        given.layout,
    )


def obtain(circuit: setup.Circuit, *, reusable: bool = False, progress: Progress | None = None) -> Generated:
    """The verifier of a circuit, from the cache or generated into it.

    Raises:
        BackendUnavailable: ezkl, Node or the compiler is missing, and it is not in the cache.
        ProvingError, ChainError: as `vml.chain.generate.generate`.
    """
    folder = place(circuit.identity, reusable)
    with cache.lock(folder.parent, folder.name):
        if folder.is_dir():
            return load(folder)
        return generate(circuit, folder, reusable=reusable, progress=progress)


def circuit_of(model: bytes) -> setup.Circuit | None:
    """The keys of a model in the cache, by its identity; None if there are none.

    Raises:
        ProvingError: they are damaged.
    """
    root = cache.folder() / "ezkl"
    for meta in sorted(root.glob("*/meta.json")):
        try:
            found = json.loads(meta.read_bytes()).get("identity")
        except (OSError, ValueError, AttributeError):
            continue
        if found == model.hex():
            return setup.load(meta.parent)
    return None


def copy(generated: Generated, target: Path) -> Generated:
    """Write a generated verifier to a folder of the user's.

    Raises:
        FileExistsError: other things are in it.
        OSError: it cannot be written.
    """
    own = {"manifest.json", "bytecode", "abi.json", "vka", f"{generated.manifest['name']}.sol"}
    if target.is_dir():
        foreign = sorted(entry.name for entry in target.iterdir() if entry.name not in own)
        if foreign:
            raise FileExistsError(
                f"{target} holds {foreign[0]}, which is no part of a generated verifier; choose another folder"
            )
    with files.folder_atomic(target) as out:
        for name in own:
            if (generated.folder / name).is_file():
                shutil.copyfile(generated.folder / name, out / name)
    return load(target)
