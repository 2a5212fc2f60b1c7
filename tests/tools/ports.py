# SPDX-License-Identifier: Apache-2.0
"""Find room for a lab of one's own."""

from __future__ import annotations

import os
import socket

OFFSETS = range(1, 70)
FIRST, LAST, STEP = 23100, 24500, 100


def free_base_port() -> int:
    """A base port whose block of ports is free on 127.0.0.1; ``K2_TEST_BASE_PORT`` decides where it is set.

    Raises OSError when no block is free.
    """
    given = os.environ.get("K2_TEST_BASE_PORT")
    if given:
        return int(given)
    for base in range(FIRST, LAST, STEP):
        if all(is_free(base + offset) for offset in OFFSETS):
            return base
    raise OSError(f"no {STEP} free ports in a row between {FIRST} and {LAST}; set K2_TEST_BASE_PORT")


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
