// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IEscalation} from "src/interfaces/IEscalation.sol";
import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {IStepVerifier} from "src/interfaces/IStepVerifier.sol";
import {Assertions} from "src/optimistic/Assertions.sol";
import {Disputes} from "src/optimistic/Disputes.sol";

/// @title Bonded claims, and how a false one is refuted
/// @notice See IDisputeGame and docs/dispute.md. Nobody owns this contract and nothing in it can be changed: other rules
/// are another contract.
///   Bonds       credits, what is burned, withdrawing
///   Assertions  terms, the claim, its input, its window, its end
///   Disputes    the list, the descent, the leaf, the step, running out of time
contract DisputeGame is Disputes {
    constructor(IGraphRegistry graphs_, IStepVerifier steps_, IEscalation escalation_)
        Assertions(graphs_, escalation_)
        Disputes(steps_)
    {}
}
