// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Which proofs shorten the window of an assertion
interface IEscalation {
    error EscalationRefused(string scheme);

    /// @notice Reverts unless the proof is one of this very claim, accepted under the policy, and of a scheme that speaks
    /// of the exact model.
    /// @param policy of whoever answers
    /// @return selector of the scheme
    function admit(bytes32 policy, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector);
}
