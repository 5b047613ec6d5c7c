"""Every benchmark, one after the other, then the pages: ``python -m benchmarks``.

Each runs in a process of its own, so that none inherits another's threads, caches or memory.
"""

from __future__ import annotations

import subprocess
import sys

COMMANDS = (
    ("benchmarks.commitment",),
    ("benchmarks.resnet50",),
    ("benchmarks.magika", "--ezkl"),
    ("benchmarks.cli_startup",),
    ("benchmarks.ezkl_overhead",),
    ("benchmarks.ezkl_autotune",),
    ("benchmarks.sumcheck",),
    ("benchmarks.sumcheck_ezkl", "--default"),
    ("benchmarks.dispute",),
    ("benchmarks.dispute_gas", "--every"),
    ("benchmarks.registration",),
    ("benchmarks.gas",),
    ("benchmarks.serve_store",),
    ("benchmarks.serve",),
    ("benchmarks.tables",),
)


def main() -> None:
    for module, *arguments in COMMANDS:
        print(f"# python -m {' '.join((module, *arguments))}", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
