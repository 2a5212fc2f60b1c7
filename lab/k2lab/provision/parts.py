# SPDX-License-Identifier: Apache-2.0
"""The parts of set-up: which there are, which of them the lab can run without, and which run side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from k2lab.provision import environment, kafka
from k2lab.provision.debian import (
    CHROMIUM_KEY,
    COMPOSE_KEY,
    ENGINE_KEY,
    IPTABLES_KEY,
    POSTGRES_KEY,
    PROMETHEUS_PROGRAMS,
    ensure_chromium,
    ensure_compose,
    ensure_engine,
    ensure_iptables,
    ensure_postgres,
    ensure_prometheus,
    prometheus_entry,
)
from k2lab.provision.environment import Purpose
from k2lab.provision.errors import SetupError
from k2lab.provision.failures import read_failure
from k2lab.provision.golang.lane import GoLane
from k2lab.provision.golang.programs import GO_PARTS, GoPart, go_entry
from k2lab.provision.golang.workshop import DISK_BYTES as GO_DISK_BYTES
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.system import check_disk
from k2lab.provision.tools import find_tool

Doing = Callable[[str], None]


@dataclass(frozen=True)
class Dispensable:
    """What makes a part one that the lab can run without."""

    key: str  # under which a failure is kept
    programs: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One part of set-up."""

    name: str
    # Returns a detail for the user and whether anything was built.
    ensure: Callable[[Doing], tuple[str, bool]]
    dispensable: Dispensable | None = None


@dataclass(frozen=True)
class Lane:
    """Parts that run one after another; close() removes what they shared, however they ended."""

    parts: tuple[Part, ...]
    close: Callable[[], None] = lambda: None


def plan(paths: Paths, purpose: Purpose, runner: Runner, *, lab: bool, docker: bool, retry: bool) -> tuple[Lane, ...]:
    """See what there is to do: without the lab's own programs unless `lab`, with an engine and Compose if `docker`.

    Raises SetupError when there is no room for what cannot be done without.
    """
    the_environment = Lane(
        (Part("environment", lambda doing: environment.ensure_environment(paths, purpose, runner, doing)),)
    )
    if not lab:
        check_disk(_environment_needs(paths, purpose))
        return (the_environment,)
    missing = tuple(
        part for part in GO_PARTS if not present(paths, _dispensable(paths, part)) and _is_due(paths, part, retry)
    )
    go_lane = GoLane(paths, runner, missing, _refusal(paths, purpose, wants_go=bool(missing)))

    def go_part(part: GoPart) -> Part:
        return Part(part.name, lambda doing: go_lane.ensure(part, doing), _dispensable(paths, part))

    return (
        the_environment,
        Lane((Part("kafka", lambda doing: kafka.ensure_kafka(paths, runner, doing)),)),
        # One lane: two packages are not installed at once.
        Lane(
            (
                Part(
                    "postgres", lambda doing: ensure_postgres(runner, doing), Dispensable(POSTGRES_KEY, ("postgres",))
                ),
                Part(
                    "prometheus",
                    lambda doing: ensure_prometheus(paths, runner, doing),
                    Dispensable(prometheus_entry(paths).name, PROMETHEUS_PROGRAMS),
                ),
                Part(
                    "iptables", lambda doing: ensure_iptables(runner, doing), Dispensable(IPTABLES_KEY, ("iptables",))
                ),
                *(_docker_parts(runner) if docker or purpose is Purpose.DEV else ()),
                *((_browser_part(runner),) if purpose is Purpose.DEV else ()),
            )
        ),
        Lane(tuple(go_part(part) for part in GO_PARTS), go_lane.close),
    )


def _docker_parts(runner: Runner) -> tuple[Part, ...]:
    """For tests and for the lab in containers: every other run needs none."""
    return (
        Part("docker", lambda doing: ensure_engine(runner, doing), Dispensable(ENGINE_KEY, ("dockerd",))),
        Part("compose", lambda doing: ensure_compose(runner, doing), Dispensable(COMPOSE_KEY, ("docker-compose",))),
    )


def _browser_part(runner: Runner) -> Part:
    """For tests of pages: no run needs it."""
    return Part("chromium", lambda doing: ensure_chromium(runner, doing), Dispensable(CHROMIUM_KEY, ("chromium",)))


def present(paths: Paths, dispensable: Dispensable) -> str | None:
    """Where the part's programs are and in which version, None when one of them is missing."""
    tools = [find_tool(paths, name) for name in dispensable.programs]
    first = tools[0]
    if first.path is None or any(tool.path is None for tool in tools):
        return None
    return f"{first.version} in {first.path.parent}"


def waits(paths: Paths, dispensable: Dispensable, *, retry: bool) -> str | None:
    """Why the part is not attempted again now, None when it is."""
    failure = read_failure(paths.cache, dispensable.key)
    now = time.time()
    if failure is None or retry or failure.is_due(now):
        return None
    return f"{failure.reason} (tried {_ago(now - failure.at)} ago; again with: make setup)"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _dispensable(paths: Paths, part: GoPart) -> Dispensable:
    return Dispensable(go_entry(paths, part).name, tuple(part.programs))


def _is_due(paths: Paths, part: GoPart, retry: bool) -> bool:
    return waits(paths, _dispensable(paths, part), retry=retry) is None


def _refusal(paths: Paths, purpose: Purpose, *, wants_go: bool) -> SetupError | None:
    """Check the room for everything; what there is no room for beside the necessary is refused, not fatal."""
    needs = _environment_needs(paths, purpose)
    if not kafka.kafka_home(paths).is_dir():
        needs[paths.cache] = kafka.DISK_BYTES
    check_disk(needs)
    if wants_go:
        try:
            check_disk({**needs, paths.cache: needs.get(paths.cache, 0) + GO_DISK_BYTES})
        except SetupError as error:
            return error
    return None


def _environment_needs(paths: Paths, purpose: Purpose) -> dict[Path, int]:
    return {} if environment.is_current(paths, purpose) else {paths.venv: environment.DISK_BYTES[purpose]}
