// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

/// @title ECDSA over secp256k1 and P-256, one form a signature
/// @notice s is in the lower half of the order, v is 27 or 28: nobody can make a second signature of one.
/// A chain with P-256 has it at 0x100 (RIP-7212, EIP-7951). That address answers a wrong signature with no data at all,
/// and so does an address with nothing behind it: what is there is found out once, by `hasPrecompile`.
library Signatures {
    uint256 private constant SECP256K1_HALF = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    uint256 private constant P256_HALF = 0x7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8;
    address private constant P256_PRECOMPILE = address(0x100);

    /// @notice The signer, from the first 65 bytes r || s || v; zero for anything but a signature in its one form.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        bytes32 r;
        bytes32 s;
        uint256 v;
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        if (uint256(s) > SECP256K1_HALF || (v != 27 && v != 28)) return address(0);
        return ecrecover(digest, uint8(v), r, s);
    }

    /// @notice Whether r, s is this key's signature.
    /// @param native what hasPrecompile said
    function isP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y, bool native)
        internal
        view
        returns (bool)
    {
        if (uint256(s) > P256_HALF) return false;
        return native ? _precompile(digest, r, s, x, y) : P256.verifySolidity(digest, r, s, x, y);
    }

    /// @notice Whether the precompile is there: it accepts a signature and refuses another hash.
    /// @dev The signature is of Wycheproof's ecdsa_secp256r1_sha256_p1363, "small r and s".
    function hasPrecompile() internal view returns (bool) {
        bytes32 hash = 0xbb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca605023;
        bytes32 x = 0xa71af64de5126a4a4e02b7922d66ce9415ce88a4c9d25514d91082c8725ac957;
        bytes32 y = 0x5d47723c8fbe580bb369fec9c2665d8e30a435b9932645482e7c9f11e872296b;
        bytes32 r = bytes32(uint256(5));
        bytes32 s = bytes32(uint256(1));
        return _precompile(hash, r, s, x, y) && !_precompile(~hash, r, s, x, y);
    }

    function _precompile(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y) private view returns (bool valid) {
        address precompile = P256_PRECOMPILE;
        assembly ("memory-safe") {
            let question := mload(0x40)
            mstore(question, digest)
            mstore(add(question, 0x20), r)
            mstore(add(question, 0x40), s)
            mstore(add(question, 0x60), x)
            mstore(add(question, 0x80), y)
            let success := staticcall(gas(), precompile, question, 0xa0, 0, 0x20)
            valid := and(and(success, eq(returndatasize(), 0x20)), eq(mload(0), 1))
        }
    }
}
