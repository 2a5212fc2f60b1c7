# SPDX-License-Identifier: Apache-2.0
"""Find room for a lab of one's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

OFFSETS = range(1, 70)
BASES = range(23100, 24500, 100)


def own_part(ports: Sequence[int]) -> Sequence[int]:
    """What of these may be taken here: ``K2_TEST_SHARE=2/3`` is the second of three that look for ports at once.

    A port that is free now may be another's before a server listens there.
    """
    number, _, count = os.environ.get("K2_TEST_SHARE", "1/1").partition("/")
    return ports[int(number) - 1 :: int(count)]


def free_base_port() -> int:
    """A base port whose block of ports is free on 127.0.0.1; ``K2_TEST_BASE_PORT`` decides where it is set.

    Raises OSError when no block is free.
    """
    given = os.environ.get("K2_TEST_BASE_PORT")
    if given:
        return int(given)
    for base in own_part(BASES):
        if all(is_free(base + offset) for offset in OFFSETS):
            return base
    raise OSError(f"no {BASES.step} free ports in a row between {BASES.start} and {BASES.stop}; set K2_TEST_BASE_PORT")


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    print(free_base_port())
