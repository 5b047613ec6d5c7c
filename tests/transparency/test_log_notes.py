"""Signed notes, checkpoints and log proofs: the published example, and every way to spoil one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.errors import LogRejected, MalformedProof, VerificationError
from vml.transparency import tree
from vml.transparency.checkpoint import Checkpoint, LogProof, open_checkpoint
from vml.transparency.note import MAX_NOTE_BYTES, NoteSigner, VerifierKey, ed25519_verifies, open_note

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/logs.json").read_text(encoding="utf-8"))
NOTE = VECTORS["note"]
KEY = VerifierKey.parse(NOTE["key"])
SIGNER = NoteSigner("log.example/vml", bytes(range(32)))
OTHER = NoteSigner("log.example/vml", bytes(range(1, 33)))
TEXT = "one line\nanother\n\nafter an empty one\n"


def spliced(note: bytes, *lines: str) -> bytes:
    return note + "".join(f"{line}\n" for line in lines).encode()


def line_of(note: bytes) -> str:
    return note.decode().rstrip("\n").rpartition("\n")[2]


def test_the_published_note() -> None:
    signer = NoteSigner.parse(NOTE["secret"])
    assert signer.private_text() == NOTE["secret"]
    assert str(signer.verifier) == str(KEY) == NOTE["key"]
    assert signer.sign(NOTE["text"]) == NOTE["note"].encode()
    assert open_note(NOTE["note"].encode(), [KEY]) == NOTE["text"]


def test_the_published_roots_in_a_checkpoint() -> None:
    found = open_checkpoint(VECTORS["checkpoint"].encode(), KEY)
    assert found == Checkpoint("PeterNeumann", 8, bytes.fromhex(VECTORS["roots"][8]))
    assert found.sign(NoteSigner.parse(NOTE["secret"])) == VECTORS["checkpoint"].encode()


def test_an_empty_line_in_the_text_is_part_of_it() -> None:
    assert open_note(SIGNER.sign(TEXT), [SIGNER.verifier]) == TEXT


def test_signatures_of_unknown_keys_are_ignored() -> None:
    note = SIGNER.sign(TEXT)
    unknown = line_of(OTHER.sign("something else\n"))
    witness = "— witness.example " + base64.b64encode(b"abcd" + bytes(3000)).decode()
    assert open_note(spliced(note, unknown, witness), [SIGNER.verifier]) == TEXT
    first = TEXT.encode() + b"\n" + witness.encode() + b"\n" + line_of(note).encode() + b"\n"
    assert open_note(first, [SIGNER.verifier]) == TEXT


def test_a_note_of_unknown_keys_alone_is_refused() -> None:
    note = SIGNER.sign(TEXT)
    for keys in ([], [OTHER.verifier], [NoteSigner("another.example", SIGNER.seed).verifier]):
        with pytest.raises(LogRejected, match="no key that is trusted"):
            open_note(note, keys)


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    note = SIGNER.sign(TEXT)
    forged = line_of(SIGNER.sign("other\n"))
    with pytest.raises(LogRejected, match="not that of"):
        open_note(spliced(note, forged), [SIGNER.verifier])
    both = spliced(note, line_of(OTHER.sign("other\n")))
    with pytest.raises(LogRejected, match="not that of"):
        open_note(both, [SIGNER.verifier, OTHER.verifier])


def test_a_signature_is_of_all_the_text() -> None:
    note = SIGNER.sign(TEXT)
    for altered in (
        note.replace(b"another", b"anothep"),
        b"x\n" + note,
        note[4:],
        note.replace(b"line\n", b"line\n\n"),
    ):
        with pytest.raises(VerificationError):
            open_note(altered, [SIGNER.verifier])


def malformed() -> dict[str, bytes]:
    note = SIGNER.sign(TEXT)
    line = line_of(note)
    name, _, signature = line.removeprefix("— ").partition(" ")
    padded = base64.b64encode(base64.b64decode(signature) + b"ab").decode()
    return {
        "nothing": b"",
        "no signatures": TEXT.encode(),
        "no last newline": note[:-1],
        "another last character": note[:-1] + b"x",
        "a signature of an empty line, alone": SIGNER.sign("\n")[2:],
        "an empty line at the end": note + b"\n",
        "another dash": note.replace("—".encode(), b"-"),
        "no space": note.replace("— ".encode(), "—".encode()),
        "three parts": spliced(note, line + " more"),
        "one part": spliced(note, "— name"),
        "no name": spliced(note, "—  " + signature),
        "a plus in the name": spliced(note, f"— a+b {signature}"),
        "a space in the name": spliced(note, f"— a\u00a0b {signature}"),
        "not base64": spliced(note, f"— {name} *"),
        "base64 with bits that say nothing": spliced(note, f"— other {padded[:-2]}==".replace(padded[-4:-2], "Yf")),
        "no signature bytes": spliced(note, f"— {name} {base64.b64encode(b'abcd').decode()}"),
        "a control character": SIGNER.sign("x\n").replace(b"x\n", b"x\r\n"),
        "not UTF-8": note.replace(b"another", b"\xff"),
        "too large": SIGNER.sign("x" * MAX_NOTE_BYTES + "\n"),
        "too many signatures": spliced(note, *[line] * 100),
        "text without a newline": b"\n\n" + line.encode() + b"\n",
    }


@pytest.mark.parametrize("name", malformed())
def test_malformed_notes(name: str) -> None:
    if name == "text without a newline":  # an empty text is one empty line
        assert malformed()[name].startswith(b"\n\n")
    with pytest.raises((MalformedProof, LogRejected)) as caught:
        open_note(malformed()[name], [SIGNER.verifier])
    assert isinstance(caught.value, MalformedProof) or name == "text without a newline"


@given(st.binary(max_size=200))
def test_any_bytes_raise_the_documented_errors(data: bytes) -> None:
    with pytest.raises(VerificationError):
        open_note(data, [SIGNER.verifier])
    with pytest.raises(MalformedProof):
        LogProof.decode(data)


@pytest.mark.parametrize("position", range(0, 110, 7))
def test_a_key_in_another_spelling_is_none(position: int) -> None:
    text = str(SIGNER.verifier)
    spoiled = text[: position % len(text)] + ("A" if text[position % len(text)] != "A" else "B")
    spoiled += text[position % len(text) + 1 :]
    if position % len(text) >= len(text) - 1:
        return
    with pytest.raises(ValueError):
        VerifierKey.parse(spoiled)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+12", "na me+00000000+AQ==", "name+zz+AQ==", NOTE["key"] + "=", NOTE["key"].replace("c7", "C7")],
)
def test_texts_that_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError):
        VerifierKey.parse(text)
    with pytest.raises(ValueError) as caught:
        NoteSigner.parse("PRIVATE+KEY+" + text)
    assert text == "" or text not in str(caught.value), "an error shows nothing of a secret"


def test_a_signing_key_needs_its_prefix_and_its_id() -> None:
    with pytest.raises(ValueError, match="begins with"):
        NoteSigner.parse(NOTE["key"])
    with pytest.raises(ValueError, match="another key's"):
        NoteSigner.parse(NOTE["secret"].replace("c74f20a3", "c74f20a4"))
    assert repr(SIGNER).count("seed") == 0


def test_keys_of_other_lengths() -> None:
    with pytest.raises(ValueError):
        VerifierKey("name", bytes(31))
    with pytest.raises(ValueError):
        NoteSigner("name", bytes(33))
    assert not ed25519_verifies(bytes(31), bytes(64), b"")
    assert not ed25519_verifies(bytes(32), bytes(63), b"")
    assert not ed25519_verifies(b"\xff" * 32, bytes(64), b"")


def test_a_text_that_cannot_be_signed() -> None:
    for text in ("", "no newline", "tab\t\n"):
        with pytest.raises(ValueError):
            SIGNER.sign(text)


def checkpoint_of(text: str) -> bytes:
    return SIGNER.sign(text)


ROOT64 = base64.b64encode(tree.EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"log.example/vml\n0\n{ROOT64}",
        f"log.example/vml\n00\n{ROOT64}\n",
        f"log.example/vml\n+1\n{ROOT64}\n",
        f"log.example/vml\n-1\n{ROOT64}\n",
        f"log.example/vml\n1.0\n{ROOT64}\n",
        f"log.example/vml\n9223372036854775808\n{ROOT64}\n",
        "log.example/vml\n0\nAAAA\n",
        "log.example/vml\n0\n*\n",
        "log.example/vml\n0\n",
        f"\n0\n{ROOT64}\n",
        f"log.example/vml\n0\n{ROOT64}\n\n",
        f"log.example/vml\n0\n{ROOT64}\nmore\n\n",
    ],
)
def test_texts_that_are_no_checkpoints(text: str) -> None:
    with pytest.raises(MalformedProof):
        Checkpoint.parse(text)


def test_extensions_are_kept() -> None:
    text = f"log.example/vml\n0\n{ROOT64}\nmore\nand more\n"
    found = open_checkpoint(checkpoint_of(text), SIGNER.verifier)
    assert found.extensions == ("more", "and more")
    assert found.text() == text


def test_a_key_speaks_for_its_own_log_only() -> None:
    note = checkpoint_of(f"another.example\n0\n{ROOT64}\n")
    with pytest.raises(LogRejected, match="origin"):
        open_checkpoint(note, SIGNER.verifier)
    with pytest.raises(ValueError, match="signs no checkpoint"):
        Checkpoint("another.example", 0, tree.EMPTY_ROOT).sign(SIGNER)


def log_of(entries: list[bytes]) -> tuple[dict[tree.Node, bytes], bytes]:
    nodes = tree.grown(0, {}, [tree.leaf_hash(entry) for entry in entries])
    root = tree.fold([nodes[node] for node in tree.full_ranges(0, len(entries))])
    return nodes, Checkpoint(SIGNER.name, len(entries), root).sign(SIGNER)


def test_a_log_proof_verifies_offline_and_says_which_log() -> None:
    entries = [b"a", b"b", b"c", b"d", b"e"]
    nodes, note = log_of(entries)
    for index, entry in enumerate(entries):
        proof = LogProof(index, tuple(tree.joined(tree.inclusion_ranges(index, 5), nodes)), note)
        assert LogProof.decode(proof.encode()) == proof
        extra = proof.encode().replace(b"index", b"extra YWJj\nindex", 1)
        assert LogProof.decode(extra) == proof
        assert proof.verify(entry, SIGNER.verifier).size == 5
        with pytest.raises(LogRejected, match="inclusion"):
            proof.verify(b"forged", SIGNER.verifier)
        with pytest.raises(LogRejected, match="signature"):
            proof.verify(entry, OTHER.verifier)


def test_texts_that_are_no_log_proofs() -> None:
    nodes, note = log_of([b"a", b"b"])
    good = LogProof(0, (nodes[0, 1],), note).encode()
    spoiled = [
        good.replace(b"@v1", b"@v2"),
        good.replace(b"index 0", b"index 00"),
        good.replace(b"index 0", b"index -1"),
        good.replace(b"index 0", b"at 0"),
        good.replace(b"index 0\n", b""),
        good.replace(b"index 0\n", b"index 0\nAAAA\n"),
        good.replace(b"index 0\n", b"index 0\n" + (ROOT64 + "\n").encode() * 64),
        good.replace(b"index 0\n", b"extra *\nindex 0\n"),
        b"c2sp.org/tlog-proof@v1\n\n" + note,
        b"c2sp.org/tlog-proof@v1",
        good + bytes(1 << 17),
        good.replace(b"index", "indéx".encode()),
    ]
    for text in spoiled:
        with pytest.raises(MalformedProof):
            LogProof.decode(text)
