"""Which verifying keys a verifier accepts: from its own side, never from the proof.

Some backends bind the verifying key in the model identity (`Capabilities.pinned_key` is false); then the identity is
all a verifier needs. Others commit to the weights once, in a set-up, and the key is that commitment: a prover who
chose it would choose the weights. The digests a verifier accepts come, in this order, from

1. `key`: digests, or folders that ``vml setup -o`` wrote;
2. `verifying_keys` of the policy;
3. the compiled folder, where its own ``vml setup`` or ``vml prove`` recorded them;
4. the weights of the compiled model, from which the key is made again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vml.api.keys import read_key
from vml.api.models import ModelLike, load_model
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import Progress, SetupOptions
from vml.claim import parse_bytes32
from vml.errors import BackendUnavailable
from vml.identities import read_identities

if TYPE_CHECKING:
    from vml.policy import Policy
    from vml.proof import Proof


def accepted_keys(
    model: ModelLike | bytes | frozenset[bytes],
    proof: Proof,
    *,
    key: str | os.PathLike[str] | bytes | frozenset[bytes] | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
) -> frozenset[bytes] | None:
    """The digests of the verifying keys a verifier accepts for a proof.

    Args:
        model: as for `vml.verify`; only a compiled folder or a `Model` says anything of keys.
        proof: whose backend tells if a key must be pinned; nothing else in it is believed.
        key: 32 bytes, "0x" and 64 hex digits, a folder that ``vml setup -o`` wrote, or several digests.
        policy: its `verifying_keys`.
        progress: making a key again takes a while.

    Returns:
        The digests; None where nobody named any and the backend needs none.

    Raises:
        ValueError: a key is needed and nothing says which, or `key` is no key of this proof's backend and models.
        BackendUnavailable: the key must be made again from the weights, and the software for that is missing.
        UnsupportedModel, OSError: the folder is damaged, or cannot be read.
    """
    # 1: what the verifier says
    if key is not None:
        return _named(key, proof)
    backend = get_backend(backend_of_scheme(proof.scheme))
    if not backend.capabilities().pinned_key:
        return None
    # 2: what its policy says; where that is a requirement of the whole policy, nothing else could pass
    if policy is not None and policy.verifying_keys is not None:
        return policy.verifying_keys
    vouched = frozenset[bytes]() if policy is None else policy.vouched_keys
    if isinstance(model, bytes | frozenset) or (isinstance(model, str) and model[:2] in ("0x", "0X")):
        if vouched:
            return vouched
        raise ValueError(
            f"a {proof.backend} proof is checked with a verifying key from your side, and an identity alone has none: "
            "give --key (the digest or the folder of `vml setup -o`), verifying_keys in a policy, or the compiled "
            "folder as --model"
        )
    # 3: what its own set-ups recorded
    folder = model if isinstance(model, str | os.PathLike) else model.folder
    if folder is not None and Path(folder).is_dir():
        recorded = _recorded(folder, proof)
        if recorded:
            return vouched | recorded
    # 4: its own weights
    compiled = load_model(model)
    if any(claim.model != compiled.commitment for claim in proof.claims):
        return vouched  # a proof about another model: no work is done for it, and its claims are refused
    try:
        backend.available()
        return vouched | {backend.recompute_key(compiled, SetupOptions(progress=progress))}
    except BackendUnavailable as error:
        raise BackendUnavailable(
            f"no verifying key is recorded for this model, and making it again from the weights needs more ({error}); "
            "or give --key: the digest or the folder of `vml setup -o`"
        ) from error


def _named(key: str | os.PathLike[str] | bytes | frozenset[bytes], proof: Proof) -> frozenset[bytes]:
    """Digests that a verifier names."""
    if isinstance(key, frozenset):
        if any(not isinstance(digest, bytes) or len(digest) != 32 for digest in key):
            raise ValueError("digests of verifying keys are 32 bytes each")
        return key
    if isinstance(key, bytes):
        return _named(frozenset({key}), proof)
    if not isinstance(key, str | os.PathLike):
        raise TypeError("a key is 32 bytes, a text with 0x and 64 hex digits, or a folder")
    if isinstance(key, str) and key[:2] in ("0x", "0X"):
        return frozenset({parse_bytes32(key)})
    record = read_key(key)
    if record.get("scheme") != proof.scheme:
        raise ValueError(f"the key in {os.fspath(key)} is for {record.get('scheme')}, the proof is {proof.scheme}")
    return frozenset({parse_bytes32(str(record["vk_digest"]))})


def _recorded(folder: str | os.PathLike[str], proof: Proof) -> frozenset[bytes]:
    """Digests that set-ups of the proof's scheme recorded in a folder for its models."""
    models = {claim.model for claim in proof.claims}
    return frozenset(
        entry.vk_digest
        for entry in read_identities(folder)
        if entry.vk_digest is not None and entry.scheme == proof.scheme and entry.model in models
    )
