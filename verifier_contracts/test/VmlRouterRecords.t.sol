// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {MockVerifier} from "test/Mocks.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title Policies, records and the circuit breaker
contract VmlRouterRecordsTest is RouterBench {
    MockVerifier internal second;
    bytes4 internal by;

    function setUp() public override {
        super.setUp();
        second = new MockVerifier("mock/2");
        vm.prank(OWNER);
        by = router.addRoute(second);
    }

    // ---- policies --------------------------------------------------------------------------------------------------

    function test_policiesAreContentAddressed() external {
        IVmlRouter.Policy memory wanted = policyOf(key, selector);
        bytes32 id = keccak256(abi.encode(wanted));
        vm.expectRevert(error1(IVmlRouter.PolicyUnknown.selector, id));
        router.policy(id);
        vm.expectEmit();
        emit IVmlRouter.PolicyDefined(id, wanted);
        checkEqual(router.definePolicy(wanted), id, "its id");
        vm.prank(MALLORY);
        checkEqual(router.definePolicy(wanted), id, "again, by anybody");
        checkEqual(keccak256(abi.encode(router.policy(id))), id, "as defined");
    }

    function test_emptyPoliciesAreRefused() external {
        IVmlRouter.Policy memory empty;
        vm.expectRevert(IVmlRouter.PolicyIsEmpty.selector);
        router.definePolicy(empty);
        empty.keys = new bytes32[](1);
        vm.expectRevert(IVmlRouter.PolicyIsEmpty.selector);
        router.definePolicy(empty);
        empty = policyOf(key, selector);
        empty.keys = new bytes32[](0);
        vm.expectRevert(IVmlRouter.PolicyIsEmpty.selector);
        router.definePolicy(empty);
    }

    function testFuzz_aSetHasOneId(bytes32[3] memory keys, bytes4[3] memory selectors) external {
        IVmlRouter.Policy memory wanted = IVmlRouter.Policy(new bytes32[](3), new bytes4[](3));
        bool ascending = true;
        for (uint256 i = 0; i < 3; ++i) {
            (wanted.keys[i], wanted.selectors[i]) = (keys[i], selectors[i]);
            if (i > 0 && (keys[i] <= keys[i - 1] || selectors[i] <= selectors[i - 1])) ascending = false;
        }
        if (!ascending) vm.expectRevert(IVmlRouter.PolicyNotAscending.selector);
        router.definePolicy(wanted);
    }

    function test_policies() external {
        enable(ALICE, key, by, METADATA);
        bytes32 id = router.definePolicy(policyOf(key, selector));
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        checkEqual(router.verifyWithPolicy(id, claim, proof), selector, "accepted");

        bytes memory other = second.prove(claim, METADATA);
        check(accepted(key, claim, other), "good under the key");
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.PolicyRefuses.selector, id, MODEL, by));
        router.verifyWithPolicy(id, claim, other);

        vm.expectRevert(error1(IVmlRouter.PolicyUnknown.selector, "no policy"));
        router.verifyWithPolicy("no policy", claim, proof);
        vm.expectRevert(IVmlRouter.ProofTooShort.selector);
        router.verifyWithPolicy(id, claim, hex"010203");
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.verifyWithPolicy(id, claimOf("forged"), proof);

        claim.model = "another model";
        vm.expectRevert(
            abi.encodeWithSelector(IVmlRouter.PolicyRefuses.selector, id, bytes32("another model"), selector)
        );
        router.verifyWithPolicy(id, claim, proof);

        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "");
        vm.expectRevert(error1(IVmlRouter.RouteIsFrozen.selector, selector));
        router.verifyWithPolicy(id, claimOf("output"), proof);
    }

    /// One of two owners breaks her entry: the other's still speaks for the model.
    function test_oneKeyOfAPolicySuffices() external {
        bytes32 hers = register(MALLORY, MODEL);
        bytes32 unregistered = "no entry";
        bytes32[3] memory keys = [hers, key, unregistered];
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = i + 1; j < 3; ++j) {
                if (keys[j] < keys[i]) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
        IVmlRouter.Policy memory both = IVmlRouter.Policy(new bytes32[](3), new bytes4[](1));
        (both.keys[0], both.keys[1], both.keys[2], both.selectors[0]) = (keys[0], keys[1], keys[2], selector);
        bytes32 id = router.definePolicy(both);
        VmlClaim.Claim memory claim = claimOf("output");
        checkEqual(router.verifyWithPolicy(id, claim, proofOf(claim)), selector, "not enabled under hers");
        enable(MALLORY, hers, selector, "broken");
        checkEqual(router.verifyWithPolicy(id, claim, proofOf(claim)), selector, "broken under hers");
        checkEqual(
            router.verifyWithPolicy(id, claim, verifier.prove(claim, "broken")), selector, "hers is believed too"
        );
        vm.prank(MALLORY);
        registry.deprecateModel(uint256(hers));
        checkEqual(router.verifyWithPolicy(id, claim, proofOf(claim)), selector, "deprecated under hers");
    }

    // ---- records ---------------------------------------------------------------------------------------------------

    function status(bytes32 digest) internal view returns (IVmlRouter.Status status_, bytes4 selector_, uint64 at) {
        return router.statusOf(key, digest);
    }

    function test_records() external {
        vm.warp(1000);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes32 digest = VmlClaim.digest(claim);
        bytes memory proof = proofOf(claim);
        (IVmlRouter.Status now_, bytes4 selector_, uint64 at) = status(digest);
        check(now_ == IVmlRouter.Status.Unknown && selector_ == 0 && at == 0, "nothing yet");
        vm.expectEmit();
        emit IVmlRouter.Recorded(key, digest, selector);
        checkEqual(router.record(key, claim, proof), digest, "the digest");
        vm.warp(2000);
        router.record(key, claim, proof);
        (now_, selector_, at) = status(digest);
        check(now_ == IVmlRouter.Status.Accepted && selector_ == selector && at == 1000, "the first time counts");
        (now_,,) = router.statusOf("another key", digest);
        check(now_ == IVmlRouter.Status.Unknown, "under this key only");
    }

    function test_recordsNothingUnproved() external {
        bytes memory proof = proofOf(claimOf("output"));
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.record(key, claimOf("forged"), proof);
        (IVmlRouter.Status now_,,) = status(VmlClaim.digest(claimOf("forged")));
        check(now_ == IVmlRouter.Status.Unknown, "nothing");
    }

    function test_recordsOutliveTheRoute() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        bytes32 digest = router.record(key, claim, proof);
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "");
        (IVmlRouter.Status now_,,) = status(digest);
        check(now_ == IVmlRouter.Status.Accepted, "never goes back");
        vm.expectRevert(error1(IVmlRouter.RouteIsFrozen.selector, selector));
        router.record(key, claim, proof);
    }

    /// Whoever records a claim under a selector that a consumer does not believe does not stand in its way.
    function test_recordsUnderAnotherSelectorStandBesideTheFirst() external {
        enable(ALICE, key, by, METADATA);
        VmlClaim.Claim memory claim = claimOf("output");
        vm.warp(1000);
        bytes32 digest = router.record(key, claim, second.prove(claim, METADATA));
        checkEqual(router.recordedAt(key, digest, selector), 0, "not under this one");
        vm.warp(2000);
        router.record(key, claim, proofOf(claim));
        vm.warp(3000);
        router.record(key, claim, proofOf(claim));
        checkEqual(router.recordedAt(key, digest, by), 1000, "the first");
        checkEqual(router.recordedAt(key, digest, selector), 2000, "and the other, once");
        (, bytes4 selector_, uint64 at) = status(digest);
        check(selector_ == by && at == 1000, "statusOf tells the first");
    }

    // ---- the circuit breaker ---------------------------------------------------------------------------------------

    function test_twoOutputsShutOffTheBackend() external {
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        VmlClaim.Claim memory a = claimOf("one output");
        VmlClaim.Claim memory b = claimOf("another");
        (bytes memory proofA, bytes memory proofB) = (proofOf(a), proofOf(b));
        vm.expectEmit();
        emit IVmlRouter.Equivocated(key, selector, VmlClaim.digest(a), VmlClaim.digest(b));
        vm.prank(MALLORY);
        checkEqual(router.freezeByEquivocation(key, a, proofA, b, proofB), selector, "the selector");
        check(router.equivocated(key, selector), "shut off");
        bytes memory why = error2(IVmlRouter.BackendEquivocated.selector, key, selector);
        refused(key, a, proofA, why);
        refused(key, b, proofB, why);
        enable(ALICE, key, selector, "new metadata");
        refused(key, a, verifier.prove(a, "new metadata"), why);

        // The route stays: the metadata was Alice's, and others have their own.
        bytes32 other = register(MALLORY, MODEL);
        enable(MALLORY, other, selector, "hers");
        check(accepted(other, a, verifier.prove(a, "hers")), "other entries are as they were");
    }

    function test_onlyDeterministicModelsEquivocate() external {
        VmlClaim.Claim memory a = claimOf("one output");
        VmlClaim.Claim memory b = claimOf("another");
        (bytes memory proofA, bytes memory proofB) = (proofOf(a), proofOf(b));
        vm.expectRevert(error1(IVmlRouter.NotDeterministic.selector, key));
        router.freezeByEquivocation(key, a, proofA, b, proofB);
    }

    function testFuzz_whatIsNoEquivocation(uint8 field, bytes32 value) external {
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        VmlClaim.Claim memory a = claimOf("one output");
        VmlClaim.Claim memory b = claimOf("another");
        field %= 4;
        if (field == 0) b.model = value;
        if (field == 1) b.input = value;
        if (field == 2) b.output = a.output;
        if (field == 3) b.context = value;
        vm.assume(field == 2 || value != claimOf("").model && value != a.input && value != a.context);
        (bytes memory proofA, bytes memory proofB) = (proofOf(a), proofOf(b));
        vm.expectRevert(IVmlRouter.NotEquivocation.selector);
        router.freezeByEquivocation(key, a, proofA, b, proofB);
    }

    function test_equivocationIsWithinOneSelectorAndProved() external {
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        enable(ALICE, key, by, METADATA);
        VmlClaim.Claim memory a = claimOf("one output");
        VmlClaim.Claim memory b = claimOf("another");
        (bytes memory proofA, bytes memory proofB) = (proofOf(a), second.prove(b, METADATA));
        vm.expectRevert(IVmlRouter.NotEquivocation.selector);
        router.freezeByEquivocation(key, a, proofA, b, proofB);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.freezeByEquivocation(key, a, proofA, b, proofA);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, by));
        router.freezeByEquivocation(key, a, proofB, b, proofA);
    }
}
