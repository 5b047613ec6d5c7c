// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDcapAttestation} from "src/interfaces/IDcapAttestation.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {DcapOutput} from "src/tee/DcapOutput.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {LocalChain} from "src/tee/LocalChain.sol";
import {Quorum} from "src/tee/Quorum.sol";

/// @title Bonded proposals of keys
/// @notice See ITeeProposals. The registry makes this contract and takes keys from no other, so that money and the
/// checking of receipts have nothing in common. Nobody governs it and nobody but its owner gets a bond or a credit: at
/// all times the balance is the bonds of what is open or challenged, plus the credits, plus what is burned.
contract TeeProposals is ITeeProposals, EIP712 {
    bytes32 private constant DECISION_TYPE_HASH = keccak256("Decision(bytes32 proposal,bool genuine)");

    /// @inheritdoc ITeeProposals
    ISignerRegistry public immutable registry;

    /// @inheritdoc ITeeProposals
    mapping(address who => uint256) public creditOf;
    /// @inheritdoc ITeeProposals
    uint256 public burned;
    mapping(bytes32 id => State) private _states;

    /// @dev Called by the registry while it is made: nothing can be asked of it yet.
    constructor(ISignerRegistry registry_) EIP712("vml", "1") {
        registry = registry_;
    }

    // ---- moves -----------------------------------------------------------------------------------------------------

    /// @inheritdoc ITeeProposals
    function propose(
        Application calldata application,
        ISignerRegistry.Rules calldata rules,
        Terms calldata terms,
        ISignerRegistry.Certificate calldata certificate,
        bytes calldata evidence
    ) external payable returns (bytes32 id) {
        _requireForum(application, rules, certificate);
        _requireTerms(rules, terms);
        if (evidence.length == 0) revert EvidenceMissing();
        if (application.simulated && !LocalChain.isHere()) revert ISignerRegistry.SimulatedEvidence();
        _requireValue(terms.proposerBond);
        Proposal memory proposal = Proposal({
            proposer: msg.sender,
            owner: application.owner,
            rules: keccak256(abi.encode(rules)),
            terms: rules.terms,
            certificate: KeyCertificate.digest(certificate),
            evidence: keccak256(evidence),
            nonce: registry.nonceAt(application.blockNumber),
            proposedAt: uint64(block.timestamp),
            collateralEnd: application.collateralEnd,
            simulated: application.simulated,
            isQuote: application.isQuote
        });
        id = _idOf(proposal);
        if (_states[id].status != Status.None) revert AlreadyProposed(id);
        _states[id] = State(address(0), uint64(block.timestamp + terms.window), Status.Open);
        bytes32 entry = keccak256(abi.encode(application.owner, certificate.model));
        emit KeyProposed(id, entry, proposal.rules, proposal, rules, terms, certificate, evidence);
    }

    /// @inheritdoc ITeeProposals
    function challenge(Proposal calldata proposal, Terms calldata terms) external payable {
        (bytes32 id, State memory state) = _read(proposal, terms, Status.Open);
        if (block.timestamp > state.until) revert TooLate(state.until);
        _requireValue(terms.challengerBond);
        uint64 until = uint64(block.timestamp + terms.decision);
        _states[id] = State(msg.sender, until, Status.Challenged);
        emit ProposalChallenged(id, msg.sender, until);
    }

    /// @inheritdoc ITeeProposals
    /// @dev A check that fails may have failed for want of gas or of collateral, so it says nothing. The state is read
    /// after it: whoever was asked may have made a move meanwhile.
    function prove(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        bytes calldata quote
    ) external {
        if (!proposal.isQuote) revert OtherForum();
        _requireRules(proposal, rules);
        bytes32 evidence = keccak256(quote);
        if (evidence != proposal.evidence) revert EvidenceMismatch(proposal.evidence, evidence);
        (bool success, bytes memory output) = IDcapAttestation(rules.attestation).verifyAndAttestOnChain(quote);
        if (!success) revert ISignerRegistry.AttestationFailed(output);
        bool simulated = DcapOutput.check(output, rules, proposal.certificate, proposal.nonce);
        if (simulated != proposal.simulated) revert SimulatedMismatch(simulated);
        (bytes32 id,) = _undecided(proposal, terms);
        _forProposer(id, proposal, terms);
    }

    /// @inheritdoc ITeeProposals
    function decide(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        bool genuine,
        bytes calldata signatures
    ) external {
        if (proposal.isQuote) revert OtherForum();
        _requireRules(proposal, rules);
        (bytes32 id, State memory state) = _undecided(proposal, terms);
        Quorum.check(rules, decisionDigest(id, genuine), signatures);
        if (genuine) {
            _forProposer(id, proposal, terms);
        } else {
            _forChallenger(id, state.challenger, terms);
        }
    }

    /// @inheritdoc ITeeProposals
    function expire(Proposal calldata proposal, Terms calldata terms) external {
        (bytes32 id, State memory state) = _read(proposal, terms, Status.Challenged);
        if (block.timestamp <= state.until) revert TooEarly(state.until);
        if (proposal.isQuote) {
            _forChallenger(id, state.challenger, terms);
        } else {
            _end(id, Status.Lapsed);
            burned += 2 * uint256(terms.lapse);
            creditOf[proposal.proposer] += terms.proposerBond - terms.lapse;
            creditOf[state.challenger] += terms.challengerBond - terms.lapse;
        }
    }

    /// @inheritdoc ITeeProposals
    function accept(Proposal calldata proposal, Terms calldata terms) external {
        _accept(proposal, terms);
    }

    /// @inheritdoc ITeeProposals
    function activate(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        ISignerRegistry.Certificate calldata certificate
    ) external returns (bytes32 record) {
        _requireRules(proposal, rules);
        bytes32 digest = KeyCertificate.digest(certificate);
        if (digest != proposal.certificate) revert CertificateMismatch(proposal.certificate, digest);
        if (_states[_idOf(proposal)].status != Status.Accepted) _accept(proposal, terms);
        return registry.admitProposed(
            proposal.owner,
            rules,
            certificate,
            proposal.evidence,
            proposal.collateralEnd,
            proposal.proposedAt,
            proposal.simulated
        );
    }

    /// @inheritdoc ITeeProposals
    function withdraw() external {
        uint256 amount = creditOf[msg.sender];
        if (amount == 0) revert NothingToWithdraw();
        delete creditOf[msg.sender];
        emit Withdrawn(msg.sender, amount);
        (bool sent,) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed();
    }

    // ---- views -----------------------------------------------------------------------------------------------------

    /// @inheritdoc ITeeProposals
    function stateOf(bytes32 id) external view returns (State memory state) {
        return _states[id];
    }

    /// @inheritdoc ITeeProposals
    function idOf(Proposal calldata proposal) external view returns (bytes32 id) {
        return _idOf(proposal);
    }

    /// @inheritdoc ITeeProposals
    function decisionDigest(bytes32 id, bool genuine) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(DECISION_TYPE_HASH, id, genuine)));
    }

    // ---- within ----------------------------------------------------------------------------------------------------

    /// @dev Somebody has to be able to decide, and not both ways.
    function _requireForum(
        Application calldata application,
        ISignerRegistry.Rules calldata rules,
        ISignerRegistry.Certificate calldata certificate
    ) private pure {
        if (application.isQuote) {
            if (rules.attestation == address(0)) {
                revert ISignerRegistry.ModeNotInRules(ISignerRegistry.Mode.OnChain);
            }
            if (certificate.gpus != 0) revert ISignerRegistry.GpusNotChecked(ISignerRegistry.Mode.Optimistic);
        } else {
            if (rules.threshold == 0) revert ISignerRegistry.ModeNotInRules(ISignerRegistry.Mode.Quorum);
            if (2 * uint256(rules.threshold) <= rules.attestors.length) {
                revert NoMajority(rules.threshold, rules.attestors.length);
            }
        }
    }

    function _requireTerms(ISignerRegistry.Rules calldata rules, Terms calldata terms) private pure {
        if (rules.terms == 0) revert ISignerRegistry.ModeNotInRules(ISignerRegistry.Mode.Optimistic);
        bytes32 hash = keccak256(abi.encode(terms));
        if (hash != rules.terms) revert TermsMismatch(rules.terms, hash);
        uint256 least = terms.proposerBond < terms.challengerBond ? terms.proposerBond : terms.challengerBond;
        bool paid = least != 0 && 2 * uint256(terms.reward) <= least && terms.lapse <= least;
        if (terms.window == 0 || terms.decision == 0 || !paid) revert TermsRefused();
    }

    function _requireRules(Proposal calldata proposal, ISignerRegistry.Rules calldata rules) private pure {
        bytes32 hash = keccak256(abi.encode(rules));
        if (hash != proposal.rules) revert RulesMismatch(proposal.rules, hash);
    }

    function _requireValue(uint256 expected) private view {
        if (msg.value != expected) revert WrongValue(expected, msg.value);
    }

    /// @dev The state of a proposal that is where a move needs it, with its own terms.
    function _read(Proposal calldata proposal, Terms calldata terms, Status expected)
        private
        view
        returns (bytes32 id, State memory state)
    {
        id = _idOf(proposal);
        state = _states[id];
        if (state.status != expected) revert WrongStatus(state.status);
        bytes32 hash = keccak256(abi.encode(terms));
        if (hash != proposal.terms) revert TermsMismatch(proposal.terms, hash);
    }

    function _undecided(Proposal calldata proposal, Terms calldata terms)
        private
        view
        returns (bytes32 id, State memory state)
    {
        (id, state) = _read(proposal, terms, Status.Challenged);
        if (block.timestamp > state.until) revert TooLate(state.until);
    }

    function _accept(Proposal calldata proposal, Terms calldata terms) private {
        (bytes32 id, State memory state) = _read(proposal, terms, Status.Open);
        if (block.timestamp <= state.until) revert TooEarly(state.until);
        _end(id, Status.Accepted);
        creditOf[proposal.proposer] += terms.proposerBond;
    }

    function _forProposer(bytes32 id, Proposal calldata proposal, Terms calldata terms) private {
        _end(id, Status.Accepted);
        creditOf[proposal.proposer] += uint256(terms.proposerBond) + terms.reward;
        burned += terms.challengerBond - terms.reward;
    }

    function _forChallenger(bytes32 id, address challenger, Terms calldata terms) private {
        _end(id, Status.Refused);
        creditOf[challenger] += uint256(terms.challengerBond) + terms.reward;
        burned += terms.proposerBond - terms.reward;
    }

    function _end(bytes32 id, Status status) private {
        _states[id].status = status;
        emit ProposalEnded(id, status);
    }

    function _idOf(Proposal memory proposal) private view returns (bytes32) {
        return keccak256(abi.encode(address(this), proposal));
    }
}
