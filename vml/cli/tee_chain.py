"""`vml tee admit | renew | revoke | status`: keys in a registry on a chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import tee_chain_work as work
from vml.cli import tee_show as show
from vml.cli.arguments import Keystore, Seed, read_moment
from vml.cli.attested import DEFAULT_SEED
from vml.cli.output import Debug, Json, Output, Quiet, hexed
from vml.cli.tee_rules import AllowSimulated, At, Block, Certificate, Deployed, Nonce

if TYPE_CHECKING:
    from vml.chain.tee_endorsement import Admission
    from vml.chain.tee_keys import Key, Quote
    from vml.chain.tee_rules import Mode

Rpc = Annotated[str, typer.Option("--rpc", metavar="URL", help="The chain's node.")]
Sources = Annotated[
    list[Path],
    typer.Argument(metavar="ENDORSEMENT...|SOURCE", help="What k attestors signed; with --mode, the attested key."),
]
ModeName = Annotated[
    str, typer.Option("--mode", metavar="MODE", help="quorum; or on-chain, zk: a contract checks the quote.")
]
RulesFile = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE", help="Likewise: what `vml tee rules` wrote.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="Likewise: checked here before it is paid for.")
]
ZkJournal = Annotated[Path | None, typer.Option("--zk-journal", metavar="FILE", help="zk: what the program put out.")]
ZkProof = Annotated[Path | None, typer.Option("--zk-proof", metavar="FILE", help="zk: the proof of its run.")]
ZkSystem = Annotated[
    int | None,
    typer.Option("--zk-system", metavar="N", min=0, max=255, help="zk: the contract's number of the system."),
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Remembers what was sent; default: beside the first file."),
]
Confirmations = Annotated[
    int | None, typer.Option("--confirmations", min=1, help="Blocks to wait for; default: 3, on a test chain 1.")
]


def admit(
    sources: Sources,
    rpc: Rpc,
    mode: ModeName = "quorum",
    deployment: Deployed = None,
    rules: RulesFile = None,
    policy: PolicyFile = None,
    nonce: Nonce = None,
    block: Block = None,
    certificate: Certificate = None,
    zk_journal: ZkJournal = None,
    zk_proof: ZkProof = None,
    zk_system: ZkSystem = None,
    at: At = None,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    keystore: Keystore = None,
    resume: Resume = None,
    confirmations: Confirmations = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Let a key in: from then on its receipts prove claims there. Anybody may bring an admission.

    By quorum: give endorsements of as many attestors as the rules want, and --rpc; they hold all else. By --mode
    on-chain or zk: give the attested key, --deployment, --rules, --policy and --block, whose nonce the quote carries.
    Run again after an interruption it goes on, and does nothing twice.
    """
    _bring(**{**locals(), "renewal": False})


def renew(
    sources: Sources,
    rpc: Rpc,
    mode: ModeName = "quorum",
    deployment: Deployed = None,
    rules: RulesFile = None,
    policy: PolicyFile = None,
    nonce: Nonce = None,
    block: Block = None,
    certificate: Certificate = None,
    zk_journal: ZkJournal = None,
    zk_proof: ZkProof = None,
    zk_system: ZkSystem = None,
    at: At = None,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    keystore: Keystore = None,
    resume: Resume = None,
    confirmations: Confirmations = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Prolong a key that is in: another admission, which has to end later. Arguments as of `admit`."""
    _bring(**{**locals(), "renewal": True})


def _bring(sources: list[Path], rpc: str, mode: str, *, renewal: bool, **given: Any) -> None:
    from vml.chain.steps import alone
    from vml.chain.tee_keys import TeeKeys
    from vml.chain.tee_rules import Mode, modes_of
    from vml.files import require_writable

    out = Output(given["as_json"], given["quiet"])
    (how,) = modes_of(mode) if "," not in mode else (None,)
    if how is None:
        raise ValueError("a key comes in by one mode at a time")
    if how is Mode.OPTIMISTIC:
        raise ValueError("such keys are proposed, and come in if nobody objects: vml tee proposal")
    endorsements, quoted = [], None
    if how is Mode.QUORUM:
        _require_none(given, ("rules", "policy", "nonce", "block", "certificate", "zk_journal", "zk_proof"), "quorum")
        endorsements = [work.read_endorsement(path) for path in sources]
        admission = endorsements[0].admission
    else:
        admission, quoted = _quoted(sources, rpc, how, given)
    admission.place.require_simulated_allowed(admission.finding.simulated)
    first = sources[0]
    file = given["resume"] or first.with_name(f"{first.name}.deployment.json")
    require_writable(file)
    signer = work.require_signer(given["keystore"])
    with alone(file):
        chain = work.chain_of(rpc, admission.place.chain_id, signer, given["confirmations"])
        keys = TeeKeys(chain, file, out.note)
        if quoted is None:
            name, key = keys.admit_by_quorum(endorsements, renewal=renewal)
        else:
            name, key = keys.admit_by_quote(admission, quoted, renewal=renewal)
        sent = keys.state.steps.get("renew" if renewal else "admit")
    value = _admitted(admission, how, name, key, sent, file)
    out.result(value, lambda console: show.admitted(console, value))


def _quoted(sources: list[Path], rpc: str, how: Mode, given: dict[str, Any]) -> tuple[Admission, Quote]:
    """What a contract is to check, checked here first: a refusal there costs millions of gas."""
    from vml.chain.tee_endorsement import Admission
    from vml.chain.tee_evidence import finding_of
    from vml.chain.tee_keys import Quote
    from vml.chain.tee_rules import Mode, Rules
    from vml.tee.appraisal import AppraisalPolicy
    from vml.tee.files import read_bytes

    needed = ("deployment", "rules", "policy", "block")
    missing = [f"--{name}" for name in needed if given[name] is None]
    if missing or len(sources) != 1 or given["nonce"] is not None:
        raise ValueError(
            f"--mode {how.word} takes one attested key with --deployment, --rules, --policy and --block"
            + (f"; {', '.join(missing)} is missing" if missing else "")
        )
    under = Rules.load(given["rules"])
    place = work.read_place(given["deployment"], None, None, None, under)
    key, moment = work.read_key(sources[0], given["certificate"]), read_moment(given["at"])
    asked = work.read_nonce(None, given["block"], rpc, place)
    policy = AppraisalPolicy.load(given["policy"])
    results = work.judged(key, policy, moment, asked, given["allow_simulated"], given["seed"])
    words: bytes | tuple[bytes, int, bytes] = key.evidence.data
    if how is Mode.ZK:
        if given["zk_journal"] is None or given["zk_proof"] is None or given["zk_system"] is None:
            raise ValueError("--mode zk takes --zk-journal, --zk-proof and --zk-system")
        words = (read_bytes(given["zk_journal"]), given["zk_system"], read_bytes(given["zk_proof"]))
    return Admission(place, under, key.certificate, finding_of(results, 0)), Quote(how, given["block"], words)


def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="0x and the key's id, or a file that names it, as for admit.")
    ],
    deployment: Annotated[
        Path, typer.Option("--deployment", metavar="FILE", help="What `vml contract deploy MODEL --rules` wrote.")
    ],
    rpc: Rpc,
    epoch: Annotated[
        int | None, typer.Option("--epoch", metavar="N", help="The key's; needed with a bare id.", min=0)
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="MODES", help="Default: every mode that you accept.")
    ] = None,
    keystore: Keystore = None,
    confirmations: Confirmations = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """As the owner: never believe a key again, whoever admits it. There is no way back."""
    from vml.chain.steps import alone
    from vml.chain.tee_keys import TeeKeys, acceptance_of
    from vml.chain.tee_rules import modes_of

    out = Output(as_json, quiet)
    key_id, of_epoch = _named(key, epoch)
    signer = work.require_signer(keystore)
    with alone(deployment):
        state = work.read_deployment(deployment)
        place, model = work.place_of(state), bytes.fromhex(state.model["model"][2:])
        chain = work.chain_of(rpc, place.chain_id, signer, confirmations)
        entry = bytes.fromhex(state.model["key"][2:])
        _, acceptance = acceptance_of(chain, state.contracts["router"].address, entry)
        modes = acceptance.modes if mode is None else modes_of(mode)
        keys = TeeKeys(chain, deployment, out.note)
        records = {
            item.word: hexed(keys.revoke(place, model, acceptance.rules, key_id, of_epoch, item)) for item in modes
        }
    value = {
        "revoked": True,
        "key_id": hexed(key_id),
        "epoch": of_epoch,
        "records": records,
        "chain_id": place.chain_id,
        "contract": place.contract,
        "owner": place.owner,
    }
    out.result(value, lambda console: show.revoked(console, value))


def rotate(
    epoch: Annotated[int, typer.Argument(metavar="EPOCH", help="The lowest epoch of a key from now on.", min=1)],
    deployment: Annotated[
        Path, typer.Option("--deployment", metavar="FILE", help="What `vml contract deploy MODEL --rules` wrote.")
    ],
    rpc: Rpc,
    keystore: Keystore = None,
    confirmations: Confirmations = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """As the owner: end all keys of the model of lower epochs at once, under all rules. There is no way back."""
    from vml.chain.steps import alone
    from vml.chain.tee_keys import TeeKeys

    out = Output(as_json, quiet)
    signer = work.require_signer(keystore)
    with alone(deployment):
        state = work.read_deployment(deployment)
        place, model = work.place_of(state), bytes.fromhex(state.model["model"][2:])
        chain = work.chain_of(rpc, place.chain_id, signer, confirmations)
        TeeKeys(chain, deployment, out.note).raise_epoch(place, model, epoch)
    value = {"minimum_epoch": epoch, "model": hexed(model), "chain_id": place.chain_id, "owner": place.owner}
    out.result(value, lambda console: show.rotated(console, value))


def recheck(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The key, with the quote that came in.")],
    deployment: Annotated[
        Path, typer.Option("--deployment", metavar="FILE", help="What `vml contract deploy MODEL --rules` wrote.")
    ],
    rules: Annotated[Path, typer.Option("--rules", metavar="FILE", help="Under which it came in.")],
    rpc: Rpc,
    keystore: Keystore = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Have the quote of a key that a contract let in checked again: it ends if that is not genuine now. Anybody."""
    from vml.chain.tee_keys import TeeKeys
    from vml.chain.tee_rules import Rules

    out = Output(as_json, quiet)
    under = Rules.load(rules)
    place, key = work.read_place(deployment, None, None, None, under), work.read_key(source)
    signer = work.require_signer(keystore)
    chain = work.chain_of(rpc, place.chain_id, signer)
    name = TeeKeys(chain, None, out.note).end_by_recheck(place, under, key.certificate, key.evidence.data)
    value = {"ended": True, "record": hexed(name), "key_id": hexed(key.certificate.key_id), "chain_id": place.chain_id}
    out.result(value, lambda console: show.ended(console, value))


def status(
    deployment: Annotated[
        Path, typer.Argument(metavar="DEPLOYMENT", help="What `vml contract deploy MODEL --rules` wrote.")
    ],
    rpc: Rpc,
    from_block: Annotated[
        int, typer.Option("--from-block", metavar="N", help="Where to begin to look for admissions.", min=0)
    ] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the keys that came in for a model: how, until when, and whether its owner accepts them now."""
    from vml.chain import artifacts
    from vml.chain.tee_keys import acceptance_of, admitted, time_of
    from vml.chain.tee_rules import VERIFIER

    state = work.read_deployment(deployment)
    place, model = work.place_of(state), bytes.fromhex(state.model["model"][2:])
    chain = work.chain_of(rpc, place.chain_id)
    entry = bytes.fromhex(state.model["key"][2:])
    _, acceptance = acceptance_of(chain, state.contracts["router"].address, entry)
    raised = chain.call(place.contract, artifacts.load(VERIFIER).abi, "minimumEpochOf", entry)
    lowest, now = max(raised, acceptance.minimum_epoch), time_of(chain)
    keys = [
        {
            "record": hexed(item.record),
            "key_id": hexed(item.key_id),
            "epoch": item.epoch,
            "mode": item.mode.word,
            "rules": hexed(item.rules),
            "not_after": item.key.not_after,
            "state": item.key.state_at(now),
            "accepted": item.key.state_at(now) == "admitted"
            and item.rules == acceptance.rules
            and item.mode in acceptance.modes
            and item.epoch >= lowest,
            "simulated": item.key.simulated,
            "evidence_id": hexed(item.key.evidence),
        }
        for item in admitted(chain, place.contract, place.owner, model, from_block)
    ]
    value = {
        "chain_id": place.chain_id,
        "contract": place.contract,
        "owner": place.owner,
        "model": hexed(model),
        "key": hexed(entry),
        "rules": hexed(acceptance.rules),
        "modes": [mode.word for mode in acceptance.modes],
        "minimum_epoch": lowest,
        "at": now,
        "keys": keys,
    }
    Output(as_json, quiet).result(value, lambda console: show.keys(console, value))


def add_to(app: typer.Typer) -> None:
    """Make these commands of a group."""
    for command in (admit, renew, revoke, rotate, recheck, status):
        app.command()(command)


def _require_none(given: dict[str, Any], names: tuple[str, ...], mode: str) -> None:
    for name in names:
        if given[name] is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is not for --mode {mode}: endorsements hold all that is needed"
            )


def _named(text: str, epoch: int | None) -> tuple[bytes, int]:
    """Id and epoch of a key, from its id or from a file.

    Raises:
        ValueError: an id without an epoch, or a file with one.
        MalformedProof, OSError: it is no such file.
    """
    from vml.claim import parse_bytes32

    if text.startswith("0x"):
        if epoch is None:
            raise ValueError("give the key's --epoch")
        return parse_bytes32(text), epoch
    if epoch is not None:
        raise ValueError("--epoch is for a bare key id: the file says it")
    path = Path(text)
    if work.is_endorsement(path):
        certificate = work.read_endorsement(path).admission.certificate
    else:
        certificate = work.read_key(path).certificate
    return certificate.key_id, certificate.epoch


def _admitted(admission: Admission, mode: Mode, name: bytes, key: Key, sent: str | None, file: Path) -> dict[str, Any]:
    return {
        "admitted": True,
        "mode": mode.word,
        "record": hexed(name),
        "key_id": hexed(admission.certificate.key_id),
        "model": hexed(admission.certificate.model),
        "epoch": admission.certificate.epoch,
        "not_after": key.not_after,
        "simulated": key.simulated,
        "evidence_id": hexed(key.evidence),
        "rules": hexed(admission.rules.id),
        "chain_id": admission.place.chain_id,
        "contract": admission.place.contract,
        "owner": admission.place.owner,
        "transaction": sent,
        "file": str(file),
        "physical_adversary": "not covered",
    }
