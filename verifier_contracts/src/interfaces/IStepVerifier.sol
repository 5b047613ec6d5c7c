// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";

/// @title One wrong element of one operator, behind an address
/// @notice Its code and the game's together would be larger than a contract may be (EIP-170). It holds nothing and
/// decides nothing.
interface IStepVerifier {
    /// @param graph graph root over `count` descriptors
    /// @param list commitment to the tensor roots of all operators
    /// @param value what `list` commits to as element `index`, row-major, of the operator
    struct Element {
        bytes32 graph;
        uint32 count;
        bytes32 list;
        uint32 operator;
        uint64 index;
        int256 value;
    }

    error BadProof();

    /// @notice Reverts unless the value is wrong, given what the list commits to as the operator's inputs. One of an
    /// input of the model is wrong if it lies outside its declared range: nothing is defined for it.
    /// @param descriptor the operator's
    /// @param operands roots of its inputs in the list, a zero root where one is not read
    /// @param proof abi.encode(OneStep.Proof); not looked at for an input of the model
    function requireWrong(
        Element calldata element,
        bytes calldata descriptor,
        IDisputeGame.Root[] calldata operands,
        bytes calldata proof
    ) external pure;
}
