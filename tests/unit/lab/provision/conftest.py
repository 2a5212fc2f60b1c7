# SPDX-License-Identifier: Apache-2.0
"""A clone and a cache of the test's own, and programs of its own at the head of PATH."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from k2lab.provision import path_programs
from k2lab.provision.golang import toolchain
from k2lab.provision.golang.programs import GRAFANA
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner

Program = Callable[[str, str], Path]

# A go that does what the builds ask of it: finds the pinned sources of Grafana, a wire, and makes programs that tell a
# version. Each call leaves a line in $GO_CALLS; a package whose name is in $GO_FAILS does not compile, with the words
# of $GO_SAYS.
GO = r"""
echo "$*" >>"$GO_CALLS"
case $1 in
version) echo "go version go1.26.1 linux/amd64"; exit;;
env) echo "$USER_GOFLAGS"; exit;;
mod)
  at=$GOMODCACHE/{module}@{version}; meta=$GOMODCACHE/cache/download/{module}/@v
  mkdir -p "$at/conf" "$at/public/emails" "$at/public/app/plugins/datasource/prometheus" "$meta"
  touch "$at/conf/defaults.ini" "$at/public/emails/a.html" "$at/public/emails/a.txt"
  touch "$at/public/app/plugins/datasource/prometheus/plugin.json"
  printf '%s' "${GRAFANA_SUM:-{sum}}" >"$meta/{version}.ziphash"
  printf '"Sum": "%s"\n"GoModSum": "h1:mod="\n' "${GRAFANA_SUM:-{sum}}"
  exit;;
get) echo "require ($*)" >>go.mod; echo "sums of $*" >go.sum; exit;;
list) mkdir -p "$GOMODCACHE/read-only"; touch "$GOMODCACHE/read-only/file"; chmod a-w "$GOMODCACHE/read-only"; exit;;
build) ;;
*) exit 64;;
esac
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
for package; do
  if [ -n "$GO_FAILS" ] && [ "${package##*/}" = "$GO_FAILS" ]; then
    [ "$GO_SAYS" != hang ] || { echo $$ >"$GO_CALLS.pid"; exec sleep 600; }
    echo "$GO_SAYS" >&2
    exit 1
  fi
  case $out in */) target=$out${package##*/};; *) target=$out;; esac
  printf '#!/bin/sh\necho built\n' >"$target"
  chmod +x "$target"
done
"""


@pytest.fixture
def paths(tmp_path: Path, project_root: Path) -> Paths:
    """A clone with the real pins of the Go programs, an empty cache."""
    clone = tmp_path / "clone"
    shutil.copytree(project_root / "lab" / "go", clone / "lab" / "go")
    shutil.copytree(project_root / "requirements", clone / "requirements")
    return Paths(root=clone, cache=tmp_path / "cache")


@pytest.fixture
def runner(paths: Paths) -> Runner:
    return Runner(paths.work / "setup")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script on PATH, where besides there are only the basic commands of the machine, not its programs."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("sh", "chmod", "mkdir", "mv", "rm", "sleep", "touch", "cp", "cat", "dirname", "env"):
        (directory / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(path_programs, "BEYOND_PATH", {})
    monkeypatch.setattr(path_programs, "HOMES", {"grafana": (str(tmp_path / "grafana-home"),)})
    monkeypatch.setattr(toolchain, "BEYOND_PATH", ())

    def put(name: str, script: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def go_calls(paths: Paths, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A go and a C compiler on PATH; the file has a line for each call of go."""
    pins = (paths.go_sources / "grafana" / "go.sum").read_text().splitlines()
    module, version, digest = next(line for line in pins if "/go.mod " not in line).split()
    assert module == GRAFANA.module
    script = GO
    for name, value in (("module", module), ("version", version), ("sum", digest)):
        script = script.replace(f"{{{name}}}", value)
    program("go", script)
    program("gcc", "exit 0")
    for name, value in {
        "GO_CALLS": str(tmp_path / "calls"),
        "GO_FAILS": "",
        "GO_SAYS": "",
        "USER_GOFLAGS": "",
        "CC": "",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "calls"
