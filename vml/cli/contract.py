"""`vml contract`: proofs checked by contracts, on a chain or in this process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vml.cli import arguments as args
from vml.cli import contract_list as listing
from vml.cli import contract_show as show
from vml.cli.contract_work import Receipts, deployment_file, work_of
from vml.cli.output import Debug, Json, Output, Quiet, command_app, hexed
from vml.errors import ChainError

if TYPE_CHECKING:
    from vml.chain.deployment import Deployment
    from vml.chain.generate import Generated
    from vml.chain.verify import Accepted
    from vml.proof import Proof

app = command_app("""Proofs checked by contracts.

Without --rpc everything runs on an EVM in this process, under Cancun's rules: a try, of which nothing stays. With --rpc
it runs on the chain behind that address. Keys come from --keystore FILE (its password from VML_KEYSTORE_PASSWORD or a
prompt) or from VML_PRIVATE_KEY, never from the command line.
""")

CONFIRMATIONS = 3
TEST_CHAINS = (1337, 31337)
"""Ids of chains of test nodes, which make a block when there is a transaction and no other."""

Rpc = Annotated[str | None, typer.Option("--rpc", metavar="URL", help="A chain's node; default: an EVM in here.")]
ChainId = Annotated[int | None, typer.Option("--chain", metavar="N", help="Which chain it must be, by its id.")]
Resume = Annotated[
    Path | None, typer.Option("--resume", metavar="FILE", help="Deployment file; default: DIR/deployment.json.")
]


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A compiled folder, or an .onnx file.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Write the contract there.")],
    reusable: Annotated[
        bool, typer.Option("--reusable", help="One contract for all circuits: dearer to call, deployed once a chain.")
    ] = False,
    on_chain: Annotated[
        bool, typer.Option("--on-chain/--as-proved", help="Keys of `prove --on-chain`, or those of a plain `prove`.")
    ] = True,
    private: args.Private = "",
    hash_input: args.HashInput = False,
    calibrate: args.Calibrate = None,
    input_range: args.InputRange = None,
    srs: args.Srs = None,
    memory_limit: args.MemoryLimit = None,
    time_limit: args.TimeLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the contract that checks a model's ezkl proofs: Solidity, ABI, bytecode, sizes, gas of deploying it.

    Needs ezkl, Node and npm's solc; makes the model's keys where the cache has none. The contract checks proofs made
    with `vml prove --on-chain`, unless --as-proved. One over the chain's code limit is refused here, before anybody
    pays for trying.
    """
    from vml import api
    from vml.backends.ezkl.setup import load
    from vml.chain import store

    out = Output(as_json, quiet)
    visibility = args.read_visibility(private, hash_input)
    started = time.monotonic()
    with out.progress() as progress:
        compiled = args.read_model(model, calibrate, input_range, progress)
        options = args.setup_options(visibility, srs, memory_limit, time_limit, progress, on_chain=on_chain)
        keys = api.setup(compiled, "ezkl", options)
        if keys.directory is None:
            raise ValueError("these keys are not in the cache, a contract cannot be made from them")
        made = store.obtain(load(keys.directory), reusable=reusable, progress=progress)
    written = store.copy(made, output)
    if written.manifest["unsafe_setup"]:
        out.note("the set-up is a test one, anybody can forge proofs for this contract; see `vml srs import`")
    value = {"out": str(output), **written.manifest, "seconds": round(time.monotonic() - started, 3)}
    out.result(value, lambda console: show.generated(console, value))


@app.command()
def deploy(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR|MODEL", help="What `vml contract generate` wrote, or a compiled folder.")
    ],
    rpc: Rpc = None,
    chain: ChainId = None,
    keystore: Annotated[
        Path | None, typer.Option("--keystore", metavar="FILE", help="Encrypted key; default: VML_PRIVATE_KEY.")
    ] = None,
    resume: Resume = None,
    router: Annotated[
        str | None, typer.Option("--router", metavar="0x", help="Add to this router, instead of a new one.")
    ] = None,
    verifier: Annotated[
        str | None, typer.Option("--verifier", metavar="0x", help="Use this generated verifier, deployed earlier.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Terms for MODEL: local, fast-l2, l1-safe.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Accept MODEL's attested keys (vml tee rules).")
    ] = None,
    modes: Annotated[
        str | None, typer.Option("--modes", metavar="MODES", help="With --rules: quorum, on-chain, zk; default: first.")
    ] = None,
    min_epoch: Annotated[
        int | None, typer.Option("--min-epoch", metavar="N", min=0, help="With --rules: lowest epoch of a key.")
    ] = None,
    guardian: Annotated[
        str | None, typer.Option("--guardian", metavar="0x", help="Who else may freeze routes of a new router.")
    ] = None,
    uri: Annotated[str, typer.Option("--uri", help="Where the model is described.")] = "",
    confirmations: Annotated[
        int | None, typer.Option("--confirmations", min=1, help="Blocks to wait for; default: 3, on a test chain 1.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Longest wait for a transaction.")] = 300.0,
    max_fee: Annotated[int, typer.Option("--max-fee", metavar="GWEI", help="Most to pay for a unit of gas.")] = 500,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Deploy router, registry, adapter and verifier, register the model, and let the one speak for the other.

    Of a compiled MODEL: instead of a generated verifier a dispute game, with the model registered in it, so that claims
    on it can be asserted (`vml dispute`) and count when they are final under the profile's terms. With --rules: the
    registry of attested keys, so that receipts of keys that come in under these rules (`vml tee admit`) count.

    Each step asks the chain whether it is done already, and is written to the deployment file before it is sent: run
    the same command again after anything, and it goes on where it stopped. Without --rpc it is a rehearsal.
    """
    from vml import files
    from vml.chain import keys
    from vml.chain.client import address, connect
    from vml.chain.steps import Wishes, alone
    from vml.chain.transactions import Limits

    out = Output(as_json, quiet)
    work = work_of(folder, profile, Receipts.of(rules, modes, min_epoch), rpc is None)
    wishes = Wishes(
        router=router and address(router, "--router"),
        verifier=verifier and address(verifier, "--verifier"),
        guardian=guardian and address(guardian, "--guardian"),
        uri=uri,
    )
    if rpc is None:
        embedded = connect(None, chain_id=chain)
        state = work.run(embedded, None, out.note, wishes)
        out.note("a rehearsal: it would succeed; nothing is kept. Give --rpc to deploy on a chain")
        value = {**listing.deployment(state), "file": None, "rules": embedded.rules, "kept": False}
    else:
        file = deployment_file(folder, resume)
        files.require_writable(file)
        signer = keys.find(keystore, os.environ, _prompt if sys.stdin.isatty() else None)
        if work.warning:
            out.note(work.warning)
        with alone(file):
            node = connect(rpc, signer=signer, chain_id=chain)
            blocks = confirmations or (1 if node.chain_id in TEST_CHAINS else CONFIRMATIONS)
            node.limits = Limits(blocks, timeout, max_fee)
            state = work.run(node, file, out.note, wishes)
        value = {**listing.deployment(state), "file": str(file), "rules": node.rules, "kept": True}
    out.result(value, lambda console: show.deployment(console, value))


@app.command()
def verify(
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="A proof file.")],
    contract: Annotated[
        Path | None, typer.Option("--contract", metavar="DIR", help="Generated contract, or its deployment.")
    ] = None,
    rpc: Rpc = None,
    chain: ChainId = None,
    router: Annotated[str | None, typer.Option("--router", metavar="0x", help="Who is asked.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="0x", help="Entry of the registry: whose model is believed.")
    ] = None,
    resume: Resume = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask a router whether it accepts PROOF. No transaction is sent, nothing is paid.

    Without --rpc the contracts are put up in this process, with the model's verifier from --contract, from the cache,
    or generated from the keys in the cache. With --rpc the router at --router is asked under --key, or those that the
    deployment file names. Says nothing about which model, input and use the proof is about: compare those, or
    `vml verify`.
    """
    from vml.proof import Proof

    out = Output(as_json, quiet)
    envelope = Proof.load(proof)
    started = time.monotonic()
    if rpc is None:
        if router or key or resume or chain is not None:
            raise ValueError("--router, --key, --chain and --resume are about a chain: give its --rpc, too")
        answer = _verify_here(out, envelope, contract)
    else:
        answer = _verify_there(rpc, chain, envelope, contract, router, key, resume)
    value = {
        "accepted": True,
        "claims": [{**claim.to_json(), "digest": hexed(claim.digest())} for claim in envelope.claims],
        "scheme": envelope.scheme,
        "router": answer.router,
        "router_is_ours": answer.ours,
        "key": hexed(answer.key),
        "selector": hexed(answer.selector),
        "chain_id": answer.chain_id,
        "rules": answer.rules,
        "gas": answer.gas,
        "calldata_bytes": answer.calldata_bytes,
        "seconds": round(time.monotonic() - started, 3),
    }
    if not answer.ours:
        out.note(
            "the router's code is not the one that this version of vml ships: its answer is worth what its maker is"
        )
    out.result(value, lambda console: show.verdict(console, value))


@app.command("list")
def list_(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the deployment file is, or MODEL.", show_default=False)
    ] = Path("."),
    rpc: Rpc = None,
    resume: Resume = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List what is deployed, from the deployment file; with --rpc each is compared with the chain.

    Ends with 6 where the chain does not have what the file says.
    """
    from vml.chain.deployment import load

    file = deployment_file(folder, resume)
    state = load(file)
    if state is None:
        raise FileNotFoundError(2, "no deployment file; `vml contract deploy` writes it", str(file))
    value = {**listing.deployment(state), "file": str(file), "checked": rpc is not None, "problems": []}
    if rpc is not None:
        listing.compare(rpc, state, value)
    Output(as_json, quiet).result(value, lambda console: show.deployment(console, value))
    if value["problems"]:
        raise typer.Exit(ChainError.exit_code)


# ---- verifying -------------------------------------------------------------------------------------------------------


def _verify_here(out: Output, envelope: Proof, folder: Path | None) -> Accepted:
    from vml.chain import verify as asking

    asking.encode(envelope)
    if envelope.backend == "optimistic":
        raise ValueError("only its chain knows whether an assertion is final: give --rpc")
    if envelope.backend == "tee":
        raise ValueError("only a chain knows which keys came in: give --rpc")
    return asking.verify_embedded(_generated(out, envelope, folder), envelope)


def _generated(out: Output, envelope: Proof, folder: Path | None) -> Generated:
    """The verifier of a proof's model: given, kept, or made from kept keys."""
    from vml.chain import store
    from vml.chain.generate import load

    model = envelope.claims[0].model
    if folder is not None:
        given = load(folder)
        if not store.is_own(given, model):
            out.note(
                f"nothing here ties the contract in {folder} to the model: its answer is worth what its maker is. "
                "`vml verify` needs no contract, `vml contract generate` makes your own"
            )
        return given
    found = store.kept(model)
    if found is not None:
        return found
    circuit = store.circuit_of(model)
    if circuit is None:
        raise ChainError(
            f"neither a contract nor keys of model {hexed(model)} are here: `vml contract generate MODEL -o DIR` makes "
            "them, and --contract DIR names a contract that somebody sent"
        )
    out.note("generating the model's contract, once")
    with out.progress() as progress:
        return store.obtain(circuit, progress=progress)


def _verify_there(
    rpc: str,
    chain: int | None,
    envelope: Proof,
    folder: Path | None,
    router: str | None,
    key: str | None,
    resume: Path | None,
) -> Accepted:
    from vml.chain import verify as asking
    from vml.chain.client import address, connect
    from vml.claim import parse_bytes32

    asking.encode(envelope)
    entry = None if key is None else parse_bytes32(key)
    place = None if router is None else address(router, "--router")
    if entry is None or place is None:
        if folder is None and resume is None:
            raise ValueError("name --router and --key, or a deployment: --contract DIR or --resume FILE")
        state = _finished(deployment_file(folder or Path("."), resume))
        place = place or state.contracts["router"].address
        entry = entry or parse_bytes32(state.model["key"])
        chain = state.chain_id if chain is None else chain
    return asking.verify_on(connect(rpc, chain_id=chain), place, entry, envelope)


def _finished(file: Path) -> Deployment:
    from vml.chain.deployment import load

    state = load(file)
    if state is None:
        raise FileNotFoundError(2, "no deployment file; `vml contract deploy` writes it", str(file))
    if "key" not in state.model or "router" not in state.contracts:
        raise ChainError(f"{file} is an unfinished deployment: run `vml contract deploy` again")
    return state


def _prompt() -> str:
    from getpass import getpass

    return getpass("password of the keystore: ")
