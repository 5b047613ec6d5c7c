// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDcapAttestation} from "src/interfaces/IDcapAttestation.sol";

/// @title An attestation contract that answers as told, whatever the quote
contract MockAttestation is IDcapAttestation {
    enum Mood {
        Answers,
        Reverts,
        ReturnsNothing,
        ReturnsGarbage,
        BurnsGas
    }

    Mood public mood;
    bool public success;
    bytes public output;

    function set(bool success_, bytes calldata output_) external {
        (success, output) = (success_, output_);
    }

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function verifyAndAttestOnChain(bytes calldata) external payable returns (bool, bytes memory) {
        return _answer();
    }

    function verifyAndAttestWithZKProof(bytes calldata, uint8, bytes calldata)
        external
        payable
        returns (bool, bytes memory)
    {
        return _answer();
    }

    function _answer() private view returns (bool, bytes memory) {
        Mood now_ = mood;
        if (now_ == Mood.Reverts) revert("no");
        if (now_ == Mood.BurnsGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (now_ == Mood.ReturnsNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        if (now_ == Mood.ReturnsGarbage) {
            assembly ("memory-safe") {
                mstore(0, 1)
                mstore(32, not(0))
                return(0, 64)
            }
        }
        return (success, output);
    }
}
