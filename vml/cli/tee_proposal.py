"""`vml tee proposal`: keys that come in because nobody objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import tee_chain_work as work
from vml.cli import tee_show as show
from vml.cli.arguments import Keystore, Seed, read_moment
from vml.cli.attested import DEFAULT_SEED
from vml.cli.output import Debug, Json, Output, Quiet, command_app, hexed
from vml.cli.tee_rules import AllowSimulated, At, Certificate, PolicyFile, RulesFile, Source

if TYPE_CHECKING:
    from vml.chain.client import Chain
    from vml.chain.tee_endorsement import Place
    from vml.chain.tee_proposals import Proposed, TeeProposer

app = command_app("""Keys that come in because nobody objects: propose with a bond, challenge, decide, activate.

Who watches runs `list --policy`, which judges each proposal, and challenges what does not hold within the window.
""")

Deployment = Annotated[
    Path, typer.Option("--deployment", metavar="FILE", help="What `vml contract deploy MODEL --rules` wrote.")
]
Rpc = Annotated[str, typer.Option("--rpc", metavar="URL", help="The chain's node.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the proposal: 0x and 64 digits.")]
Block = Annotated[int, typer.Option("--block", metavar="N", help="The evidence carries this block's nonce.")]


@app.command()
def propose(
    source: Source,
    deployment: Deployment,
    rpc: Rpc,
    rules: RulesFile,
    policy: PolicyFile,
    block: Block,
    quote: Annotated[
        bool, typer.Option("--quote", help="Publish the bare quote: in a dispute a contract decides, not attestors.")
    ] = False,
    certificate: Certificate = None,
    at: At = None,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    keystore: Keystore = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FILE", help="Remembers what was sent; default: beside SOURCE.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Propose a key with the bond that the rules' terms ask for. Checked here first: a bad proposal loses its bond."""
    from vml.chain.steps import alone
    from vml.chain.tee_endorsement import Admission
    from vml.chain.tee_evidence import finding_of
    from vml.chain.tee_proposals import TeeProposer
    from vml.chain.tee_rules import Rules
    from vml.files import require_writable
    from vml.tee.appraisal import AppraisalPolicy

    out = Output(as_json, quiet)
    under = Rules.load(rules)
    place = work.read_place(deployment, None, None, None, under)
    key, nonce = work.read_key(source, certificate), work.read_nonce(None, block, rpc, place)
    results = work.judged(key, AppraisalPolicy.load(policy), read_moment(at), nonce, allow_simulated, seed)
    admission = Admission(place, under, key.certificate, finding_of(results, 0))
    place.require_simulated_allowed(admission.finding.simulated)
    file = resume or source.with_name(f"{source.name}.proposal.json")
    require_writable(file)
    signer = work.require_signer(keystore)
    with alone(file):
        proposer = TeeProposer(work.chain_of(rpc, place.chain_id, signer), file, out.note)
        made = proposer.propose(admission, key, block, is_quote=quote)
    value = {**_described(made), "chain_id": place.chain_id, "file": str(file)}
    out.result(value, lambda console: show.proposals(console, [value]))


@app.command("list")
def list_(
    deployment: Deployment,
    rpc: Rpc,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Judge each bundle by it, as a watcher does.")
    ] = None,
    from_block: Annotated[int, typer.Option("--from-block", metavar="N", min=0, help="Where to begin to look.")] = 0,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the proposals under the rules of a deployment, and which of them do not show what they say.

    Quotes are judged by the contracts, bundles here with --policy. Ends with 1 where one does not hold, or cannot be
    judged, that can be challenged or waits for a decision, and where the node does not give a block's events.
    """
    from vml.chain.tee_proposals import contract_of, proposals
    from vml.chain.tee_watch import watch
    from vml.cli.tee_anchors import anchors
    from vml.tee.appraisal import AppraisalPolicy

    place, model, rules = _deployed(deployment)
    chain = work.chain_of(rpc, place.chain_id)
    mine = None if policy is None else AppraisalPolicy.load(policy)
    roots = anchors(allow_simulated, seed)
    contract, rows, unread = contract_of(chain, place.contract), list[dict[str, Any]](), list[int]()
    wrong = False
    for found in proposals(chain, place, model, rules, from_block=from_block, unread=unread):
        verdict = watch(chain, contract, found, mine, roots)
        wrong |= verdict.fault is not None and found.pending
        rows.append({**_described(found), "judged": verdict.judged, "fault": verdict.fault})
    value = {"chain_id": place.chain_id, "rules": hexed(rules), "proposals": rows, "unread_blocks": unread}
    Output(as_json, quiet).result(value, lambda console: show.proposals(console, rows, unread))
    if wrong or unread:
        raise typer.Exit(1)


@app.command()
def judge(
    id: Id,
    output: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the decision there.")],
    deployment: Deployment,
    rpc: Rpc,
    policy: PolicyFile,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    keystore: Keystore = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """As an attestor: judge a bundle as of its proposal, and sign which way it is. `decide` brings k of these."""
    from vml.chain.tee_decision import decide as sign
    from vml.chain.tee_proposals import contract_of
    from vml.chain.tee_watch import judge_proposal
    from vml.cli.tee_anchors import anchors
    from vml.files import require_writable, write_atomic
    from vml.tee.appraisal import AppraisalPolicy

    require_writable(output)
    place, _, _ = _deployed(deployment)
    chain = work.chain_of(rpc, place.chain_id)
    found = _one(chain, deployment, id)
    fault = judge_proposal(found, AppraisalPolicy.load(policy), anchors(allow_simulated, seed))
    signer, contract = work.require_signer(keystore), contract_of(chain, place.contract)
    decision = sign(place.chain_id, contract, found.id, fault is None, found.rules[3], signer)
    write_atomic(output, decision.to_bytes())
    value = {
        "id": hexed(found.id),
        "genuine": fault is None,
        "fault": fault,
        "attestor": signer.address,
        "out": str(output),
    }
    Output(as_json, quiet).result(value, lambda console: show.decided(console, value))


@app.command()
def decide(
    id: Id,
    decisions: Annotated[list[Path], typer.Argument(metavar="DECISION...", help="What k attestors signed.")],
    deployment: Deployment,
    rpc: Rpc,
    keystore: Keystore = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Bring the word of attestors on a challenged bundle. Anybody."""
    from vml.chain.tee_decision import MAX_BYTES, Decision

    read = []
    for path in decisions:
        with path.open("rb") as file:
            read.append(Decision.from_bytes(file.read(MAX_BYTES + 1)))
    _move(id, deployment, rpc, keystore, Output(as_json, quiet), lambda player, *on: player.decide(*on, read))


MOVES = {
    "challenge": "Disagree with a proposal within its window, with the challenger's bond.",
    "prove": "Have a challenged quote checked by the rules' attestation contract. Anybody.",
    "expire": "End a challenged proposal on which nobody decided in time. Anybody.",
    "activate": "Let the key of an accepted proposal in, or of one that nobody challenged within its window. Anybody.",
}
"""Moves that need to be told the proposal only: command, and method of `TeeProposer`, to help line."""


def _add_move(name: str, line: str) -> None:
    @app.command(name, help=line)
    def move(
        id: Id,
        deployment: Deployment,
        rpc: Rpc,
        keystore: Keystore = None,
        as_json: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        _move(id, deployment, rpc, keystore, Output(as_json, quiet), lambda player, *on: getattr(player, name)(*on))


for _name, _line in MOVES.items():
    _add_move(_name, _line)


@app.command()
def withdraw(
    deployment: Deployment,
    rpc: Rpc,
    keystore: Keystore = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fetch the bonds and rewards that are yours."""
    from vml.chain.tee_proposals import TeeProposer

    out = Output(as_json, quiet)
    place, _, _ = _deployed(deployment)
    signer = work.require_signer(keystore)
    got = TeeProposer(work.chain_of(rpc, place.chain_id, signer), None, out.note).withdraw(place)
    value = {"account": signer.address, "wei": str(got)}
    out.result(value, lambda console: show.withdrawn(console, value))


def _move(id: str, deployment: Path, rpc: str, keystore: Path | None, out: Output, move: Any) -> None:
    """One move about a proposal, and how it stands after."""
    from vml.chain.tee_proposals import TeeProposer

    place, _, _ = _deployed(deployment)
    signer = work.require_signer(keystore)
    chain = work.chain_of(rpc, place.chain_id, signer)
    player: TeeProposer = TeeProposer(chain, None, out.note)
    move(player, place, _one(chain, deployment, id))
    value = {**_described(_one(chain, deployment, id)), "chain_id": place.chain_id}
    out.result(value, lambda console: show.proposals(console, [value]))


def _deployed(file: Path) -> tuple[Place, bytes, bytes]:
    """Where, the model, and the id of the rules."""
    state = work.read_deployment(file)
    model, rules = (bytes.fromhex(state.model[name][2:]) for name in ("model", "rules"))
    return work.place_of(state), model, rules


def _one(chain: Chain, deployment: Path, text: str) -> Proposed:
    from vml.chain.tee_proposals import proposals
    from vml.claim import parse_bytes32
    from vml.errors import ChainError

    place, model, rules = _deployed(deployment)
    for found in proposals(chain, place, model, rules, only=parse_bytes32(text)):
        return found
    raise ChainError(f"there is no proposal {text} under the rules 0x{rules.hex()} on chain {place.chain_id}")


def _described(found: Proposed) -> dict[str, Any]:
    said, certificate = found.said, found.certificate
    return {
        "id": hexed(found.id),
        "status": found.status.name.lower(),
        "until": found.until,
        "proposer": said["proposer"],
        "challenger": None if int(found.challenger, 16) == 0 else found.challenger,
        "key_id": hexed(certificate.key_id),
        "epoch": certificate.epoch,
        "proposed_at": said["proposedAt"],
        "collateral_end": str(said["collateralEnd"]),
        "simulated": said["simulated"],
        "quote": said["isQuote"],
        "evidence_bytes": len(found.evidence),
        "judged": False,
        "fault": None,
    }
