# SPDX-License-Identifier: Apache-2.0
"""Is the platform set up as its profile says? Asks the runtimes, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from ..core.errors import K2Error
from ..platform.runtime.base import (
    Network,
    NoAnswer,
    Place,
    Runtime,
    Setup,
    State,
    UnitAmbiguous,
)
from ..platform.runtime.factory import Runtimes
from ..platform.unix_http import SocketUnavailable
from ..profile.amounts import cpus_text, memory_text
from ..profile.model import Lifecycle, Profile, RuntimeKind, RuntimeSettings, Service
from .mismatch import Mismatch, MismatchKind, of_error

_SAME_CPUS = 1e-3


def compare_setup(profile: Profile) -> tuple[Mismatch, ...]:
    """Where the units of the services are not set up as the profile says; in the order of the services."""
    runtimes = Runtimes(profile)
    kinds: dict[RuntimeKind, list[Service]] = {}
    for service in profile.services.values():
        if service.not_available is None:
            kinds.setdefault(service.runtime, []).append(service)
    found: list[Mismatch] = []
    for kind, services in kinds.items():
        settings = profile.platform.runtimes[kind.value]
        try:
            found += _compare(runtimes.of(services[0]), settings, services)
        except K2Error as error:
            # No client, no socket, no permission, no answer: it is the same for every service.
            action = "; ".join(filter(None, (error.action, settings.start_command)))
            seen = f"{error.message}: {error.seen}" if error.seen else error.message
            expected = error.expected or "a runtime that answers"
            found.append(Mismatch(f"runtime {kind.value}", MismatchKind.RUNTIME, expected, seen, action))
    return tuple(found)


def _compare(runtime: Runtime, settings: RuntimeSettings, services: Iterable[Service]) -> list[Mismatch]:
    """Raises SocketUnavailable and NoAnswer: then nothing can be compared."""
    found: list[Mismatch] = []
    setups: list[tuple[Service, Setup]] = []
    for service in services:
        try:
            setup = runtime.setup(service.unit)
        except (SocketUnavailable, NoAnswer):
            raise
        except UnitAmbiguous as error:
            found.append(of_error(service.name, MismatchKind.AMBIGUOUS, error))
        except K2Error as error:
            found.append(of_error(service.name, MismatchKind.UNKNOWN, error))
        else:
            if setup is None:
                found.append(_missing(runtime, service))
            else:
                setups.append((service, setup))
    network, about_it = _network(runtime, settings, _project(settings, setups))
    found += about_it
    for service, setup in setups:
        found += compare_unit(service, setup, network, runtime.start_command(service.unit))
    return found


def _project(settings: RuntimeSettings, setups: Iterable[tuple[Service, Setup]]) -> Optional[str]:
    """The project whose network it is: the profile's, else the one that all units are of."""
    projects = {each[1].project for each in setups}
    return settings.project or (projects.pop() if len(projects) == 1 else None)


def _network(
    runtime: Runtime, settings: RuntimeSettings, project: Optional[str]
) -> tuple[Optional[Network], list[Mismatch]]:
    """The network that the units should be on, and what is wrong with it; none where the profile describes none."""
    if not settings.networks:
        return None, []
    try:
        network = runtime.network(settings.networks, project)
    except (SocketUnavailable, NoAnswer):
        raise
    except UnitAmbiguous as error:
        return None, [of_error("network", MismatchKind.AMBIGUOUS, error)]
    except K2Error as error:
        return None, [of_error("network", MismatchKind.NETWORK, error)]
    return network, _subnet(settings, network)


def _missing(runtime: Runtime, service: Service) -> Mismatch:
    return Mismatch(
        service.name,
        MismatchKind.MISSING,
        f"{service.unit} in {runtime.kind.value}",
        "nothing of that name",
        f"{runtime.start_command(service.unit)}; or correct k2_services.{service.name}.unit",
    )


def compare_unit(service: Service, setup: Setup, network: Optional[Network], start_command: str) -> list[Mismatch]:
    """Where one unit differs from its service. ``network`` is the one that it should be on, if any is described."""
    found = _state(service, setup, start_command)
    found += _restart(service, setup)
    found += _limits(service, setup)
    found += _heap(service, setup)
    found += _labels(service, setup)
    if network is not None and setup.places is not None:
        found += _place(service, setup, network, setup.places)
    return found


def _state(service: Service, setup: Setup, start_command: str) -> list[Mismatch]:
    status = setup.status
    one_shot = service.lifecycle is Lifecycle.ONE_SHOT
    if status.state is State.RUNNING or (one_shot and status.state is State.EXITED and status.exit_code == 0):
        return []
    told = [f"exit code {status.exit_code}"] if status.exit_code is not None else []
    told += [status.detail] if status.detail else []
    seen = status.state.value + (f" ({', '.join(told)})" if told else "")
    expected = "running" if not one_shot else "running, or exited with 0"
    if status.state is State.PAUSED:
        action = setup.resume or f"resume {setup.name}"
    else:
        action = f"{setup.logs or f'read the log of {setup.name}'}, then: {start_command}"
    return [Mismatch(service.name, MismatchKind.STATE, expected, seen, action)]


def _restart(service: Service, setup: Setup) -> list[Mismatch]:
    policy = setup.restart
    where = f"or correct k2_services.{service.name}.restart_expected"
    if service.lifecycle is Lifecycle.ONE_SHOT:
        if policy.after_success:
            expected = "to stay down once it has exited with 0 (it is a one-shot)"
            action = f"{_remake(setup, 'a restart policy of no or on-failure')}, or correct its lifecycle"
            return [Mismatch(service.name, MismatchKind.RESTART, expected, f"restart policy {policy.text}", action)]
        return []
    if policy.after_crash is None or policy.after_crash == service.restart_expected:
        return []
    seen = f"restart policy {policy.text}"
    if service.restart_expected:
        expected = "to be started again after a crash"
        action = f"{_remake(setup, 'a restart policy of unless-stopped')}, {where}"
    else:
        expected = "to stay down after a crash"
        action = f"{_remake(setup, 'a restart policy of no')}, {where}"
    return [Mismatch(service.name, MismatchKind.RESTART, expected, seen, action)]


def _limits(service: Service, setup: Setup) -> list[Mismatch]:
    if service.limit is None or setup.limit is None:
        return []
    found = []
    wanted, there = service.limit, setup.limit
    if wanted.cpus is not None and (there.cpus is None or abs(there.cpus - wanted.cpus) > _SAME_CPUS):
        seen = "no limit" if there.cpus is None else cpus_text(there.cpus)
        found.append(_limit(service, setup, "cpus", cpus_text(wanted.cpus), seen))
    if wanted.memory_bytes is not None and there.memory_bytes != wanted.memory_bytes:
        seen = "no limit" if there.memory_bytes is None else memory_text(there.memory_bytes)
        found.append(_limit(service, setup, "memory", memory_text(wanted.memory_bytes), seen))
    return found


def _limit(service: Service, setup: Setup, what: str, expected: str, seen: str) -> Mismatch:
    action = f"{_remake(setup, f'that limit of {what}')}, or correct k2_services.{service.name}.limit.{what}"
    return Mismatch(service.name, MismatchKind.LIMIT, f"{what} {expected}", seen, action)


def _heap(service: Service, setup: Setup) -> list[Mismatch]:
    # A heap that cannot be seen from outside may be set within the image: nothing contradicts the profile.
    if service.heap_bytes is None or setup.heap_bytes is None or service.heap_bytes == setup.heap_bytes:
        return []
    expected, seen = f"-Xmx of {memory_text(service.heap_bytes)}", memory_text(setup.heap_bytes)
    action = f"{_remake(setup, 'that -Xmx')}, or correct k2_services.{service.name}.heap"
    return [Mismatch(service.name, MismatchKind.HEAP, expected, seen, action)]


def _labels(service: Service, setup: Setup) -> list[Mismatch]:
    if setup.labels is None:
        return []
    there = setup.labels
    wrong = {name: value for name, value in service.labels.items() if there.get(name) != value}
    if not wrong:
        return []
    expected = ", ".join(f"{name}={value}" for name, value in wrong.items())
    seen = ", ".join(f"{name}={there[name]}" if name in there else f"no {name}" for name in wrong)
    action = f"{_remake(setup, 'these labels')}, or correct k2_services.{service.name}.labels"
    return [Mismatch(service.name, MismatchKind.LABELS, expected, seen, action)]


def _subnet(settings: RuntimeSettings, network: Network) -> list[Mismatch]:
    if settings.subnet is None or settings.subnet in network.subnets:
        return []
    seen = f"{network.name} spans {', '.join(network.subnets) or 'no range of its own'}"
    action = "correct subnet and networks under k2_platform.runtimes, or the network in the Compose file"
    return [Mismatch("network", MismatchKind.NETWORK, f"a network of {settings.subnet}", seen, action)]


def _place(service: Service, setup: Setup, network: Network, places: tuple[Place, ...]) -> list[Mismatch]:
    place = next((each for each in places if each.network == network.name), None)
    if place is None:
        seen = ", ".join(each.network for each in places) or "no network"
        action = _remake(setup, f"network {network.name}")
        return [Mismatch(service.name, MismatchKind.NETWORK, f"attached to {network.name}", seen, action)]
    if service.ipv4 is None or place.fixed == service.ipv4:
        return []
    if place.fixed is not None:
        seen = place.fixed
    else:
        seen = "no static address" + (f", for now {place.current}" if place.current else "")
    expected = f"static address {service.ipv4} on {network.name}"
    action = f"{_remake(setup, 'that address')}, or correct k2_services.{service.name}.ipv4"
    return [Mismatch(service.name, MismatchKind.ADDRESS, expected, seen, action)]


def _remake(setup: Setup, what: str) -> str:
    """How to have a unit with something else than it was made with."""
    if setup.recreate is None:
        return f"make {setup.name} anew with {what}"
    return f"describe {what} in the Compose file and run: {setup.recreate}"
