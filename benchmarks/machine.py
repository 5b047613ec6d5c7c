"""Where and with what a measurement was made: a part of every result."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def processor() -> str:
    """The processor's model name, as the operating system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(packages: Sequence[str]) -> dict[str, Any]:
    """Cores, processor, versions and the UTC date.

    Args:
        packages: distributions whose versions matter to the measurement.
    """
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in sorted(packages)},
        },
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def publish(name: str, packages: Sequence[str], measured: Mapping[str, Any]) -> None:
    """Write `results/NAME.json` and print it.

    Args:
        name: the benchmark's name.
        packages: as for `describe`.
        measured: everything else the result holds.
    """
    result = {"benchmark": name, "machine": describe(packages), **measured}
    text = json.dumps(result, indent=2) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
    print(text, end="")
