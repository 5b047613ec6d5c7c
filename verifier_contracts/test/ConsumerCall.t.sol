// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlConsumer} from "src/interfaces/IVmlConsumer.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {ConsumerCall} from "src/libraries/ConsumerCall.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {MockConsumer} from "test/Mocks.sol";
import {Test} from "test/Vm.sol";

contract Settlement {
    uint256 public settled;

    function settle(address consumer, uint256 gasLimit, IVmlRouter.Status status) external returns (bool told) {
        ++settled;
        return
            ConsumerCall.notify(consumer, gasLimit, VmlClaim.Claim("m", "i", "o", "c"), status, 0x01020304, "user data");
    }
}

contract ConsumerCallTest is Test {
    Settlement internal settlement = new Settlement();
    MockConsumer internal consumer = new MockConsumer();

    function test_interfaceId() external pure {
        checkEqual(type(IVmlConsumer).interfaceId, bytes4(0x4b8f89f5), "docs/contracts.md lists it");
    }

    function test_tells() external {
        check(settlement.settle(address(consumer), 100_000, IVmlRouter.Status.Accepted), "told");
        VmlClaim.Claim memory claim = VmlClaim.Claim("m", "i", "o", "c");
        bytes memory said = abi.encode(
            VmlClaim.digest(claim), claim, IVmlRouter.Status.Accepted, bytes4(0x01020304), bytes("user data")
        );
        checkEqual(consumer.heard(), keccak256(said), "all of it");
        check(settlement.settle(address(consumer), 100_000, IVmlRouter.Status.Rejected), "rejections too");
    }

    function test_neverBeforeFinality() external {
        IVmlRouter.Status[3] memory open =
            [IVmlRouter.Status.Unknown, IVmlRouter.Status.Pending, IVmlRouter.Status.Challenged];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ConsumerCall.NotFinal.selector, open[i]));
            settlement.settle(address(consumer), 100_000, open[i]);
        }
        checkEqual(consumer.calls(), 0, "never called");
    }

    function test_noConsumerStopsASettlement() external {
        for (uint256 mood = 1; mood <= uint256(type(MockConsumer.Mood).max); ++mood) {
            consumer.setMood(MockConsumer.Mood(mood));
            uint256 before = gasleft();
            check(!settlement.settle(address(consumer), 200_000, IVmlRouter.Status.Accepted), "not told");
            check(before - gasleft() < 270_000, "no more than was promised");
        }
        check(!settlement.settle(address(0xdead), 200_000, IVmlRouter.Status.Accepted), "no code, not told");
        checkEqual(settlement.settled(), uint256(type(MockConsumer.Mood).max) + 1, "all settled");
    }

    function test_promisesHaveABound() external {
        consumer.setMood(MockConsumer.Mood.BurnsGas);
        uint256 before = gasleft();
        settlement.settle(address(consumer), type(uint256).max, IVmlRouter.Status.Accepted);
        check(before - gasleft() < 1_100_000, "a promise beyond a block is cut");
    }

    /// Whatever the settler brings: either the consumer gets all it was promised, or nothing is settled.
    function testFuzz_noSettlerStarvesAConsumer(uint256 brought, uint256 promised) external {
        promised = bound(promised, 100_000, 500_000);
        brought = bound(brought, 30_000, 700_000);
        try settlement.settle{gas: brought}(address(consumer), promised, IVmlRouter.Status.Accepted) returns (
            bool told
        ) {
            check(told, "told");
            // Less what the callee spends before it looks.
            check(consumer.gasSeen() + 2000 > promised && consumer.gasSeen() <= promised, "with all its gas");
        } catch {
            checkEqual(settlement.settled(), 0, "not settled");
        }
    }
}
