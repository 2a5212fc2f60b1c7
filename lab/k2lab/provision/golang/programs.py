# SPDX-License-Identifier: Apache-2.0
"""Which Go programs the lab needs, how each is built, and where its build lies in the cache.

What exactly goes into a program is in lab/go/<program>/go.mod and go.sum; nothing here repeats a version.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from k2lab.provision.cache import recipe_digest
from k2lab.provision.errors import SetupError
from k2lab.provision.paths import Paths

# Counts up when the way of building changes without any of the files that are part of the digest.
RECIPE = 1


@dataclass(frozen=True)
class GoPart:
    """One Go module and the programs built from it. The name is that of its directory below lab/go."""

    name: str
    module: str
    programs: dict[str, str] = field(hash=False)  # program: package
    expected: str  # for the user: how long the build takes on 2 cores
    # The variable that takes the version, where the program would otherwise not know its own.
    version_variable: str = ""
    # C code inside (an embedded database, say): needs a C compiler.
    cgo: bool = False
    # Directories below lab/go whose files are part of the recipe.
    sources: tuple[str, ...] = ()


COMMON_VERSION = "github.com/prometheus/common/version.Version"

KAFKA_EXPORTER = GoPart(
    "kafka_exporter",
    module="github.com/grafana/kafka_exporter",
    programs={"kafka_exporter": "github.com/grafana/kafka_exporter"},
    expected="20 s",
    version_variable=COMMON_VERSION,
)
PROCESS_EXPORTER = GoPart(
    "process-exporter",
    module="github.com/ncabatoff/process-exporter",
    programs={"process-exporter": "github.com/ncabatoff/process-exporter/cmd/process-exporter"},
    expected="20 s",
    version_variable="main.version",
)
ALERTMANAGER = GoPart(
    "alertmanager",
    module="github.com/prometheus/alertmanager",
    programs={
        "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
        "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
    },
    expected="30 s",
    version_variable=COMMON_VERSION,
)
MINIO = GoPart(
    "minio",
    module="github.com/minio/minio",
    programs={"minio": "github.com/minio/minio"},
    expected="3 min",
)
GRAFANA = GoPart(
    "grafana",
    module="github.com/grafana/grafana",
    programs={"grafana": "./pkg/cmd/grafana"},
    expected="4 min",
    version_variable="main.version",
    cgo=True,
    sources=("wire",),
)

# The order in which they are built, one at a time: a compiler uses all cores as it is, two would only need the memory
# of two. The short ones go first, so that the modules of the long ones are fetched while the processor is busy.
GO_PARTS = (KAFKA_EXPORTER, PROCESS_EXPORTER, ALERTMANAGER, MINIO, GRAFANA)


def module_version(paths: Paths, part: GoPart) -> str:
    """The pinned version of the part's module, as Go writes it (with the v)."""
    source = paths.go_sources / part.name / "go.mod"
    found = re.search(rf"^(?:require)?\s+{re.escape(part.module)} (v\S+)", source.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{part.module} is not required in {source}", remedy="mend the file, then: make requirements")
    return found.group(1)


def display_version(paths: Paths, part: GoPart) -> str:
    """The version for people: 0.28.1; the day and the commit where no release was tagged."""
    if part is GRAFANA:
        return "10.0.0"  # Go has no tag for it: the commit is that of the release
    version = module_version(paths, part).removeprefix("v")
    untagged = re.fullmatch(r"[0-9.]+-(?:0\.)?(\d{4})(\d\d)(\d\d)\d{6}-([0-9a-f]{12})", version)
    return "{}-{}-{}-{}".format(*untagged.groups()) if untagged else version


def go_entry(paths: Paths, part: GoPart) -> Path:
    """Directory of the cache that holds (or will hold) the part's programs."""
    files = [paths.go_sources / source / name for source in (part.name, *part.sources) for name in ("go.mod", "go.sum")]
    method = json.dumps([RECIPE, part.programs, part.version_variable, part.cgo, platform.machine(), platform.system()])
    digest = recipe_digest([*(path.read_bytes() for path in files), method.encode()])
    return paths.cache / f"{part.name}-{display_version(paths, part)}-{digest}"


def is_built(entry: Path, part: GoPart) -> bool:
    """True when every program of the part is there."""
    return all((entry / name).is_file() for name in part.programs)
