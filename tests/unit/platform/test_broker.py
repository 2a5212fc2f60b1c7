# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import sys

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import (
    BrokerError,
    BrokerReader,
    DriverMissing,
    Extent,
    Partition,
    watermark_of,
)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(DriverMissing, match="pip install confluent-kafka"):
        BrokerReader("127.0.0.1:9").partitions(["x"])


def test_no_answer_says_who_was_asked_and_for_how_long() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        reader = BrokerReader(f"127.0.0.1:{port}", 0.3)
        with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port} within 0\.3 s"):
            reader.partitions(["x"])
        with pytest.raises(BrokerError, match="how far group g is"):
            reader.committed("g", [Partition("x", 0)])


def test_a_watermark_is_plain_data_in_order() -> None:
    extents = {Partition("b", 1): Extent(0, 5), Partition("b", 0): Extent(2, 3), Partition("a", 0): Extent(0, 0)}
    assert watermark_of(extents) == {"a": {"0": 0}, "b": {"0": 3, "1": 5}}
