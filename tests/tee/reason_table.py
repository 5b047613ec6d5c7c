"""The table of codes in docs/tee.md: ``python -m tests.tee.reason_table`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from vml.tee.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs" / "tee.md"
HEAD = "| code | meaning |\n|---|---|\n"


def with_table(page: str) -> str:
    """The page with the table as it has to be; what stands before and behind it stays."""
    before, _, rest = page.partition(HEAD)
    behind = "".join(line for line in rest.splitlines(keepends=True) if not line.startswith("| `"))
    return before + HEAD + "".join(f"| `{reason}` | {reason.meaning} |\n" for reason in Reason) + behind


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
