// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What a validator needs of ERC-8004's validation registry (draft)
/// @notice `tag` is a string. Earlier drafts, and kits made from them, have bytes32 there and so another selector.
interface IERC8004ValidationRegistry {
    /// @param response 0 to 100
    /// @dev Only the validator that was asked.
    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external;

    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (
            address validatorAddress,
            uint256 agentId,
            uint8 response,
            bytes32 responseHash,
            string memory tag,
            uint256 lastUpdate
        );
}
