// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IEscalation} from "src/interfaces/IEscalation.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Proofs that a router accepts under a policy, of enclaves and of the native prover
/// @notice Never ezkl's: its claims are about another model, with another arithmetic, even where an owner registered a
/// key of it for this one.
contract Escalation is IEscalation {
    IVmlRouter public immutable router;

    constructor(IVmlRouter router_) {
        router = router_;
    }

    /// @inheritdoc IEscalation
    function admit(bytes32 policy, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector)
    {
        selector = router.verifyWithPolicy(policy, claim, proof);
        (IVmlVerifier verifier,) = router.routes(selector);
        string memory scheme = verifier.scheme();
        if (!begins(bytes(scheme), "tee/") && !begins(bytes(scheme), "sumcheck/")) revert EscalationRefused(scheme);
    }

    function begins(bytes memory text, bytes memory prefix) private pure returns (bool) {
        if (text.length < prefix.length) return false;
        for (uint256 k = 0; k < prefix.length; ++k) {
            if (text[k] != prefix[k]) return false;
        }
        return true;
    }
}
