// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {PinnedEntry} from "src/adapters/PinnedEntry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IERC7007Verifier} from "src/interfaces/erc/IERC7007.sol";

/// @title What stands behind an ERC-7007 token: proofs for one registry entry
/// @notice Public inputs are exactly abi.encode(keccak256(prompt), keccak256(aigcData), context). The token of the
/// standard's assets passes abi.encodePacked(prompt, aigcData), in which ("a", "bc") and ("ab", "c") are the same bytes,
/// so a proof of one would pass for the other; nothing of that form is accepted here.
/// Prompt and content are the preimages of the claim's `input` and `output` (docs/contracts-adapters.md). Answers and
/// never reverts.
contract Erc7007Verifier is IERC7007Verifier, PinnedEntry, ERC165 {
    constructor(IVmlRouter router_, bytes32 key) PinnedEntry(router_, key, false) {}

    /// @inheritdoc IERC7007Verifier
    function verifyProof(bytes calldata proof, bytes calldata publicInputs) external view returns (bool valid) {
        if (publicInputs.length != 96) return false;
        (bytes32 input, bytes32 output, bytes32 context) = abi.decode(publicInputs, (bytes32, bytes32, bytes32));
        return _proved(input, output, context, proof);
    }

    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7007Verifier).interfaceId || super.supportsInterface(interfaceId);
    }
}
