# SPDX-License-Identifier: Apache-2.0
"""Where the lab's programs are: what set-up built, what the machine has, or why there is none. Looks, never builds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from k2lab.provision.debian import (
    CHROMIUM_KEY,
    COMPOSE_KEY,
    ENGINE_KEY,
    IPTABLES_KEY,
    POSTGRES_KEY,
    PROMETHEUS_PROGRAMS,
    prometheus_entry,
)
from k2lab.provision.failures import read_failure
from k2lab.provision.golang.programs import GO_PARTS, display_version, go_entry, is_built
from k2lab.provision.path_programs import ACCEPTED, ask_version, find_on_path
from k2lab.provision.paths import Paths

NOT_SET_UP = "set-up has not provided it yet: make setup"


@dataclass(frozen=True)
class Tool:
    """A program, or the reason why there is none."""

    name: str
    path: Path | None  # absolute
    version: str = ""
    reason: str = ""  # one line, empty when path is set
    home: Path | None = None  # the directory of files the program needs, for grafana only


@dataclass(frozen=True)
class _Built:
    """Where set-up puts a program, and under which key it keeps a failure."""

    key: str
    path: Path | None = None  # None: the program comes from a package of the machine
    version: str = ""  # empty: ask the program


# Programs of packages: the key under which a failure to install them is kept.
_PACKAGED = {
    "postgres": POSTGRES_KEY,
    "iptables": IPTABLES_KEY,
    "dockerd": ENGINE_KEY,
    "docker-compose": COMPOSE_KEY,
    "chromium": CHROMIUM_KEY,
}
TOOL_NAMES = (*(name for part in GO_PARTS for name in part.programs), *PROMETHEUS_PROGRAMS, *_PACKAGED)


def find_tool(paths: Paths, name: str) -> Tool:
    """The program of that name: a finished entry of the cache, else the machine's own in an accepted version.

    Raises KeyError for a name that is not in TOOL_NAMES.
    """
    built = _built(paths, name)
    if built.path is not None and built.path.is_file():
        version = built.version or ask_version(built.path, ACCEPTED[name].pattern) or "unknown"
        home = built.path.parent / "home"
        return Tool(name, built.path, version, home=home if home.is_dir() else None)
    own = find_on_path(name)
    if own.path is not None:
        return Tool(name, own.path, own.version, home=own.home)
    failure = read_failure(paths.cache, built.key)
    reason = failure.reason if failure else NOT_SET_UP
    return Tool(name, None, reason=f"{reason} ({own.refused})" if own.refused else reason)


def _built(paths: Paths, name: str) -> _Built:
    for part in GO_PARTS:
        if name in part.programs:
            entry = go_entry(paths, part)
            # All programs of an entry or none: half an entry is rebuilt by the next set-up.
            path = entry / name if is_built(entry, part) else None
            return _Built(entry.name, path, display_version(paths, part))
    if name in PROMETHEUS_PROGRAMS:
        entry = prometheus_entry(paths)
        return _Built(entry.name, entry / name)
    if name in _PACKAGED:
        return _Built(_PACKAGED[name])
    raise KeyError(f"{name} is none of the lab's programs: {', '.join(TOOL_NAMES)}")
