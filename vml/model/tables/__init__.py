"""Canonical lookup tables: one per function, part of the semantics, never computed with libm.

==============  =====================  ==========================================  ==================
table           domain (code x)        value                                       meaning
==============  =====================  ==========================================  ==================
tanh            -32768..32767 (Q4.11)  floor(2^15 tanh(x / 2^11) + 1/2)            Q0.15, at most 32767
sigmoid         -32768..32767 (Q4.11)  floor(2^15 / (1 + exp(-x / 2^11)) + 1/2)    Q0.15, at most 32767
erf             -32768..32767 (Q4.11)  floor(2^15 erf(x / 2^11) + 1/2)             Q0.15, at most 32767
exp             -32768..0 (Q4.11)      floor(2^15 exp(x / 2^11) + 1/2)             Q0.15, at most 32767
log             0..32767 (integer)     floor(2^11 ln(x) + 1/2); x = 0: as x = 1/2  Q4.11
softplus_tail   0..32767 (Q4.11)       floor(2^15 ln(1 + exp(-x / 2^11)) + 1/2)    Q0.15
sin             -32768..32767          floor(2^15 sin(pi x / 2^15) + 1/2)          Q0.15, at most 32767
==============  =====================  ==========================================  ==================

``python -m vml.model.tables.generate`` computes them with mpmath at 60 digits; a test regenerates and compares.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class TableInfo(NamedTuple):
    """First code of a table's domain, and the tensor root of its int16 values."""

    base: int
    length: int
    root: str


TABLES: dict[str, TableInfo] = {
    "tanh": TableInfo(-32768, 65536, "9db41492353dc2234a9575390e53c775ff579d72dcd26ab08a9dbbf7cb12b8cf"),
    "sigmoid": TableInfo(-32768, 65536, "4395963b88d4894f09ca747c6ff4bb58fce959291f449f68a0f3c5a07d27fc18"),
    "erf": TableInfo(-32768, 65536, "c4d05d9386964367069350313df76e132a189fe92e1da3f1a82091b004e0928a"),
    "exp": TableInfo(-32768, 32769, "ea998a43df6d4705a56d751f5096f4962c9a968ff185d2ed1da24bbcec2ddd7e"),
    "log": TableInfo(0, 32768, "6a4b4ff58d379bf11c699257b3b3ec426c4017e1b780fb22851ef0c21dabfb4f"),
    "softplus_tail": TableInfo(0, 32768, "6aad3b8ebf50239ab5c61748e6b8ff23c2d5904b5972cb6824ff4e262dc3a8b0"),
    "sin": TableInfo(-32768, 65536, "e5baeb9c3557b07771b2ddaa6a4f8fb674ac983fa842b33a2c8da14bf0487ae1"),
}
"""Every canonical table; the roots are pinned here and bound by the semantics digest."""


@cache
def load_table(name: str) -> np.ndarray:
    """The table's values.

    Returns:
        int16[length], read-only; entry i belongs to code base + i.

    Raises:
        ValueError: the installed file is not the pinned table.
    """
    import numpy as np

    from vml.merkle import tensor_root

    with files(__package__).joinpath("canonical.npz").open("rb") as handle, np.load(handle, allow_pickle=False) as data:
        values = np.ascontiguousarray(data[name])
    if values.shape != (TABLES[name].length,) or tensor_root(values).hex() != TABLES[name].root:
        raise ValueError(f"table {name!r} as installed is not the canonical one; reinstall vml")
    values.setflags(write=False)
    return values
