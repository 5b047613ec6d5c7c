// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Exact models whose every operator a contract can compute
/// @notice Anybody registers any model, because a model's identity says what it is: nothing here is anybody's word. A
/// graph is sent in chunks of 2**chunkBits descriptors, in order, each with its path to the graph root. It is refused
/// where a descriptor cannot be read, an operator is unknown, or an operator's worst step exceeds a limit.
interface IGraphRegistry {
    /// @dev Why a list of operator roots does not lead from the claimed input over the model's constants to the claimed
    /// output: another length, or the first place where it does not.
    enum ListFault {
        None,
        Length,
        Input,
        Constant,
        Output
    }

    event GraphOpened(bytes32 indexed model, bytes32 root, uint32 count, uint8 chunkBits);
    event GraphAppended(bytes32 indexed model, uint32 registered);
    event GraphRegistered(bytes32 indexed model, uint64 stepGas);

    error GraphUnknown(bytes32 model);
    error GraphIncomplete(bytes32 model, uint32 registered, uint32 count);
    error GraphComplete(bytes32 model);
    error GraphExists(bytes32 model);
    error NodeOutside(uint256 node, uint256 count);
    error StepTooDear(uint256 node, uint256 gas, uint256 limit);
    /// @notice No node of a network passes on a transaction with as many bytes as a proof of this operator may need.
    error StepTooLarge(uint256 node, uint256 bytes_, uint256 limit);
    error InputCount(uint256 expected, uint256 got);
    error StepTooLong(uint256 node, uint256 terms, uint256 limit);

    /// @notice Digest of the arithmetic, `vml-int/1`: only models under it have one-step proofs.
    function semantics() external view returns (bytes32);

    /// @notice Gas of a transaction that proves one step, at most, for every operator of every registered model.
    function stepGasLimit() external view returns (uint256);

    /// @notice Begins a model; beginning again what has been begun with the same chunkBits changes nothing.
    /// @param root graph root over `count` descriptors
    /// @param chunkBits 4 or more, or as many as the graph's tree has levels
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

    /// @notice The commitment of an input whose tensors have these bytes: `input` of a claim on a registered model.
    /// @param data one for each input, as many bytes as its header says, else reverts with VmlCommitment's TensorSize
    function inputRoot(bytes32 model, bytes[] calldata data) external view returns (bytes32);

    /// @notice Whether `roots`, one for each operator, lead from `input` to `output`. It answers instead of reverting, so
    /// that nobody takes a call that ran out of gas for a fault.
    /// @return fault None if they do
    /// @return node the constant's, where a constant is at fault
    function listFault(bytes32 model, bytes32[] calldata roots, bytes32 input, bytes32 output)
        external
        view
        returns (ListFault fault, uint256 node);
}
