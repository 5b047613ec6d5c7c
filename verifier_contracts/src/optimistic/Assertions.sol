// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IEscalation} from "src/interfaces/IEscalation.sol";
import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {Bonds} from "src/optimistic/Bonds.sol";

/// @title Assertions: terms, the claim, its input, its window, its end
/// @notice As vml/backends/optimistic/game.py.
abstract contract Assertions is Bonds {
    bytes1 internal constant TAG_TERMS = 0x20;
    bytes1 internal constant TAG_ASSERTION = 0x21;
    bytes1 internal constant TAG_QUESTION = 0x23;
    uint256 internal constant VERSION = 1;

    IGraphRegistry private immutable _graphs;
    IEscalation public immutable escalation;

    mapping(bytes32 digest => Terms) internal _terms;
    mapping(bytes32 id => Record) internal _records;
    mapping(bytes32 model => mapping(bytes32 input => bool)) private _published;
    mapping(bytes32 id => bytes32) private _cursor;
    /// @inheritdoc IDisputeGame
    mapping(bytes32 id => address) public requesterOf;
    /// @inheritdoc IDisputeGame
    mapping(bytes32 question => bytes32 id) public latestOf;
    /// @inheritdoc IDisputeGame
    mapping(bytes32 id => bytes32 previous) public previousOf;

    /// @param escalation_ zero for a game without
    constructor(IGraphRegistry graphs_, IEscalation escalation_) {
        _graphs = graphs_;
        escalation = escalation_;
    }

    // ---- terms -----------------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function offerTerms(Terms calldata terms) external returns (bytes32 digest) {
        if (terms.window == 0 || terms.asserterClock == 0 || terms.challengerClock == 0) revert BadTerms();
        if (terms.slashReward > terms.asserterBond / 2 || terms.defenceReward > terms.challengerBond / 2) {
            revert BadTerms();
        }
        if (terms.requestFee > terms.challengerBond || terms.escalatedWindow > terms.window) revert BadTerms();
        digest = keccak256(bytes.concat(TAG_TERMS, abi.encode(terms)));
        if (_terms[digest].window != 0) return digest;
        _terms[digest] = terms;
        emit TermsOffered(digest, terms);
    }

    /// @inheritdoc IDisputeGame
    function termsOf(bytes32 digest) external view returns (Terms memory) {
        return _offered(digest);
    }

    // ---- the claim -------------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function assertClaim(Assertion calldata assertion, bytes[] calldata input) external payable returns (bytes32 id) {
        if (assertion.asserter != msg.sender) revert NotTheAsserter(assertion.asserter);
        Terms storage terms = _offered(assertion.terms);
        _requireValue(terms.asserterBond);
        id = idOf(assertion);
        Record storage record = _records[id];
        if (record.status != Status.None) revert AssertionExists(id);
        VmlClaim.Claim calldata claim = assertion.claim;
        if (input.length > 0) {
            _publish(claim.model, input, claim.input);
            record.inputPublic = true;
        } else {
            _graphs.graphOf(claim.model);
            record.inputPublic = _published[claim.model][claim.input];
        }
        record.status = Status.Open;
        record.openedAt = uint40(block.timestamp);
        record.closesAt = uint40(block.timestamp + terms.window);
        bytes32 question = _questionOf(assertion);
        bytes32 latest = latestOf[question];
        if (latest != 0) previousOf[id] = latest;
        latestOf[question] = id;
        emit Asserted(id, claim.model, msg.sender, assertion);
    }

    /// @inheritdoc IDisputeGame
    function idOf(Assertion calldata assertion) public view returns (bytes32 id) {
        return keccak256(
            abi.encodePacked(
                TAG_ASSERTION,
                VERSION,
                block.chainid,
                uint256(uint160(address(this))),
                VmlClaim.digest(assertion.claim),
                uint256(uint160(assertion.asserter)),
                assertion.terms,
                assertion.trace,
                assertion.nonce
            )
        );
    }

    // ---- the input -------------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function storeInput(bytes32 model, bytes[] calldata data) external returns (bytes32 input) {
        input = _graphs.inputRoot(model, data);
        if (_published[model][input]) return input;
        _published[model][input] = true;
        emit InputPublished(model, input, data);
    }

    /// @inheritdoc IDisputeGame
    function isPublished(bytes32 model, bytes32 input) external view returns (bool) {
        return _published[model][input];
    }

    /// @inheritdoc IDisputeGame
    function requestInput(Assertion calldata assertion) external payable {
        (bytes32 id, Record storage record) = _open(assertion);
        _requireValue(_terms[assertion.terms].challengerBond);
        if (record.inputPublic) revert InputKnown();
        if (record.requestedAt != 0) revert InputRequestedAlready(record.requestedAt);
        if (block.timestamp > record.closesAt) revert WindowClosed(record.closesAt);
        record.requestedAt = uint40(block.timestamp);
        requesterOf[id] = msg.sender;
        emit InputRequested(id, msg.sender);
    }

    /// @inheritdoc IDisputeGame
    function revealInput(Assertion calldata assertion, bytes[] calldata input) external {
        (bytes32 id, Record storage record) = _openedByCaller(assertion);
        if (record.inputPublic) revert InputKnown();
        if (record.requestedAt == 0) revert InputNotRequested();
        Terms storage terms = _terms[assertion.terms];
        uint256 until = uint256(record.requestedAt) + terms.asserterClock;
        if (block.timestamp > until) revert ClockExpired(until);
        _publish(assertion.claim.model, input, assertion.claim.input);
        uint256 fee = terms.requestFee;
        _pay(assertion.asserter, fee);
        _pay(requesterOf[id], terms.challengerBond - fee);
        (record.requestedAt, record.inputPublic) = (0, true);
        // Whoever computes again can begin only now. The input is public from here on, so this happens once.
        uint256 closesAt = block.timestamp + (record.escalated ? terms.escalatedWindow : terms.window);
        if (closesAt > record.closesAt) record.closesAt = uint40(closesAt);
        emit InputRevealed(id, record.closesAt);
    }

    /// @inheritdoc IDisputeGame
    function claimInputTimeout(Assertion calldata assertion) external {
        (bytes32 id, Record storage record) = _open(assertion);
        if (record.requestedAt == 0) revert InputNotRequested();
        uint256 until = uint256(record.requestedAt) + _terms[assertion.terms].asserterClock;
        if (block.timestamp <= until) revert ClockRunning(until);
        _slash(assertion, id, 0, requesterOf[id], Reason.InputWithheld);
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function escalate(Assertion calldata assertion, bytes calldata proof) external {
        (bytes32 id, Record storage record) = _open(assertion);
        Terms storage terms = _terms[assertion.terms];
        if (terms.escalation == 0 || record.escalated || address(escalation) == address(0)) revert NotEscalating();
        if (block.timestamp > record.closesAt) revert WindowClosed(record.closesAt);
        bytes4 selector = escalation.admit(terms.escalation, assertion.claim, proof);
        record.escalated = true;
        uint256 closesAt = block.timestamp + terms.escalatedWindow;
        if (closesAt < record.closesAt) record.closesAt = uint40(closesAt);
        emit Escalated(id, selector, record.closesAt);
    }

    /// @inheritdoc IDisputeGame
    function settle(Assertion calldata assertion, uint256 limit, Assertion[] calldata rivals) external {
        (bytes32 id, Record storage record) = _open(assertion);
        _requireQuiet(assertion, record);
        bytes32 next = _cursor[id] == 0 ? latestOf[_questionOf(assertion)] : _cursor[id];
        bool contradicted = record.contradicted;
        uint256 used = 0;
        for (; next != 0 && limit > 0; --limit) {
            if (next != id && _matters(next, record.closesAt)) {
                if (used == rivals.length || idOf(rivals[used]) != next) revert RivalMissing(next);
                contradicted = _contradicts(assertion, rivals[used++]) || contradicted;
            }
            next = previousOf[next];
        }
        record.contradicted = contradicted;
        if (next != 0) {
            _cursor[id] = next;
            emit Compared(id, next, contradicted);
            return;
        }
        record.status = contradicted ? Status.Void : Status.Final;
        _pay(assertion.asserter, _terms[assertion.terms].asserterBond);
        emit Settled(id, record.status);
    }

    /// @inheritdoc IDisputeGame
    function recordOf(bytes32 id) external view returns (Record memory) {
        return _records[id];
    }

    /// @inheritdoc IDisputeGame
    function graphs() public view returns (IGraphRegistry) {
        return _graphs;
    }

    // ---- within ----------------------------------------------------------------------------------------------------

    function _offered(bytes32 digest) internal view returns (Terms storage terms) {
        terms = _terms[digest];
        if (terms.window == 0) revert TermsUnknown(digest);
    }

    function _open(Assertion calldata assertion) internal view returns (bytes32 id, Record storage record) {
        id = idOf(assertion);
        record = _records[id];
        if (record.status == Status.None) revert AssertionUnknown(id);
        if (record.status != Status.Open) revert AssertionDecided(id, record.status);
    }

    function _openedByCaller(Assertion calldata assertion) internal view returns (bytes32 id, Record storage record) {
        (id, record) = _open(assertion);
        if (assertion.asserter != msg.sender) revert NotTheAsserter(assertion.asserter);
    }

    /// @dev What is asked, and under which terms: anybody offers terms, and a rival with next to no bond and a window of
    /// years would hold up all others.
    function _questionOf(Assertion calldata assertion) private pure returns (bytes32) {
        VmlClaim.Claim calldata claim = assertion.claim;
        return keccak256(abi.encodePacked(TAG_QUESTION, claim.model, claim.input, claim.context, assertion.terms));
    }

    function _publish(bytes32 model, bytes[] calldata data, bytes32 expected) private {
        bytes32 got = _graphs.inputRoot(model, data);
        if (got != expected) revert InputMismatch(expected, got);
        emit InputPublished(model, expected, data);
    }

    /// @dev The window has closed and nobody is owed an answer.
    function _requireQuiet(Assertion calldata assertion, Record storage record) private view {
        if (record.requestedAt != 0) {
            revert InputPending(uint256(record.requestedAt) + _terms[assertion.terms].asserterClock);
        }
        if (block.timestamp <= record.closesAt) revert WindowOpen(record.closesAt);
        if (record.openDisputes != 0) revert DisputesOpen(record.openDisputes);
    }

    /// @dev Made before the window closed, and not slashed.
    function _matters(bytes32 rival, uint256 closesAt) private view returns (bool) {
        Record storage record = _records[rival];
        return record.openedAt <= closesAt && record.status != Status.Slashed;
    }

    /// @dev Whether the rival, whose end must be foreseeable, claims another output.
    function _contradicts(Assertion calldata assertion, Assertion calldata rival) private view returns (bool) {
        if (rival.claim.output == assertion.claim.output) return false;
        bytes32 id = idOf(rival);
        Record storage record = _records[id];
        if (record.status != Status.Open) return true;
        bool quiet = record.requestedAt == 0 && block.timestamp > record.closesAt && record.openDisputes == 0;
        if (!quiet) revert RivalUndecided(id);
        return true;
    }

    /// @dev At least half of the bond is burned. Disputes that are open are moot, and fetch their bonds themselves.
    function _slash(Assertion calldata assertion, bytes32 id, bytes32 dispute, address winner, Reason reason) internal {
        Record storage record = _records[id];
        Terms storage terms = _terms[assertion.terms];
        record.status = Status.Slashed;
        if (record.requestedAt != 0) {
            record.requestedAt = 0;
            _pay(requesterOf[id], terms.challengerBond);
        }
        _split(terms.asserterBond, winner, terms.slashReward);
        emit Slashed(id, dispute, winner, reason);
    }
}
