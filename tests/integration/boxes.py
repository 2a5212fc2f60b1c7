# SPDX-License-Identifier: Apache-2.0
"""The services of ``scripted.py`` as containers: the same program under another runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.docker import DockerRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .runtimes import Engine, Subnet, eventually
from .scripted import NAMES, SERVER, Ups, answers, profile_data

PORT = 8000
PYTHON = Path(sys.executable).resolve()


@dataclass(frozen=True)
class Boxes(Ups):
    """Three services, each in a container with a static address and an alias, which the engine restarts."""

    engine: Engine
    runtime: DockerRuntime
    subnet: Subnet
    units: dict[str, str]
    addresses: dict[str, str]

    def pid(self, name: str) -> int:
        return self.runtime.pid(self.units[name])

    def listening(self) -> None:
        """Wait until all of them take connections; to be called on the engine's network."""
        eventually(lambda: [each for each in self.addresses.values() if not answers(each, PORT)], lambda left: not left)

    def data(self, **modes: dict[str, Any]) -> dict[str, Any]:
        """The platform's profile with these failure modes."""
        services = {
            name: {"unit": self.units[name], "probe": {"http": {"url": f"http://{address}:{PORT}/"}}}
            for name, address in self.addresses.items()
        }
        return profile_data("docker", {"socket": self.engine.socket, "timeout_s": 10.0}, services, modes)

    def profile(self, **modes: dict[str, Any]) -> Profile:
        return parse_profile(self.data(**modes))


@contextmanager
def boxes(engine: Engine, folder: Path, policy: str = "unless-stopped") -> Iterator[Boxes]:
    """The services up and listening; the caller is on the engine's network meanwhile."""
    script = folder / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    units: dict[str, str] = {}
    with ExitStack() as stack:
        subnet = stack.enter_context(engine.subnet())
        addresses = {name: f"{subnet.prefix}.{20 + index}" for index, name in enumerate(NAMES)}
        for name, address in addresses.items():
            home = folder / name
            home.mkdir()
            (home / "plan.json").write_text(json.dumps({}), encoding="utf-8")
            options = ("--network", subnet.name, "--ip", address, "--network-alias", name, "--restart", policy)
            units[name] = stack.enter_context(
                engine.container(
                    *options,
                    *python_mounts(),
                    "-v",
                    f"{folder}:{folder}",
                    argv=[str(PYTHON), str(script), str(home), str(PORT), address],
                )
            )
        made = Boxes(folder, engine, engine.runtime(), subnet, units, addresses)
        stack.enter_context(engine.network())
        made.listening()
        yield made


def python_mounts() -> tuple[str, ...]:
    """What a Python of the host needs in a container beside /usr."""
    prefix = Path(sys.base_prefix).resolve()
    return () if prefix.is_relative_to("/usr/lib") or prefix == Path("/usr") else ("-v", f"{prefix}:{prefix}:ro")
