// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IModelRegistry} from "src/interfaces/IModelRegistry.sol";
import {DataContract} from "src/libraries/DataContract.sol";

/// @title Models and the backends their owners enabled
/// @notice See IModelRegistry. Nobody governs this contract, and nothing in it can be removed: entries are deprecated.
contract ModelRegistry is IModelRegistry, ERC165 {
    /// @dev The first slot is all that a router reads.
    struct Entry {
        address owner;
        bool deprecated;
        bool locked;
        bool deterministic;
        bytes4 proofSystemId;
        bytes32 model;
        bytes32 circuitHash;
        string uri;
    }

    struct Backend {
        // The contract that holds the metadata; zero where the backend is not enabled.
        address metadata;
        bytes32 vkDigest;
    }

    mapping(bytes32 key => Entry) private _entries;
    mapping(bytes32 key => mapping(bytes4 selector => Backend)) private _backends;

    modifier onlyOwner(bytes32 key) {
        address owner = _entries[key].owner;
        if (owner == address(0)) revert ModelNotFound(uint256(key));
        if (owner != msg.sender) revert NotModelOwner(uint256(key), msg.sender);
        _;
    }

    // ---- ERC-7992 --------------------------------------------------------------------------------------------------

    /// @inheritdoc IERC7992Registry
    function registerModel(ModelCommitment calldata commitment) external returns (uint256 modelId) {
        bytes32 key = keyOf(msg.sender, commitment.modelHash);
        modelId = uint256(key);
        Entry storage entry = _entries[key];
        if (entry.owner != address(0)) revert ModelExists(modelId);
        entry.owner = msg.sender;
        entry.model = commitment.modelHash;
        _describe(key, commitment);
        emit ModelRegistered(modelId, msg.sender, commitment);
    }

    /// @inheritdoc IERC7992Registry
    /// @dev Changes what describes the model. What may prove it is changed by setBackend and revokeBackend.
    function updateModel(uint256 modelId, ModelCommitment calldata newCommitment) external onlyOwner(bytes32(modelId)) {
        bytes32 key = bytes32(modelId);
        if (_entries[key].deprecated) revert ModelIsDeprecated(modelId);
        if (_entries[key].model != newCommitment.modelHash) revert ModelIsFixed(modelId, newCommitment.modelHash);
        ModelCommitment memory old = _commitment(key);
        _describe(key, newCommitment);
        emit ModelUpdated(modelId, old, newCommitment);
    }

    /// @inheritdoc IERC7992Registry
    function deprecateModel(uint256 modelId) external onlyOwner(bytes32(modelId)) {
        Entry storage entry = _entries[bytes32(modelId)];
        if (entry.deprecated) revert ModelIsDeprecated(modelId);
        entry.deprecated = true;
        emit ModelDeprecated(modelId);
    }

    /// @inheritdoc IERC7992Registry
    function getModel(uint256 modelId)
        external
        view
        returns (ModelCommitment memory commitment, bool deprecated, address owner)
    {
        Entry storage entry = _entries[bytes32(modelId)];
        owner = entry.owner;
        if (owner == address(0)) revert ModelNotFound(modelId);
        return (_commitment(bytes32(modelId)), entry.deprecated, owner);
    }

    // ---- backends --------------------------------------------------------------------------------------------------

    /// @inheritdoc IModelRegistry
    function setBackend(bytes32 key, bytes4 selector, bytes calldata metadata, bytes32 digest) external onlyOwner(key) {
        if (_entries[key].deprecated) revert ModelIsDeprecated(uint256(key));
        if (_entries[key].locked) revert BackendsAreLocked(key);
        _backends[key][selector] = Backend({metadata: DataContract.write(metadata), vkDigest: digest});
        emit BackendSet(key, selector, digest, metadata);
    }

    /// @inheritdoc IModelRegistry
    function revokeBackend(bytes32 key, bytes4 selector) external onlyOwner(key) {
        if (_backends[key][selector].metadata == address(0)) revert BackendUnknown(key, selector);
        delete _backends[key][selector];
        emit BackendRevoked(key, selector);
    }

    /// @inheritdoc IModelRegistry
    function lockBackends(bytes32 key) external onlyOwner(key) {
        if (_entries[key].locked) revert BackendsAreLocked(key);
        _entries[key].locked = true;
        emit BackendsLocked(key);
    }

    /// @inheritdoc IModelRegistry
    function declareDeterministic(bytes32 key) external onlyOwner(key) {
        _entries[key].deterministic = true;
        emit DeclaredDeterministic(key);
    }

    // ---- views -----------------------------------------------------------------------------------------------------

    /// @inheritdoc IModelRegistry
    function keyOf(address owner, bytes32 model) public pure returns (bytes32 key) {
        return keccak256(abi.encode(owner, model));
    }

    /// @inheritdoc IModelRegistry
    function modelOf(bytes32 key) external view returns (bytes32 model) {
        if (_entries[key].owner == address(0)) revert ModelNotFound(uint256(key));
        return _entries[key].model;
    }

    /// @inheritdoc IModelRegistry
    function backend(bytes32 key, bytes4 selector) external view returns (bytes memory metadata, bool enabled) {
        address pointer = _backends[key][selector].metadata;
        return (DataContract.read(pointer), pointer != address(0));
    }

    /// @inheritdoc IModelRegistry
    function vkDigest(bytes32 key, bytes4 selector) external view returns (bytes32 digest) {
        return _backends[key][selector].vkDigest;
    }

    /// @inheritdoc IModelRegistry
    function backendsLocked(bytes32 key) external view returns (bool) {
        return _entries[key].locked;
    }

    /// @inheritdoc IModelRegistry
    function isDeterministic(bytes32 key) external view returns (bool) {
        return _entries[key].deterministic;
    }

    /// @inheritdoc IModelRegistry
    function resolve(bytes32 key, bytes4 selector)
        external
        view
        returns (address owner, bool deprecated, bool deterministic, address metadata)
    {
        Entry storage entry = _entries[key];
        return (entry.owner, entry.deprecated, entry.deterministic, _backends[key][selector].metadata);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC165, IERC165) returns (bool) {
        return interfaceId == type(IERC7992Registry).interfaceId || interfaceId == type(IModelRegistry).interfaceId
            || super.supportsInterface(interfaceId);
    }

    // ---- within ----------------------------------------------------------------------------------------------------

    /// @dev A verifying key's digest has one place, its backend's; ERC-7992's vkHash is a view of it.
    function _describe(bytes32 key, ModelCommitment calldata commitment) private {
        Entry storage entry = _entries[key];
        entry.circuitHash = commitment.circuitHash;
        entry.proofSystemId = commitment.proofSystemId;
        entry.uri = commitment.uri;
        Backend storage described = _backends[key][commitment.proofSystemId];
        if (described.vkDigest == commitment.vkHash) return;
        if (described.metadata != address(0)) {
            revert VkDigestMismatch(key, commitment.proofSystemId, commitment.vkHash);
        }
        described.vkDigest = commitment.vkHash;
    }

    function _commitment(bytes32 key) private view returns (ModelCommitment memory) {
        Entry storage entry = _entries[key];
        return ModelCommitment({
            modelHash: entry.model,
            circuitHash: entry.circuitHash,
            vkHash: _backends[key][entry.proofSystemId].vkDigest,
            proofSystemId: entry.proofSystemId,
            uri: entry.uri
        });
    }
}
