# SPDX-License-Identifier: Apache-2.0
"""What the session's tests share: a Docker Engine, and a lab."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ports import free_base_port
from shares import run_share

from .lab import CLICKHOUSE_OFFSET, ROOT, Lab
from .runtimes import Engine, engine_socket
from .stores import stores, world

__all__ = ["engine", "lab", "stores", "world"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", type=Path, help="run what no other process has claimed in this directory")


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With ``--share`` only a part; pytest itself does all else, also where a file could not be read."""
    directory = session.config.getoption("--share")
    if directory is None or session.testsfailed or session.config.option.collectonly:
        return None
    run_share(session, directory)
    return True


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
    """A lab in which trades flow: the one whose directory ``K2_TEST_LAB_DIR`` names, else one for this session."""
    given = os.environ.get("K2_TEST_LAB_DIR")
    if given:
        described = json.loads((Path(given) / "run" / "lab.json").read_text(encoding="utf-8"))
        clickhouse_port = urlsplit(described["clickhouse_url"]).port
        assert clickhouse_port is not None, f"{given}/run/lab.json names no port of ClickHouse"
        yield Lab(Path(given).resolve(), clickhouse_port - CLICKHOUSE_OFFSET)
        return
    own = Lab(ROOT / ".lab-test", free_base_port())
    try:
        own.playbook("lab_up")
        yield own
    finally:
        own.playbook("lab_down", k2_lab_purge=True)
