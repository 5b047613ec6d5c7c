// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {EasResolver} from "src/adapters/EasResolver.sol";
import {IEasResolver} from "src/interfaces/erc/IEasResolver.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {MockVerifier} from "test/Mocks.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title As much of EAS as a resolver meets: called with CALL and value, and refused attestations revert
contract Eas {
    function attest(IEasResolver resolver, IEasResolver.Attestation memory attestation) external returns (bool) {
        (bool success, bytes memory answer) =
            address(resolver).call{value: 0}(abi.encodeCall(IEasResolver.attest, (attestation)));
        require(success, "the resolver answers and never reverts");
        return abi.decode(answer, (bool));
    }
}

contract EasResolverTest is RouterBench {
    Eas internal eas;
    EasResolver internal resolver;
    VmlClaim.Claim internal claim;

    function setUp() public override {
        super.setUp();
        eas = new Eas();
        resolver = new EasResolver(router, key, false);
        claim = claimOf("output");
    }

    function attestation(bytes4 selector_) internal view returns (IEasResolver.Attestation memory made) {
        made.schema = resolver.schemaUid();
        made.attester = MALLORY;
        made.data = abi.encode(claim, selector_);
    }

    function attestable() internal returns (bool) {
        return eas.attest(resolver, attestation(selector));
    }

    function test_selectors() external pure {
        // Those of EAS, in which these four are payable: mutability is no part of a selector.
        checkEqual(IEasResolver.isPayable.selector, bytes4(keccak256("isPayable()")), "isPayable");
        string memory one = "(bytes32,bytes32,uint64,uint64,uint64,bytes32,address,address,bool,bytes)";
        string memory many = string.concat("(", one, "[],uint256[])");
        one = string.concat("(", one, ")");
        checkEqual(IEasResolver.attest.selector, bytes4(keccak256(bytes(string.concat("attest", one)))), "attest");
        checkEqual(IEasResolver.revoke.selector, bytes4(keccak256(bytes(string.concat("revoke", one)))), "revoke");
        bytes4 multi = bytes4(keccak256(bytes(string.concat("multiAttest", many))));
        checkEqual(IEasResolver.multiAttest.selector, multi, "multiAttest");
        multi = bytes4(keccak256(bytes(string.concat("multiRevoke", many))));
        checkEqual(IEasResolver.multiRevoke.selector, multi, "multiRevoke");
    }

    function test_schemaUidIsThatOfEas() external view {
        bytes memory packed = abi.encodePacked(resolver.SCHEMA(), address(resolver), false);
        checkEqual(resolver.schemaUid(), keccak256(packed), "keccak256(schema, resolver, revocable)");
    }

    function test_attestsWhatIsRecorded() external {
        check(!attestable(), "not yet");
        router.record(key, claim, proofOf(claim));
        check(attestable(), "recorded");
        check(!eas.attest(resolver, attestation(0x01020304)), "not under this selector");
        claim.output = keccak256("another");
        check(!attestable(), "not this claim");
    }

    function test_attestsUnderAPolicy() external {
        MockVerifier second = new MockVerifier("mock/2");
        vm.prank(OWNER);
        router.addRoute(second);
        enable(ALICE, key, second.selector(), METADATA);
        resolver = new EasResolver(router, router.definePolicy(policyOf(key, second.selector())), true);
        router.record(key, claim, proofOf(claim));
        check(!attestable(), "a selector that the policy does not name");
        check(!eas.attest(resolver, attestation(second.selector())), "not recorded under this one");
        router.record(key, claim, second.prove(claim, METADATA));
        check(eas.attest(resolver, attestation(second.selector())), "a later record counts too");
    }

    function test_anotherOwnersEntryDoesNotCount() external {
        bytes32 other = register(MALLORY, MODEL);
        enable(MALLORY, other, selector, "worthless");
        router.record(other, claim, verifier.prove(claim, "worthless"));
        check(!attestable(), "recorded, and under another key");
    }

    function test_refusesWhatTheRouterWouldRefuseToday() external {
        router.record(key, claim, proofOf(claim));
        vm.prank(ALICE);
        registry.revokeBackend(key, selector);
        check(!attestable(), "revoked");
        enable(ALICE, key, selector, METADATA);
        check(attestable(), "enabled again");
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "broken");
        check(!attestable(), "frozen");
    }

    function test_refusesTheDeprecatedAndTheEquivocated() external {
        VmlClaim.Claim memory a = claimOf("a");
        bytes memory proofA = proofOf(a);
        router.record(key, claim, proofOf(claim));
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        router.freezeByEquivocation(key, claim, proofOf(claim), a, proofA);
        check(!attestable(), "equivocated");

        setUp();
        router.record(key, claim, proofOf(claim));
        vm.prank(ALICE);
        registry.deprecateModel(uint256(key));
        check(!attestable(), "deprecated");
    }

    function testFuzz_refusesOtherForms(bytes memory data, bytes32 schema, uint256 dirt) external {
        router.record(key, claim, proofOf(claim));
        IEasResolver.Attestation memory made = attestation(selector);
        made.schema = schema;
        check(!eas.attest(resolver, made), "another schema says something else");
        made = attestation(selector);
        made.data = bytes.concat(made.data, hex"00");
        check(!eas.attest(resolver, made), "with a tail");
        made.data = data;
        check(!eas.attest(resolver, made), "other bytes");
        made.data = abi.encode(claim, uint256(bytes32(selector)) | bound(dirt, 1, type(uint224).max));
        check(!eas.attest(resolver, made), "a selector with more behind it");
    }

    function test_manyAtOnce() external {
        router.record(key, claim, proofOf(claim));
        IEasResolver.Attestation[] memory made = new IEasResolver.Attestation[](2);
        made[0] = attestation(selector);
        claim.output = keccak256("another");
        made[1] = attestation(selector);
        check(!resolver.multiAttest(made, new uint256[](2)), "one of two");
        router.record(key, claim, proofOf(claim));
        check(resolver.multiAttest(made, new uint256[](2)), "both");
        check(!resolver.multiRevoke(made, new uint256[](2)) && !resolver.revoke(made[0]), "nothing is revoked");
        check(!resolver.isPayable(), "takes no ether");
    }

    function test_takesNoEther() external {
        vm.deal(address(this), 1);
        (bool success,) = address(resolver).call{value: 1}(abi.encodeCall(IEasResolver.attest, (attestation(selector))));
        check(!success, "ether would be lost here");
    }
}
