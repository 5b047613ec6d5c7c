// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {RouterBench} from "test/RouterBench.sol";
import {MockVerifier} from "test/Mocks.sol";

/// @title A verifier that costs nothing, so that what is left is the router
contract FreeVerifier is MockVerifier {
    constructor(string memory scheme_) MockVerifier(scheme_) {}

    function verify(VmlClaim.Claim calldata, bytes calldata, bytes calldata) external pure override returns (bool) {
        return true;
    }
}

/// @title What the router costs beside the verifier behind it; figures in test/snapshots/router.json
/// @notice Gas of the call, without the 21,000 and the calldata of a transaction.
contract GasTest is RouterBench {
    bytes4 internal free;

    function setUp() public override {
        super.setUp();
        FreeVerifier verifier_ = new FreeVerifier("free/1");
        vm.prank(OWNER);
        free = router.addRoute(verifier_);
        // As much as an ezkl model of one output needs.
        enable(ALICE, key, free, new bytes(512));
        router.pin(key);
        router.definePolicy(policyOf(key, free));
    }

    function proof(uint256 length) internal view returns (bytes memory) {
        return bytes.concat(free, new bytes(length));
    }

    function test_verify() external {
        router.verify(claimOf("output"), proof(6000));
        vm.snapshotGasLastCall("router", "verify, a proof of 6 kB, 512 bytes of metadata");
    }

    function test_verifyEntry() external {
        router.verifyEntry(key, claimOf("output"), proof(6000));
        vm.snapshotGasLastCall("router", "verifyEntry, a proof of 6 kB, 512 bytes of metadata");
    }

    function test_verifyEntrySmall() external {
        router.verifyEntry(key, claimOf("output"), proof(65));
        vm.snapshotGasLastCall("router", "verifyEntry, a proof of 65 bytes, 512 bytes of metadata");
    }

    function test_verifyWithPolicy() external {
        bytes32 id = keccak256(abi.encode(policyOf(key, free)));
        router.verifyWithPolicy(id, claimOf("output"), proof(6000));
        vm.snapshotGasLastCall("router", "verifyWithPolicy, one key and one selector, a proof of 6 kB");
    }

    function test_tryVerify() external {
        router.tryVerify(key, claimOf("output"), proof(6000));
        vm.snapshotGasLastCall("router", "tryVerify, a proof of 6 kB, 512 bytes of metadata");
    }

    function test_record() external {
        router.record(key, claimOf("output"), proof(6000));
        vm.snapshotGasLastCall("router", "record, a proof of 6 kB, 512 bytes of metadata");
    }

    function test_pin() external {
        router.unpin(MODEL);
        router.pin(key);
        vm.snapshotGasLastCall("router", "pin");
    }

    function test_registry() external {
        register(MALLORY, MODEL);
        vm.snapshotGasLastCall("router", "registerModel, without a URI");
        enable(MALLORY, registry.keyOf(MALLORY, MODEL), free, new bytes(512));
        vm.snapshotGasLastCall("router", "setBackend, 512 bytes of metadata");
    }
}
