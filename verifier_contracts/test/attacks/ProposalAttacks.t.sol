// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDcapAttestation} from "src/interfaces/IDcapAttestation.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {DcapOutput} from "src/tee/DcapOutput.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {ProposalBench} from "test/tee/ProposalBench.sol";

/// @title An attestation contract that makes a move of its own while it is asked, and then says yes
contract MovingAttestation is IDcapAttestation {
    bytes private output;
    address private target;
    bytes private move;
    bytes public answer;

    function set(bytes calldata output_, address target_, bytes calldata move_) external {
        (output, target, move) = (output_, target_, move_);
    }

    function verifyAndAttestOnChain(bytes calldata) external payable returns (bool, bytes memory) {
        bytes memory call = move;
        delete move;
        if (call.length != 0) (, answer) = target.call(call);
        return (true, output);
    }

    function verifyAndAttestWithZKProof(bytes calldata, uint8, bytes calldata)
        external
        payable
        returns (bool, bytes memory)
    {
        return (false, "");
    }
}

/// @title A proposer that withdraws again while it is paid
contract GreedyProposer {
    ITeeProposals private proposals;
    bytes public refusal;

    function propose(ITeeProposals proposals_, bytes calldata call) external payable {
        proposals = proposals_;
        (bool success,) = address(proposals_).call{value: msg.value}(call);
        require(success, "proposed");
    }

    function withdraw() external {
        proposals.withdraw();
    }

    receive() external payable {
        try proposals.withdraw() {}
        catch (bytes memory why) {
            refusal = why;
        }
    }
}

/// @title Keys that must not come in, and bonds that nobody must get
contract ProposalAttacks is ProposalBench {
    // ---- into the registry past the proposals ----------------------------------------------------------------------

    function test_onlyProposalsBringKeys() external {
        address[4] memory callers = [MALLORY, ALICE, address(tee), address(this)];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ISignerRegistry.NotProposals.selector, callers[i]));
            vm.prank(callers[i]);
            tee.admitProposed(ALICE, rules, certificate, keccak256(BUNDLE), type(uint64).max, uint64(NOW), false);
        }
        TeeVerifier other = new TeeVerifier();
        check(other.proposals() != proposals, "each registry its own");
        check(address(proposals.registry()) == address(tee), "which knows it");
        address others = address(other.proposals());
        vm.expectRevert(abi.encodeWithSelector(ISignerRegistry.NotProposals.selector, others));
        vm.prank(others);
        tee.admitProposed(ALICE, rules, certificate, keccak256(BUNDLE), type(uint64).max, uint64(NOW), false);
    }

    /// Terms that the owner's rules do not name are terms of other rules, whose keys are nothing to the owner.
    function test_softerTermsAreOthersRules() external {
        bytes32 named = tee.rulesId(rules);
        setTerms(ITeeProposals.Terms(1, 1, 1, 1, 0, 0));
        ITeeProposals.Proposal memory said = propose();
        vm.warp(NOW + 2);
        activate(said);
        bytes memory registered = abi.encode(ALICE, named, WITH_OPTIMISTIC, uint64(0));
        bytes memory proof = optimisticReceipt(claimOf("output"));
        vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
        tee.verify(claimOf("output"), registered, proof);
    }

    // ---- every field of a proposal is in its name ------------------------------------------------------------------

    function altered(ITeeProposals.Proposal memory said, uint256 which, uint256 bit)
        private
        pure
        returns (ITeeProposals.Proposal memory)
    {
        bytes32 flip = bytes32(1 << bound(bit, 0, 255));
        uint64 small = uint64(1 << bound(bit, 0, 63));
        address other = address(uint160(1 << bound(bit, 0, 159)));
        if (which == 0) said.proposer = address(uint160(said.proposer) ^ uint160(other));
        if (which == 1) said.owner = address(uint160(said.owner) ^ uint160(other));
        if (which == 2) said.rules ^= flip;
        if (which == 3) said.terms ^= flip;
        if (which == 4) said.certificate ^= flip;
        if (which == 5) said.evidence ^= flip;
        if (which == 6) said.nonce ^= flip;
        if (which == 7) said.proposedAt ^= small;
        if (which == 8) said.collateralEnd ^= small;
        if (which == 9) said.simulated = !said.simulated;
        if (which == 10) said.isQuote = !said.isQuote;
        return said;
    }

    function testFuzz_everyFieldIsInTheName(uint256 which, uint256 bit) external {
        ITeeProposals.Proposal memory said = propose();
        bytes32 id = proposals.idOf(said);
        said = altered(said, bound(which, 0, 10), bit);
        check(proposals.idOf(said) != id, "another name");
        bytes memory unknown = abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, ITeeProposals.Status.None);
        vm.expectRevert(unknown);
        vm.prank(CHALLENGER);
        proposals.challenge{value: 8 ether}(said, terms);
        vm.warp(NOW + 1 days + 1);
        vm.expectRevert(unknown);
        proposals.accept(said, terms);
        vm.expectRevert();
        activate(said);
        checkEqual(address(proposals).balance, 10 ether, "the bond is where it was");
    }

    function test_otherTermsRulesOrCertificates() external {
        ITeeProposals.Proposal memory said = propose();
        ITeeProposals.Terms memory good = terms;
        terms.challengerBond = 1;
        vm.expectPartialRevert(ITeeProposals.TermsMismatch.selector);
        vm.prank(CHALLENGER);
        proposals.challenge{value: 1}(said, terms);
        vm.warp(NOW + 1 days + 1);
        terms.proposerBond = 20 ether;
        vm.expectPartialRevert(ITeeProposals.TermsMismatch.selector);
        proposals.accept(said, terms);
        vm.expectPartialRevert(ITeeProposals.TermsMismatch.selector);
        activate(said);
        terms = good;
        certificate.x ^= bytes32(uint256(1));
        vm.expectPartialRevert(ITeeProposals.CertificateMismatch.selector);
        activate(said);
        certificate.x ^= bytes32(uint256(1));
        rules.lifetime += 1;
        vm.expectPartialRevert(ITeeProposals.RulesMismatch.selector);
        activate(said);
        rules.lifetime -= 1;
        activate(said);
    }

    function test_otherRulesInADispute() external {
        ITeeProposals.Proposal memory said = disputed();
        rules.attestors[0] = vm.addr(1);
        bytes memory signatures = votes(said, true);
        vm.expectPartialRevert(ITeeProposals.RulesMismatch.selector);
        proposals.decide(said, terms, rules, true, signatures);
        rules.attestors[0] = vm.addr(attestors[0]);
        vm.warp(NOW + 1);
        said = quoted();
        rules.measurements.push(keccak256("another"));
        attests(true);
        vm.expectPartialRevert(ITeeProposals.RulesMismatch.selector);
        proposals.prove(said, terms, rules, QUOTE);
        rules.measurements.pop();
        vm.expectPartialRevert(ITeeProposals.EvidenceMismatch.selector);
        proposals.prove(said, terms, rules, "another quote");
    }

    // ---- decisions of something else -------------------------------------------------------------------------------

    function notDecided(ITeeProposals.Proposal memory said, bool genuine, bytes memory signatures) private {
        vm.expectRevert();
        proposals.decide(said, terms, rules, genuine, signatures);
        check(statusOf(said) == CHALLENGED, "still undecided");
    }

    function test_decisionsAreOfOneProposal() external {
        ITeeProposals.Proposal memory first = disputed();
        vm.warp(NOW + 1);
        ITeeProposals.Proposal memory second = disputed();
        notDecided(second, true, votes(first, true));
        notDecided(second, false, votes(first, false));
        decide(second, true);
    }

    function test_decisionsAreOneWay() external {
        ITeeProposals.Proposal memory said = disputed();
        notDecided(said, true, votes(said, false));
        notDecided(said, false, votes(said, true));
    }

    /// The same proposal in another registry has another name, as has its contract.
    function test_decisionsAreOfOneRegistry() external {
        ITeeProposals.Proposal memory said = disputed();
        (TeeVerifier here, ITeeProposals its) = (tee, proposals);
        bytes memory signatures = votes(said, true);
        tee = new TeeVerifier();
        proposals = tee.proposals();
        ITeeProposals.Proposal memory twin = disputed();
        check(twin.nonce != said.nonce, "evidence is for one registry");
        check(its.idOf(said) != proposals.idOf(said), "and so is a name");
        check(its.decisionDigest(0, true) != proposals.decisionDigest(0, true), "and so is a decision");
        notDecided(twin, true, signatures);
        (tee, proposals) = (here, its);
        decide(said, true);
    }

    /// Also where a chain splits, and the same proposal is on both sides.
    function test_decisionsAreOfOneChain() external {
        ITeeProposals.Proposal memory said = disputed();
        bytes memory signatures = votes(said, true);
        vm.chainId(10);
        notDecided(said, true, signatures);
        decide(said, false);
        money(0, 12 ether, 6 ether);
    }

    function test_admissionsAreNoDecisions() external {
        ITeeProposals.Proposal memory said = disputed();
        bytes32 id = proposals.idOf(said);
        finding.evidence = keccak256(BUNDLE);
        notDecided(said, true, quorum());
        notDecided(said, true, signedBy([uint256(0), 2, 4], tee.revocationDigest(id)));
        notDecided(said, false, signedBy([uint256(0), 2, 4], tee.revocationDigest(recordIn(OPTIMISTIC))));
        // Nor the other way round.
        bytes memory decisions = votes(said, true);
        vm.expectRevert();
        tee.admitByQuorum(ALICE, rules, certificate, finding, decisions);
    }

    function test_quorumMinusOne() external {
        ITeeProposals.Proposal memory said = disputed();
        bytes32 digest = proposals.decisionDigest(proposals.idOf(said), true);
        notDecided(said, true, bytes.concat(signedBy(attestors[0], digest), signedBy(attestors[1], digest)));
        notDecided(said, true, signedBy([uint256(1), 1, 2], digest));
        notDecided(said, true, signedBy([uint256(2), 1, 0], digest));
        notDecided(said, true, "");
        attestors[1] = 1;
        notDecided(said, true, signedBy([uint256(0), 1, 2], digest));
    }

    // ---- quotes of something else ----------------------------------------------------------------------------------

    function test_quotesThatModeOnChainWouldRefuse() external {
        ITeeProposals.Proposal memory said = quoted();
        attestation.set(true, outputOf(keccak256("another nonce")));
        vm.expectPartialRevert(DcapOutput.NonceMismatch.selector);
        proposals.prove(said, terms, rules, QUOTE);
        certificate.epoch += 1;
        attests(true);
        vm.expectPartialRevert(DcapOutput.CertificateMismatch.selector);
        proposals.prove(said, terms, rules, QUOTE);
        certificate.epoch -= 1;
        bytes memory debug = outputOf(tee.nonceAt(BLOCK));
        debug[11 + 48] = 0x07;
        attestation.set(true, debug);
        vm.expectPartialRevert(DcapOutput.DebugEnabled.selector);
        proposals.prove(said, terms, rules, QUOTE);
    }

    /// @dev A challenged quote under rules whose attestation contract makes this move when it is asked.
    function moving() private returns (MovingAttestation hostile, ITeeProposals.Proposal memory said) {
        hostile = new MovingAttestation();
        rules.attestation = address(hostile);
        said = quoted();
    }

    function test_movesDuringACheck() external {
        (MovingAttestation hostile, ITeeProposals.Proposal memory said) = moving();
        bytes memory output = outputOf(tee.nonceAt(BLOCK));
        // The same move again: the inner one counts, and the outer one finds it decided.
        hostile.set(output, address(proposals), abi.encodeCall(proposals.prove, (said, terms, rules, QUOTE)));
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, ACCEPTED));
        proposals.prove(said, terms, rules, QUOTE);
        check(statusOf(said) == CHALLENGED, "nothing happened");
        // Ending it, and letting the key in, are refused from within as from without.
        hostile.set(output, address(proposals), abi.encodeCall(proposals.expire, (said, terms)));
        proposals.prove(said, terms, rules, QUOTE);
        checkEqual(bytes32(bytes4(hostile.answer())), bytes32(ITeeProposals.TooEarly.selector), "too early");
        money(14 ether, 0, 4 ether);
    }

    function test_lettingInDuringACheck() external {
        (MovingAttestation hostile, ITeeProposals.Proposal memory said) = moving();
        bytes memory call = abi.encodeCall(proposals.activate, (said, terms, rules, certificate));
        hostile.set(outputOf(tee.nonceAt(BLOCK)), address(proposals), call);
        proposals.prove(said, terms, rules, QUOTE);
        checkEqual(bytes32(bytes4(hostile.answer())), bytes32(ITeeProposals.WrongStatus.selector), "undecided");
        check(!isIn(recordIn(OPTIMISTIC)), "not in");
    }

    // ---- money -----------------------------------------------------------------------------------------------------

    function test_nobodyWithdrawsTwice() external {
        ITeeProposals.Proposal memory said = propose();
        GreedyProposer greedy = new GreedyProposer();
        said.proposer = address(greedy);
        bytes memory call = abi.encodeCall(proposals.propose, (application, rules, terms, certificate, BUNDLE));
        vm.deal(address(this), 10 ether);
        greedy.propose{value: 10 ether}(proposals, call);
        vm.warp(NOW + 1 days + 1);
        proposals.accept(said, terms);
        greedy.withdraw();
        checkEqual(address(greedy).balance, 10 ether, "its bond");
        checkEqual(bytes32(bytes4(greedy.refusal())), bytes32(ITeeProposals.NothingToWithdraw.selector), "once");
        checkEqual(address(proposals).balance, 10 ether, "the other's is there");
    }

    /// Who challenges himself through another gets no key in, and the two together lose.
    function test_challengingOneself() external {
        ITeeProposals.Proposal memory said = disputed();
        vm.warp(NOW + 2 days + 1);
        proposals.expire(said, terms);
        uint256 left = proposals.creditOf(PROPOSER) + proposals.creditOf(CHALLENGER);
        checkEqual(left, 18 ether - 2 * terms.lapse, "both paid");
        vm.expectRevert(abi.encodeWithSelector(ITeeProposals.WrongStatus.selector, LAPSED));
        activate(said);
    }

    /// However it ends, the two sides together get no more than they gave, and lose at least half the lesser bond where
    /// somebody was wrong.
    function testFuzz_nobodyProfitsFromBoth(uint96 bond, uint96 other, uint96 reward, uint96 lapse, uint256 how)
        external
    {
        bond = uint96(bound(bond, 1, WEALTH));
        other = uint96(bound(other, 1, WEALTH));
        uint256 least = bond < other ? bond : other;
        reward = uint96(bound(reward, 0, least / 2));
        lapse = uint96(bound(lapse, 0, least));
        setTerms(ITeeProposals.Terms(1 days, 2 days, bond, other, reward, lapse));
        how = bound(how, 0, 3);
        ITeeProposals.Proposal memory said = how == 3 ? quoted() : disputed();
        if (how == 0) decide(said, true);
        if (how == 1) decide(said, false);
        if (how > 1) {
            vm.warp(NOW + 2 days + 1);
            proposals.expire(said, terms);
        }
        (uint256 one, uint256 two) = (proposals.creditOf(PROPOSER), proposals.creditOf(CHALLENGER));
        money(one, two, uint256(bond) + other - one - two);
        if (how == 0) check(two == 0 && one == uint256(bond) + reward, "the challenger loses");
        if (how == 1 || how == 3) check(one == 0 && two == uint256(other) + reward, "the proposer loses");
        if (how == 2) check(one == bond - lapse && two == other - lapse, "both pay for the silence");
        if (how != 2) check(2 * proposals.burned() >= least, "at least half is burned");
    }
}
