// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {ConsumerCall} from "src/libraries/ConsumerCall.sol";
import {ContextHere} from "src/libraries/ContextHere.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Pays for an inference when it is proved, and gives the money back when it is not
/// @notice A requester puts money down for the output of a model on an input. Whoever proves one before the deadline is
/// paid, and the requester's consumer is told; afterwards the money goes back. The proof must be of a claim whose context
/// is this chain, this contract, this request and this payee: no other proof pays, and this one pays nobody else.
/// @dev A request is its terms: its id is their hash, the contract stores nothing else of them, and whoever settles brings
/// them. Nothing can be changed or cancelled before the deadline, so a prover knows what he works for. Money is only ever
/// credited, and fetched by whom it belongs to.
contract PayOnProof {
    /// @param requester who pays and is refunded
    /// @param entry whose proofs are believed: a key of the router's registry, or the id of a policy
    /// @param entryIsPolicy which of the two
    /// @param input the claim's `input`
    /// @param payee who alone is paid; zero for whoever proves first
    /// @param amount in wei
    /// @param deadline the last second at which a proof is paid for
    /// @param consumer an IVmlConsumer that is told of the output; zero for none
    /// @param consumerGas what it is given to spend; whoever settles pays for it
    /// @param salt makes requests with the same terms differ
    /// @param userData handed to the consumer
    struct Terms {
        address requester;
        bytes32 entry;
        bool entryIsPolicy;
        bytes32 input;
        address payee;
        uint256 amount;
        uint64 deadline;
        address consumer;
        uint32 consumerGas;
        bytes32 salt;
        bytes userData;
    }

    enum State {
        Unknown,
        Open,
        Paid,
        Refunded
    }

    /// @notice Bytes of userData in terms. Whoever settles brings them: a contract could open with more than fits into
    /// anybody's transaction, and have provers work in vain.
    uint256 public constant MAX_USER_DATA = 4096;

    IVmlRouter public immutable router;

    mapping(bytes32 id => State) public stateOf;
    /// @notice What can be withdrawn.
    mapping(address account => uint256) public creditOf;
    /// @notice The sum of what is open and what can be withdrawn. The balance is never less; it is more only where ether
    /// was forced upon the contract.
    uint256 public owed;

    event Opened(bytes32 indexed id, address indexed requester, address indexed payee, Terms terms);
    event Paid(bytes32 indexed id, address indexed payee, bytes32 indexed digest, bytes4 selector, bytes32 output);
    /// @param told whether the consumer took note; the payment does not depend on it
    event ConsumerCalled(bytes32 indexed id, address indexed consumer, bool told);
    event Refunded(bytes32 indexed id, address indexed requester);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    error NotRequester(address requester, address caller);
    error WrongAmount(uint256 expected, uint256 sent);
    error DeadlinePassed(uint64 deadline);
    error DeadlineNotPassed(uint64 deadline);
    error TooMuchGasPromised(uint256 promised, uint256 most);
    error TooMuchUserData(uint256 length, uint256 most);
    error RequestExists(bytes32 id);
    error NotOpen(bytes32 id, State state);
    error WrongPayee(address expected, address payee);
    error WrongInput(bytes32 expected, bytes32 input);
    /// @notice The proof is for another use: another chain, contract, request or payee.
    error WrongContext(bytes32 expected, bytes32 context);
    error NothingToWithdraw(address account);
    error PaymentFailed(address to);

    constructor(IVmlRouter router_) {
        router = router_;
    }

    /// @notice The name of a request, and `requestId` of its context.
    function idOf(Terms calldata terms) public pure returns (bytes32) {
        return keccak256(abi.encode(terms));
    }

    /// @notice The context under which `payee` must prove.
    function contextOf(Terms calldata terms, address payee) public view returns (bytes32) {
        return ContextHere.commitment(terms.requester, idOf(terms), payee, terms.deadline);
    }

    /// @notice Puts the money down. Terms are used once: to ask again, change the salt.
    function open(Terms calldata terms) external payable returns (bytes32 id) {
        if (msg.sender != terms.requester) revert NotRequester(terms.requester, msg.sender);
        if (msg.value != terms.amount || msg.value == 0) revert WrongAmount(terms.amount, msg.value);
        if (terms.deadline < block.timestamp) revert DeadlinePassed(terms.deadline);
        if (terms.consumerGas > ConsumerCall.MAX_GAS) {
            revert TooMuchGasPromised(terms.consumerGas, ConsumerCall.MAX_GAS);
        }
        if (terms.userData.length > MAX_USER_DATA) revert TooMuchUserData(terms.userData.length, MAX_USER_DATA);
        // A policy for a key, or either that does not exist, would be known only when somebody has proved in vain.
        if (terms.entryIsPolicy) router.policy(terms.entry);
        else router.registry().modelOf(terms.entry);

        id = idOf(terms);
        if (stateOf[id] != State.Unknown) revert RequestExists(id);
        stateOf[id] = State.Open;
        owed += msg.value;
        emit Opened(id, terms.requester, terms.payee, terms);
    }

    /// @notice Credits `payee` for a proof that a model of the request's entry, on its input, gave claim.output. Anybody
    /// may send it: the claim's context says who is paid.
    function settle(Terms calldata terms, address payee, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        returns (bytes4 selector)
    {
        bytes32 id = _requireOpen(terms);
        if (block.timestamp > terms.deadline) revert DeadlinePassed(terms.deadline);
        if (payee == address(0) || (terms.payee != address(0) && payee != terms.payee)) {
            revert WrongPayee(terms.payee, payee);
        }
        if (claim.input != terms.input) revert WrongInput(terms.input, claim.input);
        bytes32 context = contextOf(terms, payee);
        if (claim.context != context) revert WrongContext(context, claim.context);
        // Both revert unless the claim is proved, finally; and both are staticcalls, so nothing re-enters here.
        selector = terms.entryIsPolicy
            ? router.verifyWithPolicy(terms.entry, claim, proof)
            : router.verifyEntry(terms.entry, claim, proof);

        stateOf[id] = State.Paid;
        creditOf[payee] += terms.amount;
        emit Paid(id, payee, VmlClaim.digest(claim), selector, claim.output);
        if (terms.consumer != address(0)) _tell(id, terms, claim, selector);
    }

    /// @notice Credits the requester when nobody proved in time. Anybody may.
    function refund(Terms calldata terms) external {
        bytes32 id = _requireOpen(terms);
        if (block.timestamp <= terms.deadline) revert DeadlineNotPassed(terms.deadline);
        stateOf[id] = State.Refunded;
        creditOf[terms.requester] += terms.amount;
        emit Refunded(id, terms.requester);
    }

    /// @notice Sends the caller's credit, all of it.
    function withdraw(address payable to) external {
        uint256 amount = creditOf[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        creditOf[msg.sender] = 0;
        owed -= amount;
        emit Withdrawn(msg.sender, to, amount);
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert PaymentFailed(to);
    }

    function _requireOpen(Terms calldata terms) private view returns (bytes32 id) {
        id = idOf(terms);
        State state = stateOf[id];
        if (state != State.Open) revert NotOpen(id, state);
    }

    /// @dev Last, when all is settled: the consumer may revert, burn its gas or call back.
    function _tell(bytes32 id, Terms calldata terms, VmlClaim.Claim calldata claim, bytes4 selector) private {
        bool told = ConsumerCall.notify(
            terms.consumer, terms.consumerGas, claim, IVmlRouter.Status.Accepted, selector, terms.userData
        );
        emit ConsumerCalled(id, terms.consumer, told);
    }
}
