# SPDX-License-Identifier: Apache-2.0
"""What a lab needs before its configuration can be rendered: directories, passwords, and facts about this machine."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import k2lab
from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.docker import conflicts
from k2lab.control.docker.conflicts import Wanted
from k2lab.control.keepers import keeper_of
from k2lab.control.lab import Lab
from k2lab.control.plan import Plan
from k2lab.provision.kafka import differences, kafka_home, read_manifest
from k2lab.provision.paths import Paths
from k2lab.provision.system import JAVA_MINIMUM, JAVA_PACKAGE, find_java
from k2lab.provision.tools import find_tool

DISK_BYTES = 2_000_000_000
CLUSTER_ID = "kafka_cluster_id"

Findings = tuple[list[str], dict[str, object]]


@dataclass(frozen=True)
class Prepared:
    """Result of prepare()."""

    changed: bool
    secrets: dict[str, str]
    cluster_id: str


@dataclass(frozen=True)
class FoundTool:
    """A program the lab runs: where it is, with the files it needs, or why there is none (`path` is empty then)."""

    path: str
    home: str
    version: str
    reason: str


def find_tools(names: Iterable[str]) -> dict[str, FoundTool]:
    """Look for programs by set-up's names for them."""
    paths = Paths.discover()
    found = {name: find_tool(paths, name) for name in names}
    return {
        name: FoundTool(str(tool.path or ""), str(tool.home or ""), tool.version, tool.reason)
        for name, tool in found.items()
    }


def preflight(lab: Lab, ports: list[int], wanted: Wanted | None, tools: Iterable[FoundTool]) -> Findings:
    """What would keep the lab from starting (empty: nothing), and the facts its configuration needs.

    `wanted` is None for a lab of processes; containers have to see where `tools` are.
    """
    problems: list[str] = []
    facts: dict[str, object] = {"lab_id": lab.lab_id, "directory": str(lab.directory), "socket": str(lab.socket)}
    paths = Paths.discover()
    home = kafka_home(paths)
    facts["kafka_home"] = str(home)
    if wrong := differences(home, read_manifest(paths.kafka_sources / "jars.sha256")):
        problems.append(
            f"Kafka's jars in {home} are not complete ({wrong[0]}; {len(wrong)} differences): run make setup"
        )
    found = find_java()
    java = found[0] if found else ""
    facts["java"] = java
    if found is None:
        problems.append(
            f"no Java {JAVA_MINIMUM} or newer on PATH, in JAVA_HOME or /usr/lib/jvm: apt install {JAVA_PACKAGE}"
        )
    existing = next(parent for parent in (lab.directory, *lab.directory.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < DISK_BYTES:
        problems.append(
            f"{existing} has {free / 1e9:.1f} GB free, the lab needs {DISK_BYTES / 1e9:.0f} GB: free some space"
        )
    if not os.access(existing, os.W_OK):
        problems.append(f"{existing} is not writable: set k2_lab_dir to a directory of yours")
    # Listeners of this lab itself are no obstacle: they are kept, or ended as orphans.
    own = {process.pid for process in processes.of_lab(lab)}
    keeper = keeper_of(lab, Plan.read(lab) if lab.plan.exists() else None)
    taken = processes.taken_ports(set(ports) - keeper.held_ports(), own)
    for holder in dict.fromkeys(taken.values()):
        held = sorted(port for port, by in taken.items() if by == holder)
        text = f"port {held[0]} is" if len(held) == 1 else f"ports {', '.join(map(str, held))} are"
        problems.append(f"{text} taken by {holder}: end it, or set k2_lab_base_port")
    facts["keeper"] = f"{keeper.name} {'running' if keeper.answers() else 'not running'}"
    if wanted is not None:
        problems += conflicts.problems(lab, wanted)
        facts["docker"] = conflicts.facts(lab, _programs(paths, home, java, tools))
    return problems, facts


def _programs(paths: Paths, kafka: Path, java: str, tools: Iterable[FoundTool]) -> list[Path]:
    """Directories of all that the lab's programs are and read, on this machine."""
    found = [Path(place) for tool in tools for place in (tool.path and str(Path(tool.path).parent), tool.home) if place]
    java_home = [Path(java).resolve().parents[1]] if java else []
    # Of Python both the environment and what it was made from.
    return [Path(sys.prefix), Path(sys.base_prefix), paths.root / "lab", kafka, *java_home, *found]


def prepare(lab: Lab, directories: Sequence[str], names: Sequence[str]) -> Prepared:
    """Make the lab's directories and, once in a lab's life, the secrets of these names and the broker's cluster id.

    `directories` are below the lab's own.
    """
    changed = False
    own = (lab.run, lab.logs, lab.data, lab.truth, lab.secrets)
    for directory in (*own, *(lab.directory / name for name in directories)):
        if not directory.is_dir():
            directory.mkdir(parents=True)
            changed = True
    lab.secrets.chmod(0o700)
    values = {}
    for name in names:
        values[name], made = _once(lab.secrets / name, secrets.token_urlsafe(24))
        changed |= made
    # Kafka's own form of a cluster id: 16 bytes, URL-safe base64 without padding.
    fresh = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    cluster_id, made = _once(lab.run / CLUSTER_ID, fresh)
    return Prepared(changed or made, values, cluster_id)


def _once(path: Path, value: str) -> tuple[str, bool]:
    """Content of a file that is written once, whole and readable by its owner only; and whether that was now."""
    try:
        return path.read_text().strip(), False
    except FileNotFoundError:
        write_private(path, value + "\n")
        return value, True


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:  # noqa: PTH123
        handle.write(text)
    scratch.rename(path)


def code_digests(modules: list[str]) -> dict[str, str]:
    """Digest of each program's code and of what all share: the next lab-up restarts a program whose code changed."""
    root = Path(k2lab.__file__).parent
    shared = hashlib.sha256()
    for path in sorted([*root.glob("*.py"), *(root / "common").rglob("*.py")]):
        shared.update(path.read_bytes())
    digests = {}
    for module in modules:
        directory = root / module.removeprefix("k2lab.")
        if not directory.is_dir():
            raise LabError(f"the program {module}", f"no {directory}", "complete the checkout")
        own = shared.copy()
        for path in sorted(path for path in directory.rglob("*") if path.suffix in (".py", ".sql")):
            own.update(path.read_bytes())
        digests[module] = own.hexdigest()[:12]
    return digests
