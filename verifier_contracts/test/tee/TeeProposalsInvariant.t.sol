// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {ProposalBench} from "test/tee/ProposalBench.sol";

/// @title Proposes, challenges, decides and withdraws in any order, and keeps its own books
contract ProposalPlayer is ProposalBench {
    struct Book {
        ITeeProposals.Status status;
        uint256 until;
        bool isIn;
        bool disputed;
        bool shown;
    }

    // Each proposal is of an epoch of its own, so of a record of its own.
    ITeeProposals.Proposal[] private said;
    Book[] public books;
    uint256 public held;
    mapping(ITeeProposals.Status => uint256) public reached;

    function start() external {
        setUp();
        vm.deal(PROPOSER, 1e6 ether);
        vm.deal(CHALLENGER, 1e6 ether);
    }

    function count() external view returns (uint256) {
        return said.length;
    }

    function proposes(bool isQuote) external {
        if (said.length == 8) return;
        (application.isQuote, certificate.epoch) = (isQuote, uint64(said.length));
        (certificate.notAfter, application.collateralEnd) = (type(uint64).max, type(uint64).max);
        said.push(propose());
        books.push(Book(OPEN, block.timestamp + terms.window, false, false, false));
        held += terms.proposerBond;
    }

    function pick(uint256 which) private returns (uint256) {
        which = bound(which, 0, said.length - 1);
        certificate.epoch = uint64(which);
        return which;
    }

    /// @dev A move succeeds exactly where the books say so.
    function moved(bool expected, address who, uint256 value, bytes memory data) private returns (bool success) {
        vm.prank(who);
        (success,) = address(proposals).call{value: value}(data);
        check(success == expected, "as the books say");
    }

    function end(uint256 which, ITeeProposals.Status status, uint256 released) private {
        books[which].status = status;
        held -= released;
        ++reached[status];
    }

    function challenges(uint256 which) external {
        if (said.length == 0) return;
        which = pick(which);
        Book storage book = books[which];
        bool fits = book.status == OPEN && block.timestamp <= book.until;
        bytes memory data = abi.encodeCall(proposals.challenge, (said[which], terms));
        if (!moved(fits, CHALLENGER, terms.challengerBond, data)) return;
        (book.status, book.until, book.disputed) = (CHALLENGED, block.timestamp + terms.decision, true);
        held += terms.challengerBond;
    }

    function decides(uint256 which, bool genuine) external {
        if (said.length == 0) return;
        which = pick(which);
        Book storage book = books[which];
        bool fits = book.status == CHALLENGED && block.timestamp <= book.until;
        bytes memory data;
        if (said[which].isQuote) {
            attestation.set(genuine, outputOf(said[which].nonce));
            fits = fits && genuine;
            data = abi.encodeCall(proposals.prove, (said[which], terms, rules, QUOTE));
        } else {
            data = abi.encodeCall(proposals.decide, (said[which], terms, rules, genuine, votes(said[which], genuine)));
        }
        if (!moved(fits, MALLORY, 0, data)) return;
        book.shown = genuine;
        end(which, genuine ? ACCEPTED : REFUSED, uint256(terms.proposerBond) + terms.challengerBond);
    }

    function expires(uint256 which) external {
        if (said.length == 0) return;
        which = pick(which);
        Book storage book = books[which];
        bool fits = book.status == CHALLENGED && block.timestamp > book.until;
        if (!moved(fits, MALLORY, 0, abi.encodeCall(proposals.expire, (said[which], terms)))) return;
        end(which, said[which].isQuote ? REFUSED : LAPSED, uint256(terms.proposerBond) + terms.challengerBond);
    }

    function accepts(uint256 which) external {
        if (said.length == 0) return;
        which = pick(which);
        Book storage book = books[which];
        bool fits = book.status == OPEN && block.timestamp > book.until;
        if (!moved(fits, MALLORY, 0, abi.encodeCall(proposals.accept, (said[which], terms)))) return;
        end(which, ACCEPTED, terms.proposerBond);
    }

    function activates(uint256 which) external {
        if (said.length == 0) return;
        which = pick(which);
        Book storage book = books[which];
        bool over = book.status == OPEN && block.timestamp > book.until;
        bool fits = (book.status == ACCEPTED || over) && !book.isIn;
        fits = fits && block.timestamp <= said[which].proposedAt + rules.lifetime;
        bytes memory data = abi.encodeCall(proposals.activate, (said[which], terms, rules, certificate));
        if (!moved(fits, MALLORY, 0, data)) return;
        if (over) end(which, ACCEPTED, terms.proposerBond);
        book.isIn = true;
    }

    function withdraws(bool proposer) external {
        address who = proposer ? PROPOSER : CHALLENGER;
        uint256 credit = proposals.creditOf(who);
        uint256 before = who.balance;
        if (moved(credit != 0, who, 0, abi.encodeCall(proposals.withdraw, ()))) {
            checkEqual(who.balance, before + credit, "all of it");
        }
    }

    function passes(uint256 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 1 days));
        vm.roll(block.number + 1);
        application.blockNumber = block.number - 1;
    }

    // ---- what has to hold ------------------------------------------------------------------------------------------

    function moneyIsConserved() external view {
        uint256 credits = proposals.creditOf(PROPOSER) + proposals.creditOf(CHALLENGER);
        checkEqual(address(proposals).balance, held + credits + proposals.burned(), "held, credited or burned");
        checkEqual(
            PROPOSER.balance + CHALLENGER.balance + address(proposals).balance, 2e6 ether, "nobody else got anything"
        );
    }

    /// @dev Whether a receipt of this proposal's key is accepted, and whether it should be.
    function agrees(uint256 which) external view returns (bool) {
        Book memory book = books[which];
        VmlClaim.Claim memory claim = claimOf("output");
        uint64 at = uint64(block.timestamp);
        bytes memory start_ = abi.encodePacked(uint8(1), uint8(4), keyId, uint64(which), uint64(1), at);
        bytes32 digest = Receipts.digest(VmlClaim.digest(claim), keyId, uint64(which), 1, at);
        bytes memory proof = bytes.concat(start_, signedBy(ENCLAVE, digest));
        bool lives = block.timestamp <= said[which].proposedAt + rules.lifetime;
        bool mayBe = book.status == ACCEPTED && (!book.disputed || book.shown);
        check(!book.isIn || mayBe, "none that was challenged and not shown to be good");
        check(statusOf(said[which]) == book.status, "where the books have it");
        return accepted(key, claim, withSelector(proof)) == (book.isIn && lives);
    }
}

contract TeeProposalsInvariantTest is ProposalBench {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    ProposalPlayer internal player;

    function setUp() public override {
        player = new ProposalPlayer();
        player.start();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(player);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory moves = new bytes4[](10);
        (moves[0], moves[1]) = (player.proposes.selector, player.challenges.selector);
        (moves[2], moves[3]) = (player.decides.selector, player.expires.selector);
        (moves[4], moves[5]) = (player.accepts.selector, player.activates.selector);
        (moves[6], moves[7]) = (player.withdraws.selector, player.passes.selector);
        (moves[8], moves[9]) = (player.passes.selector, player.activates.selector);
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(player), moves);
    }

    /// @dev One invariant, because each has a run of its own.
    function invariant_moneyAndKeysAreWhereTheyBelong() external view {
        player.moneyIsConserved();
        for (uint256 which = 0; which < player.count(); ++which) {
            check(player.agrees(which), "by the player's books");
        }
    }

    /// @dev Invariants hold where nothing happens; here every end is reached.
    function test_thePlayerPlays() external {
        for (uint256 i = 0; i < 6; ++i) {
            player.proposes(i % 2 == 1);
        }
        for (uint256 i = 0; i < 5; ++i) {
            player.challenges(i);
        }
        player.decides(0, true);
        player.decides(1, true);
        player.decides(2, false);
        for (uint256 i = 0; i < 3; ++i) {
            player.passes(1 days - 1);
        }
        for (uint256 i = 0; i < 6; ++i) {
            player.expires(i);
            player.activates(i);
            check(player.agrees(i), "by the player's books");
        }
        player.moneyIsConserved();
        checkEqual(player.reached(ACCEPTED), 3, "two were shown to be good, one nobody doubted");
        checkEqual(player.reached(REFUSED), 2, "decided against, and a quote that nobody proved");
        checkEqual(player.reached(LAPSED), 1, "undecided");
        checkEqual(player.held(), 0, "nothing is held");
    }
}
