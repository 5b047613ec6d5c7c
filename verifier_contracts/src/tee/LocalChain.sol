// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Where a simulator's evidence counts
library LocalChain {
    /// @notice Whether this is a chain of somebody's own machine, by its id: 1337 or 31337.
    function isHere() internal view returns (bool) {
        return block.chainid == 31_337 || block.chainid == 1337;
    }
}
