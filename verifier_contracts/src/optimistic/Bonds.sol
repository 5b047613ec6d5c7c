// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";

/// @title Credit, to be withdrawn by its owner, and what is burned
/// @notice No payment is computed from a balance, and no money moves to anybody while the game decides. At all times
/// the balance is at least the bonds of what is open, plus the credits, plus what is burned: that stays here for good.
abstract contract Bonds is IDisputeGame {
    /// @inheritdoc IDisputeGame
    mapping(address who => uint256) public creditOf;
    /// @inheritdoc IDisputeGame
    uint256 public burned;

    /// @inheritdoc IDisputeGame
    function withdraw() external {
        uint256 amount = creditOf[msg.sender];
        if (amount == 0) revert NothingToWithdraw();
        delete creditOf[msg.sender];
        emit Withdrawn(msg.sender, amount);
        (bool sent,) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed();
    }

    function _requireValue(uint256 expected) internal view {
        if (msg.value != expected) revert WrongValue(expected, msg.value);
    }

    function _pay(address who, uint256 amount) internal {
        if (amount != 0) creditOf[who] += amount;
    }

    /// @dev Of a lost bond the winner gets the reward, at most half; the rest is burned.
    function _split(uint256 bond, address winner, uint256 reward) internal {
        burned += bond - reward;
        _pay(winner, reward);
    }
}
