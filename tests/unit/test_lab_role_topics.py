# SPDX-License-Identifier: Apache-2.0
"""The lab's topics have one home, k2_broker of the inventory; the role's own serve a play without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_role import ROOT, RenderedLab

OTHER = {
    "topics": {
        name: {"raw": f"in.{name}", "normalised": f"out.{name}", "partitions": partitions}
        for name, partitions in {"binance": 7, "kraken": 1, "coinbase": 3}.items()
    },
    "dead_letter": "unread",
}


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> RenderedLab:
    return RenderedLab(tmp_path, {"k2_broker": OTHER})


def test_the_inventory_decides(lab: RenderedLab) -> None:
    assert lab.topics() == {
        "unread": 1,
        "in.binance": 7,
        "out.binance": 7,
        "in.kraken": 1,
        "out.kraken": 1,
        "in.coinbase": 3,
        "out.coinbase": 3,
    }
    assert lab.option("feed-handler-kraken", "--raw-topic") == "in.kraken"
    assert lab.option("feed-handler-kraken", "--topic") == "out.kraken"
    assert lab.option("feed-handler-kraken", "--dead-letter-topic") == "unread"
    assert lab.option("silver-processor", "--topics") == "in.binance,in.kraken,in.coinbase"


def test_without_an_inventory_the_role_makes_what_the_labs_inventory_would(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = RenderedLab(tmp_path / "a", {})
    inventory = alone.read(ROOT / "inventory" / "lab" / "group_vars" / "all" / "pipeline.yml")
    described = RenderedLab(tmp_path / "b", {"k2_broker": inventory["k2_broker"]})
    assert alone.topics() == described.topics()
