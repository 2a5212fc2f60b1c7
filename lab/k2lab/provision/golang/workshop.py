# SPDX-License-Identifier: Apache-2.0
"""Builds Go programs one after another, and fetches the modules of the next ones meanwhile.

Modules and compiled packages lie in a scratch directory of the cache while there is something to build, and are removed
with it: gigabytes that nothing needs afterwards, and the user's own Go caches stay as they are. How modules are fetched
(GOPROXY, GONOSUMDB, proxies, certificates) is the user's own setting; what they must be is in lab/go/*/go.sum.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k2lab.provision.errors import SetupError
from k2lab.provision.golang.programs import GoPart, module_version
from k2lab.provision.golang.toolchain import Go, ensure_go
from k2lab.provision.lock import exclusive
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner

# Measured with every program missing: modules and compiled packages at their peak, and the programs themselves.
DISK_BYTES = 9_000_000_000
FETCH_TIMEOUT_S = 900.0
BUILD_TIMEOUT_S = 1800.0
VERSION_TIMEOUT_S = 30.0
LOCK_TIMEOUT_S = 3600.0

# What a line of Go's output means to the user, and what to do about it.
CAUSES = (
    (r"no space left on device", "the disk is full", "free some, or let K2_CACHE_DIR name another place"),
    (r"checksum mismatch|SECURITY ERROR", "a module is not the pinned one", "see what the module proxy serves"),
    (r"signal: killed|cannot allocate memory", "out of memory", "free some memory"),
    (
        r"dial tcp|no such host|proxyconnect|i/o timeout|TLS handshake|x509:|40[13457] |410 Gone|50[0234] |EOF$",
        "modules cannot be fetched",
        "check that Go reaches a module proxy (go env GOPROXY)",
    ),
)


@dataclass(frozen=True)
class Workshop:
    """A Go command with caches of its own, for one set-up."""

    paths: Paths
    runner: Runner
    go: Go
    scratch: Path

    def room(self, part: GoPart) -> Path:
        """Where modules and compiled packages of a part lie; those of parts with C code are of little use to others."""
        return self.scratch / ("with-c" if part.cgo else "without-c")

    def modules(self, part: GoPart) -> Path:
        """Where the sources of the part's modules are unpacked."""
        return self.room(part) / "modules"

    def clear(self, *, but: GoPart) -> None:
        """Remove what only other parts than this one needed: gigabytes that its build may need."""
        for room in self.scratch.iterdir():
            if room not in {self.room(but), self.scratch / "tmp"}:
                remove_scratch(room)

    def run(
        self,
        part: GoPart,
        step: str,
        command: Sequence[str | Path],
        *,
        directory: Path,
        timeout_s: float,
    ) -> None:
        """Run a command with Go's environment; raises SetupError that says what Go complained about."""
        name = f"{part.name}-{step}"
        try:
            self.runner.run(
                name,
                command,
                timeout_s=timeout_s,
                remedy="see the log, then run again",
                environ=self._environ(part),
                directory=directory,
            )
        except SetupError as error:
            raise _explained(error, self.runner.log(name)) from error

    def fetch(self, part: GoPart) -> None:
        """Fetch what the part is built from, and nothing else: only the packages it imports."""
        packages = list(part.programs.values())
        self.run(
            part,
            "fetch",
            [self.go.path, "list", "-mod=readonly", "-deps", "-f", "{{with .Error}}{{.}}{{end}}", *packages],
            directory=self.paths.go_sources / part.name,
            timeout_s=FETCH_TIMEOUT_S,
        )

    def build(self, part: GoPart, directory: Path) -> None:
        """Build the part's programs into the directory, each under the name of its package."""
        self.compile(
            part,
            list(part.programs.values()),
            f"{directory}{os.sep}",
            version=module_version(self.paths, part).removeprefix("v"),
            directory=self.paths.go_sources / part.name,
        )
        self.check(part, directory)

    def compile(
        self, part: GoPart, packages: Sequence[str], output: str, *, version: str, directory: Path, tags: str = ""
    ) -> None:
        """Compile and link, without what only a debugger reads."""
        linker = "-s -w" + (f" -X {part.version_variable}={version}" if part.version_variable else "")
        command: list[str | Path] = [self.go.path, "build", "-mod=readonly", "-trimpath", "-ldflags", linker]
        command += ["-tags", tags] if tags else []
        self.run(part, "build", [*command, "-o", output, *packages], directory=directory, timeout_s=BUILD_TIMEOUT_S)

    def check(self, part: GoPart, directory: Path) -> None:
        """See that each program starts on this machine."""
        for program in part.programs:
            self.runner.run(
                f"{program}-version",
                [directory / program, "--version"],
                timeout_s=VERSION_TIMEOUT_S,
                remedy="see the log",
            )

    def _environ(self, part: GoPart) -> dict[str, str]:
        return {
            "GOMODCACHE": str(self.modules(part)),
            "GOCACHE": str(self.room(part) / "compiled"),
            "GOPATH": str(self.room(part) / "path"),
            "GOTMPDIR": str(self.scratch / "tmp"),
            "GO111MODULE": "on",
            "GOWORK": "off",
            # Fetching a whole Go unasked would take longer than the build; ours is new enough.
            "GOTOOLCHAIN": "local",
            # Programs for this machine, whatever the user builds for otherwise.
            "GOOS": "",
            "GOARCH": "",
            "CGO_ENABLED": "1" if part.cgo else "0",
            # After the user's own: removable modules, pinned modules, no look at a repository around them.
            "GOFLAGS": f"{self._user_flags()} -modcacherw -mod=readonly -buildvcs=false".strip(),
            # Tools that call go themselves shall call this one.
            "PATH": f"{self.go.path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def _user_flags(self) -> str:
        """GOFLAGS as the user has set it, in the environment or in Go's own configuration file."""
        answer = subprocess.run(
            [self.go.path, "env", "GOFLAGS"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
        return answer.stdout.strip()


@contextmanager
def open_workshop(paths: Paths, runner: Runner, doing: Callable[[str], None]) -> Iterator[Workshop]:
    """Have a Go and an empty scratch directory, which is removed afterwards; one set-up at a time."""
    go = ensure_go(paths, runner, doing)
    scratch = paths.cache / "go-scratch"
    with exclusive(
        paths.cache / "go-scratch.lock",
        timeout_s=LOCK_TIMEOUT_S,
        waiting=doing,
        cancelled=lambda: runner.cancelled,
    ):
        remove_scratch(scratch)  # that of a set-up that was killed
        try:
            (scratch / "tmp").mkdir(parents=True)
            yield Workshop(paths, runner, go, scratch)
        finally:
            remove_scratch(scratch)


def remove_scratch(scratch: Path) -> None:
    """Remove what was fetched and compiled, however many gigabytes, and read-only directories too."""
    if not scratch.exists():
        return
    for directory, _, _ in os.walk(scratch):
        if not os.access(directory, os.W_OK):
            Path(directory).chmod(0o755)
    shutil.rmtree(scratch)


def _explained(error: SetupError, log: Path) -> SetupError:
    """The same error in words of what it means; as it was when Go said nothing that is known."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[1:] if line.strip()]
    for pattern, meaning, remedy in CAUSES:
        for line in lines:
            if re.search(pattern, line):
                return SetupError(f"{meaning} ({line[:160]})", seen=error.seen, remedy=f"{remedy}\nfull log: {log}")
    return error
