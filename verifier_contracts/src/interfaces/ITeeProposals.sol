// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";

/// @title Keys that come in because nobody objected
/// @notice Anybody proposes a key with a bond, and publishes the evidence in the same transaction. Anybody who disagrees
/// challenges with a bond within the window. A challenged key comes in only if it is then shown to be good. Who shows it
/// follows from what was published:
///   a quote (SGX, TDX): the rules' attestation contract accepts it, and it is what mode OnChain would admit. Whoever can
///   have it accepted and does not, loses.
///   a bundle, any other evidence: the rules' attestors say whether `vml tee verify` and the policy accept it.
/// docs/contracts-tee.md states what holds. Money is in wei, times are seconds of block.timestamp. Little is stored: a
/// proposal is named by the hash of all that it says, and every move about it brings that again.
interface ITeeProposals {
    enum Status {
        None,
        // Can be challenged.
        Open,
        // Waits for a decision.
        Challenged,
        // The key may come in.
        Accepted,
        // Decided against, or a quote that nobody had accepted.
        Refused,
        // The attestors did not decide: the key does not come in.
        Lapsed
    }

    /// @notice The conditions; rules name their hash, keccak256(abi.encode(terms)).
    struct Terms {
        // Seconds in which a proposal can be challenged.
        uint32 window;
        // Seconds from the challenge to the last second of a decision.
        uint32 decision;
        uint96 proposerBond;
        uint96 challengerBond;
        // Of a lost bond, what the other side gets: at most half of either bond. The rest is burned.
        uint96 reward;
        // What each side loses where the attestors do not decide: burned.
        uint96 lapse;
    }

    /// @notice What a proposer says of the evidence.
    struct Application {
        // Of the model's entry for whom the key is proposed.
        address owner;
        // The evidence repeats nonceAt of this block, one of the last 256.
        uint256 blockNumber;
        // As in ISignerRegistry.Finding.
        uint64 collateralEnd;
        bool simulated;
        // The evidence is a quote as the attestation contract takes it; otherwise a file that `vml tee verify` reads.
        bool isQuote;
    }

    struct Proposal {
        address proposer;
        address owner;
        bytes32 rules;
        bytes32 terms;
        // Digest of the key's certificate (KeyCertificate).
        bytes32 certificate;
        // keccak256 of the published bytes.
        bytes32 evidence;
        // What the evidence has to repeat.
        bytes32 nonce;
        uint64 proposedAt;
        uint64 collateralEnd;
        bool simulated;
        bool isQuote;
    }

    /// @notice What changes about a proposal, in one slot.
    struct State {
        address challenger;
        // While open the last second of a challenge, while challenged that of a decision.
        uint64 until;
        Status status;
    }

    /// @notice All that a watcher needs: it verifies `evidence` for this certificate, nonce and policy, as of proposedAt.
    event KeyProposed(
        bytes32 indexed id,
        bytes32 indexed entry,
        bytes32 indexed rulesId,
        Proposal proposal,
        ISignerRegistry.Rules rules,
        Terms terms,
        ISignerRegistry.Certificate certificate,
        bytes evidence
    );
    event ProposalChallenged(bytes32 indexed id, address indexed challenger, uint64 until);
    event ProposalEnded(bytes32 indexed id, Status status);
    event Withdrawn(address indexed who, uint256 amount);

    /// @notice No window, no time for decisions, no bond, or more is paid or burned than is there.
    error TermsRefused();
    error TermsMismatch(bytes32 expected, bytes32 got);
    error RulesMismatch(bytes32 expected, bytes32 got);
    error CertificateMismatch(bytes32 expected, bytes32 got);
    error EvidenceMissing();
    error EvidenceMismatch(bytes32 expected, bytes32 got);
    /// @notice Two quorums of these attestors could decide for and against.
    error NoMajority(uint256 threshold, uint256 attestors);
    /// @notice The same proposal in the same second.
    error AlreadyProposed(bytes32 id);
    error WrongStatus(Status status);
    /// @notice The last second is over.
    error TooLate(uint64 until);
    /// @notice The last second is not over.
    error TooEarly(uint64 until);
    /// @notice A quote is for the attestation contract to decide on, a bundle for the attestors.
    error OtherForum();
    /// @notice The quote is of a simulator, or not, and the proposal says otherwise.
    error SimulatedMismatch(bool simulated);
    error WrongValue(uint256 expected, uint256 got);
    error NothingToWithdraw();
    error TransferFailed();

    /// @notice Proposes a key, with exactly the proposer's bond.
    /// @param evidence the bytes that prove the key, published with the event
    /// @return id what names the proposal
    function propose(
        Application calldata application,
        ISignerRegistry.Rules calldata rules,
        Terms calldata terms,
        ISignerRegistry.Certificate calldata certificate,
        bytes calldata evidence
    ) external payable returns (bytes32 id);

    /// @notice Disagrees, with exactly the challenger's bond, until the window's last second. Once for a proposal.
    function challenge(Proposal calldata proposal, Terms calldata terms) external payable;

    /// @notice Has the challenged quote checked now. Anybody; what fails decides nothing, and can be tried again.
    /// @param quote the very bytes that were published
    function prove(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        bytes calldata quote
    ) external;

    /// @notice Decides on a challenged bundle by the word of attestors. Anybody.
    /// @param signatures of Decision(bytes32 proposal,bool genuine), as in ISignerRegistry.admitByQuorum
    function decide(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        bool genuine,
        bytes calldata signatures
    ) external;

    /// @notice Ends a challenged proposal after its time without a decision: the key does not come in. Anybody.
    function expire(Proposal calldata proposal, Terms calldata terms) external;

    /// @notice Accepts a proposal that nobody challenged within its window, and gives the bond back. Anybody.
    /// @dev activate does it as well; this is for a bond whose key the registry does not take any more.
    function accept(Proposal calldata proposal, Terms calldata terms) external;

    /// @notice Lets the key of an accepted proposal in. Anybody.
    /// @return record what names the key in the registry
    function activate(
        Proposal calldata proposal,
        Terms calldata terms,
        ISignerRegistry.Rules calldata rules,
        ISignerRegistry.Certificate calldata certificate
    ) external returns (bytes32 record);

    /// @notice Sends the caller's credit to the caller.
    function withdraw() external;

    function registry() external view returns (ISignerRegistry);
    function stateOf(bytes32 id) external view returns (State memory state);
    function creditOf(address who) external view returns (uint256);
    /// @notice What nobody gets any more, and stays here.
    function burned() external view returns (uint256);
    function idOf(Proposal calldata proposal) external view returns (bytes32 id);
    /// @notice The digest that attestors sign.
    function decisionDigest(bytes32 id, bool genuine) external view returns (bytes32);
}
