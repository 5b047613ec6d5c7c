// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {Erc7007Verifier} from "src/adapters/Erc7007Verifier.sol";
import {VerifiedToken} from "src/examples/VerifiedToken.sol";
import {IERC7007, IERC7007Verifier} from "src/interfaces/erc/IERC7007.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title ERC-7007: the verifier behind a token, and the token
contract Erc7007Test is RouterBench {
    address internal constant BOB = address(0xb0b);

    Erc7007Verifier internal adapter;
    VerifiedToken internal token;

    function setUp() public override {
        super.setUp();
        adapter = new Erc7007Verifier(router, key);
        token = new VerifiedToken("Verified", "VRF", adapter);
    }

    function prove(bytes memory prompt, bytes memory content, bytes32 context) internal view returns (bytes memory) {
        return proofOf(VmlClaim.Claim(MODEL, keccak256(prompt), keccak256(content), context));
    }

    function proveFor(VerifiedToken where, bytes memory prompt, bytes memory content, address owner)
        internal
        view
        returns (bytes memory)
    {
        bytes32 context = where.contextOf(uint256(keccak256(prompt)), owner);
        return abi.encodePacked(owner, prove(prompt, content, context));
    }

    function test_interfaceIds() external view {
        checkEqual(type(IERC7007).interfaceId, bytes4(0x702c55a6), "the standard's id");
        check(token.supportsInterface(0x702c55a6), "ERC-7007");
        check(token.supportsInterface(type(IERC721).interfaceId), "ERC-721");
        check(token.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        check(adapter.supportsInterface(type(IERC7007Verifier).interfaceId), "the verifier");
        check(adapter.supportsInterface(type(IERC165).interfaceId), "ERC-165, the verifier");
        check(!token.supportsInterface(0xffffffff) && !adapter.supportsInterface(0xffffffff), "forbidden");
    }

    // ---- the verifier ----------------------------------------------------------------------------------------------

    function testFuzz_accepts(bytes memory prompt, bytes memory content, bytes32 context) external view {
        bytes memory inputs = abi.encode(keccak256(prompt), keccak256(content), context);
        check(adapter.verifyProof(prove(prompt, content, context), inputs), "proved");
    }

    /// @dev The standard's own token would take the proof of one split for any other.
    function testFuzz_noBoundaryMoves(bytes memory prompt, bytes memory content, uint256 by) external view {
        vm.assume(content.length != 0);
        by = bound(by, 1, content.length);
        bytes memory longer = bytes.concat(prompt, head(content, by));
        bytes memory shorter = tail(content, by);
        checkEqual(
            keccak256(abi.encodePacked(prompt, content)), keccak256(abi.encodePacked(longer, shorter)), "the same bytes"
        );
        bytes memory moved = abi.encode(keccak256(longer), keccak256(shorter), bytes32(0));
        check(!adapter.verifyProof(prove(prompt, content, 0), moved), "another prompt and another content");
    }

    function testFuzz_refusesOtherForms(bytes memory prompt, bytes memory content, bytes memory other) external view {
        bytes memory proof = prove(prompt, content, 0);
        bytes memory inputs = abi.encode(keccak256(prompt), keccak256(content), bytes32(0));
        check(!adapter.verifyProof(proof, abi.encodePacked(prompt, content)), "joined");
        check(!adapter.verifyProof(proof, abi.encode(prompt, content)), "in full");
        check(!adapter.verifyProof(proof, bytes.concat(inputs, hex"00")), "with a tail");
        check(!adapter.verifyProof(proof, head(inputs, 95)), "cut");
        check(!adapter.verifyProof(other, inputs), "another proof");
        check(!adapter.verifyProof(proof, other), "other inputs");
    }

    // ---- the token -------------------------------------------------------------------------------------------------

    function testFuzz_mints(bytes memory prompt, bytes memory content, address owner) external {
        vm.assume(owner != address(0));
        bytes memory proof = proveFor(token, prompt, content, owner);
        uint256 id = uint256(keccak256(prompt));
        check(token.verify(prompt, content, proof), "verified");
        vm.expectEmit();
        emit IERC7007.AigcData(id, prompt, content, proof);
        vm.prank(MALLORY);
        token.addAigcData(id, prompt, content, proof);
        checkEqual(token.ownerOf(id), owner, "whoever sends it, the token is for whom it was proved");
        checkEqual(token.contentOf(id), keccak256(content), "the content");
    }

    function test_mintsOnce() external {
        uint256 id = uint256(keccak256("prompt"));
        token.addAigcData(id, "prompt", "content", proveFor(token, "prompt", "content", ALICE));
        bytes memory second = proveFor(token, "prompt", "more", BOB);
        vm.expectRevert(abi.encodeWithSelector(VerifiedToken.TokenExists.selector, id));
        token.addAigcData(id, "prompt", "more", second);
    }

    function test_refuses() external {
        uint256 id = uint256(keccak256("prompt"));
        bytes memory proof = proveFor(token, "prompt", "content", ALICE);
        vm.expectRevert(abi.encodeWithSelector(VerifiedToken.TokenIdIsNotPrompt.selector, id + 1));
        token.addAigcData(id + 1, "prompt", "content", proof);
        notProved(id, "prompt", "contents", proof);
        notProved(id, "prompt", "content", "");
        // Taken from the mempool, under another name.
        bytes memory stolen = bytes.concat(proof);
        stolen[19] ^= 0x01;
        notProved(id, "prompt", "content", stolen);
        // Made for another token.
        VerifiedToken other = new VerifiedToken("Other", "OTH", adapter);
        notProved(id, "prompt", "content", proveFor(other, "prompt", "content", ALICE));
        vm.chainId(5);
        notProved(id, "prompt", "content", proof);
    }

    function notProved(uint256 id, bytes memory prompt, bytes memory content, bytes memory proof) internal {
        check(!token.verify(prompt, content, proof), "verify says false");
        vm.expectRevert(VerifiedToken.NotProved.selector);
        token.addAigcData(id, prompt, content, proof);
    }

    function head(bytes memory data, uint256 length) internal pure returns (bytes memory cut) {
        cut = bytes.concat(data);
        assembly ("memory-safe") {
            mstore(cut, length)
        }
    }

    function tail(bytes memory data, uint256 from) internal pure returns (bytes memory rest) {
        rest = new bytes(data.length - from);
        for (uint256 i = 0; i < rest.length; ++i) {
            rest[i] = data[from + i];
        }
    }
}
