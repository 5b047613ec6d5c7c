// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PayOnProof} from "src/examples/PayOnProof.sol";
import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ModelRegistry} from "src/ModelRegistry.sol";
import {OptimisticVerifier} from "src/optimistic/OptimisticVerifier.sol";
import {VmlRouter} from "src/VmlRouter.sol";
import {DisputeBench} from "test/optimistic/DisputeBench.sol";

/// @title An escrow that pays for what is final in the dispute game, from asking to paying
contract OptimisticEscrowTest is DisputeBench {
    VmlRouter internal router;
    PayOnProof internal escrow;
    PayOnProof.Terms internal asked;
    bytes4 internal selector;
    bytes32 internal key;

    function setUp() public override {
        super.setUp();
        ModelRegistry registry = new ModelRegistry();
        router = new VmlRouter(address(this), address(0), registry);
        selector = router.addRoute(new OptimisticVerifier(game));
        IERC7992Registry.ModelCommitment memory commitment;
        commitment.modelHash = model;
        key = bytes32(registry.registerModel(commitment));
        bytes32[] memory accepted = new bytes32[](1);
        accepted[0] = terms;
        registry.setBackend(key, selector, abi.encode(accepted), 0);

        escrow = new PayOnProof(router);
        asked.requester = BOB;
        asked.entry = key;
        asked.input = game.storeInput(model, inputOf(0));
        asked.amount = 1 ether;
        asked.deadline = uint64(block.timestamp + 10_000);
        vm.deal(BOB, 1 ether);
        vm.prank(BOB);
        escrow.open{value: 1 ether}(asked);
    }

    /// @dev Somebody asserts an output for the request, on the input that Bob published.
    function answered(uint256 which, address by) internal returns (IDisputeGame.Assertion memory a, bytes32 id) {
        a = assertionOf(which, by, escrow.contextOf(asked, by), false, 0);
        id = asserted(a, new bytes[](0));
        check(game.recordOf(id).inputPublic, "whoever asked has published the input");
    }

    function proofOf(IDisputeGame.Assertion memory a) internal view returns (bytes memory) {
        return bytes.concat(selector, abi.encode(a.asserter, a.terms, a.trace, a.nonce));
    }

    function notYet(IDisputeGame.Assertion memory a) internal {
        bytes memory proof = proofOf(a);
        PayOnProof.Terms memory request = asked;
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.InvalidProof.selector, selector));
        escrow.settle(request, a.asserter, a.claim, proof);
    }

    function test_theTruthIsPaidWhenItIsFinal() external {
        (IDisputeGame.Assertion memory a,) = answered(0, ALICE);
        notYet(a);
        vm.warp(block.timestamp + rules.window + 1);
        notYet(a);
        game.settle(a, 1, new IDisputeGame.Assertion[](0));
        bytes memory proof = proofOf(a);
        router.verifyEntry(key, a.claim, proof);
        vm.snapshotGasLastCall("dispute", "router.verifyEntry of a final assertion");
        escrow.settle(asked, ALICE, a.claim, proof);
        checkEqual(escrow.creditOf(ALICE), 1 ether, "paid");
        bytes32 digest = router.record(key, a.claim, proof);
        checkEqual(digest, VmlClaim.digest(a.claim), "and recorded");
    }

    function test_aLieThatFellIsNeverPaid() external {
        (IDisputeGame.Assertion memory a, bytes32 id) = answered(1, MALLORY);
        bytes32 dispute = challenged(a, CAROL, "");
        reveals(a, dispute, 1);
        picksOperator(a, dispute, 1, OUT);
        reveals(a, dispute, 1);
        proves(a, dispute, 1);
        check(game.recordOf(id).status == IDisputeGame.Status.Slashed, "fallen");
        vm.warp(block.timestamp + rules.window + 1);
        notYet(a);
        escrowGoesBack();
    }

    function test_whatIsVoidIsNotPaid() external {
        (IDisputeGame.Assertion memory a,) = answered(0, ALICE);
        IDisputeGame.Assertion memory rival = assertionOf(1, MALLORY, a.claim.context, false, 0);
        asserted(rival, new bytes[](0));
        vm.warp(block.timestamp + rules.window + 1);
        IDisputeGame.Assertion[] memory rivals = new IDisputeGame.Assertion[](1);
        rivals[0] = rival;
        game.settle(a, 5, rivals);
        notYet(a);
        escrowGoesBack();
    }

    function escrowGoesBack() internal {
        vm.warp(asked.deadline + 1);
        escrow.refund(asked);
        checkEqual(escrow.creditOf(BOB), 1 ether, "back");
    }
}
