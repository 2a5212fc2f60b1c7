# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL cluster: one that initdb has finished, or none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.postgres.privilege import as_server, give_to_server

# From this version on there is pg_read_all_data, which the read-only role is made of.
VERSION_MINIMUM = 14
SUPERUSER = "k2"
_SCRATCH = ".initdb"
_INITDB_TIMEOUT_S = 60.0
_VERSION_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Cluster:
    """A cluster of the server program `server`, whose directory has initdb too, below `root`."""

    server: Path
    root: Path

    @property
    def directory(self) -> Path:
        """PGDATA. It appears by a rename once initdb is done."""
        return self.root / "cluster"

    def ensure(self, password_file: Path) -> bool:
        """Make the cluster unless it is there; True when it was made now.

        `password_file` holds the superuser's password. Raises LabError when the server's version does not fit, or
        initdb fails.
        """
        version = self._server_version()
        if self.directory.exists():
            self._check_made_by(version)
            return False
        scratch = self.root / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)  # of an initdb that was killed
        scratch.mkdir(mode=0o700)
        give_to_server(scratch)
        self._initdb(scratch, password_file)
        scratch.rename(self.directory)
        _sync_directory(self.root)
        return True

    def serve_command(self, configuration: Path) -> list[str]:
        """The command line of the server. Raises LabError when there is no cluster."""
        if not self.directory.exists():
            raise LabError(f"a PostgreSQL cluster in {self.directory}", "none", "run: make lab-up")
        return as_server([str(self.server), "-D", str(self.directory), "-c", f"config_file={configuration}"])

    def _server_version(self) -> int:
        output = self._output([str(self.server), "--version"], _VERSION_TIMEOUT_S)
        found = re.search(r"\b(\d+)(\.|devel|beta|rc)", output)
        version = int(found.group(1)) if found else 0
        if version < VERSION_MINIMUM:
            raise LabError(
                f"PostgreSQL {VERSION_MINIMUM} or newer", output.strip(), "install a newer one, then run make setup"
            )
        return version

    def _check_made_by(self, version: int) -> None:
        try:
            made_by = (self.directory / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise LabError(
                f"a PostgreSQL cluster in {self.directory}", str(error), "lab-down with k2_lab_purge=true, then lab-up"
            ) from error
        if made_by != str(version):
            raise LabError(
                f"a cluster of PostgreSQL {version}, which is what {self.server} is",
                f"{self.directory} is of PostgreSQL {made_by}",
                "lab-down with k2_lab_purge=true, then lab-up",
            )

    def _initdb(self, directory: Path, password_file: Path) -> None:
        command = [
            *(str(self.server.with_name("initdb")), "--pgdata", str(directory)),
            *("--username", SUPERUSER, "--pwfile", str(password_file), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8"),
        ]
        self._output(as_server(command), _INITDB_TIMEOUT_S)

    @staticmethod
    def _output(command: list[str], timeout_s: float) -> str:
        try:
            # The server's user may not enter the directory we are in.
            outcome = subprocess.run(
                command,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"to run {command[0]}", str(error), "run make setup, then lab-up again") from error
        if outcome.returncode != 0:
            raise LabError(
                f"{' '.join(command)} to succeed",
                f"exit code {outcome.returncode}: {(outcome.stderr or outcome.stdout).strip()[-1500:]}",
                "correct the cause, run lab-up again",
            )
        return outcome.stdout


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
