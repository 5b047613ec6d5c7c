// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {DisputeGame} from "src/optimistic/DisputeGame.sol";
import {DisputePlayers} from "test/optimistic/DisputePlayers.t.sol";
import {Test} from "test/Vm.sol";

/// @notice The four properties of docs/dispute.md, against whatever order of moves.
contract DisputeInvariantTest is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev 2W + A until nothing that matters is opened, then 2W + 2A + C and k extensions; and the closing in steps.
    uint256 internal constant BOUND = (2 * 1000 + 300) + (2 * 1000 + 2 * 300 + 200 + 9 * 20) + 200;

    DisputePlayers internal players;
    DisputeGame internal game;

    function setUp() external {
        players = new DisputePlayers();
        game = players.theGame();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(players);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[14] memory moves = [
            DisputePlayers.asserts.selector,
            DisputePlayers.asserts.selector,
            DisputePlayers.answers.selector,
            DisputePlayers.answers.selector,
            DisputePlayers.answersRequest.selector,
            DisputePlayers.requests.selector,
            DisputePlayers.challenges.selector,
            DisputePlayers.picks.selector,
            DisputePlayers.provesAnything.selector,
            DisputePlayers.provesList.selector,
            DisputePlayers.escalates.selector,
            DisputePlayers.withdraws.selector,
            DisputePlayers.closes.selector,
            DisputePlayers.waits.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(players), new bytes4[](moves.length + 1));
        for (uint256 i = 0; i < moves.length; ++i) {
            targets[0].selectors[i] = moves[i];
        }
        targets[0].selectors[moves.length] = DisputePlayers.storesInput.selector;
    }

    /// @dev Invariants hold where nothing happens; here every lie falls, and what is true becomes final.
    function test_thePlayersPlay() external {
        for (uint256 which = 0; which < 6; ++which) {
            players.asserts(which, 0, which % 2 == 0, false);
        }
        players.challenges(0, false);
        for (uint256 i = 0; i < 40; ++i) {
            players.waits(14);
            for (uint256 k = 0; k < 12; ++k) {
                players.answers(k, false);
                players.picks(k, i, 1);
            }
            for (uint256 k = 0; k < 6; ++k) {
                players.answersRequest(k);
            }
            moneyIsConserved();
        }
        players.waits(1998);
        players.waits(99);
        players.waits(99);
        for (uint256 i = 0; i < 6; ++i) {
            IDisputeGame.Status end = players.recordAt(i).status;
            bool deserved = end == (i == 0 ? IDisputeGame.Status.Final : IDisputeGame.Status.Slashed);
            check(deserved, "each as it deserves");
        }
        check(players.refusals(IDisputeGame.ClockRunning.selector) > 0, "some moves were refused");
        this.invariant_theHonestDoNotLose();
    }

    /// @dev One invariant, because each has a run of its own.
    function invariant_theHonestDoNotLose() external view {
        moneyIsConserved();
        (uint256 count,) = players.counts();
        for (uint256 i = 0; i < count; ++i) {
            IDisputeGame.Status status = players.recordAt(i).status;
            if (players.isTrue(i)) {
                check(status != IDisputeGame.Status.Slashed && status != IDisputeGame.Status.Void, "the truth stands");
            } else {
                check(status != IDisputeGame.Status.Final && status != IDisputeGame.Status.Void, "no lie does");
            }
        }
    }

    function moneyIsConserved() private view {
        checkEqual(
            address(game).balance, players.held() + players.credits() + game.burned(), "held, credited or burned"
        );
    }

    /// @notice Then all leave, and within the bound everything can be closed by anybody.
    function afterInvariant() external {
        check(players.ends() <= BOUND, "everything ends in bounded time");
        checkEqual(players.held(), 0, "nothing is held");
        checkEqual(address(game).balance, players.credits() + game.burned(), "and nothing is lost");
    }
}
