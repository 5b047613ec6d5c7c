"""Tables of what the optimistic backend costs its players."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MEGA = 1e6
FLOOR_GAS = 40
"""A byte of calldata at the floor price of EIP-7623."""


def _ms(value: float) -> str:
    return f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _mb(value: float) -> str:
    return f"{value / MEGA:,.0f} MB" if value >= 10 * MEGA else f"{value / MEGA:.1f} MB"


def overhead(result: dict[str, Any]) -> str:
    """What claims and traces add to an inference."""
    lines = [
        "| network | weights | operators | inference | a claim adds | roots of a trace | trace published | its bytes |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, network in result["networks"].items():
        row = network["overhead"]
        lines.append(
            f"| `{name}` | {network['weights']:,} | {network['operators']} | {_ms(row['inference_ms'])} "
            f"| **{row['claim_overhead']:.2%}** | × {row['roots_ratio']:.2f} | × {row['publish_ratio']:.2f} "
            f"| {_mb(row['trace_bytes'])} |"
        )
    return "\n".join([*lines, ""])


def memory(result: dict[str, Any]) -> str:
    """Peak memory of a process that has the model loaded, by what it does."""
    lines = [
        "| network | inference | claim | roots of a trace | trace published | disputes, both sides |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, network in result["networks"].items():
        row = network["overhead"]
        cells = [row[f"{what}_peak_bytes"] for what in ("inference", "claim", "roots", "publish")]
        shown = " | ".join(_mb(cell) for cell in (*cells, network["disputes_peak_bytes"]))
        lines.append(f"| `{name}` | {shown} |")
    return "\n".join([*lines, ""])


def reach(result: dict[str, Any]) -> str:
    """Compiling, loading and registering, and the worst dispute."""
    lines = [
        "| network | compile | memory | load | nodes | descriptors | as calldata | dearest step | of | "
        "asserter moves, at most |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for name, network in result["networks"].items():
        dearest, size = network["dearest"], network["descriptor_bytes"]
        lines.append(
            f"| `{name}` | {network['compile_s']:.1f} s | {_mb(network['compile_peak_bytes'])} "
            f"| {network['overhead']['load_s']:.1f} s | {network['nodes']} | {size:,} B | {size * FLOOR_GAS:,} gas "
            f"| {dearest['step_gas']:,} gas | `{dearest['primitive']}`, {dearest['terms']:,} terms "
            f"in {dearest['leaves']} leaves | {network['asserter_moves']} |"
        )
    return "\n".join([*lines, ""])


def played(result: dict[str, Any]) -> str:
    """One dispute over each primitive of the transformer, and of each network the dearest and the longest product."""
    lines = [
        "| network | operator | primitive | elements | asserter's moves | challenger's | asserter computes "
        "| challenger computes | last step | at most |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, network in result["networks"].items():
        shown = (network["dearest"]["operator"], network["longest"])
        lines += [
            f"| `{name}` | {row['operator']}, `{row['name']}` | `{row['primitive']}` | {row['elements']:,} "
            f"| {row['asserter_moves']} | {row['challenger_moves']} | {row['asserter_s']:.1f} s "
            f"| {row['challenger_s']:.1f} s | {row['proved_gas']:,} gas | {row['step_gas']:,} gas |"
            for row in network["disputes"]
            if name == "transformer" or row["operator"] in shown
        ]
    return "\n".join([*lines, ""])


def targets(result: dict[str, Any]) -> str:
    """What was aimed at, and what came out."""
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "claim_overhead": ("a claim adds, at most", lambda x: f"{x:.2%}"),
        "peak_bytes": ("memory, compiling included, at most", _mb),
        "asserter_moves": ("asserter's moves in a dispute, at most", lambda x: f"{x:.0f}"),
        "proved_gas": ("last step over its longest product, gas", lambda x: f"{x:,.0f}"),
        "weights": ("weights, at least", lambda x: f"{x:,.0f}"),
    }
    lines = ["| network | what | measured | target | |", "|---|---|---:|---:|---|"]
    for row in result["targets"]:
        title, number = shown[row["what"]]
        met = "met" if row["met"] else "**missed**"
        lines.append(f"| `{row['network']}` | {title} | {number(row['measured'])} | {number(row['target'])} | {met} |")
    return "\n".join([*lines, ""])


def chain(result: dict[str, Any]) -> str:
    """Gas of whole transactions on a node: the happy path, the dearest dispute, the proof in one transaction."""
    lines = [
        "| model | operators | registering, once | assertion with its input | without | disputes played "
        "| dearest, both sides | asserter | challenger | answers, at most | dearest last step | in one transaction |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["models"]:
        fights = row["disputes"].values()
        worst = {key: max(fight[key] for fight in fights) for key in ("all", "asserter", "challenger", "step", "fraud")}
        answers = max(fight["asserter_moves"] for fight in fights)
        lines.append(
            f"| `{row['model']}` | {row['operators']} | {row['registration']:,} | {row['assertion']:,} "
            f"| {row['assertion_without_input']:,} | {len(fights)} | {worst['all']:,} | {worst['asserter']:,} "
            f"| {worst['challenger']:,} | {answers} | {worst['step']:,} | {worst['fraud']:,} |"
        )
    return "\n".join([*lines, ""])


def dearest(result: dict[str, Any], model: str, what: str) -> int:
    """The largest figure of a model's disputes."""
    row = next(row for row in result["models"] if row["model"] == model)
    return int(max(fight[what] for fight in row["disputes"].values()))


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "dispute_gas": ("dispute_gas", chain),
    "dispute_memory": ("dispute", memory),
    "dispute_overhead": ("dispute", overhead),
    "dispute_played": ("dispute", played),
    "dispute_reach": ("dispute", reach),
    "dispute_targets": ("dispute", targets),
}
"""Table name to the result it shows, and how."""
