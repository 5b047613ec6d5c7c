// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {IStepVerifier} from "src/interfaces/IStepVerifier.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Assertions} from "src/optimistic/Assertions.sol";
import {Shapes} from "src/optimistic/Shapes.sol";
import {Cursor, Descriptor, Node} from "src/optimistic/steps/Descriptor.sol";

/// @title Disputes: the list, the descent, the leaf, the step, and running out of time
/// @notice As vml/backends/optimistic/disputes.py. What is revealed is kept as the time it came, by its position in the
/// list and its trees: its content has one digest, which the dispute that asked for it holds.
abstract contract Disputes is Assertions {
    bytes1 internal constant TAG_DISPUTE = 0x22;
    uint8 private constant KIND_CONSTANT = 2;

    /// @param until last second in which the move is in time
    /// @param asserterLeft the asserter's clock after its last move
    /// @param challengerLeft the challenger's clock if it moves now
    struct Turn {
        bool asserters;
        uint256 until;
        uint256 asserterLeft;
        uint256 challengerLeft;
    }

    IStepVerifier public immutable steps;

    mapping(bytes32 dispute => Dispute) internal _disputes;
    mapping(bytes32 id => mapping(bytes32 position => uint40)) private _revealed;
    /// @inheritdoc IDisputeGame
    mapping(bytes32 id => bytes32) public listOf;

    constructor(IStepVerifier steps_) {
        steps = steps_;
    }

    // ---- opening, and the list -------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function challenge(Assertion calldata assertion, bytes32 salt) external payable returns (bytes32 dispute) {
        (bytes32 id, Record storage record) = _open(assertion);
        Terms storage terms = _terms[assertion.terms];
        _requireValue(terms.challengerBond);
        if (block.timestamp > record.closesAt) revert WindowClosed(record.closesAt);
        dispute = keccak256(abi.encodePacked(TAG_DISPUTE, id, uint256(uint160(msg.sender)), salt));
        Dispute storage opened = _disputes[dispute];
        if (opened.result != Result.None) revert DisputeExists(dispute);
        (opened.assertion, opened.challenger, opened.result) = (id, msg.sender, Result.Open);
        (opened.since, opened.asserterLeft) = (uint40(block.timestamp), terms.asserterClock);
        opened.challengerLeft = terms.challengerClock;
        ++record.openDisputes;
        emit Disputed(id, dispute, msg.sender, salt);
    }

    /// @inheritdoc IDisputeGame
    function revealList(Assertion calldata assertion, bytes32[] calldata roots) external {
        (bytes32 id, Record storage record) = _openedByCaller(assertion);
        if (record.rootsAt != 0) revert ListKnown();
        (IGraphRegistry.ListFault fault, uint256 node) = _listFault(assertion, roots);
        if (fault != IGraphRegistry.ListFault.None) revert ListInconsistent(fault, node);
        bytes32 list = _listDigest(roots);
        if (assertion.trace != 0 && list != assertion.trace) revert ListMismatch(assertion.trace, list);
        listOf[id] = list;
        record.rootsAt = uint40(block.timestamp);
        emit ListRevealed(id, roots);
    }

    /// @inheritdoc IDisputeGame
    function pickOperator(Assertion calldata assertion, bytes32 dispute, uint32 operator, Root calldata root) external {
        (bytes32 id, Dispute storage d, Turn memory turn) = _mine(assertion, dispute);
        if (d.asked) revert AnotherPosition();
        (IStepVerifier.Element memory picked,, Node memory node) =
            _operator(assertion.claim.model, operator, listOf[id]);
        _requireComputed(operator, node);
        Shapes.requireListed(picked.list, picked.count, operator, root);
        d.asked = true;
        _ask(id, dispute, d, turn, Position(operator, Shapes.depth(node), 0), root.root);
    }

    // ---- the descent -----------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function revealNode(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        bytes32[] calldata children
    ) external {
        (bytes32 id, Dispute storage d, Node memory node) = _revealing(assertion, dispute, position);
        _reveal(id, d, position, node, Shapes.nodeDigest(position, node, children));
        emit NodeRevealed(id, position, children);
    }

    /// @inheritdoc IDisputeGame
    function revealLeaf(Assertion calldata assertion, bytes32 dispute, Position calldata position, bytes calldata data)
        external
    {
        if (position.height != 0) revert NotAtALeaf();
        (bytes32 id, Dispute storage d, Node memory node) = _revealing(assertion, dispute, position);
        _reveal(id, d, position, node, Shapes.leafDigest(position.index, node, data));
        emit LeafRevealed(id, position, data);
    }

    /// @inheritdoc IDisputeGame
    function pickChild(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        uint8 child,
        bytes32 digest,
        bytes32[] calldata path
    ) external {
        (bytes32 id, Dispute storage d, Turn memory turn) = _mine(assertion, dispute);
        _requirePosition(d, position);
        if (position.height == 0) revert AtALeaf();
        Node memory node = _node(assertion.claim.model, position.operator);
        uint8 levels = Shapes.levelsBelow(position.height);
        if (child >> levels != 0) revert ChildOutside(child);
        _requireAnswer(d, position, node, VmlCommitment.openingRoot(digest, child, path, levels));
        Position memory below = Shapes.child(position, child);
        if (Shapes.isPadding(below, node)) revert ChildIsPadding(child);
        _ask(id, dispute, d, turn, below, digest);
    }

    // ---- proofs ----------------------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function proveStep(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        bytes calldata data,
        uint64 element,
        Root[] calldata operands,
        bytes calldata proof
    ) external {
        (IStepVerifier.Element memory claimed, bytes memory descriptor) =
            _revealedElement(assertion, dispute, position, data, element);
        steps.requireWrong(claimed, descriptor, operands, proof);
        _win(assertion, dispute, Reason.WrongElement);
    }

    /// @inheritdoc IDisputeGame
    function proveFraud(Assertion calldata assertion, Fraud calldata fraud) external {
        (bytes32 id,) = _open(assertion);
        bytes32 list = listOf[id] != 0 ? listOf[id] : assertion.trace;
        if (list == 0) revert TraceNotPublished();
        (IStepVerifier.Element memory claimed, bytes memory descriptor, Node memory node) =
            _operator(assertion.claim.model, fraud.operator, list);
        _requireComputed(fraud.operator, node);
        Shapes.requireListed(list, claimed.count, fraud.operator, fraud.root);
        bytes32 leaf = Shapes.leafDigest(fraud.leaf, node, fraud.data);
        bytes32 tree = VmlCommitment.openingRoot(leaf, fraud.leaf, fraud.path, Shapes.depth(node));
        bytes32 shown = VmlCommitment.tensorDigest(node.dtype, node.dims, tree);
        if (shown != fraud.root.root) revert NodeMismatch(fraud.root.root, shown);
        claimed.index = fraud.element;
        claimed.value = Shapes.element(fraud.data, fraud.leaf, fraud.element, node);
        steps.requireWrong(claimed, descriptor, fraud.operands, fraud.proof);
        _slash(assertion, id, 0, msg.sender, Reason.WrongElement);
    }

    /// @inheritdoc IDisputeGame
    function proveList(Assertion calldata assertion, bytes32[] calldata roots) external {
        (bytes32 id,) = _open(assertion);
        if (assertion.trace == 0) revert TraceNotPublished();
        bytes32 list = _listDigest(roots);
        if (list != assertion.trace) revert ListMismatch(assertion.trace, list);
        (IGraphRegistry.ListFault fault,) = _listFault(assertion, roots);
        if (fault == IGraphRegistry.ListFault.None) revert ListConsistent();
        _slash(assertion, id, 0, msg.sender, Reason.ListInconsistent);
    }

    /// @dev An element of the leaf that the dispute has come down to.
    function _revealedElement(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        bytes calldata data,
        uint64 index
    ) private view returns (IStepVerifier.Element memory claimed, bytes memory descriptor) {
        (bytes32 id, Dispute storage d,) = _challengersTurn(assertion, dispute);
        _requirePosition(d, position);
        if (position.height != 0) revert NotAtALeaf();
        Node memory node;
        (claimed, descriptor, node) = _operator(assertion.claim.model, position.operator, listOf[id]);
        _requireAnswer(d, position, node, Shapes.leafDigest(position.index, node, data));
        claimed.index = index;
        claimed.value = Shapes.element(data, position.index, index, node);
    }

    function _win(Assertion calldata assertion, bytes32 dispute, Reason reason) private {
        Dispute storage d = _disputes[dispute];
        (bytes32 id, address winner) = (d.assertion, d.challenger);
        d.result = Result.Won;
        --_records[id].openDisputes;
        _pay(winner, _terms[assertion.terms].challengerBond);
        _slash(assertion, id, dispute, winner, reason);
    }

    // ---- the end of a dispute --------------------------------------------------------------------------------------

    /// @inheritdoc IDisputeGame
    function claimTimeout(Assertion calldata assertion, bytes32 dispute) external {
        (bytes32 id, Record storage record) = _open(assertion);
        Dispute storage d = _openDispute(id, dispute);
        Turn memory turn = _turn(assertion, id, d);
        if (block.timestamp <= turn.until) revert ClockRunning(turn.until);
        if (turn.asserters) {
            _win(assertion, dispute, Reason.OutOfTime);
            return;
        }
        // Only this dispute is over. The assertion is no truer for it: others go on, and new ones can be opened.
        d.result = Result.Lost;
        --record.openDisputes;
        Terms storage terms = _terms[assertion.terms];
        _split(terms.challengerBond, assertion.asserter, terms.defenceReward);
        emit DisputeLost(id, dispute);
    }

    /// @inheritdoc IDisputeGame
    function closeMoot(Assertion calldata assertion, bytes32 dispute) external {
        bytes32 id = idOf(assertion);
        Dispute storage d = _openDispute(id, dispute);
        Record storage record = _records[id];
        if (record.status != Status.Slashed) revert AssertionStands(id, record.status);
        d.result = Result.Moot;
        --record.openDisputes;
        _pay(d.challenger, _terms[assertion.terms].challengerBond);
        emit DisputeMoot(id, dispute);
    }

    /// @inheritdoc IDisputeGame
    function disputeOf(bytes32 dispute) external view returns (Dispute memory) {
        return _disputes[dispute];
    }

    /// @inheritdoc IDisputeGame
    function revealedAt(bytes32 id, Position calldata position) external view returns (uint40) {
        return _revealed[id][_key(position)];
    }

    // ---- whose turn it is ------------------------------------------------------------------------------------------

    function _openDispute(bytes32 id, bytes32 dispute) private view returns (Dispute storage d) {
        d = _disputes[dispute];
        if (d.result == Result.None || d.assertion != id) revert DisputeUnknown(dispute);
        if (d.result != Result.Open) revert DisputeDecided(dispute, d.result);
    }

    /// @dev What was revealed, and when, decides it: not who spoke first about it. A side that has to move has its clock,
    /// or the extension where that is longer. What was public before it was asked for costs the asserter no time.
    function _turn(Assertion calldata assertion, bytes32 id, Dispute storage d)
        private
        view
        returns (Turn memory turn)
    {
        uint256 extension = _terms[assertion.terms].extension;
        uint256 since = d.since;
        uint256 shownAt = d.asked ? _revealed[id][_key(Position(d.operator, d.height, d.index))] : _records[id].rootsAt;
        turn.asserterLeft = d.asserterLeft;
        turn.challengerLeft = d.challengerLeft;
        if (shownAt == 0 || shownAt > since) {
            turn.until = since + (turn.asserterLeft > extension ? turn.asserterLeft : extension);
            if (shownAt == 0 || shownAt > turn.until) {
                turn.asserters = true;
                return turn;
            }
            turn.asserterLeft = turn.until - shownAt;
        } else {
            shownAt = since;
        }
        turn.until = shownAt + (turn.challengerLeft > extension ? turn.challengerLeft : extension);
        turn.challengerLeft = block.timestamp > turn.until ? 0 : turn.until - block.timestamp;
    }

    function _challengersTurn(Assertion calldata assertion, bytes32 dispute)
        private
        view
        returns (bytes32 id, Dispute storage d, Turn memory turn)
    {
        (id,) = _open(assertion);
        d = _openDispute(id, dispute);
        turn = _turn(assertion, id, d);
        if (block.timestamp > turn.until) revert ClockExpired(turn.until);
        if (turn.asserters) revert NotTheChallengersTurn(turn.until);
    }

    function _mine(Assertion calldata assertion, bytes32 dispute)
        private
        view
        returns (bytes32 id, Dispute storage d, Turn memory turn)
    {
        (id, d, turn) = _challengersTurn(assertion, dispute);
        if (d.challenger != msg.sender) revert NotTheChallenger(d.challenger);
    }

    function _ask(
        bytes32 id,
        bytes32 dispute,
        Dispute storage d,
        Turn memory turn,
        Position memory position,
        bytes32 digest
    ) private {
        (d.operator, d.height, d.index, d.digest) = (position.operator, position.height, position.index, digest);
        d.since = uint40(block.timestamp);
        (d.asserterLeft, d.challengerLeft) = (uint40(turn.asserterLeft), uint40(turn.challengerLeft));
        emit Asked(id, dispute, position, digest);
    }

    // ---- what is shown ---------------------------------------------------------------------------------------------

    function _revealing(Assertion calldata assertion, bytes32 dispute, Position calldata position)
        private
        view
        returns (bytes32 id, Dispute storage d, Node memory node)
    {
        (id,) = _openedByCaller(assertion);
        d = _openDispute(id, dispute);
        _requirePosition(d, position);
        if (_revealed[id][_key(position)] != 0) revert NodeKnown();
        node = _node(assertion.claim.model, position.operator);
    }

    function _reveal(bytes32 id, Dispute storage d, Position calldata position, Node memory node, bytes32 digest)
        private
    {
        _requireAnswer(d, position, node, digest);
        _revealed[id][_key(position)] = uint40(block.timestamp);
    }

    function _requirePosition(Dispute storage d, Position calldata position) private view {
        bool same = d.operator == position.operator && d.height == position.height && d.index == position.index;
        if (!d.asked || !same) revert AnotherPosition();
    }

    /// @dev Reverts unless the digest is that of what stands at the position, and was asked for.
    function _requireAnswer(Dispute storage d, Position memory position, Node memory node, bytes32 digest)
        private
        view
    {
        bytes32 shown = Shapes.committed(position, node, digest);
        if (shown != d.digest) revert NodeMismatch(d.digest, shown);
    }

    function _key(Position memory position) private pure returns (bytes32) {
        return bytes32(abi.encodePacked(position.operator, position.height, position.index));
    }

    function _listDigest(bytes32[] memory roots) private pure returns (bytes32) {
        uint256 count = roots.length;
        return VmlCommitment.traceDigest(count, VmlCommitment.merkleRoot(roots, VmlCommitment.EMPTY));
    }

    function _listFault(Assertion calldata assertion, bytes32[] calldata roots)
        private
        view
        returns (IGraphRegistry.ListFault, uint256)
    {
        return graphs().listFault(assertion.claim.model, roots, assertion.claim.input, assertion.claim.output);
    }

    function _node(bytes32 model, uint256 operator) private view returns (Node memory) {
        return Descriptor.node(Cursor(graphs().descriptorOf(model, operator), 0));
    }

    /// @dev What a step of the operator is about, but for the element, with its descriptor, also decoded.
    function _operator(bytes32 model, uint32 operator, bytes32 list)
        private
        view
        returns (IStepVerifier.Element memory element, bytes memory descriptor, Node memory node)
    {
        (element.graph, element.count,) = graphs().graphOf(model);
        (element.list, element.operator) = (list, operator);
        descriptor = graphs().descriptorOf(model, operator);
        node = Descriptor.node(Cursor(descriptor, 0));
    }

    /// @dev A constant is fixed by the model and was checked when the list was.
    function _requireComputed(uint256 operator, Node memory node) private pure {
        if (node.kind == KIND_CONSTANT) revert OperatorGiven(operator);
    }
}
