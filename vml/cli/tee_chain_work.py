"""What `vml tee` reads before it asks or changes a chain: places, attested keys, endorsements, accounts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vml.cli.arguments import find_signer
from vml.errors import ChainError

if TYPE_CHECKING:
    from vml.chain.client import Chain
    from vml.chain.deployment import Deployment
    from vml.chain.keys import Signer
    from vml.chain.tee_endorsement import Endorsement, Place
    from vml.chain.tee_evidence import KeyEvidence
    from vml.chain.tee_rules import Rules
    from vml.tee.appraisal import AppraisalPolicy
    from vml.tee.appraise import AttestationResult

CONFIRMATIONS = 3
ANY = "any"
NO_KEY = "nobody can sign: give --keystore FILE, or a key in VML_PRIVATE_KEY (never on the command line)"


def read_deployment(file: Path) -> Deployment:
    """A finished deployment of `vml contract deploy MODEL --rules FILE`.

    Raises:
        OSError: there is none.
        ValueError, ChainError: it is damaged, unfinished, or of another kind.
    """
    from vml.chain.deploy_tee import require_tee
    from vml.chain.deployment import load

    state = load(file)
    if state is None:
        raise FileNotFoundError(2, "no deployment file; `vml contract deploy MODEL --rules FILE` writes it", str(file))
    require_tee(state, str(file))
    return state


def place_of(state: Deployment) -> Place:
    """Where keys are admitted under a deployment, and for whom."""
    from vml.chain.tee_endorsement import Place

    return Place(state.chain_id, state.contracts["adapter"].address, state.deployer)


def read_place(
    deployment: Path | None, chain: int | None, contract: str | None, owner: str | None, rules: Rules
) -> Place:
    """Where a key is to be admitted, from a deployment file or from three options.

    Raises:
        ValueError: neither, both, or a deployment under other rules.
        OSError, ChainError: as `read_deployment`.
    """
    from vml.chain.client import address
    from vml.chain.tee_endorsement import Place

    given = (chain, contract, owner)
    if deployment is not None:
        if any(item is not None for item in given):
            raise ValueError("--deployment says where: leave out --chain, --contract and --owner")
        state = read_deployment(deployment)
        if state.model["rules"] != "0x" + rules.id.hex():
            raise ValueError(
                f"{deployment} accepts keys under the rules {state.model['rules']}, not 0x{rules.id.hex()}"
            )
        return place_of(state)
    if chain is None or contract is None or owner is None:
        raise ValueError("say where: --deployment FILE, or --chain, --contract and --owner")
    return Place(chain, address(contract, "--contract"), address(owner, "--owner"))


def read_key(source: Path, certificate: Path | None = None) -> KeyEvidence:
    """An attested key: a signed run, an attester's answer, or evidence with its certificate and nonce.

    Raises:
        MalformedProof: another file.
        ValueError, OSError: it cannot be read.
    """
    from vml.chain.tee_evidence import KeyEvidence
    from vml.proof import FORMAT, Proof
    from vml.tee.files import SUFFIX, read, read_bytes

    if certificate is None:
        if source.is_dir() or source.name.endswith(SUFFIX):
            raise ValueError(
                f"{source} does not say for which key: give --certificate FILE, or what `vml tee attest` wrote"
            )
        data = read_bytes(source)
        if f'"{FORMAT}"'.encode() in data[:1024] or source.name.endswith(".proof.json"):
            return KeyEvidence.of_proof(Proof.from_bytes(data))
        return KeyEvidence.from_bytes(data)
    from dataclasses import replace

    # Certificate and nonce as an attester answers them; the evidence, which may have more collateral, is the file's.
    return replace(KeyEvidence.from_bytes(read_bytes(certificate)), evidence=read(source))


def read_nonce(
    text: str | None, block: int | None, rpc: str | None, place: Place, sent_at: str | None = None
) -> tuple[bytes | None, int | None]:
    """What the attester had to repeat, and since when that could be known.

    Args:
        text: 0x and hex digits; "any" takes evidence that answers somebody else's.
        block: number of the block whose nonce it is; takes `rpc`, and says when.
        sent_at: when, with a nonce of one's own.

    Raises:
        ValueError: neither or both of the first two, or a time with something else.
        ChainError: no such block.
    """
    from vml.claim import parse_bytes32
    from vml.cli.arguments import read_moment

    if (text is None) == (block is None):
        raise ValueError("what did the attester repeat? --nonce 0x…, --block N, or --nonce any if you did not ask it")
    if sent_at is not None and text in (None, ANY):
        raise ValueError("--nonce-sent-at is about a --nonce that you sent")
    if block is None:
        asked = None if text == ANY else parse_bytes32(text or "")
        return asked, None if sent_at is None else read_moment(sent_at)
    if rpc is None:
        raise ValueError("--block is of a chain: give its --rpc")
    from vml.chain.tee_keys import block_nonce

    return block_nonce(chain_of(rpc, place.chain_id), place.contract, block)


def judged(
    key: KeyEvidence,
    policy: AppraisalPolicy,
    at: int,
    nonce: tuple[bytes | None, int | None],
    allow_simulated: bool,
    seed: str,
) -> tuple[AttestationResult, ...]:
    """The results of `vml.chain.tee_evidence.judge`, under vendors' roots unless a simulator's are asked for."""
    from vml.chain.tee_evidence import judge
    from vml.cli.tee_anchors import anchors

    asked, sent_at = nonce
    return judge(key, policy, anchors(allow_simulated, seed), at, asked, nonce_sent_at=sent_at)


def read_endorsement(path: Path) -> Endorsement:
    """An endorsement, whose signature is checked.

    Raises:
        ValueError, OSError: it cannot be read, or is not signed.
    """
    from vml.chain.tee_endorsement import MAX_BYTES, Endorsement

    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return Endorsement.from_bytes(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def is_endorsement(path: Path) -> bool:
    """Whether a file says that it is an endorsement."""
    from vml.chain.tee_endorsement import FORMAT, MAX_BYTES

    if path.is_dir():
        return False
    with path.open("rb") as file:
        return f'"format":"{FORMAT}"'.encode() in file.read(MAX_BYTES)


def require_signer(keystore: Path | None) -> Signer:
    """The account to sign with.

    Raises:
        ChainError: there is no key.
        ValueError: a key or file that is none, or no password.
    """
    signer = find_signer(keystore)
    if signer is None:
        raise ChainError(NO_KEY)
    return signer


def chain_of(rpc: str, chain_id: int | None, signer: Signer | None = None, confirmations: int | None = None) -> Chain:
    """The chain behind an address.

    Raises:
        ChainError: nobody answers, or it is another chain.
        BackendUnavailable: the extra ``chain`` is not installed.
    """
    from vml.chain.client import connect
    from vml.chain.tee_endorsement import LOCAL_CHAINS
    from vml.chain.transactions import Limits

    chain = connect(rpc, signer=signer, chain_id=chain_id)
    chain.limits = Limits(confirmations or (1 if chain.chain_id in LOCAL_CHAINS else CONFIRMATIONS))
    return chain
