"""How far a backend with arithmetic of its own is from the answer that was given: its outputs beside the answered ones.

A proof of such a backend is about a claim of its own. This comparison is the server's word; whoever verifies the proof
sees its outputs and compares them himself.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from vml import canonical
from vml.errors import MalformedProof
from vml.proof import Proof
from vml.serve.records import ClaimRecord, ProofRecord

Array = np.ndarray[Any, np.dtype[np.float64]]


def max_difference(answered: ClaimRecord, proved: ProofRecord) -> float | None:
    """The largest absolute difference between outputs as answered and as proved.

    Args:
        answered: the claim, with its outputs where they are kept.
        proved: its proof.

    Returns:
        0.0 where the proof is about the very claim; None where the outputs are not kept, not shown, or of another form.
    """
    if answered.digest in proved.claims:
        return 0.0
    if not answered.outputs:
        return None
    try:
        here = _values(canonical.decode(answered.outputs, max_bytes=len(answered.outputs)))
        there = _values(Proof.from_bytes(proved.data).public.get("output", ()))
    except (MalformedProof, ValueError, KeyError, TypeError):
        return None
    if not here or [item.shape for item in here] != [item.shape for item in there]:
        return None
    return max(float(np.abs(one - other).max()) for one, other in zip(here, there, strict=True))


def _values(entries: Any) -> list[Array]:
    """The numbers of tensors as a public section shows them, in order, flat."""
    found = []
    for entry in entries:
        scale = entry["scale"]
        if "codes" in entry:
            (text,) = entry["codes"]
            codes = np.frombuffer(base64.b64decode(text), np.dtype(entry["dtype"]).newbyteorder(">"))
            found.append(codes.astype(np.float64) * float(int(scale[1])) / float(int(scale[0])))
        else:
            found.append(np.array(entry["values"], dtype=np.float64) / 2.0 ** int(scale))
    return found
