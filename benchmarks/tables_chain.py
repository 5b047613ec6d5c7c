"""Tables of what contracts cost, from results measured on a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def gas(result: dict[str, Any]) -> str:
    """Whole transactions: through the router, and to the generated verifier alone."""
    forms = {"plain": "one circuit", "reusable": "all circuits"}
    lines = [
        "| model | input | verifier for | public words | proof | through the router | the verifier alone | router and "
        "adapter | code | to deploy | circuit, once |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        circuit = f"{row['vka_gas']:,}" if row["vka_gas"] else ""
        lines.append(
            f"| `{row['model']}`, 2^{row['log_rows']} rows | {row['input']} | {forms[row['form']]} "
            f"| {row['instances']} | {row['proof_bytes']:,} B "
            f"| **{row['router_gas']:,}** | {row['direct_gas']:,} | {row['overhead_gas']:+,} "
            f"| {row['code_bytes']:,} B | {row['deploy_gas']:,} | {circuit} |"
        )
    return "\n".join([*lines, "", f"Node: {result['node']}, {result['hardfork'].capitalize()} rules.", ""])


def gas_targets(result: dict[str, Any]) -> str:
    """What was aimed at, and what came out."""
    rows, aims = result["rows"], result["targets"]
    plain = [row for row in rows if row["form"] == "plain"]
    hashed = [row for row in plain if row["input"] == "hashed"]
    cells = [
        (
            f"router and adapter, dearest, up to {max(row['instances'] for row in plain)} public words",
            max(row["overhead_gas"] for row in plain),
            aims["overhead"],
        ),
        ("a small model with hashed input, cheapest", min(row["router_gas"] for row in hashed), aims["hashed"]),
        ("a small model with hashed input, dearest", max(row["router_gas"] for row in hashed), aims["hashed"]),
        ("the best form", min(row["router_gas"] for row in rows), aims["best"]),
    ]
    lines = ["| gas | measured | target | met |", "|---|---:|---:|---|"]
    lines += [f"| {what} | {got:,} | {aim:,} | {'yes' if got <= aim else '**no**'} |" for what, got, aim in cells]
    return "\n".join([*lines, ""])


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "gas": ("gas", gas),
    "gas_targets": ("gas", gas_targets),
}
"""Table name to the result it shows, and how."""
