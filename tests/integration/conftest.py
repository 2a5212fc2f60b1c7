# SPDX-License-Identifier: Apache-2.0
"""A Docker Engine shared by the session's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .runtimes import Engine, engine_socket


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A running engine, else one of our own; skips with the reason where neither can be had."""
    sockets = engine_socket()
    try:
        yield Engine(next(sockets))
    finally:
        sockets.close()
