"""`vml dispute`: assert claims with a bond, watch others' assertions, dispute false ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vml.cli import arguments as args
from vml.cli import dispute_show as show
from vml.cli.dispute_player import (
    FEES_WEI,
    STAKE_WEI,
    Place,
    challenged,
    choices,
    habits_of,
    is_mine,
    player_at,
    require_bundle,
    require_terms,
    subject_of,
    table_of,
    wait_for,
)
from vml.cli.output import Debug, Json, Output, Quiet, command_app, hexed
from vml.errors import NotFinal

app = command_app("""Claims with a bond, and disputes about them (docs/dispute-players.md).

Keys come from --keystore FILE (its password from VML_KEYSTORE_PASSWORD or a prompt) or from VML_PRIVATE_KEY, never from
the command line. What a player must not forget is in one file, --db: keep it, and give one account one file.
""")

POLL_S = 4.0
SLASHED = 1

Rpc = Annotated[str, typer.Option("--rpc", metavar="URL", help="A chain's node.")]
ChainId = Annotated[int | None, typer.Option("--chain", metavar="N", help="Which chain it must be, by its id.")]
Game = Annotated[str, typer.Option("--game", metavar="0x|FILE", help="The game's address, or a deployment file.")]
Keystore = Annotated[
    Path | None, typer.Option("--keystore", metavar="FILE", help="Encrypted key; default: VML_PRIVATE_KEY.")
]
Db = Annotated[
    Path | None, typer.Option("--db", metavar="FILE", help="The player's memory; default: in the user's data folder.")
]
Models = Annotated[
    list[Path] | None, typer.Option("--model", metavar="DIR", help="A compiled model, or a folder of such; repeatable.")
]
FromBlock = Annotated[
    int | None, typer.Option("--from-block", metavar="N", min=0, help="First block to read; default: the game's own.")
]
Confirmations = Annotated[
    int | None,
    typer.Option("--confirmations", min=1, help="Blocks before an event counts; default: 3, test chains 1."),
]
Remembered = Annotated[
    int, typer.Option("--reorg-depth", metavar="N", min=1, help="Blocks whose hashes are remembered.")
]
MaxStake = Annotated[
    int, typer.Option("--max-stake", metavar="WEI", min=0, help="Most bonds at stake at the same time.")
]
MaxFees = Annotated[
    int,
    typer.Option("--max-request-fees", metavar="WEI", min=0, help="Most that requests for inputs may cost, in all."),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Stake only under terms it allows; repeatable; default: local on test chains, else fast-l2, l1-safe.",
    ),
]
TermsNamed = Annotated[
    list[str] | None, typer.Option("--terms", metavar="0x", help="Stake under these terms too; repeatable.")
]
MaxFee = Annotated[float, typer.Option("--max-fee", metavar="GWEI", help="Most to pay for a unit of gas.")]
MaxGas = Annotated[int | None, typer.Option("--max-gas", metavar="N", min=1, help="Most gas of all transactions.")]
Poll = Annotated[float, typer.Option("--poll", metavar="S", help="Seconds between looks at the chain.")]
Stuck = Annotated[
    float, typer.Option("--stuck", metavar="S", help="Seconds until an unmined transaction is sent for a higher fee.")
]
Traces = Annotated[
    Path | None, typer.Option("--traces", metavar="DIR", help="Published traces, in folders named by assertion.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, send nothing.")]


@app.command("assert")
def assert_(
    subject: Annotated[Path, typer.Argument(metavar="MODEL|PROOF", help="A compiled folder, or an optimistic proof.")],
    rpc: Rpc,
    game: Game,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME|0x", help="local, fast-l2, l1-safe, or a terms digest.")
    ] = None,
    input: Annotated[Path | None, typer.Argument(metavar="INPUT", help=".json, .npz or .npy; not with PROOF.")] = None,
    models: Models = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="0xHEX|FILE", help="The one use the claim is good for.")
    ] = None,
    nonce: Annotated[int, typer.Option("--nonce", min=0, help="Tells apart assertions of the same claim.")] = 0,
    publish_trace: Annotated[
        Path | None, typer.Option("--publish-trace", metavar="DIR", help="Commit to the whole trace, write it there.")
    ] = None,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Publish the input only when somebody asks for it.")
    ] = False,
    keystore: Keystore = None,
    chain: ChainId = None,
    db: Db = None,
    confirmations: Confirmations = None,
    max_stake: MaxStake = STAKE_WEI,
    max_fee: MaxFee = 500.0,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Longest wait for the transaction.")] = 300.0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Assert what MODEL gives for INPUT, or what PROOF claims, with the bond that the terms ask for.

    Registers the model and offers the terms where that is not done. Then run `vml dispute watch` with the same key and
    --db until the assertion is final: whoever does not answer in time loses the bond.
    """
    from vml.dispute import asserting, published
    from vml.dispute.player import Habits

    out = Output(as_json, quiet)
    if publish_trace is not None:
        published.require_free(publish_trace)
    model, codes, expected, bundle = subject_of(subject, input, models)
    asserting.require_answerable(model)
    bound_to, _ = args.read_context(context)
    choice, bound_to, nonce = choices(profile, bound_to, nonce, expected, bundle)
    place = Place(rpc, chain, game, keystore, db, None, confirmations, max_stake=max_stake, max_fee=max_fee)
    with player_at(place, Habits(watch=False), out) as player:
        node = player.sender.chain
        require_bundle(player, bundle)
        with player.store.held():
            player.sender.look_after()

        def registering(done: int, count: int) -> None:
            out.note(f"registering the model: {done} of {count} operators")

        terms, digest = asserting.settle_terms(node, player.sender.game, model, choice, registering)
        if bundle is not None and bundle.asserted:
            require_terms(player, model, terms, profile)
        made = asserting.make(
            player,
            model,
            codes,
            terms,
            context=bound_to,
            nonce=nonce,
            publish=publish_trace,
            commit=bundle is not None and any(bundle.trace),
            give_input=not no_input,
            expected=expected,
            say=out.note,
        )
        out.note(f"sent {made.transaction}, waiting for it" if made.transaction else "looking for it on the chain")
        wait_for(player, lambda one: made.id in one.follower.ledger.state.assertions, timeout)
        found = player.follower.ledger.state.assertions[made.id]
        value = {
            "assertion": hexed(made.id),
            "claim": {**made.claim.to_json(), "digest": hexed(made.claim.digest())},
            "terms": hexed(digest),
            "bond": str(terms.asserter_bond),
            "closes_at": found.closes_at,
            "status": found.status.value,
            "transaction": made.transaction,
            "trace": None if publish_trace is None else str(publish_trace),
            "game": player.sender.game,
            "chain_id": node.chain_id,
            "asserter": node.sender,
        }
    out.result(value, lambda console: show.asserted(console, value))


@app.command()
def watch(
    rpc: Rpc,
    game: Game,
    models: Models = None,
    profiles: Profiles = None,
    terms: TermsNamed = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, do what is to be done, and end.")] = False,
    from_block: FromBlock = None,
    db: Db = None,
    metrics: Annotated[
        int | None, typer.Option("--metrics", metavar="PORT", help="Figures for Prometheus on 127.0.0.1.")
    ] = None,
    traces: Traces = None,
    dry_run: DryRun = False,
    confirmations: Confirmations = None,
    remembered: Remembered = 256,
    max_stake: MaxStake = STAKE_WEI,
    max_fees: MaxFees = FEES_WEI,
    max_fee: MaxFee = 500.0,
    max_gas: MaxGas = None,
    poll: Poll = POLL_S,
    stuck: Stuck = 90.0,
    request: Annotated[
        bool, typer.Option("--request/--no-request", help="Ask for inputs that nobody published; it may cost the fee.")
    ] = True,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take out credit as soon as there is some.")] = False,
    keystore: Keystore = None,
    chain: ChainId = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Defend what this account asserted, run others' assertions again, and dispute the false ones. For ever.

    One line a fact on standard error; with --json each line is an object. It can be killed at any moment and started
    again. With --once it ends after one look, and prints what it found.
    """
    out = Output(as_json, quiet)
    place = Place(
        rpc,
        chain,
        game,
        keystore,
        db,
        from_block,
        confirmations,
        remembered,
        max_stake,
        max_fee,
        max_gas,
        stuck,
        metrics is not None,
        dry_run,
    )
    habits = habits_of(profiles, terms, max_fees, request=request, withdraw=withdraw, dry=dry_run, traces=traces)
    with player_at(place, habits, out, models, logs=True) as player:
        if not models and not player.store.own():
            raise ValueError("nothing to watch with: give the models to run again with --model DIR")
        if metrics is not None:
            port = player.journal.serve(metrics)
            player.journal.say("metrics", address=f"http://127.0.0.1:{port}/metrics")
        if once:
            while player.round():
                out.note("looking again")
        else:
            player.run(poll)
        value = table_of(player, None)
    out.result(value, lambda console: show.status(console, value))


@app.command()
def challenge(
    assertion: Annotated[str, typer.Argument(metavar="ASSERTION", help="Its name, 0x and 64 digits.")],
    rpc: Rpc,
    game: Game,
    models: Models = None,
    profiles: Profiles = None,
    terms: TermsNamed = None,
    traces: Traces = None,
    db: Db = None,
    from_block: FromBlock = None,
    confirmations: Confirmations = None,
    max_stake: MaxStake = STAKE_WEI,
    max_fees: MaxFees = FEES_WEI,
    max_fee: MaxFee = 500.0,
    max_gas: MaxGas = None,
    poll: Poll = POLL_S,
    stuck: Stuck = 90.0,
    keystore: Keystore = None,
    chain: ChainId = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Dispute one false assertion, and play to the end of the dispute.

    Runs the model again first, and refuses where it gives what is claimed: such a dispute would lose its bond. Ends
    with 0 where the dispute was won or the assertion fell elsewhere, with 1 where it was lost.
    """
    from vml.backends.optimistic.records import Result
    from vml.claim import parse_bytes32

    out = Output(as_json, quiet)
    key = parse_bytes32(assertion)
    place = Place(rpc, chain, game, keystore, db, from_block, confirmations, 256, max_stake, max_fee, max_gas, stuck)
    habits = habits_of(profiles, terms, max_fees, only=key, traces=traces)
    with player_at(place, habits, out, models, logs=True) as player:
        player.run(poll, lambda one: challenged(one, key))
        mine = [d for d in player.follower.ledger.state.disputes.values() if is_mine(player, d, key)]
        value = table_of(player, key)
    out.result(value, lambda console: show.status(console, value))
    if any(d.result is Result.LOST for d in mine) and not any(d.result is Result.WON for d in mine):
        raise typer.Exit(SLASHED)


@app.command()
def status(
    rpc: Rpc,
    game: Game,
    assertion: Annotated[
        str | None, typer.Argument(metavar="ASSERTION", help="Only this one: 0x and 64 digits.")
    ] = None,
    from_block: FromBlock = None,
    confirmations: Confirmations = None,
    chain: ChainId = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Assertions and disputes: where they are, whose turn it is, and until when. Needs no key and keeps nothing.

    With ASSERTION it ends with 0 where that is final, with 7 where it may still be disputed, with 1 where it was
    slashed or is void.
    """
    from vml.backends.optimistic.records import Status
    from vml.claim import parse_bytes32
    from vml.dispute.player import Habits

    out = Output(as_json, quiet)
    key = None if assertion is None else parse_bytes32(assertion)
    place = Place(rpc, chain, game, None, None, from_block, confirmations, dry=True)
    with player_at(place, Habits(watch=False, dry=True), out, keep=False) as player:
        player.head = player.follower.sync()
        value = table_of(player, key)
        found = None if key is None else player.follower.ledger.state.assertions[key]
    out.result(value, lambda console: show.status(console, value))
    if found is not None and found.status is not Status.FINAL:
        raise typer.Exit(NotFinal.exit_code if found.status is Status.OPEN else SLASHED)
