// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {DataContract} from "src/libraries/DataContract.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Chunk, GraphChunk} from "./GraphChunk.sol";
import {Bound, Facts, StepBound} from "./StepBound.sol";
import {Form, StepCosts} from "./StepCosts.sol";
import {Cursor, Descriptor, Node} from "./steps/Descriptor.sol";
import {OneStep} from "./steps/OneStep.sol";
import {TensorLib} from "./steps/Tensor.sol";
import {TensorSpecs} from "./TensorSpecs.sol";

/// @title Exact models whose every operator a contract can compute (docs/dispute-registration.md)
/// @notice Whoever opens a model says how many descriptors it has and how they are cut into chunks. Nothing shows that
/// this is right before a chunk is there, so every such word begins a registration of its own: a wrong one stands in
/// nobody's way. Who appends goes on with the registration that it opened last, or else with the one opened last by
/// anybody; the first to end counts, and what all of them can end with is the same model.
contract GraphRegistry is IGraphRegistry {
    using VmlCommitment for bytes32[];

    /// @param root graph root
    /// @param work the registration that ended; zero if none did
    /// @param latest the registration that was opened last
    /// @param inputs, outputs nodes of the outside tensors
    /// @param given the contract that keeps the descriptors of the inputs once more: every assertion reads them
    struct Model {
        bytes32 root;
        bytes32 work;
        bytes32 latest;
        uint32[] inputs;
        uint32[] outputs;
        address given;
    }

    /// @param registered descriptors so far, `inputs` of them inputs of the model
    struct Work {
        uint32 registered;
        uint32 count;
        uint32 inputs;
        uint8 chunkBits;
        uint64 stepGas;
        address[] chunks;
    }

    /// @dev As vml/model/graph.py has it.
    uint256 internal constant MAX_NODES = 1 << 20;
    /// @dev Smaller chunks would make listFault, which reads each, dear for everybody and for good.
    uint256 internal constant LEAST_CHUNK_BITS = 4;

    bytes32 public immutable semantics;
    uint256 public immutable stepGasLimit;

    mapping(bytes32 model => Model) private models;
    mapping(bytes32 work => Work) private works;
    mapping(bytes32 model => mapping(address opener => bytes32 work)) private openedBy;

    /// @notice Chunks are subtrees of the graph's tree, of 16 descriptors or more, or all of it.
    error ChunkBits(uint256 bits, uint256 depth);
    error ChunkLength(uint256 expected, uint256 got);
    /// @notice The input nodes are not those of the input specification, in order.
    error InputNode(uint256 node, uint256 inputs);

    /// @param semantics_ digest of `vml-int/1`
    /// @param stepGasLimit_ gas of a transaction that proves one step, at most
    constructor(bytes32 semantics_, uint256 stepGasLimit_) {
        semantics = semantics_;
        stepGasLimit = stepGasLimit_;
    }

    /// @inheritdoc IGraphRegistry
    function open(bytes32 root, uint32 count, uint8 chunkBits, bytes calldata inputSpec, bytes calldata outputSpec)
        external
        returns (bytes32 id)
    {
        id = VmlCommitment.modelDigest(semantics, root, inputSpec, outputSpec);
        Model storage model = models[id];
        bytes32 key = keccak256(abi.encode(id, count, chunkBits));
        if (model.work != bytes32(0)) {
            if (model.work != key) revert GraphExists(id);
            return id;
        }
        if (count == 0 || count > MAX_NODES) revert VmlCommitment.DescriptorCount(count);
        uint256 depth = TensorLib.depthOf(count);
        uint256 least = depth < LEAST_CHUNK_BITS ? depth : LEAST_CHUNK_BITS;
        if (chunkBits < least || chunkBits > depth) revert ChunkBits(chunkBits, depth);
        if (model.root == bytes32(0)) {
            model.root = root;
            uint256 kept;
            (model.inputs, kept) = TensorSpecs.nodes(inputSpec);
            if (kept > DataContract.MAX_BYTES) revert DataContract.DataTooLong(kept);
            (model.outputs,) = TensorSpecs.nodes(outputSpec);
        }
        for (uint256 k = 0; k < model.outputs.length; ++k) {
            if (model.outputs[k] >= count) revert NodeOutside(model.outputs[k], count);
        }
        Work storage work = works[key];
        if (work.count == 0) {
            (work.count, work.chunkBits) = (count, chunkBits);
            emit GraphOpened(id, root, count, chunkBits);
        }
        model.latest = openedBy[id][msg.sender] = key;
    }

    /// @inheritdoc IGraphRegistry
    function append(bytes32 id, bytes[] calldata descriptors, bytes32[] calldata path) external {
        Model storage model = models[id];
        if (model.work != bytes32(0)) revert GraphComplete(id);
        bytes32 key = current(id);
        if (key == bytes32(0)) revert GraphUnknown(id);
        Work storage work = works[key];
        requireNext(model.root, work, descriptors, path);
        Chunk memory chunk = check(model, work, descriptors);
        work.chunks.push(GraphChunk.write(descriptors, chunk));
        work.registered += uint32(descriptors.length);
        emit GraphAppended(id, work.registered);
        if (work.registered < work.count) return;
        // Each input node was the next of the specification; now none is left over.
        if (work.inputs != model.inputs.length) revert InputNode(work.count, model.inputs.length);
        model.work = key;
        model.given = keepInputs(work, model.inputs);
        emit GraphRegistered(id, work.stepGas);
    }

    /// @inheritdoc IGraphRegistry
    /// @dev Of the registration that the sender would append to.
    function progressOf(bytes32 id) external view returns (uint32, uint32, uint8) {
        bytes32 done = models[id].work;
        Work storage work = works[done == bytes32(0) ? current(id) : done];
        return (work.registered, work.count, work.chunkBits);
    }

    /// @inheritdoc IGraphRegistry
    function graphOf(bytes32 id) external view returns (bytes32, uint32, uint64) {
        Work storage work = ended(id);
        return (models[id].root, work.count, work.stepGas);
    }

    /// @inheritdoc IGraphRegistry
    function descriptorOf(bytes32 id, uint256 node) external view returns (bytes memory) {
        Work storage work = ended(id);
        if (node >= work.count) revert NodeOutside(node, work.count);
        return descriptorAt(work, node);
    }

    /// @inheritdoc IGraphRegistry
    function inputRoot(bytes32 id, bytes[] calldata data) external view returns (bytes32) {
        address given = models[id].given;
        if (given == address(0)) ended(id);
        bytes[] memory inputs = abi.decode(DataContract.read(given), (bytes[]));
        if (data.length != inputs.length) revert InputCount(inputs.length, data.length);
        bytes32[] memory roots = new bytes32[](data.length);
        for (uint256 k = 0; k < roots.length; ++k) {
            Node memory node = Descriptor.node(Cursor(inputs[k], 0));
            roots[k] = VmlCommitment.tensorRoot(node.dtype, node.dims, data[k]);
        }
        return roots.tensorsRoot();
    }

    /// @inheritdoc IGraphRegistry
    function listFault(bytes32 id, bytes32[] calldata roots, bytes32 input, bytes32 output)
        external
        view
        returns (ListFault, uint256)
    {
        Work storage work = ended(id);
        Model storage model = models[id];
        // step 1: one root for each operator.
        if (roots.length != work.count) return (ListFault.Length, 0);
        // step 2: the inputs are the claimed ones.
        if (chosen(roots, model.inputs).tensorsRoot() != input) return (ListFault.Input, 0);
        // step 3: the constants are the model's.
        for (uint256 i = 0; i < work.chunks.length; ++i) {
            bytes memory constants = GraphChunk.constantsOf(work.chunks[i]);
            for (uint256 at = 0; at < constants.length; at += GraphChunk.CONSTANT_BYTES) {
                (uint256 node, bytes32 root) = GraphChunk.constantAt(constants, at);
                if (roots[node] != root) return (ListFault.Constant, node);
            }
        }
        // step 4: the outputs are the claimed ones.
        if (chosen(roots, model.outputs).tensorsRoot() != output) return (ListFault.Output, 0);
        return (ListFault.None, 0);
    }

    // ---- what is registered ----------------------------------------------------------------------------------------

    /// @notice The registration that a sender goes on with.
    function current(bytes32 id) private view returns (bytes32 key) {
        key = openedBy[id][msg.sender];
        if (key == bytes32(0)) key = models[id].latest;
    }

    /// @notice The registration of a registered model.
    function ended(bytes32 id) private view returns (Work storage work) {
        bytes32 key = models[id].work;
        work = works[key];
        if (key == bytes32(0)) {
            key = current(id);
            if (key == bytes32(0)) revert GraphUnknown(id);
            revert GraphIncomplete(id, works[key].registered, works[key].count);
        }
    }

    function descriptorAt(Work storage work, uint256 node) private view returns (bytes memory) {
        uint256 bits = work.chunkBits;
        return GraphChunk.descriptorAt(work.chunks[node >> bits], node & (1 << bits) - 1);
    }

    /// @dev TensorSpecs.nodes has foreseen how long this is.
    function keepInputs(Work storage work, uint32[] storage nodes) private returns (address) {
        bytes[] memory descriptors = new bytes[](nodes.length);
        for (uint256 k = 0; k < descriptors.length; ++k) {
            descriptors[k] = descriptorAt(work, nodes[k]);
        }
        return DataContract.write(abi.encode(descriptors));
    }

    function chosen(bytes32[] calldata roots, uint32[] storage nodes) private view returns (bytes32[] memory result) {
        result = new bytes32[](nodes.length);
        for (uint256 k = 0; k < result.length; ++k) {
            result[k] = roots[nodes[k]];
        }
    }

    // ---- what is appended ------------------------------------------------------------------------------------------

    /// @notice Reverts unless the descriptors are the next chunk of the graph with this root.
    function requireNext(bytes32 graph, Work storage work, bytes[] calldata descriptors, bytes32[] calldata path)
        private
        view
    {
        uint256 bits = work.chunkBits;
        uint256 left = work.count - work.registered;
        uint256 expected = left < 1 << bits ? left : 1 << bits;
        if (descriptors.length != expected) revert ChunkLength(expected, descriptors.length);
        uint256 depth = TensorLib.depthOf(work.count) - bits;
        bytes32 root = VmlCommitment.openingRoot(subtree(descriptors, bits), work.registered >> bits, path, depth);
        root = VmlCommitment.graphDigest(work.count, root);
        if (root != graph) revert OneStep.WrongGraph(graph, root);
    }

    /// @notice The node of the graph's tree, `height` levels above the leaves, over these descriptors and padding.
    function subtree(bytes[] calldata descriptors, uint256 height) private pure returns (bytes32) {
        uint256 count = descriptors.length;
        bytes32[] memory row = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            row[i] = VmlCommitment.descriptorLeaf(descriptors[i]);
        }
        bytes32 empty = VmlCommitment.EMPTY_DESCRIPTOR;
        for (; height > 0; --height) {
            uint256 parents = (count + 1) / 2;
            for (uint256 i = 0; i < parents; ++i) {
                row[i] = VmlCommitment.node(row[2 * i], 2 * i + 1 < count ? row[2 * i + 1] : empty);
            }
            empty = VmlCommitment.node(empty, empty);
            count = parents;
        }
        return row[0];
    }

    /// @notice Reads every descriptor of a chunk and notes the worst step.
    function check(Model storage model, Work storage work, bytes[] calldata descriptors)
        private
        returns (Chunk memory chunk)
    {
        uint256 count = descriptors.length;
        chunk = Chunk(new Facts[](count), 0, new uint256[](count), new bytes32[](count));
        uint256 first = work.registered;
        uint256 inputs = work.inputs;
        uint256 worst = work.stepGas;
        for (uint256 i = 0; i < count; ++i) {
            Cursor memory cursor = Cursor(descriptors[i], 0);
            Node memory node = Descriptor.node(cursor);
            chunk.facts[i] = Facts(node.itemBytes, node.elements, cursor.data.length);
            if (node.kind == StepCosts.KIND_INPUT && node.inputs.length == 0) {
                requireInput(model, cursor, first + i, inputs++);
            } else if (node.kind == StepCosts.KIND_CONSTANT && node.inputs.length == 0) {
                chunk.nodes[chunk.constants] = first + i;
                chunk.roots[chunk.constants++] = bytes32(Descriptor.unsigned(cursor, 32));
                Descriptor.end(cursor);
            } else {
                uint256 gas = stepGasOf(work, chunk, cursor, node, i);
                if (gas > worst) worst = gas;
            }
        }
        work.inputs = uint32(inputs);
        work.stepGas = uint64(worst);
    }

    /// @notice Reverts unless the `k`-th input node that is met is the k-th of the input specification.
    function requireInput(Model storage model, Cursor memory cursor, uint256 node, uint256 k) private view {
        uint256 index = Descriptor.unsigned(cursor, 4);
        Descriptor.end(cursor);
        if (k >= model.inputs.length || model.inputs[k] != node || index != k) {
            revert InputNode(node, model.inputs.length);
        }
    }

    /// @notice The gas of the worst step of the `i`-th descriptor of a chunk.
    function stepGasOf(Work storage work, Chunk memory chunk, Cursor memory cursor, Node memory node, uint256 i)
        private
        view
        returns (uint256 gas)
    {
        uint256 first = work.registered;
        uint256 bits = work.chunkBits;
        Form memory form =
            Form(cursor, first + i, node.dims, TensorLib.depthOf(work.count), new Facts[](node.inputs.length));
        for (uint256 k = 0; k < node.inputs.length; ++k) {
            uint256 input = node.inputs[k];
            if (input >= first + i) revert OneStep.NotBefore(input, first + i);
            form.operands[k] = input >= first
                ? chunk.facts[input - first]
                : GraphChunk.factsAt(work.chunks[input >> bits], input & (1 << bits) - 1);
        }
        Bound memory bound = StepCosts.dearest(node.kind, form);
        gas = StepBound.transactionGas(bound);
        if (gas > stepGasLimit) revert StepTooDear(first + i, gas, stepGasLimit);
        if (bound.transactionBytes > StepBound.MAX_TRANSACTION_BYTES) {
            revert StepTooLarge(first + i, bound.transactionBytes, StepBound.MAX_TRANSACTION_BYTES);
        }
    }
}
