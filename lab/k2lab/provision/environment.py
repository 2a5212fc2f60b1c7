# SPDX-License-Identifier: Apache-2.0
"""The clone's Python environment: .venv with the pinned requirements, installed by uv (pip when uv cannot be had)."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from k2lab.provision.errors import SetupError
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.system import apt_install

VENV_TIMEOUT_S = 300.0
INSTALL_TIMEOUT_S = 1800.0
BASE_MARK = ".k2-base"
STAMP = ".k2-stamp.json"


class Purpose(StrEnum):
    """What the environment is for."""

    RUN = "run"
    DEV = "dev"


FILES = {Purpose.RUN: ("run.txt",), Purpose.DEV: ("run.txt", "dev.txt")}
DISK_BYTES = {Purpose.RUN: 1_800_000_000, Purpose.DEV: 2_300_000_000}


def requirement_files(paths: Paths, purpose: Purpose) -> list[Path]:
    """The pinned files a purpose installs."""
    return [paths.requirements / name for name in FILES[purpose]]


def digest(paths: Paths, purpose: Purpose) -> str:
    """Digest of the pinned requirements and of the Python they are for."""
    parts = hashlib.sha256(sys.version.encode())
    for path in requirement_files(paths, purpose):
        parts.update(path.read_bytes())
    return parts.hexdigest()


def is_current(paths: Paths, purpose: Purpose) -> bool:
    """True when a finished installation for this purpose, or a wider one, matches the pinned requirements."""
    try:
        stamp = json.loads((paths.venv / STAMP).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(stamp.get(purpose) == digest(paths, purpose)) and paths.venv_python.exists()


def ensure_environment(
    paths: Paths, purpose: Purpose, runner: Runner, doing: Callable[[str], None]
) -> tuple[str, bool]:
    """Have the environment. Returns a detail for the user and whether anything was installed."""
    if is_current(paths, purpose):
        return f"{paths.venv} is current", False
    stamp = paths.venv / STAMP
    # From here until the end the environment counts as unfinished, whatever happens.
    stamp.unlink(missing_ok=True)
    if not _base_is_usable(paths):
        doing("creating .venv")
        create_venv(paths.venv, runner, "venv")
        (paths.venv / BASE_MARK).write_text(sys.version)
    name = _install(paths, purpose, runner, doing)
    doing("checking the programs")
    _check_imports(paths, runner)
    # A run installation inside an environment that already had dev leaves the older dev packages in place: only what
    # this call installed is vouched for.
    covers = {Purpose.RUN: [Purpose.RUN], Purpose.DEV: [Purpose.RUN, Purpose.DEV]}[purpose]
    stamp.write_text(json.dumps({str(each): digest(paths, each) for each in covers}))
    return f"{paths.venv} by {name}", True


def _base_is_usable(paths: Paths) -> bool:
    """A finished .venv of the Python that runs set-up now."""
    try:
        mark = (paths.venv / BASE_MARK).read_text()
    except FileNotFoundError:
        return False
    if mark != sys.version:
        return False
    # The interpreter the environment points at may be gone.
    try:
        subprocess.run([paths.venv_python, "-c", ""], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def create_venv(directory: Path, runner: Runner, log_name: str) -> None:
    """Make an empty virtual environment with pip; installs what Debian keeps apart for that when root."""
    # Called from inside .venv (activated, say), the interpreter to build on is the one behind it.
    command: list[str | Path] = [
        Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    ]
    command += ["-m", "venv", "--clear", directory]
    try:
        runner.run(
            log_name,
            command,
            timeout_s=VENV_TIMEOUT_S,
            remedy="Debian keeps this in a package of its own: apt install python3-venv, then run again",
        )
    except SetupError:
        if shutil.which("apt-get") is None or "ensurepip" not in runner.log(log_name).read_text(errors="replace"):
            raise
        apt_install(runner, "python3-venv")
        runner.run(log_name, command, timeout_s=VENV_TIMEOUT_S, remedy="see the log")


def _install(paths: Paths, purpose: Purpose, runner: Runner, doing: Callable[[str], None]) -> str:
    """Install the pinned requirements into .venv. Returns what did it."""
    wanted: list[str | Path] = []
    for path in requirement_files(paths, purpose):
        wanted += ["-r", path]
    files = " + ".join(str(part.name) for part in wanted if isinstance(part, Path))
    pip: list[str | Path] = [paths.venv_python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        doing("looking for uv")
        uv = _uv(paths, runner, pip)
        doing(f"uv installs {files}")
        runner.run(
            "python",
            [uv, "pip", "install", "--no-progress", "--python", paths.venv_python, *wanted],
            timeout_s=INSTALL_TIMEOUT_S,
            remedy="pip is used instead",
            # The certificates that the rest of the machine trusts, as pip's own settings would have them.
            environ={"UV_SYSTEM_CERTS": "true"},
        )
        return "uv"
    except SetupError:
        # Not fatal: uv is only the faster way, and pip may be set up where uv is not. uv's log stays in .cache/setup/.
        doing(f"pip installs {files}")
    runner.run(
        "pip",
        [*pip, *wanted],
        timeout_s=INSTALL_TIMEOUT_S,
        remedy="check that a Python package index is within reach (pip's own settings apply), then run again",
    )
    return "pip (uv could not do it)"


def _uv(paths: Paths, runner: Runner, pip: Sequence[str | Path]) -> Path:
    """A uv: .venv's, the machine's, or a new one in .venv."""
    own = paths.venv / "bin" / "uv"
    if not own.exists():
        if found := shutil.which("uv"):
            return Path(found)
        runner.run("uv", [*pip, _pinned(paths, "uv")], timeout_s=INSTALL_TIMEOUT_S, remedy="pip is used instead")
    return own


def _pinned(paths: Paths, package: str) -> str:
    """'package==version' as pinned in run.txt."""
    source = paths.requirements / "run.txt"
    found = re.search(rf"^{re.escape(package)}==\S+", source.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{package} is not pinned in {source}", remedy="run: make requirements")
    return found.group(0)


def _check_imports(paths: Paths, runner: Runner) -> None:
    """A wheel for the wrong machine installs well and fails on import: find out now. Also compiles the byte code."""
    modules = "aiohttp, ansible, chdb, clickhouse_connect, confluent_kafka, prefect, psutil, psycopg, pyarrow"
    modules += ", pyiceberg_core, pyiceberg.catalog.sql, sqlalchemy, supervisor, yaml"
    runner.run(
        "imports",
        [paths.venv_python, "-c", f"import {modules}"],
        timeout_s=VENV_TIMEOUT_S,
        remedy="remove .venv and run again; if it stays, this machine's architecture has no wheel of that package",
    )
