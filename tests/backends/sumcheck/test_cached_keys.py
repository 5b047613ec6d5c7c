"""Keys from the cache are those that would be made, and a cache that is not is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backends.sumcheck.runs import small
from vml.backends.sumcheck import setup as making
from vml.backends.types import Keys, SetupOptions


def fresh(folder: Path, *, check: bool = False) -> Keys:
    making._REMEMBERED.clear()
    return making.setup(small().model, SetupOptions(cache_dir=folder, check=check))


def test_a_cached_key_is_the_one_that_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fresh(tmp_path)
    assert made.verifying_key == making.recompute_key(small().model).encode()
    monkeypatch.setattr(making, "make_key", None)  # whoever makes it again fails
    again = fresh(tmp_path)
    assert again.verifying_key == made.verifying_key


def test_check_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(tmp_path)
    monkeypatch.setattr(making, "make_key", None)
    with pytest.raises(TypeError):
        fresh(tmp_path, check=True)


@pytest.mark.parametrize("file", [making.KEY, making.MATRIX, making.TREE])
@pytest.mark.parametrize("damage", ["gone", "empty", "noise"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, file: str, damage: str) -> None:
    made = fresh(tmp_path)
    assert made.directory is not None
    path = made.directory / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else bytes(reversed(path.read_bytes())))
    assert fresh(tmp_path).verifying_key == made.verifying_key


def test_a_tree_of_other_weights_is_made_again(tmp_path: Path) -> None:
    made = fresh(tmp_path)
    assert made.directory is not None
    (made.directory / making.MATRIX).write_bytes(making._digest(np.zeros((1, 1), dtype=np.uint64)))
    assert fresh(tmp_path).verifying_key == made.verifying_key
