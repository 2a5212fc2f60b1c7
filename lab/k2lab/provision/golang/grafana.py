# SPDX-License-Identifier: Apache-2.0
"""Grafana's back end: built from its own source tree, since its modules are pinned and replaced there.

The sources leave out what a generator writes (the wiring of the server), and the front end is not built: what remains
is the HTTP API, provisioning, data sources and alerting, with the few files of its home directory that these read.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from k2lab.provision.errors import SetupError
from k2lab.provision.golang.programs import GRAFANA, display_version, module_version
from k2lab.provision.golang.workshop import FETCH_TIMEOUT_S, Workshop
from k2lab.provision.system import ensure_c_compiler

WIRE = "github.com/google/wire/cmd/wire"
TAGS = "oss"
HOME_FILES = (
    "conf/defaults.ini",
    "public/emails/*.html",
    "public/emails/*.txt",
    "public/app/plugins/datasource/prometheus/plugin.json",
)
# Looked into at start; may be empty.
HOME_DIRECTORIES = ("public/app/plugins/panel",)


def fetch_grafana(workshop: Workshop) -> None:
    """Fetch the source tree, write its missing files, fetch what it imports."""
    version = module_version(workshop.paths, GRAFANA)
    source = _source(workshop)
    workshop.run(
        GRAFANA,
        "download",
        [workshop.go.path, "mod", "download", f"{GRAFANA.module}@{version}"],
        directory=workshop.paths.go_sources / "grafana",
        timeout_s=FETCH_TIMEOUT_S,
    )
    _verify(workshop, version)
    (workshop.modules(GRAFANA) / f"{GRAFANA.module}@{version}").rename(source)
    wire = workshop.room(GRAFANA) / "wire"
    workshop.run(
        GRAFANA,
        "wire-build",
        [workshop.go.path, "build", "-mod=readonly", "-o", wire, WIRE],
        directory=workshop.paths.go_sources / "wire",
        timeout_s=FETCH_TIMEOUT_S,
    )
    workshop.run(
        GRAFANA, "wire", [wire, "gen", "-tags", TAGS, "./pkg/server"], directory=source, timeout_s=FETCH_TIMEOUT_S
    )
    workshop.run(
        GRAFANA,
        "fetch",
        [workshop.go.path, "list", "-mod=readonly", "-tags", TAGS, "-deps", "-f", "", *GRAFANA.programs.values()],
        directory=source,
        timeout_s=FETCH_TIMEOUT_S,
    )


def build_grafana(workshop: Workshop, directory: Path) -> None:
    """Compile the fetched sources and lay out the home directory."""
    ensure_c_compiler(workshop.runner)
    source = _source(workshop)
    workshop.compile(
        GRAFANA,
        list(GRAFANA.programs.values()),
        str(directory / "grafana"),
        version=display_version(workshop.paths, GRAFANA),
        directory=source,
        tags=TAGS,
    )
    workshop.check(GRAFANA, directory)
    lay_out_home(source, directory / "home")


def lay_out_home(source: Path, home: Path) -> None:
    """Copy the files of the home directory. Raises SetupError when the source tree lacks one kind of them."""
    for pattern in HOME_FILES:
        files = sorted(source.glob(pattern))
        if not files:
            raise SetupError(f"Grafana's sources have no {pattern}", seen=str(source), remedy="see lab/go/grafana")
        for file in files:
            target = home / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    for name in HOME_DIRECTORIES:
        (home / name).mkdir(parents=True, exist_ok=True)


def _source(workshop: Workshop) -> Path:
    return workshop.room(GRAFANA) / "grafana"


def _verify(workshop: Workshop, version: str) -> None:
    """Hold the fetched source tree against go.sum: nothing imports it, so Go itself may not."""
    pins = (workshop.paths.go_sources / "grafana" / "go.sum").read_text()
    pinned = re.search(rf"^{re.escape(GRAFANA.module)} {re.escape(version)} (\S+)$", pins, re.MULTILINE)
    fetched = workshop.modules(GRAFANA) / "cache" / "download" / GRAFANA.module / "@v" / f"{version}.ziphash"
    seen = fetched.read_text().strip()
    if pinned is None or pinned.group(1) != seen:
        raise SetupError(
            "Grafana's sources are not the pinned ones",
            seen=f"{seen}, pinned: {pinned.group(1) if pinned else 'nothing'}",
            remedy="see what the module proxy serves; after a change of lab/go/grafana/go.mod: make requirements",
        )
