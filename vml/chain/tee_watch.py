"""What a watcher of bonded proposals asks: does the evidence of this one show what the proposal says?

Of a bundle this program finds out itself, as of the time of the proposal. Of a quote the contracts decide, so they are
asked: `prove` is tried without sending it. It has the attestation contract check the quote, looks at all that mode
OnChain looks at, and only then at where the proposal stands, so that a refusal for that alone says that the quote is
good. Whatever cannot be judged is a fault as long as the key may still come in.

Source: TeeProposals.sol, prove; docs/contracts-tee.md, section Optimistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.tee_evidence import KeyEvidence, finding_of, judge
from vml.errors import ChainError, VerificationError
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.files import read_json, write_json

if TYPE_CHECKING:
    from vml.chain.tee_proposals import Proposed

PROPOSALS = "TeeProposals"
_AFTER_THE_QUOTE = ("WrongStatus", "TooLate")
"""What `prove` refuses after it has found nothing wrong with the quote."""


@dataclass(frozen=True)
class Verdict:
    """What a watcher found.

    Args:
        judged: the evidence was looked at.
        fault: why the key must not come in, or why nobody here can say; None where nothing is wrong.
    """

    judged: bool
    fault: str | None


def watch(
    chain: Chain, contract: str, found: Proposed, policy: AppraisalPolicy | None, anchors: TrustAnchors
) -> Verdict:
    """Judge a proposal, whatever it is. One that cannot be judged is no error, so that a watcher sees the next one.

    Args:
        contract: of proposals; its node is believed about quotes.
        found: a bundle or a quote. A quote that is decided already is not judged any more.
        policy: that the rules name; None does not judge bundles.
        anchors: whom the watcher trusts; of no use for a quote.

    Raises:
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    try:
        if not found.said["isQuote"]:
            return Verdict(False, None) if policy is None else Verdict(True, judge_proposal(found, policy, anchors))
        if not found.pending:
            return Verdict(False, None)
        return Verdict(True, quote_fault(chain, contract, found.words, found.terms, found.rules, found.evidence))
    except (ChainError, ValueError) as error:
        return Verdict(False, f"not judged: {error}")


def quote_fault(
    chain: Chain, contract: str, proposal: tuple[Any, ...], terms: tuple[int, ...], rules: tuple[Any, ...], quote: bytes
) -> str | None:
    """Whether a contract would decide now that a quote shows what its proposal says. Nothing is sent.

    Args:
        contract: of proposals.
        proposal, terms, rules: as the contract takes them; the proposal need not have been made.
        quote: that it published.

    Returns:
        None where it would, otherwise what the contract calls the reason.

    Raises:
        ChainError: the node does not answer, or the attestation contract failed without saying why: that decides
            nothing.
    """
    try:
        chain.call(contract, artifacts.load(PROPOSALS).abi, "prove", proposal, terms, rules, quote)
    except ChainError as error:
        if error.error is None:
            raise
        return None if error.error in _AFTER_THE_QUOTE else str(error)
    return None


def published(key: KeyEvidence, *, is_quote: bool) -> bytes:
    """What a proposal publishes: the bare quote; with GPUs the attester's answer; otherwise an evidence file."""
    if is_quote:
        return key.evidence.data
    return write_json(key.evidence) if key.certificate.gpus is None else key.to_bytes()


def judge_proposal(found: Proposed, policy: AppraisalPolicy, anchors: TrustAnchors) -> str | None:
    """Whether a bundle shows what its proposal says, as of the time of the proposal.

    Args:
        found: with a bundle, not a quote: of that the attestation contract is asked.
        policy: that the rules name.
        anchors: whom the judge trusts.

    Returns:
        None where it does, otherwise why not.

    Raises:
        ValueError: a quote, another policy than the rules', or one with a field about the evidence's age, which a
            proposal does not say.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    if found.said["isQuote"]:
        raise ValueError("a quote is for the attestation contract to decide on")
    if found.rules[0] != policy.policy_id:
        raise ValueError(f"the rules are of the policy 0x{found.rules[0].hex()}, not 0x{policy.policy_id.hex()}")
    if policy.max_age_s is not None:
        raise ValueError("a policy with max_age_s cannot be applied: a proposal does not say when its nonce was known")
    nonce, at = found.said["nonce"], found.said["proposedAt"]
    try:
        key = _bundle(found, nonce)
        if (key.certificate, key.nonce) != (found.certificate, nonce):
            return "the published answer is about another key, or answers another nonce, than the proposal says"
        finding = finding_of(judge(key, policy, anchors, at, nonce), 0)
    except VerificationError as error:
        return str(error)
    if found.said["collateralEnd"] > finding.collateral_end:
        return (
            f"it says that the evidence lasts until {found.said['collateralEnd']}, it ends at {finding.collateral_end}"
        )
    if found.said["simulated"] != finding.simulated:
        return "it says of simulated evidence that it is not, or the reverse"
    return None


def _bundle(found: Proposed, nonce: bytes) -> KeyEvidence:
    """What `published` wrote."""
    if found.certificate.gpus is not None:
        return KeyEvidence.from_bytes(found.evidence)
    return KeyEvidence(found.certificate, nonce, read_json(found.evidence))
