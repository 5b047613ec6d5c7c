// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";

/// @title Who speaks for a model, and which backends may prove it
/// @notice Anybody can register anybody's model. An entry is therefore not a model but a model *as one owner
/// registered it*: its key is keccak256(abi.encode(owner, model)), and consumers choose keys, never bare models.
/// ERC-7992's modelId is the same key read as an integer. An entry cannot be handed to another owner, because the key
/// holds the owner: who may need to hand over registers through a contract (a multisig, a timelock) whose own control
/// moves, or registers anew and has consumers choose the new key.
interface IModelRegistry is IERC165, IERC7992Registry {
    event BackendSet(bytes32 indexed key, bytes4 indexed selector, bytes32 vkDigest, bytes metadata);
    event BackendRevoked(bytes32 indexed key, bytes4 indexed selector);
    event BackendsLocked(bytes32 indexed key);
    event DeclaredDeterministic(bytes32 indexed key);

    error ModelExists(uint256 modelId);
    /// @notice An entry keeps the model it was registered for.
    error ModelIsFixed(uint256 modelId, bytes32 modelHash);
    /// @notice An enabled backend's digest changes only together with its metadata.
    error VkDigestMismatch(bytes32 key, bytes4 selector, bytes32 vkDigest);
    error BackendsAreLocked(bytes32 key);
    error BackendUnknown(bytes32 key, bytes4 selector);

    /// @notice keccak256(abi.encode(owner, model)).
    function keyOf(address owner, bytes32 model) external pure returns (bytes32 key);

    /// @notice The model of an entry; reverts if there is none.
    function modelOf(bytes32 key) external view returns (bytes32 model);

    /// @notice Lets proofs of this scheme speak for the model; only its owner.
    /// @param metadata what the scheme's verifier needs to know about the model, in that verifier's format
    /// @param digest vkDigest: of the verifying key, for those who read the registry
    function setBackend(bytes32 key, bytes4 selector, bytes calldata metadata, bytes32 digest) external;

    /// @notice Takes that back, also where backends are locked.
    function revokeBackend(bytes32 key, bytes4 selector) external;

    /// @notice From now on backends can be revoked but neither added nor changed. Irreversible.
    function lockBackends(bytes32 key) external;

    /// @notice The owner says that one input has one output under every backend, and so arms
    /// IVmlRouter.freezeByEquivocation. Irreversible.
    /// @dev Not for ezkl: where a rescaling ends exactly between two integers, its circuits accept both, so anybody who
    /// can prove could bring two outputs and shut the backend off.
    function declareDeterministic(bytes32 key) external;

    function backend(bytes32 key, bytes4 selector) external view returns (bytes memory metadata, bool enabled);
    function vkDigest(bytes32 key, bytes4 selector) external view returns (bytes32 digest);
    function backendsLocked(bytes32 key) external view returns (bool);
    function isDeterministic(bytes32 key) external view returns (bool);

    /// @notice All that a router asks, in one call; answers zeros for what does not exist.
    /// @param owner zero if there is no such entry; otherwise keyOf(owner, model) == key for its model and no other
    /// @param metadata the contract whose code, after its first byte, is the metadata; zero if not enabled
    function resolve(bytes32 key, bytes4 selector)
        external
        view
        returns (address owner, bool deprecated, bool deterministic, address metadata);
}
