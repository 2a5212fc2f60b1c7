# SPDX-License-Identifier: Apache-2.0
"""Apache Kafka's jars: fetched once by Maven into the shared cache, trusted only when they match the manifest.

The cache directory is keyed by the digest of pom.xml and jars.sha256 together.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from k2lab.provision.cache import Made, ensure_entry, recipe_digest
from k2lab.provision.errors import SetupError
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.system import ensure_java, ensure_maven

VERSION = "4.3.1"
# Later versions of the plugin need parts that not every mirror serves.
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy-dependencies"
DISK_BYTES = 250_000_000
MAVEN_TIMEOUT_S = 900.0


def kafka_home(paths: Paths) -> Path:
    """Directory that holds (or will hold) the jars this checkout needs."""
    digest = recipe_digest((paths.kafka_sources / name).read_bytes() for name in ("pom.xml", "jars.sha256"))
    return paths.cache / f"kafka-{VERSION}-{digest}"


def read_manifest(path: Path) -> dict[str, str]:
    """File name to SHA-256, from sha256sum's format."""
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line)
    return {name.strip(): digest for digest, name in lines}


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def differences(home: Path, manifest: dict[str, str]) -> list[str]:
    """What keeps the directory from being exactly the manifest; empty when nothing does."""
    present = {path.name for path in home.glob("*")} if home.is_dir() else set()
    problems = [f"missing: {name}" for name in sorted(manifest.keys() - present)]
    problems += [f"unexpected: {name}" for name in sorted(present - manifest.keys())]
    problems += [
        f"checksum differs: {name}"
        for name in sorted(manifest.keys() & present)
        if sha256(home / name) != manifest[name]
    ]
    return problems


def ensure_kafka(paths: Paths, runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have the jars in the cache. Returns a detail for the user and whether anything was fetched."""
    home = kafka_home(paths)
    manifest = read_manifest(paths.kafka_sources / "jars.sha256")
    ensure_java(runner, doing)

    def build(directory: Path) -> None:
        doing("looking for Maven")
        maven = ensure_maven(runner)
        doing(f"Maven fetches {len(manifest)} jars")
        fetch(paths, runner, maven, directory)
        if problems := differences(directory, manifest):
            raise SetupError(
                f"the fetched Kafka jars are not those of {paths.kafka_sources / 'jars.sha256'}",
                seen="\n".join(problems[:5]) + (f"\n... {len(problems)} in all" if len(problems) > 5 else ""),
                remedy="see what the configured Maven mirror serves; after a change of pom.xml: make requirements",
            )

    made = ensure_entry(
        home, build, is_complete=lambda path: not differences(path, manifest), runner=runner, waiting=doing
    )
    if made is Made.BUILT:
        return f"Kafka {VERSION}, {len(manifest)} jars fetched into {home}", True
    return f"Kafka {VERSION} in {home}" + (f", {made.value}" if made is Made.BY_ANOTHER else ""), False


def fetch(paths: Paths, runner: Runner, maven: str, target: Path) -> None:
    """Let Maven copy every jar of the pom into target."""
    # Maven writes into the directory of the pom: give it a copy, the checkout may be read-only.
    with tempfile.TemporaryDirectory() as scratch:
        pom = shutil.copy(paths.kafka_sources / "pom.xml", scratch)
        runner.run(
            "kafka",
            [maven, "-B", "-q", "-ntp", "-f", pom, COPY_GOAL, f"-DoutputDirectory={target}"],
            timeout_s=MAVEN_TIMEOUT_S,
            remedy="check that Maven reaches its repository (mirrors and proxies: ~/.m2/settings.xml), then run again",
        )


def write_manifest(paths: Paths, runner: Runner) -> int:
    """Fetch the jars of a changed pom.xml and write their checksums. Returns their number."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        fetch(paths, runner, ensure_maven(runner), target)
        lines = [f"{sha256(jar)}  {jar.name}\n" for jar in sorted(target.iterdir())]
    (paths.kafka_sources / "jars.sha256").write_text("".join(lines))
    return len(lines)
