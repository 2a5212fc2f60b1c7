# SPDX-License-Identifier: Apache-2.0
"""What is to be sampled, as data: the sampler reads it from a file, and knows nothing of a profile and its secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.model import Lifecycle, Profile, RuntimeKind, RuntimeSettings, Service

INTERVAL_S = 5.0
# A window has to end before anybody asks what it came to.
LONGEST_S = 31 * 86_400.0


@dataclass(frozen=True)
class Target:
    """One service to look at. ``one_shot`` services may have ended, and are looked at while they run."""

    service: str
    runtime: RuntimeKind
    unit: str
    one_shot: bool


@dataclass(frozen=True)
class Plan:
    """A window of sampling. ``disks`` are directories whose size is watched, by name."""

    platform: str
    seconds: float
    interval_s: float
    targets: tuple[Target, ...]
    runtimes: Mapping[RuntimeKind, RuntimeSettings]
    disks: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """As it is kept on the target."""
        return {
            "platform": self.platform,
            "seconds": self.seconds,
            "interval_s": self.interval_s,
            "targets": [{**asdict(target), "runtime": target.runtime.value} for target in self.targets],
            "runtimes": {kind.value: asdict(settings) for kind, settings in self.runtimes.items()},
            "disks": dict(self.disks),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Plan:
        """Read it back. Raises KeyError, TypeError or ValueError on anything else."""
        return cls(
            str(data["platform"]),
            float(data["seconds"]),
            float(data["interval_s"]),
            tuple(Target(**{**each, "runtime": RuntimeKind(each["runtime"])}) for each in data["targets"]),
            {
                RuntimeKind(kind): RuntimeSettings(**{**settings, "networks": tuple(settings["networks"])})
                for kind, settings in data["runtimes"].items()
            },
            {str(name): str(path) for name, path in data["disks"].items()},
        )


def plan_of(profile: Profile, seconds: float, interval_s: float, only: Iterable[str] = ()) -> Plan:
    """The plan of a window over the services of ``profile`` that can be had, or over those named in ``only``.

    Raises K2Error for a service that the profile does not have, or times that make no window.
    """
    if not 0 < interval_s <= seconds <= LONGEST_S:
        raise K2Error(
            "that is no window",
            expected=f"0 < interval <= seconds <= {LONGEST_S:g}",
            seen=f"interval {interval_s:g}, seconds {seconds:g}",
        )
    services = _chosen(profile, tuple(only))
    kinds = {service.runtime for service in services}
    return Plan(
        profile.platform.name,
        seconds,
        interval_s,
        tuple(Target(each.name, each.runtime, each.unit, each.lifecycle is Lifecycle.ONE_SHOT) for each in services),
        {kind: profile.platform.runtimes[kind.value] for kind in sorted(kinds, key=lambda kind: kind.value)},
        {name: disk.path for name, disk in profile.budget.disks.items()} if profile.budget else {},
    )


def _chosen(profile: Profile, only: tuple[str, ...]) -> list[Service]:
    for name in only:
        service = profile.services.get(name)
        if service is None:
            raise K2Error(
                f"the profile has no service {name!r}",
                expected="names of k2_services",
                seen=name,
                action=did_you_mean(name, profile.services),
            )
        if service.not_available is not None:
            raise K2Error(f"{name} is not available here", expected="a service that is", seen=service.not_available)
    chosen = [
        each for each in profile.services.values() if each.not_available is None and (not only or each.name in only)
    ]
    if not chosen:
        raise K2Error("there is no service to sample", expected="one that is available", seen="none")
    return chosen
