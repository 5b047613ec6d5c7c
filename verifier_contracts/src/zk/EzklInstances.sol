// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Reading an ezkl proof's public words where they lie, in the calldata
/// @notice Positions are absolute offsets into the calldata; the caller has checked that the words are there.
library EzklInstances {
    /// @notice The order of BN254's scalar field.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant LIMBS = 16;

    /// @dev Integers of a proof envelope: 0 to 2^53 - 1 as they are, -1 to -(2^53 - 1) counted down from R - 1.
    uint256 private constant POSITIVE = 0x1fffffffffffff;
    uint256 private constant NEGATIVE = 0x1ffffffffffffe;

    /// @notice Whether all words in [from, to) are elements of the field.
    function areElements(uint256 from, uint256 to) internal pure returns (bool all) {
        uint256 order = R;
        assembly ("memory-safe") {
            all := 1
            for {} lt(from, to) { from := add(from, 32) } { all := and(all, lt(calldataload(from), order)) }
        }
    }

    /// @notice Whether all words in [from, to) stand for integers v, |v| < 2^53: v itself, or v + R where v < 0.
    function areIntegers(uint256 from, uint256 to) internal pure returns (bool all) {
        // Named where it is used, the compiler would fetch it from the code each time.
        uint256 last = R - 1;
        assembly ("memory-safe") {
            // Too large for v >= 0, and too far below R for v < 0. The difference wraps for words of R and more.
            let wrong := 0
            // Four at a time: the loop itself costs as much as a word, and so would calling a function.
            for {} gt(sub(to, from), 127) { from := add(from, 128) } {
                let word := calldataload(from)
                wrong := or(wrong, and(gt(word, POSITIVE), gt(sub(last, word), NEGATIVE)))
                word := calldataload(add(from, 32))
                wrong := or(wrong, and(gt(word, POSITIVE), gt(sub(last, word), NEGATIVE)))
                word := calldataload(add(from, 64))
                wrong := or(wrong, and(gt(word, POSITIVE), gt(sub(last, word), NEGATIVE)))
                word := calldataload(add(from, 96))
                wrong := or(wrong, and(gt(word, POSITIVE), gt(sub(last, word), NEGATIVE)))
            }
            for {} lt(from, to) { from := add(from, 32) } {
                let word := calldataload(from)
                wrong := or(wrong, and(gt(word, POSITIVE), gt(sub(last, word), NEGATIVE)))
            }
            all := iszero(wrong)
        }
    }

    /// @notice Whether the sixteen words from `from` are the 16-bit limbs of `context`, the most significant first.
    function areLimbs(uint256 from, bytes32 context) internal pure returns (bool all) {
        assembly ("memory-safe") {
            let packed := 0
            let bits := 0
            for { let to := add(from, 512) } lt(from, to) { from := add(from, 128) } {
                let a := calldataload(from)
                let b := calldataload(add(from, 32))
                let c := calldataload(add(from, 64))
                let d := calldataload(add(from, 96))
                bits := or(bits, or(or(a, b), or(c, d)))
                packed := or(shl(64, packed), or(or(shl(48, a), shl(32, b)), or(shl(16, c), d)))
            }
            // No limb reached into the next one.
            all := and(lt(bits, 0x10000), eq(packed, context))
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
