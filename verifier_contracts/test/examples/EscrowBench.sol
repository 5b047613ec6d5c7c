// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PayOnProof} from "src/examples/PayOnProof.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title An escrow, and a request of Bob's
abstract contract EscrowBench is RouterBench {
    address internal constant BOB = address(0xb0b);
    address internal constant PROVER = address(0x9170);

    PayOnProof internal escrow;
    PayOnProof.Terms internal terms;

    function setUp() public virtual override {
        super.setUp();
        vm.warp(1_000_000);
        escrow = new PayOnProof(router);
        terms.requester = BOB;
        terms.entry = key;
        terms.input = keccak256("input");
        terms.amount = 1 ether;
        terms.deadline = uint64(block.timestamp + 1 hours);
    }

    function openAs(address requester) internal returns (bytes32 id) {
        vm.deal(requester, requester.balance + terms.amount);
        vm.prank(requester);
        return escrow.open{value: terms.amount}(terms);
    }

    function claimFor(address payee) internal view returns (VmlClaim.Claim memory) {
        return VmlClaim.Claim(MODEL, terms.input, keccak256("output"), escrow.contextOf(terms, payee));
    }

    /// @dev Everything is worked out before the call that must revert.
    function settleRefused(address payee, VmlClaim.Claim memory claim, bytes memory why) internal {
        bytes memory proof = proofOf(claim);
        PayOnProof.Terms memory asked = terms;
        vm.expectRevert(why);
        escrow.settle(asked, payee, claim, proof);
    }

    function settle(address payee) internal {
        VmlClaim.Claim memory claim = claimFor(payee);
        escrow.settle(terms, payee, claim, proofOf(claim));
    }
}
