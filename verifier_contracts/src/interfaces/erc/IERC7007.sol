// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

/// @title ERC-7007: a token of content that a model made
/// @notice ERC-165 id 0x702c55a6.
interface IERC7007 is IERC721 {
    event AigcData(uint256 indexed tokenId, bytes indexed prompt, bytes indexed aigcData, bytes proof);

    function addAigcData(uint256 tokenId, bytes calldata prompt, bytes calldata aigcData, bytes calldata proof) external;

    function verify(bytes calldata prompt, bytes calldata aigcData, bytes calldata proof)
        external
        view
        returns (bool success);
}

/// @title What ERC-7007's tokens ask about a proof; the standard's assets name it IVerifier
interface IERC7007Verifier {
    /// @param publicInputs see the implementation; the standard leaves the format open, and its own token joins prompt
    /// and content without a boundary
    function verifyProof(bytes calldata proof, bytes calldata publicInputs) external view returns (bool valid);
}
