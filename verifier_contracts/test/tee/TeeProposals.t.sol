// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {MockAttestation} from "test/tee/MockAttestation.sol";
import {ProposalBench} from "test/tee/ProposalBench.sol";

/// @title What proposals lead to, each move in its time
contract TeeProposalsTest is ProposalBench {
    event KeyProposed(
        bytes32 indexed id,
        bytes32 indexed entry,
        bytes32 indexed rulesId,
        ITeeProposals.Proposal proposal,
        ISignerRegistry.Rules rules,
        ITeeProposals.Terms terms,
        ISignerRegistry.Certificate certificate,
        bytes evidence
    );
    event ProposalChallenged(bytes32 indexed id, address indexed challenger, uint64 until);
    event ProposalEnded(bytes32 indexed id, ITeeProposals.Status status);
    event Withdrawn(address indexed who, uint256 amount);

    // ---- proposals -------------------------------------------------------------------------------------------------

    function test_theEvidenceIsPublished() external {
        ITeeProposals.Proposal memory said = saidNow();
        bytes32 id = proposals.idOf(said);
        vm.expectEmit();
        emit KeyProposed(id, key, tee.rulesId(rules), said, rules, terms, certificate, BUNDLE);
        propose();
        ITeeProposals.State memory state = proposals.stateOf(id);
        check(state.status == OPEN && state.until == NOW + 1 days, "open for a day");
        checkEqual(state.challenger, address(0), "unchallenged");
        checkEqual(address(proposals).balance, 10 ether, "the bond");
        check(!isIn(recordIn(OPTIMISTIC)), "not in");
    }

    function test_nothingIsNoEvidence() external {
        vm.expectRevert(ITeeProposals.EvidenceMissing.selector);
        vm.prank(PROPOSER);
        proposals.propose{value: 10 ether}(application, rules, terms, certificate, "");
    }

    function test_onceASecond() external {
        ITeeProposals.Proposal memory said = propose();
        proposalRefused(ITeeProposals.AlreadyProposed.selector);
        vm.deal(MALLORY, 10 ether);
        vm.prank(MALLORY);
        bytes32 copy = proposals.propose{value: 10 ether}(application, rules, terms, certificate, BUNDLE);
        check(copy != proposals.idOf(said), "a copy is the copier's, with a bond of its own");
        vm.warp(NOW + 1);
        check(proposals.idOf(propose()) != proposals.idOf(said), "a second later it is another");
    }

    function test_exactBonds() external {
        uint256[3] memory wrong = [uint256(0), 10 ether - 1, 10 ether + 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongValue.selector, 10 ether, wrong[i]));
            vm.prank(PROPOSER);
            proposals.propose{value: wrong[i]}(application, rules, terms, certificate, BUNDLE);
        }
        ITeeProposals.Proposal memory said = propose();
        wrong = [uint256(0), 8 ether - 1, 8 ether + 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongValue.selector, 8 ether, wrong[i]));
            vm.prank(CHALLENGER);
            proposals.challenge{value: wrong[i]}(said, terms);
        }
    }

    function test_termsAreTheRules() external {
        rules.terms = 0;
        proposalRefused(ISignerRegistry.ModeNotInRules.selector);
        rules.terms = keccak256(abi.encode(terms));
        for (uint256 i = 0; i < 6; ++i) {
            ITeeProposals.Terms memory good = terms;
            if (i == 0) terms.window -= 1;
            if (i == 1) terms.decision -= 1;
            if (i == 2) terms.proposerBond -= 1;
            if (i == 3) terms.challengerBond += 1;
            if (i == 4) terms.reward += 1;
            if (i == 5) terms.lapse -= 1;
            proposalRefused(ITeeProposals.TermsMismatch.selector);
            terms = good;
        }
    }

    function refusedTerms(uint32 window, uint32 decision, uint96 bond, uint96 other, uint96 reward, uint96 lapse)
        private
    {
        setTerms(ITeeProposals.Terms(window, decision, bond, other, reward, lapse));
        proposalRefused(ITeeProposals.TermsRefused.selector);
    }

    function test_termsThatNobodyCouldPlayBy() external {
        refusedTerms(0, 1, 10, 10, 5, 10);
        refusedTerms(1, 0, 10, 10, 5, 10);
        refusedTerms(1, 1, 0, 10, 0, 0);
        refusedTerms(1, 1, 10, 0, 0, 0);
        refusedTerms(1, 1, 10, 12, 6, 0);
        refusedTerms(1, 1, 12, 10, 6, 0);
        refusedTerms(1, 1, 11, 11, 6, 0);
        refusedTerms(1, 1, 10, 12, 0, 11);
        refusedTerms(1, 1, 12, 10, 0, 11);
        refusedTerms(1, 1, 10, 10, type(uint96).max / 2 + 6, 0);
        setTerms(ITeeProposals.Terms(1, 1, 10, 10, 5, 10));
        propose();
        setTerms(ITeeProposals.Terms(1, 1, 1, 1, 0, 0));
        propose();
    }

    /// Somebody has to be able to decide, and not both ways.
    function test_everyProposalHasItsForum() external {
        rules.threshold = 0;
        proposalRefused(ISignerRegistry.ModeNotInRules.selector);
        rules.threshold = 2;
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.NoMajority.selector, 2, 5));
        vm.prank(PROPOSER);
        proposals.propose{value: 10 ether}(application, rules, terms, certificate, BUNDLE);
        rules.attestors.push(address(type(uint160).max));
        rules.threshold = 3;
        proposalRefused(ITeeProposals.NoMajority.selector);
        rules.threshold = 4;
        propose();
        // The threshold does not concern a quote, nor the attestation contract a bundle.
        rules.attestation = address(0);
        propose();
        application.isQuote = true;
        proposalRefused(ISignerRegistry.ModeNotInRules.selector);
        rules.attestation = address(attestation);
        rules.threshold = 0;
        propose();
        certificate.gpus = keccak256("evidence of GPUs");
        proposalRefused(ISignerRegistry.GpusNotChecked.selector);
        application.isQuote = false;
        rules.threshold = 4;
        propose();
    }

    function test_theNonceIsOfALateBlock() external {
        application.blockNumber = 1000;
        proposalRefused(ISignerRegistry.BlockUnknown.selector);
        application.blockNumber = 1000 - 257;
        proposalRefused(ISignerRegistry.BlockUnknown.selector);
        application.blockNumber = 1000 - 256;
        propose();
    }

    function test_unknownAlgorithms() external {
        certificate.algorithm = 3;
        proposalRefused(ISignerRegistry.AlgorithmUnknown.selector);
    }

    function test_simulatedEvidenceIsForLocalChains() external {
        application.simulated = true;
        proposalRefused(ISignerRegistry.SimulatedEvidence.selector);
        vm.chainId(1337);
        propose();
        vm.chainId(31_337);
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        check(tee.keyOf(activate(said)).simulated, "and the key says it");
        // The state of a local chain, taken to another.
        vm.chainId(1);
        vm.expectRevert(ISignerRegistry.SimulatedEvidence.selector);
        activate(said);
        check(!accepted(key, claimOf("output"), withSelector(optimisticReceipt(claimOf("output")))), "elsewhere not");
    }

    // ---- nobody disagrees ------------------------------------------------------------------------------------------

    function test_theWindowsLastSecond() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooEarly.selector, NOW + 1 days));
        activate(said);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooEarly.selector, NOW + 1 days));
        proposals.accept(said, terms);
        vm.warp(NOW + 1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooLate.selector, NOW + 1 days));
        vm.prank(CHALLENGER);
        proposals.challenge{value: 8 ether}(said, terms);
        activate(said);
    }

    function test_theWindowsLastChallenge() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days);
        vm.expectEmit();
        emit ProposalChallenged(proposals.idOf(said), CHALLENGER, uint64(NOW + 3 days));
        challenge(said);
        vm.warp(NOW + 1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, CHALLENGED));
        activate(said);
    }

    function test_anybodyLetsTheKeyIn() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = optimisticReceipt(claim);
        check(!accepted(key, claim, withSelector(proof)), "not before");
        vm.expectEmit();
        emit ProposalEnded(proposals.idOf(said), ACCEPTED);
        vm.prank(MALLORY);
        bytes32 record = activate(said);
        checkEqual(record, recordIn(OPTIMISTIC), "its name");
        ISignerRegistry.Key memory admitted = tee.keyOf(record);
        check(admitted.mode == OPTIMISTIC && admitted.algorithm == 1, "how it came in");
        check(admitted.signer == vm.addr(ENCLAVE) && !admitted.simulated, "whose");
        checkEqual(admitted.notAfter, certificate.notAfter, "its end");
        checkEqual(tee.evidenceOf(record), keccak256(BUNDLE), "its evidence");
        check(accepted(key, claim, withSelector(proof)), "it proves");
        TeeVerifier.Verdict memory found = tee.verdict(claim, metadata(WITH_OPTIMISTIC, 0), proof);
        check(found.mode == OPTIMISTIC && found.record == record, "and the verdict says how");
        money(10 ether, 0, 0);
    }

    /// An owner who does not name the mode takes no such key.
    function test_theModeHasToBeNamed() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        activate(said);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = optimisticReceipt(claim);
        for (uint256 modes = 0; modes < 32; modes += 2) {
            bytes memory registered = metadata(modes, 0);
            if (modes >> 4 & 1 == 1) {
                check(tee.verify(claim, registered, proof), "named");
            } else {
                vm.expectRevert(abi.encodeWithSelector(TeeVerifier.ModeRefused.selector, 4));
                tee.verify(claim, registered, proof);
            }
        }
        // Nor does the record of one mode serve in another.
        for (uint8 mode = 1; mode < 4; ++mode) {
            bytes memory other = bytes.concat(proof);
            other[1] = bytes1(mode);
            bytes memory registered = metadata(WITH_OPTIMISTIC, 0);
            vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
            tee.verify(claim, registered, other);
        }
    }

    function test_acceptingFreesTheBond() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        proposals.accept(said, terms);
        check(statusOf(said) == ACCEPTED && !isIn(recordIn(OPTIMISTIC)), "not in by that");
        money(10 ether, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, ACCEPTED));
        proposals.accept(said, terms);
        vm.warp(NOW + 5 days);
        check(isIn(activate(said)), "later, by anybody");
        money(10 ether, 0, 0);
    }

    /// What the registry does not take is no reason to keep a bond.
    function test_keysThatTheRegistryDoesNotTake() external {
        ITeeProposals.Proposal memory said = propose();
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, OPTIMISTIC);
        vm.warp(NOW + 1 days + 1);
        vm.expectPartialRevert(ISignerRegistry.KeyIsRevoked.selector);
        activate(said);
        proposals.accept(said, terms);
        money(10 ether, 0, 0);
    }

    function test_theEndIsTheSoonest() external {
        rules.lifetime = 3 days;
        ITeeProposals.Proposal memory lived = propose();
        rules.lifetime = 30 days;
        application.collateralEnd = uint64(NOW + 2 days);
        ITeeProposals.Proposal memory rested = propose();
        vm.warp(NOW + 1 days + 5);
        checkEqual(tee.keyOf(activate(rested)).notAfter, NOW + 2 days, "the collateral's end");
        rules.lifetime = 3 days;
        checkEqual(tee.keyOf(activate(lived)).notAfter, NOW + 3 days, "the lifetime, from the proposal on");
        vm.warp(NOW + 3 days + 1);
        vm.expectPartialRevert(ISignerRegistry.KeyIsExpired.selector);
        activate(lived);
    }

    function testFuzz_theEndIsTheSoonest(uint64 certified, uint64 collateralEnd, uint32 lifetime, uint32 late)
        external
    {
        certificate.notAfter = certified;
        application.collateralEnd = collateralEnd;
        rules.lifetime = lifetime;
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1 + late);
        uint256 end = certified < collateralEnd ? certified : collateralEnd;
        if (NOW + lifetime < end) end = NOW + lifetime;
        if (end < block.timestamp) {
            vm.expectPartialRevert(ISignerRegistry.KeyIsExpired.selector);
            activate(said);
        } else {
            checkEqual(tee.keyOf(activate(said)).notAfter, end, "whenever it is let in");
        }
    }

    function test_renewal() external {
        application.collateralEnd = uint64(NOW + 5 days);
        ITeeProposals.Proposal memory first = propose();
        vm.warp(NOW + 2 days);
        activate(first);
        vm.expectPartialRevert(ISignerRegistry.NotLater.selector);
        activate(first);
        application.collateralEnd = uint64(NOW + 9 days);
        ITeeProposals.Proposal memory second = propose();
        vm.warp(NOW + 4 days);
        checkEqual(tee.keyOf(activate(second)).notAfter, NOW + 9 days, "a later end");
        money(20 ether, 0, 0);
    }

    function test_revocationAndRotation() external {
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        bytes32 record = activate(said);
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = withSelector(optimisticReceipt(claim));
        check(accepted(key, claim, proof), "lives");
        bytes memory signatures = signedBy([uint256(0), 1, 2], tee.revocationDigest(record));
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, OPTIMISTIC, signatures);
        check(!accepted(key, claim, proof), "revoked");
        certificate.epoch = EPOCH + 1;
        ITeeProposals.Proposal memory next = propose();
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, EPOCH + 2);
        vm.warp(NOW + 3 days);
        vm.expectPartialRevert(ISignerRegistry.EpochRotated.selector);
        activate(next);
    }

    function test_anotherPolicy() external {
        certificate.policy = keccak256("another policy");
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        vm.expectPartialRevert(ISignerRegistry.PolicyMismatch.selector);
        activate(said);
    }

    function test_p256() external {
        certificate = certificateP256;
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 1 days + 1);
        ISignerRegistry.Key memory admitted = tee.keyOf(activate(said));
        check(admitted.signer == address(0) && admitted.algorithm == 2, "no address");
    }

    // ---- attestors decide ------------------------------------------------------------------------------------------

    function test_attestorsSayYes() external {
        ITeeProposals.Proposal memory said = disputed();
        checkEqual(address(proposals).balance, 18 ether, "both bonds");
        vm.expectEmit();
        emit ProposalEnded(proposals.idOf(said), ACCEPTED);
        decide(said, true);
        check(!isIn(recordIn(OPTIMISTIC)), "not in by that");
        money(14 ether, 0, 4 ether);
        check(isIn(activate(said)), "in");
        money(14 ether, 0, 4 ether);
    }

    function test_attestorsSayNo() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.expectEmit();
        emit ProposalEnded(proposals.idOf(said), REFUSED);
        decide(said, false);
        money(0, 12 ether, 6 ether);
        neverIn(said, REFUSED);
    }

    function test_attestorsSayNothing() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.warp(NOW + 2 days);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooEarly.selector, NOW + 2 days));
        proposals.expire(said, terms);
        vm.warp(NOW + 2 days + 1);
        bytes memory late = votes(said, true);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooLate.selector, NOW + 2 days));
        proposals.decide(said, terms, rules, true, late);
        vm.expectEmit();
        emit ProposalEnded(proposals.idOf(said), LAPSED);
        proposals.expire(said, terms);
        money(7 ether, 5 ether, 6 ether);
        neverIn(said, LAPSED);
    }

    function test_theLastDecision() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.warp(NOW + 2 days);
        decide(said, true);
        check(isIn(activate(said)), "in");
    }

    /// @dev Whatever is tried, now and later.
    function neverIn(ITeeProposals.Proposal memory said, ITeeProposals.Status status) private {
        bytes memory wrong = abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, status);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(wrong);
            activate(said);
            vm.expectRevert(wrong);
            proposals.accept(said, terms);
            vm.expectRevert(wrong);
            proposals.expire(said, terms);
            vm.expectRevert(wrong);
            vm.prank(CHALLENGER);
            proposals.challenge{value: 8 ether}(said, terms);
            if (said.isQuote) {
                attests(true);
                vm.expectRevert(wrong);
                proposals.prove(said, terms, rules, QUOTE);
            } else {
                bytes memory signatures = votes(said, true);
                vm.expectRevert(wrong);
                proposals.decide(said, terms, rules, true, signatures);
            }
            vm.warp(NOW + 10 days);
        }
        check(!isIn(recordIn(OPTIMISTIC)), "never in");
    }

    function test_oneChallengeForAProposal() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.deal(MALLORY, 8 ether);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, CHALLENGED));
        vm.prank(MALLORY);
        proposals.challenge{value: 8 ether}(said, terms);
    }

    function test_onlyAChallengedProposalIsDecided() external {
        ITeeProposals.Proposal memory said = propose();
        bytes memory signatures = votes(said, true);
        bytes memory wrong = abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, OPEN);
        vm.expectRevert(wrong);
        proposals.decide(said, terms, rules, true, signatures);
        vm.expectRevert(wrong);
        proposals.expire(said, terms);
        application.isQuote = true;
        said = propose();
        attests(true);
        vm.expectRevert(wrong);
        proposals.prove(said, terms, rules, QUOTE);
    }

    // ---- the attestation contract decides --------------------------------------------------------------------------

    function test_aQuoteSpeaksForItself() external {
        ITeeProposals.Proposal memory said = quoted();
        attests(true);
        vm.prank(MALLORY);
        proposals.prove(said, terms, rules, QUOTE);
        check(statusOf(said) == ACCEPTED, "accepted");
        money(14 ether, 0, 4 ether);
        check(isIn(activate(said)), "in");
        checkEqual(tee.evidenceOf(recordIn(OPTIMISTIC)), keccak256(QUOTE), "its evidence");
    }

    /// Also long after its block is one of the last 256.
    function test_theNonceWasKept() external {
        ITeeProposals.Proposal memory said = quoted();
        attests(true);
        vm.roll(BLOCK + 10_000);
        vm.warp(NOW + 2 days);
        proposals.prove(said, terms, rules, QUOTE);
        check(isIn(activate(said)), "in");
    }

    function test_aQuoteThatNobodyHasAccepted() external {
        ITeeProposals.Proposal memory said = quoted();
        vm.warp(NOW + 2 days);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooEarly.selector, NOW + 2 days));
        proposals.expire(said, terms);
        attests(true);
        vm.warp(NOW + 2 days + 1);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.TooLate.selector, NOW + 2 days));
        proposals.prove(said, terms, rules, QUOTE);
        proposals.expire(said, terms);
        money(0, 12 ether, 6 ether);
        neverIn(said, REFUSED);
    }

    function test_aFailedCheckDecidesNothing() external {
        ITeeProposals.Proposal memory said = quoted();
        attests(false);
        vm.expectPartialRevert(ISignerRegistry.AttestationFailed.selector);
        proposals.prove(said, terms, rules, QUOTE);
        for (uint256 mood = 1; mood < 5; ++mood) {
            attestation.setMood(MockAttestation.Mood(mood));
            vm.expectRevert();
            proposals.prove{gas: 5_000_000}(said, terms, rules, QUOTE);
        }
        attestation.setMood(MockAttestation.Mood.Answers);
        check(statusOf(said) == CHALLENGED, "still undecided");
        attests(true);
        proposals.prove(said, terms, rules, QUOTE);
    }

    function test_everyForumItsOwn() external {
        ITeeProposals.Proposal memory bundle = disputed();
        attests(true);
        vm.expectRevert(ITeeProposals.OtherForum.selector);
        proposals.prove(bundle, terms, rules, BUNDLE);
        vm.warp(NOW + 1);
        ITeeProposals.Proposal memory quote = quoted();
        bytes memory signatures = votes(quote, true);
        vm.expectRevert(ITeeProposals.OtherForum.selector);
        proposals.decide(quote, terms, rules, true, signatures);
    }

    function test_simulatedQuotes() external {
        vm.chainId(31_337);
        ITeeProposals.Proposal memory said = quoted();
        application.simulated = true;
        attests(true);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.SimulatedMismatch.selector, true));
        proposals.prove(said, terms, rules, QUOTE);
        said = quoted();
        proposals.prove(said, terms, rules, QUOTE);
        check(tee.keyOf(activate(said)).simulated, "as it said");
        certificate.epoch += 1;
        said = quoted();
        application.simulated = false;
        attests(true);
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.SimulatedMismatch.selector, false));
        proposals.prove(said, terms, rules, QUOTE);
    }

    // ---- money -----------------------------------------------------------------------------------------------------

    function test_creditIsPulled() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.expectRevert(ITeeProposals.NothingToWithdraw.selector);
        vm.prank(PROPOSER);
        proposals.withdraw();
        decide(said, true);
        vm.expectEmit();
        emit Withdrawn(PROPOSER, 14 ether);
        vm.prank(PROPOSER);
        proposals.withdraw();
        checkEqual(PROPOSER.balance, WEALTH + 4 ether, "its bond and the reward");
        vm.expectRevert(ITeeProposals.NothingToWithdraw.selector);
        vm.prank(PROPOSER);
        proposals.withdraw();
        checkEqual(address(proposals).balance, 4 ether, "what is burned stays");
    }

    function test_whoTakesNoMoneyHoldsUpNobody() external {
        vm.etch(PROPOSER, hex"5f5ffd");
        ITeeProposals.Proposal memory said = disputed();
        decide(said, true);
        activate(said);
        vm.expectRevert(ITeeProposals.TransferFailed.selector);
        vm.prank(PROPOSER);
        proposals.withdraw();
        checkEqual(proposals.creditOf(PROPOSER), 14 ether, "still there");
    }
}
