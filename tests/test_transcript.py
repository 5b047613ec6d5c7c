"""The transcript: what it says byte by byte, and that nothing about a history can change without its answers."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from Crypto.Hash import keccak
from hypothesis import given
from hypothesis import strategies as st

from vml.field.goldilocks import P
from vml.transcript import Transcript

labels = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
elements = st.lists(st.tuples(st.integers(0, P - 1), st.integers(0, P - 1)), max_size=4)
operations = st.one_of(
    st.tuples(st.just("observe"), labels, st.binary(max_size=12)),
    st.tuples(st.just("observe_ext"), labels, elements),
    st.tuples(st.just("sample_ext"), labels),
    st.tuples(st.just("sample_point"), labels, st.integers(0, 5)),
    st.tuples(st.just("sample_indices"), labels, st.integers(0, 9), st.integers(0, 64)),
)
histories = st.lists(operations, max_size=8)


def play(history: list[tuple], protocol: str = "test/1") -> tuple[Transcript, list]:
    transcript = Transcript(protocol)
    return transcript, [getattr(transcript, name)(*arguments) for name, *arguments in history]


def answer(history: list[tuple], protocol: str = "test/1") -> object:
    return play(history, protocol)[0].sample_ext("the end")


def digest(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def second_implementation(history: list[tuple]) -> list:
    """From the module's docstring alone: the whole history is kept, and every answer is computed afresh."""

    def text(label: str) -> bytes:
        return struct.pack(">B", len(label)) + label.encode()

    state, items, answers = digest(b"\x00" + text("test/1")), b"", []
    for name, label, *rest in history:
        if name == "observe":
            items += b"\x01" + text(label) + struct.pack(">Q", len(rest[0])) + rest[0]
            answers.append(None)
            continue
        if name == "observe_ext":
            items += b"\x02" + text(label) + struct.pack(">Q", len(rest[0]))
            items += b"".join(a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in rest[0])
            answers.append(None)
            continue
        request = {"sample_ext": b"\x03", "sample_point": b"\x04", "sample_indices": b"\x05"}[name] + text(label)
        if rest:
            request += struct.pack(">I", rest[0])
        if len(rest) == 2:
            request += struct.pack(">B", rest[1])
        state = digest(b"\x40" + state + items + request)
        items = b""
        stream = state + b"".join(digest(b"\x41" + state + struct.pack(">I", i)) for i in range(1, 12))
        words = [int.from_bytes(stream[i : i + 8], "little") for i in range(0, len(stream), 8)]
        if name == "sample_indices":
            answers.append([word % 2 ** rest[1] for word in words[: rest[0]]])
        else:
            good = [word for word in words if word < P]
            pairs = list(zip(good[::2], good[1::2], strict=False))
            answers.append(pairs[0] if name == "sample_ext" else pairs[: rest[0]])
    return answers


@given(history=histories)
def test_a_second_implementation_agrees(history: list[tuple]) -> None:
    assert play(history)[1] == second_implementation(history)


def test_vectors() -> None:
    transcript = Transcript("vml-sumcheck/1")
    transcript.observe("cap", bytes(range(32)))
    alpha = transcript.sample_ext("alpha")
    transcript.observe_ext("values", [(1, 2), (P - 1, 0)])
    point = transcript.sample_point("point", 3)
    indices = transcript.sample_indices("columns", 5, 17)
    assert alpha == VECTORS["alpha"]
    assert point == VECTORS["point"]
    assert indices == VECTORS["indices"]


VECTORS = {
    "alpha": (13460943546411069746, 9414384109057962796),
    "point": [
        (8004482539408113881, 10779647823881977265),
        (17025315175558251677, 364443788763886888),
        (5177567878983187236, 14227036602481695541),
    ],
    "indices": [112843, 69006, 107115, 8989, 31600],
}


@given(first=histories, second=histories)
def test_different_histories_give_different_answers(first: list[tuple], second: list[tuple]) -> None:
    assert (answer(first) == answer(second)) == (first == second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("observe", "ab", b"c")], [("observe", "a", b"bc")]),
        ([("observe", "a", b"bc")], [("observe", "a", b"b"), ("observe", "a", b"c")]),
        ([("observe", "a", b"")], []),
        ([("observe", "a", b"b"), ("observe", "c", b"d")], [("observe", "c", b"d"), ("observe", "a", b"b")]),
        ([("observe", "a", bytes(16))], [("observe_ext", "a", [(0, 0)])]),
        ([("observe_ext", "a", [(0, 0)])], [("observe_ext", "a", [(0, 0), (0, 0)])]),
        ([("observe_ext", "a", [(1, 0)])], [("observe_ext", "a", [(0, 1)])]),
        ([("observe_ext", "a", [(1, 0), (2, 0)])], [("observe_ext", "a", [(1, 0)]), ("observe_ext", "a", [(2, 0)])]),
        ([("sample_ext", "a")], []),
        ([("sample_ext", "a")], [("sample_ext", "b")]),
        ([("sample_ext", "a")], [("sample_point", "a", 1)]),
        ([("sample_point", "a", 1)], [("sample_point", "a", 2)]),
        ([("sample_point", "a", 2)], [("sample_ext", "a"), ("sample_ext", "a")]),
        ([("sample_indices", "a", 2, 3)], [("sample_indices", "a", 3, 3)]),
        ([("sample_indices", "a", 2, 3)], [("sample_indices", "a", 2, 4)]),
        # An item inside data, and the same item in earnest.
        ([("observe", "a", b"\x01\x01b" + bytes(8))], [("observe", "a", b""), ("observe", "b", b"")]),
        ([("observe", "a", b"x"), ("sample_ext", "s")], [("sample_ext", "s"), ("observe", "a", b"x")]),
    ],
)
def test_boundaries_kinds_and_order_count(one: list[tuple], other: list[tuple]) -> None:
    assert answer(one) != answer(other)


def test_the_protocol_counts() -> None:
    assert answer([], "test/1") != answer([], "test/2")


def test_samples_differ_from_one_another() -> None:
    transcript = Transcript("test/1")
    assert len({transcript.sample_ext("x") for _ in range(100)}) == 100
    point = transcript.sample_point("x", 100)
    assert len(set(point)) == 100
    assert all(0 <= a < P and 0 <= b < P for a, b in point)


def test_indices_fill_their_range() -> None:
    drawn = Transcript("test/1").sample_indices("x", 2000, 4)
    assert set(drawn) == set(range(16))
    assert Transcript("test/1").sample_indices("x", 3, 0) == [0, 0, 0]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_words_from_p_on_are_passed_over(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """2^-32 a word: only a rigged hash shows it."""
    words = [5, 6, 7, 8]
    words[bad] = P + bad
    monkeypatch.setattr("vml.transcript.keccak256", lambda data: struct.pack("<4Q", *words))
    good = [word for word in words if word < P]
    assert Transcript("test/1").sample_ext("x") == (good[0], good[1])
    assert Transcript("test/1").sample_point("x", 2) == [(good[0], good[1]), (good[2], good[0])]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: t.observe("", b""),
        lambda t: t.observe("é", b""),
        lambda t: t.observe("x" * 256, b""),
        lambda t: t.observe_ext("x", [(P, 0)]),
        lambda t: t.observe_ext("x", [(0, P)]),
        lambda t: t.observe_ext("x", [(-1, 0)]),
        lambda t: t.observe_ext("x", [(1, 2, 3), (4,)]),
        lambda t: t.sample_point("x", -1),
        lambda t: t.sample_point("x", 2**32),
        lambda t: t.sample_indices("x", -1, 4),
        lambda t: t.sample_indices("x", 1, -1),
        lambda t: t.sample_indices("x", 1, 65),
    ],
)
def test_a_wrong_argument_changes_nothing(wrong: Callable[[Transcript], object]) -> None:
    transcript = Transcript("test/1")
    transcript.observe("before", b"data")
    with pytest.raises(ValueError):
        wrong(transcript)
    assert transcript.sample_ext("the end") == answer([("observe", "before", b"data")])
