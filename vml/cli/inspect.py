"""`vml inspect`: what a file or folder is, without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.claim import checksum_address
from vml.cli.attested import describe
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, hexed, size, table

if TYPE_CHECKING:
    from vml.proof import Proof

app = command_app()


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A compiled folder, a key's folder, or a proof.")],
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what PATH is: every commitment in it, and what is public, hidden and trusted.

    A proof is described, not verified: nothing it says is known to be true before `vml verify`.
    """
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder", str(path))
    out = Output(as_json, quiet)
    if not path.is_dir():
        value = _proof(path)
    elif (path / "key.json").exists():
        value = _key(path)
    else:
        value = _model(path)
    out.result(value, lambda console: _show(console, value))


def _proof(path: Path) -> dict[str, Any]:
    from vml.backends import BACKENDS, get_backend
    from vml.proof import Proof

    proof = Proof.load(path)
    able = get_backend(proof.backend).capabilities() if proof.backend in BACKENDS else None
    return {
        "kind": "proof",
        "path": str(path),
        "bytes": path.stat().st_size,
        "verified": None,
        "scheme": proof.scheme,
        "selector": hexed(proof.selector),
        "backend": proof.backend,
        "known_backend": able is not None,
        "claims": [{**claim.to_json(), "digest": hexed(claim.digest())} for claim in proof.claims],
        "public": _public(proof),
        "hidden": proof.public.get("hidden", []),
        "trusted": [] if able is None else list(able.trusts),
        "assurance": None if able is None else able.assurance,
        "semantics": None if able is None else able.semantics,
        "payload_bytes": len(proof.payload),
        **_assertion(proof),
        **describe(proof),
    }


def _assertion(proof: Proof) -> dict[str, Any]:
    """What an assertion bundle says of itself; nothing for other proofs.

    Raises:
        MalformedProof: the payload is no bundle.
    """
    if proof.backend != "optimistic":
        return {}
    from vml.backends.optimistic.payload import Bundle

    bundle = Bundle.decode(proof.payload)
    signed = "yes, not checked here" if bundle.signature else "by nobody"
    trace = hexed(bundle.trace) if any(bundle.trace) else "not committed to"
    if not bundle.asserted:
        return {"asserted": "nowhere", "signed": signed, "trace": trace}
    return {
        "asserted": hexed(bundle.id),
        "chain_id": bundle.chain_id,
        "game": checksum_address(bundle.game),
        "asserter": checksum_address(bundle.asserter),
        "terms": hexed(bundle.terms),
        "nonce": str(bundle.nonce),
        "trace": trace,
        "signed": signed,
    }


def _public(proof: Proof) -> list[str]:
    """Which sections the proof shows, in words."""
    shown = [(name, value) for name, value in proof.public.items() if name != "hidden"]
    return sorted(f"{name} values" if isinstance(value, list) else name for name, value in shown)


def _key(path: Path) -> dict[str, Any]:
    from vml import api

    record = api.read_key(path)
    return {
        "kind": "key",
        "path": str(path),
        **record,
        "public": ["verifying key"],
        "hidden": [],
        "trusted": [_made_by(record)],
    }


def _made_by(record: dict[str, Any]) -> str:
    """Whom a key rests on."""
    if record["unsafe_setup"]:
        return "whoever made the set-up: it is a test one"
    return "the set-up" if record["setup_id"] else "nobody: the key follows from the weights (vml setup --check)"


def _model(path: Path) -> dict[str, Any]:
    from vml import api
    from vml.model import Model

    model = Model.load(path)
    certificate = model.certificate
    return {
        "kind": "model",
        "path": str(path),
        "model": hexed(model.commitment),
        "semantics": certificate.semantics,
        "identities": sorted(hexed(identity) for identity in api.recorded_identities(path)),
        "source_sha256": certificate.source.sha256,
        "calibration_sha256": certificate.calibration.sha256,
        "nodes": len(model.graph.nodes),
        "inputs": [edge.model_dump() for edge in certificate.inputs],
        "outputs": [edge.model_dump() for edge in certificate.outputs],
        "max_error": certificate.max_error,
        "agreement": certificate.agreement,
        "first": {name: list(operators) for name, operators in certificate.boundary.first.items()},
        "last": certificate.boundary.last,
        "warnings": list(certificate.boundary.warnings),
        "public": ["weights", "graph", "calibration rows: all of it lies in this folder"],
        "hidden": [],
        "trusted": ["the certificate is a statement of whoever compiled; the commitment was recomputed just now"],
    }


def _show(console: Any, value: dict[str, Any]) -> None:
    rows = table("", "")
    for name, item in value.items():
        if name == "verified":
            add(rows, "verified", "no: described only, see `vml verify`")
        elif name.endswith("bytes"):
            add(rows, name.replace("_", " "), size(item))
        elif name == "claims":
            for claim in item:
                for field, text in claim.items():
                    add(rows, f"claim {field}", text)
        else:
            add(rows, name.replace("_", " "), _text(item))
    console.print(rows)


def _text(item: Any) -> str:
    if isinstance(item, list):
        return "\n".join(_text(part) for part in item) or "nothing"
    if isinstance(item, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in item.items())
    return f"{item:g}" if isinstance(item, float) else str(item)
