# SPDX-License-Identifier: Apache-2.0
"""Programs the machine may have already: which versions of them the lab accepts, and where they are looked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROBE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Accepted:
    """The versions of a program the lab can use: from minimum (included) to below (not included), if there is one."""

    pattern: str  # one group: the version
    minimum: str
    below: str = ""
    # Files that must lie beside the program, and files of its home directory, for it to be of use.
    beside: tuple[str, ...] = ()
    home_files: tuple[str, ...] = ()
    # One program under many names does what the name of the link says: the link is not followed.
    by_name: bool = False

    @property
    def text(self) -> str:
        """The range in words."""
        return f"{self.minimum} or later" + (f", below {self.below}" if self.below else "")

    def admits(self, version: str) -> bool:
        """True when the version is within the range."""
        if _numbers(version) < _numbers(self.minimum):
            return False
        return not self.below or _numbers(version) < _numbers(self.below)


# kafka_exporter is not among them: the two programs of that name differ in their metrics and tell no version apart.
ACCEPTED = {
    # The platform under test runs one of January 2024.
    "minio": Accepted(r"RELEASE\.(\d{4}-\d\d-\d\d)", "2024-01-01"),
    # Older ones refuse secrets in files for some receivers.
    "alertmanager": Accepted(r"version (\d+\.\d+\.\d+)", "0.28.0", "1.0.0"),
    "amtool": Accepted(r"version (\d+\.\d+\.\d+)", "0.28.0", "1.0.0"),
    "process-exporter": Accepted(r"version (\d+\.\d+\.\d+)", "0.8.0", "1.0.0"),
    "grafana": Accepted(r"version (\d+\.\d+\.\d+)", "10.0.0", "11.0.0", home_files=("conf/defaults.ini",)),
    "prometheus": Accepted(r"version (\d+\.\d+\.\d+)", "2.42.0", "4.0.0"),
    "promtool": Accepted(r"version (\d+\.\d+\.\d+)", "2.42.0", "4.0.0"),
    "postgres": Accepted(r"PostgreSQL\) (\d+(?:\.\d+)?)", "15", "19", beside=("initdb", "pg_ctl", "pg_isready")),
    # Older ones do not wait for another program that is changing rules.
    "iptables": Accepted(r"iptables v(\d+\.\d+\.\d+)", "1.4.21", by_name=True),
    # The oldest that was tried.
    "dockerd": Accepted(r"Docker version (\d+\.\d+\.\d+)", "20.10.0"),
    # Before that, files without a version were refused. The plugin of later ones is the same program.
    "docker-compose": Accepted(r"(?:docker-compose|Docker Compose) version v?(\d+\.\d+\.\d+)", "1.29.0"),
    # Older ones have no headless mode that draws as a window does.
    "chromium": Accepted(r"Chromium (\d+\.\d+)", "112.0"),
}
# Where packages put programs that are not meant for PATH; the highest version first.
BEYOND_PATH = {
    "postgres": ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"),
    "iptables": ("/usr/sbin", "/sbin"),
    "dockerd": ("/usr/sbin", "/sbin"),
    "docker-compose": tuple(f"/usr{place}/docker/cli-plugins" for place in ("/local/lib", "/lib", "/libexec")),
}
# Where packages put what the program needs beside itself.
HOMES = {"grafana": ("/usr/share/grafana",)}


@dataclass(frozen=True)
class PathProgram:
    """A program of the machine, or why the one that was found is of no use."""

    path: Path | None
    version: str = ""
    home: Path | None = None
    refused: str = ""


def find_on_path(name: str) -> PathProgram:
    """The machine's own program of that name, if its version is accepted. Asks each candidate for its version."""
    if name not in ACCEPTED:
        return PathProgram(None)
    refused = ""
    for candidate in _candidates(name):
        program = _examine(name, candidate)
        if program.path is not None:
            return program
        refused = refused or program.refused
    return PathProgram(None, refused=refused)


def ask_version(path: Path, pattern: str) -> str | None:
    """The version a program tells with --version; None when it does not run, hangs, or says something else."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    # Prometheus 2.42 and its kin write it to the standard error output.
    found = re.search(pattern, answer.stdout + answer.stderr)
    return found.group(1) if found and answer.returncode == 0 else None


def _candidates(name: str) -> Iterator[Path]:
    if found := shutil.which(name):
        yield Path(found).absolute() if ACCEPTED[name].by_name else Path(found).resolve()
    for pattern in BEYOND_PATH.get(name, ()):
        directories = Path("/").glob(pattern.lstrip("/"))
        for directory in sorted(directories, key=lambda path: _numbers(str(path)), reverse=True):
            if (directory / name).is_file():
                yield directory / name


def _examine(name: str, path: Path) -> PathProgram:
    accepted = ACCEPTED[name]
    version = ask_version(path, accepted.pattern)
    if version is None:
        return PathProgram(None, refused=f"{path} does not tell its version")
    if not accepted.admits(version):
        return PathProgram(None, refused=f"{path} is {version}, needed: {accepted.text}")
    if missing := [each for each in accepted.beside if not (path.parent / each).is_file()]:
        return PathProgram(None, refused=f"{path} has no {missing[0]} beside it")
    if not accepted.home_files:
        return PathProgram(path, version)
    for home in map(Path, HOMES[name]):
        if all((home / each).is_file() for each in accepted.home_files):
            return PathProgram(path, version, home)
    return PathProgram(None, refused=f"{path} has no {accepted.home_files[0]} in {' or '.join(HOMES[name])}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
