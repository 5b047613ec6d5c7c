"""`inlined`: arithmetic on words that kernels call, laid out in them instruction by instruction as they are compiled.

numba's own ways cost too much: with ``inline="always"`` every use is typed again, which took a minute for the
kernels of the provers, and what LLVM inlines later it keeps out of the vector registers. So the function is run
once for each use, on symbols, and every operation adds its instruction.

Only operations that are exact on 64-bit words are there: wrapping + - *, logic, unsigned comparisons, shifts by less
than 64. A constant is np.uint64: a bare integer is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import lower_builtin, type_callable

_WORD = ir.IntType(64)


class Word:
    """A word, or the truth value of a comparison, in the kernel being compiled.

    Args:
        builder: takes the instructions. value: of 64 bits, or one.
    """

    __array_ufunc__ = None  # np.uint64 leaves operations with words to them
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _operand(self, other: Any) -> Any:
        if isinstance(other, np.uint64):
            other = Word(self.builder, ir.Constant(_WORD, int(other)))
        if not isinstance(other, Word) or other.value.type != self.value.type:
            raise TypingError("a word meets something else")
        return other.value

    def _apply(self, name: str, other: Any, swapped: bool = False) -> Word:
        pair = (self._operand(other), self.value) if swapped else (self.value, self._operand(other))
        return Word(self.builder, getattr(self.builder, name)(*pair))

    def _compare(self, operator: str, other: Any) -> Word:
        return Word(self.builder, self.builder.icmp_unsigned(operator, self.value, self._operand(other)))

    def __add__(self, other: Any) -> Word:
        return self._apply("add", other)

    def __sub__(self, other: Any) -> Word:
        return self._apply("sub", other)

    def __rsub__(self, other: Any) -> Word:
        return self._apply("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Word:
        return self._apply("mul", other)

    def __and__(self, other: Any) -> Word:
        return self._apply("and_", other)

    def __or__(self, other: Any) -> Word:
        return self._apply("or_", other)

    def __lshift__(self, other: Any) -> Word:
        return self._apply("shl", other)

    def __rshift__(self, other: Any) -> Word:
        return self._apply("lshr", other)

    __radd__, __rmul__, __rand__, __ror__ = __add__, __mul__, __and__, __or__

    def __lt__(self, other: Any) -> Word:
        return self._compare("<", other)

    def __ge__(self, other: Any) -> Word:
        return self._compare(">=", other)

    def __gt__(self, other: Any) -> Word:
        return self._compare(">", other)

    def spread(self) -> Word:
        """All ones for true, zero for false."""
        return Word(self.builder, self.builder.sext(self.value, _WORD))


def inlined(function: Callable[..., Any]) -> Any:
    """Let kernels call a function of words that gives a word or several; it may call others like it.

    Kernels pass uint64, or bool where a truth value is meant.
    """
    count = function.__code__.co_argcount

    def trace(builder: Any, values: Any) -> tuple[Any, ...]:
        result = function(*(Word(builder, value) for value in values))
        words = result if isinstance(result, tuple) else (result,)
        return tuple(word.value for word in words)

    @type_callable(function)  # type: ignore[untyped-decorator]
    def typer(context: Any) -> Any:
        @wraps(function)  # numba asks for the names of the arguments
        def typed(*args: Any) -> Any:
            if len(args) != count or any(arg not in (types.uint64, types.boolean) for arg in args):
                return None
            block = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "dry").append_basic_block()
            values = [ir.Constant(ir.IntType(1) if arg is types.boolean else _WORD, 0) for arg in args]
            results = trace(ir.IRBuilder(block), values)
            return types.uint64 if len(results) == 1 else types.UniTuple(types.uint64, len(results))

        return typed

    @lower_builtin(function, *[types.Any] * count)  # type: ignore[untyped-decorator]
    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        results = trace(builder, args)
        return results[0] if len(results) == 1 else context.make_tuple(builder, signature.return_type, results)

    return function
