# SPDX-License-Identifier: Apache-2.0
"""A Go new enough for the lab's programs: the machine's, else the pinned one that comes as a Python package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from k2lab.provision.cache import ensure_entry, recipe_digest
from k2lab.provision.environment import create_venv
from k2lab.provision.errors import SetupError
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner

# Earlier ones do not know the tool lines of lab/go/*/go.mod.
MINIMUM = (1, 24)
PROBE_TIMEOUT_S = 10.0
INSTALL_TIMEOUT_S = 600.0
REQUIREMENT = "go.txt"
# Where installers and packages put a Go that is not on PATH.
BEYOND_PATH = ("/usr/local/go/bin/go", "/usr/lib/go-1.*/bin/go")


@dataclass(frozen=True)
class Go:
    """A Go command."""

    path: Path
    version: tuple[int, ...]


def find_go(paths: Paths) -> Go | None:
    """The first Go that is new enough: on PATH, where installers put it, in the cache."""
    for candidate in _candidates(paths):
        version = go_version(candidate)
        if version is not None and version >= MINIMUM:
            return Go(candidate, version)
    return None


def go_version(path: Path) -> tuple[int, ...] | None:
    """Version of a go command; None when it does not run."""
    try:
        answer = subprocess.run(
            [path, "version"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
            # Its own version, not that of one it would fetch.
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"go version go(\d+(?:\.\d+)+)", answer.stdout)
    return tuple(int(number) for number in found.group(1).split(".")) if found else None


def ensure_go(paths: Paths, runner: Runner, doing: Callable[[str], None]) -> Go:
    """A Go command that is new enough; fetches the pinned one into the cache when the machine has none."""
    if found := find_go(paths):
        return found
    entry = toolchain_entry(paths)
    ensure_entry(
        entry,
        lambda directory: _install(paths, runner, doing, directory),
        is_complete=lambda path: _command(path).is_file(),
        runner=runner,
        waiting=doing,
    )
    version = go_version(_command(entry))
    if version is None or version < MINIMUM:
        raise SetupError(
            f"the Go of {paths.requirements / REQUIREMENT} does not run here",
            seen=str(_command(entry)),
            remedy="install Go {}.{} or newer and put it on PATH".format(*MINIMUM),
        )
    return Go(_command(entry), version)


def toolchain_entry(paths: Paths) -> Path:
    """Directory of the cache that holds (or will hold) the pinned Go."""
    return paths.cache / f"go-{recipe_digest([(paths.requirements / REQUIREMENT).read_bytes()])}"


def _command(entry: Path) -> Path:
    return entry / "go" / "bin" / "go"


def _candidates(paths: Paths) -> Iterator[Path]:
    if found := shutil.which("go"):
        yield Path(found)
    for pattern in BEYOND_PATH:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    yield _command(toolchain_entry(paths))


def _install(paths: Paths, runner: Runner, doing: Callable[[str], None], directory: Path) -> None:
    """Let pip put the package into the directory. .venv may be at work itself: a pip of our own does it."""
    doing("fetching Go, 75 MB")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        create_venv(Path(scratch), runner, "go-venv")
        runner.run(
            "go-install",
            [
                *(Path(scratch) / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", directory),
                *("-r", paths.requirements / REQUIREMENT),
            ],
            timeout_s=INSTALL_TIMEOUT_S,
            remedy="install Go {}.{} or newer and put it on PATH".format(*MINIMUM),
        )
