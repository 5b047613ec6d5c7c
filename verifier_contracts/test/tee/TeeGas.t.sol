// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ReceiptLedger} from "src/tee/ReceiptLedger.sol";
import {SignerRegistry} from "src/tee/SignerRegistry.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title What admissions and receipts cost; figures in test/snapshots/tee.json
contract TeeGasTest is TeeBench {
    uint256 private constant TRANSACTION = 21_000;

    ReceiptLedger private ledger;

    function setUp() public override {
        super.setUp();
        ledger = new ReceiptLedger(router);
        admitP256();
        admit();
    }

    /// @dev What a transaction with this calldata costs before anything runs (EIP-2028).
    function intrinsic(bytes memory data) private pure returns (uint256 gas_) {
        gas_ = TRANSACTION;
        for (uint256 i = 0; i < data.length; ++i) {
            gas_ += data[i] == 0 ? 4 : 16;
        }
    }

    function test_admitByQuorum() external {
        certificate.x = keccak256("another key");
        bytes memory signatures = quorum();
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        uint256 gas_ = vm.snapshotGasLastCall("tee", "admitByQuorum, 3 of 5");
        bytes memory data =
            abi.encodeCall(SignerRegistry.admitByQuorum, (ALICE, rules, certificate, finding, signatures));
        gas_ += intrinsic(data);
        vm.snapshotValue("tee", "admitByQuorum, 3 of 5, whole transaction", gas_);
        check(gas_ < 120_000, "the target");
    }

    function test_receipt() external {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = withSelector(receipt(claim, 7));
        router.verifyEntry(key, claim, proof);
        uint256 gas_ = vm.snapshotGasLastCall("tee", "verifyEntry, a receipt");
        check(gas_ < 30_000, "the target");
        gas_ += intrinsic(abi.encodeCall(router.verifyEntry, (key, claim, proof)));
        vm.snapshotValue("tee", "verifyEntry, a receipt, whole transaction", gas_);
    }

    function proofCosts(bytes memory proof, string memory name) private {
        VmlClaim.Claim memory claim = claimOf("output");
        router.verifyEntry(key, claim, proof);
        uint256 gas_ = vm.snapshotGasLastCall("tee", string.concat("verifyEntry, ", name));
        gas_ += intrinsic(abi.encodeCall(router.verifyEntry, (key, claim, proof)));
        vm.snapshotValue("tee", string.concat("verifyEntry, ", name, ", whole transaction"), gas_);
    }

    function test_receiptP256() external {
        proofCosts(withSelector(receiptP256(claimOf("output"), 7)), "a receipt of a P-256 key, no precompile");
    }

    function test_receiptOfABatch() external {
        proofCosts(withSelector(batched(claimOf("output"), 1024, 700)), "a receipt of a batch of 1024");
    }

    function test_consume() external {
        bytes memory first = withSelector(receipt(claimOf("output"), 7));
        bytes memory second = withSelector(receipt(claimOf("output"), 8));
        ledger.consume(key, claimOf("output"), first);
        vm.snapshotGasLastCall("tee", "consume, the first of 256");
        ledger.consume(key, claimOf("output"), second);
        // In one transaction with the first: what it reads is warm.
        vm.snapshotGasLastCall("tee", "consume, another of them, warm");
    }

    function test_revoke() external {
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        vm.snapshotGasLastCall("tee", "revoke");
    }
}
