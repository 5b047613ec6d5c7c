// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IGraphRegistry} from "src/interfaces/IGraphRegistry.sol";
import {Bound, Facts, StepBound} from "./StepBound.sol";
import {Cursor, Descriptor} from "./steps/Descriptor.sol";
import {ElementSteps} from "./steps/ElementSteps.sol";
import {GatherStep} from "./steps/GatherStep.sol";
import {RowSteps} from "./steps/RowSteps.sol";
import {TensorLib} from "./steps/Tensor.sol";
import {Terms} from "./steps/Terms.sol";

/// @notice A descriptor while its attributes are read.
/// @param cursor at the attributes
/// @param node its number, for errors
/// @param dims of the output
/// @param depth of the graph's tree
/// @param operands in the order of the descriptor's inputs
struct Form {
    Cursor cursor;
    uint256 node;
    uint64[] dims;
    uint256 depth;
    Facts[] operands;
}

/// @title Reads the attributes of every kind of operator, to the end, and says what its dearest step costs
/// @notice What is accepted here has a step for every element, whatever its inputs hold: attributes end where they must,
/// every view stays inside its operand, and no loop is empty.
library StepCosts {
    uint8 internal constant KIND_INPUT = 1;
    uint8 internal constant KIND_CONSTANT = 2;

    /// @notice The table of primitives with a step: kind, number of operands, attributes and cost.
    function dearest(uint8 kind, Form memory form) internal pure returns (Bound memory) {
        uint256 count = form.operands.length;
        if (kind == 16 && (count == 2 || count == 3)) return dot(form);
        if (kind == 17 && (count == 1 || count == 2)) return rescale(form);
        if (kind == 18 && count == 2) return lookup(form);
        if (kind == 19 && (count == 1 || count == 2)) return affine(form);
        if (kind == 20 && count == 2) return elements(form);
        if (kind == 21 && count >= 1) return gather(form);
        if (kind == 22 && count == 2) return take(form);
        if (kind == 23 && count == 1) return reduced(form);
        if (kind == 24 && count == 1) return reduced(form);
        if (kind == 25 && count == 2) return elements(form);
        if (kind == 26 && count == 2) return elements(form);
        if (kind == 27 && count == 3) return elements(form);
        if (kind == 28 && count == 1) return argmax(form);
        if (kind == 29 && count == 1) return topk(form);
        if (kind == 30 && count == 2) return elements(form);
        if (kind == 31 && count == 1) return elements(form);
        revert Descriptor.DescriptorKind(kind, count);
    }

    function dot(Form memory form) private pure returns (Bound memory way) {
        uint256[] memory loops = Descriptor.sizes(form.cursor);
        way = begin(form, termsOf(form.node, loops));
        uint256 rank = form.dims.length;
        StepBound.walk(way, form.depth, form.operands[0], loops, read(form, 0, rank, loops));
        StepBound.walk(way, form.depth, form.operands[1], loops, read(form, 1, rank, loops));
        if (form.operands.length == 3) element(form, 2);
        else Descriptor.absent(form.cursor);
        Descriptor.end(form.cursor);
        if (form.operands.length == 3) walkOne(form, way, 2);
        StepBound.finish(way, true);
    }

    function rescale(Form memory form) private pure returns (Bound memory) {
        element(form, 0);
        uint256 shift = Descriptor.unsigned(form.cursor, 1);
        if (shift != 16 && shift != 32 && shift != 48) revert ElementSteps.BadShift(shift);
        Descriptor.skip(form.cursor, 8);
        if (form.operands.length == 2) element(form, 1);
        else Descriptor.absent(form.cursor);
        Descriptor.skip(form.cursor, 16);
        return oneEach(form);
    }

    /// @notice Of the table any element may be read.
    function lookup(Form memory form) private pure returns (Bound memory) {
        element(form, 0);
        Descriptor.skip(form.cursor, 8);
        return oneEach(form);
    }

    function affine(Form memory form) private pure returns (Bound memory) {
        element(form, 0);
        if (form.operands.length == 2) element(form, 1);
        else Descriptor.absent(form.cursor);
        Descriptor.skip(form.cursor, 24);
        return oneEach(form);
    }

    /// @notice A view of each operand, and nothing else.
    function elements(Form memory form) private pure returns (Bound memory) {
        for (uint256 k = 0; k < form.operands.length; ++k) {
            element(form, k);
        }
        return oneEach(form);
    }

    /// @notice The taken axis is one more loop of the first view.
    function take(Form memory form) private pure returns (Bound memory) {
        (int256 low, int256 high,) = reach(form, form.dims.length, new uint256[](0));
        element(form, 1);
        uint256 size = Descriptor.unsigned(form.cursor, 8);
        if (size == 0) revert Terms.NoTerms();
        int256 extent = Descriptor.signed(form.cursor) * int256(size - 1);
        if (extent < 0) low += extent;
        else high += extent;
        inside(form.operands[0], low, high);
        return oneEach(form);
    }

    function reduced(Form memory form) private pure returns (Bound memory) {
        uint256[] memory loops = Descriptor.sizes(form.cursor);
        return row(form, termsOf(form.node, loops), form.dims.length, loops);
    }

    function argmax(Form memory form) private pure returns (Bound memory) {
        uint256[] memory loops = new uint256[](1);
        loops[0] = Descriptor.unsigned(form.cursor, 8);
        return row(form, termsOf(form.node, loops), form.dims.length, loops);
    }

    /// @notice The output's last loop is the rank, and each rank is one pass.
    function topk(Form memory form) private pure returns (Bound memory) {
        uint256 rank = form.dims.length;
        if (rank == 0) revert RowSteps.RankOutside(0, 0);
        uint256[] memory loops = new uint256[](1);
        loops[0] = Descriptor.unsigned(form.cursor, 8);
        uint256[] memory passes = new uint256[](2);
        (passes[0], passes[1]) = (loops[0], form.dims[rank - 1]);
        uint256 terms = termsOf(form.node, passes);
        if (passes[1] > loops[0]) revert RowSteps.RankOutside(passes[1] - 1, loops[0]);
        return row(form, terms, rank - 1, loops);
    }

    /// @notice The view of the only operand, which comes last, over `outer` loops of the output and then `loops`.
    function row(Form memory form, uint256 terms, uint256 outer, uint256[] memory loops)
        private
        pure
        returns (Bound memory way)
    {
        way = begin(form, terms);
        StepBound.walk(way, form.depth, form.operands[0], loops, read(form, 0, outer, loops));
        Descriptor.end(form.cursor);
        StepBound.finish(way, false);
    }

    /// @notice One element of one operand, or none: the dearest of them counts.
    function gather(Form memory form) private pure returns (Bound memory bound) {
        Cursor memory cursor = form.cursor;
        uint256 rank = form.dims.length;
        uint256 axis = Descriptor.unsigned(cursor, 1);
        if (axis >= rank && axis > 0) revert GatherStep.GatherAxis(axis, rank);
        Descriptor.skip(cursor, 8);
        uint256 parts = Descriptor.unsigned(cursor, 1);
        if (parts != form.operands.length) revert GatherStep.GatherParts(form.operands.length, parts);
        uint256 left = rank == 0 ? 1 : form.dims[axis];
        for (uint256 k = 0; k < parts; ++k) {
            uint256 length = part(form, k, axis);
            if (length == 0 || length > left) revert GatherStep.GatherCover(left);
            left -= length;
            Bound memory way = begin(form, 1);
            walkOne(form, way, k);
            StepBound.finish(way, false);
            StepBound.join(bound, way);
        }
        if (left > 0) revert GatherStep.GatherCover(left);
        Descriptor.end(cursor);
    }

    /// @notice One part of a gather: its runs cover all of its positions and lead into the operand, or are fill.
    function part(Form memory form, uint256 operand, uint256 axis) private pure returns (uint256 length) {
        Cursor memory cursor = form.cursor;
        length = Descriptor.unsigned(cursor, 8);
        int256 high = int256(Descriptor.unsigned(cursor, 8));
        uint256 maps = Descriptor.unsigned(cursor, 1);
        if (maps != form.dims.length) revert GatherStep.GatherMaps(form.dims.length, maps);
        for (uint256 m = 0; m < maps; ++m) {
            high += runs(cursor, m == axis ? length : form.dims[m], form.operands[operand].elements);
        }
        inside(form.operands[operand], 0, high);
    }

    /// @notice The runs of one axis, `left` positions in all.
    /// @return high the most that the axis adds
    function runs(Cursor memory cursor, uint256 left, uint256 size) private pure returns (int256 high) {
        for (uint256 count = Descriptor.unsigned(cursor, 4); count > 0; --count) {
            uint256 length = Descriptor.unsigned(cursor, 8);
            if (length == 0 || length > left) revert GatherStep.GatherCover(left);
            left -= length;
            int256 start = Descriptor.signed(cursor);
            int256 last = start + Descriptor.signed(cursor) * int256(length - 1);
            if (start < 0) continue;
            if (last < 0) revert TensorLib.PlaceOutside(last, size);
            if (start > high) high = start;
            if (last > high) high = last;
        }
        if (left > 0) revert GatherStep.GatherCover(left);
    }

    /// @notice The end of a descriptor whose step takes one element of each operand.
    function oneEach(Form memory form) private pure returns (Bound memory way) {
        Descriptor.end(form.cursor);
        way = begin(form, 1);
        for (uint256 k = 0; k < form.operands.length; ++k) {
            walkOne(form, way, k);
        }
        StepBound.finish(way, false);
    }

    function begin(Form memory form, uint256 terms) private pure returns (Bound memory) {
        return StepBound.begin(terms, form.depth, form.operands.length, form.cursor.data.length);
    }

    function walkOne(Form memory form, Bound memory way, uint256 operand) private pure {
        StepBound.walk(way, form.depth, form.operands[operand], new uint256[](0), new int256[](0));
    }

    /// @notice A view over the output's loops.
    function element(Form memory form, uint256 operand) private pure {
        read(form, operand, form.dims.length, new uint256[](0));
    }

    /// @notice A view that stays inside its operand; returns the strides of its `inner` loops.
    function read(Form memory form, uint256 operand, uint256 outer, uint256[] memory inner)
        private
        pure
        returns (int256[] memory strides)
    {
        int256 low;
        int256 high;
        (low, high, strides) = reach(form, outer, inner);
        inside(form.operands[operand], low, high);
    }

    /// @notice The lowest and the highest place that a view leads to. Dimensions are at most 2**40, so nothing overflows.
    function reach(Form memory form, uint256 outer, uint256[] memory inner)
        private
        pure
        returns (int256 low, int256 high, int256[] memory strides)
    {
        Cursor memory cursor = form.cursor;
        low = high = int256(Descriptor.unsigned(cursor, 8));
        uint256 rank = Descriptor.unsigned(cursor, 1);
        if (rank != outer + inner.length) revert Descriptor.ViewRank(outer + inner.length, rank);
        strides = new int256[](inner.length);
        for (uint256 k = 0; k < rank; ++k) {
            int256 stride = Descriptor.signed(cursor);
            int256 extent = stride * int256((k < outer ? form.dims[k] : inner[k - outer]) - 1);
            if (extent < 0) low += extent;
            else high += extent;
            if (k >= outer) strides[k - outer] = stride;
        }
    }

    function inside(Facts memory operand, int256 low, int256 high) private pure {
        if (low < 0) revert TensorLib.PlaceOutside(low, operand.elements);
        if (high >= int256(operand.elements)) revert TensorLib.PlaceOutside(high, operand.elements);
    }

    /// @notice The product of loop sizes, none of them zero.
    function termsOf(uint256 node, uint256[] memory loops) private pure returns (uint256 terms) {
        terms = 1;
        for (uint256 k = 0; k < loops.length; ++k) {
            if (loops[k] == 0) revert Terms.NoTerms();
            // Each factor is below 2**64: what has passed 2**128 stays there.
            if (terms < 1 << 128) terms *= loops[k];
        }
        if (terms > Terms.MAX_TERMS) revert IGraphRegistry.StepTooLong(node, terms, Terms.MAX_TERMS);
    }
}
