# SPDX-License-Identifier: Apache-2.0
"""Several pytest processes that run the integration tests between them, each test once.

They have a directory in common (``--share``). Tests that need the same expensive fixture of a session make one group;
others make one of each file. Whoever is free claims the next group. Nothing runs beside a test that measures, nor is
anything of other tests up meanwhile: such tests make groups of their own, which come last and wait for all others.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# Longest first: who takes the lab has enough to do.
COMMON = ("lab", "stores", "engine")
MEASURES = "measures"


def measures(item: pytest.Item) -> bool:
    """Whether what a test says depends on how fast things are."""
    return item.get_closest_marker(MEASURES) is not None


def file_of(item: pytest.Item) -> str:
    """The file a test is written in."""
    return item.path.stem


def common_of(item: pytest.Item) -> str | None:
    """The expensive fixture of the session that a test uses."""
    assert isinstance(item, pytest.Function)
    # The last is the one that is used: a file may have a fixture of that name of its own.
    found = {name: made[-1].scope for name, made in item._fixtureinfo.name2fixturedefs.items()}
    return next((name for name in COMMON if found.get(name) == "session"), None)


def group_of(item: pytest.Item) -> str:
    """What is claimed at once."""
    return f"{common_of(item) or file_of(item)}{'-measured' if measures(item) else ''}"


def in_order(items: Sequence[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """Groups in the order in which they are claimed: what measures comes last."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)

    def rank(name: str) -> tuple[bool, int]:
        common = common_of(groups[name][0])
        return measures(groups[name][0]), COMMON.index(common) if common else len(COMMON)

    return {name: groups[name] for name in sorted(groups, key=rank)}


def claim(directory: Path, name: str) -> bool:
    """Take a group; False when another process has it."""
    try:
        (directory / f"{name}.claimed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@contextmanager
def machine(directory: Path, *, alone: bool) -> Iterator[None]:
    """Have the machine, with the other processes or without any of them."""
    with (directory / "machine").open("a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def run_share(session: pytest.Session, directory: Path) -> None:
    """Run the groups that no other process has claimed."""
    for name, items in in_order(session.items).items():
        if not claim(directory, name):
            continue
        with machine(directory, alone=measures(items[0])):
            # After the last there is none: whatever the group has brought up is taken down before others go on.
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
