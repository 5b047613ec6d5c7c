// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ModelRegistry} from "src/ModelRegistry.sol";
import {VmlRouter} from "src/VmlRouter.sol";
import {MockVerifier} from "test/Mocks.sol";
import {Test} from "test/Vm.sol";

/// @title A router with one route, and one model of Alice's enabled on it
abstract contract RouterBench is Test {
    bytes32 internal constant MODEL = keccak256("model");
    bytes internal constant METADATA = "what the verifier must know";
    address internal constant OWNER = address(0x0111);
    address internal constant GUARDIAN = address(0x6a2d);
    address internal constant ALICE = address(0xa11ce);
    address internal constant MALLORY = address(0x3a1);

    ModelRegistry internal registry;
    VmlRouter internal router;
    MockVerifier internal verifier;
    bytes4 internal selector;
    bytes32 internal key;

    function setUp() public virtual {
        registry = new ModelRegistry();
        router = new VmlRouter(OWNER, GUARDIAN, registry);
        verifier = new MockVerifier("mock/1");
        selector = verifier.selector();
        vm.prank(OWNER);
        router.addRoute(verifier);
        key = register(ALICE, MODEL);
        enable(ALICE, key, selector, METADATA);
    }

    function register(address owner, bytes32 model) internal returns (bytes32) {
        IERC7992Registry.ModelCommitment memory commitment;
        commitment.modelHash = model;
        vm.prank(owner);
        return bytes32(registry.registerModel(commitment));
    }

    function enable(address owner, bytes32 key_, bytes4 selector_, bytes memory metadata) internal {
        vm.prank(owner);
        registry.setBackend(key_, selector_, metadata, 0);
    }

    function claimOf(bytes32 output) internal pure returns (VmlClaim.Claim memory) {
        return VmlClaim.Claim(MODEL, keccak256("input"), output, keccak256("context"));
    }

    function proofOf(VmlClaim.Claim memory claim) internal view returns (bytes memory) {
        return verifier.prove(claim, METADATA);
    }

    /// @dev The call reverts with this data, and tryVerify says false.
    function refused(bytes32 key_, VmlClaim.Claim memory claim, bytes memory proof, bytes memory why) internal {
        vm.expectRevert(why);
        router.verifyEntry(key_, claim, proof);
        (bool valid,) = router.tryVerify(key_, claim, proof);
        check(!valid, "tryVerify agrees with verifyEntry");
    }

    function accepted(bytes32 key_, VmlClaim.Claim memory claim, bytes memory proof)
        internal
        view
        returns (bool valid)
    {
        bytes4 by;
        (valid, by) = router.tryVerify(key_, claim, proof);
        check(!valid || router.verifyEntry(key_, claim, proof) == by, "verifyEntry agrees with tryVerify");
    }

    function error1(bytes4 id, bytes32 a) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(id, a);
    }

    function error2(bytes4 id, bytes32 a, bytes32 b) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(id, a, b);
    }

    function policyOf(bytes32 key_, bytes4 selector_) internal pure returns (IVmlRouter.Policy memory policy) {
        policy.keys = new bytes32[](1);
        policy.selectors = new bytes4[](1);
        policy.keys[0] = key_;
        policy.selectors[0] = selector_;
    }
}
