// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {PayOnProof} from "src/examples/PayOnProof.sol";
import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {OptimisticVerifier} from "src/optimistic/OptimisticVerifier.sol";
import {EscrowBench} from "test/examples/EscrowBench.sol";

/// @title What a verifier asks of a dispute game, with ends that are set by hand
contract MockGame {
    mapping(bytes32 id => IDisputeGame.Record) private _records;

    function idOf(IDisputeGame.Assertion calldata assertion) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), assertion));
    }

    function recordOf(bytes32 id) external view returns (IDisputeGame.Record memory) {
        return _records[id];
    }

    function end(IDisputeGame.Assertion calldata assertion, IDisputeGame.Status status) external {
        _records[idOf(assertion)].status = status;
    }
}

contract OptimisticVerifierTest is EscrowBench {
    bytes32 internal constant FAST = keccak256("fast terms");
    bytes32 internal constant SAFE = keccak256("safe terms");

    MockGame internal game;
    OptimisticVerifier internal optimistic;
    bytes4 internal optimisticSelector;
    IDisputeGame.Assertion internal made;
    bytes internal metadata;

    function setUp() public override {
        super.setUp();
        game = new MockGame();
        optimistic = new OptimisticVerifier(IDisputeGame(address(game)));
        vm.prank(OWNER);
        optimisticSelector = router.addRoute(optimistic);
        metadata = accepting(FAST, SAFE);
        enable(ALICE, key, optimisticSelector, metadata);

        made.claim = claimOf(keccak256("output"));
        made.asserter = PROVER;
        made.terms = SAFE;
        made.trace = keccak256("trace");
        made.nonce = 7;
        game.end(made, IDisputeGame.Status.Final);
    }

    function accepting(bytes32 a, bytes32 b) internal pure returns (bytes memory) {
        bytes32[] memory digests = new bytes32[](2);
        (digests[0], digests[1]) = (a, b);
        return abi.encode(digests);
    }

    function encoded(IDisputeGame.Assertion memory assertion) internal pure returns (bytes memory) {
        return abi.encode(assertion.asserter, assertion.terms, assertion.trace, assertion.nonce);
    }

    function proofFor(IDisputeGame.Assertion memory assertion) internal view returns (bytes memory) {
        return bytes.concat(optimisticSelector, encoded(assertion));
    }

    function asked(IDisputeGame.Assertion memory assertion) internal view returns (bool) {
        return optimistic.verify(assertion.claim, metadata, encoded(assertion));
    }

    function test_whatItIs() external view {
        checkEqual(keccak256(bytes(optimistic.scheme())), keccak256("optimistic/1"), "the envelope's scheme");
        checkEqual(optimisticSelector, bytes4(keccak256("optimistic/1")), "and its selector");
        checkEqual(address(optimistic.game()), address(game), "its game");
        check(optimistic.supportsInterface(type(IVmlVerifier).interfaceId), "a verifier");
        check(optimistic.supportsInterface(type(IERC165).interfaceId), "that says so");
        check(!optimistic.supportsInterface(0xffffffff), "and nothing else");
    }

    function test_onlyFinalIsProved() external {
        for (uint256 i = 0; i <= uint256(type(IDisputeGame.Status).max); ++i) {
            IDisputeGame.Status status = IDisputeGame.Status(i);
            game.end(made, status);
            check(asked(made) == (status == IDisputeGame.Status.Final), "final and nothing else");
            check(
                accepted(key, made.claim, proofFor(made)) == (status == IDisputeGame.Status.Final), "by the router too"
            );
        }
    }

    /// Every field of the claim and every field of the proof names another assertion, which nobody made.
    function test_everyFieldIsBound() external view {
        for (uint256 i = 0; i < 256; ++i) {
            IDisputeGame.Assertion memory other = made;
            bytes32 bit = bytes32(1 << i);
            other.claim.model ^= bit;
            check(!asked(other), "model");
            other.claim.model ^= bit;
            other.claim.input ^= bit;
            check(!asked(other), "input");
            other.claim.input ^= bit;
            other.claim.output ^= bit;
            check(!asked(other), "output");
            other.claim.output ^= bit;
            other.claim.context ^= bit;
            check(!asked(other), "context");
            other.claim.context ^= bit;
            other.trace ^= bit;
            check(!asked(other), "trace");
            other.trace ^= bit;
            other.nonce ^= 1 << i;
            check(!asked(other), "nonce");
            other.nonce = made.nonce;
            if (i < 160) other.asserter = address(uint160(made.asserter) ^ uint160(1 << i));
            check(asked(other) == (i >= 160), "asserter");
        }
        IDisputeGame.Assertion memory under = made;
        under.terms = FAST;
        check(!asked(under), "accepted terms, under which it was not asserted");
    }

    function test_termsThatAreNotAcceptedProveNothing() external {
        made.terms = keccak256("terms with a window of a second");
        game.end(made, IDisputeGame.Status.Final);
        vm.expectRevert(error1(OptimisticVerifier.TermsNotAccepted.selector, made.terms));
        optimistic.verify(made.claim, metadata, encoded(made));
        refused(key, made.claim, proofFor(made), error1(IVmlRouter.InvalidProof.selector, optimisticSelector));
        vm.expectRevert(error1(OptimisticVerifier.TermsNotAccepted.selector, made.terms));
        optimistic.verify(made.claim, abi.encode(new bytes32[](0)), encoded(made));
        // Terms of zero are not what is left where nothing is listed.
        made.terms = 0;
        game.end(made, IDisputeGame.Status.Final);
        vm.expectRevert(error1(OptimisticVerifier.TermsNotAccepted.selector, 0));
        optimistic.verify(made.claim, metadata, encoded(made));
    }

    function test_anyOfTheAcceptedTermsWillDo() external {
        check(asked(made), "the last");
        made.terms = FAST;
        game.end(made, IDisputeGame.Status.Final);
        check(asked(made), "the first");
    }

    function test_finalInAnotherGameIsNotFinalHere() external {
        MockGame other = new MockGame();
        OptimisticVerifier there = new OptimisticVerifier(IDisputeGame(address(other)));
        check(asked(made), "here");
        check(!there.verify(made.claim, metadata, encoded(made)), "not there");
        vm.chainId(block.chainid + 1);
        check(!asked(made), "nor on another chain");
    }

    function test_aGameWithoutCodeProvesNothing() external {
        OptimisticVerifier nowhere = new OptimisticVerifier(IDisputeGame(address(0xdead)));
        vm.expectRevert();
        nowhere.verify(made.claim, metadata, encoded(made));
    }

    function test_aProofHas128Bytes() external {
        bytes memory proof = encoded(made);
        for (uint256 length = 0; length <= 260; ++length) {
            if (length == 128) continue;
            bytes memory other = new bytes(length);
            for (uint256 i = 0; i < length && i < 128; ++i) {
                other[i] = proof[i];
            }
            vm.expectRevert(OptimisticVerifier.NotCanonical.selector);
            optimistic.verify(made.claim, metadata, other);
        }
        refused(
            key,
            made.claim,
            bytes.concat(proofFor(made), hex"00"),
            error1(IVmlRouter.InvalidProof.selector, optimisticSelector)
        );
    }

    function test_anAddressHasTwentyBytes() external {
        for (uint256 i = 0; i < 12; ++i) {
            bytes memory proof = encoded(made);
            proof[i] = 0x01;
            vm.expectRevert(OptimisticVerifier.NotCanonical.selector);
            optimistic.verify(made.claim, metadata, proof);
        }
    }

    function test_metadataIsAListAndNothingElse() external {
        bytes32[] memory digests = new bytes32[](2);
        digests[1] = SAFE;
        bytes[8] memory malformed = [
            bytes(""),
            hex"20",
            abi.encode(uint256(32)),
            abi.encodePacked(SAFE),
            // A length that is none, an offset that leads elsewhere, words too few and too many, half a word.
            abi.encode(uint256(32), type(uint256).max, SAFE),
            abi.encode(uint256(64), uint256(0), uint256(1), SAFE),
            bytes.concat(abi.encode(digests), bytes32(0)),
            bytes.concat(abi.encode(digests), hex"00")
        ];
        for (uint256 i = 0; i < malformed.length; ++i) {
            vm.expectRevert(OptimisticVerifier.MetadataMalformed.selector);
            optimistic.verify(made.claim, malformed[i], encoded(made));
        }
        vm.expectRevert(OptimisticVerifier.MetadataMalformed.selector);
        optimistic.verify(made.claim, abi.encode(uint256(32), uint256(2), SAFE), encoded(made));
        check(optimistic.verify(made.claim, abi.encode(digests), encoded(made)), "what is well-formed is read");
    }

    /// Whatever metadata and proof are: an answer or a named error.
    function testFuzz_noOtherEnds(bytes calldata anyMetadata, bytes calldata anyProof, bool whole) external view {
        bytes memory chosen = anyMetadata;
        if (whole) chosen = metadata;
        try optimistic.verify(made.claim, chosen, anyProof) returns (bool valid) {
            check(!valid, "nothing is proved by accident");
        } catch (bytes memory why) {
            bytes4 id = bytes4(why);
            check(
                id == OptimisticVerifier.NotCanonical.selector || id == OptimisticVerifier.MetadataMalformed.selector
                    || id == OptimisticVerifier.TermsNotAccepted.selector,
                "an error with a name"
            );
        }
    }

    function testFuzz_metadataNeverPanics(bytes calldata anyMetadata) external view {
        try optimistic.verify(made.claim, anyMetadata, encoded(made)) returns (bool valid) {
            check(!valid, "such metadata lists nothing");
        } catch (bytes memory why) {
            bytes4 id = bytes4(why);
            check(
                id == OptimisticVerifier.MetadataMalformed.selector
                    || id == OptimisticVerifier.TermsNotAccepted.selector,
                "an error with a name"
            );
        }
    }

    // ---- through the router ----------------------------------------------------------------------------------------

    function test_aFinalAssertionIsRecorded() external {
        bytes32 digest = router.record(key, made.claim, proofFor(made));
        (IVmlRouter.Status status, bytes4 by,) = router.statusOf(key, digest);
        check(status == IVmlRouter.Status.Accepted && by == optimisticSelector, "recorded");
        // The record is of this metadata: who accepts other terms later does not believe it.
        enable(ALICE, key, optimisticSelector, accepting(FAST, FAST));
        (status,,) = router.statusOf(key, digest);
        check(status == IVmlRouter.Status.Unknown, "not believed any more");
    }

    function test_anEscrowPaysOnAFinalAssertion() external {
        openAs(BOB);
        made.claim = claimFor(PROVER);
        game.end(made, IDisputeGame.Status.Open);
        bytes memory proof = proofFor(made);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, optimisticSelector));
        escrow.settle(terms, PROVER, made.claim, proof);
        game.end(made, IDisputeGame.Status.Final);
        escrow.settle(terms, PROVER, made.claim, proof);
        checkEqual(escrow.creditOf(PROVER), 1 ether, "paid");
        check(escrow.stateOf(escrow.idOf(terms)) == PayOnProof.State.Paid, "once");
    }
}
