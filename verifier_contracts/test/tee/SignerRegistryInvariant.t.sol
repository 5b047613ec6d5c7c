// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title Admits, renews, revokes and rotates in any order, and keeps its own books
contract TeePlayer is TeeBench {
    uint64 public minimum;
    mapping(uint64 epoch => uint64) public endOf;
    mapping(uint64 epoch => bool) public revoked;

    function start() external {
        setUp();
    }

    function renew(uint64 epoch, uint64 certified, uint64 collateralEnd) external {
        epoch = uint64(bound(epoch, 0, 5));
        certificate.epoch = epoch;
        certificate.notAfter = uint64(bound(certified, NOW, NOW + 60 days));
        finding.collateralEnd = uint64(bound(collateralEnd, NOW, NOW + 60 days));
        finding.deadline = type(uint64).max;
        bytes memory signatures = quorum();
        try tee.admitByQuorum(ALICE, rules, certificate, finding, signatures) returns (bytes32 record) {
            uint64 end = tee.keyOf(record).notAfter;
            check(!revoked[epoch], "what is revoked stays out");
            check(epoch >= minimum, "what is rotated stays out");
            check(end > endOf[epoch], "a renewal prolongs");
            check(end <= certificate.notAfter && end <= finding.collateralEnd, "not beyond what it rests on");
            check(end <= block.timestamp + rules.lifetime && end >= block.timestamp, "nor beyond the rules");
            endOf[epoch] = end;
        } catch {}
    }

    function revoke(uint64 epoch) external {
        epoch = uint64(bound(epoch, 0, 5));
        // Rarely, so that something is left to play with.
        if (uint256(keccak256(abi.encode(epoch, block.timestamp))) % 4 != 0) return;
        if (revoked[epoch]) return;
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, epoch, QUORUM);
        revoked[epoch] = true;
    }

    function raise(uint64 epoch) external {
        epoch = uint64(bound(epoch, 0, 5));
        if (epoch <= minimum || epoch > minimum + 1) return;
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, epoch);
        minimum = epoch;
    }

    function pass(uint256 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 3 days));
    }

    /// @dev Whether a receipt of this epoch is accepted, and whether it should be.
    function agrees(uint64 epoch) external view returns (bool) {
        VmlClaim.Claim memory claim = claimOf("output");
        bytes memory proof = receiptOf(claim, epoch);
        bool expected = !revoked[epoch] && epoch >= minimum && block.timestamp <= endOf[epoch];
        return accepted(key, claim, withSelector(proof)) == expected;
    }
}

contract SignerRegistryInvariantTest is TeeBench {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    TeePlayer internal player;

    function setUp() public override {
        player = new TeePlayer();
        player.start();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(player);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory moves = new bytes4[](4);
        (moves[0], moves[1]) = (player.renew.selector, player.revoke.selector);
        (moves[2], moves[3]) = (player.raise.selector, player.pass.selector);
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(player), moves);
    }

    function invariant_aReceiptCountsWhileItsKeyLives() external view {
        for (uint64 epoch = 0; epoch < 6; ++epoch) {
            check(player.agrees(epoch), "by the player's books");
        }
    }
}
