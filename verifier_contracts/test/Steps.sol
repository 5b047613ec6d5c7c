// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {OneStep} from "src/optimistic/steps/OneStep.sol";

/// @title Opens the one-step library to tests
contract Steps {
    function value(OneStep.Statement calldata statement, OneStep.Proof calldata proof) external pure returns (int256) {
        return OneStep.value(statement, proof);
    }
}
