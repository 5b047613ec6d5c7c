// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {DisputeBench} from "test/optimistic/DisputeBench.sol";

/// @title Disputes played to the end by the rules, and what each move costs
/// @notice Figures in test/snapshots/dispute.json: gas of the call, without a transaction's 21,000 and its calldata.
contract DisputePlayTest is DisputeBench {
    function noted(string memory move) private {
        vm.snapshotGasLastCall("dispute", move);
    }

    /// @dev The challenger goes to the first wrong element; the asserter shows all that is asked.
    function play(uint256 which, bool note) private returns (bytes32 id) {
        IDisputeGame.Assertion memory a = assertionOf(which, MALLORY, "", false, 0);
        id = asserted(a, inputOf(which));
        if (note) noted("assertClaim, an input of 1 KiB");
        bytes32 dispute = challenged(a, BOB, "");
        if (note) noted("challenge");
        reveals(a, dispute, which);
        uint32 operator = traces[which].operator;
        picksOperator(a, dispute, which, operator);
        if (note) noted("pickOperator, of 5");
        if (operator == BIG) {
            uint256 leaf = traces[which].odd;
            reveals(a, dispute, which);
            picksChild(a, dispute, which, uint8(leaf >> 1));
            reveals(a, dispute, which);
            picksChild(a, dispute, which, uint8(leaf & 1));
        }
        reveals(a, dispute, which);
        vm.prank(CAROL);
        proves(a, dispute, which);
        if (note) noted("proveStep, an affine element of 1 leaf");
        check(game.recordOf(id).status == IDisputeGame.Status.Slashed, "the lie has fallen");
        check(game.disputeOf(dispute).result == IDisputeGame.Result.Won, "to the challenger");
        checkEqual(game.creditOf(BOB), rules.challengerBond + rules.slashReward, "who is paid, whoever sent the proof");
        checkEqual(game.burned(), rules.asserterBond - rules.slashReward, "the rest is burned");
        checkEqual(address(game).balance, game.burned() + game.creditOf(BOB), "and nothing else is there");
    }

    function test_everyLieFalls(uint256 which) external {
        play(bound(which, 1, LIES), false);
    }

    function test_gasOfADescent() external {
        play(2, true);
    }

    function test_gasOfReveals() external {
        IDisputeGame.Assertion memory a = assertionOf(0, ALICE, "", false, 0);
        asserted(a, new bytes[](0));
        noted("assertClaim, no input");
        bytes32 dispute = challenged(a, BOB, "");
        bytes32[] memory roots = list(0);
        vm.prank(ALICE);
        game.revealList(a, roots);
        noted("revealList, of 5");
        picksOperator(a, dispute, 0, BIG);
        IDisputeGame.Position memory at = askedOf(dispute);
        bytes32[] memory children = childrenOf(0, at);
        vm.prank(ALICE);
        game.revealNode(a, dispute, at, children);
        noted("revealNode, 32 children");
        bytes32[] memory path = pathIn(children, 3);
        vm.prank(BOB);
        game.pickChild(a, dispute, at, 3, children[3], path);
        noted("pickChild, of 32");
        reveals(a, dispute, 0);
        picksChild(a, dispute, 0, 1);
        at = askedOf(dispute);
        bytes memory data = leafOf(0, BIG, at.index);
        vm.prank(ALICE);
        game.revealLeaf(a, dispute, at, data);
        noted("revealLeaf, 1 KiB");
        vm.warp(block.timestamp + rules.challengerClock + 1);
        game.claimTimeout(a, dispute);
        noted("claimTimeout, the challenger's");
        vm.warp(block.timestamp + rules.window);
        game.settle(a, 1, new IDisputeGame.Assertion[](0));
        noted("settle, no rivals");
        vm.prank(ALICE);
        game.withdraw();
        noted("withdraw");
    }

    function test_gasOfTheInput() external {
        IDisputeGame.Assertion memory a = assertionOf(0, ALICE, "", false, 0);
        asserted(a, new bytes[](0));
        vm.deal(BOB, rules.challengerBond);
        vm.prank(BOB);
        game.requestInput{value: rules.challengerBond}(a);
        noted("requestInput");
        bytes[] memory input = inputOf(0);
        vm.prank(ALICE);
        game.revealInput(a, input);
        noted("revealInput, 1 KiB");
        game.storeInput(model, input);
        noted("storeInput, 1 KiB");
    }
}
