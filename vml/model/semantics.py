"""The name and digest of the integer semantics: every primitive's descriptor layout and every canonical table."""

from __future__ import annotations

from functools import cache

from vml.keccak import keccak256
from vml.model.primitives import PRIMITIVES
from vml.model.tables import TABLES

SEMANTICS = "vml-int/1"


@cache
def semantics_digest() -> bytes:
    """32 bytes: keccak of a text listing the name, the primitives and fields, the tables and roots."""
    lines = [SEMANTICS]
    lines += [f"{p.kind} {p.name} {' '.join(f'{n}:{t}' for n, t in p.fields)}" for p in PRIMITIVES.values()]
    lines += [f"{name} {info.base} {info.length} {info.root}" for name, info in TABLES.items()]
    return keccak256("\n".join(lines).encode())
