// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {DisputeGame} from "src/optimistic/DisputeGame.sol";
import {StepVerifier} from "src/optimistic/StepVerifier.sol";
import {DisputeBench} from "test/optimistic/DisputeBench.sol";

/// @title An asserter that comes back for more while it is paid, or refuses to be paid
contract Returner {
    DisputeGame internal immutable game;
    bool internal immutable greedy;
    uint256 public attempts;

    constructor(DisputeGame game_, bool greedy_) {
        game = game_;
        greedy = greedy_;
    }

    function fetch() external {
        game.withdraw();
    }

    receive() external payable {
        if (!greedy) revert("no money");
        ++attempts;
        try game.withdraw() {
            attempts += 100;
        } catch {}
    }
}

/// @title Attacks on disputes and their money: the rows of docs/dispute.md that the contract holds against
contract DisputeAttacksTest is DisputeBench {
    IDisputeGame.Assertion internal truth;
    bytes32 internal id;

    function setUp() public override {
        super.setUp();
        truth = assertionOf(0, ALICE, "", false, 0);
        id = asserted(truth, inputOf(0));
    }

    function nobody() internal pure returns (IDisputeGame.Assertion[] memory) {
        return new IDisputeGame.Assertion[](0);
    }

    function pass(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    function expect(bytes4 error) internal {
        vm.expectRevert(error);
    }

    function expect(bytes4 error, uint256 value) internal {
        vm.expectRevert(abi.encodeWithSelector(error, value));
    }

    function expect(bytes4 error, bytes32 what, uint256 value) internal {
        vm.expectRevert(abi.encodeWithSelector(error, what, value));
    }

    function isStatus(bytes32 which, IDisputeGame.Status status) internal view {
        check(game.recordOf(which).status == status, "where it is");
    }

    /// @dev A dispute by Bob in which `big` is picked.
    function inTheTree() internal returns (bytes32 dispute, IDisputeGame.Position memory at) {
        dispute = challenged(truth, BOB, "");
        reveals(truth, dispute, 0);
        picksOperator(truth, dispute, 0, BIG);
        return (dispute, askedOf(dispute));
    }

    // ---- 1, 8, 9: time ---------------------------------------------------------------------------------------------

    /// Each answer in the last second: the clock is spent once, then there is the extension and no more.
    function test_stallingEveryMoveSpendsOneClock() external {
        uint256 start = block.timestamp;
        bytes32 dispute = challenged(truth, BOB, "");
        pass(rules.asserterClock);
        reveals(truth, dispute, 0);
        pass(rules.challengerClock);
        picksOperator(truth, dispute, 0, BIG);
        pass(rules.extension);
        reveals(truth, dispute, 0);
        pass(rules.extension);
        picksChild(truth, dispute, 0, 16);
        pass(rules.extension);
        reveals(truth, dispute, 0);
        pass(rules.extension);
        picksChild(truth, dispute, 0, 0);
        pass(rules.extension);
        reveals(truth, dispute, 0);
        pass(rules.extension);
        expect(IDisputeGame.ClockRunning.selector, block.timestamp);
        game.claimTimeout(truth, dispute);
        pass(1);
        game.claimTimeout(truth, dispute);
        check(game.disputeOf(dispute).result == IDisputeGame.Result.Lost, "who stalled has lost");
        checkEqual(block.timestamp - start, rules.asserterClock + rules.challengerClock + 6 * 20 + 1, "bounded");
        isStatus(id, IDisputeGame.Status.Open);
    }

    function test_anAnswerASecondLateHasLost() external {
        bytes32 dispute = challenged(truth, BOB, "");
        pass(rules.asserterClock + 1);
        // It may still be shown; it came too late for this dispute.
        reveals(truth, dispute, 0);
        game.claimTimeout(truth, dispute);
        isStatus(id, IDisputeGame.Status.Slashed);
        checkEqual(game.creditOf(BOB), rules.challengerBond + rules.slashReward, "the challenger's");
    }

    function test_aChallengersMoveASecondLateIsRefused() external {
        bytes32 dispute = challenged(truth, BOB, "");
        reveals(truth, dispute, 0);
        IDisputeGame.Root memory root = rootOf(0, OUT);
        uint256 until = block.timestamp + rules.challengerClock;
        vm.warp(until + 1);
        expect(IDisputeGame.ClockExpired.selector, until);
        vm.prank(BOB);
        game.pickOperator(truth, dispute, OUT, root);
    }

    function test_theLastSecondOfTheWindowIsAsGoodAsTheFirst() external {
        pass(rules.window);
        expect(IDisputeGame.WindowOpen.selector, block.timestamp);
        game.settle(truth, 1, nobody());
        bytes32 dispute = challenged(truth, BOB, "");
        pass(1);
        expect(IDisputeGame.DisputesOpen.selector, 1);
        game.settle(truth, 1, nobody());
        reveals(truth, dispute, 0);
        picksOperator(truth, dispute, 0, OUT);
        vm.deal(CAROL, rules.challengerBond);
        uint256 bond = rules.challengerBond;
        expect(IDisputeGame.WindowClosed.selector, block.timestamp - 1);
        vm.prank(CAROL);
        game.challenge{value: bond}(truth, "");
    }

    function test_blocksAreNotTime() external {
        bytes32 dispute = challenged(truth, BOB, "");
        vm.roll(block.number + 1e9);
        expect(IDisputeGame.ClockRunning.selector, block.timestamp + rules.asserterClock);
        game.claimTimeout(truth, dispute);
    }

    // ---- 5, 6, 7: shams and rewards --------------------------------------------------------------------------------

    function test_aShamThatIsLostConfirmsNothingAndOccupiesNothing() external {
        IDisputeGame.Assertion memory lie = assertionOf(3, MALLORY, "", false, 0);
        bytes32 lied = asserted(lie, inputOf(0));
        bytes32 sham = challenged(lie, MALLORY, "sham");
        reveals(lie, sham, 3);
        picksOperator(lie, sham, 3, BIG);
        reveals(lie, sham, 3);
        pass(rules.challengerClock + rules.extension + 1);
        game.claimTimeout(lie, sham);
        isStatus(lied, IDisputeGame.Status.Open);
        // What the sham had her show, she need not show again, and Bob need not wait for.
        bytes32 dispute = challenged(lie, BOB, "");
        picksOperator(lie, dispute, 3, BIG);
        picksChild(lie, dispute, 3, 0);
        reveals(lie, dispute, 3);
        picksChild(lie, dispute, 3, 0);
        reveals(lie, dispute, 3);
        proves(lie, dispute, 3);
        isStatus(lied, IDisputeGame.Status.Slashed);
    }

    function test_whoPlaysBothSidesLosesHalf() external {
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", true, 0);
        asserted(lie, inputOf(0));
        bytes32 dispute = challenged(lie, MALLORY, "");
        pass(rules.asserterClock + 1);
        game.claimTimeout(lie, dispute);
        uint256 back = game.creditOf(MALLORY) - rules.challengerBond;
        check(2 * back <= rules.asserterBond, "at least half of the bond is gone");
        checkEqual(game.burned(), rules.asserterBond - back, "burned");
    }

    function test_aCopiedProofPaysTheChallenger() external {
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", false, 0);
        asserted(lie, inputOf(0));
        bytes32 dispute = challenged(lie, BOB, "");
        reveals(lie, dispute, 1);
        picksOperator(lie, dispute, 1, OUT);
        reveals(lie, dispute, 1);
        proves(lie, dispute, 1);
        checkEqual(game.creditOf(BOB), rules.challengerBond + rules.slashReward, "not who sent it");
        checkEqual(game.creditOf(address(this)), 0, "who has nothing");
    }

    function test_everybodyMovesForHimself() external {
        bytes32 dispute = challenged(truth, BOB, "");
        bytes32[] memory roots = list(0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotTheAsserter.selector, ALICE));
        game.revealList(truth, roots);
        reveals(truth, dispute, 0);
        IDisputeGame.Root memory root = rootOf(0, BIG);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotTheChallenger.selector, BOB));
        game.pickOperator(truth, dispute, BIG, root);
        uint256 bond = rules.asserterBond;
        bytes[] memory input = inputOf(0);
        truth.nonce = 1;
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotTheAsserter.selector, ALICE));
        game.assertClaim{value: bond}(truth, input);
    }

    // ---- 10, 13, 14: what a move answers ---------------------------------------------------------------------------

    function test_aMoveAnswersWhatItNames() external {
        (bytes32 dispute, IDisputeGame.Position memory at) = inTheTree();
        bytes32[] memory children = childrenOf(0, at);
        IDisputeGame.Position[4] memory others = [
            IDisputeGame.Position(SUM, 6, 0),
            IDisputeGame.Position(BIG, 1, 0),
            IDisputeGame.Position(BIG, 6, 1),
            IDisputeGame.Position(BIG, 0, 0)
        ];
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(ALICE);
            expect(IDisputeGame.AnotherPosition.selector);
            game.revealNode(truth, dispute, others[i], children);
        }
        bytes32[] memory forged = childrenOf(3, at);
        vm.prank(ALICE);
        vm.expectPartialRevert(IDisputeGame.NodeMismatch.selector);
        game.revealNode(truth, dispute, at, forged);
        checkEqual(game.revealedAt(id, at), 0, "nothing is shown");
        reveals(truth, dispute, 0);
        // Paths that are too short, too long, or lead elsewhere.
        for (uint256 length = 0; length < 8; ++length) {
            if (length == 5) continue;
            vm.prank(BOB);
            vm.expectRevert(abi.encodeWithSelector(VmlCommitment.PathLength.selector, 5, length));
            game.pickChild(truth, dispute, at, 3, children[3], new bytes32[](length));
        }
        bytes32[] memory path = pathIn(children, 16);
        vm.prank(BOB);
        vm.expectPartialRevert(IDisputeGame.NodeMismatch.selector);
        game.pickChild(truth, dispute, at, 3, children[3], path);
        vm.prank(BOB);
        expect(IDisputeGame.AnotherPosition.selector);
        game.pickChild(truth, dispute, others[0], 16, children[16], path);
    }

    function test_paddingIsNoChildAndANodeNoLeaf() external {
        (bytes32 dispute, IDisputeGame.Position memory at) = inTheTree();
        bytes32[] memory children = childrenOf(0, at);
        bytes memory data = leafOf(0, BIG, 0);
        vm.prank(ALICE);
        expect(IDisputeGame.NotAtALeaf.selector);
        game.revealLeaf(truth, dispute, at, data);
        vm.prank(ALICE);
        expect(IDisputeGame.ChildrenMalformed.selector, 32);
        game.revealNode(truth, dispute, at, new bytes32[](2));
        // Something after the tensor's end: 33 leaves are 17 nodes of height 1.
        bytes32[] memory more = childrenOf(0, at);
        more[17] = keccak256("more");
        vm.prank(ALICE);
        expect(IDisputeGame.PaddingNotEmpty.selector, 17);
        game.revealNode(truth, dispute, at, more);
        reveals(truth, dispute, 0);
        for (uint256 child = 17; child < 40; child += 3) {
            bytes32 digest = child < 32 ? children[child] : bytes32(0);
            bytes32[] memory path = pathIn(children, child % 32);
            vm.prank(BOB);
            expect(child < 32 ? IDisputeGame.ChildIsPadding.selector : IDisputeGame.ChildOutside.selector, child);
            game.pickChild(truth, dispute, at, uint8(child), digest, path);
        }
    }

    function test_aLeafHasTheLengthOfItsHeader() external {
        bytes32 dispute = challenged(truth, BOB, "");
        reveals(truth, dispute, 0);
        picksOperator(truth, dispute, 0, OUT);
        IDisputeGame.Position memory at = askedOf(dispute);
        bytes memory data = leafOf(0, OUT, 0);
        // Zeros behind it hash to the same leaf.
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.LeafMalformed.selector, 132, 136));
        game.revealLeaf(truth, dispute, at, bytes.concat(data, bytes4(0)));
        vm.prank(ALICE);
        vm.expectPartialRevert(IDisputeGame.NodeMismatch.selector);
        game.revealLeaf(truth, dispute, at, leafOf(1, OUT, 0));
    }

    function test_theConstantsAndTheRestOfTheListAreFixed() external {
        bytes32 dispute = challenged(truth, BOB, "");
        bytes32[] memory roots = list(0);
        for (uint256 i = 0; i < 5; ++i) {
            // Anything may be said of what is computed inside; that is what disputes are for.
            if (i == BIG || i == SUM) continue;
            bytes32 kept = roots[i];
            roots[i] = keccak256("another");
            vm.prank(ALICE);
            vm.expectPartialRevert(IDisputeGame.ListInconsistent.selector);
            game.revealList(truth, roots);
            roots[i] = kept;
        }
        reveals(truth, dispute, 0);
        IDisputeGame.Root memory root = rootOf(0, CONSTANT);
        vm.prank(BOB);
        expect(IDisputeGame.OperatorGiven.selector, CONSTANT);
        game.pickOperator(truth, dispute, CONSTANT, root);
        root = rootOf(1, OUT);
        vm.prank(BOB);
        vm.expectPartialRevert(IDisputeGame.ListMismatch.selector);
        game.pickOperator(truth, dispute, OUT, root);
    }

    // ---- 11, 12: money, once ---------------------------------------------------------------------------------------

    function paidTo(bool greedy) internal returns (Returner asserter) {
        asserter = new Returner(game, greedy);
        IDisputeGame.Assertion memory a = assertionOf(0, address(asserter), "his", false, 0);
        asserted(a, inputOf(0));
        pass(rules.window + 1);
        game.settle(a, 1, nobody());
        checkEqual(game.creditOf(address(asserter)), rules.asserterBond, "his bond");
    }

    function test_whoReentersIsPaidOnce() external {
        Returner asserter = paidTo(true);
        asserter.fetch();
        checkEqual(asserter.attempts(), 1, "he tried, in vain");
        checkEqual(address(asserter).balance, rules.asserterBond, "once");
        checkEqual(address(game).balance, rules.asserterBond, "Alice's is there");
    }

    function test_whoRefusesMoneyHarmsNobody() external {
        Returner asserter = paidTo(false);
        expect(IDisputeGame.TransferFailed.selector);
        asserter.fetch();
        checkEqual(game.creditOf(address(asserter)), rules.asserterBond, "still his");
        game.settle(truth, 1, nobody());
        vm.prank(ALICE);
        game.withdraw();
        checkEqual(ALICE.balance, rules.asserterBond, "hers");
    }

    function test_everythingEndsOnce() external {
        bytes32 dispute = challenged(truth, BOB, "");
        expect(IDisputeGame.AssertionStands.selector, id, uint256(IDisputeGame.Status.Open));
        game.closeMoot(truth, dispute);
        reveals(truth, dispute, 0);
        pass(rules.window + 1);
        game.claimTimeout(truth, dispute);
        uint256 lost = uint256(IDisputeGame.Result.Lost);
        expect(IDisputeGame.DisputeDecided.selector, dispute, lost);
        game.claimTimeout(truth, dispute);
        game.settle(truth, 1, nobody());
        uint256 ended = uint256(IDisputeGame.Status.Final);
        expect(IDisputeGame.AssertionDecided.selector, id, ended);
        game.settle(truth, 1, nobody());
        expect(IDisputeGame.AssertionDecided.selector, id, ended);
        game.claimTimeout(truth, dispute);
        bytes[] memory input = inputOf(0);
        uint256 bond = rules.asserterBond;
        vm.deal(ALICE, bond);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AssertionExists.selector, id));
        game.assertClaim{value: bond}(truth, input);
    }

    function test_aMootDisputeGetsItsBondBackOnce() external {
        bytes32 first = challenged(truth, BOB, "");
        bytes32 second = challenged(truth, CAROL, "");
        pass(rules.asserterClock + 1);
        game.claimTimeout(truth, first);
        game.closeMoot(truth, second);
        checkEqual(game.creditOf(CAROL), rules.challengerBond, "back");
        expect(IDisputeGame.DisputeDecided.selector, second, uint256(IDisputeGame.Result.Moot));
        game.closeMoot(truth, second);
        expect(IDisputeGame.DisputeDecided.selector, first, uint256(IDisputeGame.Result.Won));
        game.closeMoot(truth, first);
    }

    function test_etherThatIsForcedInIsNobodys() external {
        vm.deal(address(game), address(game).balance + 1 ether);
        pass(rules.window + 1);
        game.settle(truth, 1, nobody());
        checkEqual(game.creditOf(ALICE), rules.asserterBond, "no more than her bond");
    }

    // ---- 15: other places ------------------------------------------------------------------------------------------

    function test_aNameIsGoodInOneGameOnOneChain() external {
        DisputeGame other = new DisputeGame(graphs, new StepVerifier(), escalations);
        bytes32 there = other.idOf(truth);
        check(there != id, "another name");
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AssertionUnknown.selector, there));
        other.settle(truth, 1, nobody());
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        bytes32 elsewhere = game.idOf(truth);
        check(elsewhere != id, "another chain");
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AssertionUnknown.selector, elsewhere));
        game.settle(truth, 1, nobody());
    }
}
