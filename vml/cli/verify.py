"""`vml verify`: check a proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli.arguments import Game, Seed, read_context, read_moment
from vml.cli.attested import DEFAULT_SEED, read_pins
from vml.cli.certified import (
    Authorities,
    CertificateFiles,
    Memory,
    RequireRevocation,
    RevocationFiles,
    read_certifying,
)
from vml.cli.certified import as_json as certified_json
from vml.cli.output import Debug, Json, Output, Quiet, command_app

if TYPE_CHECKING:
    from vml.backends.types import ChainView

app = command_app()


@app.command()
def verify(
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="The proof file.")],
    model: Annotated[str, typer.Option("--model", metavar="DIR|0xID|FILE.onnx", help="What the proof must be about.")],
    policy: Annotated[Path | None, typer.Option("--policy", help="YAML policy; default: the strict one.")] = None,
    input: Annotated[Path | None, typer.Option("--input", help="The input it must be about.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="The output it must show.")] = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="0xHEX|FILE", help="The use it must be bound to.")
    ] = None,
    opening: Annotated[
        Path | None, typer.Option("--opening", help="Opens a hidden input; from its owner, with --input.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="DIR|0xDIGEST", help="Verifying key: a folder of `vml setup -o`, or its digest."),
    ] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help="Chain node.")] = None,
    game: Game = None,
    terms: Annotated[
        list[str] | None, typer.Option("--terms", metavar="0xDIGEST", help="Terms you accept there; may be repeated.")
    ] = None,
    tee_policy: Annotated[
        list[str] | None,
        typer.Option("--tee-policy", metavar="FILE|0xID", help="Appraisal policy you accept (tee); may be repeated."),
    ] = None,
    tee_nonce: Annotated[
        str | None,
        typer.Option("--tee-nonce", metavar="0xHEX|any", help="What you had the attester repeat; any: you did not."),
    ] = None,
    tee_nonce_sent_at: Annotated[
        str | None,
        typer.Option("--tee-nonce-sent-at", metavar="TIME", help="When you sent it, for policies with a maximum age."),
    ] = None,
    tee_min_epoch: Annotated[
        int, typer.Option("--tee-min-epoch", metavar="N", help="Lowest epoch of a key you accept (tee).", min=0)
    ] = 0,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="When to judge for (tee, certificates): unix seconds or UTC, …Z."),
    ] = None,
    seed: Seed = DEFAULT_SEED,
    certificate: CertificateFiles = None,
    authority: Authorities = None,
    revocations: RevocationFiles = None,
    require_revocation: RequireRevocation = False,
    revocation_memory: Memory = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what was checked and trusted.")] = False,
    allow_unsafe_setup: Annotated[
        bool, typer.Option("--allow-unsafe-setup", help="Accept a test set-up, which can be forged.")
    ] = False,
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept simulated evidence, which shows nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check that a proof is about this model, and about this input, output and use where they are given.

    MODEL is a compiled folder (its own commitment and the identities that set-ups recorded in it), 0x and 64
    hex digits (exactly that identity), or an .onnx file (the identity is made again from it, which takes a set-up).
    Where the identity does not bind the verifying key (sumcheck), the key is taken from --key, the policy, the
    folder's own record, or made again from the folder's weights; never from the proof. Without --context the proof must
    be one that is replayable on purpose. Signed runs (tee) take --tee-policy and are judged for --at, or for now; so
    are certificates of the model: each has to be signed by an --authority, and to be about what was proved.
    """
    from vml import api
    from vml.backends import backend_of_scheme, get_backend
    from vml.backends.types import Environment
    from vml.cli import verdict as words
    from vml.policy import Policy
    from vml.proof import Proof

    out = Output(as_json, quiet)
    certifying = read_certifying(certificate, authority, revocations, require_revocation, revocation_memory)
    rules = Policy.default() if policy is None else Policy.load(policy)
    rules = rules.relaxed(allow_unsafe_setup=allow_unsafe_setup, allow_simulated=allow_simulated)
    expected_context, _ = read_context(context)
    salt = None if opening is None else api.read_opening(opening)
    expected_input, expected_output = _arrays(input), _arrays(output)
    envelope = Proof.load(proof)
    with out.progress() as progress:
        accepted = api.accepted_models(model, envelope, progress=progress)
        keys = api.accepted_keys(model, envelope, key=key, policy=rules, progress=progress)
        able = get_backend(backend_of_scheme(envelope.scheme)).capabilities()
        held = api.held_model(model, able, progress=progress)
        chain, pins = _game(rpc, game, terms) if able.assurance == "economic" else (None, {})
        if able.assurance == "hardware":
            pins = read_pins(tee_policy, tee_nonce, tee_nonce_sent_at, tee_min_epoch, allow_simulated, seed)
        elif tee_policy or tee_nonce is not None or tee_nonce_sent_at is not None or tee_min_epoch:
            raise ValueError(f"--tee-… is about signed runs (tee), this is a proof of {envelope.backend}")
        elif at is not None and not certificate:
            raise ValueError(f"--at is about signed runs (tee) and certificates, this is a proof of {envelope.backend}")
    moment = read_moment(at)
    verdict = api.verify(
        envelope,
        model=accepted,
        context=expected_context,
        policy=rules,
        input=expected_input,
        output=expected_output,
        salt=salt,
        key=keys,
        environment=Environment(now=moment, rpc=rpc, chain=chain, model=held, pins=pins),
    )
    checked = (
        f"model: {model}",
        f"input: {'any, none was given' if input is None else input}",
        f"output: {'any, none was given' if output is None else output}",
        f"verifying key: {'there is none' if verdict.vk_digest is None else _key_source(key, keys)}",
        f"context: {'none, replayable on purpose' if context is None else context}",
        f"policy: {'the default' if policy is None else policy}",
        *(f"appraisal policy: {item}" for item in tee_policy or ()),
        *(f"certificate: {item}" for item in certificate or ()),
    )
    found = certifying.check(verdict, moment)
    result = words.accepted(verdict, certified_json(found))
    out.result(result, lambda c: words.show(c, verdict, checked=checked, explain=explain, certificates=found))


def _game(rpc: str | None, game: str | None, terms: list[str] | None) -> tuple[ChainView | None, dict[str, Any]]:
    """The chain that decides a dispute, and what of it the verifier accepts; the proof's word for it is worth nothing.

    Raises:
        ValueError: a node without a game, a game without terms, or either without a node.
    """
    if rpc is None and game is None and not terms:
        return None, {}
    if rpc is None or game is None or not terms:
        raise ValueError("--rpc, --game and --terms belong together: which node, which contract, under which terms")
    from vml import api
    from vml.backends.types import DISPUTE_GAMES, DISPUTE_TERMS
    from vml.claim import parse_address, parse_bytes32

    accepted = frozenset(map(parse_bytes32, terms))
    address = parse_address(game)
    chain = api.chain_view(rpc)
    return chain, {DISPUTE_GAMES: frozenset({(chain.chain_id, address)}), DISPUTE_TERMS: accepted}


def _key_source(key: str | None, keys: frozenset[bytes] | None) -> str:
    """Where the accepted verifying keys came from."""
    if key is not None:
        return key
    return "bound by the model identity" if keys is None else "from the policy or the compiled folder"


def _arrays(path: Path | None) -> dict[str, Any] | None:
    """The tensors of a file, if one was given; numpy is loaded only then."""
    if path is None:
        return None
    from vml.arrays import load_arrays

    return load_arrays(path)
