// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Exact models whose every operator a contract can compute
/// @notice Anybody registers any model, because a model's identity says what it is: nothing here is anybody's word. A
/// graph is sent in chunks of 2**chunkBits descriptors, in order, each with its path to the graph root. It is refused
/// where a descriptor cannot be read, an operator is unknown, or an operator's worst step exceeds the limit.
interface IGraphRegistry {
    event GraphOpened(bytes32 indexed model, bytes32 root, uint32 count, uint8 chunkBits);
    event GraphAppended(bytes32 indexed model, uint32 registered);
    event GraphRegistered(bytes32 indexed model, uint64 stepGas);

    error GraphUnknown(bytes32 model);
    error GraphIncomplete(bytes32 model, uint32 registered, uint32 count);
    error GraphComplete(bytes32 model);
    error GraphExists(bytes32 model);
    error NodeOutside(uint256 node, uint256 count);
    error StepTooDear(uint256 node, uint256 gas, uint256 limit);
    error StepTooLong(uint256 node, uint256 terms, uint256 limit);
    /// @notice The operator roots do not lead from the claimed input over the model's constants to the claimed output.
    /// @param place 0 length, 1 input, 2 constant, 3 output; `node` is the constant's.
    error ListInconsistent(uint8 place, uint256 node);

    /// @notice Digest of the arithmetic, `vml-int/1`: only models under it have one-step proofs.
    function semantics() external view returns (bytes32);

    /// @notice Gas of a transaction that proves one step, at most, for every operator of every registered model.
    function stepGasLimit() external view returns (uint256);

    /// @notice Begins a model; beginning again what has been begun with the same chunkBits changes nothing.
    /// @param root graph root over `count` descriptors
    /// @param inputSpec, outputSpec as in the model commitment
    /// @return model VmlCommitment.modelDigest(semantics, root, inputSpec, outputSpec)
    function open(bytes32 root, uint32 count, uint8 chunkBits, bytes calldata inputSpec, bytes calldata outputSpec)
        external
        returns (bytes32 model);

    /// @notice The next chunk. The last one may be shorter; the model is registered with it.
    /// @param path siblings from the chunk's subtree up to the graph's tree root
    function append(bytes32 model, bytes[] calldata descriptors, bytes32[] calldata path) external;

    /// @notice How far a registration is; zeros where it was not begun.
    function progressOf(bytes32 model) external view returns (uint32 registered, uint32 count, uint8 chunkBits);

    /// @notice A registered model. Reverts for any other.
    /// @return root graph root
    /// @return count its descriptors
    /// @return stepGas the worst step of any of its operators, a whole transaction
    function graphOf(bytes32 model) external view returns (bytes32 root, uint32 count, uint64 stepGas);

    /// @notice One descriptor of a registered model.
    function descriptorOf(bytes32 model, uint256 node) external view returns (bytes memory);

    /// @notice The descriptors of a registered model's inputs, in the order of its input specification.
    function inputsOf(bytes32 model) external view returns (bytes[] memory descriptors);

    /// @notice Reverts with ListInconsistent unless `roots`, one for each operator, lead from `input` to `output`.
    function checkList(bytes32 model, bytes32[] calldata roots, bytes32 input, bytes32 output) external view;
}
