// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";

/// @title Opens the internal functions of the libraries to tests
contract Commitments {
    function empties() external pure returns (bytes32, bytes32) {
        return (VmlCommitment.EMPTY, VmlCommitment.EMPTY_DESCRIPTOR);
    }

    function typeHashes() external pure returns (bytes32, bytes32, bytes32) {
        return (VmlClaim.DOMAIN_SEPARATOR, VmlClaim.CLAIM_TYPE_HASH, VmlClaim.CONTEXT_TYPE_HASH);
    }

    function claimDigest(VmlClaim.Claim calldata claim) external pure returns (bytes32) {
        return VmlClaim.digest(claim);
    }

    function contextCommitment(VmlClaim.Context calldata context) external pure returns (bytes32) {
        return VmlClaim.commitment(context);
    }

    function tensorLeaf(bytes calldata chunk) external pure returns (bytes32) {
        return VmlCommitment.tensorLeaf(chunk);
    }

    function merkleRoot(bytes32[] calldata leaves, bytes32 empty) external pure returns (bytes32) {
        return VmlCommitment.merkleRoot(leaves, empty);
    }

    function verifyOpening(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata path, uint256 depth)
        external
        pure
    {
        VmlCommitment.verifyOpening(root, leaf, index, path, depth);
    }

    function tensorDigest(uint8 dtype, uint64[] calldata dims, bytes32 root) external pure returns (bytes32) {
        return VmlCommitment.tensorDigest(dtype, dims, root);
    }

    function tensorRoot(uint8 dtype, uint64[] calldata dims, bytes calldata data) external pure returns (bytes32) {
        return VmlCommitment.tensorRoot(dtype, dims, data);
    }

    function tensorsRoot(bytes32[] calldata roots) external pure returns (bytes32) {
        return VmlCommitment.tensorsRoot(roots);
    }

    function descriptorLeaf(bytes calldata descriptor) external pure returns (bytes32) {
        return VmlCommitment.descriptorLeaf(descriptor);
    }

    function graphRoot(bytes[] calldata descriptors) external pure returns (bytes32) {
        return VmlCommitment.graphRoot(descriptors);
    }

    function modelDigest(bytes32 semantics, bytes32 graph, bytes calldata inputSpec, bytes calldata outputSpec)
        external
        pure
        returns (bytes32)
    {
        return VmlCommitment.modelDigest(semantics, graph, inputSpec, outputSpec);
    }

    function hiddenField(bytes32 salt, bytes32 root) external pure returns (bytes32) {
        return VmlCommitment.hiddenField(salt, root);
    }
}
