// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlConsumer} from "src/interfaces/IVmlConsumer.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Telling a consumer how a claim ended, whatever the consumer does
/// @notice For contracts that settle claims. The callee may revert, burn its gas or return megabytes: the settlement goes
/// on. It may also call back, so settle first and notify last.
library ConsumerCall {
    /// @dev What stays with the settlement beside the callee's gas: the cost of the call and the answer's handling.
    uint256 internal constant RESERVE = 10_000;
    /// @notice The most that anybody is promised, or a promise beyond the gas of a block would stop the settlement.
    uint256 internal constant MAX_GAS = 1_000_000;

    /// @notice Results are told when they are final, and never before.
    error NotFinal(IVmlRouter.Status status);
    /// @notice Whoever settles brings the gas that the consumer was promised. Nothing is lost: settle again with more.
    error NotEnoughGas(uint256 needed, uint256 given);

    /// @param gasLimit what the consumer was promised, and gets: exactly this much, or MAX_GAS if that is less
    /// @return told true if the consumer answered with its selector
    function notify(
        address consumer,
        uint256 gasLimit,
        VmlClaim.Claim memory claim,
        IVmlRouter.Status status,
        bytes4 selector,
        bytes memory userData
    ) internal returns (bool told) {
        if (status != IVmlRouter.Status.Accepted && status != IVmlRouter.Status.Rejected) {
            revert NotFinal(status);
        }
        bytes memory question =
            abi.encodeCall(IVmlConsumer.onVmlResult, (VmlClaim.digest(claim), claim, status, selector, userData));
        if (gasLimit > MAX_GAS) gasLimit = MAX_GAS;
        // EIP-150 passes on all but a 64th; without this check a settler could starve the callee and call it told.
        uint256 needed = gasLimit + gasLimit / 63 + RESERVE;
        if (gasleft() < needed) revert NotEnoughGas(needed, gasleft());
        bytes32 magic = IVmlConsumer.onVmlResult.selector;
        assembly ("memory-safe") {
            let success := call(gasLimit, consumer, 0, add(question, 32), mload(question), 0, 32)
            // A bytes4 is returned in a word whose other bytes are zero.
            told := and(and(success, gt(returndatasize(), 31)), eq(mload(0), magic))
        }
    }
}
