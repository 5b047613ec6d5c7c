// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Erc8274AgentVerifier} from "src/adapters/Erc8274AgentVerifier.sol";
import {Erc8274Verifier} from "src/adapters/Erc8274Verifier.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IAgentVerifier, IProofVerifier} from "src/interfaces/erc/IERC8274.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {MockVerifier} from "test/Mocks.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title Both layers of ERC-8274 in front of the router
contract Erc8274Test is RouterBench {
    bytes32 internal constant AGENT = bytes32(uint256(7));
    bytes32 internal constant TASK = bytes32(uint256(1));
    bytes32 internal constant IN = keccak256("input");
    bytes32 internal constant OUT = keccak256("output");

    Erc8274Verifier internal inner;
    Erc8274AgentVerifier internal outer;

    function setUp() public override {
        super.setUp();
        inner = new Erc8274Verifier(router, key, selector, "zk");
        outer = new Erc8274AgentVerifier(inner, AGENT);
    }

    function prove(bytes32 input, bytes32 output, bytes32 context) internal view returns (bytes memory) {
        return proofOf(VmlClaim.Claim(MODEL, input, output, context));
    }

    function test_interfaceIds() external view {
        checkEqual(type(IProofVerifier).interfaceId, bytes4(0x86761e49), "the standard's id of the inner layer");
        checkEqual(IProofVerifier.verify.selector, bytes4(0xfc2b4271), "verify");
        checkEqual(type(IAgentVerifier).interfaceId, bytes4(0xf2fd7e98), "the standard's id of the outer layer");
        check(inner.supportsInterface(0x86761e49) && inner.supportsInterface(type(IERC165).interfaceId), "inner");
        check(outer.supportsInterface(0xf2fd7e98) && outer.supportsInterface(type(IERC165).interfaceId), "outer");
        check(!inner.supportsInterface(0xffffffff) && !outer.supportsInterface(0xffffffff), "forbidden");
    }

    function test_saysWhatItIs() external view {
        checkEqual(keccak256(bytes(inner.proofSystem())), keccak256("zk/mock/1"), "the system");
        bytes32 salt = keccak256(abi.encode(block.chainid, router, key, selector));
        checkEqual(inner.proofProfile(), keccak256(abi.encodePacked("zk/mock/1", salt)), "the profile");
    }

    function test_needsAnEntryARouteAndAParadigm() external {
        vm.expectRevert(abi.encodeWithSelector(IERC7992Registry.ModelNotFound.selector, uint256(1)));
        new Erc8274Verifier(router, bytes32(uint256(1)), selector, "zk");
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.RouteUnknown.selector, bytes4(0x01020304)));
        new Erc8274Verifier(router, key, 0x01020304, "zk");
        vm.expectRevert(abi.encodeWithSelector(Erc8274Verifier.NotAParadigm.selector, "magic"));
        new Erc8274Verifier(router, key, selector, "magic");
        new Erc8274Verifier(router, key, selector, "op");
        new Erc8274Verifier(router, key, selector, "tee");
        new Erc8274Verifier(router, key, selector, "attestation");
    }

    function testFuzz_accepts(bytes32 input, bytes32 output, bytes32 context) external view {
        check(inner.verify(input, output, "", prove(input, output, 0)), "no metadata is the zero context");
        check(inner.verify(input, output, abi.encode(context), prove(input, output, context)), "a context");
    }

    function testFuzz_answersFalse(bytes32 input, bytes32 output, bytes memory metadata, bytes memory proof)
        external
        view
    {
        check(!inner.verify(input, output, metadata, proof), "no proof");
        bytes memory good = prove(IN, OUT, 0);
        if (input != IN) check(!inner.verify(input, OUT, "", good), "another input");
        if (output != OUT) check(!inner.verify(IN, output, "", good), "another output");
        bool zero = metadata.length == 0 || keccak256(metadata) == keccak256(abi.encode(0));
        if (!zero) check(!inner.verify(IN, OUT, metadata, good), "another context, or none");
        check(!inner.verify(OUT, IN, "", good), "the fields are not one string");
    }

    function test_refusesAnotherSchemeOfTheSameEntry() external {
        MockVerifier second = new MockVerifier("mock/2");
        vm.prank(OWNER);
        router.addRoute(second);
        enable(ALICE, key, second.selector(), METADATA);
        VmlClaim.Claim memory claim = VmlClaim.Claim(MODEL, IN, OUT, 0);
        bytes memory proof = second.prove(claim, METADATA);
        check(accepted(key, claim, proof), "the router takes it");
        check(!inner.verify(IN, OUT, "", proof), "this adapter says zk/mock/1");
    }

    function test_answersFalseOnceFrozen() external {
        bytes memory proof = prove(IN, OUT, 0);
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "broken");
        check(!inner.verify(IN, OUT, "", proof), "frozen");
    }

    // ---- the outer layer -------------------------------------------------------------------------------------------

    function run(bytes32 task, bytes32 agent, bytes32 output, bytes memory proof, bool expected) internal {
        bytes32 digest = keccak256(abi.encode(task, agent, IN, output, expected, inner.proofProfile()));
        vm.expectEmit();
        emit IAgentVerifier.VerificationCompleted(task, agent, digest, expected, IN, output, inner.proofProfile());
        (bool valid, bytes32 got) = outer.verify(task, agent, IN, output, proof);
        check(valid == expected, "valid");
        checkEqual(got, digest, "the standard's digest");
    }

    function test_oneTaskOfOneCaller() external {
        bytes memory proof = prove(IN, OUT, outer.contextOf(address(this), TASK));
        run(TASK, AGENT, OUT, proof, true);
        run(bytes32(uint256(2)), AGENT, OUT, proof, false);
        run(TASK, bytes32(uint256(8)), OUT, proof, false);
        run(TASK, AGENT, IN, proof, false);
        run(TASK, AGENT, OUT, "", false);
        (bool inAnother,) = new Erc8274AgentVerifier(inner, AGENT).verify(TASK, AGENT, IN, OUT, proof);
        check(!inAnother, "another verifier");
        vm.prank(MALLORY);
        (bool ofAnother,) = outer.verify(TASK, AGENT, IN, OUT, proof);
        check(!ofAnother, "another caller's task of the same number");
        vm.chainId(5);
        run(TASK, AGENT, OUT, proof, false);
    }
}
