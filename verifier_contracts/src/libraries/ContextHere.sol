// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Contexts for use by the contract that asks, on the chain that it runs on
library ContextHere {
    /// @notice Binds a claim to this chain, this contract and one request of one requester; for no payee, and for ever.
    function commitment(address requester, bytes32 requestId) internal view returns (bytes32) {
        return commitment(requester, requestId, address(0), type(uint64).max);
    }

    /// @param payee whom alone a proof serves, so that nobody can take it from the mempool and send it for himself
    /// @param expiry the last second at which a proof is of use; the caller checks it
    function commitment(address requester, bytes32 requestId, address payee, uint64 expiry)
        internal
        view
        returns (bytes32)
    {
        return VmlClaim.commitment(
            VmlClaim.Context({
                requester: requester,
                chainId: block.chainid,
                consumer: address(this),
                requestId: requestId,
                payee: payee,
                expiry: expiry
            })
        );
    }
}
