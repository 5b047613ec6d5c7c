// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";

/// @title Receipts as bytes, and what is signed, as in vml/tee/binding.py
/// @notice A proof, integers big-endian:
///   form u8 || mode u8 || keyId (32) || epoch u64 || sequence u64 || issuedAt u64 || signature
/// with the signature r || s || v of a secp256k1 key, x || y || r || s of a P-256 key. Form 1 signs the receipt. Form 2
/// signs a batch that holds it, and goes on:
///   count u32 || index u32 || path (32 each)
/// The batch is a tree of receipt digests, nodes and order as in VmlCommitment, padded with zeros to 2**k leaves; the path
/// has as many nodes as the signed count says.
/// Both are EIP-712 messages under the domain of claims {name: "vml", version: "1"}, without a chain id, like the claim:
/// a receipt permits nothing. It says that a claim is true, which it is on every chain or on none; what binds a claim to
/// one use, chain and contract included, is its context, and the context is signed with it.
library Receipts {
    bytes32 internal constant RECEIPT_TYPE_HASH =
        keccak256("Receipt(bytes32 claim,bytes32 keyId,uint64 epoch,uint64 sequence,uint64 issuedAt)");
    bytes32 internal constant BATCH_TYPE_HASH =
        keccak256("ReceiptBatch(bytes32 keyId,uint64 epoch,uint32 count,bytes32 root)");

    /// @notice VmlClaim.DOMAIN_SEPARATOR, which the compiler computes at each use.
    bytes32 internal constant DOMAIN_SEPARATOR = 0x51bea55482f4372a471dde5c0f49b10382d09caecebb41be6ade5a977ef86a68;

    uint256 internal constant SINGLE = 1;
    uint256 internal constant BATCH = 2;
    uint256 internal constant HEAD_BYTES = 58;
    uint256 private constant BATCH_BYTES = 8;
    uint256 private constant WORD = 32;

    /// @notice The proof is no receipt in its one encoding.
    error NotCanonical();

    /// @notice What comes before the signature, but for the numbers; `proof` has at least HEAD_BYTES.
    function head(bytes calldata proof) internal pure returns (uint256 form, uint256 mode, bytes32 keyId) {
        assembly ("memory-safe") {
            let word := calldataload(proof.offset)
            form := byte(0, word)
            mode := byte(1, word)
            keyId := calldataload(add(proof.offset, 2))
        }
    }

    /// @notice The numbers that the key signs with the claim; `proof` has at least HEAD_BYTES.
    function numbers(bytes calldata proof) internal pure returns (uint64 epoch, uint64 sequence, uint64 issuedAt) {
        assembly ("memory-safe") {
            // They are the last 24 of these 32 bytes.
            let word := calldataload(add(proof.offset, 26))
            epoch := and(shr(128, word), 0xffffffffffffffff)
            sequence := and(shr(64, word), 0xffffffffffffffff)
            issuedAt := and(word, 0xffffffffffffffff)
        }
    }

    /// @notice What comes after; `proof` has at least HEAD_BYTES.
    function signature(bytes calldata proof) internal pure returns (bytes calldata rest) {
        assembly ("memory-safe") {
            rest.offset := add(proof.offset, HEAD_BYTES)
            rest.length := sub(proof.length, HEAD_BYTES)
        }
    }

    /// @notice VmlClaim.digest, for less gas.
    function claimDigest(VmlClaim.Claim calldata claim) internal pure returns (bytes32 hash) {
        bytes32 typeHash = VmlClaim.CLAIM_TYPE_HASH;
        bytes32 domain = DOMAIN_SEPARATOR;
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, typeHash)
            calldatacopy(add(buffer, 0x20), claim, 0x80)
            mstore(add(buffer, 34), keccak256(buffer, 0xa0))
            mstore(buffer, hex"1901")
            mstore(add(buffer, 2), domain)
            hash := keccak256(buffer, 66)
        }
    }

    /// @notice The digest that was signed, for a signature of this length.
    /// @param claim the claim's digest
    function signed(bytes calldata proof, bytes32 claim, uint256 signatureBytes) internal pure returns (bytes32 hash) {
        (uint256 form,, bytes32 keyId) = head(proof);
        (uint64 epoch, uint64 sequence, uint64 issuedAt) = numbers(proof);
        hash = digest(claim, keyId, epoch, sequence, issuedAt);
        uint256 end = HEAD_BYTES + signatureBytes;
        if (form == SINGLE) {
            if (proof.length != end) revert NotCanonical();
            return hash;
        }
        if (form != BATCH || proof.length < end + BATCH_BYTES) revert NotCanonical();
        return _batch(keyId, epoch, hash, proof[end:]);
    }

    /// @notice What a key signs for one claim: EIP-712.
    function digest(bytes32 claim, bytes32 keyId, uint64 epoch, uint64 sequence, uint64 issuedAt)
        internal
        pure
        returns (bytes32 hash)
    {
        bytes32 typeHash = RECEIPT_TYPE_HASH;
        bytes32 domain = DOMAIN_SEPARATOR;
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, typeHash)
            mstore(add(buffer, 0x20), claim)
            mstore(add(buffer, 0x40), keyId)
            mstore(add(buffer, 0x60), epoch)
            mstore(add(buffer, 0x80), sequence)
            mstore(add(buffer, 0xa0), issuedAt)
            mstore(add(buffer, 34), keccak256(buffer, 0xc0))
            mstore(buffer, hex"1901")
            mstore(add(buffer, 2), domain)
            hash := keccak256(buffer, 66)
        }
    }

    /// @notice What a key signs for `count` receipts at once.
    function batchDigest(bytes32 keyId, uint64 epoch, uint32 count, bytes32 root) internal pure returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(BATCH_TYPE_HASH, keyId, epoch, count, root));
        return keccak256(abi.encodePacked(bytes2(0x1901), DOMAIN_SEPARATOR, structHash));
    }

    /// @notice The smallest k with 2**k >= count.
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        while (1 << depth < count) ++depth;
    }

    function _batch(bytes32 keyId, uint64 epoch, bytes32 leaf, bytes calldata rest) private pure returns (bytes32) {
        uint32 count = uint32(bytes4(rest));
        uint256 index = uint32(bytes4(rest[4:]));
        if (index >= count || rest.length != BATCH_BYTES + depthOf(count) * WORD) revert NotCanonical();
        for (uint256 at = BATCH_BYTES; at < rest.length; at += WORD) {
            bytes32 sibling = bytes32(rest[at:]);
            leaf = index & 1 == 0 ? VmlCommitment.node(leaf, sibling) : VmlCommitment.node(sibling, leaf);
            index >>= 1;
        }
        return batchDigest(keyId, epoch, count, leaf);
    }
}
