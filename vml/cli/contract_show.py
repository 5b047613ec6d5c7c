"""What `vml contract` draws for people."""

from __future__ import annotations

from typing import Any

from vml.cli.output import add, headline, seconds, size, table


def generated(console: Any, value: dict[str, Any]) -> None:
    """Say what was generated."""
    headline(console, "generated", f"{value['out']} after {seconds(value['seconds'])}")
    rows = table("", "")
    add(rows, "model", value["model"])
    add(rows, "scheme", f"{value['scheme']} (selector {value['selector']})")
    forms = {"plain": "for this circuit alone", "reusable": "for all circuits; this one's data apart"}
    add(rows, "form", forms[value["form"]])
    add(rows, "code", f"{value['code_bytes']} bytes of {value['code_limit']} allowed")
    if value["vka"]:
        add(rows, "circuit's data", size(value["vka"]["bytes"]))
    add(rows, "public words", str(value["instances"]))
    add(rows, "gas to deploy", f"about {value['gas_estimate']['deploy']:,}")
    console.print(rows)


def deployment(console: Any, value: dict[str, Any]) -> None:
    """Say what is deployed where."""
    if value.get("kept") is False:
        headline(console, "rehearsed", f"on {value['rules']}; nothing is kept", "yellow")
    else:
        headline(console, "deployed", f"on chain {value['chain_id']}, kept in {value['file']}")
    rows = table("contract", "address", "state")
    for name, placed in value["contracts"].items():
        bad = placed["state"] not in ("there", "not checked")
        add(rows, name, placed["address"], placed["state"], style="bold red" if bad else None)
    console.print(rows)
    more = table("", "")
    for name in ("model", "key", "scheme", "selector", "terms", "rules"):
        if name in value["model"]:
            add(more, name, value["model"][name])
    if value["pending"]:
        add(more, "not final yet", f"{value['pending']['step']}, {value['pending']['hash']}: run deploy again")
    for problem in value.get("problems", []):
        add(more, "problem", problem, style="bold red")
    console.print(more)


def verdict(console: Any, value: dict[str, Any]) -> None:
    """Say what a router accepted."""
    headline(console, "accepted", f"by the router at {value['router']} on chain {value['chain_id']}")
    rows = table("", "")
    for claim in value["claims"]:
        for name, text in claim.items():
            add(rows, name, text)
    add(rows, "key", value["key"])
    add(rows, "scheme", f"{value['scheme']} (selector {value['selector']})")
    add(rows, "rules", value["rules"])
    add(rows, "gas", f"{value['gas']:,} as a transaction, with {size(value['calldata_bytes'])} of calldata")
    console.print(rows)
