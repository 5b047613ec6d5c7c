// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PayOnProof} from "src/examples/PayOnProof.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {EscrowBench} from "test/examples/EscrowBench.sol";

/// @title A payee that refuses money, and one that comes back for more while it is paid
contract Payee {
    PayOnProof internal immutable escrow;
    bool internal greedy;
    uint256 public attempts;

    constructor(PayOnProof escrow_, bool greedy_) {
        escrow = escrow_;
        greedy = greedy_;
    }

    function fetch(address payable to) external {
        escrow.withdraw(to);
    }

    receive() external payable {
        if (!greedy) revert("no money");
        ++attempts;
        try escrow.withdraw(payable(address(this))) {
            attempts += 100;
        } catch {}
    }
}

/// @title Attacks on the escrow that do not work
contract EscrowAttacksTest is EscrowBench {
    function test_aPayeeThatRefusesMoneyHarmsNobody() external {
        Payee payee = new Payee(escrow, false);
        openAs(BOB);
        settle(address(payee));
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.PaymentFailed.selector, address(payee)));
        payee.fetch(payable(address(payee)));
        checkEqual(escrow.creditOf(address(payee)), 1 ether, "still his");
        payee.fetch(payable(address(0xfee)));
        checkEqual(address(0xfee).balance, 1 ether, "where he sends it");
        checkEqual(escrow.owed(), 0, "nothing left");
    }

    function test_aPayeeThatReentersIsPaidOnce() external {
        Payee payee = new Payee(escrow, true);
        openAs(BOB);
        terms.salt = "another";
        openAs(BOB);
        terms.salt = 0;
        settle(address(payee));
        payee.fetch(payable(address(payee)));
        checkEqual(payee.attempts(), 1, "he tried, in vain");
        checkEqual(address(payee).balance, 1 ether, "once");
        checkEqual(address(escrow).balance, 1 ether, "the other request's");
        checkEqual(escrow.owed(), 1 ether, "is still owed");
    }

    /// The last second is the prover's, the next the requester's, and never both.
    function testFuzz_payOrRefundAtTheDeadline(uint8 past) external {
        openAs(BOB);
        vm.warp(uint256(terms.deadline) - 1 + (past % 4));
        VmlClaim.Claim memory claim = claimFor(PROVER);
        bytes memory proof = proofOf(claim);
        PayOnProof.Terms memory asked = terms;
        bool paid;
        bool refunded;
        try escrow.settle(asked, PROVER, claim, proof) {
            paid = true;
        } catch {}
        try escrow.refund(asked) {
            refunded = true;
        } catch {}
        check(paid != refunded, "one of the two");
        check(paid == (block.timestamp <= terms.deadline), "by the clock");
        checkEqual(escrow.creditOf(PROVER) + escrow.creditOf(BOB), 1 ether, "once");
    }

    /// A request that costs a contract little to open, and whose terms fit into no transaction that settles it.
    function test_aRequestTooLargeToSettle() external {
        vm.deal(BOB, 2 ether);
        terms.userData = new bytes(escrow.MAX_USER_DATA() + 1);
        PayOnProof.Terms memory asked = terms;
        vm.expectRevert(abi.encodeWithSelector(PayOnProof.TooMuchUserData.selector, 4097, 4096));
        vm.prank(BOB);
        escrow.open{value: 1 ether}(asked);
        terms.userData = new bytes(escrow.MAX_USER_DATA());
        openAs(BOB);
        settle(PROVER);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
    }
}
