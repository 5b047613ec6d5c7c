// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ReceiptLedger} from "src/tee/ReceiptLedger.sol";
import {SignerRegistry} from "src/tee/SignerRegistry.sol";
import {ProposalBench} from "test/tee/ProposalBench.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @dev What a transaction with this calldata costs before anything runs (EIP-2028).
function intrinsic(bytes memory data) pure returns (uint256 gas_) {
    gas_ = 21_000;
    for (uint256 i = 0; i < data.length; ++i) {
        gas_ += data[i] == 0 ? 4 : 16;
    }
}

/// @title What admissions and receipts cost; figures in test/snapshots/tee.json
contract TeeGasTest is TeeBench {
    ReceiptLedger private ledger;

    function setUp() public override {
        super.setUp();
        ledger = new ReceiptLedger(router);
        admitP256();
        admit();
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

/// @title What proposals cost; figures in test/snapshots/tee.json
contract ProposalGasTest is ProposalBench {
    // As long as the simulator's evidence file of a TDX quote with its collateral.
    uint256 private constant BUNDLE_BYTES = 15_000;

    ITeeProposals.Proposal private open;
    ITeeProposals.Proposal private doubted;

    function setUp() public override {
        super.setUp();
        decide(disputed(), true);
        vm.warp(NOW + 1);
        doubted = disputed();
        vm.warp(NOW + 2);
        open = propose();
    }

    function measured(string memory name) private {
        vm.snapshotGasLastCall("tee", name);
    }

    function test_propose() external {
        vm.warp(NOW + 3);
        bytes memory bundle = new bytes(BUNDLE_BYTES);
        for (uint256 i = 0; i < bundle.length; ++i) {
            bundle[i] = "A";
        }
        vm.prank(PROPOSER);
        proposals.propose{value: terms.proposerBond}(application, rules, terms, certificate, bundle);
        uint256 gas_ = vm.snapshotGasLastCall("tee", "propose, 15,000 bytes of evidence");
        bytes memory data = abi.encodeCall(proposals.propose, (application, rules, terms, certificate, bundle));
        uint256 before = intrinsic(data);
        // EIP-7623: a transaction with so much data costs 2.5 times as much for it, and nothing for what it does.
        uint256 least = 21_000 + (before - 21_000) * 5 / 2;
        gas_ += before;
        vm.snapshotValue("tee", "propose, 15,000 bytes of evidence, whole transaction", gas_ < least ? least : gas_);
    }

    function test_activate() external {
        vm.warp(NOW + 1 days + 3);
        activate(open);
        measured("activate, undisputed");
    }

    function test_challenge() external {
        challenge(open);
        measured("challenge");
    }

    function test_decide() external {
        decide(doubted, true);
        measured("decide, 3 of 5");
    }

    function test_expire() external {
        vm.warp(NOW + 3 days);
        proposals.expire(doubted, terms);
        measured("expire, undecided");
    }

    function test_withdraw() external {
        vm.prank(PROPOSER);
        proposals.withdraw();
        measured("withdraw");
    }
}
