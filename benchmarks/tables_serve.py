"""Tables of what an inference server with claims costs, and what it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def serve(result: dict[str, Any]) -> str:
    """Answers with claims beside those of a bare server."""
    cost, load, bare, pages = (result[name] for name in ("overhead", "throughput", "bare_throughput", "console"))
    aims, memory = result["targets"], load["memory_bytes"]
    warm = memory[1:]
    rows = [
        ("one request at a time, median", f"{cost['bare_p50_ms']:.2f} ms", f"{cost['claims_p50_ms']:.2f} ms", ""),
        ("the same, 99th percentile", f"{cost['bare_p99_ms']:.2f} ms", f"{cost['claims_p99_ms']:.2f} ms", ""),
        (
            "what claim, receipt and log entry add, median of pairs",
            "",
            f"**{cost['overhead_p50_ms']:.2f} ms**",
            f"{aims['overhead_ms']:g} ms",
        ),
        (
            f"answers a second, {load['connections']} connections, {load['requests']:,} requests",
            f"{bare['requests_per_s']:,.0f}",
            f"**{load['requests_per_s']:,.0f}**",
            f"{aims['requests_per_s']}",
        ),
        (
            "processor time an answer",
            f"{bare['cpu_ms_per_request']:.2f} ms",
            f"{load['cpu_ms_per_request']:.2f} ms",
            "",
        ),
        (
            "memory after a tenth of these requests, and at most after that",
            "",
            f"{warm[0] / 1e6:.1f} MB, {max(warm) / 1e6:.1f} MB",
            "flat",
        ),
        (f"a page of {pages['claims']:,} claims, the newest; from the middle", "", _pair(pages), ""),
    ]
    lines = ["| `digits-cnn` | bare onnxruntime | `vml serve` | target |", "|---|---:|---:|---:|"]
    return "\n".join([*lines, *(f"| {what} | {bare_} | {ours} | {aim} |" for what, bare_, ours, aim in rows), ""])


def _pair(pages: dict[str, Any]) -> str:
    return f"{pages['newest_ms']:.1f} ms, {pages['older_ms']:.1f} ms"


def store(result: dict[str, Any]) -> str:
    """Recording alone: answers that are durable."""
    lines = [
        "| answers at once | with a job | answers a second | median | 99th percentile |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in result["record"]:
        job = "yes" if row["jobs"] else "no"
        times = " | ".join(f"{row[name]:.1f} ms" for name in ("p50_ms", "p99_ms"))
        lines.append(f"| {row['at_once']} | {job} | {row['answers_per_s']:,} | {times} |")
    sync = result["fdatasync"]
    return "\n".join([*lines, "", f"The disk alone takes {sync['p50_ms']:.2f} ms to keep 4 KiB.", ""])


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "serve": ("serve", serve),
    "serve_store": ("serve_store", store),
}
"""Table name to the result it shows, and how."""
