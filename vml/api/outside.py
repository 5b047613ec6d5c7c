"""What a verifier brings from outside where a backend decides by it: a chain to read, the model to run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vml.api.models import ModelLike, load_model
from vml.backends.types import Capabilities, ChainView, Progress
from vml.errors import BackendUnavailable

if TYPE_CHECKING:
    from vml.chain.client import Chain
    from vml.model import Model


class _NodeView:
    """A chain seen through one node, read only."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.chain_id: int = chain.chain_id

    def call(self, to: str, data: bytes) -> bytes:
        from vml.chain.rpc import Refused, reverted

        try:
            return self._chain.rpc.data("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
        except Refused as refused:
            raise reverted(refused, f"a call to {to}", []) from None


def chain_view(rpc: str) -> ChainView:
    """The chain behind an address, for `Environment.chain`.

    Args:
        rpc: http:// or https:// address of a node.

    Raises:
        BackendUnavailable: the extra ``chain`` is not installed.
        ChainError: nobody answers.
        ValueError: the address is none.
    """
    try:
        from vml.chain.client import connect
    except ImportError as error:
        raise BackendUnavailable(f"{error.name or error} is missing: pip install 'vml[chain]'") from error
    return _NodeView(connect(rpc))


def held_model(
    model: ModelLike | bytes | frozenset[bytes], able: Capabilities, *, progress: Progress | None = None
) -> Model | None:
    """The model that a verifier holds, where a proof's backend runs it again.

    Args:
        model: as for `vml.verify`; an identity is no model, an .onnx file is no exact one.
        able: what the backend can do.
        progress: called with a stage and the fraction of it that is done.

    Returns:
        None where there is none, or the backend does not ask for it.

    Raises:
        UnsupportedModel: the folder is damaged.
        BackendUnavailable: reading a compiled folder needs the extra ``compile``.
    """
    if not able.recomputes:
        return None
    if isinstance(model, bytes | frozenset) or (isinstance(model, str) and model[:2] in ("0x", "0X")):
        return None
    if isinstance(model, str | os.PathLike) and not Path(model).is_dir():
        return None
    return load_model(model, progress=progress)
