# SPDX-License-Identifier: Apache-2.0
"""What the machine must bring: disk, Java, Maven, a C compiler. Takes what is there, else Debian's packages if root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from k2lab.provision.errors import SetupError
from k2lab.provision.process import Runner

JAVA_MINIMUM = 17
JAVA_PACKAGE = "openjdk-17-jre-headless"
PROBE_TIMEOUT_S = 30.0
APT_TIMEOUT_S = 900.0

_apt_lock = threading.Lock()


def check_disk(needs: dict[Path, int]) -> None:
    """Refuse to start when a file system cannot hold what is about to be put on it. Sizes in bytes."""
    by_device: dict[int, tuple[Path, int]] = {}
    for path, size in needs.items():
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        device = existing.stat().st_dev
        by_device[device] = (existing, by_device.get(device, (existing, 0))[1] + size)
    for existing, size in by_device.values():
        free = shutil.disk_usage(existing).free
        if free < size:
            raise SetupError(
                f"not enough disk at {existing}: {size / 1e9:.1f} GB are needed",
                seen=f"{free / 1e9:.1f} GB free",
                remedy="free some space, or point K2_CACHE_DIR (shared cache) and the clone at a larger disk",
            )


def java_version(java: str) -> int | None:
    """Major version of a java executable, None when it does not run."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found and answer.returncode == 0 else None


def find_java() -> tuple[str, int] | None:
    """The first Java runtime that is new enough: PATH, then JAVA_HOME, then where Debian puts them."""
    candidates = [shutil.which("java")]
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(str(Path(home) / "bin" / "java"))
    candidates += sorted((str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java")), reverse=True)
    for candidate in candidates:
        if candidate and (version := java_version(candidate)) and version >= JAVA_MINIMUM:
            return candidate, version
    return None


def ensure_java(runner: Runner, doing: Callable[[str], None]) -> str:
    """Path of a java new enough for the broker; installs Debian's when root and there is none."""
    if found := find_java():
        return found[0]
    doing("installing Java")
    apt_install(runner, JAVA_PACKAGE)
    if found := find_java():
        return found[0]
    raise SetupError(
        f"no Java {JAVA_MINIMUM} or newer",
        seen=shutil.which("java") or "no java on PATH",
        remedy=f"install one (Debian: apt install {JAVA_PACKAGE}) and put it on PATH or set JAVA_HOME",
    )


def ensure_maven(runner: Runner) -> str:
    """Path of mvn; installs Debian's when root and there is none."""
    if found := shutil.which("mvn"):
        return found
    apt_install(runner, "maven")
    if found := shutil.which("mvn"):
        return found
    raise SetupError("no Maven (mvn) on PATH", remedy="install it by hand (Debian: apt install maven), then run again")


def ensure_c_compiler(runner: Runner) -> None:
    """A C compiler where Go looks for one: $CC, else gcc; installs Debian's when root and there is none."""
    if shutil.which(os.environ.get("CC") or "gcc") is None:
        apt_install(runner, "gcc", "libc6-dev")


def apt_install(runner: Runner, *packages: str) -> None:
    """Install Debian packages; refreshes the package lists only when the first try fails."""
    names = " ".join(packages)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        why = "this machine has no apt-get" if apt is None else "set-up does not run as root"
        raise SetupError(
            f"missing: {names}",
            seen=f"{why}, so it cannot install it",
            remedy=f"install it by hand: apt install {names}",
        )
    command = [apt, "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", *packages]
    environ = {"DEBIAN_FRONTEND": "noninteractive"}
    remedy = f"install it by hand: apt install {names}"
    with _apt_lock:
        try:
            runner.run("apt", command, timeout_s=APT_TIMEOUT_S, remedy=remedy, environ=environ)
        except SetupError:
            _update(runner, apt)
            runner.run("apt", command, timeout_s=APT_TIMEOUT_S, remedy=remedy, environ=environ)


def apt_update(runner: Runner) -> None:
    """Refresh the package lists."""
    with _apt_lock:
        _update(runner, "apt-get")


def _update(runner: Runner, apt: str) -> None:
    runner.run(
        "apt-update",
        [apt, "update", "-q"],
        timeout_s=APT_TIMEOUT_S,
        remedy="check the machine's package sources (apt-get update)",
        environ={"DEBIAN_FRONTEND": "noninteractive"},
    )
