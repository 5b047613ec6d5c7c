// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {HostileVerifier, MockVerifier} from "test/Mocks.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title A verifier whose owner's metadata decides: one byte of it makes it burn everything
contract MoodyVerifier is MockVerifier {
    constructor(string memory scheme_) MockVerifier(scheme_) {}

    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        pure
        override
        returns (bool)
    {
        if (metadata.length == 1) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        return keccak256(proof) == keccak256(abi.encodePacked(keccak256(metadata), VmlClaim.digest(claim)));
    }
}

/// @title Attacks on the router that do not work, and what trust in owners does mean
contract RouterAttacksTest is RouterBench {
    // ---- verifiers that are none -----------------------------------------------------------------------------------

    /// The identity precompile repeats the question, sha256 answers something that is not zero.
    function test_precompilesAndAccountsWithoutCodeAreNoVerifiers() external {
        vm.deal(address(0xe0a), 1 ether);
        vm.startPrank(OWNER);
        for (uint160 at = 0; at <= 0x12; ++at) {
            vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotAVerifier.selector, address(at)));
            router.addRoute(IVmlVerifier(address(at)));
        }
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotAVerifier.selector, address(0xe0a)));
        router.addRoute(IVmlVerifier(address(0xe0a)));
        vm.stopPrank();
    }

    /// A precompile, or nothing, in the place of a verifier that was routed: no answer of theirs is one word that is 1.
    function test_noPrecompileAnswersYes() external view {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory question = abi.encodeCall(IVmlVerifier.verify, (claim, METADATA, hex"00"));
        for (uint160 at = 0; at <= 0x12; ++at) {
            (bool success, bytes memory answer) = address(at).staticcall{gas: 1_000_000}(question);
            check(!(success && answer.length == 32 && bytes32(answer) == bytes32(uint256(1))), "a precompile says yes");
        }
    }

    // ---- gas -------------------------------------------------------------------------------------------------------

    /// EIP-150: whoever chooses the gas makes true false, never false true.
    function testFuzz_noGasMakesFalseTrue(uint256 gas_, uint8 mood) external {
        HostileVerifier hostile = new HostileVerifier("hostile/1");
        hostile.setMood(HostileVerifier.Mood(mood % (uint8(type(HostileVerifier.Mood).max) + 1)));
        vm.prank(OWNER);
        bytes4 by = router.addRoute(hostile);
        enable(ALICE, key, by, METADATA);
        VmlClaim.Claim memory claim = claimOf("output");
        try router.tryVerify{gas: bound(gas_, 1, 3_000_000)}(key, claim, abi.encodePacked(by)) returns (
            bool valid, bytes4
        ) {
            check(!valid, "false became true");
        } catch (bytes memory reason) {
            check(reason.length == 0, "out of gas has no reason");
        }
    }

    function testFuzz_verifyIsNeverSilentForWantOfGas(uint256 gas_) external view {
        VmlClaim.Claim memory claim = claimOf("output");
        claim.output = "another";
        bytes memory proof = proofOf(claimOf("output"));
        try router.verifyEntry{gas: bound(gas_, 1, 200_000)}(key, claim, proof) {
            revert Failed("returned for a claim that is not proved");
        } catch {}
    }

    // ---- calldata --------------------------------------------------------------------------------------------------

    /// Offsets that point backwards, overlap the claim, or wrap around: the same bytes are one proof to all readers.
    function test_offsetsOfTheProof() external view {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        bytes memory head = abi.encodePacked(IVmlRouter.tryVerify.selector, key, abi.encode(claim));
        uint256[6] memory offsets =
            [uint256(0), 0x20, type(uint256).max - 31, 1 << 255, type(uint64).max, uint256(0xc0) << 1];
        for (uint256 i = 0; i < offsets.length; ++i) {
            bytes memory question = abi.encodePacked(head, offsets[i], proof.length, proof, new bytes(31));
            (bool success, bytes memory answer) = address(router).staticcall(question);
            check(!success || !abi.decode(answer, (bool)), "a proof that is none");
        }
        // Surplus around a canonical call changes nothing.
        bytes memory padded = abi.encodePacked(head, uint256(0xe0), "a hole in the calldata, 32 bytes", proof.length);
        (, bytes memory yes) = address(router).staticcall(abi.encodePacked(padded, proof, new bytes(99)));
        check(abi.decode(yes, (bool)), "the same proof at another place");
    }

    /// A length beyond the calldata must not read what stands behind as zeros.
    function testFuzz_lengthsOfTheProof(uint256 length) external view {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        vm.assume(length != proof.length);
        bytes memory head = abi.encodePacked(IVmlRouter.tryVerify.selector, key, abi.encode(claim), uint256(0xc0));
        (bool success, bytes memory answer) = address(router).staticcall(abi.encodePacked(head, length, proof));
        check(!success || !abi.decode(answer, (bool)), "another length");
    }

    // ---- policies --------------------------------------------------------------------------------------------------

    /// Dirty bytes behind a bytes4, and arrays that share their words: what is stored is what the id says.
    function test_encodingsOfAPolicy() external {
        bytes memory head = abi.encodePacked(IVmlRouter.definePolicy.selector, uint256(0x20), uint256(0x40));
        // The selectors' offset is the keys': one array of one word that is both.
        bytes memory shared = abi.encodePacked(head, uint256(0x40), uint256(1), bytes32(selector));
        (bool success, bytes memory answer) = address(router).call(shared);
        check(success, "a policy like any other");
        bytes32 id = abi.decode(answer, (bytes32));
        checkEqual(keccak256(abi.encode(router.policy(id))), id, "content-addressed");
        bytes memory dirty =
            abi.encodePacked(head, uint256(0x80), uint256(1), key, uint256(1), bytes32(selector) | bytes32(uint256(1)));
        (success,) = address(router).call(dirty);
        check(!success, "dirty bytes");
        bytes memory huge = abi.encodePacked(head, uint256(0x80), uint256(1) << 251, key, uint256(1), bytes32(selector));
        (success,) = address(router).call(huge);
        check(!success, "a length whose bytes overflow");
    }

    function testFuzz_policiesHaveOneId(bytes32 a, bytes32 b, bytes4 s, bytes4 t) external {
        vm.assume(a < b && s < t);
        IVmlRouter.Policy memory policy = IVmlRouter.Policy(new bytes32[](2), new bytes4[](2));
        (policy.keys[0], policy.keys[1], policy.selectors[0], policy.selectors[1]) = (a, b, s, t);
        bytes32 id = router.definePolicy(policy);
        checkEqual(id, keccak256(abi.encode(router.policy(id))), "stored as named");
        // A key and a selector cannot change places, nor a set be split elsewhere.
        IVmlRouter.Policy memory other = IVmlRouter.Policy(new bytes32[](1), new bytes4[](2));
        (other.keys[0], other.selectors[0], other.selectors[1]) = (a, s, t);
        check(router.definePolicy(other) != id, "another set");
        (policy.selectors[0], policy.selectors[1]) = (t, s);
        vm.expectRevert(IVmlRouter.PolicyNotAscending.selector);
        router.definePolicy(policy);
        policy.selectors[1] = t;
        vm.expectRevert(IVmlRouter.PolicyNotAscending.selector);
        router.definePolicy(policy);
    }

    /// Known and documented: who owns one of a policy's keys for the model can stop all of them (docs/contracts.md).
    function test_aMemberOfAPolicyCanStopItAndNotMore() external {
        MoodyVerifier moody = new MoodyVerifier("moody/1");
        vm.prank(OWNER);
        bytes4 by = router.addRoute(moody);
        enable(ALICE, key, by, METADATA);
        bytes32 hers = register(MALLORY, MODEL);
        enable(MALLORY, hers, by, "honest");
        IVmlRouter.Policy memory policy = IVmlRouter.Policy(new bytes32[](2), new bytes4[](1));
        (policy.keys[0], policy.keys[1]) = hers < key ? (hers, key) : (key, hers);
        policy.selectors[0] = by;
        bytes32 id = router.definePolicy(policy);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = moody.prove(claim, METADATA);
        router.verifyWithPolicy{gas: 5_000_000}(id, claim, proof);
        enable(MALLORY, hers, by, "!");
        try router.verifyWithPolicy{gas: 500_000}(id, claim, proof) {
            check(key < hers, "only where hers is asked first");
        } catch {}
        claim.output = "forged";
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, by));
        router.verifyWithPolicy{gas: 15_000_000}(id, claim, proof);
        claim.output = "output";
        router.verifyEntry{gas: 500_000}(key, claim, proof);
    }

    // ---- pins and records ------------------------------------------------------------------------------------------

    /// Mallory cannot pin, unpin or record in a way that changes what another consumer believes.
    function test_noOtherAccountsPinOrRecordCounts() external {
        router.pin(key);
        bytes32 hers = register(MALLORY, MODEL);
        enable(MALLORY, hers, selector, "worthless");
        VmlClaim.Claim memory claim = claimOf("forged");
        bytes memory forged = verifier.prove(claim, "worthless");
        vm.startPrank(MALLORY);
        router.pin(hers);
        bytes32 digest = router.record(hers, claim, forged);
        router.unpin(MODEL);
        vm.stopPrank();
        checkEqual(router.pinOf(address(this), MODEL), key, "mine");
        (IVmlRouter.Status status,,) = router.statusOf(key, digest);
        check(status == IVmlRouter.Status.Unknown, "not under my key");
        checkEqual(router.recordedAt(key, digest, selector), 0, "not under my key");
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.verify(claim, forged);
    }

    /// Alice records what a worthless backend of hers accepts, then enables an honest one and locks it: whoever reads the
    /// registry sees an honest, locked key.
    function test_recordsOfAnEarlierBackend() external {
        VmlClaim.Claim memory forged = claimOf("forged");
        enable(ALICE, key, selector, "worthless");
        bytes32 digest = router.record(key, forged, verifier.prove(forged, "worthless"));
        checkAccepted(digest, true);
        enable(ALICE, key, selector, METADATA);
        vm.prank(ALICE);
        registry.lockBackends(key);
        checkAccepted(digest, false);
        VmlClaim.Claim memory honest = claimOf("output");
        digest = router.record(key, honest, proofOf(honest));
        checkAccepted(digest, true);
        vm.prank(ALICE);
        registry.revokeBackend(key, selector);
        checkAccepted(digest, false);
    }

    /// The same through another selector, which is revoked afterwards; and a record in its way is no obstacle.
    function test_recordsOfARevokedBackend() external {
        MockVerifier second = new MockVerifier("mock/2");
        vm.prank(OWNER);
        bytes4 by = router.addRoute(second);
        enable(ALICE, key, by, "worthless");
        VmlClaim.Claim memory claim = claimOf("output");
        vm.warp(1000);
        bytes32 digest = router.record(key, claim, second.prove(claim, "worthless"));
        vm.warp(2000);
        router.record(key, claim, proofOf(claim));
        vm.prank(ALICE);
        registry.revokeBackend(key, by);
        checkEqual(router.recordedAt(key, digest, by), 0, "revoked");
        checkEqual(router.recordedAt(key, digest, selector), 2000, "the honest one stands");
        vm.warp(3000);
        router.record(key, claim, proofOf(claim));
        (IVmlRouter.Status status, bytes4 which, uint64 at) = router.statusOf(key, digest);
        check(status == IVmlRouter.Status.Accepted && which == selector && at == 2000, "and is the first now");
    }

    /// The same metadata set again is the same backend: an owner's carelessness costs nobody a record.
    function test_recordsOutliveTheSameMetadata() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes32 digest = router.record(key, claim, proofOf(claim));
        vm.prank(ALICE);
        registry.revokeBackend(key, selector);
        checkAccepted(digest, false);
        enable(ALICE, key, selector, METADATA);
        checkAccepted(digest, true);
    }

    function checkAccepted(bytes32 digest, bool expected) internal view {
        (IVmlRouter.Status status,,) = router.statusOf(key, digest);
        check((status == IVmlRouter.Status.Accepted) == expected, "statusOf");
        check((router.recordedAt(key, digest, selector) != 0) == expected, "recordedAt");
    }

    // ---- the circuit breaker ---------------------------------------------------------------------------------------

    /// Another entry's equivocation, another question, one output twice, or a shut route: nothing is frozen.
    function test_theCircuitBreakerIsNotForMallory() external {
        bytes32 hers = register(MALLORY, MODEL);
        enable(MALLORY, hers, selector, "worthless");
        vm.prank(MALLORY);
        registry.declareDeterministic(hers);
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        VmlClaim.Claim memory a = claimOf("one");
        VmlClaim.Claim memory b = claimOf("two");
        bytes memory proofA = verifier.prove(a, "worthless");
        bytes memory proofB = verifier.prove(b, "worthless");
        router.freezeByEquivocation(hers, a, proofA, b, proofB);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.freezeByEquivocation(key, a, proofA, b, proofB);
        check(!router.equivocated(key, selector), "hers alone");
        bytes memory honest = proofOf(a);
        vm.expectRevert(IVmlRouter.NotEquivocation.selector);
        router.freezeByEquivocation(key, a, honest, a, honest);
        b.context = "another use";
        bytes memory other = proofOf(b);
        vm.expectRevert(IVmlRouter.NotEquivocation.selector);
        router.freezeByEquivocation(key, a, honest, b, other);
        check(accepted(key, a, honest), "still accepted");
    }

    // ---- what trusting owners means --------------------------------------------------------------------------------

    /// Known and documented: who enables a selector before its route exists lets the router's owner choose the verifier.
    function test_aSelectorEnabledBeforeItsRoute() external {
        MockVerifier honest = new MockVerifier("later/1");
        enable(ALICE, key, honest.selector(), METADATA);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = honest.prove(claim, METADATA);
        refused(key, claim, proof, error1(IVmlRouter.RouteUnknown.selector, honest.selector()));
        vm.startPrank(OWNER);
        router.addRoute(honest);
        // From here on nobody chooses any more.
        MockVerifier liar = new MockVerifier("later/1");
        vm.expectRevert(error1(IVmlRouter.RouteExists.selector, honest.selector()));
        router.addRoute(liar);
        vm.stopPrank();
        check(accepted(key, claim, proof), "accepted");
    }

    /// An owner who gave up cannot be impersonated, and the guardian still can freeze.
    function test_aRouterWithoutOwner() external {
        vm.prank(OWNER);
        router.renounceOwnership();
        vm.expectRevert();
        vm.prank(address(0x1234));
        router.setGuardian(MALLORY);
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "");
        VmlClaim.Claim memory claim = claimOf("output");
        refused(key, claim, proofOf(claim), error1(IVmlRouter.RouteIsFrozen.selector, selector));
    }
}
