// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IEscalation} from "src/interfaces/IEscalation.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {ModelRegistry} from "src/ModelRegistry.sol";
import {DisputeGame} from "src/optimistic/DisputeGame.sol";
import {Escalation} from "src/optimistic/Escalation.sol";
import {StepVerifier} from "src/optimistic/StepVerifier.sol";
import {VmlRouter} from "src/VmlRouter.sol";
import {MockVerifier} from "test/Mocks.sol";
import {DisputeBench} from "test/optimistic/DisputeBench.sol";

/// @title Attacks on assertions: terms, exact bonds, withheld inputs, rivals, stronger proofs
contract AssertionAttacksTest is DisputeBench {
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

    function only(IDisputeGame.Assertion memory rival) internal pure returns (IDisputeGame.Assertion[] memory rivals) {
        rivals = new IDisputeGame.Assertion[](1);
        rivals[0] = rival;
    }

    function pass(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    function isStatus(bytes32 which, IDisputeGame.Status status) internal view {
        check(game.recordOf(which).status == status, "where it is");
    }

    // ---- 24: terms and amounts -------------------------------------------------------------------------------------

    function test_termsBurnHalfAndCannotChange() external {
        IDisputeGame.Terms memory kept = rules;
        for (uint256 i = 0; i < 7; ++i) {
            IDisputeGame.Terms memory bad = kept;
            if (i == 0) bad.slashReward = uint128(bad.asserterBond / 2 + 1);
            if (i == 1) bad.defenceReward = uint128(bad.challengerBond / 2 + 1);
            if (i == 2) bad.requestFee = uint96(bad.challengerBond + 1);
            if (i == 3) bad.escalatedWindow = bad.window + 1;
            if (i == 4) bad.window = 0;
            if (i == 5) bad.asserterClock = 0;
            if (i == 6) bad.challengerClock = 0;
            vm.expectRevert(IDisputeGame.BadTerms.selector);
            game.offerTerms(bad);
            kept = rules;
        }
        IDisputeGame.Terms memory others = rules;
        others.asserterBond = 2 * rules.asserterBond;
        check(game.offerTerms(others) != terms, "other terms have another name");
        check(game.offerTerms(rules) == terms, "the same, the same");
        pass(rules.window + 1);
        game.settle(truth, 1, nobody());
        checkEqual(game.creditOf(ALICE), rules.asserterBond, "as she asserted");
        truth.terms = keccak256("never offered");
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.TermsUnknown.selector, truth.terms));
        vm.prank(ALICE);
        game.assertClaim(truth, new bytes[](0));
    }

    function testFuzz_bondsAreExact(uint128 value) external {
        uint256 asserter = rules.asserterBond;
        uint256 challenger = rules.challengerBond;
        vm.deal(BOB, 3 * uint256(value));
        IDisputeGame.Assertion memory his = assertionOf(0, BOB, "", false, 0);
        vm.startPrank(BOB);
        if (value != asserter) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongValue.selector, asserter, value));
            game.assertClaim{value: value}(his, new bytes[](0));
        }
        if (value != challenger) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongValue.selector, challenger, value));
            game.challenge{value: value}(truth, "");
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongValue.selector, challenger, value));
            game.requestInput{value: value}(truth);
        }
        vm.stopPrank();
        checkEqual(address(game).balance, asserter, "nothing was kept");
    }

    // ---- 17: the input ---------------------------------------------------------------------------------------------

    function requested(IDisputeGame.Assertion memory a, address by) internal {
        uint256 bond = rules.challengerBond;
        vm.deal(by, by.balance + bond);
        vm.prank(by);
        game.requestInput{value: bond}(a);
    }

    function test_anInputThatIsWithheldCostsTheBond() external {
        IDisputeGame.Assertion memory a = assertionOf(1, MALLORY, "hidden", false, 0);
        bytes32 hidden = asserted(a, new bytes[](0));
        pass(rules.window);
        requested(a, BOB);
        pass(rules.asserterClock);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRunning.selector, block.timestamp));
        game.claimInputTimeout(a);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.InputPending.selector, block.timestamp));
        game.settle(a, 1, nobody());
        pass(1);
        bytes[] memory input = inputOf(1);
        vm.prank(MALLORY);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockExpired.selector, block.timestamp - 1));
        game.revealInput(a, input);
        game.claimInputTimeout(a);
        isStatus(hidden, IDisputeGame.Status.Slashed);
        checkEqual(game.creditOf(BOB), rules.challengerBond + rules.slashReward, "the requester's");
        vm.expectRevert(
            abi.encodeWithSelector(IDisputeGame.AssertionDecided.selector, hidden, IDisputeGame.Status.Slashed)
        );
        game.claimInputTimeout(a);
    }

    /// Whoever requests and stalls pays the fee, and has bought one window.
    function test_aRequestIsAnsweredOnceAndPaidFor() external {
        IDisputeGame.Assertion memory a = assertionOf(0, ALICE, "hidden", false, 0);
        bytes32 hidden = asserted(a, new bytes[](0));
        pass(rules.window);
        requested(a, CAROL);
        uint256 bond = rules.challengerBond;
        vm.deal(BOB, bond);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.InputRequestedAlready.selector, block.timestamp));
        vm.prank(BOB);
        game.requestInput{value: bond}(a);
        bytes[] memory other = inputOf(OUTSIDE);
        vm.prank(ALICE);
        vm.expectPartialRevert(IDisputeGame.InputMismatch.selector);
        game.revealInput(a, other);
        bytes[] memory input = inputOf(0);
        pass(rules.asserterClock);
        vm.prank(ALICE);
        game.revealInput(a, input);
        checkEqual(game.creditOf(ALICE), rules.requestFee, "for publishing");
        checkEqual(game.creditOf(CAROL), rules.challengerBond - rules.requestFee, "the rest");
        checkEqual(game.recordOf(hidden).closesAt, block.timestamp + rules.window, "a whole window to compute in");
        vm.expectRevert(IDisputeGame.InputKnown.selector);
        vm.prank(BOB);
        game.requestInput{value: bond}(a);
        pass(rules.window + 1);
        game.settle(a, 1, nobody());
        isStatus(hidden, IDisputeGame.Status.Final);
    }

    // ---- lists -----------------------------------------------------------------------------------------------------

    function test_aPublishedListThatDoesNotHoldTogetherFallsAtOnce() external {
        IDisputeGame.Assertion memory a = assertionOf(0, MALLORY, "list", false, 0);
        a.trace = listDigest(1);
        bytes32 listed = asserted(a, inputOf(0));
        bytes32[] memory roots = list(0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ListMismatch.selector, a.trace, listDigest(0)));
        game.proveList(a, roots);
        roots = list(1);
        vm.prank(BOB);
        game.proveList(a, roots);
        isStatus(listed, IDisputeGame.Status.Slashed);
        IDisputeGame.Assertion memory honest = assertionOf(0, ALICE, "list", true, 0);
        asserted(honest, inputOf(0));
        roots = list(0);
        vm.expectRevert(IDisputeGame.ListConsistent.selector);
        game.proveList(honest, roots);
        vm.expectRevert(IDisputeGame.TraceNotPublished.selector);
        game.proveList(truth, roots);
    }

    // ---- 2: rivals -------------------------------------------------------------------------------------------------

    function test_aRivalThatStandsMakesBothVoid() external {
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", false, 0);
        bytes32 lied = asserted(lie, inputOf(0));
        pass(rules.window + 1);
        game.settle(truth, 5, only(lie));
        game.settle(lie, 5, only(truth));
        isStatus(id, IDisputeGame.Status.Void);
        isStatus(lied, IDisputeGame.Status.Void);
        checkEqual(game.creditOf(ALICE), rules.asserterBond, "nobody is punished");
        checkEqual(game.creditOf(MALLORY), rules.asserterBond, "for what nobody showed");
    }

    function test_aRivalCannotBeHiddenOrReplaced() external {
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", false, 0);
        bytes32 lied = asserted(lie, inputOf(0));
        pass(rules.window + 1);
        bytes memory missing = abi.encodeWithSelector(IDisputeGame.RivalMissing.selector, lied);
        vm.expectRevert(missing);
        game.settle(truth, 5, nobody());
        vm.expectRevert(missing);
        game.settle(truth, 5, only(truth));
        vm.expectRevert(missing);
        game.settle(truth, 5, only(assertionOf(0, MALLORY, "", false, 0)));
        // One at a time, and none is forgotten.
        game.settle(truth, 1, only(lie));
        isStatus(id, IDisputeGame.Status.Open);
        check(game.recordOf(id).contradicted, "it is remembered");
        game.settle(truth, 1, nobody());
        isStatus(id, IDisputeGame.Status.Void);
    }

    function test_anOpenRivalIsDecidedFirstAndASlashedOneIsNone() external {
        pass(rules.window);
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", false, 0);
        bytes32 lied = asserted(lie, inputOf(0));
        pass(1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.RivalUndecided.selector, lied));
        game.settle(truth, 5, only(lie));
        bytes32 dispute = challenged(lie, BOB, "");
        pass(rules.asserterClock + 1);
        game.claimTimeout(lie, dispute);
        game.settle(truth, 5, nobody());
        isStatus(id, IDisputeGame.Status.Final);
    }

    function test_whatIsAssertedTooLateDelaysNothing() external {
        pass(rules.window + 1);
        for (uint256 i = 1; i < 4; ++i) {
            asserted(assertionOf(1, MALLORY, "", false, i), inputOf(0));
        }
        game.settle(truth, 5, nobody());
        isStatus(id, IDisputeGame.Status.Final);
    }

    /// Anybody offers any terms: a rival without a bond, and with a century to answer, is in nobody's way.
    function test_aRivalUnderTermsOfItsOwnIsNone() external {
        IDisputeGame.Terms memory free;
        (free.window, free.asserterClock, free.challengerClock) = (type(uint32).max, type(uint32).max, 1);
        IDisputeGame.Assertion memory lie = assertionOf(1, MALLORY, "", false, 0);
        lie.terms = game.offerTerms(free);
        bytes[] memory input = inputOf(0);
        vm.prank(MALLORY);
        bytes32 lied = game.assertClaim(lie, input);
        isStatus(lied, IDisputeGame.Status.Open);
        pass(rules.window + 1);
        game.settle(truth, 5, nobody());
        isStatus(id, IDisputeGame.Status.Final);
    }

    // ---- stronger proofs -------------------------------------------------------------------------------------------

    /// A game whose stronger proofs are those that a router accepts under a policy; Alice enabled all the schemes.
    function test_onlyAProofOfThisClaimAndOfTheExactModelShortens() external {
        ModelRegistry registry = new ModelRegistry();
        VmlRouter router = new VmlRouter(address(this), address(0), registry);
        IERC7992Registry.ModelCommitment memory commitment;
        commitment.modelHash = model;
        bytes32 key = bytes32(registry.registerModel(commitment));
        MockVerifier[4] memory schemes = [
            new MockVerifier("ezkl/23.0.5/kzg-bn254/input-public/model-public"),
            new MockVerifier("sumcheck/1"),
            new MockVerifier("teehee/1"),
            new MockVerifier("tee/tdx")
        ];
        IVmlRouter.Policy memory policy = IVmlRouter.Policy(new bytes32[](1), new bytes4[](4));
        policy.keys[0] = key;
        for (uint256 i = 0; i < 4; ++i) {
            router.addRoute(schemes[i]);
            registry.setBackend(key, schemes[i].selector(), "metadata", 0);
            // In ascending order, as policies are.
            uint256 at = i;
            for (; at > 0 && policy.selectors[at - 1] > schemes[i].selector(); --at) {
                policy.selectors[at] = policy.selectors[at - 1];
            }
            policy.selectors[at] = schemes[i].selector();
        }
        rules.escalation = router.definePolicy(policy);
        game = new DisputeGame(graphs, new StepVerifier(), new Escalation(router));
        terms = game.offerTerms(rules);
        truth = assertionOf(0, ALICE, "", false, 0);
        id = asserted(truth, inputOf(0));

        bytes memory proof = schemes[0].prove(truth.claim, "metadata");
        vm.expectRevert(abi.encodeWithSelector(IEscalation.EscalationRefused.selector, schemes[0].scheme()));
        game.escalate(truth, proof);
        proof = schemes[2].prove(truth.claim, "metadata");
        vm.expectRevert(abi.encodeWithSelector(IEscalation.EscalationRefused.selector, schemes[2].scheme()));
        game.escalate(truth, proof);
        proof = schemes[1].prove(assertionOf(1, ALICE, "", false, 0).claim, "metadata");
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.InvalidProof.selector, schemes[1].selector()));
        game.escalate(truth, proof);
        check(game.recordOf(id).closesAt == block.timestamp + rules.window, "as long as it was");

        game.escalate(truth, schemes[3].prove(truth.claim, "metadata"));
        check(game.recordOf(id).closesAt == block.timestamp + rules.escalatedWindow, "shorter");
        proof = schemes[1].prove(truth.claim, "metadata");
        vm.expectRevert(IDisputeGame.NotEscalating.selector);
        game.escalate(truth, proof);
        // Disputes are still opened in what is left of the window.
        pass(rules.escalatedWindow);
        challenged(truth, BOB, "");
    }

    function test_whereTermsNameNoPolicyNothingShortens() external {
        escalations.set(true);
        rules.escalation = 0;
        terms = game.offerTerms(rules);
        IDisputeGame.Assertion memory a = assertionOf(0, ALICE, "", false, 0);
        asserted(a, inputOf(0));
        vm.expectRevert(IDisputeGame.NotEscalating.selector);
        game.escalate(a, hex"01020304");
        pass(rules.window + 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WindowClosed.selector, block.timestamp - 1));
        game.escalate(truth, hex"01020304");
    }
}
