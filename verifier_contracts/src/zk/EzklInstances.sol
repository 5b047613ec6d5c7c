// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Reading an ezkl proof's public words where they lie, in the calldata
/// @notice Positions are absolute offsets into the calldata; the caller has checked that the words are there.
library EzklInstances {
    /// @notice The order of BN254's scalar field.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    /// @notice Integers of a proof envelope lie strictly between -2^53 and 2^53.
    uint256 internal constant INTEGERS = 1 << 53;
    uint256 internal constant LIMBS = 16;

    /// @notice Whether all words in [from, to) are elements of the field.
    function areElements(uint256 from, uint256 to) internal pure returns (bool all) {
        assembly ("memory-safe") {
            all := 1
            for {} lt(from, to) { from := add(from, 32) } { all := and(all, lt(calldataload(from), R)) }
        }
    }

    /// @notice Whether all words in [from, to) stand for integers v, |v| < 2^53: v itself, or v + R where v < 0.
    function areIntegers(uint256 from, uint256 to) internal pure returns (bool all) {
        assembly ("memory-safe") {
            all := 1
            for {} lt(from, to) { from := add(from, 32) } {
                let word := calldataload(from)
                // The difference wraps for words below its second operand, and is then too large.
                let small := or(lt(word, INTEGERS), lt(sub(word, sub(R, sub(INTEGERS, 1))), sub(INTEGERS, 1)))
                all := and(all, small)
            }
        }
    }

    /// @notice Whether the sixteen words from `from` are the 16-bit limbs of `context`, the most significant first.
    function areLimbs(uint256 from, bytes32 context) internal pure returns (bool all) {
        assembly ("memory-safe") {
            let different := 0
            for { let shift := 256 } shift { from := add(from, 32) } {
                shift := sub(shift, 16)
                different := or(different, xor(calldataload(from), and(shr(shift, context), 0xffff)))
            }
            all := iszero(different)
        }
    }

    /// @notice keccak256(header || the words in [from, to)): a commitment of docs/claim-ezkl.md.
    function commitment(bytes calldata header, uint256 from, uint256 to) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            // Beyond the free pointer, which stays where it is: the space is used again by the next call.
            let at := mload(0x40)
            calldatacopy(at, header.offset, header.length)
            calldatacopy(add(at, header.length), from, sub(to, from))
            digest := keccak256(at, add(header.length, sub(to, from)))
        }
    }
}
