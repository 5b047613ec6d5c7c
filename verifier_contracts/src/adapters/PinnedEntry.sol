// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title A router, and whom to believe behind it, chosen once
/// @notice What stands between a standard's interface and the router: the standards name no registry entry, so each
/// adapter is deployed for one, or for one policy.
abstract contract PinnedEntry {
    IVmlRouter public immutable router;
    /// @notice A key of the router's registry, or the id of a policy.
    bytes32 public immutable entry;
    bool public immutable isPolicy;

    /// @notice The model that the key is for; zero for a policy, whose keys may be for several.
    bytes32 public immutable model;

    /// @dev Reverts as the registry or the router does, if there is no such entry or policy.
    constructor(IVmlRouter router_, bytes32 entry_, bool isPolicy_) {
        if (isPolicy_) router_.policy(entry_);
        else model = router_.registry().modelOf(entry_);
        router = router_;
        entry = entry_;
        isPolicy = isPolicy_;
    }

    /// @dev For adapters that revert: with the router's own error unless proved.
    function _verify(VmlClaim.Claim memory claim, bytes calldata proof) internal view returns (bytes4 selector) {
        return isPolicy ? router.verifyWithPolicy(entry, claim, proof) : router.verifyEntry(entry, claim, proof);
    }

    /// @dev For adapters that answer, which pin a key: true if its model is proved to have done this. Never reverts, unless
    /// the gas does not even suffice to answer.
    function _proved(bytes32 input, bytes32 output, bytes32 context, bytes calldata proof)
        internal
        view
        returns (bool valid)
    {
        (valid,) = router.tryVerify(entry, VmlClaim.Claim(model, input, output, context), proof);
    }
}
