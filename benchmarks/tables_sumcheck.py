"""Tables of the native prover's figures; `benchmarks.tables` puts them into pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

UNITS = {"prove_s": "prove", "setup_s": "set-up", "verify_s": "verify", "peak_bytes": "memory", "proof_bytes": "proof"}
STAGES_SHOWN = 8


def three(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def seconds(value: float) -> str:
    """In milliseconds below a second."""
    return f"{three(value)} s" if value >= 0.9995 else f"{three(value * 1e3)} ms"


def size(value: float) -> str:
    """In kB or MB."""
    return f"{three(value / 1e6)} MB" if value >= 999_500 else f"{three(value / 1e3)} kB"


def quantity(name: str, value: float) -> str:
    return seconds(value) if name.endswith("_s") else size(value)


def figures(row: dict[str, Any]) -> dict[str, float]:
    """What one network took."""
    return {
        "setup_s": row["setup"]["median_s"],
        "prove_s": row["prove"]["median_s"],
        "verify_s": row["verify"]["median_s"],
        "proof_bytes": row["prove"]["proof_bytes"],
        "peak_bytes": max(row["prove"]["peak_bytes"], row["setup"]["peak_bytes"]),
    }


def networks(result: dict[str, Any]) -> str:
    """Every network."""
    lines = [
        "| network | weights | activations | set-up | prove | verify | proof | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["networks"].items():
        got = figures(row)
        cells = [quantity(what, got[what]) for what in ("setup_s", "prove_s", "verify_s", "proof_bytes", "peak_bytes")]
        lines.append(f"| `{name}` | {row['weights']:,} | {row['activations']:,} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def targets(result: dict[str, Any]) -> str:
    """What was aimed at, and by how much it was missed."""
    lines = ["| network | what | measured | target | |", "|---|---|---:|---:|---|"]
    for row in result["targets"]:
        measured, target = quantity(row["what"], row["measured"]), quantity(row["what"], row["target"])
        verdict = "met" if row["met"] else f"**missed by {row['measured'] / row['target'] - 1:.0%}**"
        if "where" in row:
            verdict += ": " + ", ".join(f"{stage} {seconds(spent)}" for stage, spent in row["where"].items())
        lines.append(f"| `{row['network']}` | {UNITS[row['what']]} | {measured} | {target} | {verdict} |")
    first = result["first_run"]
    verdict = "met" if first["extra_s"] <= first["target_s"] else "**missed**"
    lines.append(
        f"| `{first['network']}` | first run, extra | {seconds(first['extra_s'])} | {seconds(first['target_s'])} "
        f"| {verdict} |"
    )
    return "\n".join([*lines, ""])


def profile(result: dict[str, Any]) -> str:
    """Seconds of one proof by stage, the stages that take longest anywhere."""
    rows = {name: row["prove"]["phases_s"] for name, row in result["networks"].items()}
    stages = {stage for phases in rows.values() for stage in phases}

    def weight(stage: str) -> float:
        return max(phases.get(stage, 0.0) / sum(phases.values()) for phases in rows.values())

    shown = sorted(stages, key=lambda stage: (-weight(stage), stage))[:STAGES_SHOWN]
    rest = bool(stages - set(shown))
    lines = [
        f"| network | {' | '.join(shown)} |{' the rest |' if rest else ''}",
        f"|---|{'---:|' * (len(shown) + rest)}",
    ]
    for name, phases in rows.items():
        cells = [seconds(phases[stage]) if stage in phases else "" for stage in shown]
        if rest:
            cells.append(seconds(sum(spent for stage, spent in phases.items() if stage not in shown)))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def growth(result: dict[str, Any]) -> str:
    """Dense networks from 10^4 to 10^7 weights."""
    grown = result["growth"]
    lines = ["| weights + activations | set-up | prove | verify | proof |", "|---:|---:|---:|---:|---:|"]
    for k, numbers in enumerate(grown["numbers"]):
        cells = [seconds(grown[f"{what}_s"]["seconds"][k]) for what in ("setup", "prove", "verify")]
        lines.append(f"| {numbers:,} | {' | '.join(cells)} | {size(grown['proof_bytes'][k])} |")
    for key, label in (("slope", "exponent of growth, fitted"), ("last_decade", "the same, last factor of ten")):
        cells = [f"{grown[f'{what}_s'][key]:.2f}" for what in ("setup", "prove", "verify")]
        lines.append(f"| {label} | {' | '.join(cells)} | |")
    return "\n".join([*lines, ""])


def batches(result: dict[str, Any]) -> str:
    """One proof for several inputs."""
    lines = [
        "| inputs | prove | an input | verify | an input | proof | an input | peak memory |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["batches"]["rows"]:
        lines.append(
            f"| {row['batch']} | {seconds(row['prove_s'])} | **{seconds(row['prove_s_each'])}** "
            f"| {seconds(row['verify_s'])} | {seconds(row['verify_s_each'])} "
            f"| {size(row['proof_bytes'])} | {size(row['bytes_each'])} | {size(row['peak_bytes'])} |"
        )
    return "\n".join([*lines, ""])


def estimates(result: dict[str, Any]) -> str:
    """What `vml plan` says before, and what came out."""
    lines = [
        "| network | prove | error | set-up | error | memory | error | proof | error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["networks"].items():
        cells = []
        for what in ("prove_s", "setup_s", "memory_bytes", "proof_bytes"):
            cells += [quantity(what, row["predicted"][what]), f"{row['prediction_error'][what]:+.0%}"]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def ezkl(result: dict[str, Any]) -> str:
    """LeNet-5 under both provers."""
    titles = {"tuned": "ezkl, tuned by vml", "ezkl_default": "ezkl, its own calibration"}
    lines = [
        "| prover | largest error | set-up | prove | verify | proof | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    ratios = []
    for kind, title in titles.items():
        run = result["runs"][kind]
        if "sumcheck" not in run:
            continue
        if not ratios:
            lines.append(_prover("sumcheck", result["sumcheck_error"], run["sumcheck"]))
        lines.append(_prover(f"{title}, 2^{run['ezkl']['log_rows']} rows", run["ezkl"]["error"], run["ezkl"]))
        ratios.append(f"{run['times_faster']:,.0f} times faster than {title}")
    return "\n".join([*lines, "", f"Proving is {' and '.join(ratios)}.", ""])


def _prover(title: str, error: float, row: dict[str, Any]) -> str:
    cells = [quantity(what, row[what]) for what in ("setup_s", "prove_s", "verify_s", "proof_bytes", "peak_bytes")]
    return f"| {title} | {error:.2g} | {' | '.join(cells)} |"


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "sumcheck": ("sumcheck", networks),
    "sumcheck_targets": ("sumcheck", targets),
    "sumcheck_profile": ("sumcheck", profile),
    "sumcheck_growth": ("sumcheck", growth),
    "sumcheck_batches": ("sumcheck", batches),
    "sumcheck_estimates": ("sumcheck", estimates),
    "sumcheck_ezkl": ("sumcheck_ezkl", ezkl),
}
"""Table name to the result it shows, and how."""
