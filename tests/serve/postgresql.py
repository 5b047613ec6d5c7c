"""A real PostgreSQL for tests: its own data folder, a free port on loopback, ended by its process id."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pg8000.dbapi

MISSING = "Debian's postgresql is not installed"
PASSWORD = "only for tests"
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is; Debian keeps them off the path."""
    return shutil.which(name, path=os.pathsep.join([*map(str, _PROGRAMS), os.environ.get("PATH", "")]))


class PostgreSQL:
    """One server; `start` may follow `stop` or `kill`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vml-postgresql-"))
        self._user: dict[str, object] = {}
        if os.getuid() == 0:  # it refuses to run as root
            names = [entry.pw_name for entry in pwd.getpwall()]
            owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._numbers = itertools.count()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        initdb = [str(program("initdb")), "-D", str(self._folder / "data"), "-U", "vml", "-E", "UTF8", "--locale=C"]
        self._run(*initdb, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            cwd=self._folder,
            timeout=120,
            stdout=subprocess.DEVNULL,
            **self._user,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start, and return when it answers."""
        command = [str(program("postgres")), "-D", str(self._folder / "data"), "-p", str(self.port), "-k", ""]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=60"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._user,  # type: ignore[call-overload]
            )
        give_up = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return
            except pg8000.dbapi.Error:
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT breaks connections off, SIGQUIT is a crash."""
        self._process.send_signal(how)
        self._process.wait(60)

    def remove(self) -> None:
        """Stop it for good."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside transactions."""
        connection = pg8000.dbapi.connect(
            "vml", host="127.0.0.1", port=self.port, password=PASSWORD, database=database, timeout=10
        )
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return [] if cursor.description is None else [tuple(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://vml:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{name}"

    def break_connections(self, url: str) -> int:
        """Break off every connection to a database; how many it were."""
        name = url.rpartition("/")[2]
        rows = self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        return len(rows)
