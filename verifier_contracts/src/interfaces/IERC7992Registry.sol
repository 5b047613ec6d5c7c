// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title ERC-7992's registry of models (draft), with its clash of names resolved
/// @notice The draft names an event and an error alike, ModelDeprecated, which no compiler accepts. Here the error is
/// ModelIsDeprecated. Errors and events are no part of an ERC-165 id: it stays 0xd28519b1.
interface IERC7992Registry {
    /// @param modelHash the claim's `model`
    /// @param circuitHash what the owner says about how it was compiled; vml reads nothing from it
    /// @param vkHash digest of the verifying key under `proofSystemId`
    /// @param proofSystemId a selector: bytes4(keccak256(bytes(scheme)))
    /// @param uri where the model's description is
    struct ModelCommitment {
        bytes32 modelHash;
        bytes32 circuitHash;
        bytes32 vkHash;
        bytes4 proofSystemId;
        string uri;
    }

    event ModelRegistered(uint256 indexed modelId, address indexed owner, ModelCommitment commitment);
    event ModelUpdated(uint256 indexed modelId, ModelCommitment oldCommitment, ModelCommitment newCommitment);
    event ModelDeprecated(uint256 indexed modelId);

    error ModelNotFound(uint256 modelId);
    error NotModelOwner(uint256 modelId, address caller);
    error ModelIsDeprecated(uint256 modelId);

    function registerModel(ModelCommitment calldata commitment) external returns (uint256 modelId);
    function updateModel(uint256 modelId, ModelCommitment calldata newCommitment) external;
    function deprecateModel(uint256 modelId) external;
    function getModel(uint256 modelId)
        external
        view
        returns (ModelCommitment memory commitment, bool deprecated, address owner);
}
