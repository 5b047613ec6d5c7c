"""Files: all or nothing, and nothing outside."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from vml import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_and_replace(tmp_path: Path) -> None:
    target = tmp_path / "a"
    files.write_atomic(target, b"one")
    files.write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == ["a"]


def test_mode_of_a_secret(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "secret", b"x", mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "a").write_bytes(b"before")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(OSError, match=r"a \(3 bytes\): the disk is full; nothing was left behind"):
        files.write_atomic(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(tmp_path / "a", b"x")
    assert names(tmp_path) == []


def test_missing_folder_and_forbidden_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing was left behind"):
        files.write_atomic(tmp_path / "no" / "a", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write_atomic(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["folder"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    files.write_atomic(tmp_path / "a", b"x")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "a").is_symlink()


def test_folder_appears_whole(tmp_path: Path) -> None:
    with files.folder_atomic(tmp_path / "m") as folder:
        (folder / "x").write_bytes(b"1")
        assert not (tmp_path / "m").exists()
    assert names(tmp_path) == ["m"]
    assert names(tmp_path / "m") == ["x"]


def test_folder_replaces_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old").write_bytes(b"1")
    with files.folder_atomic(tmp_path / "m") as folder:
        (folder / "new").write_bytes(b"2")
    assert names(tmp_path / "m") == ["new"]
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")])
def test_a_failed_folder_vanishes(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old").write_bytes(b"1")

    def fill() -> None:
        with files.folder_atomic(tmp_path / "m") as folder:
            (folder / "new").write_bytes(b"2")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert names(tmp_path / "m") == ["old"]
    assert names(tmp_path) == ["m"]


def test_a_full_disk_in_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is full"), files.folder_atomic(tmp_path / "m"):
        full_disk()
    assert names(tmp_path) == []


def test_a_swap_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old").write_bytes(b"1")
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.EIO, "x")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="x"), files.folder_atomic(tmp_path / "m") as folder:
        (folder / "new").write_bytes(b"2")
    assert names(tmp_path / "m") == ["old"]


def test_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"1")
    with pytest.raises(NotADirectoryError), files.folder_atomic(tmp_path / "m"):
        pass
    assert (tmp_path / "m").read_bytes() == b"1"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "graph.json").write_bytes(b"graph")
    (folder / "sub" / "x").write_bytes(b"inner")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def test_read_inside(model: Path) -> None:
    assert files.read_inside(model, "graph.json", max_bytes=5) == b"graph"
    assert files.read_inside(model, "sub/x", max_bytes=99) == b"inner"
    with pytest.raises(ValueError, match="larger"):
        files.read_inside(model, "graph.json", max_bytes=4)
    with pytest.raises(FileNotFoundError):
        files.read_inside(model, "none", max_bytes=4)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret",
        "sub/../../secret",
        "./graph.json",
        "/etc/passwd",
        "sub//x",
        "a\0b",
        "..\\secret",
        "sub/",
    ],
)
def test_path_tricks(model: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain path"):
        files.read_inside(model, name, max_bytes=99)


def test_links_are_refused(model: Path) -> None:
    (model / "link").symlink_to(model.parent / "secret")
    (model / "inner").symlink_to("graph.json")
    (model / "away").symlink_to(model.parent, target_is_directory=True)
    (model / "dangling").symlink_to("nowhere")
    for name in ("link", "inner", "away/secret", "dangling"):
        with pytest.raises(ValueError, match="symbolic link"):
            files.read_inside(model, name, max_bytes=99)


def test_only_regular_files(model: Path) -> None:
    os.mkfifo(model / "fifo")
    for name in ("fifo", "sub"):
        with pytest.raises(ValueError, match="regular"):
            files.read_inside(model, name, max_bytes=99)


def test_the_folder_itself_may_be_a_link(model: Path) -> None:
    (model.parent / "alias").symlink_to(model, target_is_directory=True)
    assert files.read_inside(model.parent / "alias", "graph.json", max_bytes=99) == b"graph"


def test_no_descriptor_is_lost(model: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (model / "link").symlink_to("graph.json")
    for name in ("graph.json", "sub/x", "none", "sub/none", "link", "sub"):
        try:
            files.open_inside(model, name).close()
        except (ValueError, OSError):
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_require_writable(tmp_path: Path) -> None:
    files.require_writable(tmp_path / "a")
    (tmp_path / "file").write_bytes(b"")
    for path, error in [
        (tmp_path, IsADirectoryError),
        (tmp_path / "no" / "a", FileNotFoundError),
        (tmp_path / "file" / "a", NotADirectoryError),
    ]:
        with pytest.raises(error):
            files.require_writable(path)
    assert names(tmp_path) == ["file"]
