// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Bonded claims on exact models, and how a false one is refuted
/// @notice docs/dispute.md states the rules and proves what holds; vml/backends/optimistic/game.py is the same game in
/// Python. Little is stored: an assertion is named by the hash of all that it says, and every move about it brings that
/// again. What players need to go on is in the events.
/// Money is in wei, times are seconds of block.timestamp.
interface IDisputeGame {
    enum Status {
        None,
        Open,
        Final,
        Slashed,
        Void
    }

    enum Result {
        None,
        Open,
        Won,
        Lost,
        Moot
    }

    /// @dev Why a bond was lost.
    enum Reason {
        WrongElement,
        OutOfTime,
        InputWithheld,
        ListInconsistent
    }

    /// @param window how long disputes can be opened
    /// @param asserterClock, challengerClock each side's time in one dispute, all its moves together
    /// @param extension a side to move has at least this long
    /// @param slashReward of a slashed bond, what the winner gets: at most half
    /// @param defenceReward of a lost challenger's bond, what the asserter gets: at most half
    /// @param requestFee of the bond of who requests the input, what the asserter gets for publishing it
    /// @param escalatedWindow the window that is left once a stronger proof of the same claim was shown
    /// @param escalation the policy for such proofs (IEscalation); zero for none
    struct Terms {
        uint32 window;
        uint32 asserterClock;
        uint32 challengerClock;
        uint32 extension;
        uint128 asserterBond;
        uint128 challengerBond;
        uint128 slashReward;
        uint128 defenceReward;
        uint96 requestFee;
        uint32 escalatedWindow;
        bytes32 escalation;
    }

    /// @param terms digest of the terms, offered before
    /// @param trace commitment to all operator roots where the trace is published, else zero
    struct Assertion {
        VmlClaim.Claim claim;
        address asserter;
        bytes32 terms;
        bytes32 trace;
        uint256 nonce;
    }

    /// @notice A node of the tree over one operator's output: height 0 is a leaf.
    struct Position {
        uint32 operator;
        uint8 height;
        uint40 index;
    }

    /// @notice The tensor root of an operator, with its siblings in the tree over the list.
    struct Root {
        bytes32 root;
        bytes32[] path;
    }

    /// @notice Everything that shows one wrong element of a published or revealed list.
    /// @param leaf number of a leaf of its output, with its `data` and its siblings
    /// @param operands roots of what the step reads, one for each input of the operator; a zero root where not read
    /// @param proof ABI encoding of OneStep.Proof; empty for an input
    struct Fraud {
        uint32 operator;
        Root root;
        uint40 leaf;
        bytes data;
        bytes32[] path;
        uint64 element;
        Root[] operands;
        bytes proof;
    }

    /// @param rootsAt when the list was revealed; zero if not
    /// @param requestedAt when the input was requested, while the request is open
    struct Record {
        uint40 openedAt;
        uint40 closesAt;
        uint40 rootsAt;
        uint40 requestedAt;
        uint32 openDisputes;
        Status status;
        bool inputPublic;
        bool contradicted;
        bool escalated;
    }

    /// @param asked whether an operator has been picked: the position (operator, height, index) and `digest` mean something
    /// @param digest what the asserter has to show the preimage of; at the top of a tree the tensor root
    struct Dispute {
        bytes32 assertion;
        address challenger;
        uint40 since;
        Result result;
        bool asked;
        uint40 asserterLeft;
        uint40 challengerLeft;
        uint32 operator;
        uint8 height;
        uint40 index;
        bytes32 digest;
    }

    event TermsOffered(bytes32 indexed digest, Terms terms);
    event Asserted(bytes32 indexed id, bytes32 indexed model, address indexed asserter, Assertion assertion);
    event InputPublished(bytes32 indexed model, bytes32 indexed input, bytes[] data);
    event InputRequested(bytes32 indexed id, address indexed requester);
    event InputRevealed(bytes32 indexed id, uint40 closesAt);
    event Escalated(bytes32 indexed id, bytes4 indexed selector, uint40 closesAt);
    event Disputed(bytes32 indexed id, bytes32 indexed dispute, address indexed challenger, bytes32 salt);
    event ListRevealed(bytes32 indexed id, bytes32[] roots);
    event Asked(bytes32 indexed id, bytes32 indexed dispute, Position position, bytes32 digest);
    event NodeRevealed(bytes32 indexed id, Position position, bytes32[] children);
    event LeafRevealed(bytes32 indexed id, Position position, bytes data);
    /// @param dispute in which; zero if in none
    event Slashed(bytes32 indexed id, bytes32 indexed dispute, address indexed winner, Reason reason);
    event DisputeLost(bytes32 indexed id, bytes32 indexed dispute);
    event DisputeMoot(bytes32 indexed id, bytes32 indexed dispute);
    event Compared(bytes32 indexed id, bytes32 next, bool contradicted);
    event Settled(bytes32 indexed id, Status status);
    event Withdrawn(address indexed who, uint256 amount);

    error BadTerms();
    error WrongValue(uint256 expected, uint256 got);
    error TermsUnknown(bytes32 terms);
    error AssertionExists(bytes32 id);
    error AssertionUnknown(bytes32 id);
    error AssertionDecided(bytes32 id, Status status);
    error AssertionStands(bytes32 id, Status status);
    error DisputeExists(bytes32 dispute);
    error DisputeUnknown(bytes32 dispute);
    error DisputeDecided(bytes32 dispute, Result result);
    error DisputesOpen(uint256 count);
    error WindowClosed(uint256 at);
    error WindowOpen(uint256 until);
    error NotTheAsserter(address asserter);
    error NotTheChallenger(address challenger);
    error InputMismatch(bytes32 expected, bytes32 got);
    error InputKnown();
    error InputRequestedAlready(uint256 at);
    error InputNotRequested();
    error InputPending(uint256 until);
    error ListKnown();
    error ListMismatch(bytes32 expected, bytes32 got);
    error ListInconsistent(IGraphRegistry.ListFault fault, uint256 node);
    error ListConsistent();
    error TraceNotPublished();
    error NotTheChallengersTurn(uint256 until);
    error AnotherPosition();
    error OperatorGiven(uint256 operator);
    error NodeKnown();
    error NodeMismatch(bytes32 expected, bytes32 got);
    error ChildrenMalformed(uint256 expected);
    error PaddingNotEmpty(uint256 child);
    error LeafMalformed(uint256 expected, uint256 got);
    error ChildOutside(uint256 child);
    error ChildIsPadding(uint256 child);
    error NotAtALeaf();
    error AtALeaf();
    error ElementOutside(uint256 element);
    error OperandCount(uint256 expected, uint256 got);
    error StepAgrees(int256 value);
    error ClockRunning(uint256 until);
    error ClockExpired(uint256 until);
    error RivalMissing(bytes32 rival);
    error RivalUndecided(bytes32 rival);
    error NotEscalating();
    error NothingToWithdraw();
    error TransferFailed();

    // ---- terms and assertions --------------------------------------------------------------------------------------

    function graphs() external view returns (IGraphRegistry);

    /// @notice Anybody offers any terms that burn at least half of a lost bond. Whether they suit a model and a chain is
    /// for whoever accepts a final assertion to say: by their digest.
    function offerTerms(Terms calldata terms) external returns (bytes32 digest);
    function termsOf(bytes32 digest) external view returns (Terms memory);

    /// @notice The name of an assertion here: hash of chain, contract, version and all that it says.
    function idOf(Assertion calldata assertion) external view returns (bytes32 id);

    /// @notice Claims an output, with exactly the asserter's bond. The sender is the asserter.
    /// @param input tensor bytes, one for each input; none leaves them to be requested, unless they are published
    function assertClaim(Assertion calldata assertion, bytes[] calldata input) external payable returns (bytes32 id);

    /// @notice Publishes an input before anybody claims anything about it: for whoever asks for an inference.
    function storeInput(bytes32 model, bytes[] calldata data) external returns (bytes32 input);
    function isPublished(bytes32 model, bytes32 input) external view returns (bool);

    function requestInput(Assertion calldata assertion) external payable;
    function revealInput(Assertion calldata assertion, bytes[] calldata input) external;
    function claimInputTimeout(Assertion calldata assertion) external;

    /// @notice Shows a stronger proof of the same claim, under the policy of the terms: the window shortens.
    function escalate(Assertion calldata assertion, bytes calldata proof) external;

    /// @notice Ends an assertion whose window has closed and about which nothing is open.
    /// @param limit of assertions for the same question to go through in this call
    /// @param rivals those that must be compared, newest first
    function settle(Assertion calldata assertion, uint256 limit, Assertion[] calldata rivals) external;

    // ---- disputes --------------------------------------------------------------------------------------------------

    function challenge(Assertion calldata assertion, bytes32 salt) external payable returns (bytes32 dispute);
    function revealList(Assertion calldata assertion, bytes32[] calldata roots) external;
    function pickOperator(Assertion calldata assertion, bytes32 dispute, uint32 operator, Root calldata root) external;
    function revealNode(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        bytes32[] calldata children
    ) external;
    function pickChild(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        uint8 child,
        bytes32 digest,
        bytes32[] calldata path
    ) external;
    function revealLeaf(Assertion calldata assertion, bytes32 dispute, Position calldata position, bytes calldata data)
        external;
    function proveStep(
        Assertion calldata assertion,
        bytes32 dispute,
        Position calldata position,
        bytes calldata data,
        uint64 element,
        Root[] calldata operands,
        bytes calldata proof
    ) external;
    function proveFraud(Assertion calldata assertion, Fraud calldata fraud) external;
    function proveList(Assertion calldata assertion, bytes32[] calldata roots) external;
    function claimTimeout(Assertion calldata assertion, bytes32 dispute) external;
    function closeMoot(Assertion calldata assertion, bytes32 dispute) external;

    // ---- money and views -------------------------------------------------------------------------------------------

    function withdraw() external;
    function creditOf(address who) external view returns (uint256);
    function burned() external view returns (uint256);
    function recordOf(bytes32 id) external view returns (Record memory);
    function listOf(bytes32 id) external view returns (bytes32);
    function requesterOf(bytes32 id) external view returns (address);
    /// @param question keccak256(0x23 || model || input || context || terms)
    function latestOf(bytes32 question) external view returns (bytes32 id);
    function previousOf(bytes32 id) external view returns (bytes32 previous);
    function disputeOf(bytes32 dispute) external view returns (Dispute memory);

    /// @notice When the asserter showed what is at a position; zero if it did not.
    function revealedAt(bytes32 id, Position calldata position) external view returns (uint40);
}
