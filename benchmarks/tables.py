"""Put the figures of ``results/*.json`` into the pages that quote them.

Run: ``python -m benchmarks.tables [--check]``. Every page marks the place with
``<!-- benchmarks.tables NAME: start -->`` and ``end``; with ``--check`` nothing is written and a stale page
is an error, so no figure in a page is ever typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import tables_chain, tables_dispute, tables_serve, tables_sumcheck

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = (
    HERE / "README.md",
    ROOT / "docs" / "contracts-ezkl.md",
    ROOT / "docs" / "dispute-performance.md",
    ROOT / "docs" / "models.md",
    ROOT / "docs" / "serve.md",
    ROOT / "docs" / "serve-jobs.md",
    ROOT / "docs" / "sumcheck-performance.md",
    ROOT / "README.md",
)
OTHERS = {**tables_sumcheck.TABLES, **tables_chain.TABLES, **tables_dispute.TABLES, **tables_serve.TABLES}
"""Tables of other modules: name to the result they show, and how."""

BUSY_LOAD = 1.0
BLOCK = re.compile(r"(<!-- benchmarks\.tables (\w+): start -->\n)(.*?)(<!-- benchmarks\.tables \2: end -->)", re.S)


def measured_on(result: dict[str, Any]) -> str:
    """One sentence: where and with what."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = result.get("load_average", 0.0)
    busy = f" Other work ran meanwhile: the load average was {load:g} before." if load > BUSY_LOAD else ""
    return f"Measured on {machine['date']}, {machine['cores']} cores ({machine['processor']}); {versions}.{busy}"


def resnet50(result: dict[str, Any]) -> str:
    """The executor against onnxruntime."""
    ours, theirs = result["executor_cpu_ms"], result["onnxruntime_cpu_ms"]
    return (
        "| | onnxruntime | vml executor | ratio | best pair | worst pair |\n|---|---:|---:|---:|---:|---:|\n"
        f"| wall time, median | {result['onnxruntime_ms']:.0f} ms | {result['executor_ms']:.0f} ms "
        f"| **{result['ratio_median']:.2f}** | {result['ratio_best']:.2f} | {result['ratio_worst']:.2f} |\n"
        f"| processor time, median | {theirs:.0f} ms | {ours:.0f} ms | {ours / theirs:.2f} | | |\n\n"
        f"{measured_on(result)}\n"
    )


def magika(result: dict[str, Any]) -> str:
    """Agreement of the integer model with onnxruntime, and what ezkl answers."""
    files, agreement, seconds = result["files"], result["agreement"], result["seconds"]
    lines = [
        "| | |",
        "|---|---:|",
        f"| test files ({files['labels_seen']} different answers) | {files['test']} |",
        f"| calibration files (others) | {files['calibration']} |",
        f"| same first answer as onnxruntime | **{agreement['top1']:.2%}** |",
        f"| the same, files onnxruntime is sure of (score ≥ 0.5; {agreement['confident_files']} files) "
        f"| {agreement['top1_where_confident']:.2%} |",
        f"| largest difference of a probability | {agreement['max_probability_difference']:g} |",
        f"| a file's largest difference: mean / 99th percentile "
        f"| {agreement['mean_of_largest_difference']:g} / {agreement['p99_of_largest_difference']:g} |",
        f"| time a file: onnxruntime / vml | {seconds['onnxruntime_a_file'] * 1e3:.1f} ms "
        f"/ {seconds['vml_a_file'] * 1e3:.0f} ms |",
    ]
    for what in ("disagreements", "largest_differences"):
        for file in result[what]:
            (label, score), (other, other_score) = file["onnxruntime"], file["vml"]
            which = what[:-1].replace("_", " ")
            lines.append(f"| {which}: `{file['file']}` | {label} {score:.3f} → {other} {other_score:.3f} |")
    if "ezkl" in result:
        lines += ["", "| what ezkl is given | what it answers | after |", "|---|---|---:|"]
        for answer in result["ezkl"]:
            said = f"`{answer['refused']}`" if "refused" in answer else f"{answer['rows']} rows"
            lines.append(f"| {answer['model']} | {said} | {answer['seconds']:g} s |")
    return "\n".join([*lines, "", measured_on(result), ""])


def ezkl_overhead(result: dict[str, Any]) -> str:
    """What vml adds to ezkl."""
    lines = [
        "| model | ezkl by hand | through vml | ratio (median of pairs) | the same in processor time |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in result["models"].items():
        lines.append(
            f"| `{name}`, 2^{row['log_rows']} rows | {row['by_hand_s']:.2f} s | {row['through_vml_s']:.2f} s "
            f"| **{row['ratio_median']:.3f}** | {row['cpu_ratio_median']:.3f} |"
        )
    return "\n".join([*lines, "", measured_on(result), ""])


def ezkl_autotune(result: dict[str, Any]) -> str:
    """The tuner against ezkl's own calibration."""
    kinds = {
        "ezkl_default": "ezkl's calibration",
        "tuned_same_error": "tuned, no larger error",
        "tuned_2_percent": "tuned, within 2 % of the largest output",
    }
    lines = [
        "| model | settings | rows | proving key | largest error | prove | search |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in result["models"].items():
        for kind, label in kinds.items():
            row = found[kind]
            if "prove_s" in row:
                key, prove = f"{row['key_bytes'] / 1e6:.1f} MB", f"{row['prove_s']:.1f} s"
            else:
                key, prove = f"{row['predicted_key_bytes'] / 1e6:.1f} MB (predicted)", "not run"
            lines.append(
                f"| `{name}` | {label} | 2^{row['log_rows']} | {key} | {row['error']:.2g} | {prove} "
                f"| {row['search_s']:.1f} s |"
            )
    return "\n".join([*lines, "", measured_on(result), ""])


def cli_startup(result: dict[str, Any]) -> str:
    """Whole processes of the command line."""
    lines = ["| command | wall, median | wall, best | processor | aim |", "|---|---:|---:|---:|---:|"]
    for name, case in result["cases"].items():
        aim = f"{result['limits_s'][name]:g} s" if name in result["limits_s"] else ""
        lines.append(
            f"| {name} | {case['wall_s']:.2f} s | {case['best_wall_s']:.2f} s | {case['cpu_s']:.2f} s | {aim} |"
        )
    return "\n".join([*lines, "", measured_on(result), ""])


def commitment(result: dict[str, Any]) -> str:
    """Bytes of tensor data committed a second."""
    lines = ["| tensor | path | MB/s | MB per processor second |", "|---|---|---:|---:|"]
    for row in result["rows"]:
        lines.append(
            f"| {row['dtype']}, {row['bytes'] / 1e6:.0f} MB | {row['path']} | {row['mb_per_s']:.0f} "
            f"| {row['mb_per_cpu_s']:.0f} |"
        )
    return "\n".join([*lines, "", measured_on(result), ""])


def summary(_: dict[str, Any]) -> str:
    """The front page: one line a figure, each with the command that measures it."""
    tuned, startup = _load("ezkl_autotune")["models"], _load("cli_startup")["cases"]
    gains = [
        m["ezkl_default"]["prove_s"] / m["tuned_same_error"]["prove_s"]
        for m in tuned.values()
        if "prove_s" in m["ezkl_default"] and "prove_s" in m["tuned_same_error"]
    ]
    overheads = [model["ratio_median"] for model in _load("ezkl_overhead")["models"].values()]
    largest = max(_load("commitment")["rows"], key=lambda row: (row["bytes"], row["mb_per_s"]))
    claims, gas, served = _load("dispute"), _load("dispute_gas"), _load("serve")
    native, peer = _load("sumcheck"), _load("sumcheck_ezkl")["runs"]["tuned"]
    aims = {(row["network"], row["what"]): row for row in native["targets"]}

    def aimed(network: str, what: str, title: str) -> tuple[str, str, str, str]:
        row = aims[network, what]
        shown = (tables_sumcheck.quantity(what, row[number]) for number in ("measured", "target"))
        return (f"sumcheck: {title}", *shown, "sumcheck")

    rows = [
        aimed("lenet5", "prove_s", "prove LeNet-5"),
        aimed("lenet5", "verify_s", "verify it"),
        aimed("lenet5", "proof_bytes", "size of that proof"),
        aimed("lenet5", "peak_bytes", "peak memory of that proof"),
        aimed("dense4m", "prove_s", "prove a dense network of 4 million weights"),
        aimed("resnet8", "prove_s", "prove MLPerf Tiny's ResNet-8"),
        aimed("mobilenet025", "prove_s", "prove MLPerf Tiny's MobileNet-v1-0.25"),
        (
            "sumcheck against ezkl (tuned) proving LeNet-5, times faster",
            f"{peer['times_faster']:.0f}",
            "100",
            "sumcheck_ezkl",
        ),
        (
            "optimistic: what a claim adds to a ResNet-50 inference",
            f"{claims['networks']['resnet50']['overhead']['claim_overhead']:.2%}",
            "3%",
            "dispute",
        ),
        (
            "optimistic: gas of a whole dispute about LeNet-5, both sides, the dearest of all its operators",
            f"{tables_dispute.dearest(gas, 'lenet5', 'all') / 1e6:.2f} M",
            "3 M",
            "dispute_gas --every",
        ),
        (
            "optimistic: gas of proving the same lie in one transaction",
            f"{tables_dispute.dearest(gas, 'lenet5', 'fraud') / 1e6:.2f} M",
            "1.5 M",
            "dispute_gas --every",
        ),
        (
            "`vml serve`: what claim, receipt and log entry add to an answer, median",
            f"{served['overhead']['overhead_p50_ms']:.1f} ms",
            "3 ms",
            "serve",
        ),
        (
            "`vml serve`: answers with claims a second, digits-cnn",
            f"{served['throughput']['requests_per_s']:.0f}",
            "300",
            "serve",
        ),
        (
            "executor on a ResNet-50-sized graph, times onnxruntime",
            f"{_load('resnet50')['ratio_median']:.1f}",
            "7",
            "resnet50",
        ),
        ("commitment of a 128 MB tensor", f"{largest['mb_per_s']:.0f} MB/s", "300 MB/s", "commitment"),
        (
            "`vml verify` of a small ezkl proof, whole process",
            f"{startup['verify']['wall_s']:.2f} s",
            "1.5 s",
            "cli_startup",
        ),
        ("`vml --help`", f"{startup['help']['wall_s']:.2f} s", "0.4 s", "cli_startup"),
        (
            f"ezkl through vml, times ezkl by hand ({len(overheads)} models)",
            f"{min(overheads):.2f} to {max(overheads):.2f}",
            "1.10",
            "ezkl_overhead",
        ),
        (
            f"proving after vml's tuner, times faster than ezkl's calibration, no larger error ({len(gains)} models)",
            f"{min(gains):.0f} to {max(gains):.0f}",
            "1",
            "ezkl_autotune",
        ),
        ("magika, same first answer as onnxruntime", f"{_load('magika')['agreement']['top1']:.1%}", "", "magika"),
    ]
    lines = ["| what | measured | target | command |", "|---|---:|---:|---|"]
    lines += [f"| {what} | {got} | {aim} | `python -m benchmarks.{name}` |" for what, got, aim, name in rows]
    return "\n".join([*lines, "", measured_on(_load("resnet50")), ""])


def tee(result: dict[str, Any]) -> str:
    """Evidence, receipts and imports, against what was aimed at."""
    lines = ["| check | wall, median | wall, best | processor | aim |", "|---|---:|---:|---:|---:|"]
    rows = {**result["evidence"], **{f"receipt, {name}": row for name, row in result["receipts"].items()}}
    for name, row in rows.items():
        aim = f"{row['limit_ms']:g} ms" if "limit_ms" in row else ""
        times = " | ".join(f"{row[column]:.2f} ms" for column in ("median_ms", "best_ms", "median_cpu_ms"))
        lines.append(f"| {name} | {times} | {aim} |")
    for name, row in result["imports"].items():
        times = " | ".join(f"{row[column]:.2f} s" for column in ("wall_s", "best_wall_s", "cpu_s"))
        lines.append(f"| `import {name}`, whole process | {times} | {row['limit_s']:g} s |")
    return "\n".join([*lines, "", measured_on(result), ""])


def _dated(table: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    return lambda result: f"{table(result)}\n{measured_on(result)}\n"


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "cli_startup": cli_startup,
    "commitment": commitment,
    "ezkl_autotune": ezkl_autotune,
    "ezkl_overhead": ezkl_overhead,
    "magika": magika,
    "resnet50": resnet50,
    "summary": summary,
    "tee": tee,
    **{name: _dated(table) for name, (_, table) in OTHERS.items()},
}


def _load(name: str) -> dict[str, Any]:
    """The result that a table shows; none for the summary, which reads several."""
    name = OTHERS[name][0] if name in OTHERS else name
    result: dict[str, Any] = {} if name == "summary" else json.loads((HERE / "results" / f"{name}.json").read_text())
    return result


def rendered(page: Path) -> str:
    """The page with every marked block made anew."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        return f"{match.group(1)}{TABLES[name](_load(name))}{match.group(4)}"

    return BLOCK.sub(block, page.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a page is stale")
    check = parser.parse_args().check
    stale = [page for page in PAGES if rendered(page) != page.read_text()]
    for page in stale:
        if check:
            print(f"{page} does not show its results: run python -m benchmarks.tables", file=sys.stderr)
        else:
            page.write_text(rendered(page))
    if check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
