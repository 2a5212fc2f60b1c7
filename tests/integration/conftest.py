# SPDX-License-Identifier: Apache-2.0
"""What the session's tests share: a Docker Engine, and a lab."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import ROOT, Lab
from .runtimes import Engine, engine_socket

sys.path.insert(0, str(ROOT / "tests" / "tools"))
from ports import free_base_port


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A running engine, else one of our own; skips with the reason where neither can be had."""
    sockets = engine_socket()
    try:
        yield Engine(next(sockets))
    finally:
        sockets.close()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab in which trades flow: the one whose directory ``K2_TEST_LAB_DIR`` names, else one for this session alone."""
    given = os.environ.get("K2_TEST_LAB_DIR")
    if given:
        described = json.loads((Path(given) / "run" / "lab.json").read_text(encoding="utf-8"))
        yield Lab(Path(given).resolve(), int(described["base_port"]))
        return
    own = Lab(ROOT / ".lab-test", free_base_port())
    try:
        own.playbook("lab_up")
        yield own
    finally:
        own.playbook("lab_down", k2_lab_purge=True)
