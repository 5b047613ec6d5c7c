"""What `vml tee` draws for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def rules(console: Any, value: dict[str, Any]) -> None:
    """Say under which rules keys come in."""
    headline(console, "rules", f"{value['id']} in {value['out']}")
    rows = table("", "")
    add(rows, "policy", value["policy"])
    add(rows, "modes", ", ".join(value["modes"]))
    if value["threshold"]:
        add(rows, "attestors", f"{value['threshold']} of\n" + "\n".join(value["attestors"]))
    if value["attestation"] is not None:
        add(rows, "quotes checked by", value["attestation"])
        add(rows, "body types", ", ".join(value["body_types"]))
        add(rows, "TCB statuses", ", ".join(value["tcb_statuses"]))
        add(rows, "measurements", "\n".join(value["measurements"]))
    for name, amount in (value["terms"] or {}).items():
        add(rows, name.replace("_", " "), str(amount))
    add(rows, "a key lasts", f"{value['lifetime_s']} s at most")
    console.print(rows)


def attested(console: Any, value: dict[str, Any]) -> None:
    """Say what an attester answered. Nothing of it is checked."""
    headline(console, "answered", f"{value['kind']} in {value['out']}; nothing of it is checked yet", "yellow")
    _rows(console, value, ("nonce", "block", "key_id", "model", "epoch", "not_after"))


def endorsed(console: Any, value: dict[str, Any], results: Sequence[AttestationResult]) -> None:
    """Say what was signed, and what had been found of the processor and of its GPUs."""
    from vml.tee.appraise import forecast, soonest

    first = soonest(results)
    headline(console, "endorsed", f"by {value['attestor']} in {value['out']}")
    _warn(console, value)
    _rows(console, value, ("chain_id", "contract", "owner", "rules", "key_id", "model", "epoch", "deadline"))
    lines(console, results[0].lines()[2:])
    if len(results) > 1:
        lines(console, [f"with {len(results) - 1} GPUs: {forecast(first, first.at)}"])


def admitted(console: Any, value: dict[str, Any]) -> None:
    """Say that a key is in."""
    headline(console, "admitted", f"by {value['mode']} on chain {value['chain_id']}, until {value['not_after']}")
    _warn(console, value)
    names = ("key_id", "model", "epoch", "record", "evidence_id", "rules", "contract", "owner", "transaction")
    _rows(console, value, names)


def revoked(console: Any, value: dict[str, Any]) -> None:
    """Say that a key is out for good."""
    headline(console, "revoked", f"{value['key_id']} of epoch {value['epoch']} on chain {value['chain_id']}")
    rows = table("mode", "record")
    for mode, name in value["records"].items():
        add(rows, mode, name)
    console.print(rows)


def rotated(console: Any, value: dict[str, Any]) -> None:
    """Say which keys are out for good."""
    headline(console, "rotated", f"keys of epochs below {value['minimum_epoch']} on chain {value['chain_id']}")


def ended(console: Any, value: dict[str, Any]) -> None:
    """Say that a key's evidence is not what it was."""
    headline(console, "ended", f"{value['key_id']} on chain {value['chain_id']}; it may be admitted again", "yellow")


def keys(console: Any, value: dict[str, Any]) -> None:
    """List the keys of a model."""
    headline(console, f"{len(value['keys'])} keys", f"for {value['model']} on chain {value['chain_id']}")
    _rows(console, {**value, "modes": ", ".join(value["modes"])}, ("owner", "rules", "modes", "minimum_epoch"))
    rows = table("key", "epoch", "mode", "state", "until", "accepted")
    for key in value["keys"]:
        word = "yes" if key["accepted"] else "no"
        word += ", simulated" if key["simulated"] else ""
        style = None if key["accepted"] else "red"
        add(rows, key["key_id"], str(key["epoch"]), key["mode"], key["state"], str(key["not_after"]), word, style=style)
    console.print(rows)


def _warn(console: Any, value: dict[str, Any]) -> None:
    if value["simulated"]:
        headline(console, "simulated", "no machine stands behind it, so it shows nothing", "yellow")


def _rows(console: Any, value: dict[str, Any], names: Iterable[str]) -> None:
    rows = table("", "")
    for name in names:
        if value[name] is not None:
            add(rows, name.replace("_", " "), str(value[name]))
    console.print(rows)


def proposals(console: Any, rows: list[dict[str, Any]], unread: Sequence[int] = ()) -> None:
    """List proposals of keys, and blocks that may hold more."""
    drawn = table("proposal", "status", "until", "judged")
    for row in rows:
        word = row["fault"] or ("it shows what it says" if row["judged"] else "no")
        style = "red" if row["fault"] else None
        add(drawn, row["id"], row["status"], str(row["until"]), word, style=style)
    console.print(drawn)
    if unread:
        headline(console, "unread", f"the node does not give the events of blocks {', '.join(map(str, unread))}", "red")


def decided(console: Any, value: dict[str, Any]) -> None:
    """Say what an attestor signed about a proposal."""
    if value["genuine"]:
        headline(console, "genuine", f"{value['id']}, signed in {value['out']}")
    else:
        headline(console, "not genuine", f"{value['id']}, signed in {value['out']}: {value['fault']}", "yellow")


def withdrawn(console: Any, value: dict[str, Any]) -> None:
    """Say what was fetched."""
    headline(console, "withdrawn", f"{value['wei']} wei to {value['account']}")
