"""What `vml dispute` draws for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vml.cli.output import add, headline, table

STYLES = {"final": "green", "slashed": "red", "void": "yellow"}


def asserted(console: Any, value: dict[str, Any]) -> None:
    """Say what was asserted, and what is left to do."""
    headline(console, "asserted", f"{value['assertion']} in the game {value['game']}, chain {value['chain_id']}")
    rows = table("", "")
    for name, text in value["claim"].items():
        add(rows, name, text)
    add(rows, "bond", f"{value['bond']} wei of {value['asserter']}")
    add(rows, "terms", value["terms"])
    add(rows, "open to disputes until", _time(value["closes_at"]))
    if value["trace"]:
        add(rows, "trace", value["trace"])
    console.print(rows)
    console.print("run `vml dispute watch` until it is final: whoever does not answer in time loses the bond")


def status(console: Any, value: dict[str, Any]) -> None:
    """Every assertion with its disputes: whose turn it is, until when."""
    headline(
        console, "block", f"{value['block']}, {_time(value['time'])}, chain {value['chain_id']}, game {value['game']}"
    )
    rows = table("assertion or dispute", "by", "is", "whose turn", "until")
    for each in value["assertions"]:
        turn, until = "", ""
        if each["status"] == "open":
            owed = each["input_owed_until"]
            turn = "disputable" if owed is None else "asserter (input)"
            until = _time(each["closes_at"] if owed is None else owed)
            if owed is None and value["time"] > each["closes_at"]:
                turn = "to be settled" if not _playing(each) else ""
        add(rows, each["assertion"], each["asserter"], each["status"], turn, until, style=STYLES.get(each["status"]))
        for dispute in each["disputes"]:
            late = " (out of time)" if dispute["out_of_time"] else ""
            whose = (dispute["turn"] or "") + late
            until = "" if dispute["until"] is None else _time(dispute["until"])
            add(rows, f"  {dispute['dispute']}", dispute["challenger"], dispute["result"], whose, until)
    console.print(rows)


def _playing(assertion: dict[str, Any]) -> bool:
    return any(dispute["result"] == "open" for dispute in assertion["disputes"])


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
