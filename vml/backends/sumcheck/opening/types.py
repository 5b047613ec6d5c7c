"""What an opening is about, and what its proof consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vml.field.goldilocks import TWO_ADICITY, Ext

Round: TypeAlias = tuple[Ext, Ext]
"""g(0), g(2)."""
Path: TypeAlias = tuple[bytes, ...]
"""The siblings of a leaf, its own first, up to the children of the cap."""

MIN_LOG_COLS = 4
MAX_LOG_ROWS = 32


@dataclass(frozen=True)
class OpeningShape:
    """Two matrices of 2^log_cols columns over the base field, one fixed in set-up, one of this proof.

    Args:
        fixed_rows: rows of the fixed matrix, at least 1 (a row of zeros where nothing is fixed).
        witness_rows: rows of the witness matrix, at least 1.
        log_cols: logarithm of the columns, at least MIN_LOG_COLS.

    Raises:
        ValueError: out of range.
    """

    fixed_rows: int
    witness_rows: int
    log_cols: int

    def __post_init__(self) -> None:
        if not (1 <= self.fixed_rows <= 1 << MAX_LOG_ROWS and 1 <= self.witness_rows <= 1 << MAX_LOG_ROWS):
            raise ValueError(f"a matrix has 1 to 2^{MAX_LOG_ROWS} rows: {self.fixed_rows}, {self.witness_rows}")
        if not MIN_LOG_COLS <= self.log_cols <= TWO_ADICITY:
            raise ValueError(f"log_cols is {MIN_LOG_COLS} to {TWO_ADICITY}, not {self.log_cols}")

    @property
    def row_vars(self) -> int:
        """Variables that number the rows of either matrix; rows that it does not have are zero."""
        return (max(self.fixed_rows, self.witness_rows) - 1).bit_length()

    @property
    def log_final(self) -> int:
        """Logarithm of the columns of the second level, whose combined row is sent in the clear."""
        return min(self.log_cols, -(-self.log_cols // 2) + 2)

    @property
    def level2_vars(self) -> int:
        """Variables that number the rows of the second level; zero where it has one row."""
        return self.log_cols - self.log_final

    @property
    def rounds(self) -> int:
        """Rounds of the sumcheck: rows, selector, columns."""
        return self.row_vars + 1 + self.log_cols

    def to_bytes(self) -> bytes:
        """20 bytes for the transcript: rows u64 each, log_cols u32, big-endian."""
        rows = self.fixed_rows.to_bytes(8, "big") + self.witness_rows.to_bytes(8, "big")
        return rows + self.log_cols.to_bytes(4, "big")


@dataclass(frozen=True)
class OpeningProof:
    """Plain numbers and bytes. Columns and paths stand in ascending order of the distinct indices asked for.

    Args:
        level2_cap: the cap over the second level's codeword.
        rounds: one for each variable, in binding order.
        message: the second level's rows combined, 2^log_final elements.
        fixed_columns, fixed_paths: columns of the fixed matrix's codeword, and why they are in its cap.
        witness_columns, witness_paths: the same of the witness.
        level2_columns, level2_paths: the same of the second level, whose entries are extension elements.
    """

    level2_cap: bytes
    rounds: tuple[Round, ...]
    message: tuple[Ext, ...]
    fixed_columns: tuple[tuple[int, ...], ...]
    fixed_paths: tuple[Path, ...]
    witness_columns: tuple[tuple[int, ...], ...]
    witness_paths: tuple[Path, ...]
    level2_columns: tuple[tuple[Ext, ...], ...]
    level2_paths: tuple[Path, ...]
