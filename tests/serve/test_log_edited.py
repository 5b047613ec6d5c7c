"""A log that was edited, rewritten by its owner or shown in two views: audits refuse it, the server signs no more."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.running import running
from vml.cli import main
from vml.serve.checkpoints import load_log_key
from vml.transparency.checkpoint import Checkpoint, open_checkpoint
from vml.transparency.note import VerifierKey


@pytest.fixture(scope="module")
def stopped(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder of a server that stopped and a checkpoint that was kept; the log's key."""
    folder = tmp_path_factory.mktemp("stopped")
    with running(tiny, folder / "data") as server:
        for number in range(6):
            server.said({"nonce": f"case {number}"})
        pin = str(server.http.get("/v1/log/key").json()["key"])
        kept = ["audit", "--server", server.url, "--log-key", pin, "--since", str(folder / "kept"), "-q"]
        assert main(kept) == 0
    return folder, pin


@pytest.fixture
def edited(stopped: tuple[Path, str], tmp_path: Path) -> tuple[Path, str, Callable[..., None]]:
    """A copy of that folder, the log's key, and a way to edit the database."""
    folder, pin = stopped
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)

    def edit(*statements: str) -> None:
        with sqlite3.connect(tmp_path / "data/vml.db") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return tmp_path, pin, edit


def database(folder: Path) -> str:
    (file,) = (folder / "data").glob("*.db")
    return f"sqlite:///{file}"


def refused(vml: Any, *arguments: object) -> str:
    code, found, _ = vml(*arguments, "--json")
    assert code == 1, found
    return str(found["error"]["reason"])


def test_the_database_itself(edited: Any, vml: Any) -> None:
    folder, pin, _ = edited
    for more in ((), ("--since", folder / "kept")):
        code, found, err = vml("audit", "case 3", "--database", database(folder), "--log-key", pin, *more, "--json")
        assert code == 0, err
        assert found["decisions"][0]["log_index"] == 3


@pytest.mark.parametrize(
    ("reason", "statements"),
    [
        (
            "inclusion",
            ["update log_entries set data = cast(replace(data, 'tiny', 'tinx') as blob) where \"index\" = 3"],
        ),
        ("inclusion", ["update log_nodes set hash = zeroblob(32) where position = 9"]),
        ("damaged", ["delete from log_nodes where position = 9"]),
        ("damaged", ["update log_entries set data = 'text' where \"index\" = 3"]),
        ("absent", ['delete from log_entries where "index" = 3']),
        ("unsigned", ["delete from log_checkpoints"]),
        (
            "inclusion",
            [
                'update log_entries set "index" = 99 where "index" = 3',
                'update log_entries set "index" = 3 where "index" = 4',
                'update log_entries set "index" = 4 where "index" = 99',
            ],
        ),
        (
            "signature",
            [
                "update log_checkpoints set note = cast(replace(cast(note as text), char(10) || '6', char(10) || '7') "
                "as blob)"
            ],
        ),
    ],
    ids=[
        "changed entry",
        "changed root",
        "dropped root",
        "text",
        "dropped entry",
        "dropped checkpoint",
        "moved",
        "note",
    ],
)
def test_an_edited_database_is_noticed(edited: Any, vml: Any, reason: str, statements: list[str]) -> None:
    folder, pin, edit = edited
    edit(*statements)
    found = refused(vml, "audit", "case 3", "--database", database(folder), "--log-key", pin)
    assert found == reason


def rewritten(folder: Path, number: int | None) -> None:
    """Rewrite the whole log as somebody would who has the database and the key: one entry changed, or the last gone."""
    from sqlalchemy import delete, select

    from vml.serve import log
    from vml.serve.store import Store
    from vml.serve.tables import claims, inputs, log_checkpoints, log_entries, log_nodes

    store = Store.open(database(folder))
    with store.writing() as connection:
        rows = connection.execute(select(log_entries).order_by(log_entries.c.index)).all()
        for table in (log_entries, log_nodes, log_checkpoints):
            connection.execute(delete(table))
        entries = [(bytes(row.claim), bytes(row.data)) for row in rows]
        if number is None:
            claim, _ = entries.pop()
            connection.execute(delete(inputs).where(inputs.c.claim == claim))
            connection.execute(delete(claims).where(claims.c.digest == claim))
        else:
            entries[number] = (entries[number][0], entries[number][1].replace(b"tiny", b"tinx"))
        log.append(connection, entries)
        log.checkpoint(connection, load_log_key(folder / "data"), time.time())
    store.close()


@pytest.mark.parametrize("number", [0, 3, 5, None])
def test_a_log_that_its_owner_rewrote_is_noticed_by_whoever_kept_a_checkpoint(
    edited: Any, tiny: Any, vml: Any, number: int | None
) -> None:
    folder, pin, _ = edited
    rewritten(folder, number)
    asked = ("--log-key", pin, "--since", folder / "kept")
    assert refused(vml, "audit", "--database", database(folder), *asked) == "consistency"
    with running(tiny, folder / "data") as server:
        for more in range(3):
            server.said({"nonce": f"more {more}"})
        assert refused(vml, "audit", "--server", server.url, *asked) == "consistency"
        assert refused(vml, "audit", "more 1", "--server", server.url, *asked) == "consistency"
    assert open_checkpoint((folder / "kept").read_bytes(), VerifierKey.parse(pin)).size == 6


def test_a_server_signs_for_no_database_that_was_edited(edited: Any, tiny: Any) -> None:
    folder, _, edit = edited
    edit("update log_nodes set hash = zeroblob(32) where position = 9")
    with running(tiny, folder / "data") as server:
        server.said({"nonce": "after"})
        response = server.http.get("/v1/log/checkpoint")
        assert response.status_code == 409
        assert "nothing is signed" in response.json()["error"]


def test_two_views_of_one_log(edited: Any, vml: Any) -> None:
    """What two auditors were shown: whoever compares sees it, at equal sizes at once."""
    folder, pin, _ = edited
    signer = load_log_key(folder / "data")
    kept = open_checkpoint((folder / "kept").read_bytes(), signer.verifier)
    (folder / "kept").write_bytes(Checkpoint(kept.origin, kept.size, bytes(32)).sign(signer))
    code, _, err = vml("audit", "--database", database(folder), "--log-key", pin, "--since", folder / "kept")
    assert code == 1
    assert "split view" in err
