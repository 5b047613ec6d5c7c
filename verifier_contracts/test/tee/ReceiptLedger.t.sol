// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ReceiptLedger} from "src/tee/ReceiptLedger.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

contract ReceiptLedgerTest is TeeBench {
    event Consumed(address indexed consumer, bytes32 indexed keyId, uint64 indexed sequence, bytes32 claim);

    ReceiptLedger internal ledger;
    VmlClaim.Claim internal claim;

    function setUp() public override {
        super.setUp();
        admit();
        admitP256();
        ledger = new ReceiptLedger(router);
        claim = claimOf("output");
    }

    function consume(uint64 sequence) private {
        ledger.consume(key, claim, withSelector(receipt(claim, sequence)));
    }

    function taken(uint64 sequence) private returns (bytes memory) {
        bytes memory why = abi.encodeWithSelector(ReceiptLedger.SequenceTaken.selector, address(this), keyId, sequence);
        vm.expectRevert(why);
        return why;
    }

    function test_once() external {
        check(!ledger.isConsumed(address(this), keyId, 5), "not yet");
        vm.expectEmit();
        emit Consumed(address(this), keyId, 5, VmlClaim.digest(claim));
        consume(5);
        check(ledger.isConsumed(address(this), keyId, 5), "taken");
        check(!ledger.isConsumed(address(this), keyId, 4) && !ledger.isConsumed(address(this), keyId, 6), "alone");
        taken(5);
        consume(5);
        // Nor for another claim, nor as one of a batch.
        claim = claimOf("another");
        taken(5);
        consume(5);
        bytes memory proof = withSelector(batched(claim, 8, 5));
        taken(5);
        ledger.consume(key, claim, proof);
        consume(6);
    }

    function testFuzz_anyOrder(uint64 first, uint64 second) external {
        consume(first);
        if (first == second) taken(second);
        consume(second);
        check(ledger.isConsumed(address(this), keyId, first), "the first stays");
    }

    function test_othersNumbersAreTheirs() external {
        bytes memory proof = withSelector(receipt(claim, 5));
        vm.prank(MALLORY);
        ledger.consume(key, claim, proof);
        consume(5);
        // And each key counts by itself.
        (bytes32 id, uint64 sequence) = ledger.consume(key, claim, withSelector(receiptP256(claim, 5)));
        check(id == keyIdP256 && sequence == 5, "which");
    }

    function test_onlyWhatIsProved() external {
        bytes memory proof = withSelector(receipt(claimOf("another"), 5));
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, teeSelector));
        ledger.consume(key, claim, proof);
        check(!ledger.isConsumed(address(this), keyId, 5), "nothing taken");
        proof = proofOf(claim);
        vm.expectRevert(error1(ReceiptLedger.NotAReceipt.selector, selector));
        ledger.consume(key, claim, proof);
    }
}
