"""`vml tee rules | attest | endorse`: what happens before a chain is asked to let a key in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import tee_show as show
from vml.cli.arguments import Keystore, Seed, read_moment
from vml.cli.attested import DEFAULT_SEED
from vml.cli.output import Debug, Json, Output, Quiet, hexed

if TYPE_CHECKING:
    from vml.chain.tee_endorsement import Endorsement
    from vml.chain.tee_rules import Terms

HOUR_S, DAY_S = 3600, 86_400

Deployed = Annotated[
    Path | None, typer.Option("--deployment", metavar="FILE", help="What `vml contract deploy MODEL --rules` wrote.")
]
Chain = Annotated[int | None, typer.Option("--chain", metavar="N", help="Chain id, without --deployment.")]
Contract = Annotated[str | None, typer.Option("--contract", metavar="0x", help="TeeVerifier, without --deployment.")]
Owner = Annotated[str | None, typer.Option("--owner", metavar="0x", help="Of the entry, without --deployment.")]
RulesFile = Annotated[Path, typer.Option("--rules", metavar="FILE", help="What `vml tee rules` wrote.")]
PolicyFile = Annotated[Path, typer.Option("--policy", metavar="FILE", help="Your appraisal policy.")]
Certificate = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="An attester's answer, where SOURCE is evidence alone."),
]
Nonce = Annotated[
    str | None,
    typer.Option("--nonce", metavar="0xHEX|any", help="What you had the attester repeat; any: you did not."),
]
Block = Annotated[
    int | None, typer.Option("--block", metavar="N", help="The nonce is that of this block (needs --rpc).")
]
Rpc = Annotated[str | None, typer.Option("--rpc", metavar="URL", help="A chain's node.")]
At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="When to judge for: unix seconds or UTC; default: now.")
]
AllowSimulated = Annotated[
    bool, typer.Option("--allow-simulated", help="Trust a simulator's roots, too. Such evidence shows nothing.")
]
Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="A signed run, an attester's answer, or evidence with --certificate.")
]


def rules(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="The appraisal policy, YAML.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the rules there.")],
    attestor: Annotated[
        list[str] | None, typer.Option("--attestor", metavar="0x", help="Who may sign; may be repeated.")
    ] = None,
    threshold: Annotated[int, typer.Option("--threshold", metavar="K", help="How many have to sign.", min=0)] = 0,
    attestation: Annotated[
        str | None, typer.Option("--attestation", metavar="0x", help="Contract that checks Intel's quotes on chain.")
    ] = None,
    lifetime_days: Annotated[
        int, typer.Option("--lifetime-days", metavar="N", help="A key ends so long after its admission.", min=1)
    ] = 30,
    window: Annotated[
        int | None,
        typer.Option("--window", metavar="S", help="Take proposals; time to challenge them.", min=1),
    ] = None,
    decision: Annotated[
        int | None, typer.Option("--decision", metavar="S", help="With --window: from a challenge to its end.", min=1)
    ] = None,
    bond: Annotated[
        str | None, typer.Option("--bond", metavar="WEI", help="With --window: what either side puts up.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option("--reward", metavar="WEI", help="What a winner gets of it; default: a half.")
    ] = None,
    lapse: Annotated[
        str | None,
        typer.Option("--lapse", metavar="WEI", help="What each side loses where nobody decides; default: a tenth."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the rules under which a chain lets keys in that POLICY accepts.

    Attestors apply the policy itself. A contract (--attestation) applies a part of it: a policy with a field that no
    contract can look at is refused, by name.
    """
    from vml.chain.client import address
    from vml.chain.tee_rules import rules_of
    from vml.tee.appraisal import AppraisalPolicy

    made = rules_of(
        AppraisalPolicy.load(policy),
        attestors=[address(text, "--attestor") for text in attestor or ()],
        threshold=threshold,
        attestation=attestation and address(attestation, "--attestation"),
        lifetime_s=lifetime_days * DAY_S,
        terms=_terms(window, decision, bond, reward, lapse),
    )
    made.save(output)
    value = {"out": str(output), "id": hexed(made.id), "modes": [mode.word for mode in made.modes], **made.to_json()}
    Output(as_json, quiet).result(value, lambda console: show.rules(console, value))


def attest(
    attester: Annotated[str, typer.Argument(metavar="ADDRESS", help="http://host:port or unix:/path.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the answer there.")],
    nonce: Annotated[
        str | None, typer.Option("--nonce", metavar="0xHEX", help="What it has to repeat; default: random.")
    ] = None,
    latest_block: Annotated[
        bool, typer.Option("--latest-block", help="The nonce is the latest block's, so that a contract knows it.")
    ] = False,
    deployment: Deployed = None,
    rpc: Rpc = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask an attester for fresh evidence of its key, and keep the answer for those who judge it.

    With --latest-block (and --rpc and --deployment) the nonce is one that nobody knew before that block: attestors see
    that nobody prepared the evidence, and a contract takes no other.
    """
    import secrets

    from vml.chain.tee_evidence import KeyEvidence
    from vml.claim import parse_bytes32
    from vml.cli import tee_chain_work as work
    from vml.files import write_atomic

    block = None
    if latest_block:
        if nonce is not None or rpc is None or deployment is None:
            raise ValueError("--latest-block takes --rpc and --deployment, and no --nonce")
        from vml.chain.tee_keys import block_nonce

        place = work.place_of(work.read_deployment(deployment))
        chain = work.chain_of(rpc, place.chain_id)
        block = chain.rpc.number("eth_blockNumber")
        asked, _ = block_nonce(chain, place.contract, block)
    else:
        asked = secrets.token_bytes(32) if nonce is None else parse_bytes32(nonce)
    key = KeyEvidence.of_attester(attester, asked)
    write_atomic(output, key.to_bytes())
    value = {
        "out": str(output),
        "nonce": hexed(asked),
        "block": block,
        "key_id": hexed(key.certificate.key_id),
        "model": hexed(key.certificate.model),
        "epoch": key.certificate.epoch,
        "not_after": key.certificate.not_after,
        "kind": str(key.evidence.kind),
    }
    Output(as_json, quiet).result(value, lambda console: show.attested(console, value))


def endorse(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the endorsement there.")],
    rules: RulesFile,
    policy: PolicyFile,
    nonce: Nonce = None,
    nonce_sent_at: Annotated[
        str | None, typer.Option("--nonce-sent-at", metavar="TIME", help="When, for policies with a maximum age.")
    ] = None,
    block: Block = None,
    rpc: Rpc = None,
    deployment: Deployed = None,
    chain: Chain = None,
    contract: Contract = None,
    owner: Owner = None,
    certificate: Certificate = None,
    deadline: Annotated[
        str | None,
        typer.Option("--deadline", metavar="TIME", help="Last second of its use; default: the second full hour."),
    ] = None,
    at: At = None,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    keystore: Keystore = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """As an attestor: check that a key is attested and acceptable, and sign that a contract may admit it.

    Nothing is signed unless the evidence is genuine, your policy accepts it, it carries the key, and the rules name
    you. All attestors of one admission judge the same evidence and give the same --deadline.
    """
    from vml.chain import tee_endorsement as endorsing
    from vml.chain.tee_evidence import finding_of
    from vml.chain.tee_rules import Rules
    from vml.cli import tee_chain_work as work
    from vml.files import require_writable, write_atomic
    from vml.tee.appraisal import AppraisalPolicy

    require_writable(output)
    moment = read_moment(at)
    until = (moment // HOUR_S + 2) * HOUR_S if deadline is None else read_moment(deadline)
    under = Rules.load(rules)
    place = work.read_place(deployment, chain, contract, owner, under)
    key, asked = work.read_key(source, certificate), work.read_nonce(nonce, block, rpc, place, nonce_sent_at)
    results = work.judged(key, AppraisalPolicy.load(policy), moment, asked, allow_simulated, seed)
    admission = endorsing.Admission(place, under, key.certificate, finding_of(results, until))
    made = endorsing.endorse(admission, work.require_signer(keystore))
    write_atomic(output, made.to_bytes())
    value = _endorsement(made, output)
    Output(as_json, quiet).result(value, lambda console: show.endorsed(console, value, results))


def _terms(
    window: int | None, decision: int | None, bond: str | None, reward: str | None, lapse: str | None
) -> Terms | None:
    """The terms of bonded proposals, where rules have some.

    Raises:
        ValueError: some of what belongs together is missing, or terms that the contract refuses.
    """
    from vml.chain.tee_rules import Terms

    if window is None:
        if any(item is not None for item in (decision, bond, reward, lapse)):
            raise ValueError("--decision, --bond, --reward and --lapse are of proposals: give a --window")
        return None
    if decision is None or bond is None:
        raise ValueError("--window takes proposals: give --decision and --bond, too")
    stake = int(bond)
    won = stake // 2 if reward is None else int(reward)
    # Not free: where attestors sleep, bad proposals and bad challenges would cost gas alone.
    lost = stake // 10 if lapse is None else int(lapse)
    return Terms(window, decision, stake, stake, won, lost)


def _endorsement(made: Endorsement, output: Path) -> dict[str, Any]:
    admission = made.admission
    return {
        "out": str(output),
        "attestor": made.attestor,
        "chain_id": admission.place.chain_id,
        "contract": admission.place.contract,
        "owner": admission.place.owner,
        "rules": hexed(admission.rules.id),
        "threshold": admission.rules.threshold,
        "key_id": hexed(admission.certificate.key_id),
        "model": hexed(admission.certificate.model),
        "epoch": admission.certificate.epoch,
        "evidence_id": hexed(admission.finding.evidence),
        "collateral_end": str(admission.finding.collateral_end),
        "deadline": admission.finding.deadline,
        "simulated": admission.finding.simulated,
        "physical_adversary": "not covered",
    }


def add_to(app: typer.Typer) -> None:
    """Make these commands of a group."""
    for command in (rules, attest, endorse):
        app.command()(command)
