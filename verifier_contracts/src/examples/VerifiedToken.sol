// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721, IERC165} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC7007, IERC7007Verifier} from "src/interfaces/erc/IERC7007.sol";
import {ContextHere} from "src/libraries/ContextHere.sol";

/// @title An ERC-7007 token that exists if and only if its content was proved
/// @notice `proof` is the 20 bytes of whom the token is for, then the router's proof, whose context names this token and
/// that owner. So nobody reserves a prompt without an inference, and nobody takes a proof from the mempool for himself.
/// tokenId is keccak256(prompt), which is also the claim's `input`: one token for each prompt, and its first content.
contract VerifiedToken is ERC721, IERC7007 {
    IERC7007Verifier public immutable verifier;

    /// @notice keccak256(aigcData), which is also the claim's `output`; zero where there is no token.
    mapping(uint256 tokenId => bytes32) public contentOf;

    error TokenIdIsNotPrompt(uint256 tokenId);
    error TokenExists(uint256 tokenId);
    error NotProved();

    constructor(string memory name_, string memory symbol_, IERC7007Verifier verifier_) ERC721(name_, symbol_) {
        verifier = verifier_;
    }

    /// @notice The context of a claim that makes this token.
    function contextOf(uint256 tokenId, address owner) public view returns (bytes32) {
        return ContextHere.commitment(address(0), bytes32(tokenId), owner, type(uint64).max);
    }

    /// @inheritdoc IERC7007
    function addAigcData(uint256 tokenId, bytes calldata prompt, bytes calldata aigcData, bytes calldata proof)
        external
    {
        if (tokenId != uint256(keccak256(prompt))) revert TokenIdIsNotPrompt(tokenId);
        if (contentOf[tokenId] != 0) revert TokenExists(tokenId);
        if (!verify(prompt, aigcData, proof)) revert NotProved();
        contentOf[tokenId] = keccak256(aigcData);
        _mint(address(bytes20(proof)), tokenId);
        emit AigcData(tokenId, prompt, aigcData, proof);
    }

    /// @inheritdoc IERC7007
    function verify(bytes calldata prompt, bytes calldata aigcData, bytes calldata proof)
        public
        view
        returns (bool success)
    {
        if (proof.length < 20) return false;
        bytes32 input = keccak256(prompt);
        bytes32 context = contextOf(uint256(input), address(bytes20(proof)));
        return verifier.verifyProof(proof[20:], abi.encode(input, keccak256(aigcData), context));
    }

    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == type(IERC7007).interfaceId || super.supportsInterface(interfaceId);
    }
}
