// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IEscalation} from "src/interfaces/IEscalation.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Admits what a test says it admits: the proof is the selector
contract Escalations is IEscalation {
    bool public open;

    function set(bool open_) external {
        open = open_;
    }

    function admit(bytes32, VmlClaim.Claim calldata, bytes calldata proof) external view returns (bytes4 selector) {
        if (!open) revert EscalationRefused("");
        selector = bytes4(proof);
    }
}
