"""What `vml tee` draws for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vml.cli.output import add, headline, printable, table

if TYPE_CHECKING:
    from vml.tee.appraise import AttestationResult


def verdict(console: Any, value: dict[str, Any], result: AttestationResult | None) -> None:
    """Say that evidence is genuine, and whether the policy accepts it."""
    if result is None:
        headline(console, "genuine", f"{value['kind']}; no policy was asked, so nothing is accepted", "yellow")
    else:
        headline(console, "accepted", f"{value['kind']}, {result.image}")
    if value["simulated"]:
        headline(console, "simulated", "no machine stands behind it, so it shows nothing", "yellow")
    second = value["second_engine"]
    if second is not None and second["disagreement"]:
        headline(console, "disagreement", f"{second['engine']}: {second['disagreement']}", "red")
    rows = table("", "")
    add(rows, "evidence", value["evidence_id"])
    for name, digits in value["measurements"].items():
        add(rows, name, digits if digits.strip("0x") else "zeros")
    for name in ("bound_digest", "nonce", "platform_id"):
        add(rows, name.replace("_", " "), value[name] or "none")
    add(rows, "debug", "yes" if value["debug"] else "no")
    if value["tcb"] is not None:
        add(rows, "tcb", ", ".join(f"{name} {_short(item)}" for name, item in value["tcb"].items()))
    if second is not None:
        add(rows, second["engine"], second["status"] or second["refused"])
    console.print(rows)
    if result is not None:
        lines(console, result.lines()[2:])
    else:
        lines(console, [f"physical adversary: {value['physical_adversary']}"])


def forecast(console: Any, value: dict[str, Any]) -> None:
    """Say when a key ends."""
    if value["simulated"]:
        headline(console, "simulated", "no machine stands behind it, so it shows nothing", "yellow")
    console.print(printable(value["forecast"]))


def simulated(console: Any, value: dict[str, Any]) -> None:
    """Say what was made, and how it has to be refused."""
    headline(console, "simulated", f"{value['kind']} in {value['out']}; it shows nothing", "yellow")
    rows = table("", "")
    add(rows, "valid at", str(value["at"]))
    add(rows, "nonce", value["nonce"])
    add(rows, "seed", value["seed"])
    if value["fault"] is not None:
        add(rows, "fault", f"{value['fault']}: refused as {value['refused_as']}")
    console.print(rows)


def lines(console: Any, texts: Iterable[str]) -> None:
    """Plain lines, of which nothing steers the terminal."""
    for text in texts:
        console.print(printable(text), soft_wrap=True)


def _short(item: Any) -> str:
    if isinstance(item, list):
        return "/".join(map(str, item)) or "none"
    return "none" if item is None else str(item)
