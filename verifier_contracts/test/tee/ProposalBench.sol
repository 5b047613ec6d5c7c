// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {TeeBench} from "test/tee/TeeBench.sol";
import {TeeDigests} from "test/tee/TeeDigests.sol";

/// @title Rules with terms, an owner who accepts mode Optimistic, and two players with money
abstract contract ProposalBench is TeeBench {
    address internal constant PROPOSER = address(0x9209);
    address internal constant CHALLENGER = address(0xc4a1);
    uint256 internal constant WITH_OPTIMISTIC = 0x1e;
    uint256 internal constant WEALTH = 100 ether;
    uint256 internal constant BLOCK = 999;
    bytes internal constant BUNDLE = '{"format":"vml-evidence/1"}';
    bytes internal constant QUOTE = "a quote";
    ISignerRegistry.Mode internal constant OPTIMISTIC = ISignerRegistry.Mode.Optimistic;
    ITeeProposals.Status internal constant OPEN = ITeeProposals.Status.Open;
    ITeeProposals.Status internal constant CHALLENGED = ITeeProposals.Status.Challenged;
    ITeeProposals.Status internal constant ACCEPTED = ITeeProposals.Status.Accepted;
    ITeeProposals.Status internal constant REFUSED = ITeeProposals.Status.Refused;
    ITeeProposals.Status internal constant LAPSED = ITeeProposals.Status.Lapsed;

    ITeeProposals internal proposals;
    TeeDigests internal digests;
    ITeeProposals.Terms internal terms;
    ITeeProposals.Application internal application;

    function setUp() public virtual override {
        super.setUp();
        proposals = tee.proposals();
        digests = new TeeDigests();
        setTerms(ITeeProposals.Terms(1 days, 2 days, 10 ether, 8 ether, 4 ether, 3 ether));
        application = ITeeProposals.Application(ALICE, BLOCK, uint64(NOW + 29 days), false, false);
        enable(ALICE, key, teeSelector, metadata(WITH_OPTIMISTIC, 0));
        vm.deal(PROPOSER, WEALTH);
        vm.deal(CHALLENGER, WEALTH);
    }

    function setTerms(ITeeProposals.Terms memory new_) internal {
        terms = new_;
        rules.terms = keccak256(abi.encode(new_));
    }

    // ---- moves -----------------------------------------------------------------------------------------------------

    function published() internal view returns (bytes memory) {
        return application.isQuote ? QUOTE : BUNDLE;
    }

    /// @dev What is said by a proposal made now.
    function saidNow() internal view returns (ITeeProposals.Proposal memory) {
        return ITeeProposals.Proposal({
            proposer: PROPOSER,
            owner: application.owner,
            rules: tee.rulesId(rules),
            terms: keccak256(abi.encode(terms)),
            certificate: digests.certificateDigest(certificate),
            evidence: keccak256(published()),
            nonce: tee.nonceAt(application.blockNumber),
            proposedAt: uint64(block.timestamp),
            collateralEnd: application.collateralEnd,
            simulated: application.simulated,
            isQuote: application.isQuote
        });
    }

    function propose() internal returns (ITeeProposals.Proposal memory said) {
        said = saidNow();
        vm.prank(PROPOSER);
        bytes32 id = proposals.propose{value: terms.proposerBond}(application, rules, terms, certificate, published());
        checkEqual(id, proposals.idOf(said), "the hash of what it says");
    }

    function challenge(ITeeProposals.Proposal memory said) internal {
        vm.prank(CHALLENGER);
        proposals.challenge{value: terms.challengerBond}(said, terms);
    }

    function disputed() internal returns (ITeeProposals.Proposal memory said) {
        said = propose();
        challenge(said);
    }

    function votes(ITeeProposals.Proposal memory said, bool genuine) internal view returns (bytes memory) {
        return signedBy([uint256(0), 2, 4], proposals.decisionDigest(proposals.idOf(said), genuine));
    }

    function decide(ITeeProposals.Proposal memory said, bool genuine) internal {
        proposals.decide(said, terms, rules, genuine, votes(said, genuine));
    }

    function activate(ITeeProposals.Proposal memory said) internal returns (bytes32) {
        return proposals.activate(said, terms, rules, certificate);
    }

    /// @dev A proposal is refused with this error, whatever its arguments.
    function proposalRefused(bytes4 why) internal {
        vm.expectPartialRevert(why);
        vm.prank(PROPOSER);
        proposals.propose{value: terms.proposerBond}(application, rules, terms, certificate, published());
    }

    // ---- quotes ----------------------------------------------------------------------------------------------------

    /// @dev The attestation contract takes the quote, as one of an enclave with this certificate and nonce.
    function attests(bool success) internal {
        attestation.set(success, outputOf(tee.nonceAt(BLOCK)));
    }

    /// @dev An SGX quote as the attestation contract puts it out: see DcapOutput.
    function outputOf(bytes32 nonce) internal view returns (bytes memory) {
        bytes6 platform = application.simulated ? bytes6(0xff53494d554c) : bytes6(0x00806f050000);
        return bytes.concat(
            hex"0003000100",
            platform,
            new bytes(48),
            // Flags: INIT and MODE64BIT.
            bytes16(hex"05"),
            MEASUREMENT,
            new bytes(224),
            digests.certificateDigest(certificate),
            nonce
        );
    }

    function quoted() internal returns (ITeeProposals.Proposal memory said) {
        application.isQuote = true;
        return disputed();
    }

    // ---- what is there ---------------------------------------------------------------------------------------------

    function statusOf(ITeeProposals.Proposal memory said) internal view returns (ITeeProposals.Status) {
        return proposals.stateOf(proposals.idOf(said)).status;
    }

    function isIn(bytes32 record) internal view returns (bool) {
        return tee.keyOf(record).mode == OPTIMISTIC;
    }

    function money(uint256 proposer, uint256 challenger, uint256 burned) internal view {
        checkEqual(proposals.creditOf(PROPOSER), proposer, "the proposer's credit");
        checkEqual(proposals.creditOf(CHALLENGER), challenger, "the challenger's credit");
        checkEqual(proposals.burned(), burned, "burned");
        checkEqual(address(proposals).balance, proposer + challenger + burned, "and no more");
    }

    function optimisticReceipt(VmlClaim.Claim memory claim) internal view returns (bytes memory) {
        return bytes.concat(head(1, OPTIMISTIC, keyId, 1), signedBy(ENCLAVE, digestOf(claim, keyId, 1)));
    }
}
