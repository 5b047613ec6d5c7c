// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PayOnProof} from "src/examples/PayOnProof.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {ConsumerCall} from "src/libraries/ConsumerCall.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {MockConsumer} from "test/Mocks.sol";
import {EscrowBench} from "test/examples/EscrowBench.sol";

/// @title A requester's contract that calls back wherever it can, and cannot be paid
contract Reentrant {
    PayOnProof internal immutable escrow;
    bytes internal again;
    uint256 public attempts;
    uint256 public successes;

    constructor(PayOnProof escrow_) {
        escrow = escrow_;
    }

    function arm(bytes calldata again_) external {
        again = again_;
    }

    function withdraw() external {
        escrow.withdraw(payable(address(this)));
    }

    receive() external payable {
        attack();
    }

    fallback() external {
        attack();
    }

    function attack() internal {
        ++attempts;
        (bool success,) = address(escrow).call(again);
        if (success) ++successes;
    }
}

contract PayOnProofTest is EscrowBench {
    // ---- opening ---------------------------------------------------------------------------------------------------

    function test_opens() external {
        bytes32 id = keccak256(abi.encode(terms));
        vm.deal(BOB, 1 ether);
        vm.expectEmit();
        emit PayOnProof.Opened(id, BOB, address(0), terms);
        vm.prank(BOB);
        checkEqual(escrow.open{value: 1 ether}(terms), id, "the id is the hash of the terms");
        check(escrow.stateOf(id) == PayOnProof.State.Open, "open");
        checkEqual(escrow.owed(), 1 ether, "owed");
        checkEqual(address(escrow).balance, 1 ether, "held");
    }

    function openRefused(address caller, uint256 value, bytes memory why) internal {
        PayOnProof.Terms memory asked = terms;
        vm.deal(caller, value);
        vm.expectRevert(why);
        vm.prank(caller);
        escrow.open{value: value}(asked);
    }

    function test_refusesToOpen() external {
        openRefused(MALLORY, 1 ether, abi.encodeWithSelector(PayOnProof.NotRequester.selector, BOB, MALLORY));
        openRefused(BOB, 1, abi.encodeWithSelector(PayOnProof.WrongAmount.selector, 1 ether, 1));
        terms.amount = 0;
        openRefused(BOB, 0, abi.encodeWithSelector(PayOnProof.WrongAmount.selector, 0, 0));
        terms.amount = 1 ether;
        terms.deadline = uint64(block.timestamp - 1);
        openRefused(BOB, 1 ether, abi.encodeWithSelector(PayOnProof.DeadlinePassed.selector, block.timestamp - 1));
        terms.deadline = uint64(block.timestamp);
        terms.consumerGas = uint32(ConsumerCall.MAX_GAS + 1);
        openRefused(
            BOB,
            1 ether,
            abi.encodeWithSelector(
                PayOnProof.TooMuchGasPromised.selector, ConsumerCall.MAX_GAS + 1, ConsumerCall.MAX_GAS
            )
        );
        terms.consumerGas = 0;
        terms.entryIsPolicy = true;
        openRefused(BOB, 1 ether, error1(IVmlRouter.PolicyUnknown.selector, key));
        terms.entryIsPolicy = false;
        terms.entry = "nobody's";
        openRefused(BOB, 1 ether, error1(IERC7992Registry.ModelNotFound.selector, terms.entry));
        terms.entry = key;
        bytes32 id = openAs(BOB);
        openRefused(BOB, 1 ether, error1(PayOnProof.RequestExists.selector, id));
    }

    // ---- settling --------------------------------------------------------------------------------------------------

    function test_paysWhoeverProves() external {
        bytes32 id = openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        bytes memory proof = proofOf(claim);
        vm.expectEmit();
        emit PayOnProof.Paid(id, PROVER, VmlClaim.digest(claim), selector, claim.output);
        vm.prank(MALLORY);
        checkEqual(escrow.settle(terms, PROVER, claim, proof), selector, "proved by");
        checkEqual(escrow.creditOf(PROVER), 1 ether, "the prover's, whoever sent it");
        checkEqual(escrow.creditOf(MALLORY), 0, "nothing for the messenger");
        vm.prank(PROVER);
        escrow.withdraw(payable(address(0xcafe)));
        checkEqual(address(0xcafe).balance, 1 ether, "sent where the prover said");
        checkEqual(escrow.owed(), 0, "nothing owed");
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.NothingToWithdraw.selector, PROVER));
        vm.prank(PROVER);
        escrow.withdraw(payable(PROVER));
    }

    function test_contextIsAsDocumented() external view {
        VmlClaim.Context memory context = VmlClaim.Context({
            requester: BOB,
            chainId: block.chainid,
            consumer: address(escrow),
            requestId: escrow.idOf(terms),
            payee: PROVER,
            expiry: terms.deadline
        });
        checkEqual(escrow.contextOf(terms, PROVER), VmlClaim.commitment(context), "the context to prove under");
    }

    function test_paysUnderAPolicy() external {
        terms.entry = router.definePolicy(policyOf(key, selector));
        terms.entryIsPolicy = true;
        openAs(BOB);
        settle(PROVER);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
    }

    function test_paysOnce() external {
        bytes32 id = openAs(BOB);
        settle(PROVER);
        bytes memory notOpen = abi.encodeWithSelector(PayOnProof.NotOpen.selector, id, PayOnProof.State.Paid);
        settleRefused(PROVER, claimFor(PROVER), notOpen);
        settleRefused(MALLORY, claimFor(MALLORY), notOpen);
        openRefused(BOB, 1 ether, error1(PayOnProof.RequestExists.selector, id));
        vm.warp(terms.deadline + 1);
        vm.expectRevert(notOpen);
        escrow.refund(terms);
    }

    function test_paysOnlyTheNamedPayee() external {
        terms.payee = PROVER;
        openAs(BOB);
        settleRefused(
            MALLORY, claimFor(MALLORY), abi.encodeWithSelector(PayOnProof.WrongPayee.selector, PROVER, MALLORY)
        );
        settle(PROVER);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
    }

    function test_paysNobodyForNobody() external {
        openAs(BOB);
        settleRefused(
            address(0),
            claimFor(address(0)),
            abi.encodeWithSelector(PayOnProof.WrongPayee.selector, address(0), address(0))
        );
    }

    function test_refusesAStolenProof() external {
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        settleRefused(
            MALLORY, claim, error2(PayOnProof.WrongContext.selector, claimFor(MALLORY).context, claim.context)
        );
    }

    function test_refusesAnotherRequest() external {
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        terms.salt = "another";
        openAs(BOB);
        settleRefused(PROVER, claim, error2(PayOnProof.WrongContext.selector, claimFor(PROVER).context, claim.context));
    }

    function test_refusesAnotherContract() external {
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        escrow = new PayOnProof(router);
        openAs(BOB);
        settleRefused(PROVER, claim, error2(PayOnProof.WrongContext.selector, claimFor(PROVER).context, claim.context));
    }

    function test_refusesAnotherChain() external {
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        vm.chainId(5);
        settleRefused(PROVER, claim, error2(PayOnProof.WrongContext.selector, claimFor(PROVER).context, claim.context));
    }

    function test_refusesAnotherInput() external {
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        claim.input = keccak256("easier");
        settleRefused(PROVER, claim, error2(PayOnProof.WrongInput.selector, terms.input, claim.input));
    }

    function test_refusesAnotherOwnersEntry() external {
        openAs(BOB);
        enable(MALLORY, register(MALLORY, MODEL), selector, "worthless");
        VmlClaim.Claim memory claim = claimFor(MALLORY);
        bytes memory proof = verifier.prove(claim, "worthless");
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        escrow.settle(terms, MALLORY, claim, proof);
        claim.model = keccak256("another model");
        settleRefused(MALLORY, claim, error2(IVmlRouter.ModelMismatch.selector, key, claim.model));
    }

    function testFuzz_refusesWhatIsNotProved(bytes memory proof, VmlClaim.Claim memory claim) external {
        openAs(BOB);
        PayOnProof.Terms memory asked = terms;
        VmlClaim.Claim memory right = claimFor(PROVER);
        bytes memory good = proofOf(right);
        vm.expectRevert();
        escrow.settle(asked, PROVER, claim, good);
        vm.expectRevert();
        escrow.settle(asked, PROVER, right, proof);
        checkEqual(escrow.creditOf(PROVER), 0, "nothing");
    }

    /// @dev Terms other than those opened, in any field, are a request that nobody opened.
    function testFuzz_refusesOtherTerms(uint256 field, uint256 value) external {
        openAs(BOB);
        bytes32 opened = escrow.idOf(terms);
        field = bound(field, 0, 9);
        if (field == 0) terms.requester = address(uint160(value));
        if (field == 1) terms.entry = bytes32(value);
        if (field == 2) terms.entryIsPolicy = true;
        if (field == 3) terms.input = bytes32(value);
        if (field == 4) terms.payee = address(uint160(value));
        if (field == 5) terms.amount = value;
        if (field == 6) terms.deadline = uint64(value);
        if (field == 7) terms.consumer = address(uint160(value));
        if (field == 8) terms.consumerGas = uint32(value);
        if (field == 9) terms.userData = abi.encode(value);
        bytes32 id = escrow.idOf(terms);
        vm.assume(id != opened);
        bytes memory notOpen = abi.encodeWithSelector(PayOnProof.NotOpen.selector, id, PayOnProof.State.Unknown);
        settleRefused(PROVER, claimFor(PROVER), notOpen);
        PayOnProof.Terms memory other = terms;
        vm.expectRevert(notOpen);
        escrow.refund(other);
    }

    function test_refusesAFrozenRoute() external {
        openAs(BOB);
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "broken");
        settleRefused(PROVER, claimFor(PROVER), error1(IVmlRouter.RouteIsFrozen.selector, selector));
        vm.warp(terms.deadline + 1);
        escrow.refund(terms);
        checkEqual(escrow.creditOf(BOB), 1 ether, "the money is not stuck");
    }

    // ---- the deadline ----------------------------------------------------------------------------------------------

    function test_refundsAfterTheDeadlineAndNotBefore() external {
        bytes32 id = openAs(BOB);
        vm.warp(terms.deadline);
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.DeadlineNotPassed.selector, terms.deadline));
        escrow.refund(terms);
        vm.warp(terms.deadline + 1);
        settleRefused(
            PROVER, claimFor(PROVER), abi.encodeWithSelector(PayOnProof.DeadlinePassed.selector, terms.deadline)
        );
        vm.expectEmit();
        emit PayOnProof.Refunded(id, BOB);
        vm.prank(MALLORY);
        escrow.refund(terms);
        checkEqual(escrow.creditOf(BOB), 1 ether, "Bob's again, whoever asked");
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.NotOpen.selector, id, PayOnProof.State.Refunded));
        escrow.refund(terms);
    }

    function test_paysInTheLastSecond() external {
        openAs(BOB);
        vm.warp(terms.deadline);
        settle(PROVER);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
    }

    // ---- the consumer ----------------------------------------------------------------------------------------------

    function test_tellsTheConsumer() external {
        MockConsumer consumer = new MockConsumer();
        (terms.consumer, terms.consumerGas, terms.userData) = (address(consumer), 100_000, "mine");
        bytes32 id = openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        bytes memory proof = proofOf(claim);
        vm.expectEmit();
        emit PayOnProof.ConsumerCalled(id, address(consumer), true);
        escrow.settle(terms, PROVER, claim, proof);
        bytes32 heard =
            keccak256(abi.encode(VmlClaim.digest(claim), claim, IVmlRouter.Status.Accepted, selector, bytes("mine")));
        checkEqual(consumer.heard(), heard, "the claim, as it was proved");
        check(consumer.gasSeen() <= 100_000, "no more gas than promised");
    }

    function test_neverTellsOfARefund() external {
        MockConsumer consumer = new MockConsumer();
        (terms.consumer, terms.consumerGas) = (address(consumer), 100_000);
        openAs(BOB);
        vm.warp(terms.deadline + 1);
        escrow.refund(terms);
        checkEqual(consumer.calls(), 0, "nothing was proved");
    }

    function testFuzz_noConsumerStopsAPayment(uint256 mood, uint256 gasPromised) external {
        MockConsumer consumer = new MockConsumer();
        consumer.setMood(MockConsumer.Mood(bound(mood, 1, 5)));
        (terms.consumer, terms.consumerGas) = (address(consumer), uint32(bound(gasPromised, 0, ConsumerCall.MAX_GAS)));
        bytes32 id = openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        bytes memory proof = proofOf(claim);
        vm.expectEmit();
        emit PayOnProof.ConsumerCalled(id, address(consumer), false);
        escrow.settle(terms, PROVER, claim, proof);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
    }

    function test_theSettlerCannotStarveTheConsumer() external {
        MockConsumer consumer = new MockConsumer();
        (terms.consumer, terms.consumerGas) = (address(consumer), 500_000);
        openAs(BOB);
        VmlClaim.Claim memory claim = claimFor(PROVER);
        bytes memory call_ = abi.encodeCall(PayOnProof.settle, (terms, PROVER, claim, proofOf(claim)));
        (bool success, bytes memory why) = address(escrow).call{gas: 450_000}(call_);
        check(!success && bytes4(why) == ConsumerCall.NotEnoughGas.selector, "too little gas settles nothing");
        checkEqual(escrow.creditOf(PROVER), 0, "not yet");
        (success,) = address(escrow).call{gas: 1_000_000}(call_);
        check(success && consumer.calls() == 1, "with enough it does");
    }

    function test_consumerThatCallsBackGainsNothing() external {
        Reentrant attacker = new Reentrant(escrow);
        (terms.requester, terms.consumer, terms.consumerGas) = (address(attacker), address(attacker), 400_000);
        bytes32 id = openAs(address(attacker));
        VmlClaim.Claim memory claim = claimFor(address(attacker));
        bytes memory proof = proofOf(claim);
        attacker.arm(abi.encodeCall(PayOnProof.settle, (terms, address(attacker), claim, proof)));
        vm.expectEmit();
        emit PayOnProof.ConsumerCalled(id, address(attacker), false);
        escrow.settle(terms, address(attacker), claim, proof);
        checkEqual(escrow.creditOf(address(attacker)), 1 ether, "paid once");

        // And when the money comes.
        terms.requester = BOB;
        openAs(BOB);
        attacker.arm(abi.encodeCall(PayOnProof.withdraw, (payable(address(attacker)))));
        attacker.withdraw();
        checkEqual(address(attacker).balance, 1 ether, "withdrawn once");
        checkEqual(address(escrow).balance, 1 ether, "Bob's is still there");
        check(attacker.attempts() == 2 && attacker.successes() == 0, "it tried both times");
    }

    function test_aRefusedPaymentStays() external {
        openAs(BOB);
        settle(PROVER);
        vm.prank(PROVER);
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.PaymentFailed.selector, address(registry)));
        escrow.withdraw(payable(address(registry)));
        checkEqual(escrow.creditOf(PROVER), 1 ether, "still the prover's");
        check(escrow.owed() == 1 ether && address(escrow).balance == 1 ether, "still held");
    }
}
