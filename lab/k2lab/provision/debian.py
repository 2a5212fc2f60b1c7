# SPDX-License-Identifier: Apache-2.0
"""Programs that come from Debian's packages: Prometheus, Postgres, iptables, Docker. None leaves a server running.

Prometheus is unpacked into the cache and not installed: its package would start a server of its own and have it started
at every boot. That needs no root either. Postgres is installed, since its server runs as the package's user, with the
cluster that the package would create and start left out; so is the Docker Engine, which is not started, now or at boot.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k2lab.provision.cache import Made, ensure_entry
from k2lab.provision.errors import SetupError
from k2lab.provision.path_programs import ACCEPTED, ask_version, find_on_path
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.system import apt_install, apt_update

PROMETHEUS_PROGRAMS = ("prometheus", "promtool")
POSTGRES_KEY = "postgres"
# The release's own version of the server.
POSTGRES_PACKAGE = "postgresql"
# The packet filter, with which a service is cut off its clients.
IPTABLES_KEY = "iptables"
CHROMIUM_KEY = "chromium"
# A page without a font has no widths to look at.
CHROMIUM_PACKAGES = ("chromium", "fonts-dejavu-core")
# A Docker Engine, which tests start for themselves, and what they start it and look at it with.
ENGINE_KEY = "docker"
ENGINE_PACKAGES = ("docker.io", "iptables", "iproute2", "curl")
ENGINE_UNITS = ("docker.socket", "docker.service", "containerd.service")
# Asked before a package starts a server: 101 forbids it.
START_POLICY = Path("/usr/sbin/policy-rc.d")
TRY_TIMEOUT_S = 10.0
# Compose, for the lab in containers.
COMPOSE_KEY = "docker-compose"
CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.d")
DOWNLOAD_TIMEOUT_S = 300.0
UNPACK_TIMEOUT_S = 60.0


def prometheus_entry(paths: Paths) -> Path:
    """Directory of the cache that holds (or will hold) Debian's prometheus and promtool."""
    return paths.cache / f"prometheus-debian-{platform.machine()}"


def ensure_prometheus(paths: Paths, runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have prometheus and promtool in the cache. Returns a detail for the user and whether anything was fetched.

    Raises SetupError when Debian's package cannot be had or is too old.
    """
    entry = prometheus_entry(paths)
    made = ensure_entry(
        entry,
        lambda directory: _unpack_prometheus(runner, doing, directory),
        is_complete=lambda path: all((path / name).is_file() for name in PROMETHEUS_PROGRAMS),
        runner=runner,
        waiting=doing,
    )
    version = ask_version(entry / "prometheus", ACCEPTED["prometheus"].pattern)
    return f"{version} in {entry}", made is Made.BUILT


def _unpack_prometheus(runner: Runner, doing: Callable[[str], None], directory: Path) -> None:
    accepted = ACCEPTED["prometheus"]
    remedy = f"put prometheus and promtool on PATH ({accepted.text})"
    if (apt := shutil.which("apt-get")) is None:
        raise SetupError("no Prometheus, and this machine has no apt-get to fetch it with", remedy=remedy)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        doing("fetching Debian's package, 20 MB")
        command = [apt, "download", "-q", "prometheus"]
        try:
            runner.run("prometheus", command, timeout_s=DOWNLOAD_TIMEOUT_S, remedy=remedy, directory=Path(scratch))
        except SetupError:
            if os.geteuid() != 0:
                raise
            apt_update(runner)
            runner.run("prometheus", command, timeout_s=DOWNLOAD_TIMEOUT_S, remedy=remedy, directory=Path(scratch))
        package = next(Path(scratch).glob("prometheus_*.deb"))
        tree = Path(scratch) / "tree"
        runner.run(
            "prometheus-unpack", ["dpkg-deb", "--extract", package, tree], timeout_s=UNPACK_TIMEOUT_S, remedy=remedy
        )
        for name in PROMETHEUS_PROGRAMS:
            shutil.move(tree / "usr" / "bin" / name, directory / name)
            version = ask_version(directory / name, accepted.pattern)
            if version is None or not accepted.admits(version):
                seen = version or "no version, so it does not run here"
                raise SetupError(f"this release's package has a {name} that does not do", seen=seen, remedy=remedy)


def ensure_postgres(runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have a Postgres server installed, none started. Returns a detail for the user and whether it was installed.

    Raises SetupError when it cannot be installed or is too old.
    """
    doing("installing Debian's package, 60 MB")
    with _no_cluster_of_its_own():
        apt_install(runner, POSTGRES_PACKAGE)
    return _installed("postgres", POSTGRES_PACKAGE, "server", "Postgres")


def ensure_iptables(runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have iptables installed; it sets no rule. Returns a detail for the user and whether it was installed.

    Raises SetupError when it cannot be installed.
    """
    doing("installing Debian's package, 1 MB")
    apt_install(runner, IPTABLES_KEY)
    return _installed("iptables", IPTABLES_KEY, "program", "iptables")


def ensure_compose(runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have Compose installed. Returns a detail for the user and whether it was installed.

    Raises SetupError when it cannot be installed or is too old.
    """
    doing("installing Debian's package, 2 MB")
    apt_install(runner, COMPOSE_KEY)
    return _installed("docker-compose", COMPOSE_KEY, "program", "Compose")


def ensure_chromium(runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have a browser installed that tests read pages with. Returns a detail for the user and whether it was installed.

    Raises SetupError when it cannot be installed or is too old.
    """
    doing("installing Debian's packages, 120 MB")
    apt_install(runner, *CHROMIUM_PACKAGES)
    return _installed("chromium", CHROMIUM_PACKAGES[0], "browser", "Chromium")


def ensure_engine(runner: Runner, doing: Callable[[str], None]) -> tuple[str, bool]:
    """Have a Docker Engine installed, none started. Returns a detail for the user and whether it was installed.

    Raises SetupError when it cannot be installed, or none could run here.
    """
    remedy = f"install it by hand where one can: apt install {' '.join(ENGINE_PACKAGES)}"
    if os.geteuid() == 0:
        # An engine makes networks and mounts. A container that may not would get 250 MB that are of no use to it.
        command = ["unshare", "--net", "--mount", "true"]
        runner.run("docker-try", command, timeout_s=TRY_TIMEOUT_S, remedy=f"no engine can run here; {remedy}")
    doing("installing Debian's packages, 250 MB")
    with _no_server_started():
        apt_install(runner, *ENGINE_PACKAGES)
    if systemctl := shutil.which("systemctl"):
        # Whoever wants an engine at every boot has one already.
        runner.run("docker-disable", [systemctl, "disable", *ENGINE_UNITS], timeout_s=TRY_TIMEOUT_S, remedy=remedy)
    return _installed("dockerd", ENGINE_PACKAGES[0], "engine", "Docker Engine")


def _installed(program: str, package: str, kind: str, name: str) -> tuple[str, bool]:
    """What is told of a program that its package has brought; `kind` and `name` are what people call it."""
    found = find_on_path(program)
    if found.path is None:
        raise SetupError(
            f"this release's package {package} has no {kind} that does",
            seen=found.refused or "none installed",
            remedy=f"install {name} {ACCEPTED[program].text}",
        )
    return f"{found.version} in {found.path.parent}", True


@contextmanager
def _no_server_started() -> Iterator[None]:
    """Keep packages from starting their servers while they are installed; a policy of the machine's own stands."""
    if os.geteuid() != 0 or START_POLICY.exists():
        yield
        return
    START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        START_POLICY.unlink()


@contextmanager
def _no_cluster_of_its_own() -> Iterator[None]:
    """Keep the package, while it is installed, from creating a cluster and starting it at once and at each boot."""
    if os.geteuid() != 0:
        yield  # nothing can be installed either
        return
    setting = CLUSTER_SETTINGS / "k2-hardening.conf"
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        setting.unlink()
