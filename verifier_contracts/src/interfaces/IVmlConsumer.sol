// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Whoever wants to be told how a claim ended
/// @notice Called once, after finality and never before, with at most the gas that was agreed. Nothing that the callee
/// does (revert, burn its gas, return megabytes) stops the settlement it is told about.
interface IVmlConsumer {
    /// @param digest VmlClaim.digest(claim)
    /// @param status Accepted or Rejected
    /// @param selector under which it was proved; zero if Rejected
    /// @param userData what the consumer left for itself when it asked
    /// @return IVmlConsumer.onVmlResult.selector
    function onVmlResult(
        bytes32 digest,
        VmlClaim.Claim calldata claim,
        IVmlRouter.Status status,
        bytes4 selector,
        bytes calldata userData
    ) external returns (bytes4);
}
