"""Pages that quote measurements quote the committed results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pages_show_the_committed_results() -> None:
    command = [sys.executable, "-m", "benchmarks.tables", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_result_says_where_and_with_what_it_was_measured() -> None:
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert results
    for path in results:
        result = json.loads(path.read_text())
        assert result["benchmark"] == path.stem
        assert set(result["machine"]) == {"cores", "processor", "memory_gib", "system", "versions", "date"}
