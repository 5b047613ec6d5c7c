// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IModelRegistry} from "src/interfaces/IModelRegistry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {VmlRouter} from "src/VmlRouter.sol";
import {HostileVerifier, MockVerifier} from "test/Mocks.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title Which proofs the router accepts, and who may change that
contract VmlRouterTest is RouterBench {
    function test_interfaceIds() external view {
        check(router.supportsInterface(type(IVmlRouter).interfaceId), "IVmlRouter");
        check(router.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        check(!router.supportsInterface(0xffffffff), "ERC-165 forbids this one");
        // docs/contracts.md lists these.
        checkEqual(type(IVmlRouter).interfaceId, bytes4(0x21f214e5), "IVmlRouter's id");
        checkEqual(type(IModelRegistry).interfaceId, bytes4(0x1cad4e41), "IModelRegistry's id");
        checkEqual(type(IVmlVerifier).interfaceId, bytes4(0xac330f89), "IVmlVerifier's id");
    }

    function test_needsARegistry() external {
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotARegistry.selector, address(verifier)));
        new VmlRouter(OWNER, GUARDIAN, IModelRegistry(address(verifier)));
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotARegistry.selector, address(0)));
        new VmlRouter(OWNER, GUARDIAN, IModelRegistry(address(0)));
    }

    // ---- a proof ---------------------------------------------------------------------------------------------------

    function test_accepts() external view {
        VmlClaim.Claim memory claim = claimOf("output");
        checkEqual(router.verifyEntry(key, claim, proofOf(claim)), selector, "the selector that proved it");
        check(accepted(key, claim, proofOf(claim)), "tryVerify");
    }

    function testFuzz_accepts(VmlClaim.Claim memory claim, bytes memory metadata, address owner) external {
        vm.assume(owner != address(0) && (owner != ALICE || claim.model != MODEL));
        bytes32 other = register(owner, claim.model);
        enable(owner, other, selector, metadata);
        check(accepted(other, claim, verifier.prove(claim, metadata)), "any claim, any metadata");
    }

    function testFuzz_refusesEveryOtherClaim(uint8 field, bytes32 value) external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        bytes32[4] memory was = [claim.model, claim.input, claim.output, claim.context];
        field %= 4;
        vm.assume(value != was[field]);
        if (field == 0) claim.model = value;
        if (field == 1) claim.input = value;
        if (field == 2) claim.output = value;
        if (field == 3) claim.context = value;
        refused(
            key,
            claim,
            proof,
            field == 0
                ? error2(IVmlRouter.ModelMismatch.selector, key, value)
                : error1(IVmlRouter.InvalidProof.selector, selector)
        );
    }

    function testFuzz_refusesEveryOtherProof(bytes memory proof) external view {
        VmlClaim.Claim memory claim = claimOf("output");
        vm.assume(keccak256(proof) != keccak256(proofOf(claim)));
        (bool valid, bytes4 by) = router.tryVerify(key, claim, proof);
        check(!valid, "a proof is not enough bytes");
        checkEqual(by, proof.length < 4 ? bytes4(0) : bytes4(proof), "the selector asked for");
    }

    function test_refusesShortProofs() external {
        bytes memory proof = proofOf(claimOf("output"));
        for (uint256 length = 0; length < 4; ++length) {
            assembly ("memory-safe") {
                mstore(proof, length)
            }
            refused(key, claimOf("output"), proof, abi.encodeWithSelector(IVmlRouter.ProofTooShort.selector));
        }
        assembly ("memory-safe") {
            mstore(proof, 4)
        }
        refused(key, claimOf("output"), proof, error1(IVmlRouter.InvalidProof.selector, selector));
    }

    function test_refusesUnknownSelectors() external {
        refused(key, claimOf("o"), hex"01020304", error1(IVmlRouter.RouteUnknown.selector, bytes4(0x01020304)));
    }

    function test_refusesUnknownModels() external {
        VmlClaim.Claim memory claim = claimOf("output");
        refused("nobody's", claim, proofOf(claim), error1(IVmlRouter.ModelUnknown.selector, "nobody's"));
    }

    function test_refusesDeprecatedModels() external {
        vm.prank(ALICE);
        registry.deprecateModel(uint256(key));
        VmlClaim.Claim memory claim = claimOf("output");
        refused(key, claim, proofOf(claim), error1(IVmlRouter.ModelIsDeprecated.selector, key));
    }

    function test_refusesBackendsThatTheOwnerDidNotEnable() external {
        MockVerifier weak = new MockVerifier("weak/1");
        vm.prank(OWNER);
        bytes4 by = router.addRoute(weak);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory why = error2(IVmlRouter.BackendNotEnabled.selector, key, by);
        refused(key, claim, weak.prove(claim, METADATA), why);
        refused(key, claim, weak.prove(claim, ""), why);
    }

    function test_refusesRevokedBackends() external {
        vm.prank(ALICE);
        registry.revokeBackend(key, selector);
        VmlClaim.Claim memory claim = claimOf("output");
        refused(key, claim, proofOf(claim), error2(IVmlRouter.BackendNotEnabled.selector, key, selector));
    }

    /// The attack that keys are for: Mallory registers Alice's model with a backend that accepts what Mallory likes.
    function test_anotherOwnersEntryDoesNotSpeakForMine() external {
        bytes32 hers = register(MALLORY, MODEL);
        enable(MALLORY, hers, selector, "worthless");
        VmlClaim.Claim memory claim = claimOf("forged");
        bytes memory forged = verifier.prove(claim, "worthless");
        check(accepted(hers, claim, forged), "under her key, which nobody chose");
        refused(key, claim, forged, error1(IVmlRouter.InvalidProof.selector, selector));
        router.pin(key);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.verify(claim, forged);
    }

    // ---- hostile verifiers -----------------------------------------------------------------------------------------

    function test_whateverAVerifierAnswersIsNoUnlessOneWordThatIsOne() external {
        HostileVerifier hostile = new HostileVerifier("hostile/1");
        vm.prank(OWNER);
        bytes4 by = router.addRoute(hostile);
        enable(ALICE, key, by, METADATA);
        VmlClaim.Claim memory claim = claimOf("output");
        for (uint256 mood = 0; mood <= uint256(type(HostileVerifier.Mood).max); ++mood) {
            hostile.setMood(HostileVerifier.Mood(mood));
            (bool valid, bytes4 got) = router.tryVerify{gas: 4_000_000}(key, claim, abi.encodePacked(by));
            check(!valid && got == by, "no");
            vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, by));
            router.verifyEntry{gas: 4_000_000}(key, claim, abi.encodePacked(by));
        }
    }

    function test_aVerifierWithoutCodeSaysNo() external {
        vm.etch(address(verifier), "");
        VmlClaim.Claim memory claim = claimOf("output");
        MockVerifier copy = new MockVerifier("mock/1");
        refused(key, claim, copy.prove(claim, METADATA), error1(IVmlRouter.InvalidProof.selector, selector));
    }

    /// A verifier that burns all it gets leaves the caller a 64th, which suffices to answer.
    function testFuzz_tryVerifyAnswersThoughTheVerifierBurnsItsGas(uint256 gas_) external {
        HostileVerifier hostile = new HostileVerifier("hostile/1");
        hostile.setMood(HostileVerifier.Mood.BurnsGas);
        vm.prank(OWNER);
        bytes4 by = router.addRoute(hostile);
        enable(ALICE, key, by, METADATA);
        (bool valid,) = router.tryVerify{gas: bound(gas_, 150_000, 20_000_000)}(key, claimOf("o"), abi.encodePacked(by));
        check(!valid, "no");
    }

    // ---- pins ------------------------------------------------------------------------------------------------------

    function test_verifyUsesTheCallersPin() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        bytes memory unpinned = abi.encodeWithSelector(IVmlRouter.NotPinned.selector, address(this), MODEL);
        vm.expectRevert(unpinned);
        router.verify(claim, proof);
        vm.expectEmit();
        emit IVmlRouter.Pinned(address(this), MODEL, key);
        router.pin(key);
        checkEqual(router.pinOf(address(this), MODEL), key, "pinned");
        checkEqual(router.verify(claim, proof), selector, "accepted");
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotPinned.selector, MALLORY, MODEL));
        vm.prank(MALLORY);
        router.verify(claim, proof);
        vm.expectEmit();
        emit IVmlRouter.Unpinned(address(this), MODEL);
        router.unpin(MODEL);
        vm.expectRevert(unpinned);
        router.verify(claim, proof);
        vm.expectRevert(unpinned);
        router.unpin(MODEL);
    }

    function test_aSecondPinTakesThePlaceOfTheFirst() external {
        bytes32 other = register(MALLORY, MODEL);
        enable(MALLORY, other, selector, "other");
        router.pin(key);
        router.pin(other);
        checkEqual(router.pinOf(address(this), MODEL), other, "the second");
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = proofOf(claim);
        router.verify(claim, verifier.prove(claim, "other"));
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        router.verify(claim, proof);
    }

    function test_unknownKeysCannotBePinned() external {
        vm.expectRevert(abi.encodeWithSignature("ModelNotFound(uint256)", uint256(1)));
        router.pin(bytes32(uint256(1)));
    }

    // ---- routes ----------------------------------------------------------------------------------------------------

    function state() internal view returns (IVmlRouter.RouteState state_) {
        (, state_) = router.routes(selector);
    }

    function test_onlyTheOwnerRoutes() external {
        bytes memory refusal = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN);
        MockVerifier other = new MockVerifier("mock/2");
        vm.startPrank(GUARDIAN);
        vm.expectRevert(refusal);
        router.addRoute(other);
        vm.expectRevert(refusal);
        router.removeRoute(selector);
        vm.expectRevert(refusal);
        router.setGuardian(MALLORY);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotGuardian.selector, MALLORY));
        vm.prank(MALLORY);
        router.freezeRoute(selector, "");
    }

    function test_aSelectorKeepsItsVerifier() external {
        MockVerifier impostor = new MockVerifier("mock/1");
        vm.startPrank(OWNER);
        vm.expectRevert(error1(IVmlRouter.RouteExists.selector, selector));
        router.addRoute(impostor);
        router.freezeRoute(selector, "");
        vm.expectRevert(error1(IVmlRouter.RouteExists.selector, selector));
        router.addRoute(impostor);
        router.removeRoute(selector);
        vm.expectRevert(error1(IVmlRouter.RouteIsRemoved.selector, selector));
        router.addRoute(impostor);
        vm.expectRevert(error1(IVmlRouter.RouteIsRemoved.selector, selector));
        router.addRoute(verifier);
        vm.stopPrank();
        (IVmlVerifier still,) = router.routes(selector);
        checkEqual(address(still), address(verifier), "a tombstone names its dead");
    }

    function test_onlyVerifiersAreRouted() external {
        vm.startPrank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotAVerifier.selector, address(registry)));
        router.addRoute(IVmlVerifier(address(registry)));
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotAVerifier.selector, address(0xdead)));
        router.addRoute(IVmlVerifier(address(0xdead)));
        vm.stopPrank();
    }

    function test_theSelectorComesFromTheVerifier() external {
        MockVerifier other = new MockVerifier("ezkl/23.0.5/kzg-bn254/input-public/model-public");
        bytes4 expected = bytes4(keccak256("ezkl/23.0.5/kzg-bn254/input-public/model-public"));
        vm.expectEmit();
        emit IVmlRouter.RouteAdded(expected, other, "ezkl/23.0.5/kzg-bn254/input-public/model-public");
        vm.prank(OWNER);
        checkEqual(router.addRoute(other), expected, "the selector");
    }

    function test_freezingIsForGuardianAndOwnerAndIrreversible() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory frozen = error1(IVmlRouter.RouteIsFrozen.selector, selector);
        vm.expectEmit();
        emit IVmlRouter.RouteFrozen(selector, GUARDIAN, "a bug");
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "a bug");
        check(state() == IVmlRouter.RouteState.Frozen, "frozen");
        refused(key, claim, proofOf(claim), frozen);
        vm.startPrank(OWNER);
        vm.expectRevert(frozen);
        router.freezeRoute(selector, "again");
        vm.expectRevert(error1(IVmlRouter.RouteUnknown.selector, bytes4(0xffffffff)));
        router.freezeRoute(0xffffffff, "");
        vm.stopPrank();
    }

    function test_removedRoutesAreTombstones() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory removed = error1(IVmlRouter.RouteIsRemoved.selector, selector);
        vm.startPrank(OWNER);
        vm.expectRevert(error1(IVmlRouter.RouteUnknown.selector, bytes4(0xffffffff)));
        router.removeRoute(0xffffffff);
        vm.expectEmit();
        emit IVmlRouter.RouteRemoved(selector);
        router.removeRoute(selector);
        vm.expectRevert(removed);
        router.removeRoute(selector);
        vm.expectRevert(removed);
        router.freezeRoute(selector, "");
        vm.stopPrank();
        refused(key, claim, proofOf(claim), removed);
    }

    function test_guardians() external {
        vm.expectEmit();
        emit IVmlRouter.GuardianChanged(GUARDIAN, MALLORY);
        vm.prank(OWNER);
        router.setGuardian(MALLORY);
        vm.expectRevert(abi.encodeWithSelector(IVmlRouter.NotGuardian.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        router.freezeRoute(selector, "");
        vm.prank(MALLORY);
        router.freezeRoute(selector, "");
    }

    function test_ownershipMovesInTwoSteps() external {
        vm.prank(OWNER);
        router.transferOwnership(ALICE);
        checkEqual(router.owner(), OWNER, "not before she accepts");
        vm.prank(ALICE);
        router.acceptOwnership();
        checkEqual(router.owner(), ALICE, "now hers");
    }
}
