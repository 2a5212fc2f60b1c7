# SPDX-License-Identifier: Apache-2.0
"""Pins lab/go/*/go.mod and go.sum anew, after the version of a program was changed there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from k2lab.provision.errors import SetupError
from k2lab.provision.golang.grafana import WIRE
from k2lab.provision.golang.programs import GO_PARTS, GRAFANA, GoPart, module_version
from k2lab.provision.golang.workshop import FETCH_TIMEOUT_S, Workshop, open_workshop
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner

# A program that only a build needs.
WIRE_PART = GoPart("wire", module="github.com/google/wire", programs={"wire": WIRE}, expected="")
GO_VERSION = "1.24.0"


def write_modules(paths: Paths, runner: Runner, doing: Callable[[str], None]) -> int:
    """Keep each program's version, pin everything below it anew. Returns the number of directories written.

    Raises SetupError when a module cannot be fetched.
    """
    parts = (*GO_PARTS, WIRE_PART)
    with open_workshop(paths, runner, doing) as workshop:
        for part in parts:
            doing(f"pinning {part.name}")
            write = _write_grafana if part is GRAFANA else _write_tools
            directory = workshop.scratch / f"pin-{part.name}"
            directory.mkdir()
            write(workshop, part, directory)
            for name in ("go.mod", "go.sum"):
                shutil.copyfile(directory / name, paths.go_sources / part.name / name)
    return len(parts)


def _write_tools(workshop: Workshop, part: GoPart, directory: Path) -> None:
    version = module_version(workshop.paths, part)
    (directory / "go.mod").write_text(_head(part))
    packages = list(part.programs.values())
    wanted = [f"{package}@{version}" for package in packages]
    # Written by go get as far as it looks, completed by a look at all that is imported.
    for step, arguments in (
        ("pin", ["get", "-tool", *wanted]),
        ("pin-all", ["list", "-mod=mod", "-deps", "-f", "", *packages]),
    ):
        workshop.run(part, step, [workshop.go.path, *arguments], directory=directory, timeout_s=FETCH_TIMEOUT_S)


def _write_grafana(workshop: Workshop, part: GoPart, directory: Path) -> None:
    """Only the source tree itself: what it imports is pinned in the go.sum inside."""
    version = module_version(workshop.paths, part)
    (directory / "go.mod").write_text(f"{_head(part)}\nrequire {part.module} {version} // indirect\n")
    workshop.run(
        part,
        "pin",
        [workshop.go.path, "mod", "download", "-json", f"{part.module}@{version}"],
        directory=directory,
        timeout_s=FETCH_TIMEOUT_S,
    )
    log = workshop.runner.log(f"{part.name}-pin")
    lines = []
    for key, suffix in (("Sum", ""), ("GoModSum", "/go.mod")):
        found = re.search(rf'"{key}": "(h1:\S+)"', log.read_text())
        if found is None:
            raise SetupError(f"go told no {key} of {part.module}", seen=str(log), remedy="see the log")
        lines.append(f"{part.module} {version}{suffix} {found.group(1)}\n")
    (directory / "go.sum").write_text("".join(lines))


def _head(part: GoPart) -> str:
    return f"module k2.hardening/lab/{part.name}\n\ngo {GO_VERSION}\n"
