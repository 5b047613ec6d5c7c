"""`vml context`: what binds a proof to one use."""

from __future__ import annotations

from typing import Annotated

import typer

from vml.cli.output import Debug, Json, Output, Quiet, command_app, hexed

app = command_app()


@app.command()
def context(
    requester: Annotated[str, typer.Option("--requester", metavar="ADDRESS", help="Who asked.")],
    chain: Annotated[int, typer.Option("--chain", metavar="N", help="EIP-155 chain id.")],
    contract: Annotated[str, typer.Option("--contract", metavar="ADDRESS", help="The contract that uses the claim.")],
    request: Annotated[str, typer.Option("--request", metavar="0xHEX", help="32 bytes the requester chose.")],
    payee: Annotated[str, typer.Option("--payee", metavar="ADDRESS", help="Who is paid for the proof.")],
    expiry: Annotated[int, typer.Option("--expiry", metavar="T", help="Unix time in seconds after which it is void.")],
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the 32 bytes that bind a proof to one request, contract, chain, payee and expiry.

    Give them to `vml prove --context` and `vml verify --context`. With --json the preimage is printed too; kept as a
    .json file it is accepted by both in place of the bytes, and then travels in the proof.
    """
    from vml.claim import Context, parse_bytes32

    value = Context(requester, chain, contract, parse_bytes32(request), payee, expiry)
    commitment = hexed(value.commitment())
    out = Output(as_json, quiet=False)
    out.result({"context": commitment, "preimage": value.to_json()}, lambda console: console.print(commitment))
