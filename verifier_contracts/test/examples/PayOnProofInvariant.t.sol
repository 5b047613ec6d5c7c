// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PayOnProof} from "src/examples/PayOnProof.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {EscrowBench} from "test/examples/EscrowBench.sol";

/// @title Three requesters and two provers do everything in any order, at any time
/// @notice Keeps its own account of who put down, got and took what.
contract Market is EscrowBench {
    uint256 internal constant PEOPLE = 5;

    PayOnProof.Terms[] internal requests;
    uint256 public open;
    mapping(bytes32 id => uint256) public timesPaid;
    mapping(bytes32 id => uint256) public timesRefunded;
    mapping(address account => uint256) public earned;
    mapping(address account => uint256) public taken;

    constructor() {
        setUp();
    }

    /// @dev Public in what this inherits, so the fuzzer calls it too.
    function setUp() public override {
        if (address(escrow) == address(0)) super.setUp();
    }

    function theEscrow() external view returns (PayOnProof) {
        return escrow;
    }

    function count() external view returns (uint256) {
        return requests.length;
    }

    function request(uint256 i) external view returns (PayOnProof.Terms memory) {
        return requests[i];
    }

    function person(uint256 i) public pure returns (address) {
        return address(uint160(0x5000 + i % PEOPLE));
    }

    function newRequest(uint256 who, uint256 whom, uint256 amount, uint256 life, uint256 salt) external {
        terms.requester = person(who % 3);
        terms.payee = whom % 3 == 0 ? address(0) : person(whom);
        terms.amount = bound(amount, 1, 100 ether);
        terms.deadline = uint64(block.timestamp + life % 1000);
        terms.salt = bytes32(salt % 4);
        bool fresh = escrow.stateOf(escrow.idOf(terms)) == PayOnProof.State.Unknown;
        vm.deal(terms.requester, terms.amount);
        vm.prank(terms.requester);
        try escrow.open{value: terms.amount}(terms) {
            check(fresh, "terms are used once");
            requests.push(terms);
            open += terms.amount;
        } catch {
            check(!fresh, "what is new can be opened");
            vm.deal(terms.requester, 0);
        }
    }

    function settle(uint256 which, uint256 forWhich, uint256 whom, uint256 forge) external {
        if (requests.length == 0) return;
        // Mostly what should be paid, or little would ever be.
        if (forWhich % 4 != 0) forWhich = which;
        terms = requests[forWhich % requests.length];
        address payee = terms.payee == address(0) || whom % 4 == 0 ? person(whom) : terms.payee;
        VmlClaim.Claim memory claim = claimFor(payee);
        bytes memory proof = proofOf(claim);
        bool forged = forge % 4 == 0;
        if (forged) proof[proof.length - 1] ^= 0x01;
        terms = requests[which % requests.length];
        bytes32 id = escrow.idOf(terms);
        bool due = escrow.stateOf(id) == PayOnProof.State.Open && which % requests.length == forWhich % requests.length
            && !forged && block.timestamp <= terms.deadline && (terms.payee == address(0) || terms.payee == payee);
        try escrow.settle(terms, payee, claim, proof) {
            check(due, "paid only what is due");
            ++timesPaid[id];
            earned[payee] += terms.amount;
            open -= terms.amount;
        } catch {
            check(!due, "what is due is paid");
        }
    }

    function refund(uint256 which) external {
        if (requests.length == 0) return;
        terms = requests[which % requests.length];
        bytes32 id = escrow.idOf(terms);
        bool due = escrow.stateOf(id) == PayOnProof.State.Open && block.timestamp > terms.deadline;
        try escrow.refund(terms) {
            check(due, "refunded only after the deadline");
            ++timesRefunded[id];
            earned[terms.requester] += terms.amount;
            open -= terms.amount;
        } catch {
            check(!due, "what is overdue is refunded");
        }
    }

    function withdraw(uint256 who) external {
        address account = person(who);
        uint256 before = account.balance;
        vm.prank(account);
        try escrow.withdraw(payable(account)) {} catch {}
        taken[account] += account.balance - before;
    }

    function wait_(uint256 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 400);
    }

    function people() external pure returns (uint256) {
        return PEOPLE;
    }
}

contract PayOnProofInvariantTest is EscrowBench {
    Market internal market;
    PayOnProof internal held;

    function setUp() public override {
        market = new Market();
        held = market.theEscrow();
    }

    /// @dev Invariants hold of a market where nothing happens; in this one, something does.
    function test_theMarketTrades() external {
        market.newRequest(0, 0, 5, 10, 0);
        market.newRequest(1, 4, 7, 10, 1);
        market.settle(0, 0, 4, 1);
        market.wait_(11);
        market.refund(1);
        market.withdraw(4);
        checkEqual(market.taken(market.person(4)), 6, "proved, paid and fetched");
        checkEqual(held.creditOf(market.person(1)), 8, "refunded");
        market.settle(0, 0, 4, 1);
        this.invariant_moneyIsConserved();
        this.invariant_everyRequestEndsOnce();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(market);
    }

    function invariant_moneyIsConserved() external view {
        uint256 credit;
        for (uint256 i = 0; i < market.people(); ++i) {
            address account = market.person(i);
            credit += held.creditOf(account);
            checkEqual(
                held.creditOf(account), market.earned(account) - market.taken(account), "earned, less what was taken"
            );
        }
        checkEqual(address(held).balance, market.open() + credit, "what is held is what is open or credited");
        checkEqual(held.owed(), address(held).balance, "and all of it is owed");
    }

    function invariant_everyRequestEndsOnce() external view {
        for (uint256 i = 0; i < market.count(); ++i) {
            bytes32 id = held.idOf(market.request(i));
            uint256 ends = market.timesPaid(id) + market.timesRefunded(id);
            PayOnProof.State state = held.stateOf(id);
            check(ends == (state == PayOnProof.State.Open ? 0 : 1), "not before, and not twice");
            check((state == PayOnProof.State.Paid) == (market.timesPaid(id) == 1), "paid or refunded");
        }
    }
}
