"""A PostgreSQL server of a test's own on the loopback interface, where PostgreSQL is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

_USER = "medseg"


def _programs():
    """Debian's newest version, else what is on the path."""
    found = [Path(path) for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class PostgreSQL:
    """A cluster in a folder of its own; it is stopped and deleted with the block."""

    def __enter__(self):
        self.bin = _programs()
        if self.bin is None:
            pytest.skip("PostgreSQL is not installed: no initdb")
        # The server refuses root, and its user must get into the folder.
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.folder = Path(tempfile.mkdtemp(prefix="medseg_pg_"))
        if self.as_user:
            shutil.chown(self.folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-U", _USER, "--no-sync")
        try:
            self.start()
            self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", _USER, "studies")
        except BaseException:  # Ctrl-C too must leave no server behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.stop(check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, beginning="postgresql://"):
        return f"{beginning}{_USER}:hushhush@127.0.0.1:{self.port}/studies"

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._pg_ctl("start", "-o", options, "-l", self.folder / "log")

    def stop(self, check=True):
        self._pg_ctl("stop", "-m", "immediate", check=check)

    def _pg_ctl(self, *arguments, check=True):
        self._run("pg_ctl", "-w", "-t", "60", "-D", self.folder / "data", *arguments, check=check)

    def _run(self, program, *arguments, check=True):
        subprocess.run(
            [*self.as_user, str(self.bin / program), *map(str, arguments)],
            check=check,
            timeout=120,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
